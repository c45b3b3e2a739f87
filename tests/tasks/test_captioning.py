"""What a training step does: clipping, fine-tuning, precision, and when training ends."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pytorch_lightning.plugins.precision.amp import _optimizer_handles_unscaling
from torch import Tensor

from captioning.core.errors import CaptioningError
from captioning.jobs import train as job
from captioning.jobs.config import compose
from captioning.runs.checkpoint import read_checkpoint
from captioning.runs.metrics_file import read_metrics
from captioning.tasks.captioning import CaptioningTask
from captioning.tasks.captioning.module import CaptioningModule

Overrides = Callable[..., list[str]]
SHORT = ("trainer.max_epochs=1", "test=false")


def run(overrides: list[str], folder: Path) -> list[dict[str, float]]:
    job.train(compose(overrides), folder)
    return read_metrics(folder / "metrics.csv")


def weights(folder: Path) -> dict[str, Tensor]:
    return dict(read_checkpoint(folder / "checkpoints" / "last.ckpt").weights)


def made(config: dict[str, Any]) -> CaptioningModule:
    """The untrained captioner that a run begins with."""
    torch.manual_seed(config["seed"])
    task = CaptioningTask(config)
    module = task.prepare(task.read_source(), Path(), torch.device("cpu")).module
    assert isinstance(module, CaptioningModule)
    return module


def test_gradients_are_clipped_to_the_norm_and_the_norm_before_is_logged(tiny: Overrides, tmp_path: Path) -> None:
    """One step of plain gradient descent with rate 1 moves the weights by the clipped norm."""
    one = tiny("optimizer=sgd", "optimizer.lr=1", "optimizer.momentum=0", "data.batch_size=10", *SHORT)
    untrained = dict(made(compose(one)).state_dict())
    moved = {}
    for value in (1e-3, 1e6):
        (row, *_) = run([*one, f"trainer.gradient_clip_val={value}"], tmp_path / str(value))
        norm = row["train/gradient_norm"]
        after = weights(tmp_path / str(value))
        steps = torch.cat([(after[name] - untrained[name]).flatten() for name in after if name.startswith("decoder")])
        assert norm > 1e-3
        assert steps.norm().item() == pytest.approx(min(norm, value), rel=1e-2)
        moved[value] = (norm, steps / steps.norm())
    assert moved[1e-3][0] == pytest.approx(moved[1e6][0])
    torch.testing.assert_close(moved[1e-3][1], moved[1e6][1], atol=1e-3, rtol=0)


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_a_fused_optimizer_takes_the_steps_of_the_plain_one(optimizer: str, tiny: Overrides, tmp_path: Path) -> None:
    overrides = tiny(f"optimizer={optimizer}", "test=false")
    plain, fused = (run([*overrides, f"optimizer.fused={choice}"], tmp_path / choice) for choice in ("false", "true"))
    losses = [[row["train/loss"] for row in rows if "train/loss" in row] for rows in (plain, fused)]
    assert len(losses[0]) == 10 and losses[1] == pytest.approx(losses[0], rel=1e-4)
    torch.testing.assert_close(weights(tmp_path / "true"), weights(tmp_path / "false"), atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_a_scaler_of_half_precision_s_gradients_has_them_before_they_are_clipped(
    optimizer: str, tiny: Overrides, tmp_path: Path
) -> None:
    module = made(compose(tiny(f"optimizer={optimizer}")))
    module.trainer = SimpleNamespace(estimated_stepping_batches=10)
    assert not _optimizer_handles_unscaling(module.configure_optimizers()["optimizer"])


def test_fine_tuning_moves_the_named_stage_at_its_own_rate(tiny: Overrides, tmp_path: Path) -> None:
    rates = ("optimizer=sgd", "optimizer.momentum=0", "optimizer.lr=0.5", "encoder_lr=0.25", "data.batch_size=10")
    overrides = tiny("encoder.finetune_from=layer1", "trainer.gradient_clip_val=null", *rates, *SHORT)
    before = made(compose(overrides))
    untrained = {name: tensor.clone() for name, tensor in before.state_dict().items()}
    gradients = {}
    step = CaptioningModule.configure_gradient_clipping

    def remember(self: CaptioningModule, *arguments: Any, **settings: Any) -> None:
        gradients.update({name: p.grad.clone() for name, p in self.named_parameters() if p.grad is not None})
        step(self, *arguments, **settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CaptioningModule, "configure_gradient_clipping", remember)
        run(overrides, tmp_path / "run")
    trained = weights(tmp_path / "run")
    changed = {name for name in trained if not torch.equal(trained[name], untrained[name])}
    assert {name for name in changed if name.startswith("encoder")} <= {n for n in trained if ".layer1." in n}
    assert not any("running" in name or "num_batches" in name for name in changed)  # BatchNorm's statistics stay
    assert "encoder.backbone.layer1.1.conv2.weight" in changed and "decoder.word_layer.weight" in changed
    assert changed <= gradients.keys()
    for name in changed:
        rate = 0.25 if name.startswith("encoder") else 0.5
        torch.testing.assert_close(trained[name], untrained[name] - rate * gradients[name], atol=1e-6, rtol=1e-4)


def test_a_frozen_encoder_stays_as_it_was(tiny: Overrides, tmp_path: Path) -> None:
    overrides = tiny(*SHORT)
    run(overrides, tmp_path / "run")
    untrained, trained = made(compose(overrides)).state_dict(), weights(tmp_path / "run")
    assert all(torch.equal(trained[name], untrained[name]) for name in trained if name.startswith("encoder"))
    assert not torch.equal(trained["decoder.word_layer.weight"], untrained["decoder.word_layer.weight"])


def test_training_ends_after_validations_without_a_better_score(
    tiny: Overrides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([0.1, 0.3, 0.2, 0.3, 0.25, 0.9])
    monkeypatch.setattr(CaptioningTask, "scorer", lambda *_: lambda captions: {"CIDEr": next(scores)})
    rows = run(tiny("patience=3", "trainer.max_epochs=9", "test=false"), tmp_path / "run")
    assert [row["val/CIDEr"] for row in rows if "val/CIDEr" in row] == pytest.approx([0.1, 0.3, 0.2, 0.3, 0.25])
    best = torch.load(tmp_path / "run" / "checkpoints" / "best.ckpt", weights_only=True)
    equal = [row for row in rows if row.get("val/CIDEr") == max(each.get("val/CIDEr", 0) for each in rows)]
    assert [row["epoch"] for row in equal] == [1, 3]
    assert best["epoch"] == min(equal, key=lambda row: row["val/nll"])["epoch"]  # the loss decides between equals
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["epochs"], summary["best_epoch"]) == (5, best["epoch"] + 1)


def test_a_run_does_not_go_on_with_other_captions(tiny: Overrides, tiny_data: Path, tmp_path: Path) -> None:
    """As many words as before, so that every weight still fits."""
    text = (tiny_data / "captions.jsonl").read_text().replace('"image": "', f'"image": "{tiny_data}/')
    for name, captions in (("before", text), ("after", text.replace("picture", "painting"))):
        (tmp_path / f"{name}.jsonl").write_text(captions)
    more = ("trainer.max_epochs=2", "test=false")
    run(tiny(f"data.root={tmp_path / 'before.jsonl'}", *SHORT), tmp_path / "run")
    with pytest.raises(CaptioningError, match="the captions have changed"):
        run(tiny(f"data.root={tmp_path / 'after.jsonl'}", *more), tmp_path / "run")
    assert len(run(tiny(f"data.root={tmp_path / 'before.jsonl'}", *more), tmp_path / "run")) == 10


@pytest.mark.parametrize("decoder", ["neuraltalk", "show_attend_tell"])
def test_mixed_precision_learns_what_single_does(decoder: str, tiny: Overrides, tmp_path: Path) -> None:
    overrides = tiny(f"decoder={decoder}", "trainer.max_epochs=2", "test=false", "decoder.output_dropout=0")
    single, mixed = (
        run([*overrides, f"trainer.precision={precision}"], tmp_path / precision)
        for precision in ("32-true", "bf16-mixed")
    )
    losses = [[row["train/loss"] for row in rows if "train/loss" in row] for rows in (single, mixed)]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)
    assert losses[1] != losses[0]
    assert {tensor.dtype for name, tensor in weights(tmp_path / "bf16-mixed").items() if "decoder" in name} == {
        torch.float32
    }


def test_photographs_without_a_known_word_are_captioned_and_not_trained_on(
    tiny: Overrides, tiny_data: Path, tmp_path: Path
) -> None:
    rows = [json.loads(line) for line in (tiny_data / "captions.jsonl").read_text().splitlines()]
    for row in rows:
        row["image"] = str(tiny_data / row["image"])
        if row["image"].endswith(("/3.png", "/4.png", "/10.png", "/15.png")):
            row["caption"] = "axolotl" if row["split"] == "train" else "quokka"
    rows = rows[::2]  # one caption a photograph
    (tmp_path / "captions.jsonl").write_text("\n".join(map(json.dumps, rows)))
    where = (f"data.root={tmp_path / 'captions.jsonl'}", "data.minimum_count=3", "data.batch_size=1")
    found = run(tiny(*where, "trainer.max_epochs=1"), tmp_path / "run")
    losses = [row["train/loss"] for row in found if "train/loss" in row]
    assert len(losses) == 8
    assert all(0 < loss < 10 for loss in losses)
    assert len(json.loads((tmp_path / "run" / "captions_test.json").read_text())) == 3
