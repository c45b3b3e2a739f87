"""Charts as inline SVG: no script, no file, sharp on a screen and on paper.

Colours are classes (``c0`` … ``c7``), so that the page's style chooses them for light, dark and print; each series also
has a dash pattern of its own for readers who do not see colours.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup, escape

WIDTH, HEIGHT = 420, 230  # of the drawing, in units that the page scales
LEFT, RIGHT, TOP, BOTTOM = 46, 8, 8, 30  # the margins
MOST = 300  # points of a series: more are thinned out
COLOURS = 8
DASHES = ("", "6 3", "2 3", "8 3 2 3", "1 3", "10 4", "4 2 1 2", "3 6")

Point = tuple[float, float]
Place = Callable[[float, float], Point]


@dataclass(frozen=True)
class Series:
    """One line of a chart.

    Attributes:
        label: the name in the legend.
        points: the points (x, y), by increasing x.
        dotted: True to mark each point, for few of them.
    """

    label: str
    points: Sequence[Point]
    dotted: bool = False


def line_chart(title: str, series: Sequence[Series], x_label: str = "step", logarithmic: bool = False) -> Markup:
    """A chart of lines with its title and legend, as a ``<figure>``; empty if no series has a point.

    Args:
        title: the title.
        series: the lines.
        x_label: the name of the horizontal axis.
        logarithmic: True for a logarithmic vertical axis; points that are not positive are left out.
    """
    kept = []
    for each in series:
        points = [(x, y) for x, y in each.points if math.isfinite(y) and (not logarithmic or y > 0)]
        drawn = [(x, math.log10(y) if logarithmic else y) for x, y in _thinned(points)]
        kept.append(Series(each.label, drawn, each.dotted))
    values = [point for each in kept for point in each.points]
    if not values:
        return Markup("")
    x_low, x_high = _padded(min(x for x, _ in values), max(x for x, _ in values), 0.0)
    y_low, y_high = _padded(min(y for _, y in values), max(y for _, y in values), 0.05)

    def place(x: float, y: float) -> tuple[float, float]:
        across = LEFT + (x - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT)
        return across, HEIGHT - BOTTOM - (y - y_low) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM)

    heights = [math.log10(y) for y in ticks(10**y_low, 10**y_high) if y > 0] if logarithmic else ticks(y_low, y_high)
    parts = [_axes(ticks(x_low, x_high), heights, place, x_label, logarithmic)]
    for number, each in enumerate(kept):
        places = [place(x, y) for x, y in each.points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        dash = DASHES[number % len(DASHES)]
        parts.append(f'<polyline class="line c{number % COLOURS}" stroke-dasharray="{dash}" points="{path}"/>')
        if each.dotted or len(places) == 1:
            parts += [f'<circle class="dot c{number % COLOURS}" cx="{x:.1f}" cy="{y:.1f}" r="2.5"/>' for x, y in places]
    legend = "".join(
        f'<span><svg class="key" viewBox="0 0 24 8" aria-hidden="true"><line class="line c{number % COLOURS}" '
        f'stroke-dasharray="{DASHES[number % len(DASHES)]}" x1="0" y1="4" x2="24" y2="4"/></svg>'
        f"{escape(each.label)}</span>"
        for number, each in enumerate(kept)
        if each.points and each.label
    )
    return _figure(title, "".join(parts), legend)


def bar_chart(title: str, bars: Sequence[Series], x_label: str) -> Markup:
    """Bars of several series side by side at whole numbers, as a ``<figure>``; empty if no series has a point."""
    values = [point for each in bars for point in each.points]
    if not values:
        return Markup("")
    low, high = min(x for x, _ in values), max(x for x, _ in values)
    top = 1.05 * max(y for _, y in values) or 1.0  # the highest bar is not taken for one that is cut
    slot = (WIDTH - LEFT - RIGHT) / (high - low + 1)
    width = 0.8 * slot / len(bars)

    def place(x: float, y: float) -> tuple[float, float]:
        return LEFT + (x - low + 0.5) * slot, HEIGHT - BOTTOM - y / top * (HEIGHT - TOP - BOTTOM)

    whole = [x for x in ticks(low, high) if x == int(x)]
    parts = [_axes(whole, ticks(0, top), place, x_label, False)]
    for number, each in enumerate(bars):
        for x, y in each.points:
            centre, upper = place(x, y)
            begin = centre - 0.4 * slot + number * width
            height = HEIGHT - BOTTOM - upper
            parts.append(
                f'<rect class="bar c{number % COLOURS}" x="{begin:.1f}" y="{upper:.1f}" width="{width:.1f}" '
                f'height="{height:.1f}"/>'
            )
    legend = "".join(
        f'<span><svg class="key" viewBox="0 0 24 8" aria-hidden="true"><rect class="bar c{number % COLOURS}" x="6" '
        f'width="12" height="8"/></svg>{escape(each.label)}</span>'
        for number, each in enumerate(bars)
    )
    return _figure(title, "".join(parts), legend)


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Up to ``most`` round numbers from ``low`` to ``high``."""
    if not (math.isfinite(low) and math.isfinite(high)) or high <= low:
        return [low] if math.isfinite(low) else []
    raw = (high - low) / (most - 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def number(value: float) -> str:
    """A number for an axis: 12000 as 12k, 0.25 as it is."""
    if value and abs(value) >= 1000:
        return f"{value / 1000:g}k"
    return f"{value:.4g}"


def _figure(title: str, drawing: str, legend: str) -> Markup:
    return Markup(
        f'<figure class="chart"><figcaption>{escape(title)}</figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">{drawing}</svg>'
        f'<div class="legend">{legend}</div></figure>'
    )


def _axes(xs: Sequence[float], ys: Sequence[float], place: Place, x_label: str, logarithmic: bool) -> str:
    """Grid lines, numbers and the name of the horizontal axis."""
    parts = []
    for y in ys:
        _, height = place(0, y)
        text = number(10**y) if logarithmic else number(y)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{height:.1f}" y2="{height:.1f}"/>')
        parts.append(f'<text class="y" x="{LEFT - 5}" y="{height + 4:.1f}">{text}</text>')
    for x in xs:
        across, _ = place(x, 0)
        parts.append(f'<text class="x" x="{across:.1f}" y="{HEIGHT - BOTTOM + 14}">{number(x)}</text>')
    parts.append(f'<text class="x" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 3}">{escape(x_label)}</text>')
    return "".join(parts)


def _thinned(points: Sequence[Point]) -> list[Point]:
    """The points, or the means of ``MOST`` groups of neighbours."""
    if len(points) <= MOST:
        return list(points)
    edges = [round(group * len(points) / MOST) for group in range(MOST + 1)]
    groups = [points[begin:end] for begin, end in pairwise(edges)]
    return [(sum(x for x, _ in each) / len(each), sum(y for _, y in each) / len(each)) for each in groups]


def _padded(low: float, high: float, fraction: float) -> tuple[float, float]:
    """A range of a length above 0, with a margin at both ends."""
    if low == high:
        return low - (abs(low) or 1.0) * 0.1, high + (abs(high) or 1.0) * 0.1
    return low - fraction * (high - low), high + fraction * (high - low)
