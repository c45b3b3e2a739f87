"""A run's folder: what may change when it goes on, and what it says at its end."""

import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytorch_lightning.utilities import rank_zero_only

from captioning.core.errors import CaptioningError
from captioning.core.files import read_json, write_json
from captioning.core.ownership import MARK, is_ours
from captioning.jobs.config import compose
from captioning.jobs.train import train
from captioning.runs.folder import FolderError, RunFolder, folder_name
from captioning.runs.metrics_file import CSVLogger
from captioning.runs.monitor import Monitor
from captioning.runs.settings import differences

Overrides = Callable[..., list[str]]


READ = {"photographs": "a", "captions": "b", "splits": "c"}


def begin(run: RunFolder, config: dict[str, Any], read: dict[str, str] | None = None) -> Path | None:
    """As ``captioning train`` does."""
    with run.hold():
        run.compare_settings(config)
        run.compare_inputs(config, READ if read is None else read)
        if config["resume"] and run.finished and not run.goes_on(config):
            return None
        resume_from = run.begin(config)
        run.bind(config, READ if read is None else read)
        return resume_from


@pytest.fixture
def begun(tiny: Overrides, tmp_path: Path) -> RunFolder:
    """A run that has trained for a while."""
    run = RunFolder(tmp_path / "run")
    assert begin(run, compose(tiny())) is None
    run.last.parent.mkdir()
    run.last.touch()
    return run


@pytest.mark.parametrize(
    "override", ["trainer.max_epochs=9", "data.workers=2", "patience=3", "test=false", "data.root=moved"]
)
def test_what_does_not_change_the_training_may_change(begun: RunFolder, tiny: Overrides, override: str) -> None:
    assert begin(begun, compose(tiny(override))) == begun.last


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("seed=2", "seed: 1, now 2"),
        ("decoder.hidden_size=9", r"decoder\.hidden_size: 8, now 9"),
        ("data.batch_size=3", r"data\.batch_size: 2, now 3"),
        ("cell=gru", r"cell\._target_: captioning\.cells\.LSTM, now captioning\.cells\.GRU"),
        ("optimizer.lr=1", r"optimizer\.lr: 0\.01, now 1"),
        ("search.max_length=9", r"search\.max_length: 6, now 9"),  # two searches' scores are not one curve
    ],
)
def test_what_does_is_refused_by_name(begun: RunFolder, tiny: Overrides, override: str, said: str) -> None:
    before = begun.config.read_bytes()
    with pytest.raises(FolderError, match=rf"holds a run of other settings \({said}.*name=…"):
        begin(begun, compose(tiny(override)))
    assert begun.config.read_bytes() == before
    assert begin(begun, compose(tiny(override, "resume=false"))) is None
    assert not begun.last.exists()


def test_settings_bind_before_the_first_checkpoint(tiny: Overrides, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    begin(run, compose(tiny()))
    with pytest.raises(FolderError, match="seed: 1, now 2"):
        begin(run, compose(tiny("seed=2")))


@pytest.mark.parametrize("changed", ["photographs", "captions", "splits"])
def test_other_data_are_refused_by_name_and_moved_ones_are_not(
    changed: str, begun: RunFolder, tiny: Overrides, tiny_data: Path
) -> None:
    assert begin(begun, compose(tiny("data.root=moved"))) == begun.last
    begin(begun, compose(tiny()))
    before = begun.inputs.read_bytes(), begun.config.read_bytes()
    with pytest.raises(FolderError, match=rf"other data \(the {changed} have changed\)\. Give this run a name"):
        begin(begun, compose(tiny()), READ | {changed: "other"})
    with pytest.raises(FolderError, match=rf"data\.root: {tiny_data}, now moved; the {changed} have changed"):
        begin(begun, compose(tiny("data.root=moved")), READ | {changed: "other"})
    assert (begun.inputs.read_bytes(), begun.config.read_bytes()) == before
    assert begin(begun, compose(tiny("resume=false")), READ | {changed: "other"}) is None


def test_two_runs_cannot_have_one_folder_at_once(begun: RunFolder, tiny: Overrides) -> None:
    """Another process, or another rank's, is asked in tests/core/test_ownership.py."""
    other = RunFolder(begun.folder)
    with begun.hold(), pytest.raises(FolderError, match="this process is at work in this folder already"):
        begin(other, compose(tiny()))
    assert begin(other, compose(tiny())) == begun.last


@pytest.mark.parametrize("first", [0, 1])
def test_whichever_rank_comes_first_begins_the_folder(first: int, tmp_path: Path, monkeypatch: Any) -> None:
    """``torchrun`` starts all at once, and each writes a log: the first one's must not look like a stranger's."""
    run = RunFolder(tmp_path / "run")
    run.folder.mkdir()  # as Hydra does
    with ExitStack() as held:
        for number in (first, 1 - first):
            monkeypatch.setattr(rank_zero_only, "rank", number)
            held.enter_context(run.hold())
            assert is_ours(run.folder, "run")
    assert {"train.log", "train_rank_1.log"} <= {path.name for path in run.folder.iterdir()}


FOREIGN = ("config.yaml", "checkpoints/model.ckpt", "metrics.csv", "summary.json", "train.log", ".hydra/config.yaml")


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize("resume", ["true", "false"])
def test_a_folder_of_somebody_else_is_refused_and_stays(
    name: str, resume: str, tiny: Overrides, tmp_path: Path
) -> None:
    run = RunFolder(tmp_path / "theirs")
    (run.folder / name).parent.mkdir(parents=True)
    (run.folder / name).write_text("{}")
    with pytest.raises(FolderError, match=rf"something other than a run \({name.split('/')[0]}\)"):
        begin(run, compose(tiny(f"resume={resume}")))
    assert [path for path in run.folder.rglob("*") if path.is_file()] == [run.folder / name]
    assert (run.folder / name).read_text() == "{}"


@pytest.mark.parametrize("name", ["train.log", ".hydra", "checkpoints", "samples.txt", ".lock"])
def test_a_link_in_a_run_s_folder_is_not_written_through(
    name: str, begun: RunFolder, tiny: Overrides, tmp_path: Path
) -> None:
    (tmp_path / "theirs").write_text("")
    if (begun.folder / name).exists():
        (begun.folder / name).rename(begun.folder / "away")
    (begun.folder / name).symlink_to(tmp_path / "theirs")
    with pytest.raises(FolderError, match=rf"run: {name} in it is a link"):
        begin(begun, compose(tiny()))
    assert (tmp_path / "theirs").read_text() == ""


def test_a_finished_run_without_its_last_checkpoint_keeps_its_best(begun: RunFolder, tiny: Overrides) -> None:
    begun.last.unlink()
    begun.best_file.write_text("the best")
    write_json(begun.summary_file, {"epochs": 2})
    with pytest.raises(CaptioningError, match=r"last\.ckpt: this file is missing, without which the run can't go on"):
        begin(begun, compose(tiny("trainer.max_epochs=9")))
    assert begun.best_file.read_text() == "the best" and begun.finished


def test_other_files_may_stand_beside_a_run(tiny: Overrides, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.folder.mkdir()
    (run.folder / "notes.txt").write_text("mine")
    (run.folder / "data_train.csv").write_text("mine, too")
    begin(run, compose(tiny()))
    begin(run, compose(tiny("resume=false")))
    assert (run.folder / "notes.txt").read_text() == "mine"
    assert (run.folder / "data_train.csv").read_text() == "mine, too"


def test_a_run_of_a_version_without_marks_goes_on(begun: RunFolder, tiny: Overrides) -> None:
    (begun.folder / MARK).unlink()
    begun.inputs.unlink()
    with pytest.raises(FolderError, match=r"without a record of what it read .*, now other\): nothing tells"):
        begin(begun, compose(tiny("data.root=other")))
    assert begin(begun, compose(tiny())) == begun.last
    assert begun.inputs.exists() and is_ours(begun.folder, "run")


def test_what_an_attempt_without_a_checkpoint_left_is_not_taken_up(tiny: Overrides, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    begin(run, compose(tiny()))
    for file in (run.samples, run.metrics, run.best_file):
        file.parent.mkdir(exist_ok=True)
        file.write_text("step,epoch,train/loss\n0,0,9.5\n" if file == run.metrics else "of a run that was killed")
    begin(run, compose(tiny()))
    assert not (run.samples.exists() or run.metrics.exists() or run.best_file.exists())


@pytest.mark.parametrize("content", ["", "[1", "- 1", "data: 1", "\0"])
def test_a_damaged_configuration_is_a_sentence(content: str, begun: RunFolder, tiny: Overrides) -> None:
    begun.config.write_text(content)
    with pytest.raises(CaptioningError, match=r"config\.yaml: not a configuration that can be read.*resume=false"):
        begin(begun, compose(tiny()))


@pytest.mark.parametrize("content", ["[]", "3", "{", "null", '{"epochs": "2"}'])
@pytest.mark.parametrize("name", ["inputs.json", "summary.json"])
def test_a_damaged_record_is_a_sentence(name: str, content: str, begun: RunFolder, tiny: Overrides) -> None:
    (begun.folder / name).write_text(content)
    with pytest.raises(CaptioningError, match=rf"{name}: this "):
        begin(begun, compose(tiny()))


def test_a_run_that_failed_before_its_first_checkpoint_binds_to_nothing(tiny: Overrides, tmp_path: Path) -> None:
    """A sentence said "lower data.minimum_count"; who does that must not be refused."""
    with pytest.raises(CaptioningError, match=r"lower data\.minimum_count"):
        train(compose(tiny("data.minimum_count=99")), tmp_path / "run")
    train(compose(tiny("trainer.max_epochs=1", "test=false")), tmp_path / "run")


def test_more_patience_lets_a_run_that_was_ended_go_on(begun: RunFolder, tiny: Overrides) -> None:
    def finished(*overrides: str) -> bool:
        config = compose(tiny("trainer.max_epochs=9", *overrides))
        return begun.finished and not begun.goes_on(config)

    begin(begun, compose(tiny("trainer.max_epochs=9", "patience=2")))
    write_json(begun.summary_file, {"epochs": 4})
    assert finished("patience=2") and finished("patience=1")
    assert not finished("patience=3") and not finished("patience=null")
    write_json(begun.summary_file, {"epochs": 9})
    assert finished("patience=3") and finished("patience=null")


def test_the_summary_of_a_finished_run(begun: RunFolder, tiny: Overrides) -> None:
    config: dict[str, Any] = compose(tiny())
    logger = CSVLogger(begun.folder)
    for epoch, cider in enumerate((0.1, 0.4, 0.3)):
        logger.log_metrics({"val/CIDEr": cider, "val/nll": 1.0, "epoch": epoch}, 5 * epoch + 4)
    logger.write()
    assert not begun.finished
    monitor = Monitor.of(config)
    begun.finish(config, monitor, {"CIDEr": 0.5}, 12.3, 1000)
    assert begun.finished
    summary = read_json(begun.summary_file)
    assert {**summary, "decoder": "neuraltalk", "cell": "lstm", "encoder": "resnet18", "search": "greedy"} == summary
    assert (summary["epochs"], summary["best_epoch"], summary["seconds"], summary["parameters"]) == (3, 2, 12, 1000)
    assert (summary["val/CIDEr"], summary["test/CIDEr"]) == (0.4, 0.5)
    assert begun.summary(monitor) == "test/CIDEr 50.0"
    assert begun.best(monitor) == 0.4
    begin(begun, config)
    assert begun.finished
    before = begun.config.read_bytes()
    begin(begun, compose(tiny("trainer.max_epochs=1", "trainer.enable_progress_bar=true", "search.max_length=3")))
    assert begun.finished and begun.config.read_bytes() == before
    begin(begun, compose(tiny("trainer.max_epochs=9")))
    assert not begun.finished  # more epochs: it goes on


@pytest.mark.parametrize("change", ["trainer.gradient_clip_val=1", "trainer.accumulate_grad_batches=2"])
def test_what_changes_the_training_is_refused(change: str, begun: RunFolder, tiny: Overrides) -> None:
    with pytest.raises(CaptioningError, match=change.partition("=")[0]):
        begin(begun, compose(tiny(change)))


def test_more_epochs_are_refused_where_the_schedule_depends_on_them(begun: RunFolder, tiny: Overrides) -> None:
    with pytest.raises(CaptioningError, match="scheduler"):
        begin(begun, compose(tiny("scheduler=cosine")))
    begin(begun, compose(tiny("scheduler=cosine", "resume=false")))
    begun.last.parent.mkdir()
    begun.last.touch()
    with pytest.raises(CaptioningError, match="max_epochs: 2, now 3"):
        begin(begun, compose(tiny("scheduler=cosine", "trainer.max_epochs=3")))


def test_beginning_anew_moves_the_old_run_aside(begun: RunFolder, tiny: Overrides) -> None:
    old = ["checkpoints/best.ckpt", "checkpoints/last.ckpt", "metrics.csv", "summary.json", "scores_test.json"]
    for times in (1, 2):
        for name in old:
            (begun.folder / name).parent.mkdir(exist_ok=True)
            (begun.folder / name).write_text(f"{times}")
        assert begin(begun, compose(tiny("resume=false"))) is None
        assert not any((begun.folder / name).exists() for name in old)
    for times in (1, 2):
        assert all((begun.folder / "earlier" / str(times) / name).read_text() == f"{times}" for name in old)


SINGLE = st.text(alphabet=st.sampled_from("ab/_.=,ä \n\0\ud800"), max_size=8) | st.text(max_size=8)


@given(st.lists(st.builds(lambda text, times: text * times, SINGLE, st.sampled_from([1, 60])), max_size=8))
def test_names_of_jobs_are_names_of_folders(texts: list[str]) -> None:
    assert folder_name("decoder=lrcn,data.root=a.b") == "decoder=lrcn,data.root=a.b"
    assert folder_name("data.root=a/b c") == "data.root=a_b_c_6153a4dafe42"
    assert folder_name("") == "default"
    different = {*texts, *map(folder_name, texts), "", "default", ".", ".."}
    names = {folder_name(text) for text in different}
    assert len(names) == len(different)
    assert names.isdisjoint({"", ".", ".."})
    assert all("/" not in name and len(name.encode()) <= 255 for name in names)


def test_an_empty_setting_that_the_earlier_version_had_not_is_no_difference() -> None:
    before = {"encoder": {"name": "a"}}
    assert differences(before, {"encoder": {"name": "a", "more_stages": []}, "augmentation": {}}) == []
    assert differences(before, {"encoder": {"name": "a", "more_stages": ["b"]}}) == [
        "encoder.more_stages: None, now ['b']"
    ]
    assert differences({"encoder": {"more_stages": ["b"]}}, {"encoder": {"more_stages": []}})


def test_epochs_without_a_validation_count(begun: RunFolder, tiny: Overrides) -> None:
    config: dict[str, Any] = compose(tiny("trainer.max_epochs=5", "+trainer.check_val_every_n_epoch=2"))
    logger = CSVLogger(begun.folder)
    for epoch in range(5):
        measured = {"val/CIDEr": 0.1 * epoch, "val/nll": 1.0} if epoch % 2 else {"train/loss": 1.0}
        logger.log_metrics({**measured, "epoch": epoch}, 5 * epoch + 4)
    logger.write()
    begun.finish(config, Monitor.of(config), {}, 12.3, 1000)
    summary = json.loads(begun.summary_file.read_text())
    assert (summary["epochs"], summary["best_epoch"]) == (5, 4)
