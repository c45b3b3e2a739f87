"""``trainer.strategy=fsdp``: processes that share the parameters out train as one process does."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from captioning.core.errors import CaptioningError
from captioning.jobs.config import compose
from captioning.jobs.train import train as train_here
from captioning.runs.metrics_file import read_metrics
from captioning.training import sharding

SETTINGS = ("data.captions_per_photo=1", "decoder.output_dropout=0", "monitor=ROUGE-L")
TWO = ("data.batch_size=2", "trainer.devices=2", "trainer.strategy=fsdp", "name=two")
ONE = ("data.batch_size=4", "trainer.devices=1", "name=one")
Done = subprocess.CompletedProcess[str]


@pytest.fixture
def overrides(tiny_fine_tuned: Callable[..., list[str]]) -> Callable[..., list[str]]:
    return lambda *more: tiny_fine_tuned(*SETTINGS, *more)


def watched(work: Callable[[], int], file: Path) -> Callable[[], int]:
    """The work, and how many of the parameters' numbers each process keeps in ``file``."""
    setup = sharding.Sharded.setup

    def noted(self: sharding.Sharded, trainer: Any) -> None:
        setup(self, trainer)
        module = trainer.lightning_module
        kept = {
            "own": sum(each.to_local().numel() for each in module.parameters()),
            "every": sum(each.numel() for each in module.parameters()),
            "groups": sum(hasattr(each, "unshard") for each in module.modules()),
        }
        file.with_suffix(f".{trainer.global_rank}").write_text(json.dumps(kept))

    def watching() -> int:
        sharding.Sharded.setup = noted  # in the fork alone
        return work()

    return watching


@pytest.mark.parametrize(("clip", "epochs"), [("norm", (1, 2)), ("value", (1,))])
def test_two_processes_with_shards_are_one_process(
    overrides: Callable[..., list[str]],
    tmp_path: Path,
    in_fork: Callable[..., Done],
    two_ranks: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    clip: str,
    epochs: tuple[int, ...],
) -> None:
    """Also if they go on from a checkpoint; each keeps half of the numbers, and the best checkpoint has all of them."""
    monkeypatch.setattr(sharding, "LEAST", 1000)
    clipped = (f"trainer.gradient_clip_algorithm={clip}", "trainer.gradient_clip_val=0.05", "logger.gradients=true")
    clipped += (f"test={str(clip == 'norm').lower()}",)
    train_here(compose(overrides(*ONE, *clipped, f"trainer.max_epochs={epochs[-1]}")), tmp_path / "runs" / "one")
    for last in epochs:
        work = two_ranks(overrides(*TWO, *clipped, f"trainer.max_epochs={last}"))
        done = in_fork(watched(work, tmp_path / "kept"), cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    one, two = (read_metrics(tmp_path / "runs" / name / "metrics.csv") for name in ("one", "two"))
    for ours, expected in zip(two, one, strict=True):
        assert ours == pytest.approx(expected, rel=1e-4, abs=1e-6), expected["step"]
    steps = [row for row in one if "gradients/clipped" in row]
    assert [row["gradients/clipped"] for row in steps] == [1.0] * 3 * epochs[-1]
    finals = [json.loads((tmp_path / "runs" / name / "summary.json").read_text()) for name in ("one", "two")]
    scores = [{name: value for name, value in final.items() if name.startswith("test/")} for final in finals]
    assert bool(scores[0]) == (clip == "norm") and scores[0] == pytest.approx(scores[1], rel=1e-4)

    kept = [json.loads((tmp_path / f"kept.{rank}").read_text()) for rank in (0, 1)]
    every = kept[0]["every"]
    assert sum(each["own"] for each in kept) == every and max(each["own"] for each in kept) < 0.6 * every
    assert kept[0]["groups"] > 3
    best = [torch.load(tmp_path / "runs" / name / "checkpoints" / "best.ckpt") for name in ("one", "two")]
    torch.testing.assert_close(best[1]["state_dict"], best[0]["state_dict"], rtol=1e-3, atol=1e-5)


def test_what_is_not_sharded_is_a_sentence(overrides: Callable[..., list[str]], tmp_path: Path) -> None:
    for more, said in (
        (["trainer.devices=1"], "fsdp: one process has nothing to share out"),
        (["trainer.devices=2", "ema_decay=0.9"], "Set ema_decay=null"),
    ):
        with pytest.raises(CaptioningError, match=said):
            train_here(compose(overrides("trainer.strategy=fsdp", *more)), tmp_path / "run")


def test_groups_are_the_large_elements_of_sequences() -> None:
    inner = nn.Sequential(nn.Linear(1000, 1000), nn.Linear(10, 10))
    outer = nn.Sequential(nn.Sequential(inner, nn.Linear(2000, 2000)), nn.Linear(3, 3))
    found = list(sharding.groups(nn.ModuleDict({"a": outer, "b": nn.Linear(2000, 2000)})))
    assert [id(each) for each in found] == [id(inner[0]), id(outer[0][1])]
