"""What can be added from outside: seven modules of a user, each run through the command line, with nothing edited."""

import csv
import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

Overrides = Callable[..., list[str]]
MODULES = Path(__file__).parent / "modules"


@pytest.fixture
def commands(tmp_path: Path, in_child: Callable[..., "subprocess.CompletedProcess[str]"]) -> Callable[..., list[str]]:
    """Runs lines of ``captioning …`` in a folder that holds a user's module; gives what each prints."""

    def run(module: str, *lines: Sequence[str | Path]) -> list[str]:
        folder = tmp_path / "elsewhere"
        folder.mkdir(exist_ok=True)
        (folder / f"{module}.py").write_text((MODULES / f"{module}.py").read_text())
        done = in_child(*lines, cwd=folder)
        assert done.returncode == 0, done.stderr
        return done.stdout.split(chr(0))[:-1]

    return run


@pytest.fixture
def places(tiny: Overrides) -> list[str]:
    """Where the tiny data are, for ``evaluate``."""
    return [each for each in tiny() if each.startswith(("data.root=", "data.features_root="))]


def rows_of(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def losses_of(run: Path) -> list[float]:
    return [float(row["train/loss"]) for row in rows_of(run) if row.get("train/loss")]


@pytest.mark.parametrize("module", sorted(path.stem for path in MODULES.glob("*.py")))
def test_each_is_short(module: str) -> None:
    assert len((MODULES / f"{module}.py").read_text().splitlines()) < 60


def test_there_is_one_of_each_kind() -> None:
    kinds = {path.stem for path in MODULES.glob("*.py")}
    assert kinds == {"transformer", "patches", "recall", "rare_words", "no_repeats", "tab_reader", "counting"}


def test_a_captioner_without_cells(
    commands: Callable[..., list[str]], tiny: Overrides, places: list[str], tmp_path: Path
) -> None:
    run, mine = tmp_path / "runs" / "mine", ("--trust", "transformer", "--device", "cpu")
    settings = [each for each in tiny("name=mine", "decoder=base") if not each.startswith("decoder.hidden_size")]
    own = ("decoder._target_=transformer.Transformer", "+decoder.layers=2", "test=false")
    photo = next(Path(each.partition("=")[2]) for each in places) / "0.png"
    _, captioned, scored = commands(
        "transformer",
        ["train", *settings, *own],
        ["caption", photo, "--checkpoint", run, "--beam", "3", *mine],
        ["evaluate", run, *places, *mine],
    )
    losses = losses_of(run)
    assert sum(losses[-5:]) < sum(losses[:5])
    assert captioned.startswith(f"{photo}\t")
    assert scored.split()[:4] == ["BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4"]


def test_an_encoder_with_a_part_of_a_new_name(
    commands: Callable[..., list[str]], tiny: Overrides, places: list[str], tmp_path: Path
) -> None:
    """Stored, trained on with attention that sees as many regions as there are, and captioned with."""
    run, mine = tmp_path / "runs" / "mine", ("--trust", "patches", "--device", "cpu")
    settings = [each for each in tiny("name=mine") if not each.startswith("encoder")]
    encoder = ["encoder=none", "+encoder._target_=patches.Patches", "+encoder.flat=0.5"]
    attends = ["decoder=show_attend_tell", "decoder.attends=patches", "decoder.attention_size=6"]
    data = [each for each in settings if each.startswith("data")]
    photo = next(Path(each.partition("=")[2]) for each in places) / "0.png"
    drawn = tmp_path / "looked.png"
    commands(
        "patches",
        ["prepare", *data, *encoder, "--features", "patches"],
        ["train", *settings, *encoder, *attends, "trainer.max_epochs=4"],
        ["caption", photo, "--checkpoint", run, "--attention", drawn, *mine],
    )
    assert len(list((tmp_path / "features").glob("*/patches/manifest.json"))) == 1
    assert len(set(np.load(next((tmp_path / "features").glob("*/patches/lengths.npy"))).tolist())) > 1
    losses = losses_of(run)
    assert sum(losses[-5:]) < sum(losses[:5])
    assert json.loads((run / "scores_test.json").read_text())["images"] == 3
    assert drawn.exists()


def test_a_metric_is_monitored_logged_and_in_every_table(
    commands: Callable[..., list[str]], tiny: Overrides, places: list[str], tmp_path: Path
) -> None:
    """Higher is better: the best checkpoint has the highest; its values, intervals and rows follow by themselves."""
    run, each = tmp_path / "runs" / "mine", tmp_path / "each.csv"
    own = ("+metrics.recall._target_=recall.WordRecall", "monitor=recall")
    files = [run / "captions_test.json", "--references", run / "references_test.json", "--metric", "recall.WordRecall"]
    _, scored, table, _ = commands(
        "recall",
        ["train", *tiny("name=mine", *own, "trainer.max_epochs=4", "optimizer.lr=0.05")],
        ["evaluate", run, *places, "--trust", "recall", "--device", "cpu"],
        ["score", *files, "--per-image", each],
        ["train", "-m", *tiny(*own, "sweep=both", "seed=1,2", "trainer.max_epochs=1")],
    )
    values = [float(row["val/recall"]) for row in rows_of(run) if row.get("val/recall")]
    summary = json.loads((run / "summary.json").read_text())
    assert len(values) == 4 and summary["val/recall"] == max(values) and 0 <= summary["test/recall"] <= 1
    assert values[summary["best_epoch"] - 1] == max(values) > min(values)  # among equals the loss decides
    names, numbers = (line.split() for line in scored.splitlines())
    assert names[-3:] == ["different", "novel", "bad_endings"]
    assert float(numbers[names.index("recall")]) == pytest.approx(100 * summary["test/recall"], abs=0.01)
    row = next(line for line in table.splitlines() if line.startswith("recall"))
    assert row.split()[1] == f"{100 * summary['test/recall']:.1f}" and "[" in row and "]" in row
    with each.open(newline="") as file:
        assert all(0 <= float(image["recall"]) <= 1 for image in csv.DictReader(file))
    with (tmp_path / "runs" / "both" / "table.csv").open(newline="") as file:
        jobs = [float(job["val/recall"]) for job in csv.DictReader(file)]
    assert len(jobs) == 2 and jobs == sorted(jobs, reverse=True)


def test_an_objective(commands: Callable[..., list[str]], tiny: Overrides, tiny_data: Path, tmp_path: Path) -> None:
    """With power 0 it is cross-entropy, step by step; with another it is not."""
    shared = ("test=false", "decoder.output_dropout=0", "trainer.max_epochs=1")
    own = (*shared, "objective._target_=rare_words.RareWords")
    commands(
        "rare_words",
        ["train", *tiny("name=zero", *own, "+objective.power=0")],
        ["train", *tiny("name=some", *own, "+objective.power=0.5")],
        ["train", *tiny("name=plain", *shared)],
        ["caption", tiny_data / "0.png", "--checkpoint", tmp_path / "runs" / "some"],  # without the objective
    )
    zero, some, plain = (losses_of(tmp_path / "runs" / name) for name in ("zero", "some", "plain"))
    assert zero == pytest.approx(plain, rel=1e-5)
    assert abs(some[0] - plain[0]) > 1e-3
    assert {"train/rare words", "train/nll", "val/nll"} <= rows_of(tmp_path / "runs" / "some")[0].keys()


def test_a_search(commands: Callable[..., list[str]], tiny: Overrides, places: list[str], tmp_path: Path) -> None:
    """It finds the captions of validation, of the test split, of an evaluation, and of a photograph."""
    run, mine = tmp_path / "runs" / "mine", ("--trust", "no_repeats", "--device", "cpu")
    own = ("search._target_=no_repeats.NoRepeats", "search.max_length=9")
    photo = next(Path(each.partition("=")[2]) for each in places) / "13.png"
    *_, captioned = commands(
        "no_repeats",
        ["train", *tiny("name=mine", *own)],
        ["evaluate", run, *places, *mine, "--out", tmp_path / "again"],
        ["caption", photo, "--checkpoint", run, *mine],
    )
    said = [each["caption"].split() for each in json.loads((run / "captions_test.json").read_text())]
    assert all(len(words) == len(set(words)) for words in said)
    again = json.loads((tmp_path / "again" / "captions_test.json").read_text())
    assert [each["caption"].split() for each in again] == said
    assert captioned.strip().partition("\t")[2].split() == said[0]


def test_a_reader(commands: Callable[..., list[str]], tiny: Overrides, tiny_data: Path, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in (tiny_data / "captions.jsonl").read_text().splitlines()]
    lines = ["\t".join([row["split"], str(tiny_data / row["image"]), row["caption"]]) for row in rows]
    (tmp_path / "captions.tsv").write_text("\n".join(lines))
    own = ("data.source._target_=tab_reader.read_tabs", f"data.root={tmp_path / 'captions.tsv'}")
    said, *_ = commands(
        "tab_reader",
        ["prepare", "data=own", *own],
        ["train", *tiny("name=mine", *own, "trainer.max_epochs=1")],
        ["train", *tiny("name=usual", "trainer.max_epochs=1")],
    )
    assert said.splitlines() == [
        "own train: 10 photographs, 20 captions",
        "own val: 3 photographs, 6 captions",
        "own test: 3 photographs, 6 captions",
    ]
    assert losses_of(tmp_path / "runs" / "mine") == losses_of(tmp_path / "runs" / "usual")


def test_a_task(commands: Callable[..., list[str]], tiny: Overrides, tmp_path: Path) -> None:
    """Source, batches, model, loss, measures; the best checkpoint, resuming and sweeps are the run's."""
    run = tmp_path / "runs" / "count"
    scenes = [f"data.root={tmp_path / 'scenes'}", "data=scenes", "data.count=48", "data.batch_size=8"]
    own = ["task._target_=counting.Counting", "monitor=accuracy", "optimizer.lr=0.05", "encoder.image_size=64"]
    kept = [each for each in tiny() if each.startswith(("data.workers", "data.features", "encoder", "trainer", "out"))]
    settings = [*kept, *scenes, *own]
    commands("counting", ["train", *settings, "name=count", "trainer.max_epochs=5"])
    losses, summary = losses_of(run), json.loads((run / "summary.json").read_text())
    assert len(losses) == 25 and min(losses[-5:]) < losses[0]
    values = [float(row["val/accuracy"]) for row in rows_of(run) if row.get("val/accuracy")]
    assert summary["val/accuracy"] == max(values) and 0 <= summary["test/accuracy"] <= 1
    _, scored, _ = commands(
        "counting",
        ["train", *settings, "name=count", "trainer.max_epochs=7"],  # goes on
        ["evaluate", run, *scenes, "--trust", "counting", "--device", "cpu"],
        ["train", "-m", *settings, "sweep=both", "seed=1,2", "trainer.max_epochs=1"],
    )
    assert losses_of(run)[:25] == losses and len(losses_of(run)) == 35
    summary = json.loads((run / "summary.json").read_text())
    name, number = scored.split()[:2]
    assert name == "accuracy" and float(number) == pytest.approx(100 * summary["test/accuracy"], abs=0.01)
    with (tmp_path / "runs" / "both" / "table.csv").open(newline="") as file:
        jobs = [float(job["val/accuracy"]) for job in csv.DictReader(file)]
    assert len(jobs) == 2 and jobs == sorted(jobs, reverse=True)
