"""The phrases of a caption, by rules over words: ``subject [what it wears or has] VERB [object | preposition noun]``.

The rules read only captions of this form, as most captions of photographs are; of others they see the subject alone.
"""

import re
from dataclasses import dataclass

from captioning.data.caption_words import (
    ARTICLES,
    ASK_ON,
    BE,
    COLLECTIVES,
    DIGITS,
    NO_HEADS,
    NUMBERS,
    OF_ONE,
    PEOPLE,
    POSSESSIVES,
    PREPOSITIONS,
    is_clothing,
    is_finite,
    is_noun,
    is_participle,
    is_plural,
)
from captioning.text.wordnet import base_form
from captioning.text.words import tokenize_words

COMMA = ","
LONGEST = 5  # words of a noun phrase without its determiner


@dataclass(frozen=True)
class Phrase:
    """A noun phrase.

    Attributes:
        end: the place of the word after the phrase.
        head: the noun.
        words: the words without an article.
        plural: True for several things.
    """

    end: int
    head: str
    words: tuple[str, ...]
    plural: bool


@dataclass(frozen=True)
class Verb:
    """A verb with the place of the word after it.

    Attributes:
        end: the place.
        word: the verb as written: a participle, or a form of the present.
        participle: True for a form in -ing.
    """

    end: int
    word: str
    participle: bool


@dataclass(frozen=True)
class Clause:
    """The subject of a caption and its verb.

    Attributes:
        subject: the subject.
        verb: the verb; None for a caption of another form.
        worn: the places where the phrases of what the subject wears begin.
    """

    subject: Phrase
    verb: Verb | None
    worn: tuple[int, ...]


def split_words(caption: str) -> list[str]:
    """The words of a caption, with digits as words, and one comma for each sign that separates parts."""
    parts = [tokenize_words(part) for part in re.split(r"[,;:.()\"]", caption)]
    words: list[str] = []
    for part in parts:
        words += [COMMA, *part] if words and part else part
    return [DIGITS.get(word, word) for word in words]


def noun_phrase(words: list[str], begin: int, determiner: bool = True) -> Phrase | None:
    """The noun phrase at a place; None where there is none, or where its number and its determiner disagree.

    Args:
        words: the caption's words.
        begin: the place.
        determiner: whether an article, a number or a possessive must be the first word; without one, a plural passes.
    """
    place = begin
    first = words[place] if place < len(words) else COMMA
    if first in ARTICLES | POSSESSIVES:
        place += 1
    if place < len(words) - 2 and words[place] in COLLECTIVES and words[place + 1] == "of":
        inner = noun_phrase(words, place + 2, determiner=False)
        if inner is None or not inner.plural:
            return None
        return inner
    numbered = words[place : place + 1][:1] and words[place] in NUMBERS
    start = place
    place += 1 if numbered else 0
    last = None
    while place < min(len(words), start + LONGEST):
        word = words[place]
        if is_noun(word):
            if last is not None and first in OF_ONE and is_plural(word):
                break  # a man skis
            last = place
            if word in PEOPLE or ((numbered or first not in ARTICLES | POSSESSIVES) and is_plural(word)):
                break
        elif last is not None or not _modifies(word):
            break
        place += 1
    if last is None:
        return None
    head = words[last]
    bare = first not in ARTICLES | POSSESSIVES and not numbered
    if (first in OF_ONE and is_plural(head)) or ((numbered or (bare and determiner)) and not is_plural(head)):
        return None
    return Phrase(last + 1, head, tuple(words[start : last + 1]), is_plural(head))


def ends(words: list[str], place: int) -> bool:
    """True where a noun phrase that ends here is whole: the caption ends, or a word of another phrase follows."""
    if place >= len(words) or words[place] == COMMA:
        return True
    word = words[place]
    return word in PREPOSITIONS - {"and", "of", "to"} or word in BE or is_participle(word)


def preposition(words: list[str], place: int) -> tuple[str, ...]:
    """The preposition at a place that a question can end with; empty if there is none."""
    return next((each for each in ASK_ON if tuple(words[place : place + len(each)]) == each), ())


def clause(words: list[str]) -> Clause | None:
    """The subject and the verb of a caption; None for a caption that begins with no noun phrase."""
    subject = noun_phrase(words, 0)
    if subject is None:
        return None
    place = subject.end
    worn: list[int] = []
    while place < len(words):
        if words[place] in ("who", "that") and words[place + 1 : place + 2] and words[place + 1] in BE:
            place += 1
        if words[place] == "dressed":
            place += 1
        wearing = words[place] in ("wearing", "wears")
        if not wearing and words[place] not in ("in", "with", "on", "and"):
            break
        attached = noun_phrase(words, place + 1) or noun_phrase(words, place + 1, determiner=False)
        if attached is None:
            return Clause(subject, None, tuple(worn))
        if words[place] == "and" and place == subject.end:
            return Clause(subject, None, ())  # of two subjects
        if (wearing or words[place] == "in") and is_clothing(attached.head):
            worn.append(place + 1)
        place = attached.end
    return Clause(subject, _verb(words, place, subject.plural), tuple(worn))


def _verb(words: list[str], place: int, plural: bool) -> Verb | None:
    if place < len(words) and words[place] in BE:
        if (words[place] == "are") != plural:
            return None  # a boy in red and a boy in blue are …
        place += 1
        if place >= len(words) or not is_participle(words[place]):
            return None
    if place >= len(words):
        return None
    if is_participle(words[place]):
        return Verb(place + 1, words[place], participle=True)
    return Verb(place + 1, words[place], participle=False) if is_finite(words[place], plural) else None


def _modifies(word: str) -> bool:
    """True for a word that can stand before a noun, beside nouns: an adjective, a colour, a participle of state."""
    if word in PREPOSITIONS or word in BE:
        return False
    return base_form(word, "a") is not None or word in NO_HEADS
