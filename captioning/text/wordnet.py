"""WordNet, by nltk: what a word can mean, and what it mostly is."""

from functools import lru_cache
from typing import Any

from captioning.core.errors import CaptioningError


class WordNetMissingError(CaptioningError):
    """WordNet is not among nltk's data."""


@lru_cache(maxsize=1)
def wordnet() -> Any:
    """WordNet, by nltk.

    Raises:
        WordNetMissingError: it is not among nltk's data.
    """
    from nltk.corpus import wordnet as found

    try:
        found.ensure_loaded()
    except LookupError as error:
        raise WordNetMissingError(
            "WUPS and questions from captions need WordNet, which is not here. Fetch it once, with a network: "
            "python -m nltk.downloader wordnet (or set NLTK_DATA to a folder that has corpora/wordnet)."
        ) from error
    return found


@lru_cache(maxsize=1 << 16)
def base_form(word: str, part: str) -> str | None:
    """The dictionary's form of a word as a part of speech (``n``, ``v``, ``a``); None for a word that is none."""
    found: str | None = wordnet().morphy(word, part)
    return found


@lru_cache(maxsize=1 << 16)
def uses(word: str, part: str) -> int:
    """How often WordNet's tagged texts use a word as a part of speech."""
    base = base_form(word, part)
    if base is None:
        return 0
    lemmas = (lemma for synset in wordnet().synsets(base, part) for lemma in synset.lemmas() if lemma.name() == base)
    return sum(int(lemma.count()) for lemma in lemmas)


@lru_cache(maxsize=1 << 16)
def domain(noun: str) -> str:
    """The lexicographer's file of a noun's most frequent meaning, such as ``animal``; empty if it has none."""
    meanings = wordnet().synsets(base_form(noun, "n") or noun, "n")
    return str(meanings[0].lexname()).partition(".")[2] if meanings else ""


@lru_cache(maxsize=1 << 16)
def is_a(noun: str, kind: str) -> bool:
    """True if a noun's most frequent meaning is one of a kind, such as ``clothing.n.01``."""
    meanings = wordnet().synsets(base_form(noun, "n") or noun, "n")
    return bool(meanings) and any(kind == one.name() for path in meanings[0].hypernym_paths() for one in path)
