"""The English Snowball stemmer (Porter2), of the version that METEOR 1.5 contains.

Porter, "The English (Porter2) stemming algorithm", https://snowballstem.org/algorithms/english/stemmer.html. The step
names are the page's. nltk's stemmer differs on some words ("realizer"), and today's Snowball on others.
"""

import re

_VOWELS = frozenset("aeiouy")
_DOUBLES = ("bb", "dd", "ff", "gg", "mm", "nn", "pp", "rr", "tt")


def _rules(text: str) -> dict[str, str]:
    """Endings and their replacements, of a text such as ``izer:ize li:``."""
    return {ending: base for ending, _, base in (rule.partition(":") for rule in text.split())}


_WHOLE = _rules(
    "skis:ski skies:sky dying:die lying:lie tying:tie idly:idl gently:gentl ugly:ugli early:earli only:onli "
    "singly:singl sky:sky news:news howe:howe atlas:atlas cosmos:cosmos bias:bias andes:andes"
)
_AFTER_1A = {"inning", "outing", "canning", "herring", "earring", "proceed", "exceed", "succeed"}
_PREFIX = re.compile("gener|commun|arsen")
_REGION = re.compile("[aeiouy][^aeiouy]")  # a region begins after the first consonant that follows a vowel
_CONSONANT_Y = re.compile("([aeiouy])y")  # such a y is written Y, and so is one at the beginning

# Suffixes and their replacements; of several that a word ends with, the longest one counts.
_STEP_2 = _rules(
    "tional:tion enci:ence anci:ance abli:able entli:ent izer:ize ization:ize ational:ate ation:ate ator:ate alism:al "
    "aliti:al alli:al fulness:ful ousli:ous ousness:ous iveness:ive iviti:ive biliti:ble bli:ble ogi:og fulli:ful "
    "lessli:less li:"
)
_STEP_3 = _rules("tional:tion ational:ate alize:al icate:ic iciti:ic ical:ic ful: ness: ative:")
_STEP_4 = _rules("al: ance: ence: er: ic: able: ible: ant: ement: ment: ent: ism: ate: iti: ous: ive: ize: ion:")


def stem(word: str) -> str:
    """The stem of a lower-case word."""
    if word in _WHOLE:
        return _WHOLE[word]
    if len(word) < 3:
        return word
    word = word.removeprefix("'")
    word = _CONSONANT_Y.sub(r"\1Y", "Y" + word[1:] if word.startswith("y") else word)
    first = _region(word, found.end() if (found := _PREFIX.match(word)) else None)
    regions = first, _region(word[first:], None) + first
    word = _step_1a(_without_possessive(word))
    if word in _AFTER_1A:
        return word
    word = _step_1b(word, regions[0])
    if len(word) > 2 and word[-1] in "yY" and word[-2] not in _VOWELS:  # step 1c
        word = word[:-1] + "i"
    word = _step_2(word, regions[0])
    word = _step_3(word, regions)
    word = _step_4(word, regions[1])
    return _step_5(word, regions).replace("Y", "y")


def _region(word: str, begin: int | None) -> int:
    """The beginning of R1 of a word, or of R2 within R1."""
    if begin is not None:
        return begin
    found = _REGION.search(word)
    return found.end() if found else len(word)


def _without_possessive(word: str) -> str:
    for suffix in ("'s'", "'s", "'"):
        if word.endswith(suffix):
            return word.removesuffix(suffix)
    return word


def _step_1a(word: str) -> str:
    if word.endswith("sses"):
        return word[:-2]
    if word.endswith(("ied", "ies")):
        return word[:-2] if len(word) > 4 else word[:-1]
    if word.endswith("s") and not word.endswith(("us", "ss")) and _has_vowel(word[:-2]):
        return word[:-1]
    return word


def _step_1b(word: str, first: int) -> str:
    suffix = _longest(word, ("eed", "eedly", "ed", "edly", "ing", "ingly"))
    if suffix is None:
        return word
    before = word.removesuffix(suffix)
    if suffix.startswith("ee"):
        return before + "ee" if len(before) >= first else word
    if not _has_vowel(before):
        return word
    if before.endswith(("at", "bl", "iz")):
        return before + "e"
    if before.endswith(_DOUBLES):
        return before[:-1]
    return before + "e" if len(before) == first and _ends_short(before) else before


def _step_2(word: str, first: int) -> str:
    suffix = _longest(word, _STEP_2)
    if suffix is None or len(word) - len(suffix) < first:
        return word
    before = word.removesuffix(suffix)
    if (suffix == "ogi" and not before.endswith("l")) or (suffix == "li" and before[-1:] not in tuple("cdeghkmnrt")):
        return word
    return before + _STEP_2[suffix]


def _step_3(word: str, regions: tuple[int, int]) -> str:
    suffix = _longest(word, _STEP_3)
    if suffix is None or len(word) - len(suffix) < regions[suffix == "ative"]:
        return word
    return word.removesuffix(suffix) + _STEP_3[suffix]


def _step_4(word: str, second: int) -> str:
    suffix = _longest(word, _STEP_4)
    if suffix is None or len(word) - len(suffix) < second:
        return word
    before = word.removesuffix(suffix)
    return word if suffix == "ion" and before[-1:] not in ("s", "t") else before


def _step_5(word: str, regions: tuple[int, int]) -> str:
    first, second = regions
    before = word[:-1]
    if word.endswith("e"):
        return before if len(before) >= second or (len(before) >= first and not _ends_short(before)) else word
    return before if word.endswith("ll") and len(before) >= second else word


def _longest(word: str, suffixes: "dict[str, str] | tuple[str, ...]") -> str | None:
    return max((suffix for suffix in suffixes if word.endswith(suffix)), key=len, default=None)


def _has_vowel(part: str) -> bool:
    return not _VOWELS.isdisjoint(part)


def _ends_short(word: str) -> bool:
    """True if a word ends in a short syllable."""
    if len(word) == 2:
        return word[0] in _VOWELS and word[1] not in _VOWELS
    return len(word) > 2 and word[-3] not in _VOWELS and word[-2] in _VOWELS and word[-1] not in "aeiouywxY"
