"""Pretrained word vectors (GloVe: Pennington et al., EMNLP 2014)."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from captioning.core.errors import CaptioningError


def load_glove(path: str | Path, words: Sequence[str], size: int) -> tuple[Tensor, Tensor]:
    """Read the vectors of some words from GloVe's text format: one line per word, the word and then its numbers.

    Args:
        path: the text file's path.
        words: the words of the vocabulary, in the order of their numbers.
        size: E, the length of a vector.

    Returns:
        The numbers ``(K,)`` of the words found, increasing, and their vectors ``(K, E)``.

    Raises:
        CaptioningError: the file cannot be read, has vectors of another size, or a line that is no vector.
    """
    wanted = {word: number for number, word in enumerate(words)}
    found: dict[int, Tensor] = {}
    try:
        with Path(path).open(encoding="utf-8") as lines:
            for place, line in enumerate(lines, start=1):
                word, *numbers = line.rstrip().rsplit(" ", size)  # from the right: some words contain spaces
                if len(numbers) != size or (place == 1 and " " in word):
                    raise CaptioningError(
                        f"{path}, line {place}: not a word and {size} numbers, but {len(line.split())} columns. "
                        "Set decoder.embedding_size to the size of the file's vectors."
                    )
                if word in wanted:
                    found[wanted[word]] = _vector(numbers, f"{path}, line {place}")
    except (OSError, UnicodeDecodeError) as error:
        raise CaptioningError(f"{path} cannot be read as a text file of word vectors: {error}") from error
    numbers_found = sorted(found)
    vectors = torch.stack([found[number] for number in numbers_found]) if found else torch.zeros(0, size)
    return torch.tensor(numbers_found, dtype=torch.long), vectors


def _vector(numbers: Sequence[str], where: str) -> Tensor:
    try:
        return torch.tensor([float(number) for number in numbers])
    except ValueError as error:
        raise CaptioningError(f"{where}: {error}. Is the file whole, and in GloVe's text form?") from error
