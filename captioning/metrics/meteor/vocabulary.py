"""The words of a corpus and what METEOR knows of them: stems, synonyms, and whether they are function words."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from itertools import chain

from captioning.metrics.meteor.stemmer import stem
from captioning.metrics.meteor.tables import Tables
from captioning.text.token_numbers import Integers

Others = frozenset[int]

# WordNet's endings of inflected words and those of their base forms, in the order in which they are tried.
_ENDINGS = (
    *(("s", ""), ("ses", "s"), ("xes", "x"), ("zes", "z"), ("ches", "ch"), ("shes", "sh"), ("men", "man")),
    *(("ies", "y"), ("s", ""), ("ies", "y"), ("es", "e"), ("es", ""), ("ed", "e"), ("ed", ""), ("ing", "e")),
    *(("ing", ""), ("er", ""), ("est", ""), ("er", "e"), ("est", "e")),
)


class Vocabulary:
    """The different words of a corpus, numbered.

    The original compares 32-bit hashes in place of words and stems: two words of the same hash, such as "is" and "k5",
    match exactly.

    Attributes:
        numbers: the number of each word.
        identities: for each word, the number of the first word that has the same hash, mostly its own.
        in_tables: ``(W,)`` each word's number in the tables, -1 for an unknown word.
        function: whether each word is a function word.
        same_stem: for each word, the other words with its stem.
        synonyms: for each word, the other words with a synset in common.
    """

    def __init__(self, words: Iterable[str], tables: Tables) -> None:
        """Number words and look them up."""
        texts = list(dict.fromkeys(words))
        self.numbers = {word: number for number, word in enumerate(texts)}
        hashes = list(map(java_hash, texts))
        first: dict[int, int] = {}
        self.identities = [first.setdefault(each, number) for number, each in enumerate(hashes)]
        self.in_tables = tables.find_words(texts)
        function_words = tables.function_words()
        self.function = [word in function_words for word in texts]
        self.same_stem = _sharing([(java_hash(stem(word)),) for word in texts], self.identities)
        self.synonyms = _sharing(_synsets(texts, self.in_tables, tables), self.identities)

    def __getitem__(self, words: Sequence[str]) -> list[int]:
        """The numbers of words."""
        return list(map(self.numbers.__getitem__, words))


def java_hash(word: str) -> int:
    """``word.hashCode()`` of Java, without the sign: a polynomial of the word's UTF-16 units."""
    units = word.encode() if word.isascii() else memoryview(word.encode("utf-16-le", "surrogatepass")).cast("H")
    value = 0
    for unit in units:
        value = (31 * value + unit) & 0xFFFFFFFF
    return value


def _synsets(words: Sequence[str], numbers: Integers, tables: Tables) -> list[set[int]]:
    """The synsets of each word and of its base forms."""
    bases = [tables.bases_of(number) if number >= 0 else [] for number in numbers.tolist()]
    forms = [_base_forms(word) if not known else [] for word, known in zip(words, bases, strict=True)]
    looked_up = iter(tables.find_words([form for each in forms for form in each]).tolist())
    found = []
    for number, known, candidates in zip(numbers.tolist(), bases, forms, strict=True):
        synsets = set(tables.synsets_of(number)) if number >= 0 else set()
        for base in known:
            synsets.update(tables.synsets_of(base))
        of_forms = [tables.synsets_of(form) if form >= 0 else [] for form in [next(looked_up) for _ in candidates]]
        synsets.update(next(filter(None, of_forms), ()))
        found.append(synsets)
    return found


def _base_forms(word: str) -> list[str]:
    """The possible base forms of a regular inflection."""
    if len(word) < 3 or word.endswith("ss"):
        return []
    return [word.removesuffix(ending) + base for ending, base in _ENDINGS if word.endswith(ending)]


def _sharing(properties: Sequence[Collection[int]], identities: Sequence[int]) -> list[Others]:
    """For each word, the words of another identity that have a property in common with it."""
    having = defaultdict(list)
    for word, each in enumerate(properties):
        for one in each:
            having[one].append(word)
    found = []
    for identity, each in zip(identities, properties, strict=True):
        others = set(chain.from_iterable(map(having.__getitem__, each)))
        found.append(frozenset(other for other in others if identities[other] != identity))
    return found
