"""Properties of captions besides their quality: vocabulary, repetitions, and reference words that never occur."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain, islice

import numpy as np
from numpy.typing import NDArray

from captioning.core.measure import Measure
from captioning.core.spilled import Spilled
from captioning.metrics.ngrams import different
from captioning.metrics.packed import Sets
from captioning.text.endings import ends_badly
from captioning.text.registry import OF_ENGLISH, Tokenizer
from captioning.text.tokenizer import tokenize_each

SHARES = (
    Measure("different", higher_is_better=True, scale=100.0, validated=False),
    Measure("novel", higher_is_better=True, scale=100.0, validated=False),
    Measure("bad_endings", higher_is_better=False, scale=100.0, validated=False),
)

_AT_ONCE = 10_000  # captions whose tokens are in memory
_COMPARED = 100_000  # captions of a part, whose hashes are compared with one another


@dataclass(frozen=True)
class Diversity:
    """The diversity of the generated captions of a split.

    Attributes:
        vocabulary: the number of different words.
        mean_length: the mean number of words per caption.
        distinct: the number of different captions over the number of captions, 0 to 1.
        novel: the fraction of captions that do not occur in training, or None if the training captions are unknown.
        bad_endings: the fraction of captions that end in a function word of English, see ``captioning.text.endings``;
            None with a tokenizer of any language.
        never_said: the words of the references that no caption contains, the most frequent first, with their counts.
    """

    vocabulary: int
    mean_length: float
    distinct: float
    novel: float | None
    bad_endings: float | None
    never_said: list[tuple[str, int]]


def diversity(
    candidates: Sequence[str],
    references: Sequence[Sequence[str]],
    training: Sequence[str] | None = None,
    tokenizer: Tokenizer = tokenize_each,
) -> Diversity:
    """Compute the diversity of captions as tokens, so that case and punctuation do not count.

    Args:
        candidates: one or more captions.
        references: the references of each image, as written.
        training: all captions of the training set, as written.
        tokenizer: the tokenizer of all captions.
    """
    said: set[str] = set()
    words = badly = 0

    def read() -> Iterator[list[str]]:
        nonlocal words, badly
        for tokens in _of_each(candidates, tokenizer):
            said.update(tokens)
            words += len(tokens)
            badly += ends_badly(tokens)
            yield tokens

    captions = _hashes(read())
    counts: Counter[str] = Counter()
    given = references.flat if isinstance(references, Sets) else [*chain.from_iterable(references)]
    for tokens in _of_each(given, tokenizer):
        counts.update(tokens)
    known = None if training is None else _hashes(_of_each(training, tokenizer))
    parts = 1 + max(len(captions), len(known or ())) // _COMPARED
    distinct = new = 0
    for part in range(parts):
        here = _part(captions, part, parts)
        distinct += len(different(here))
        if known is not None:
            new += int(np.isin(here, _part(known, part, parts), invert=True).sum())
    return Diversity(
        vocabulary=len(said),
        mean_length=words / len(candidates),
        distinct=distinct / len(candidates),
        novel=None if known is None else new / len(candidates),
        bad_endings=badly / len(candidates) if tokenizer in OF_ENGLISH else None,
        never_said=sorted(
            ((w, n) for w, n in counts.items() if w not in said), key=lambda entry: (-entry[1], entry[0])
        ),
    )


def _of_each(captions: Sequence[str], tokenizer: Tokenizer) -> Iterator[list[str]]:
    """The tokens of one caption after the other; the tokens of some are in memory at a time."""
    for begin in range(0, len(captions), _AT_ONCE):
        yield from tokenizer(captions[begin : begin + _AT_ONCE])


def _hashes(captions: Iterator[list[str]]) -> Spilled:
    """``(C,)``: 8 bytes that stand for each caption's tokens, which take too much memory where there are very many."""
    found = Spilled(np.uint64)
    while some := b"".join(map(_hash, islice(captions, _AT_ONCE))):
        found.append(np.frombuffer(some, np.uint64))
    return found


def _hash(tokens: list[str]) -> bytes:
    return blake2b("\n".join(tokens).encode("utf-8", "surrogatepass"), digest_size=8).digest()


def _part(hashes: Spilled, part: int, parts: int) -> NDArray[np.uint64]:
    """The hashes of one of several parts: equal hashes are in the same part."""
    found = [block[block % np.uint64(parts) == part] for _, block in hashes.blocks()]
    return np.concatenate([np.zeros(0, np.uint64), *found])


def shares(
    candidates: Sequence[str], training: Sequence[str] | None = None, tokenizer: Tokenizer = tokenize_each
) -> dict[str, float]:
    """The shares of captions that evaluation reports beside the scores, by the names of ``SHARES``.

    Args:
        candidates: one or more captions.
        training: all captions of the training set, as written; without them there is no share of novel captions.
        tokenizer: the tokenizer of all captions; with one of any language there is no share of bad endings.
    """
    found = diversity(candidates, (), training, tokenizer)
    named = {"different": found.distinct, "novel": found.novel, "bad_endings": found.bad_endings}
    return {name: share for name, share in named.items() if share is not None}
