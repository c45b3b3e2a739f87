"""Pictures of a run: curves of the measurements, and a contact sheet of captioned photographs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from captioning.core.clips import read_strip
from captioning.core.files import atomic_write
from captioning.core.measure import Measure
from captioning.core.ownership import output

CELL, LINE, MARGIN = 2.9, 0.2, 0.2  # of a contact sheet in inches: a photograph's side, a line of text, a distance


def draw_curves(rows: Sequence[Mapping[str, float]], path: Path, measures: Mapping[str, Measure]) -> None:
    """Draw a run's loss in training and validation, its other measurements, and gradient norms over its steps.

    Args:
        rows: the rows of the run's ``metrics.csv``.
        path: the PNG to write.
        measures: the task's measures by name; the first measure that is better when lower, and is also logged in
            training, is drawn as the loss.
    """

    def line(axes: Axes, name: str, label: str, style: str = "-") -> None:
        points = [(row["step"], row[name]) for row in rows if name in row]
        if points:
            axes.plot(*zip(*points, strict=True), style, label=label)

    figure = Figure(figsize=(13, 3.6))
    losses, scores, gradients = figure.subplots(1, 3)
    # fixed margins: matplotlib's constrained layout draws all labels a second time, half of this function's time
    figure.subplots_adjust(left=0.045, right=0.99, top=0.91, bottom=0.14, wspace=0.17)
    logged = {name for row in rows for name in row}
    both = (name for name in measures if {f"train/{name}", f"val/{name}"} <= logged)
    loss = next((name for name in both if not measures[name].higher_is_better), "loss")
    line(losses, f"train/{loss}", "training")
    line(losses, f"val/{loss}", "validation", "o-")
    losses.set(title="negative log-likelihood (nats)" if loss == "nll" else loss, xlabel="step")
    for name in measures:
        if name != loss:
            line(scores, f"val/{name}", name, "o-")
    scores.set(title="validation", xlabel="step")
    line(gradients, "train/gradient_norm", "before clipping")
    norms = [row["train/gradient_norm"] for row in rows if "train/gradient_norm" in row]
    scale = "log" if any(norm > 0 for norm in norms) else "linear"  # a model that only counts has no gradient
    gradients.set(title="norm of the gradient", xlabel="step", yscale=scale)
    for axes in (losses, scores, gradients):
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend(fontsize="small")
    with atomic_write(path, "wb") as file:
        figure.savefig(file, format="png", dpi=110)


def draw_contact_sheet(pictures: Sequence[tuple[Path, str]], path: Path, columns: int = 4) -> None:
    """Draw photographs with their captions.

    Args:
        pictures: the photographs' files and captions; of a clip some frames are drawn.
        path: the PNG to write.
        columns: the number of photographs in a row.
    """
    texts = [fill(caption, 32) for _, caption in pictures]
    images = [read_strip(file) for file, _ in pictures]
    for image in images:
        image.thumbnail((480, 480))
    columns = min(columns, len(pictures))
    rows = [range(len(pictures))[begin : begin + columns] for begin in range(0, len(pictures), columns)]
    # a row is as high as its longest caption and its highest photograph ask for
    lines = [max(texts[place].count("\n") + 1 for place in row) for row in rows]
    sides = [CELL * max(min(1.0, images[place].height / images[place].width) for place in row) for row in rows]
    heights = [MARGIN + LINE * count + side for count, side in zip(lines, sides, strict=True)]
    width, height = columns * (CELL + MARGIN), sum(heights)
    figure = Figure(figsize=(width, height))
    upper = height
    for row, tall, side in zip(rows, heights, sides, strict=True):
        for column, place in enumerate(row):
            left = column * (CELL + MARGIN) + MARGIN / 2
            lower = upper - tall
            axes = figure.add_axes((left / width, lower / height, CELL / width, side / height))
            axes.axis("off")
            axes.imshow(images[place])
            axes.set_anchor("N")
            axes.set_title(texts[place], fontsize="medium", parse_math=False)  # "$" is text, not mathematics
        upper -= tall
    with output(path, "wb") as sheet:
        figure.savefig(sheet, format="png", dpi=80)
