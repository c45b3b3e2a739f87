"""A run's folder: what may change when it goes on, and what it says at its end."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from captioning.core.errors import CaptioningError
from captioning.core.files import read_json
from captioning.jobs.config import compose
from captioning.training.loggers import CSVLogger
from captioning.training.monitor import Monitor
from captioning.training.runs import RunFolder, folder_name

Overrides = Callable[..., list[str]]


@pytest.fixture
def begun(tiny: Overrides, tmp_path: Path) -> RunFolder:
    """A run that has trained for a while."""
    run = RunFolder(tmp_path / "run")
    assert run.begin(compose(tiny())) is None
    run.last.parent.mkdir()
    run.last.touch()
    return run


@pytest.mark.parametrize(
    "override",
    ["trainer.max_epochs=9", "data.workers=2", "patience=3", "search.max_length=9", "test=false", "data.root=moved"],
)
def test_what_does_not_change_the_training_may_change(begun: RunFolder, tiny: Overrides, override: str) -> None:
    assert begun.begin(compose(tiny(override))) == begun.last


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("seed=2", "seed: 1, now 2"),
        ("decoder.hidden_size=9", r"decoder\.hidden_size: 8, now 9"),
        ("data.batch_size=3", r"data\.batch_size: 2, now 3"),
        ("cell=gru", r"cell\._target_: captioning\.cells\.LSTM, now captioning\.cells\.GRU"),
        ("optimizer.lr=1", r"optimizer\.lr: 0\.01, now 1"),
    ],
)
def test_what_does_is_refused_by_name(begun: RunFolder, tiny: Overrides, override: str, said: str) -> None:
    with pytest.raises(CaptioningError, match=rf"holds a run of other settings \({said}.*name=…"):
        begun.begin(compose(tiny(override)))
    assert begun.begin(compose(tiny(override, "resume=false"))) is None
    assert not begun.last.exists()


def test_a_run_that_failed_before_its_first_checkpoint_binds_to_nothing(tiny: Overrides, tmp_path: Path) -> None:
    """A sentence said "lower data.minimum_count"; who does that must not be refused."""
    run = RunFolder(tmp_path / "run")
    run.begin(compose(tiny("data.minimum_count=99")))
    assert run.begin(compose(tiny())) is None


def test_the_summary_of_a_finished_run(begun: RunFolder, tiny: Overrides) -> None:
    config: dict[str, Any] = compose(tiny())
    logger = CSVLogger(begun.folder)
    for epoch, cider in enumerate((0.1, 0.4, 0.3)):
        logger.log_metrics({"val/CIDEr": cider, "val/nll": 1.0, "epoch": epoch}, 5 * epoch + 4)
    logger.write()
    assert not begun.finished
    begun.finish(config, {"CIDEr": 0.5}, 12.3, 1000)
    assert begun.finished
    summary = read_json(begun.summary_file)
    assert {**summary, "decoder": "neuraltalk", "cell": "lstm", "encoder": "resnet18", "search": "greedy"} == summary
    assert (summary["epochs"], summary["best_epoch"], summary["seconds"], summary["parameters"]) == (3, 2, 12, 1000)
    assert (summary["val/CIDEr"], summary["test/CIDEr"]) == (0.4, 0.5)
    assert begun.summary() == "test/CIDEr 50.0"
    assert begun.best(Monitor("CIDEr")) == 0.4
    begun.begin(config)
    assert begun.finished
    begun.begin(compose(tiny("trainer.max_epochs=1", "trainer.enable_progress_bar=true")))
    assert begun.finished
    begun.begin(compose(tiny("trainer.max_epochs=9")))
    assert not begun.finished  # more epochs: it goes on


@pytest.mark.parametrize("change", ["trainer.gradient_clip_val=1", "trainer.accumulate_grad_batches=2"])
def test_what_changes_the_training_is_refused(change: str, begun: RunFolder, tiny: Overrides) -> None:
    begun.begin(compose(tiny()))
    with pytest.raises(CaptioningError, match=change.partition("=")[0]):
        begun.begin(compose(tiny(change)))


def test_more_epochs_are_refused_where_the_schedule_depends_on_them(begun: RunFolder, tiny: Overrides) -> None:
    with pytest.raises(CaptioningError, match="scheduler"):
        begun.begin(compose(tiny("scheduler=cosine")))
    begun.begin(compose(tiny("scheduler=cosine", "resume=false")))
    begun.last.parent.mkdir()
    begun.last.touch()
    with pytest.raises(CaptioningError, match="max_epochs: 2, now 3"):
        begun.begin(compose(tiny("scheduler=cosine", "trainer.max_epochs=3")))


def test_beginning_anew_leaves_nothing_of_the_old_run(begun: RunFolder, tiny: Overrides) -> None:
    old = ["checkpoints/best.ckpt", "checkpoints/last.ckpt", "metrics.csv", "summary.json", "scores_test.json"]
    for name in old:
        (begun.folder / name).parent.mkdir(exist_ok=True)
        (begun.folder / name).touch()
    assert begun.begin(compose(tiny("resume=false"))) is None
    assert not any((begun.folder / name).exists() for name in old)


def test_names_of_jobs_are_names_of_folders() -> None:
    assert folder_name("decoder=lrcn,data.root=a/b c") == "decoder=lrcn,data.root=a_b_c"
    assert folder_name("") == "default"
    long = [folder_name(",".join(f"decoder.setting_{n}={n}" for n in range(60)) + f",seed={seed}") for seed in (1, 2)]
    assert long[0] != long[1]
    assert all(len(name.encode()) <= 255 for name in [*long, folder_name("é" * 250)])
