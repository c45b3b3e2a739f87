"""Pictures of a run: curves of the measurements, and a contact sheet of captioned photographs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from captioning.core.files import atomic_write
from captioning.core.images import read_image
from captioning.core.measure import Measure
from captioning.core.ownership import output


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
    gradients.set(title="norm of the gradient", xlabel="step", yscale="log")
    for axes in (losses, scores, gradients):
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend(fontsize="small")
    with atomic_write(path, "wb") as file:
        figure.savefig(file, format="png", dpi=110)


def draw_contact_sheet(pictures: Sequence[tuple[Path, str]], path: Path, columns: int = 4) -> None:
    """Draw photographs with their captions.

    Args:
        pictures: the photographs' files and captions.
        path: the PNG to write.
        columns: the number of photographs in a row.
    """
    rows = -(-len(pictures) // columns)
    figure = Figure(figsize=(3 * columns, 3.6 * rows), layout="constrained")
    for axes in figure.subplots(rows, columns, squeeze=False).flat:
        axes.axis("off")
    for axes, (file, caption) in zip(figure.axes, pictures, strict=False):
        image = read_image(file)
        image.thumbnail((480, 480))
        axes.imshow(image)
        axes.set_title(fill(caption, 32), fontsize="medium", parse_math=False)  # "$" is text, not mathematics
    with output(path, "wb") as sheet:
        figure.savefig(sheet, format="png", dpi=80)
