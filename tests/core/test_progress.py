"""Progress in a file: lines without control characters, as many as time asks for; on a terminal a bar."""

import io
import re
import sys
import time
from types import SimpleNamespace
from typing import Any

import pytest
import pytorch_lightning as pl
from pytorch_lightning.callbacks import ProgressBar

from captioning.core import progress as module
from captioning.core.progress import progress
from captioning.training.callbacks import ProgressLines


def test_a_file_has_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    said = io.StringIO()
    monkeypatch.setattr(sys, "stderr", said)
    monkeypatch.setattr(module, "SECONDS", 0.05)
    counted = []
    for each in progress(range(200), "counting", unit="sheep"):
        time.sleep(0.002)
        counted.append(each)
    assert counted == [*range(200)]
    lines = said.getvalue().splitlines()
    assert 2 <= len(lines) <= 30
    assert "\r" not in said.getvalue() and "\x1b" not in said.getvalue()
    for line in lines:
        assert re.fullmatch(r"counting: \d+ %, \d+ of 200, \d\d:\d\d left, +[\d.]+ sheep/s", line), line
    shares = [int(re.search(r"(\d+) %", line)[1]) for line in lines]  # type: ignore[index]
    assert shares == sorted(set(shares))


def test_no_other_thread_writes_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """tqdm's monitor would repeat a line of slow work, whose number of steps between two looks at the clock grows."""
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setattr(module, "SECONDS", 0.01)
    bar = progress(range(20_000), "counting")
    for _ in bar:
        assert bar.miniters == 1  # the monitor acts on those with more


def test_short_work_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    said = io.StringIO()
    monkeypatch.setattr(sys, "stderr", said)
    assert sum(progress(range(1000), "counting")) == 499_500
    assert sum(progress(iter(range(10)), "counting")) == 45
    assert said.getvalue() == ""


def test_training_says_lines_in_place_of_a_bar(caplog: pytest.LogCaptureFixture) -> None:
    told = ProgressLines(seconds=0.0)
    trainer: Any = SimpleNamespace(is_global_zero=True, num_training_batches=4, current_epoch=1)
    module_: Any = None
    with caplog.at_level("INFO"):
        told.on_train_epoch_start(trainer, module_)
        for batch in range(4):
            told.on_train_batch_end(trainer, module_, None, None, batch)
    said = [record.getMessage().split(", ") for record in caplog.records]
    assert [", ".join(each[:2]) for each in said] == [
        f"epoch 2: {25 * count} %, {count} of 4 batches" for count in range(1, 5)
    ]
    assert said[-1][2] == "0 s left in it"


def test_lightning_adds_no_bar_of_its_own_to_the_lines() -> None:
    quiet: Any = {"accelerator": "cpu", "logger": False, "enable_checkpointing": False, "enable_model_summary": False}
    trainer = pl.Trainer(callbacks=[ProgressLines()], **quiet)
    assert [type(each) for each in trainer.callbacks if isinstance(each, ProgressBar)] == [ProgressLines]  # type: ignore[attr-defined]
