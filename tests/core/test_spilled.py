"""Numbers in a temporary file are the arrays that they stand for."""

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from captioning.core import spilled
from captioning.core.errors import CaptioningError
from captioning.core.spilled import Spilled

PARTS = st.lists(st.tuples(st.integers(0, 9), st.sampled_from([np.uint8, np.uint16, np.float64])), max_size=6)


@given(PARTS, st.sampled_from([0, 10, 1000]), st.booleans(), st.data())
def test_rows(given: list[tuple[int, Any]], held: int, wide: bool, data: st.DataObject) -> None:
    parts: list[NDArray[Any]] = []
    found = Spilled(np.uint8, held)
    for number, (count, dtype) in enumerate(given):
        parts.append((np.arange(count * (2 if wide else 1)) + number).astype(dtype).reshape(count, *[2] * wide))
        found.append(parts[-1])
        assert len(found) == sum(map(len, parts))
    kept = [part for part in parts if len(part)]
    expected = np.concatenate(kept) if kept else np.zeros(0, np.uint8)
    assert found.dtype == expected.dtype and np.array_equal(np.asarray(found), expected)
    begin, end = sorted((data.draw(st.integers(0, len(expected) + 1)), data.draw(st.integers(0, len(expected) + 1))))
    assert found[begin:end].tolist() == expected[begin:end].tolist()
    assert [row for _, block in found.blocks(3) for row in block.tolist()] == expected.tolist()
    assert [begin for begin, _ in found.blocks(3)] == [*range(0, len(expected), 3)]
    if len(expected):
        places = np.array(data.draw(st.lists(st.integers(0, len(expected) - 1), max_size=9)), np.int64)
        assert found.take(places).tolist() == expected[places].tolist()
    assert found.same(Spilled.of(expected))
    if len(expected):
        assert not found.same(Spilled.of(expected[1:])) and not found.same(Spilled.of(expected + 1))


def test_rows_of_far_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spilled, "ROWS", 4)
    places = np.array([99, 0, 50, 0])
    found = Spilled.joined(np.arange(100).reshape(10, 10), np.int32)
    assert found.take(places).tolist() == found.taken(places)[:].tolist() == places.tolist()
    assert found.dtype == np.int32 and not found.same(Spilled.of(places))


def test_the_file_takes_no_memory() -> None:
    tracemalloc.start()
    try:
        found = Spilled(held=1000)
        for begin in range(0, 100_000, 1000):
            found.append(np.arange(begin, begin + 1000))
        assert tracemalloc.get_traced_memory()[0] < 50_000  # of 800,000
        assert sum(int(block.sum()) for _, block in found.blocks(1000)) == sum(range(100_000))
    finally:
        tracemalloc.stop()


def test_no_room_for_the_file_gets_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("there is no /dev/full")
    monkeypatch.setattr(spilled, "TemporaryFile", lambda: full.open("r+b", buffering=0))
    with pytest.raises(CaptioningError, match="the disk is full"):
        Spilled(held=0).append(np.arange(1000))
