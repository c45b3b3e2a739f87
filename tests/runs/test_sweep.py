"""A sweep as it is typed: every job its folder, one table, failures named, and what is done is not done again."""

import csv
import logging
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import hydra
import pytest
from hydra import initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from captioning.core.errors import CaptioningError
from captioning.core.files import write_json
from captioning.core.ownership import claim, is_ours
from captioning.jobs.config import conf_dir
from captioning.runs.folder import folder_name
from captioning.runs.sweep_folders import plan
from captioning.runs.sweep_table import job_rows

Overrides = Callable[..., list[str]]
Done = subprocess.CompletedProcess[str]
TARGETS = "decoder._target_=captioning.decoders.NeuralTalk,no_such.Thing"
OmegaConf.register_new_resolver("folder_name", folder_name, replace=True)


@pytest.fixture
def sweep(in_child: Callable[..., Done]) -> Callable[..., Done]:
    """Runs a sweep of four jobs, of which two fail."""
    line = ["train", "-m", TARGETS, "cell=lstm,gru", "sweep=both"]
    return lambda folder, *overrides: in_child([*line, *overrides], cwd=folder)


def read_table(folder: Path) -> list[dict[str, str]]:
    with (folder / "table.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_failing_job_stops_no_other_and_nothing_is_done_twice(
    sweep: Callable[..., Done], tiny: Overrides, tmp_path: Path
) -> None:
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
    rows = read_table(folder)
    assert {row["job"]: row["status"] for row in rows} == {
        **dict.fromkeys(good, "finished"),
        **dict.fromkeys(bad, "failed"),
    }
    assert {row["cell"] for row in rows if row["status"] == "finished"} == {"lstm", "gru"}
    scores = [float(row["val/CIDEr"]) for row in rows[:2]]  # those that failed come last, also after scores of 0
    assert scores == sorted(scores, reverse=True)
    assert f"best job by val/CIDEr: runs/both/{rows[0]['job']}" in done.stdout.replace(f"{tmp_path}/", "")

    kept = {name: (jobs[name] / "checkpoints" / "last.ckpt").stat().st_mtime_ns for name in good}
    other = jobs[good[0]] / "config.yaml"  # now a run of other settings has this folder
    other.write_text(other.read_text().replace("seed: 1\n", "seed: 2\n"))
    again = sweep(tmp_path, *fast)
    assert again.returncode == 1
    assert again.stderr.count("is finished") == 1
    assert f"1 failed before they could write to their folders, which hold other runs or are in use: {good[0]}\n" in (
        again.stderr
    )
    assert not (jobs[good[0]] / "failed.txt").exists()
    assert {row["job"]: row["status"] for row in read_table(folder)} == {row["job"]: row["status"] for row in rows}
    assert f"best job by val/CIDEr: runs/both/{good[1]}" in again.stdout.replace(f"{tmp_path}/", "")
    assert {name: (jobs[name] / "checkpoints" / "last.ckpt").stat().st_mtime_ns for name in good} == kept


@pytest.fixture
def run_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., list[Path]]]:
    """Hydra's own sweep ``s`` in this process, of jobs that only note where they ran: ``run_sweep("cell=lstm,gru")``.

    A job's result is what ``result`` returns for its folder; None where it fails.
    """
    monkeypatch.chdir(tmp_path)
    root = logging.getLogger()
    before = root.handlers[:], root.level
    folders: list[Path] = []

    def run(*overrides: str, result: Callable[[Path], float | None] = lambda folder: 0.5) -> list[Path]:
        def job(config: DictConfig) -> float | None:
            folder = Path(HydraConfig.get().runtime.output_dir)
            folders.append(folder)
            value = result(folder)
            if value is not None:
                (folder / "config.yaml").touch()
                write_json(folder / "summary.json", {"val/CIDEr": value})
            return value

        folders.clear()
        monkeypatch.setattr(sys, "argv", ["captioning", "-m", "sweep=s", *overrides])
        hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="train")(job)()
        return list(folders)

    yield run
    root.handlers[:], root.level = before


@pytest.mark.parametrize(
    ("overrides", "names"),
    [
        (["data.root=A,B", "patience=1"], ["data.root=A", "data.root=B"]),
        (
            ["data.workers=range(0,2)", "trainer.accelerator=choice(cpu)", "seed=2"],
            ["data.workers=0,seed=2,trainer.accelerator=cpu", "data.workers=1,seed=2,trainer.accelerator=cpu"],
        ),
        (["search=glob(beam*)", "name=x"], ["search=beam", "search=beam_8"]),
        (["out=A,B", "data.root=C"], ["out=A", "out=B"]),
        (
            [
                *("experiment=char_rnn_table", "cell=lstm", "decoder.depth=1"),
                "++hydra.sweeper.params={data.text:'a/b,a b',test:false}",
            ],
            [
                folder_name(f"cell=lstm,data.text={text},decoder.depth=1,experiment=char_rnn_table")
                for text in (r"a\ b", "a/b")
            ],
        ),
        (["seed=1,2", "name=a", "hydra.sweep.subdir='${name}/${hydra:job.num}'"], ["a/0", "a/1"]),
    ],
)
def test_every_job_has_a_folder_and_a_row(
    run_sweep: Callable[..., list[Path]], tmp_path: Path, overrides: list[str], names: list[str]
) -> None:
    folder = tmp_path / "runs" / "s"
    assert sorted(run_sweep(*overrides)) == sorted(folder / name for name in names)
    assert sorted(row["job"] for row in read_table(folder)) == sorted(names)
    assert is_ours(folder, "sweep")


def test_a_sweep_that_cannot_be_ends_before_anything_is_written(
    run_sweep: Callable[..., list[Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        run_sweep("cell=lstm,lstm", "seed=1")
    assert end.value.code == 1
    said = "captioning: error: runs/s/cell=lstm,seed=1: two jobs would have this folder, cell=lstm and cell=lstm. Give"
    assert capsys.readouterr().err.startswith(said)
    assert list(tmp_path.iterdir()) == []


def master(overrides: Sequence[str]) -> DictConfig:
    """A sweep's configuration, inside of ``initialize_config_dir``."""
    hydra_object: Any = GlobalHydra.instance().hydra
    config: DictConfig = hydra_object.compose_config("train", ["hydra.mode=MULTIRUN", *overrides], RunMode.MULTIRUN)
    return config


def test_many_jobs_are_planned_without_composing_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """To compose a job takes a tenth of a second."""
    monkeypatch.setattr(ConfigLoaderImpl, "load_sweep_config", None)
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        planned = plan(master(["seed=range(0,50)", "data.workers=0,2"]))
    assert planned == [f"data.workers={workers},seed={seed}" for seed in range(50) for workers in (0, 2)]


def test_a_key_that_only_the_sweeper_knows_is_part_of_the_name() -> None:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = master(["data.workers=0", "patience=interval(1,9)"])
        config.hydra.sweeper = {"_target_": "hydra_plugins.hydra_optuna_sweeper.optuna_sweeper.OptunaSweeper"}
        assert plan(config) is None
        job = ["data.workers=0", "patience=3", "data.root=A"]
        composed = GlobalHydra.instance().config_loader().load_sweep_config(config, job)
    assert composed.hydra.sweep.subdir == "data.root=A,patience=3"


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["seed=1,2", "hydra.sweep.subdir=x"], "runs/sweep/x: two jobs would have this folder, seed=1 and seed=2."),
        (["name=x/y,x", "hydra.sweep.subdir='${name}'"], "the folder of a job (name=x/y) would lie in that of another"),
        (["name=../x,y", "hydra.sweep.subdir='${name}'"], "the folder of a job (name=../x) is to lie below the sweep"),
        (["hydra.sweep.subdir=."], "the folder of a job (the only one) is to lie below the sweep's, runs/sweep."),
        (["data.text=glob(*.txt)"], "data.text=glob(*.txt): a sweep without jobs"),
        (["experiment=demo,nothing"], "Could not find 'experiment/nothing'"),
        (["seed=interval(0,1)"], "does not support sweep type"),
    ],
)
def test_what_cannot_be_is_a_sentence(overrides: list[str], said: str) -> None:
    with (
        initialize_config_dir(str(conf_dir()), version_base="1.3"),
        pytest.raises(CaptioningError, match=re.escape(said)),
    ):
        plan(master(overrides))


@pytest.mark.parametrize("name", ["table.csv", "multirun.yaml"])
def test_somebody_else_s_folder_is_refused(
    run_sweep: Callable[..., list[Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    folder = tmp_path / "runs" / "s"
    folder.mkdir(parents=True)
    (folder / name).write_text("mine")
    with pytest.raises(SystemExit) as end:
        run_sweep("seed=1,2")
    assert end.value.code == 1
    assert f"runs/s: this holds something other than a sweep ({name})" in capsys.readouterr().err
    assert [(path.name, path.read_text()) for path in folder.iterdir()] == [(name, "mine")]


def test_a_run_s_folder_is_refused(
    run_sweep: Callable[..., list[Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    claim(tmp_path / "runs" / "s", "run", "a run")
    with pytest.raises(SystemExit):
        run_sweep("seed=1,2")
    assert "runs/s: this is the folder of a run." in capsys.readouterr().err
    assert is_ours(tmp_path / "runs" / "s", "run")


def test_the_folder_of_a_sweep_before_marks_is_ours(run_sweep: Callable[..., list[Path]], tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "s"
    run_sweep("seed=1")
    (folder / ".captioning").unlink()
    (folder / "notes.txt").write_text("mine")
    run_sweep("seed=2")
    assert is_ours(folder, "sweep")
    assert len(read_table(folder)) == 2
    assert (folder / "notes.txt").read_text() == "mine"


def test_a_finished_job_stays_finished_when_a_later_attempt_fails(
    run_sweep: Callable[..., list[Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "runs" / "s"
    for seed in (1, 2):
        (folder / f"seed={seed}").mkdir(parents=True)
        (folder / f"seed={seed}" / "config.yaml").touch()
        write_json(folder / f"seed={seed}" / "summary.json", {"val/CIDEr": 0.5})

    def fail(place: Path) -> float | None:
        if place.name == "seed=1":  # as a job that could not use its folder
            return None
        if place.name == "seed=3":
            return 0.1
        (place / "failed.txt").write_text("the disk\n\nTraceback")
        return None

    with pytest.raises(SystemExit) as end:
        run_sweep("seed=1,2,3", "data.workers=0", result=fail)
    assert end.value.code == 1
    output = capsys.readouterr()
    assert "1 failed, see failed.txt in their folders: seed=2\n" in output.err
    assert output.err.endswith("which hold other runs or are in use: seed=1\n")
    assert "best job by val/CIDEr: runs/s/seed=3" in output.out  # of those that did not fail
    assert [(row["job"], row["status"], row["error"]) for row in read_table(folder)] == [
        ("seed=1", "finished", ""),
        ("seed=2", "finished", "the disk"),
        ("seed=3", "finished", ""),
    ]
    assert not list(folder.glob(".failed*"))


def test_a_table_that_cannot_be_written_is_an_error(
    run_sweep: Callable[..., list[Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        run_sweep("seed=1,2", result=lambda place: (place.parent / "table.csv").mkdir(exist_ok=True) or 0.5)
    assert end.value.code == 1
    assert "table.csv" in capsys.readouterr().err


def test_the_table_is_of_the_folder(tmp_path: Path) -> None:
    names = ["done", "done_failed", "failed", "failed_again", "interrupted", "nested/done", "inner/seed=1"]
    for name in (*names, "done/earlier/1"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "config.yaml").touch()
    claim(tmp_path / "inner", "sweep", "a sweep", ())
    for name in ("done", "done_failed", "nested/done"):
        write_json(tmp_path / name / "summary.json", {"val/CIDEr": 0.5})
    for name in ("done_failed", "failed", "failed_again"):
        (tmp_path / name / "failed.txt").write_text("" if name == "failed" else "why\n\nTraceback")
    (tmp_path / "notes").mkdir()
    assert job_rows(tmp_path) == [
        {"job": "done", "status": "finished", "val/CIDEr": 0.5},
        {"job": "done_failed", "status": "finished", "val/CIDEr": 0.5, "error": "why"},
        {"job": "failed", "status": "failed", "error": ""},
        {"job": "failed_again", "status": "failed", "error": "why"},
        {"job": "interrupted", "status": "unfinished"},
        {"job": "nested/done", "status": "finished", "val/CIDEr": 0.5},
    ]
