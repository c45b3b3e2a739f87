"""The settings of self-critical training: each is seen in the steps of a real run."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from wires import Seen, watch, wired

from captioning.core.packing import Packing
from captioning.core.vocabulary import END
from captioning.metrics import CiderReward
from captioning.text.tokenizer import tokenize
from captioning.training.objectives import SelfCritical

Line = Callable[..., list[str]]
Watched = Callable[[list[str]], Seen]

LIKELY = "objective.temperature=2"  # captions that end, and captions that are cut


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Tensor, Tensor | None, Tensor, Tensor]]:
    """What each step draws, and the photographs: samples, greedy captions, photographs and rewards."""
    seen: list[Any] = []
    draw, rewards_of = SelfCritical.draw, SelfCritical.rewards_of

    def drawing(self: SelfCritical, *given: Any) -> Any:
        found = draw(self, *given)
        seen.append([*found])
        return found

    def rewarding(self: SelfCritical, tokens: Tensor, photos: Tensor) -> Tensor:
        found = rewards_of(self, tokens, photos)
        seen[-1] += [photos, found]
        return found

    monkeypatch.setattr(SelfCritical, "draw", drawing)
    monkeypatch.setattr(SelfCritical, "rewards_of", rewarding)
    return seen


@wired("objective=self_critical objective.samples", "objective=self_critical objective.max_length")
def test_so_many_captions_of_so_many_words_are_drawn(captioner: Line, drawn: list[Any], tmp_path: Any) -> None:
    watch(captioner("objective=self_critical", "objective.samples=3", "objective.max_length=7"), tmp_path / "few")
    watch(captioner("objective=self_critical"), tmp_path / "default")
    few, default = drawn[:4], drawn[4:]
    assert [tuple(each[0].shape[:2]) for each in few] == [(2, 3)] * 4
    assert [tuple(each[0].shape[:2]) for each in default] == [(2, 5)] * 4
    assert max(each[0].shape[2] for each in few) == 7 < max(each[0].shape[2] for each in default) <= 20


@wired("objective=self_critical objective.cider", "objective=self_critical objective.bleu")
@wired("objective=self_critical objective.end_is_a_word")
def test_the_reward_is_that_of_its_formula(captioner: Line, drawn: list[Any], tmp_path: Any) -> None:
    settings = ("objective.cider=0.5", "objective.bleu=3", "objective.end_is_a_word=false")
    seen = watch(captioner("objective=self_critical", LIKELY, *settings), tmp_path)
    vocabulary = seen.module.vocabulary
    references = [photo.captions for photo in seen.trainer.datamodule.photos["train"]]
    plain = CiderReward(references, cider=0.5, bleu=3, end_is_a_word=False)
    for tokens, _, photos, rewards in drawn:
        captions = [vocabulary.decode(caption) for caption in tokens.flatten(0, 1).tolist()]
        expected = plain(captions, photos.repeat_interleave(5).tolist())
        torch.testing.assert_close(rewards.flatten().double(), torch.from_numpy(expected))
        assert rewards.max() > 0
    logged = [row["train/reward"] for row in seen.rows if "train/reward" in row]
    assert logged == pytest.approx([each[3].mean().item() for each in drawn], rel=1e-5)
    assert any(END in caption for each in drawn for caption in each[0].flatten(0, 1).tolist())
    assert all(tokenize(word) == [word] for word in vocabulary.words[4:])


@wired("objective=self_critical objective.baseline", "objective=self_critical objective.temperature")
@wired("objective=self_critical objective.per")
@pytest.mark.parametrize("baseline", ["greedy", "mean", "leave_one_out"])
def test_the_loss_is_that_of_its_formula(baseline: str, captioner: Line, drawn: list[Any], tmp_path: Any) -> None:
    settings = (f"objective.baseline={baseline}", LIKELY, "objective.per=sequence")
    seen = watch(captioner("objective=self_critical", "objective.dropout=true", *settings), tmp_path)
    W, b = (seen.before[0][f"decoder.word_layer.{name}"] for name in ("weight", "bias"))
    tokens, greedy, _, rewards, *compared = drawn[0]
    assert (greedy is not None) == (baseline == "greedy")
    if baseline == "greedy":
        base = compared[1]
    elif baseline == "mean":
        base = rewards.mean(1, keepdim=True)
    else:
        base = torch.stack([torch.cat([rewards[:, :n], rewards[:, n + 1 :]], 1).mean(1) for n in range(5)], 1)
    packing = Packing.of(tokens)
    logits = (seen.hidden[0] @ W.T + b) / 2
    logits[:, [0, 1, 3]] = -torch.inf  # words that are never said
    said = logits.log_softmax(-1).gather(1, packing.pack(tokens).unsqueeze(1)).squeeze(1)
    expected = -((rewards - base).flatten() * packing.unpack(said).sum(-1).flatten()).sum() / 10
    assert expected.abs() > 1e-3
    (first, *_) = (row["train/self_critical"] for row in seen.rows if "train/self_critical" in row)
    assert first == pytest.approx(expected.item(), rel=1e-4)


@wired("objective=self_critical objective.cross_entropy", "objective=self_critical objective.label_smoothing")
def test_the_cross_entropy_is_that_of_its_formula(captioner: Line, watched: Watched) -> None:
    line = captioner("objective=self_critical", "objective.cross_entropy=0.3", "objective.label_smoothing=0.2")
    seen = watched(line)
    W, b = (seen.before[0][f"decoder.word_layer.{name}"] for name in ("weight", "bias"))
    losses = torch.nn.functional.cross_entropy(seen.hidden[0] @ W.T + b, seen.batches[0].targets, label_smoothing=0.2)
    (row, *_) = seen.rows
    assert row["train/cross_entropy"] == pytest.approx(0.3 * losses.item(), rel=1e-4)
    assert row["train/loss"] == pytest.approx(row["train/cross_entropy"] + row["train/self_critical"], rel=1e-4)


@wired("objective=self_critical objective.feature_dropout", "objective=self_critical objective.dropout")
def test_the_samples_are_read_with_features_without_the_share_that_is_dropped(
    captioner: Line, watched: Watched
) -> None:
    seen = watched(captioner("objective=self_critical", "objective.feature_dropout=0.25", "objective.dropout=true"))
    read = torch.cat([features["pooled"] for in_training, features in seen.given if in_training])
    whole = torch.cat([batch.features["pooled"].float() for batch in seen.batches])
    dropped = read == 0
    assert len(read) == 8 and 0.1 < dropped.float().mean() < 0.45
    torch.testing.assert_close(read[~dropped], whole[~dropped] / 0.75)
    for_drawing = torch.cat([features["pooled"] for in_training, features in seen.given if not in_training])
    assert (for_drawing != 0).all()
