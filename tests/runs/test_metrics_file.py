"""``metrics.csv``: always whole, and it goes on where a run goes on."""

import csv
from pathlib import Path

import pytest

from captioning.core.errors import CaptioningError
from captioning.runs.metrics_file import CSVLogger, read_metrics


def log(logger: CSVLogger, first: int, last: int) -> None:
    for step in range(first, last):
        logger.log_metrics({"train/loss": 10.0 - step, "epoch": step // 3}, step)
        if step % 3 == 2:
            logger.log_metrics({"val/CIDEr": step / 10, "epoch": step // 3}, step)
    logger.save()


def test_one_row_a_step_and_one_column_a_measurement(tmp_path: Path) -> None:
    log(CSVLogger(tmp_path), 0, 4)
    rows = list(csv.DictReader((tmp_path / "metrics.csv").open(newline="")))
    assert list(rows[0]) == ["step", "epoch", "train/loss", "val/CIDEr"]
    assert [row["step"] for row in rows] == ["0", "1", "2", "3"]
    assert [row["val/CIDEr"] for row in rows] == ["", "", "0.2", ""]
    assert read_metrics(tmp_path / "metrics.csv")[1] == {"step": 1, "epoch": 0, "train/loss": 9}


def test_resuming_drops_what_is_computed_again(tmp_path: Path) -> None:
    log(CSVLogger(tmp_path / "whole"), 0, 12)
    log(CSVLogger(tmp_path / "resumed"), 0, 9)  # killed at step 9; its checkpoint is of step 7
    resumed = CSVLogger(tmp_path / "resumed")
    resumed.save()  # Lightning saves before a resumed run has read its file
    resumed.resume(7)
    log(resumed, 7, 12)
    files = [(tmp_path / name / "metrics.csv").read_text() for name in ("whole", "resumed")]
    assert files[0] == files[1]


def test_resuming_with_other_measurements_keeps_both(tmp_path: Path) -> None:
    log(CSVLogger(tmp_path), 0, 2)
    resumed = CSVLogger(tmp_path)
    resumed.resume(2)
    resumed.log_metrics({"train/attention": 1.0}, 2)
    resumed.finalize("success")
    rows = read_metrics(tmp_path / "metrics.csv")
    assert [sorted(row) for row in rows] == [["epoch", "step", "train/loss"]] * 2 + [["step", "train/attention"]]


def test_no_file_is_no_rows(tmp_path: Path) -> None:
    assert read_metrics(tmp_path / "metrics.csv") == []
    CSVLogger(tmp_path).save()
    assert not (tmp_path / "metrics.csv").exists()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda text: text[: text.index("epoch")], "its columns are not those of a run"),
        (lambda text: "", "its columns are not those of a run"),
        (lambda text: text[:-6], "cells in 4 columns"),
        (lambda text: text.replace("0.2", "0.x"), "could not convert string to float: '0.x'"),
        (lambda text: text.replace("\n1,0", "\n,0"), "a row without a step"),
        (lambda text: text.replace("\n1,0", "\n1.5,0"), "no whole number"),
        (lambda text: text.replace("\n1,0", "\n7,0"), "its steps do not rise"),
        (lambda text: text.replace("\n1,0", "\n1e999,0"), "cannot convert float infinity to integer"),
        (lambda text: text.replace("\n1,0", '\n"1,0'), "unexpected end of data"),
    ],
)
def test_a_damaged_file_is_a_sentence_with_its_line(damage, said: str, tmp_path: Path) -> None:
    log(CSVLogger(tmp_path), 0, 6)
    path = tmp_path / "metrics.csv"
    path.write_text(damage(path.read_text()))
    with pytest.raises(CaptioningError, match=rf"{path}, line \d+: this is not what the run has written .*{said}"):
        read_metrics(path)


def test_a_file_cut_or_changed_since_the_checkpoint_is_missed(tmp_path: Path) -> None:
    log(CSVLogger(tmp_path), 0, 6)
    path = tmp_path / "metrics.csv"
    whole, validations = path.read_text(), [{"val/CIDEr": 0.2}, {"val/CIDEr": 0.5}]
    CSVLogger(tmp_path).resume(6, validations)
    CSVLogger(tmp_path).resume(5, validations[:1])  # the second validation came after the checkpoint
    cut, other = whole[: whole.index("\n4,") + 1], whole.replace("0.2", "0.9")
    for damaged in (cut, other, None):
        path.unlink() if damaged is None else path.write_text(damaged)
        with pytest.raises(CaptioningError, match=r"metrics\.csv: .*its last checkpoint knows 2 validations"):
            CSVLogger(tmp_path).resume(6, validations)
