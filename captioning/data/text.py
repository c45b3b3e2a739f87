"""UTF-8 texts as arrays of character indices."""

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from captioning.core.errors import CaptioningError
from captioning.core.files import atomic_write, read_json, write_json
from captioning.core.progress import progress
from captioning.core.regular import require_regular
from captioning.core.texts import ENCODING, not_utf8
from captioning.core.vocabulary import CharacterVocabulary
from captioning.data.digests import digests

MAPPED = 100_000_000  # bytes; the indices of larger files are kept on disk and mapped into memory
BLOCK = 1 << 24  # bytes read at a time
CODE_POINTS = 0x110000


@dataclass(frozen=True)
class Text:
    """A text as character indices, the first part for training and the rest for validation.

    Attributes:
        path: the file.
        vocabulary: the characters of the whole text.
        codes: ``(n,)`` the character indices, uint8, uint16 or uint32.
        training: the number of training characters.
    """

    path: Path
    vocabulary: CharacterVocabulary
    codes: NDArray[np.unsignedinteger]
    training: int


def read_characters(text: str, validation: float = 0.1, cache: str | None = None) -> Text:
    """Read a text without any change: line ends, accents and capitals stay.

    A text of more than 100 MB is converted once; its character indices are kept in ``cache`` and mapped into memory.

    Args:
        text: the path of the UTF-8 file.
        validation: the fraction of the text, at its end, for validation.
        cache: the folder for the indices of large texts; by default the text's folder.

    Raises:
        CaptioningError: the file is missing, empty or not UTF-8, or one of the two parts would be empty.
    """
    path = Path(text)
    if not 0 < validation < 1:
        raise CaptioningError(f"data.validation={validation}: take a share of the text above 0 and below 1.")
    try:
        size = path.stat().st_size
        read = _read_large if size > MAPPED else _read_small
        vocabulary, codes = read(path, Path(cache) if cache else path.parent)
    except OSError as error:
        raise CaptioningError(
            f"{path}: can't be read ({error.strerror}). Set data.text to a file of UTF-8 text."
        ) from None
    training = int(len(codes) * (1 - validation))
    if not 0 < training < len(codes):
        raise CaptioningError(
            f"{path}: {len(codes)} characters are too few to hold back {validation:.0%} of them for validation. "
            "Give a longer text."
        )
    return Text(path, vocabulary, codes, training)


def _read_small(path: Path, cache: Path) -> tuple[CharacterVocabulary, NDArray[np.unsignedinteger]]:
    points = np.concatenate([np.empty(0, np.uint32), *_blocks(path)])
    vocabulary, numbers = _number(_present([points]), path)
    return vocabulary, numbers[points]


def _read_large(path: Path, cache: Path) -> tuple[CharacterVocabulary, NDArray[np.unsignedinteger]]:
    """The character indices in ``cache``, written first unless the cache holds a text of the same content."""
    key = digests([path], cache, doing="reading the text")[0].tobytes().hex()
    characters, codes = (cache / f"{path.stem}-{key}.{suffix}" for suffix in ("json", "codes"))
    if not codes.exists():
        size = -(-path.stat().st_size // BLOCK)
        vocabulary, numbers = _number(_present(progress(_blocks(path), "looking for characters", size)), path)
        write_json(characters, "".join(vocabulary.words))
        with atomic_write(codes, "wb") as file:
            for points in progress(_blocks(path), "numbering characters", size):
                file.write(numbers[points].data)
        if digests([path], cache)[0].tobytes().hex() != key:
            codes.unlink()
            raise CaptioningError(f"{path}: it has changed while it was read. Run again.")
    vocabulary = CharacterVocabulary(read_json(characters, "list of a text's characters"))
    return vocabulary, np.memmap(codes, _smallest(len(vocabulary)), mode="r")


def _present(blocks: "Iterator[NDArray[np.uint32]] | list[NDArray[np.uint32]]") -> NDArray[np.bool_]:
    """The code points that occur, as a mask."""
    present = np.zeros(CODE_POINTS, dtype=bool)
    for points in blocks:
        present[points] = True
    return present


def _number(present: NDArray[np.bool_], path: Path) -> tuple[CharacterVocabulary, NDArray[np.unsignedinteger]]:
    """The vocabulary, and a table from code points to character indices."""
    points = np.flatnonzero(present)
    if len(points) < 2:
        raise CaptioningError(f"{path}: a text of two different characters or more is needed; this has {len(points)}.")
    numbers = np.zeros(CODE_POINTS, _smallest(len(points)))
    numbers[points] = np.arange(len(points))
    return CharacterVocabulary("".join(map(chr, points))), numbers


def _smallest(values: int) -> np.dtype[np.unsignedinteger]:
    """The smallest type for ``values`` different indices."""
    return np.min_scalar_type(values - 1)


def _blocks(path: Path) -> Iterator[NDArray[np.uint32]]:
    """The code points of a UTF-8 file, some millions at once."""
    require_regular(path, "text")
    decoder = codecs.getincrementaldecoder(ENCODING)()
    block = b"-"
    with path.open("rb") as file:
        while block:
            block = file.read(BLOCK)
            try:
                text = decoder.decode(block, final=not block)
            except UnicodeDecodeError:
                raise not_utf8(path) from None
            yield np.frombuffer(text.encode("utf-32-le"), np.dtype("<u4"))
