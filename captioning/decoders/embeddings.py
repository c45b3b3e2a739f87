"""Pretrained word vectors (GloVe: Pennington et al., EMNLP 2014)."""

import unicodedata
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from captioning.core.errors import CaptioningError
from captioning.core.texts import open_text


def load_glove(path: str | Path, words: Sequence[str], size: int) -> tuple[Tensor, Tensor]:
    """Read the vectors of some words from GloVe's text format: one line per word, the word and then its numbers.

    fastText (.vec) and word2vec's text form begin with a line of two whole numbers, the number of words and the length
    of a vector; that line is no vector.

    Args:
        path: the text file's path.
        words: the words of the vocabulary, in the order of their numbers.
        size: E, the length of a vector.

    Returns:
        The numbers ``(K,)`` of the words found, increasing, and their vectors ``(K, E)``.

    Raises:
        CaptioningError: the file cannot be read, has vectors of another size, or a line that is no vector.
    """
    wanted = {unicodedata.normalize("NFC", word): number for number, word in enumerate(words)}
    found: dict[int, Tensor] = {}
    with open_text(path, "file of word vectors") as lines:
        for place, line in enumerate(lines, start=1):
            if place == 1 and _is_header(line, size, path):
                continue
            # from the right: some words contain spaces; a few programs write tabs
            word, *numbers = line.rstrip().replace("\t", " ").rsplit(" ", size)
            if len(numbers) != size or (place == 1 and " " in word):
                if not line.strip():
                    continue
                raise CaptioningError(
                    f"{path}, line {place}: not a word and {size} numbers, but {len(line.split())} columns. "
                    "Set embedding_size of the decoder or answerer to the size of the file's vectors."
                )
            word = word if word.isascii() else unicodedata.normalize("NFC", word)
            if word in wanted:
                found[wanted[word]] = _vector(numbers, f"{path}, line {place}")
    numbers_found = sorted(found)
    vectors = torch.stack([found[number] for number in numbers_found]) if found else torch.zeros(0, size)
    return torch.tensor(numbers_found, dtype=torch.long), vectors


def set_vectors(embedding: nn.Embedding, path: str | Path, words: Sequence[str]) -> int:
    """Set an embedding of words to pretrained vectors.

    Args:
        embedding: the layer from words to vectors, ``(V, E)``.
        path: the vectors' file, see ``load_glove``.
        words: the V words, in the order of their numbers.

    Returns:
        The number of words found.

    Raises:
        CaptioningError: see ``load_glove``.
    """
    numbers, vectors = load_glove(path, words, embedding.embedding_dim)
    with torch.no_grad():
        embedding.weight[numbers] = vectors.to(embedding.weight)
    return len(numbers)


def _is_header(line: str, size: int, path: str | Path) -> bool:
    """True for a first line with the number of words and the length of a vector.

    Raises:
        CaptioningError: the vectors have another length.
    """
    columns = line.split()
    if len(columns) != 2 or size == 1 or not all(column.isascii() and column.isdecimal() for column in columns):
        return False
    if columns[1].lstrip("0") != str(size):
        raise CaptioningError(
            f"{path}: its first line says that its vectors have {columns[1]:.20} numbers, and decoder.embedding_size "
            f"is {size}. Set decoder.embedding_size={columns[1]:.20}."
        )
    return True


def _vector(numbers: Sequence[str], where: str) -> Tensor:
    try:
        vector = torch.tensor([float(number) for number in numbers])
    except ValueError as error:
        raise CaptioningError(f"{where}: {error}. Is the file whole, and in GloVe's text form?") from error
    if not bool(vector.isfinite().all()):
        raise CaptioningError(f"{where}: a number of this vector is not finite. Take the line out of the file.")
    return vector
