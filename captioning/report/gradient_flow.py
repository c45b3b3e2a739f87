"""Plots of gradients in back-propagation through time, and of trainings with and without remedies."""

from collections.abc import Mapping
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from captioning.analysis.gradient_flow import Flow, Training
from captioning.core.ownership import output


def draw_flows(panels: Mapping[str, Mapping[str, Flow]], path: Path) -> None:
    """Draw the state's norms over the steps back, one plot for each panel, one line for each network.

    Args:
        panels: for each panel's title, the flows by network name.
        path: the PNG to write.
    """
    figure = Figure(figsize=(5 * len(panels), 4), layout="constrained")
    for axes, (title, flows) in zip(figure.subplots(1, len(panels), squeeze=False).flat, panels.items(), strict=True):
        for name, flow in flows.items():
            axes.plot(flow.state[::-1] / flow.state[-1], label=f"{name} (×{flow.rate:.2f} a step)")
        _finish(axes, title, "steps back from T", "norm of the gradient, of that at T")
        axes.set_yscale("log")
    with output(path, "wb") as file:
        figure.savefig(file, format="png", dpi=110)


def draw_trainings(panels: Mapping[str, Mapping[str, Training]], path: Path) -> None:
    """Draw the losses and gradient norms of trainings over their updates, one row of plots for each panel.

    Args:
        panels: for each panel's title, the trainings by name.
        path: the PNG to write.
    """
    figure = Figure(figsize=(12, 4 * len(panels)), layout="constrained")
    for (losses, norms), (title, trainings) in zip(
        figure.subplots(len(panels), 2, squeeze=False), panels.items(), strict=True
    ):
        for name, training in trainings.items():
            losses.plot(training.losses, label=name)
            norms.plot(training.norms, label=name)
        _finish(losses, title, "update", "loss (nats)")
        _finish(norms, f"{title}: before clipping", "update", "norm of the gradient")
        norms.set_yscale("log")
    with output(path, "wb") as file:
        figure.savefig(file, format="png", dpi=110)


def _finish(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set(title=title, xlabel=x, ylabel=y)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
