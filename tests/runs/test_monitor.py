"""Which way a measurement gets better."""

import math

import pytest

from captioning.runs.monitor import Monitor, as_text


@pytest.mark.parametrize(
    ("name", "mode", "best"), [("CIDEr", "max", 0.9), ("BLEU-4", "max", 0.9), ("loss", "min", 0.1)]
)
def test_scores_rise_and_losses_fall(name: str, mode: str, best: float) -> None:
    monitor = Monitor(name)
    rows = [{"step": 0.0}, *({monitor.key: value, "step": step} for step, value in enumerate((0.3, best, 0.2, best)))]
    assert monitor.mode == mode
    assert monitor.best(rows) == {monitor.key: best, "step": 1}
    ranked = [row.get(monitor.key) for row in sorted(rows, key=monitor.rank)]
    assert (ranked[0], ranked[-1]) == (best, None)
    assert monitor.best([{"step": 0}]) == {}
    assert monitor.rank({monitor.key: math.nan}) == math.inf


def test_scores_are_said_in_hundredths_and_losses_as_they_are() -> None:
    assert as_text("test/CIDEr", 0.4567) == "45.7"
    assert as_text("val/BLEU-4", 0.4567, 2) == "45.67"
    assert as_text("val/loss", 1.46789) == "1.4679"
