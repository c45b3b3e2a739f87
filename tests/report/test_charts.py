"""Charts as SVG: every point in its place, and nothing that is not text becomes markup."""

import math
import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captioning.report.charts import BOTTOM, HEIGHT, MOST, TOP, WIDTH, Series, bar_chart, line_chart, ticks

NUMBERS = st.floats(-1e9, 1e9, allow_nan=False)


@settings(max_examples=60, deadline=None)
@given(NUMBERS, NUMBERS)
def test_ticks_are_few_even_and_inside(one: float, other: float) -> None:
    low, high = min(one, other), max(one, other)
    found = ticks(low, high)
    margin = 1e-6 * max(1.0, abs(low), abs(high))
    assert len(found) <= 6 and all(low - margin <= each <= high + margin for each in found)
    steps = {round((b - a) / (found[1] - found[0]), 6) for a, b in pairwise(found)}
    assert steps <= {1.0}


@settings(max_examples=40, deadline=None)
@given(st.lists(NUMBERS, min_size=1, max_size=2 * MOST), st.booleans())
def test_all_points_are_drawn_inside(values: list[float], logarithmic: bool) -> None:
    drawn = str(line_chart("a", [Series("b", list(enumerate(values)))], logarithmic=logarithmic))
    if logarithmic and not any(value > 0 for value in values):
        assert drawn == ""
        return
    tree = ElementTree.fromstring(drawn)
    points = [pair.split(",") for pair in tree.find(".//polyline").attrib["points"].split()]  # type: ignore[union-attr]
    kept = [value for value in values if value > 0] if logarithmic else values
    assert len(points) == min(len(kept), MOST)
    assert all(0 <= float(x) <= WIDTH and 0 <= float(y) <= HEIGHT for x, y in points)


def test_a_line_rises_with_its_values() -> None:
    drawn = str(line_chart("rise", [Series("up", [(0, 1.0), (10, 2.0), (20, math.nan), (30, 3.0)])]))
    points = [tuple(map(float, pair.split(","))) for pair in re.search(r'points="([^"]+)"', drawn)[1].split()]  # type: ignore[index]
    assert len(points) == 3  # nan is left out
    (x1, y1), (x2, y2), (x3, y3) = points
    assert x1 < x2 < x3 and y1 > y2 > y3  # upwards is less in SVG
    assert (x2 - x1) / (x3 - x1) == pytest.approx(1 / 3, abs=0.01)
    assert (y1 - y2) / (y1 - y3) == pytest.approx(1 / 2, abs=0.01)


def test_bars_are_as_high_as_their_values() -> None:
    tree = ElementTree.fromstring(str(bar_chart("b", [Series("x", [(1, 0.5), (3, 1.0)])], "words")))
    heights = [float(bar.attrib["height"]) for bar in tree.iter("rect") if "y" in bar.attrib]
    assert heights[0] == pytest.approx(heights[1] / 2, abs=0.1)
    assert max(heights) < HEIGHT - TOP - BOTTOM - 5  # with room above the highest, which looks cut without


def test_names_are_text() -> None:
    for drawn in (
        line_chart("<b>", [Series("<script>", [(0, 1)])], "<i>"),
        bar_chart("<b>", [Series("<s>", [(0, 1)])], "<i>"),
    ):
        assert not {each.tag for each in ElementTree.fromstring(str(drawn)).iter()} & {"b", "script", "i", "s"}


def test_nothing_to_draw() -> None:
    assert line_chart("a", [Series("b", [])]) == bar_chart("a", [Series("b", [])], "x") == ""
