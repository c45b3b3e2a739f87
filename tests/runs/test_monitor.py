"""Which way a measurement gets better."""

import math

import pytest

from captioning.core.errors import CaptioningError
from captioning.core.measure import Measure
from captioning.jobs.config import compose
from captioning.runs.monitor import Monitor

MEASURES = {"CIDEr": Measure("CIDEr", True, 100), "loss": Measure("loss", False), "words": Measure("words", True)}


@pytest.mark.parametrize(("name", "mode", "best"), [("CIDEr", "max", 0.9), ("words", "max", 0.9), ("loss", "min", 0.1)])
def test_scores_rise_and_losses_fall(name: str, mode: str, best: float) -> None:
    monitor = Monitor.among(MEASURES, name)
    rows = [{"step": 0.0}, *({monitor.key: value, "step": step} for step, value in enumerate((0.3, best, 0.2, best)))]
    assert monitor.mode == mode
    assert monitor.best(rows) == {monitor.key: best, "step": 1}
    ranked = [row.get(monitor.key) for row in sorted(rows, key=monitor.rank)]
    assert (ranked[0], ranked[-1]) == (best, None)
    assert monitor.best([{"step": 0}]) == {}
    assert monitor.rank({monitor.key: math.nan}) == math.inf


def test_measurements_are_said_as_people_write_them() -> None:
    monitor = Monitor.among(MEASURES, "loss")
    assert monitor.text("test/CIDEr", 0.4567) == "45.7"
    assert monitor.text("val/CIDEr", 0.4567, 2) == "45.67"
    assert monitor.text("test/METEOR", 0.2149) == "21.5"  # of no task, and in evaluation where its tables are
    assert monitor.text("val/loss", 1.46789, 2) == "1.4679"
    assert monitor.text("val/nothing known", 1.46789) == "1.4679"


def test_the_task_says_what_there_is_to_monitor() -> None:
    assert (Monitor.of(compose([])).mode, Monitor.of(compose(["monitor=nll"])).mode) == ("max", "min")
    assert Monitor.of(compose(["experiment=char_rnn", "monitor=bits"])).mode == "min"
    with pytest.raises(CaptioningError, match=r"monitor=loss: there is no .* There are BLEU-1, .*nll"):
        Monitor.of(compose(["monitor=loss"]))
    with pytest.raises(CaptioningError, match=r"monitor=novel: there is no .* There are BLEU-1, [^.]*, nll\.$"):
        Monitor.of(compose(["monitor=novel"]))  # evaluation alone measures it
    assert Monitor.of(compose([])).text("test/novel", 0.125) == "12.5"
