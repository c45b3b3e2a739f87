"""A language model of characters on the real command line: trained, resumed, swept, and let write."""

import csv
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path

import pytest
import torch

from captioning.__main__ import main
from captioning.core.vocabulary import SPECIAL, Vocabulary
from captioning.runs.checkpoint import own_part
from captioning.runs.metrics_file import read_metrics

VERSE = "Größe ☃ und 你好,\r\nnaïve Cafés – jawohl!\n" * 30
InChild = Callable[..., "subprocess.CompletedProcess[str]"]
SMALL = [
    "experiment=char_rnn",
    "data.text=verse.txt",
    "data.batch_size=4",
    "data.chunk=20",
    "decoder.hidden_size=8",
    "scheduler=constant",
    "trainer.precision=32-true",
    "trainer.accelerator=cpu",
    "trainer.enable_progress_bar=false",
    "report=false",
    "logger=csv",
    "search.max_length=30",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, in_child: InChild) -> Path:
    """The folder of a run, trained in two goes."""
    folder = tmp_path_factory.mktemp("text")
    (folder / "verse.txt").write_bytes(VERSE.encode())
    for epochs in (1, 2):
        done = in_child(["train", *SMALL, f"trainer.max_epochs={epochs}", "data.sample_every=5"], cwd=folder)
        assert done.returncode == 0, done.stderr
        assert "runs/char_rnn: val/bits" in done.stderr
    return folder / "runs" / "char_rnn"


def said(*arguments: object) -> tuple[int, str, str]:
    """Status, output and errors of a command in this process."""
    out, err = TextIOWrapper(BytesIO(), encoding="ascii", newline=""), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        status = main([str(argument) for argument in arguments])
    out.flush()
    return status, out.buffer.getvalue().decode(), err.getvalue()


def sample(run: Path, *options: object) -> str:
    status, text, errors = said("sample", "--checkpoint", run, "--length", 40, *options)
    assert (status, errors) == (0, "")
    return text


def test_a_runs_folder_tells_everything(run: Path) -> None:
    files = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}
    assert {"config.yaml", "metrics.csv", "curves.png", "summary.json", "samples.txt"} <= files
    rows = [row for row in read_metrics(run / "metrics.csv") if "val/loss" in row]
    assert [row["epoch"] for row in rows] == [0, 1]
    assert rows[1]["val/loss"] < rows[0]["val/loss"]
    titles = [line for line in (run / "samples.txt").read_text("utf-8").split("\n") if line.startswith("---- step ")]
    assert [title.split()[2] for title in titles] == ["5,", "10,", "15,", "20,", "25,"]  # of 2 × 14


def test_what_it_writes_depends_on_the_seed_and_at_temperature_0_on_nothing(run: Path) -> None:
    first = sample(run, "--seed", 1, "--prime", "Größe ")
    assert first.startswith("Größe ") and len(first) == 46
    assert set(first) <= set(VERSE)
    assert sample(run, "--seed", 1, "--prime", "Größe ") == first
    assert sample(run, "--seed", 2, "--prime", "Größe ") != first
    surest = sample(run, "--temperature", 0)
    assert surest == sample(run, "--temperature", 0, "--seed", 2) == sample(run, "--top-k", 1, "--seed", 3)
    assert surest == sample(run, "--temperature", 0.001) == sample(run, "--top-p", 1e-9)
    assert len(surest) == 40


def test_characters_come_one_by_one(run: Path) -> None:
    """Whoever reads them sees the first long before the last."""
    command = [sys.executable, "-m", "captioning", "sample", "--checkpoint", str(run), "--length", "100000000"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout and process.stderr
        assert len(process.stdout.read(50)) == 50
        process.stdout.close()  # as `| head -c 50` does
        assert process.wait() == 0
        assert process.stderr.read() == b""


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--prime", "Köln?"], ["'K' (U+004B)", "'?' (U+003F)", "not in the text", "29 characters"]),
        (["--temperature", "-1"], ["temperature=-1.0"]),
        (["--top-p", "2"], ["top_p=2.0"]),
        (["--length", "0"], ["--length 0"]),
    ],
)
def test_what_it_cannot_do_is_a_sentence(run: Path, options: list[str], named: list[str]) -> None:
    status, text, errors = said("sample", "--checkpoint", run, *options)
    assert (status, text) == (1, "")
    assert errors.startswith("captioning: error: ") and len(errors.splitlines()) == 1
    assert all(name in errors for name in named), errors


def test_a_captioner_does_not_write_and_a_language_model_does_not_caption(run: Path, tmp_path: Path) -> None:
    own = own_part({"decoder": {}}, {"vocabulary": Vocabulary([*SPECIAL, "a", "dog"]).words})
    content = {"state_dict": {}, "captioning": own}
    torch.save(content, tmp_path / "captioner.ckpt")
    status, text, errors = said("sample", "--checkpoint", tmp_path / "captioner.ckpt")
    assert (status, text) == (1, "")
    assert f"{tmp_path / 'captioner.ckpt'}: this is a captioner" in errors
    status, text, errors = said("caption", "x.jpg", "--checkpoint", run)
    assert (status, text) == (1, "")
    assert "best.ckpt: this is a language model of characters" in errors


def test_a_sweep_ends_with_a_table_of_losses(run: Path, in_child: InChild) -> None:
    folder = run.parents[1]
    sizes = "{rnn_1: 6, rnn_2: 4, lstm_1: 3, lstm_2: 2}"
    settings = [word for word in SMALL if not word.startswith(("experiment", "decoder.hidden_size"))]
    settings = [*settings, "experiment=char_rnn_table", f"hidden={sizes}", "trainer.max_epochs=1", "cell=rnn,lstm"]
    done = in_child(["train", "-m", *settings, "decoder.depth=1,2", "sweep=cells"], cwd=folder)
    assert done.returncode == 0, done.stderr
    with (folder / "runs" / "cells" / "table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    losses = [float(row["val/loss"]) for row in rows]
    assert len(losses) == 4 and losses == sorted(losses)  # the least is the best
    assert {row["cell"] for row in rows} == {"rnn", "lstm"}
    assert len({row["parameters"] for row in rows}) == 4
    assert f"best job by val/loss: runs/cells/{rows[0]['job']}" in done.stdout.replace(f"{folder}/", "")
    table = done.stdout[done.stdout.index("\njob ") :].split("\n")[1:]
    assert table[0].split() == ["job", "status", "val/loss", "parameters", "seconds"]
    assert f" {losses[0]:.4f} " in table[1]
