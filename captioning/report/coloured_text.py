"""A text coloured by the values of a network's unit at each character or word: blue for -1, red for 1.

Karpathy, Johnson & Li 2015, arXiv 1506.02078, figure 2 (where red is -1 and blue is 1). The colour scale of a text ends
at the text's largest absolute value, which is written above the text.

A *piece* is the part of the text that one value belongs to: a character, or a word with the blank after it. A line feed
at a piece's end breaks the line.
"""

import html
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps, font_manager
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from captioning.core.ownership import output

COLOURS = colormaps["coolwarm"]
WIDTH = 100  # characters of a line in the PNG
SIZE = 14  # the font size in pixels
MARGIN = 8
LINE_END = "↵"  # the sign for the value of a line feed
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font-family: sans-serif; margin: 2em; max-width: 70em }}
pre {{ font: 14px/1.3 monospace; white-space: pre-wrap; overflow-wrap: anywhere }}
span {{ color: #000 }}
.key {{ padding: 0 .6em }}
</style></head>
<body><h1>{title}</h1>
<p><span class="key" style="background:{low}">-</span> <span class="key" style="background:{none}">0</span>
<span class="key" style="background:{high}">+</span> the value after each piece of the text was read</p>
{sections}
</body></html>
"""


def colours(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Red, green and blue ``(M, 3)`` for values ``(M,)``: grey for 0, the deepest colour for the largest value."""
    largest = float(np.abs(values).max(initial=0)) or 1.0
    rgb: NDArray[np.uint8] = (255 * COLOURS(0.5 + 0.4 * values / largest)[:, :3]).round().astype(np.uint8)
    return rgb


def write_html(
    title: str, sections: Sequence[tuple[str, NDArray[np.float32]]], pieces: Sequence[str], path: Path
) -> None:
    """Write a self-contained page with a text coloured by each of several units.

    Args:
        title: the page's title.
        sections: a heading and values ``(M,)`` for each unit.
        pieces: the M pieces of the text.
        path: the HTML file to write.
    """
    low, none, high = (_css(colour) for colour in colours(np.array([-1, 0, 1], np.float32)))
    body = "\n".join(f"<h2>{html.escape(name)}</h2>\n{coloured_html(pieces, values)}" for name, values in sections)
    with output(path) as file:
        file.write(PAGE.format(title=html.escape(title), sections=body, low=low, none=none, high=high))


def coloured_html(pieces: Sequence[str], values: NDArray[np.float32]) -> str:
    """A coloured text as one ``<pre>`` element, for a page or a notebook.

    Raises:
        ValueError: the numbers of pieces and values differ.
    """
    spans = [
        f'<span style="background:{_css(colour)}" title="{value:.2f}">{html.escape(_shown(piece))}</span>'
        f"{chr(10) * piece.endswith(chr(10))}"
        for piece, value, colour in zip(pieces, values, colours(values), strict=True)
    ]
    return f"<pre>{''.join(spans)}</pre>"


def draw_text(title: str, pieces: Sequence[str], values: NDArray[np.float32], path: Path) -> None:
    """Draw a coloured text under a title.

    Args:
        title: the title above the text.
        pieces: the M pieces of the text.
        values: ``(M,)``, a value for each piece.
        path: the PNG to write.

    Raises:
        ValueError: the numbers of pieces and values differ.
    """
    font = ImageFont.truetype(font_manager.findfont("DejaVu Sans Mono"), SIZE)
    width, height = round(font.getlength("m")), round(1.4 * SIZE)
    places, rows = lay_out(pieces)
    columns = max(
        [len(title), *(column + len(_shown(piece)) for piece, (_, column) in zip(pieces, places, strict=True))]
    )
    image = Image.new("RGB", (2 * MARGIN + columns * width, 2 * MARGIN + (rows + 2) * height), "white")
    draw = ImageDraw.Draw(image)
    draw.text((MARGIN, MARGIN), title, "black", font)
    for piece, (row, column), colour in zip(pieces, places, colours(values), strict=True):
        x, y = MARGIN + column * width, MARGIN + (row + 2) * height
        draw.rectangle((x, y, x + len(_shown(piece)) * width - 1, y + height - 1), tuple(colour.tolist()))
        for number, character in enumerate(_shown(piece)):
            draw.text((x + number * width, y + 1), character, "black", font)
    with output(path, "wb") as file:
        image.save(file, "png")


def lay_out(pieces: Sequence[str]) -> tuple[list[tuple[int, int]], int]:
    """The row and column of each piece's beginning, and the number of rows; no line is wider than ``WIDTH``."""
    places, row, column = [], 0, 0
    for piece in pieces:
        if column and column + len(_shown(piece)) > WIDTH:
            row, column = row + 1, 0
        places.append((row, column))
        column += len(_shown(piece))
        if piece.endswith("\n"):
            row, column = row + 1, 0
    return places, row + 1


def _shown(piece: str) -> str:
    """A piece without its final line feed, or a sign for a line feed alone; control characters become blanks."""
    text = piece.removesuffix("\n") or LINE_END
    return "".join(character if character.isprintable() else " " for character in text)


def _css(colour: NDArray[np.uint8]) -> str:
    return "#" + bytes(colour.tolist()).hex()
