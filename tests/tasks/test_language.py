"""The language model in training: min-char-rnn's own formulas, truncated back-propagation, and runs that are cut."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from captioning.cells import GRU, LSTM, RNN
from captioning.core.errors import CaptioningError
from captioning.core.features import NO_FEATURES, Features
from captioning.core.state import State
from captioning.data import read_characters
from captioning.data.streams import Streams
from captioning.decoders import LanguageModel, Outputs
from captioning.jobs.config import compose
from captioning.jobs.evaluate import evaluate
from captioning.jobs.train import train
from captioning.predict.writer import Writer
from captioning.runs.checkpoint import read_checkpoint
from captioning.runs.metrics_file import read_metrics
from captioning.search import Greedy
from captioning.tasks.language import LanguageTask
from captioning.tasks.language.module import Carrying, LanguageModule
from captioning.training.objectives import CrossEntropy, word_loss

VERSE = "Größe — ☃, naïve café; „sei still“!\r\n\tund 你好, ehe 3×4=12 is.\n" * 10
TINY = [
    "experiment=char_rnn",
    "data.batch_size=3",
    "data.chunk=16",
    "data.sample_every=4",
    "decoder.hidden_size=12",
    "decoder.depth=1",
    "trainer.max_epochs=2",
    "trainer.precision=32-true",
    "trainer.accelerator=cpu",
    "trainer.enable_progress_bar=false",
    "report=false",
    "trainer.log_every_n_steps=1",
    "ema_decay=null",
    "scheduler=constant",
    "logger=csv",
    "search.max_length=20",
]


@pytest.fixture
def tiny(tmp_path: Path) -> Callable[..., list[str]]:
    """Overrides of a run on a few lines of text."""
    (tmp_path / "verse.txt").write_bytes(VERSE.encode())

    def overrides(*more: str) -> list[str]:
        return [*TINY, f"data.text={tmp_path / 'verse.txt'}", *more]

    return overrides


def run(overrides: list[str], folder: Path) -> list[dict[str, float]]:
    train(compose(overrides), folder)
    return read_metrics(folder / "metrics.csv")


def min_char_rnn(
    inputs: list[int], targets: list[int], h: np.ndarray, Wxh: Any, Whh: Any, Why: Any, bh: Any, by: Any
) -> tuple[float, dict[str, np.ndarray], np.ndarray]:
    """Karpathy's lossFun, written out: loss of a chunk, every gradient, and the last hidden state."""
    V = len(by)
    xs, hs, ps, loss = {}, {-1: h}, {}, 0.0
    for t, (i, j) in enumerate(zip(inputs, targets, strict=True)):
        xs[t] = np.eye(V)[i]
        hs[t] = np.tanh(Wxh @ xs[t] + Whh @ hs[t - 1] + bh)
        y = Why @ hs[t] + by
        ps[t] = np.exp(y) / np.exp(y).sum()
        loss += -np.log(ps[t][j])
    gradients = {name: np.zeros_like(w) for name, w in zip("xhyab", (Wxh, Whh, Why, bh, by), strict=True)}
    dh_next = np.zeros_like(h)
    for t in reversed(range(len(inputs))):
        dy = ps[t].copy()
        dy[targets[t]] -= 1
        gradients["y"] += np.outer(dy, hs[t])
        gradients["b"] += dy
        dh = Why.T @ dy + dh_next
        raw = (1 - hs[t] ** 2) * dh  # back through tanh
        gradients["a"] += raw
        gradients["x"] += np.outer(raw, xs[t])
        gradients["h"] += np.outer(raw, hs[t - 1])
        dh_next = Whh.T @ raw
    return loss, gradients, hs[len(inputs) - 1]


def test_loss_and_every_gradient_are_min_char_rnns() -> None:
    V, H, T = 7, 11, 25
    torch.manual_seed(0)
    model = LanguageModel(V, NO_FEATURES, RNN, one_hot=True, hidden_size=H).double()
    cell = model.recurrent.layer(0)
    codes = np.random.default_rng(0).integers(0, V, 2 * T + 1)
    streams = Streams(codes, (0, len(codes)), 1, T)
    h, state = np.zeros(H), model.start(Features.none(1))
    for number in range(2):  # the second chunk begins with the state of the first, and its gradient ends there
        chunk = streams[number]
        model.zero_grad()
        carrying: Any = Carrying(model, state.map(torch.detach))
        ours = CrossEntropy(per="sequence")(carrying, Features.none(1), chunk, 0)["cross_entropy"].mean
        state = carrying.state
        ours.backward()
        numpy = [w.detach().numpy() for w in (cell.Wxh.weight, cell.Whh.weight, model.word_layer.weight)]
        biases = (cell.Wxh.bias + cell.Whh.bias, model.word_layer.bias)
        loss, gradients, h = min_char_rnn(
            chunk.words.tolist(), chunk.targets.tolist(), h, *numpy, *(b.detach().numpy() for b in biases)
        )
        assert ours.item() == pytest.approx(loss, rel=1e-12)
        np.testing.assert_allclose(state.sequence["hidden"].detach().flatten(), h, atol=1e-12)
        expected = {
            "recurrent.layers.0.Wxh.weight": gradients["x"],
            "recurrent.layers.0.Whh.weight": gradients["h"],
            "recurrent.layers.0.Wxh.bias": gradients["a"],
            "recurrent.layers.0.Whh.bias": gradients["a"],
            "word_layer.weight": gradients["y"],
            "word_layer.bias": gradients["b"],
        }
        found = {name: p.grad.numpy() for name, p in model.named_parameters() if p.grad is not None}
        assert found.keys() == expected.keys()
        for name, gradient in expected.items():
            np.testing.assert_allclose(found[name], gradient, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("cell", [RNN, LSTM, GRU])
def test_two_chunks_say_what_one_long_chunk_says_and_the_gradient_is_cut(cell: Any) -> None:
    torch.manual_seed(0)
    model = LanguageModel(9, NO_FEATURES, cell, embedding_size=5, hidden_size=6, depth=2)
    codes = np.random.default_rng(1).integers(0, 9, 100)

    def read(chunk: Any, state: State | None = None) -> tuple[Tensor, Tensor, State]:
        """As a training step does: the loss, the log-likelihoods, and the state from which no gradient comes back."""
        before = model.start(Features.none(len(chunk.places))) if state is None else state
        carrying: Any = Carrying(model, before)
        loss = CrossEntropy()(carrying, Features.none(len(chunk.places)), chunk, 0)["cross_entropy"].mean
        outputs, _ = model.teacher_force_from(before, chunk.words, chunk.packing)
        return loss, word_loss(model, outputs.hidden, chunk.targets)[1], carrying.state.map(torch.detach)

    def gradients(loss: Tensor) -> list[Tensor]:
        model.zero_grad()
        loss.backward()
        return [p.grad.clone() for p in model.parameters() if p.grad is not None]

    short, long = Streams(codes, (0, 100), 3, 10), Streams(codes, (0, 100), 3, 20)
    first, said, state = read(short[0])
    second, also, after = read(short[1], state)
    whole, expected, end = read(long[0])
    torch.testing.assert_close(torch.cat([said, also]), expected)
    torch.testing.assert_close(after.sequence["hidden"], end.sequence["hidden"])
    assert not state.sequence["hidden"].requires_grad
    cut = gradients((first + second) / 2)
    far = gradients(whole)
    assert max(float((a - b).abs().max()) for a, b in zip(cut, far, strict=True)) > 1e-5
    known = State({}, {"hidden": state.sequence["hidden"].clone()})
    alone = [gradients(read(short[n], before)[0]) for n, before in ((0, None), (1, known))]
    for ours, a, b in zip(cut, *alone, strict=True):
        torch.testing.assert_close(ours, (a + b) / 2)


def test_hello_is_learnt_to_certainty(tmp_path: Path) -> None:
    """The slides' example: four letters, and the l after an l or before the o only the state can tell."""
    (tmp_path / "hello.txt").write_text("hello" * 60)
    small = [f"data.text={tmp_path / 'hello.txt'}", "decoder.hidden_size=16", "trainer.max_epochs=16", "logger=csv"]
    quiet = ["trainer.accelerator=cpu", "trainer.enable_progress_bar=false", "report=false", "search.max_length=10"]
    rows = run(["experiment=min_char_rnn", *small, *quiet], tmp_path / "run")
    writer = Writer.load(tmp_path / "run")
    assert writer.vocabulary.words == ["e", "h", "l", "o"]
    assert writer.write("h", 14, Greedy()) == "ellohellohello"
    assert min(row["val/loss"] for row in rows if "val/loss" in row) < 0.01  # p > 0.99 of every letter


def test_each_pass_begins_with_zeros_and_the_losses_are_min_char_rnns(
    tiny: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[float] = []
    going_on = LanguageModel.teacher_force_from

    def spy(self: LanguageModel, state: State, *given: Any) -> Any:
        if self.training:
            sizes.append(float(state.sequence["hidden"].abs().max()))
        return going_on(self, state, *given)

    monkeypatch.setattr(LanguageModel, "teacher_force_from", spy)
    rows = [row for row in run(tiny(), tmp_path / "run") if "train/loss" in row]
    chunks = len(rows) // 2
    assert [place for place, size in enumerate(sizes) if size == 0] == [0, chunks]
    smooth = math.log(len(set(VERSE))) * 16
    for row in rows:
        smooth = 0.999 * smooth + 0.001 * row["train/loss"] * 16
        assert row["train/smooth_loss"] == pytest.approx(smooth, rel=1e-5)
        assert row["train/bits"] == pytest.approx(row["train/loss"] / math.log(2), rel=1e-5)
    assert rows[0]["train/loss"] == pytest.approx(math.log(len(set(VERSE))), rel=0.1)


def test_the_validation_loss_is_that_of_the_whole_text(tiny: Callable[..., list[str]], tmp_path: Path) -> None:
    rows = run(tiny("data.batch_size=1", "trainer.max_epochs=1"), tmp_path / "run")
    found = [row for row in rows if "val/loss" in row]
    text = read_characters(str(tmp_path / "verse.txt"))
    writer = Writer.load(tmp_path / "run")
    whole = Streams(text.codes, (text.training - 16, len(text.codes)), 1, 10_000)[0]
    with torch.no_grad():
        outputs = writer.decoder.teacher_force(Features.none(1), whole.words, whole.packing)
        said = word_loss(writer.decoder, outputs.hidden, whole.targets)[1]
    loss = -float(said[16:].mean())
    assert [row["val/loss"] for row in found] == [pytest.approx(loss, rel=1e-5)]
    assert found[0]["val/bits"] == pytest.approx(loss / math.log(2), rel=1e-5)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["val/loss"] == pytest.approx(loss, rel=1e-5)
    assert summary["parameters"] == sum(p.numel() for p in writer.decoder.parameters() if p.requires_grad)
    assert summary["encoder"] == "none" and summary["epochs"] == 1


@pytest.mark.parametrize(
    ("at", "more"),
    [(3, ["cell=gru"]), (8, ["ema_decay=0.9", "decoder.output_dropout=0.5", "trainer.accumulate_grad_batches=2"])],
    ids=["gru, in the first pass", "mean of the weights, in the second"],
)
def test_stopped_anywhere_it_goes_on_as_if_it_had_not_been(
    at: int, more: list[str], tiny: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = tiny("checkpoint_minutes=0", *more)
    whole = run(overrides, tmp_path / "whole")
    step = LanguageModule.training_step

    def failing(self: LanguageModule, chunk: Any, batch_idx: int) -> Tensor:
        if self.trainer.global_step == at:
            raise RuntimeError("power cut")
        return step(self, chunk, batch_idx)

    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="power cut"):
        patch.setattr(LanguageModule, "training_step", failing)
        run(overrides, tmp_path / "cut")
    with (tmp_path / "cut" / "samples.txt").open("a") as file:
        file.write("a sample after the checkpoint")
    assert run(overrides, tmp_path / "cut") == whole
    for name in ("last", "best"):
        ours, theirs = (
            read_checkpoint(tmp_path / folder / "checkpoints" / f"{name}.ckpt") for folder in ("cut", "whole")
        )
        assert all(torch.equal(tensor, ours.weights[key]) for key, tensor in theirs.weights.items())
    samples = (tmp_path / "whole" / "samples.txt").read_bytes()
    assert (tmp_path / "cut" / "samples.txt").read_bytes() == samples
    assert samples.startswith(b"---- step 4, loss ")


def test_a_loss_that_is_not_finite_ends_the_run_before_it_can_spoil_anything(
    tiny: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checkpoint holds the weights and the carried state of before: without the accident the run goes on."""
    whole = run(tiny("trainer.max_epochs=1"), tmp_path / "whole")
    going_on = LanguageModel.teacher_force_from

    def spoilt(self: LanguageModel, state: State, words: Tensor, *rest: Any) -> Any:
        outputs, state = going_on(self, state, words * 0, *rest)
        return Outputs(outputs.hidden * math.nan), state.map(lambda part: part * math.nan)

    with monkeypatch.context() as patch:
        step = LanguageModule.training_step

        def spoil(self: LanguageModule, chunk: Any, batch_idx: int) -> Tensor:
            if self.trainer.global_step == 5:
                patch.setattr(LanguageModel, "teacher_force_from", spoilt)
            return step(self, chunk, batch_idx)

        patch.setattr(LanguageModule, "training_step", spoil)
        with pytest.raises(
            CaptioningError, match=r"the loss is nan.* 16 characters each of \S+verse\.txt, from the char"
        ):
            run(tiny("trainer.max_epochs=1"), tmp_path / "cut")
    assert run(tiny("trainer.max_epochs=1"), tmp_path / "cut") == whole


def test_best_is_the_least_loss(
    tiny: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rate at which the text is unlearnt again: the first of the validations stays the best, and training ends."""
    losses = iter([3.0, 2.0, 2.5, 2.6, 1.0])

    def told(self: LanguageModule, chunk: Any, batch_idx: int) -> None:
        if chunk.first:
            self.log("val/loss", next(losses))

    monkeypatch.setattr(LanguageModule, "validation_step", told)
    rows = run(tiny("patience=2", "trainer.max_epochs=9"), tmp_path / "run")
    assert [row["val/loss"] for row in rows if "val/loss" in row] == [3.0, 2.0, 2.5, pytest.approx(2.6)]
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["val/loss"], summary["best_epoch"], summary["epochs"]) == (2.0, 2, 4)
    assert torch.load(tmp_path / "run" / "checkpoints" / "best.ckpt", weights_only=True)["epoch"] == 1


def test_what_does_not_go_with_a_text_is_a_sentence(tiny: Callable[..., list[str]], tmp_path: Path) -> None:
    run_of = tiny()
    text = read_characters(str(tmp_path / "verse.txt"))
    for override, said in (
        ("decoder=neuraltalk", "NeuralTalk captions photographs"),
        ("search=beam", "Beam is not a Sample"),
        ("search.remove_bad_endings=true", "no effect on a language model of characters"),
        ("decoder.tied=true", "leaves no embedding to tie"),
    ):
        with pytest.raises(CaptioningError, match=said):
            LanguageTask(compose([*run_of, override])).prepare(text, tmp_path, torch.device("cpu"))
    with pytest.raises(
        CaptioningError, match=r"monitor=CIDEr: there is no such measurement here. There are loss, bits"
    ):
        run([*run_of, "monitor=CIDEr"], tmp_path / "run")


def test_scheduled_sampling_carries_the_state(tiny: Callable[..., list[str]], tmp_path: Path) -> None:
    """The characters that go in are the model's own, and the chunk goes on from the state of the one before."""
    drawn = ("scheduled_sampling=linear", "scheduled_sampling.k=0.5", "scheduled_sampling.least=0.5")
    run(tiny(*drawn, "trainer.max_epochs=1"), tmp_path / "drawn")
    run(tiny("trainer.max_epochs=1"), tmp_path / "plain")
    states = [
        torch.load(tmp_path / name / "checkpoints" / "last.ckpt", weights_only=True)["carried"]["hidden"]
        for name in ("drawn", "plain")
    ]
    assert all(float(state.abs().sum()) > 0 for state in states) and not torch.equal(*states)


def test_another_task_s_data_are_a_sentence_with_the_right_one(tiny: Callable[..., list[str]], tmp_path: Path) -> None:
    with pytest.raises(CaptioningError, match="task=language models a text"):
        run([*tiny(), "data.source._target_=captioning.data.read_own", "~data.source.text"], tmp_path / "run")
    with pytest.raises(CaptioningError, match=r"a text \(data=text\) needs task=language"):
        run([*tiny(), "task=captioning"], tmp_path / "run")


def test_the_text_is_scored_by_evaluate(tiny: Callable[..., list[str]], tmp_path: Path) -> None:
    """The loss of the validation part, of this text or of another one in the same characters."""
    run(tiny("trainer.max_epochs=1"), tmp_path / "run")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    found = evaluate(tmp_path / "run", overrides=[f"data.text={tmp_path / 'verse.txt'}"], device="cpu")
    assert found.split == "val"
    assert found.scores["loss"] == pytest.approx(summary["val/loss"], rel=1e-5)
    assert found.scores["bits"] == pytest.approx(summary["val/bits"], rel=1e-5)
    assert json.loads((tmp_path / "run" / "scores_val.json").read_text())["scores"] == found.scores
    (tmp_path / "other.txt").write_text("ÄÖÜ" * 400)
    with pytest.raises(CaptioningError, match="does not know 3 of its characters"):
        evaluate(tmp_path / "run", overrides=[f"data.text={tmp_path / 'other.txt'}"], device="cpu")
