"""The saturation of gates, as plots (Karpathy, Johnson & Li 2015, arXiv 1506.02078, figure 3)."""

from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from captioning.analysis.recording import LEFT, RIGHT, Saturation
from captioning.core.ownership import output


def draw_saturation(gates: Mapping[str, Mapping[str, Saturation]], path: Path) -> None:
    """Draw one plot for each gate, one colour for each layer, one circle for each unit.

    A unit in the lower right corner was almost never open, a unit in the upper left corner almost never closed, and a
    unit at the origin never saturated; no unit can lie above the diagonal.

    Args:
        gates: the saturation by layer and gate, see ``Recording.gates``.
        path: the PNG to write.
    """
    names = list(dict.fromkeys(name for layer in gates.values() for name in layer))
    figure = Figure(figsize=(4 * len(names), 4.4), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False).flat, names, strict=True):
        for layer, found in gates.items():
            if name in found:
                axes.scatter(found[name].left, found[name].right, s=14, alpha=0.5, label=layer)
        axes.plot([0, 1], [1, 0], color="grey", linewidth=0.8)
        axes.set(
            title=f"gate {name}",
            xlabel=f"share of positions left-saturated (< {LEFT})",
            ylabel=f"share of positions right-saturated (> {RIGHT})",
            xlim=(-0.03, 1.03),
            ylim=(-0.03, 1.03),
            aspect="equal",
        )
        axes.legend(fontsize="small", loc="upper right")
    with output(path, "wb") as file:
        figure.savefig(file, format="png", dpi=110)
