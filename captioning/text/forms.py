"""The words of lines numbered by arrays of bytes: no string is made of a repeated word.

Dimensions: L lines, W words of all lines, F forms (different words as written).
"""

import numpy as np
from numpy.typing import NDArray

from captioning.text.token_numbers import Integers

_HEAD, _TAIL = 7, 8  # bytes of a word in two numbers; the first number's last byte is the word's length
_TABLE = 18  # bits of a place in the hash table, which stays in a processor's cache
_FACTORS = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0xD6E8FEB86659FD93)  # odd numbers, one for each round of hashing
_MASKS = np.array([(1 << 8 * size) - 1 for size in range(_TAIL + 1)], np.uint64)
_ENCODING = ("utf-8", "surrogatepass")


def number_forms(text: str) -> tuple[list[str], Integers, Integers]:
    r"""Number the words between blanks.

    A word of up to 15 bytes is two 64-bit numbers, by which a hash table finds the word's first occurrence. The numbers
    themselves are compared, so that no two words are taken for one. Longer words, and words that have met others in the
    table three times, are found in a dictionary.

    Args:
        text: L lines with ``"\n"`` between them, of words with blanks between them.

    Returns:
        The F forms, in the order of their first occurrence; ``(W,)`` the form of each word; ``(L,)`` the number of
        words of each line.
    """
    content = b"\n" + text.encode(*_ENCODING) + b"\n"
    letters = np.frombuffer(content, np.uint8)
    ends_line = letters == ord("\n")
    blank = ends_line | (letters == ord(" "))
    edges = np.flatnonzero(blank[1:] != blank[:-1]) + 1
    begin, end = edges[0::2], edges[1::2]
    per_line = np.diff(np.searchsorted(begin, np.flatnonzero(ends_line)))
    head, tail = _numbers(content, begin, end - begin)
    first = _first_occurrences(content, begin, end, head, tail)
    firsts = np.flatnonzero(first == np.arange(len(first)))
    number = np.zeros_like(first)
    number[firsts] = np.arange(len(firsts))
    places = zip(begin[firsts].tolist(), end[firsts].tolist(), strict=True)
    if len(content) == len(text) + 2:  # a byte each
        forms = [text[start - 1 : stop - 1] for start, stop in places]
    else:
        forms = [content[start:stop].decode(*_ENCODING) for start, stop in places]
    return forms, number.take(first), per_line


def _numbers(content: bytes, begin: Integers, length: Integers) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """``(W,)`` each: the length and the first bytes of each word; the following bytes, 0 in a short word."""
    padded = content + bytes(_HEAD + _TAIL)
    eight = np.ndarray(len(padded) - 7, "<u8", padded, 0, (1,))  # the eight bytes from each place on
    head = eight[begin] & _MASKS[np.minimum(length, _HEAD)]
    head |= np.minimum(length, 255).astype(np.uint64) << np.uint64(8 * _HEAD)
    tail = np.zeros(len(begin), np.uint64)
    longer = np.flatnonzero(length > _HEAD)
    tail[longer] = eight[begin[longer] + _HEAD] & _MASKS[np.minimum(length[longer] - _HEAD, _TAIL)]
    return head, tail


def _first_occurrences(
    content: bytes, begin: Integers, end: Integers, head: NDArray[np.uint64], tail: NDArray[np.uint64]
) -> Integers:
    """``(W,)``: the place among the words where each word occurs first."""
    first = waiting = np.arange(len(begin))
    table = np.zeros(1 << _TABLE, np.int32)
    mixed = head ^ (tail * np.uint64(_FACTORS[-1]))
    known = end - begin <= _HEAD + _TAIL  # by head and tail
    for factor in _FACTORS:
        some = slice(None) if len(waiting) == len(first) else waiting
        slot = ((mixed[some] * np.uint64(factor)) >> np.uint64(64 - _TABLE)).view(np.int64)
        table[slot[::-1]] = waiting[::-1]  # the first of a slot's words remains
        found = table.take(slot)
        same = (head.take(found) == head[some]) & (tail.take(found) == tail[some]) & known[some]
        if some is waiting:
            first[waiting[same]] = found[same]
        else:
            first = np.where(same, found, waiting)
        waiting = waiting.take(np.flatnonzero(~same))
        if not len(waiting):
            return first
    seen: dict[bytes, int] = {}
    places = zip(waiting.tolist(), begin[waiting].tolist(), end[waiting].tolist(), strict=True)
    for place, start, stop in places:
        first[place] = seen.setdefault(content[start:stop], place)
    return first
