"""Questions made from captions: about objects, numbers, colours and places, with answers of one word.

The kinds, the meanings that answers must have and the thinning of frequent answers are those of COCO-QA (Ren, Kiros and
Zemel 2015, section 4.1). COCO-QA's authors turn the trees of a parser into questions. Here rules over words do, which
ask only where a caption's form leaves no doubt: fewer questions a caption, and no parser.

A caption is read as ``subject [is|are] VERB-ing [object] rest``; a word's part of speech is the most frequent
one in WordNet's tagged texts.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from captioning.text.wordnet import base_form, domain, uses
from captioning.text.words import tokenize_words

COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white", "gray", "grey")
NUMBERS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
DIGITS = dict(zip("23456789", NUMBERS, strict=False)) | {"10": "ten"}
ARTICLES = ("a", "an", "the", "some", "one", "this")
PREPOSITIONS = frozenset(
    [
        "in",
        "on",
        "at",
        "by",
        "near",
        "with",
        "of",
        "from",
        "over",
        "under",
        "behind",
        "beside",
        "through",
        "across",
        "along",
        "into",
        "down",
        "up",
        "off",
        "around",
        "next",
        "inside",
        "outside",
        "against",
        "toward",
        "towards",
        "between",
        "during",
        "while",
        "and",
        "as",
        "that",
        "who",
        "which",
        "to",
        "for",
        "above",
        "below",
        "past",
        "onto",
    ]
)
OBJECTS = ("animal", "artifact", "food", "object", "plant", "possession", "shape")
PLACES = ("artifact", "location", "object")
VAGUE = frozenset(
    [
        "top",
        "front",
        "side",
        "back",
        "middle",
        "background",
        "foreground",
        "bunch",
        "group",
        "pair",
        "couple",
        "picture",
        "photo",
        "image",
        "view",
        "color",
        "colors",
        "air",
        "part",
        "row",
        "lot",
        "line",
        "piece",
        "area",
        "day",
        "way",
        "time",
        "number",
        "end",
        "something",
        "thing",
        "things",
        "it",
        "them",
        "another",
        "other",
        "ground",
    ]
)
PEOPLE = frozenset(
    [
        "man",
        "men",
        "woman",
        "women",
        "boy",
        "boys",
        "girl",
        "girls",
        "child",
        "children",
        "person",
        "people",
        "guy",
        "lady",
        "kid",
        "kids",
    ]
)
UNITS = frozenset(
    [
        "year",
        "years",
        "way",
        "hour",
        "hours",
        "minute",
        "minutes",
        "day",
        "days",
        "inch",
        "foot",
        "feet",
        "different",
        "other",
        "more",
    ]
)
FREQUENT, SPREAD = 100, 200.0  # an answer is thinned beyond so many, at this rate


@dataclass(frozen=True)
class Asked:
    """A question made from a caption.

    Attributes:
        text: the question, in lower case.
        answer: one word.
        kind: ``object``, ``number``, ``colour`` or ``location``.
    """

    text: str
    answer: str
    kind: str


@dataclass(frozen=True)
class _Phrase:
    """A noun phrase: the place after it, its head, and its words without the article."""

    end: int
    head: str
    words: tuple[str, ...]
    plural: bool


def questions_of(caption: str) -> list[Asked]:
    """The questions that a caption answers, at most one of a kind and two of objects.

    Raises:
        WordNetMissingError: WordNet is not here.
    """
    words = [DIGITS.get(word, word) for word in tokenize_words(caption)]
    if not 4 <= len(words) <= 30:
        return []
    found = [*_number(words), *_colour(words), *_location(words), *_objects(words)]
    return [each for each in found if not _told(each)]


def thinned(questions: Iterable[tuple[Any, Asked]], seed: int = 0) -> Iterator[tuple[Any, Asked]]:
    """Questions without many of those with a frequent answer.

    The n-th question with an answer stays with the probability ``exp(-(n - 100) / 200)`` for n over 100.

    Args:
        questions: pairs of anything, such as a photograph, and a question.
        seed: the seed of the choice.
    """
    rng, counts = np.random.Generator(np.random.PCG64(seed)), Counter[str]()
    for where, each in questions:
        n = counts[each.answer] + 1
        if n <= FREQUENT or rng.random() < math.exp(-(n - FREQUENT) / SPREAD):
            counts[each.answer] += 1
            yield where, each


def _told(asked: Asked) -> bool:
    """True if a question says its answer, also in another form of the word."""
    base = base_form(asked.answer, "n") or asked.answer
    return any(word == asked.answer or base_form(word, "n") == base for word in asked.text.split())


def is_noun(word: str) -> bool:
    """True for a word that is mostly a noun."""
    if not word.isalpha() or word in PREPOSITIONS or word in ARTICLES or base_form(word, "n") is None:
        return False
    most = uses(word, "n")
    return most >= uses(word, "v") and most >= uses(word, "a") and not word.endswith("ing")


def is_plural(word: str) -> bool:
    """True for a noun's plural."""
    base = base_form(word, "n")
    return (base is not None and base != word) or word == "people"


def _phrase(words: list[str], begin: int, article: bool = True) -> _Phrase | None:
    """The noun phrase at a place: an article, up to three words before the head, the head."""
    place = begin
    if article and place < len(words) and words[place] in ARTICLES:
        place += 1
    elif article:
        return None
    start = place
    last = None
    while place < len(words) and place < start + 4:
        word = words[place]
        if is_noun(word):
            last = place
        elif last is not None or word in PREPOSITIONS or (base_form(word, "a") is None and word not in COLOURS):
            break
        place += 1
    if last is None:
        return None
    return _Phrase(last + 1, words[last], tuple(words[start : last + 1]), is_plural(words[last]))


def _number(words: list[str]) -> Iterator[Asked]:
    """``two dogs run …``: how many dogs run …? Elsewhere in a caption: how many dogs are there?"""
    places = [place for place, word in enumerate(words) if word in NUMBERS]
    if len(places) != 1:
        return
    phrase = _phrase(words, places[0] + 1, article=False)
    if phrase is None or not phrase.plural or phrase.head in VAGUE or set(phrase.words) & UNITS:
        return
    if places[0] == 0 and phrase.end < len(words) and words[phrase.end] not in ("and", "with", "of"):
        rest = words[phrase.end :]
        verb = ["are"] if rest[0].endswith("ing") or rest[0] in PREPOSITIONS else []
        yield Asked(" ".join(["how", "many", *phrase.words, *verb, *rest]), words[0], "number")
    else:
        yield Asked(f"how many {' '.join(phrase.words)} are there", words[places[0]], "number")


def _colour(words: list[str]) -> Iterator[Asked]:
    """``a red car``: what is the color of the car? Not of two colours, nor of a thing that occurs twice."""
    for place, word in enumerate(words[:-1]):
        if word not in COLOURS or "and" in words[max(0, place - 1) : place] or words[place + 1] in (*COLOURS, "and"):
            continue
        if place and words[place - 1] in COLOURS:
            continue
        phrase = _phrase(words, place + 1, article=False)
        if phrase is None or phrase.head in VAGUE | PEOPLE or words.count(phrase.head) > 1:
            continue
        if domain(phrase.head) not in OBJECTS:
            continue
        yield Asked(f"what is the color of the {phrase.head}", "gray" if word == "grey" else word, "colour")
        return


def _location(words: list[str]) -> Iterator[Asked]:
    """``a cat sleeps … in a bathtub``: where is the cat? The caption ends with the place."""
    subject = _phrase(words, 0)
    places = [place for place, word in enumerate(words) if word == "in"]
    if subject is None or subject.head in VAGUE or not places:
        return
    where = _phrase(words, places[-1] + 1)
    if where is None or where.end != len(words) or where.head in VAGUE or domain(where.head) not in PLACES:
        return
    if is_plural(where.head) or where.head in CLOTHES:
        return
    verb = "are" if subject.plural else "is"
    yield Asked(f"where {verb} the {' '.join(subject.words)}", where.head, "location")


CLOTHES = frozenset(
    [
        "shirt",
        "dress",
        "hat",
        "suit",
        "jacket",
        "coat",
        "uniform",
        "costume",
        "jersey",
        "outfit",
        "helmet",
        "cap",
        "swimsuit",
        "bikini",
        "shorts",
        "jeans",
        "sweater",
        "vest",
        "hoodie",
        "gear",
        "clothing",
        "robe",
        "skirt",
        "hand",
        "mouth",
        "hands",
        "lap",
        "arms",
    ]
)


def _objects(words: list[str]) -> Iterator[Asked]:
    """Of the subject, ``what is running on the grass``, and of the object, ``what is the man riding``."""
    subject = _phrase(words, 0)
    if subject is None or subject.head in VAGUE or subject.end >= len(words):
        return
    place = subject.end
    auxiliary = "are" if subject.plural else "is"
    if words[place] in ("is", "are"):
        auxiliary, place = words[place], place + 1
    if place >= len(words) or not (words[place].endswith("ing") and base_form(words[place], "v")):
        return
    rest = words[place:]
    one_verb = not {"is", "are", "was", "were"} & set(rest)
    if one_verb and subject.head not in PEOPLE and domain(subject.head) in OBJECTS and len(rest) >= 3:
        yield Asked(" ".join(["what", auxiliary, *rest]), base_form(subject.head, "n") or subject.head, "object")
    thing = _phrase(words, place + 1)
    if thing is None or thing.head in VAGUE | PEOPLE or domain(thing.head) not in OBJECTS:
        return
    behind = words[thing.end :]
    if not one_verb:
        return
    if behind and behind[0] not in PREPOSITIONS - {"and", "that", "who", "which", "of", "while", "as"}:
        return
    asked = ["what", auxiliary, "the", *subject.words, words[place], *behind]
    yield Asked(" ".join(asked), base_form(thing.head, "n") or thing.head, "object")
