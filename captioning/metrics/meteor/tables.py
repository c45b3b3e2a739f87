"""METEOR's tables for English: synonyms, paraphrases, function words and abbreviations, indexed in one file.

``pycocoevalcap`` installs the tables with the original program. They are read once, and their index is kept in the
user's cache folder (``$XDG_CACHE_HOME/captioning`` or ``~/.cache/captioning``, 65 MB), from where it is mapped
into memory within milliseconds. The index's name contains the checksums that the original's archives hold: tables of
another version have another index.

Dimensions: W words, N nodes of the trie of phrases, P pairs of a phrase and its paraphrase.
"""

import gzip
import json
import logging
import os
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, fields
from functools import lru_cache
from hashlib import blake2b
from itertools import chain, islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from captioning.core.errors import CaptioningError
from captioning.core.files import atomic_write
from captioning.core.locks import lock
from captioning.metrics.java import package, require
from captioning.text.token_numbers import Integers, numbering

log = logging.getLogger(__name__)

LONGEST = 7  # words of the longest phrase
_VERSION = 1
_MAGIC = b"captioning METEOR index\n"
_ALIGNED = 64
_PAIRS = 50_000  # pairs of phrases in memory as text
_PHRASES = 2_000_000  # phrases whose keys are in memory
_JAR = ("function/english.words", "nonbreaking/english.prefixes", "synonym/english.exceptions")
_SYNSETS = "synonym/english.synsets"

Array = NDArray[np.generic]


@dataclass(frozen=True)
class Tables:
    """The index, as arrays mapped into memory.

    A phrase is a node of a trie. Nodes of one word come first and have the word's number; a node of n words has a key
    of its number of n - 1 words and of its last word, and nodes of n words are numbered by their sorted keys.

    Attributes:
        words: ``(W,)`` the sorted 64-bit hashes of the words.
        synsets_start: ``(W + 1,)`` the first synset of each word.
        synsets: the numbers of WordNet's synsets.
        bases_start: ``(W + 1,)`` the first base form of each word that is an irregular inflection.
        bases: the numbers of words.
        node_start: ``(LONGEST + 1,)`` the first node of each length.
        keys: the keys of the nodes of two or more words: the number of the node before, times 2^32, plus the word.
        paraphrases_start: ``(N + 1,)`` the first paraphrase of each node.
        paraphrases: ``(P,)`` nodes, in the order of the original's file.
        lists: the function words and the abbreviations, see ``function_words`` and ``abbreviations``, as JSON.
    """

    words: NDArray[np.uint64]
    synsets_start: NDArray[np.int32]
    synsets: NDArray[np.int32]
    bases_start: NDArray[np.int32]
    bases: NDArray[np.int32]
    node_start: NDArray[np.int32]
    keys: NDArray[np.int64]
    paraphrases_start: NDArray[np.int32]
    paraphrases: NDArray[np.int32]
    lists: NDArray[np.uint8]

    def function_words(self) -> frozenset[str]:
        """The words that weigh less than content words."""
        return frozenset(json.loads(bytes(self.lists))["function"])

    def abbreviations(self) -> dict[str, bool]:
        """The abbreviations that keep their full stop; True for those that keep it before a number alone."""
        found: dict[str, bool] = json.loads(bytes(self.lists))["abbreviations"]
        return found

    def find_words(self, words: Sequence[str]) -> Integers:
        """``(len(words),)`` the numbers of words, -1 for unknown words."""
        return _find(self.words, np.fromiter(map(_hash, words), np.uint64, len(words)))

    def synsets_of(self, word: int) -> list[int]:
        """The synsets of a word by its number."""
        found: list[int] = self.synsets[self.synsets_start[word] : self.synsets_start[word + 1]].tolist()
        return found

    def bases_of(self, word: int) -> list[int]:
        """The numbers of a word's base forms."""
        found: list[int] = self.bases[self.bases_start[word] : self.bases_start[word + 1]].tolist()
        return found

    def longer(self, length: int, nodes: Integers, words: Integers) -> Integers:
        """The nodes of ``length`` words that follow from nodes of one word less; -1 where there is none.

        Args:
            length: 2 to ``LONGEST``.
            nodes: nodes of ``length - 1`` words.
            words: the number of each following word, -1 for an unknown word.
        """
        first, stop = (int(each) - len(self.words) for each in self.node_start[length - 1 : length + 1])
        found = _find(self.keys[first:stop], (nodes << 32) | np.maximum(words, 0))
        return np.where((found >= 0) & (words >= 0), found + first + len(self.words), -1)


def tables() -> Tables:
    """The installed tables; their index is made on the first use.

    Raises:
        UnavailableError: the package with the tables is not installed.
    """
    folder = package("METEOR") / "meteor"
    jar, archive = folder / "meteor-1.5.jar", folder / "data" / "paraphrase-en.gz"
    require("METEOR", jar, archive)
    return _opened(jar, archive, _cache_folder())


def installed() -> bool:
    """True if METEOR's tables are installed."""
    try:
        folder = package("METEOR") / "meteor"
    except CaptioningError:
        return False
    return (folder / "meteor-1.5.jar").is_file() and (folder / "data" / "paraphrase-en.gz").is_file()


@lru_cache(maxsize=2)
def _opened(jar: Path, archive: Path, cache: Path) -> Tables:
    path = cache / f"meteor-en-{_identity(jar, archive)}.index"
    found = _read(path)
    if found is not None:
        return found
    with ExitStack() as waiting:
        with suppress(CaptioningError):  # a folder that can't be written to: this process does without the file
            waiting.enter_context(lock(path.with_suffix(".lock"), wait=True))
        found = _read(path)  # another process may have made the index meanwhile
        if found is not None:
            return found
        log.info("METEOR's tables are indexed, once, in %s.", path)
        made = _index(jar, archive)
        with suppress(CaptioningError):
            _write(path, made)
            return _read(path, whole=True) or made
        return made


def _cache_folder() -> Path:
    try:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:  # a user without a home
        home = Path(tempfile.gettempdir())
    return home / "captioning"


def _identity(jar: Path, archive: Path) -> str:
    """The checksums of the tables, as the archives state them, in 16 digits."""
    with zipfile.ZipFile(jar) as file:
        parts = [file.getinfo(name).CRC for name in (*_JAR, _SYNSETS)]
    with archive.open("rb") as file:
        file.seek(-8, os.SEEK_END)
        parts += struct.unpack("<II", file.read())
    return blake2b(repr((_VERSION, parts)).encode(), digest_size=8).hexdigest()


def _hash(word: str) -> int:
    """64 bits of a word: of all words in the tables, no two have the same."""
    return int.from_bytes(blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def _find(ordered: Array, wanted: Array) -> Integers:
    if not len(ordered):
        return np.full(len(wanted), -1)
    place = np.minimum(np.searchsorted(ordered, wanted), len(ordered) - 1)
    return np.where(ordered[place] == wanted, place, -1)


def _index(jar: Path, archive: Path) -> Tables:
    """Read and index the tables, which takes some seconds."""
    with zipfile.ZipFile(jar) as file:
        function, prefixes, exceptions, synsets = (
            file.read(name).decode("utf-8").split("\n") for name in (*_JAR, _SYNSETS)
        )
    synsets_of = {word: line.split() for word, line in zip(synsets[0::2], synsets[1::2], strict=False)}
    bases_of: dict[str, list[str]] = {}
    for base, line in zip(exceptions[0::2], exceptions[1::2], strict=False):
        for word in line.split():
            bases_of.setdefault(word, []).append(base)

    known = numbering()
    end = known["\n"]  # of a phrase
    words, lengths = _phrases(archive, known, end)
    for word in chain(synsets_of, bases_of, *bases_of.values()):
        known[word]
    del known["\n"]  # the first
    hashes = np.fromiter(map(_hash, known), np.uint64, len(known))
    order = np.argsort(hashes)
    numbers = np.argsort(order)
    number = dict(zip(known, numbers.tolist(), strict=True))
    in_order = [word for word, _ in sorted(number.items(), key=lambda entry: entry[1])]

    node, node_start, keys = _trie(numbers.astype(np.int32)[words - 1], lengths, len(known))
    del words, lengths
    phrase, other = node[0::2], node[1::2]
    by_phrase = np.argsort(phrase, kind="stable")
    abbreviations = {
        parts[0]: parts[1:2] == ["#NUMERIC_ONLY#"]
        for parts in map(str.split, prefixes)
        if parts and not parts[0].startswith("#")
    }
    lists = json.dumps({"function": [word for word in function if word], "abbreviations": abbreviations}).encode()
    return Tables(
        words=hashes[order],
        synsets_start=_starts(len(synsets_of.get(word, ())) for word in in_order),
        synsets=np.array([int(each) for word in in_order for each in synsets_of.get(word, ())], dtype=np.int32),
        bases_start=_starts(len(bases_of.get(word, ())) for word in in_order),
        bases=np.array([number[base] for word in in_order for base in bases_of.get(word, ())], dtype=np.int32),
        node_start=node_start,
        keys=keys,
        paraphrases_start=np.append(0, np.cumsum(np.bincount(phrase, minlength=int(node_start[-1])))).astype(np.int32),
        paraphrases=other[by_phrase],
        lists=np.frombuffer(lists, dtype=np.uint8),
    )


def _starts(counts: Iterable[int]) -> NDArray[np.int32]:
    return np.cumsum([0, *counts], dtype=np.int32)


def _phrases(archive: Path, numbers: dict[str, int], end: int) -> tuple[NDArray[np.int32], NDArray[np.int8]]:
    """The words of all phrases, which get numbers, and the phrases' lengths; pairs of phrases follow one another."""
    words, lengths = [], []
    with gzip.open(archive, "rt", encoding="utf-8", newline="\n") as lines:
        while block := [*islice(lines, 3 * _PAIRS)]:
            del block[0::3]  # the pairs' probabilities
            found = "".join(block).replace("\n", " \n ").split(" ")
            del found[-1]
            code = np.fromiter(map(numbers.__getitem__, found), np.int32, len(found))
            lengths.append((np.diff(np.flatnonzero(code == end), prepend=-1) - 1).astype(np.int8))
            words.append(code[code != end])
    return np.concatenate(words), np.concatenate(lengths)


def _trie(
    words: NDArray[np.int32], lengths: NDArray[np.int8], known: int
) -> tuple[NDArray[np.int32], NDArray[np.int32], Integers]:
    """The node of each phrase, the first node of each length, and the keys of the nodes of two or more words."""
    first = np.cumsum(lengths, dtype=np.int32) - lengths
    node, starts, keys = words[first], [0, known], []
    for length in range(2, LONGEST + 1):
        longer = np.flatnonzero(lengths >= length).astype(np.int32)
        blocks = [longer[begin : begin + _PHRASES] for begin in range(0, len(longer), _PHRASES)]
        unique = np.zeros(0, np.int64)
        for block in blocks:
            unique = np.union1d(unique, _keys(node, words, first, block, length))
        for block in blocks:
            node[block] = np.searchsorted(unique, _keys(node, words, first, block, length)) + starts[-1]
        keys.append(unique)
        starts.append(starts[-1] + len(unique))
    return node, np.array(starts, dtype=np.int32), np.concatenate(keys)


def _keys(
    node: NDArray[np.int32], words: NDArray[np.int32], first: Array, phrases: NDArray[np.int32], length: int
) -> Integers:
    """The keys of the nodes of ``length`` words of some phrases."""
    keys: Integers = (node[phrases].astype(np.int64) << 32) | words[first[phrases] + (length - 1)]
    return keys


def _write(path: Path, index: Tables) -> None:
    """Write an index: the magic line, a line of JSON about the arrays, and the arrays at multiples of 64 bytes."""
    arrays = {field.name: np.ascontiguousarray(getattr(index, field.name)) for field in fields(index)}
    about = {name: [array.dtype.str, len(array), zlib.crc32(array.data)] for name, array in arrays.items()}
    head = _MAGIC + json.dumps(about).encode() + b"\n"
    with atomic_write(path, "wb") as file:
        file.write(head)
        for array in arrays.values():
            file.write(bytes(-file.tell() % _ALIGNED))
            file.write(array)


def _read(path: Path, whole: bool = False) -> Tables | None:
    """Map an index into memory; None if there is none, or a damaged one.

    Args:
        path: the file.
        whole: True to compare the checksums of the arrays too, after the writing.
    """
    try:
        with path.open("rb") as file:
            if file.readline(len(_MAGIC)) != _MAGIC:
                return None
            about = json.loads(file.readline(10_000))
            place = file.tell()
        content = np.memmap(path, dtype=np.uint8, mode="r")
        arrays = {}
        for name, dtype, length, checksum in _entries(about):
            place += -place % _ALIGNED
            size = length * dtype.itemsize
            part = np.asarray(content[place : place + size])
            if len(part) != size or (whole and zlib.crc32(part.data) != checksum):
                return None
            arrays[name] = part.view(dtype)
            place += size
        return Tables(**arrays) if place == len(content) else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _entries(about: dict[str, list[object]]) -> Iterator[tuple[str, np.dtype[np.generic], int, int]]:
    for field in fields(Tables):
        kind, length, checksum = about[field.name]
        yield field.name, np.dtype(str(kind)), int(str(length)), int(str(checksum))
