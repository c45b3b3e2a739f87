"""Questions made from captions: about objects, numbers, colours and places, with answers of one word.

The kinds, the meanings that answers must have and the thinning of frequent answers are those of COCO-QA (Ren, Kiros and
Zemel 2015, section 4.1). COCO-QA's authors turn the trees of a parser into questions. Here rules over words do, which
ask only where a caption's form leaves no doubt: fewer questions a caption, and no parser. A word's part of speech is
the most frequent one in WordNet's tagged texts (see ``captioning.data.caption_phrases``).
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from captioning.data.caption_phrases import (
    COMMA,
    Clause,
    Phrase,
    Verb,
    clause,
    ends,
    noun_phrase,
    preposition,
    split_words,
)
from captioning.data.caption_words import (
    ARTICLES,
    AT,
    BE,
    BEHIND,
    COLOURS,
    MATTER,
    NUMBERS,
    OF_PARTS,
    POSSESSIVES,
    PREPOSITIONS,
    UNITS,
    VAGUE,
    is_clothing,
    is_finite,
    is_participle,
    is_person,
    names_a_place,
    names_an_object,
)
from captioning.text.wordnet import base_form

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


def questions_of(caption: str) -> list[Asked]:
    """The questions that a caption answers, at most one of its number, colour and place, and several of objects.

    Raises:
        WordNetMissingError: WordNet is not here.
    """
    words = split_words(caption)
    if not 4 <= len(words) <= 30:
        return []
    found = [*_number(words), *_colour(words)]
    read = clause(words)
    if read is not None:
        found += [*_location(words, read), *_worn(words, read), *_subject(words, read), *_objects(words, read)]
    return [each for each in dict.fromkeys(found) if not _told(each)]


def agreed(asked: Sequence[Asked]) -> list[Asked]:
    """The questions about one photograph, each once, without those of number and colour that its captions dispute."""
    answers: dict[str, set[str]] = {}
    for each in asked:
        answers.setdefault(each.text, set()).add(each.answer)
    once = {each.text: each for each in reversed(asked)}
    disputed = {text for text, each in once.items() if each.kind in ("number", "colour") and len(answers[text]) > 1}
    return [each for each in dict.fromkeys(asked) if once[each.text] == each and each.text not in disputed]


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


def _number(words: list[str]) -> Iterator[Asked]:
    """``two dogs run …``: how many dogs run …? Elsewhere in a caption: how many dogs are there?"""
    places = [place for place, word in enumerate(words) if word in NUMBERS]
    if len(places) != 1 or {"another", "other", "others", "crowd", "more"} & set(words):
        return
    place = places[0]
    phrase = noun_phrase(words, place)
    if phrase is None or not phrase.plural or phrase.head in VAGUE or set(phrase.words) & UNITS:
        return
    if _occurrences(words, phrase.head) > 1:
        return  # two dogs and a black dog
    things = phrase.words[1:]
    asked = ["how", "many", *things]
    rest = _up_to_comma(words, phrase.end)
    whole = place == 0 and rest and not ({"and", "while", "as", "one", "or", "both"} & set(rest))
    if whole and rest[0] in BE and len(rest) > 1 and not any(word in BE for word in rest[1:]):
        asked += rest
    elif whole and is_participle(rest[0]) and not (BE & set(rest) or any(map(_is_verb, rest[1:]))):
        asked += ["are", *rest]
    elif whole and is_finite(rest[0], plural=True) and not BE & set(rest):
        asked += rest
    else:
        asked += ["are", "there"]
    yield Asked(" ".join(asked), words[place], "number")


def _colour(words: list[str]) -> Iterator[Asked]:
    """``a red car``: what is the color of the car? Not of two colours, nor of a thing that occurs twice."""
    if {"one", "ones", "other", "another", "different"} & set(words):
        return
    for place, word in enumerate(words[:-1]):
        around = words[max(0, place - 1) : place] + words[place + 1 : place + 2]
        if word not in COLOURS or "and" in around or COMMA in around or set(around) & COLOURS:
            continue
        if words[place + 1] in OF_PARTS:
            continue
        begins = [back for back in range(max(0, place - 3), place) if words[back] in ARTICLES | POSSESSIVES]
        phrase = noun_phrase(words, begins[-1]) if begins else noun_phrase(words, place, determiner=False)
        if (
            phrase is None
            or word not in phrase.words
            or phrase.words[-1] == word
            or _occurrences(words, phrase.head) > 1
        ):
            continue
        if (
            set(phrase.words) & set(OF_PARTS)
            or not names_an_object(phrase.head)
            or len(set(phrase.words) & COLOURS) > 1
        ):
            continue
        yield Asked(f"what is the color of the {phrase.head}", "gray" if word == "grey" else word, "colour")
        return


def _location(words: list[str], read: Clause) -> Iterator[Asked]:
    """``a cat sleeps in a bathtub``: where is the cat? The place stands at the end, or behind the verb."""
    subject, verb = read.subject, read.verb
    if subject.head in VAGUE:
        return
    places = [place for place in range(1, len(words)) if words[place] == "in" and words[place - 1] != "covered"]
    begin = subject.end if verb is None else verb.end
    behind = [place for place in places if verb is not None and place == begin]
    last = [place for place in places[-1:] if _one_phrase(words[begin:place])]
    for place in [*behind, *last]:
        where = noun_phrase(words, place + 1) or noun_phrase(words, place + 1, determiner=False)
        whole = where is not None and (where.end == len(words) or (place in behind and ends(words, where.end)))
        if where is None or not whole or not names_a_place(where.head):
            continue
        auxiliary = "are" if subject.plural else "is"
        yield Asked(f"where {auxiliary} the {' '.join(subject.words)}", where.head, "location")
        return


def _one_phrase(words: list[str]) -> bool:
    """True for words with one preposition at most, so that what follows is of the verb or of its object."""
    clauses = {"while", "as", "that", "who", "which", "another"}
    return not clauses & set(words) and sum(word in PREPOSITIONS for word in words) <= 1


def _worn(words: list[str], read: Clause) -> Iterator[Asked]:
    """``a man in a red shirt …`` and ``a man wearing a hat``: what is the man wearing? Not of several things."""
    auxiliary = "are" if read.subject.plural else "is"
    found = [noun_phrase(words, place) or noun_phrase(words, place, determiner=False) for place in read.worn]
    if len(found) != 1 or found[0] is None or not is_clothing(found[0].head):
        return
    if words[found[0].end : found[0].end + 1] not in (["and"], ["or"], ["of"]) and read.subject.head not in VAGUE:
        yield Asked(f"what {auxiliary} the {' '.join(read.subject.words)} wearing", found[0].head, "object")


def _subject(words: list[str], read: Clause) -> Iterator[Asked]:
    """``a dog is running on the grass``: what is running on the grass?"""
    subject, verb = read.subject, read.verb
    if verb is None or is_person(subject.head) or not names_an_object(subject.head):
        return
    if not verb.participle and subject.plural:
        return
    rest = _phrases(words, verb.end, most=3)
    if rest is None or len(rest) < 2:
        return
    auxiliary = (["are"] if subject.plural else ["is"]) if verb.participle else []
    yield Asked(" ".join(["what", *auxiliary, verb.word, *rest]), subject.head, "object")


def _objects(words: list[str], read: Clause) -> Iterator[Asked]:
    """``a man is riding a horse``: what is the man riding? ``a dog jumps over a log``: what does the dog jump over?"""
    subject, verb = read.subject, read.verb
    if verb is None or subject.head in VAGUE:
        return
    base = base_form(verb.word, "v") or verb.word
    behind = preposition(words, verb.end)
    if behind == ("at",) and base not in AT:
        return
    place = verb.end + len(behind)
    thing = noun_phrase(words, place) or (noun_phrase(words, place, determiner=False) if behind else None)
    if thing is None or not ends(words, thing.end) or not names_an_object(thing.head):
        return
    near = words[thing.end : thing.end + 1]
    rest = [] if behind or not BEHIND & set(near) else _phrases(words, thing.end, most=1) or []
    asked = _asking(subject, verb, base)
    yield Asked(" ".join([*asked, *behind, *rest]), thing.head, "object")


def _asking(subject: Phrase, verb: Verb, base: str) -> list[str]:
    """``what is the man riding``, ``what do the men ride``."""
    if verb.participle:
        return ["what", "are" if subject.plural else "is", "the", *subject.words, verb.word]
    return ["what", "do" if subject.plural else "does", "the", *subject.words, base]


def _phrases(words: list[str], place: int, most: int) -> list[str] | None:
    """The words of what follows a verb or an object, up to some phrases; None where a rule can't tell them."""
    found: list[str] = []
    for number in range(most):
        if place >= len(words) or words[place] == COMMA or words[place] in ("while", "as", "that", "who", "which"):
            return found
        start = place
        behind = preposition(words, place) or (("in",) if words[place] == "in" else ())
        if behind and behind[0] not in BEHIND and number:
            return found
        if not behind and number:
            return found if ends(words, place) else None
        place += len(behind)
        phrase = noun_phrase(words, place) or noun_phrase(words, place, determiner=False)
        if phrase is None or not ends(words, phrase.end) or _lacks_an_article(words[place : phrase.end], phrase):
            return found if number else None
        place = phrase.end
        found += words[start:place]
    return found


def _lacks_an_article(words: list[str], phrase: Phrase) -> bool:
    """True for ``in fountain``: a bare noun that is neither a plural nor of a matter."""
    return len(words) == len(phrase.words) and not phrase.plural and phrase.head not in MATTER


def _is_verb(word: str) -> bool:
    return is_participle(word) or is_finite(word, plural=True)


def _occurrences(words: list[str], noun: str) -> int:
    """How often a caption has a noun, in the singular or the plural."""
    base = base_form(noun, "n")
    return sum(base_form(word, "n") == base for word in words)


def _up_to_comma(words: list[str], place: int) -> list[str]:
    rest = words[place:]
    return rest[: rest.index(COMMA)] if COMMA in rest else rest
