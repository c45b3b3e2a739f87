"""``captioning gradients``: a demonstration of vanishing and exploding gradients, and of the remedies."""

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from captioning.jobs.options import parse
from captioning.jobs.whole import SEEDS, whole

if TYPE_CHECKING:
    from captioning.analysis.gradient_flow import Flow, Training
    from captioning.cells import Cell, Recurrent

INPUTS, SEQUENCES = 16, 16  # E and N, the inputs of untrained networks
LARGEST = (0.5, 1.0, 2.0, 4.0)  # singular values of Whh: below, at and above 1
EXPLODING = 4.0  # the same for the RNN with clipped gradients, whose largest eigenvalue is about half of it
CLIPPING = {"no clipping": {}, "clipped by norm at 1": {"clip_norm": 1.0}, "by value at 0.1": {"clip_value": 0.1}}
REMEMBERED = 20  # the time steps that the trained networks must remember


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="captioning gradients",
        description="Measure how the gradient's norm changes on its way back through time, for RNN, LSTM and GRU, by "
        "depth and by the largest singular value of Whh, and draw it; train a little with and without the cures.",
    )
    parser.add_argument("--out", type=Path, default=Path("gradients"), help="folder to write to (default: gradients)")
    parser.add_argument("--hidden", type=whole(10_000, 1), default=32, help="hidden units (default: 32)")
    parser.add_argument("--steps", type=whole(10_000, 1), default=40, help="steps back through time (default: 40)")
    parser.add_argument("--updates", type=whole(least=1), default=150, help="of each training (default: 150)")
    parser.add_argument("--seed", type=whole(SEEDS, 0), default=0, help="of weights and inputs (default: 0)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = parse(parser(), argv)
    from captioning.core.ownership import write_json_output
    from captioning.report.gradient_flow import draw_flows, draw_trainings

    cells = cell_makers()
    flow = partial(untrained_flow, hidden=options.hidden, steps=options.steps, seed=options.seed)
    deep = {
        f"{name}, depth {depth}": flow(cells[name], depth) for name in ("RNN", "LSTM", "GRU") for depth in (1, 2, 3)
    }
    flows = {"by cell": {name: flow(make) for name, make in cells.items()}, "by depth": deep}
    by_value = {
        f"{name}, by largest singular value of Whh": {f"{value:g}": flow(make, largest=value) for value in LARGEST}
        for name, make in cells.items()
    }
    trainings = train(options.hidden, options.updates, options.seed)
    draw_flows(flows, options.out / "flow.png")
    draw_flows(by_value, options.out / "singular_values.png")
    draw_trainings(trainings, options.out / "cures.png")
    rates = {title: {name: flow.rate for name, flow in panel.items()} for title, panel in {**flows, **by_value}.items()}
    ends = {
        title: {name: fmean(training.losses[-20:]) for name, training in panel.items()}
        for title, panel in trainings.items()
    }
    write_json_output(options.out / "gradients.json", {"factor a step back": rates, "loss at the end": ends})
    for what, table in (("factor a step back", rates), ("loss at the end", ends)):
        for title, row in table.items():
            print(f"{what}, {title}:  " + "  ".join(f"{name} {value:.3f}" for name, value in row.items()))
    print(f"drawn: {options.out / 'flow.png'}, singular_values.png, cures.png")
    return 0


def train(hidden: int, updates: int, seed: int) -> "dict[str, dict[str, Training]]":
    """Trainings with exploding gradients, with and without clipping, and with vanishing gradients, for each cell."""
    import torch

    from captioning.analysis.gradient_flow import train_to_remember
    from captioning.core.progress import progress

    cells = cell_makers()
    adam = partial(torch.optim.Adam, lr=0.01)
    clipped = {
        name: train_to_remember(
            network(cells["RNN"], 1, hidden, largest=EXPLODING, seed=seed),
            REMEMBERED,
            updates=updates,
            seed=seed,
            **clipping,
        )
        for name, clipping in progress(CLIPPING.items(), "exploding")
    }
    by_cell = {
        name: train_to_remember(
            network(make, 1, hidden, seed=seed), REMEMBERED, updates=updates, seed=seed, optimizer=adam
        )
        for name, make in progress(cells.items(), "vanishing")
    }
    return {f"an RNN with a Whh of {EXPLODING:g}, gradient descent": clipped, "cells as they begin, Adam": by_cell}


def cell_makers() -> "dict[str, Callable[..., Cell]]":
    """The cells of the comparison."""
    from captioning.cells import GRU, LSTM, RNN, NoForgetGateLSTM

    return {
        "RNN": RNN,
        "LSTM, no forget gate": NoForgetGateLSTM,
        "LSTM": LSTM,
        "LSTM, forget bias 1": partial(LSTM, forget_bias=1.0),
        "GRU": GRU,
    }


def network(
    cell: "Callable[..., Cell]", inputs: int, hidden: int, depth: int = 1, largest: float | None = None, seed: int = 0
) -> "Recurrent":
    """An untrained network, with ``Whh`` scaled to a largest singular value if ``largest`` is given."""
    import torch

    from captioning.analysis.gradient_flow import scale_whh
    from captioning.cells import Recurrent

    torch.manual_seed(seed)
    made = Recurrent(cell, inputs, hidden, depth)
    if largest is not None:
        scale_whh(made, largest)
    return made


def untrained_flow(
    cell: "Callable[..., Cell]", depth: int = 1, largest: float | None = None, *, hidden: int, steps: int, seed: int
) -> "Flow":
    """The gradient flow through an untrained network that reads noise."""
    import torch

    from captioning.analysis.gradient_flow import measure_flow

    made = network(cell, INPUTS, hidden, depth, largest, seed)
    return measure_flow(made, torch.randn(steps, SEQUENCES, INPUTS))
