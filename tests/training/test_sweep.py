"""A sweep as it is typed: every job its folder, one table, failures named, and what is done is not done again."""

import csv
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from captioning.core.files import write_json
from captioning.training.sweep import job_rows

Overrides = Callable[..., list[str]]
TARGETS = "decoder._target_=captioning.decoders.NeuralTalk,no_such.Thing"


def sweep(folder: Path, *overrides: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "captioning", "train", "-m", *overrides, TARGETS, "cell=lstm,gru", "sweep=both"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_a_failing_job_stops_no_other_and_nothing_is_done_twice(tiny: Overrides, tmp_path: Path) -> None:
    fast = tiny("trainer.max_epochs=1", "encoder.last_stage=layer1", "test=false")
    done = sweep(tmp_path, *fast)
    folder = tmp_path / "runs" / "both"
    jobs = {path.name: path for path in folder.iterdir() if path.is_dir()}
    good = [name for name in jobs if "NeuralTalk" in name]
    bad = [name for name in jobs if "no_such" in name]
    assert done.returncode == 1, done.stderr
    assert len(good) == len(bad) == 2
    assert all((jobs[name] / "checkpoints" / "best.ckpt").exists() for name in good)
    for name in bad:
        first, *rest = (jobs[name] / "failed.txt").read_text().splitlines()
        assert first.startswith("_target_: no_such.Thing can't be imported")
        assert any("Traceback" in line for line in rest)
        assert name in done.stderr
    with (folder / "table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["job"]: row["status"] for row in rows} == {
        **dict.fromkeys(good, "finished"),
        **dict.fromkeys(bad, "failed"),
    }
    assert {row["cell"] for row in rows if row["status"] == "finished"} == {"lstm", "gru"}
    scores = [float(row["val/CIDEr"]) for row in rows[:2]]  # those that failed come last, also after scores of 0
    assert scores == sorted(scores, reverse=True)
    assert f"best job by val/CIDEr: runs/both/{rows[0]['job']}" in done.stdout.replace(f"{tmp_path}/", "")

    kept = {name: (jobs[name] / "checkpoints" / "last.ckpt").stat().st_mtime_ns for name in good}
    again = sweep(tmp_path, *fast)
    assert again.returncode == 1
    assert again.stderr.count("is finished") == 2
    assert {name: (jobs[name] / "checkpoints" / "last.ckpt").stat().st_mtime_ns for name in good} == kept


def test_the_table_is_of_the_folder(tmp_path: Path) -> None:
    for name in ("done", "failed", "interrupted", "failed_again"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").touch()
    write_json(tmp_path / "done" / "summary.json", {"val/CIDEr": 0.5})
    for name in ("failed", "failed_again"):
        (tmp_path / name / "failed.txt").write_text("\n\nTraceback" if name == "failed" else "why\n\nTraceback")
    (tmp_path / "notes").mkdir()
    assert job_rows(tmp_path) == [
        {"job": "done", "status": "finished", "val/CIDEr": 0.5},
        {"job": "failed", "status": "failed", "error": ""},
        {"job": "failed_again", "status": "failed", "error": "why"},
        {"job": "interrupted", "status": "unfinished"},
    ]
