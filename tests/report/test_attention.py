"""The drawing of attention, looked at pixel by pixel."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from PIL import Image

from captioning.report import attention
from captioning.report.attention import draw_attention, lay_over

sides = st.integers(30, 90)
grids = st.tuples(st.integers(1, 8), st.integers(1, 8))


def one_hot(rows: int, columns: int, row: int, column: int) -> np.ndarray:
    weights = np.full((rows, columns), 0.01, dtype=np.float32)
    weights[row, column] = 0.5
    return weights


@given(sides, sides, grids, st.data())
def test_brightest_where_the_weight_is(width: int, height: int, grid: tuple[int, int], data: st.DataObject) -> None:
    row, column = (data.draw(st.integers(0, size - 1)) for size in grid)
    left, top = data.draw(st.integers(0, width // 4)), data.draw(st.integers(0, height // 4))
    place = (left, top, width - left, height - top)
    photograph = Image.new("RGB", (width, height), (90, 160, 30))
    laid = np.asarray(lay_over(photograph, one_hot(*grid, row, column), place).convert("L"), dtype=int)
    assert laid.shape == (height, width)
    ys, xs = np.nonzero(laid == laid.max())
    # within the cell, or at its edge where the cell next to it is as bright
    assert (
        left + (width - 2 * left) * column / grid[1] - 1
        <= xs.mean()
        <= left + (width - 2 * left) * (column + 1) / grid[1]
    )
    assert top + (height - 2 * top) * row / grid[0] - 1 <= ys.mean() <= top + (height - 2 * top) * (row + 1) / grid[0]


def test_what_was_cut_off_stays_grey() -> None:
    photograph = Image.new("RGB", (100, 40), (90, 160, 30))
    laid = np.asarray(lay_over(photograph, np.ones((3, 3), dtype=np.float32), (30, 0, 70, 40)))
    outside = np.concatenate([laid[:, :30], laid[:, 70:]], axis=1)
    inside = laid[:, 30:70]
    assert np.ptp(outside[0, 0]) <= 3 and (outside == outside[0, 0]).all()
    assert (inside == inside[0, 0]).all() and (inside[0, 0] > outside[0, 0]).all()


@pytest.mark.parametrize("size", [(640, 480), (90, 250), (33, 33)])
@pytest.mark.parametrize("words", ["", "ball", "two $ balls on the $ grass at night under a blue sky"])
def test_photograph_first_then_once_a_word(
    size: tuple[int, int], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures: list[Figure] = []

    class Kept(Figure):
        def __init__(self, *arguments: object, **settings: object) -> None:
            super().__init__(*arguments, **settings)  # type: ignore[arg-type]
            figures.append(self)

    monkeypatch.setattr(attention, "Figure", Kept)
    weights = np.random.default_rng(0).random((len(words.split()), 2, 5), dtype=np.float32)
    draw_attention(Image.new("RGB", size, (0, 255, 0)), words, weights, tmp_path / "out.png")

    panels = [axes for axes in figures[0].axes if axes.images]
    assert [axes.get_title() for axes in panels] == ["", *words.split()]
    # the only places of pure green are those of the photograph by itself: they have its shape
    drawn = np.asarray(Image.open(tmp_path / "out.png").convert("RGB"))
    ys, xs = np.nonzero((drawn == (0, 255, 0)).all(-1))
    across, down = np.ptp(xs) + 1, np.ptp(ys) + 1
    assert across * down == len(xs)
    assert across / down == pytest.approx(size[0] / size[1], rel=0.03)
    assert min(xs) < drawn.shape[1] / max(1, len(panels)) and min(ys) < 80


def test_a_bar_below_each_word_is_as_long_as_the_sentinel_s_weight(tmp_path: Path) -> None:
    weights, path = np.ones((3, 2, 5), dtype=np.float32), tmp_path / "out.png"
    sentinel = np.array([0.0, 0.5, 1.0], dtype=np.float32)
    draw_attention(Image.new("RGB", (640, 480)), "a ball lies", weights, path, sentinel=sentinel)
    drawn = np.asarray(Image.open(path).convert("RGB")).astype(int)
    track, filled = ((np.abs(drawn - colour).max(-1) <= 2) for colour in ((0xDD,) * 3, (0x31, 0x68, 0x8E)))
    rows = np.flatnonzero((track | filled).sum(1) > 100)
    lengths = []
    for row in (rows.min() + 2, rows.max() - 2):  # two rows of two pictures each, the first without a bar
        for half in np.array_split(np.stack([track[row], filled[row]]), 2, axis=1):
            empty, full = half.sum(1)
            lengths += [full / (empty + full)] if empty + full > 100 else []
    assert lengths == pytest.approx([0, 0.5, 1], abs=0.02)
    with pytest.raises(ValueError, match="2 weights of the sentinel for 3 words"):
        draw_attention(Image.new("RGB", (9, 9)), "a ball lies", weights, path, sentinel=sentinel[:2])


def test_words_and_maps_must_agree(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="shorter"):
        draw_attention(Image.new("RGB", (9, 9)), "a ball", np.ones((1, 2, 2), dtype=np.float32), tmp_path / "out.png")
    assert not list(tmp_path.iterdir())
