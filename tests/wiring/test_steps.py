"""The settings of training: each is seen in the steps of a real run, most of them as the number that they stand for."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from wires import RESNET, Seen, compose, watch, wired, without

from captioning.core.errors import CaptioningError
from captioning.decoders import Decoder
from captioning.jobs.evaluate import evaluate
from captioning.jobs.train import train
from captioning.metrics import Scorer
from captioning.runs.monitor import Monitor
from captioning.search import Greedy
from captioning.training.trainer import make_trainer

Line = Callable[..., list[str]]
Watched = Callable[[list[str]], Seen]


# --- the optimizer and its rate -------------------------------------------------------------------------------------


@wired("optimizer=sgd optimizer.lr", "optimizer=sgd optimizer.momentum")
@wired("optimizer=adagrad optimizer.lr", "optimizer=adam optimizer.lr")
@wired("optimizer=adamw optimizer.lr", "optimizer=adamw optimizer.weight_decay")
@pytest.mark.parametrize(
    ("settings", "by_hand"),
    [
        ({"optimizer": "sgd", "lr": 0.3, "momentum": 0.7}, torch.optim.SGD),
        ({"optimizer": "adagrad", "lr": 0.3}, torch.optim.Adagrad),
        ({"optimizer": "adam", "lr": 0.03}, torch.optim.Adam),
        ({"optimizer": "adamw", "lr": 0.03, "weight_decay": 3}, torch.optim.AdamW),
    ],
    ids=["sgd", "adagrad", "adam", "adamw"],
)
def test_the_weights_move_as_torch_s_optimizer_moves_them(
    settings: dict[str, Any], by_hand: Any, captioner: Line, watched: Watched
) -> None:
    kind, *values = settings.items()
    seen = watched(
        [*without(captioner(), "optimizer"), "optimizer=" + kind[1], *(f"optimizer.{k}={v}" for k, v in values)]
    )
    weights = {name: weight.clone().requires_grad_() for name, weight in seen.before[0].items()}
    optimizer = by_hand(weights.values(), **dict(values))
    assert len(seen.gradients) == 4
    for gradients, after in zip(seen.gradients, seen.before[1:], strict=True):
        for name, weight in weights.items():
            weight.grad = gradients.get(name)
        optimizer.step()
        assert_close(weights, after)


@wired("optimizer=adam optimizer.fused", "optimizer=adamw optimizer.fused")
@pytest.mark.parametrize("kind", ["adam", "adamw"])
def test_fused_is_asked_of_the_optimizer(kind: str, captioner: Line, watched: Watched) -> None:
    lr, decay = "optimizer.lr=0.03", ["optimizer.weight_decay=3"] if kind == "adamw" else []
    (fused,) = watched([*without(captioner(), "optimizer"), f"optimizer={kind}", lr, *decay]).groups
    (plain,) = watched([*without(captioner(), "optimizer"), f"optimizer={kind}", "optimizer.fused=false"]).groups
    assert (fused["fused"], plain["fused"]) == (True, False)


@wired("scheduler=constant scheduler.warmup")
def test_a_constant_rate_rises_over_the_warmup(captioner: Line, watched: Watched) -> None:
    (rates,) = zip(*watched(captioner("scheduler=constant", "scheduler.warmup=3")).rates, strict=True)
    assert rates == pytest.approx([0.5 * share for share in (1 / 4, 2 / 4, 3 / 4, 1)])
    assert list(zip(*watched(captioner()).rates, strict=True)) == [pytest.approx((0.5,) * 4)]


@wired("scheduler=cosine scheduler.warmup", "scheduler=cosine scheduler.final")
def test_a_cosine_s_rate_falls_to_the_final_share(captioner: Line, watched: Watched) -> None:
    schedule = ("scheduler=cosine", "scheduler.warmup=2", "scheduler.final=0.2", "trainer.max_epochs=2")
    (rates,) = zip(*watched(captioner(*schedule)).rates, strict=True)
    falling = [0.2 + 0.8 * (1 + math.cos(math.pi * step / 6)) / 2 for step in range(6)]
    assert rates == pytest.approx([0.5 * share for share in (1 / 3, 2 / 3, *falling)])


@wired("trainer=default trainer.gradient_clip_val", "trainer=default trainer.gradient_clip_algorithm")
def test_a_step_is_as_long_as_the_clipped_gradient(captioner: Line, watched: Watched) -> None:
    long = without(captioner("optimizer.lr=1"), "trainer.gradient_clip_val")
    for seen in (watched([*long, "trainer.gradient_clip_val=0.01"]), watched(captioner("optimizer.lr=1"))):
        clip = seen.config["trainer"]["gradient_clip_val"]
        assert clip in (0.01, None)
        for raw, update in zip(seen.raw, seen.updates, strict=True):
            assert norm(raw) > 0.02
            share = 0.01 / norm(raw) if clip else 1.0
            assert_close({name: -share * gradient for name, gradient in raw.items()}, update, rtol=1e-3, atol=1e-6)
    by_value = watched([*long, "trainer.gradient_clip_val=0.01", "trainer.gradient_clip_algorithm=value"])
    for raw, update in zip(by_value.raw, by_value.updates, strict=True):
        assert_close({name: -gradient.clamp(-0.01, 0.01) for name, gradient in raw.items()}, update, atol=1e-6)


@wired("trainer=default trainer.accumulate_grad_batches")
def test_a_step_has_the_mean_of_the_batches_gradients(captioner: Line, watched: Watched) -> None:
    seen, whole = watched(captioner("trainer.accumulate_grad_batches=2")), watched(captioner())
    assert (len(seen.batches), len(seen.rates), len(whole.rates)) == (4, 2, 4)
    changed = {name: -0.5 * gradient for name, gradient in seen.raw[0].items()}
    assert_close(changed, seen.updates[0], atol=1e-6)
    assert not torch.allclose(seen.raw[0]["decoder.word_layer.weight"], whole.raw[0]["decoder.word_layer.weight"])


@wired("encoder_lr", "encoder=_resnet encoder.finetune_from")
def test_what_is_trained_of_the_encoder_moves_at_its_own_rate(captioner: Line, watched: Watched) -> None:
    tuned = watched(captioner(*RESNET, "encoder.finetune_from=layer1", "encoder_lr=0.125"))
    names = {name for name in tuned.before[0] if name.startswith("encoder.")}
    assert names and all(".layer1." in name for name in names)
    assert not any("conv1" in name.split(".layer1.")[0] for name in names)
    assert tuned.rates[0] == pytest.approx([0.5, 0.125])
    for name in names:
        assert_close({name: -0.125 * tuned.gradients[0][name]}, {name: tuned.updates[0][name]}, atol=1e-6)
    assert any(tuned.updates[0][name].abs().max() > 0 for name in names)
    assert tuned.batches[0].features is None and tuned.batches[0].images is not None
    statistics = {name: each for name, each in tuned.checkpoint()["state_dict"].items() if "running_mean" in name}
    assert statistics and all((mean == 0).all() for mean in statistics.values())  # as they began


# --- the loss -------------------------------------------------------------------------------------------------------


@wired("objective=cross_entropy objective.label_smoothing", "objective=cross_entropy objective.per")
def test_the_loss_is_that_of_its_formula(captioner: Line, watched: Watched) -> None:
    for smoothing in (0.0, 0.3):
        for per in ("word", "sequence"):
            seen = watched(captioner(f"objective.label_smoothing={smoothing}", f"objective.per={per}"))
            W, b = (seen.before[0][f"decoder.word_layer.{name}"] for name in ("weight", "bias"))
            batch = seen.batches[0]
            losses = F.cross_entropy(
                seen.hidden[0] @ W.T + b, batch.targets, reduction="none", label_smoothing=smoothing
            )
            assert len(losses) > len(batch.packing.captions) > 1
            expected = losses.mean() if per == "word" else losses.sum() / len(batch.packing.captions)
            assert seen.losses[0] == pytest.approx(expected.item(), rel=1e-4)


@wired("objective=cross_entropy objective.feature_dropout")
def test_the_decoder_is_given_features_without_the_share_that_is_dropped(captioner: Line, watched: Watched) -> None:
    seen = watched(captioner("objective.feature_dropout=0.25"))
    training = [features["pooled"] for in_training, features in seen.given if in_training]
    stored = [batch.features["pooled"].float() for batch in seen.batches]
    given, whole = torch.cat(training), torch.cat(stored)
    dropped = given == 0
    assert len(given) == 8 and 0.1 < dropped.float().mean() < 0.45
    torch.testing.assert_close(given[~dropped], whole[~dropped] / 0.75)
    validation = torch.cat([features["pooled"] for in_training, features in seen.given if not in_training])
    assert (validation != 0).all()


@wired("scheduled_sampling=linear scheduled_sampling.k", "scheduled_sampling=linear scheduled_sampling.c")
@wired("scheduled_sampling=linear scheduled_sampling.least")
@wired("scheduled_sampling=exponential scheduled_sampling.k", "scheduled_sampling=inverse_sigmoid scheduled_sampling.k")
@pytest.mark.parametrize(
    ("settings", "own_words"),
    [
        ({"": "linear", "k": 0.9, "c": 0.3, "least": 0.2}, [0.1, 0.4, 0.7, 0.8]),
        ({"": "exponential", "k": 0.5}, [None, 0.5, 0.75, 0.875]),
        ({"": "inverse_sigmoid", "k": 2}, [1 - 2 / (2 + math.exp(step / 2)) for step in range(4)]),
    ],
    ids=["linear", "exponential", "inverse_sigmoid"],
)
def test_the_decoder_s_own_words_go_in_by_the_schedule(
    settings: dict[str, Any], own_words: list[float | None], captioner: Line, watched: Watched
) -> None:
    line = ["scheduled_sampling=" + settings[""], *(f"scheduled_sampling.{k}={v}" for k, v in settings.items() if k)]
    seen = watched(captioner(*line))
    assert seen.own_words == [None if share is None else pytest.approx(share) for share in own_words]
    assert watched(captioner()).own_words == [None] * 4


def test_of_the_words_that_go_in_as_many_are_the_decoder_s_own(captioner: Line, watched: Watched) -> None:
    always = ("scheduled_sampling.k=0", "scheduled_sampling.least=0")
    seen, forced = (watched(captioner(*line)) for line in ((("scheduled_sampling=linear"), *always), ()))
    assert torch.equal(forced.fed[0], forced.batches[0].words)
    packing = seen.batches[0].packing
    captions = packing.unpack(seen.batches[0].words)
    fed = torch.stack(seen.fed[: captions.shape[-1]], dim=-1)
    assert torch.equal(fed[..., 0], captions[..., 0])  # START
    assert (fed != captions)[..., 1:][captions[..., 1:] > 0].float().mean() > 0.5  # of 20 words it hits one by chance


# --- with what training begins, and what it keeps -------------------------------------------------------------------


@wired("word_vectors")
def test_the_embedding_begins_with_the_word_vectors(captioner: Line, watched: Watched, tmp_path: Path) -> None:
    (tmp_path / "vectors.txt").write_text("red 1 2 3 4 5 6\nelsewhere 9 9 9 9 9 9\ndark 6 5 4 3 2 1\n")
    seen, plain = watched(captioner(f"word_vectors={tmp_path / 'vectors.txt'}")), watched(captioner())
    words = seen.module.vocabulary.words
    weight = seen.before[0]["decoder.embedding.weight"]
    assert weight[words.index("red")].tolist() == [1, 2, 3, 4, 5, 6]
    assert weight[words.index("dark")].tolist() == [6, 5, 4, 3, 2, 1]
    assert (
        weight[words.index("blue")].tolist()
        == plain.before[0]["decoder.embedding.weight"][words.index("blue")].tolist()
    )


def test_word_vectors_are_refused_where_nothing_takes_them(writer: Line, tmp_path: Path) -> None:
    with pytest.raises(CaptioningError, match=r"word_vectors=v\.txt: LanguageTask takes no word vectors"):
        train(compose(writer("word_vectors=v.txt")), tmp_path / "run")


@wired("init_from")
def test_a_run_begins_with_the_weights_of_another(captioner: Line, watched: Watched) -> None:
    other = watched(captioner())
    seen = watched(captioner(f"init_from={other.folder}", "seed=5"))
    best = {name: other.checkpoint("best")["state_dict"][name] for name in seen.before[0]}
    assert_close(seen.before[0], best, atol=0, rtol=0)
    assert not torch.equal(other.before[0]["decoder.word_layer.weight"], best["decoder.word_layer.weight"])


@wired("ema_decay")
def test_the_mean_of_the_weights_is_validated_and_kept(captioner: Line, watched: Watched) -> None:
    seen = watched(captioner("ema_decay=0.3"))
    first, *later = seen.before[1:]
    mean = dict(first)
    for steps, weights in enumerate(later, start=1):
        decay = min(0.3, (1 + steps) / (10 + steps))
        mean = {name: decay * mean[name] + (1 - decay) * weight for name, weight in weights.items()}
    best = {name: seen.checkpoint("best")["state_dict"][name] for name in mean}
    assert_close(best, mean)
    assert_close(seen.averages[0], mean)  # is what is validated
    assert not torch.allclose(best["decoder.word_layer.weight"], seen.before[-1]["decoder.word_layer.weight"])
    plain = watched(captioner())
    assert_close({name: plain.checkpoint("best")["state_dict"][name] for name in mean}, plain.before[-1])


@wired("seed")
def test_the_seed_decides_weights_order_captions_and_dropout(captioner: Line, watched: Watched, tmp_path: Path) -> None:
    line = captioner("decoder.output_dropout=0.5", "objective.feature_dropout=0.5")
    first, again, other = watched([*line, "seed=3"]), watch([*line, "seed=3"], tmp_path), watched([*line, "seed=4"])
    assert first.losses == again.losses != other.losses
    name = "decoder.word_layer.weight"
    assert torch.equal(first.before[0][name], again.before[0][name])
    assert not torch.equal(first.before[0][name], other.before[0][name])

    def order(seen: Seen) -> list[list[int]]:
        return [batch.photos.tolist() for batch in seen.batches]

    def captions(seen: Seen) -> dict[int, list[list[int]]]:
        return {
            photo: words
            for batch in seen.batches
            for photo, words in zip(batch.photos.tolist(), batch.packing.unpack(batch.targets).tolist(), strict=True)
        }

    def dropped(seen: Seen) -> list[Tensor]:
        return [features["pooled"] == 0 for in_training, features in seen.given if in_training]

    assert order(first) == order(again) != order(other)
    assert captions(first) == captions(again)
    assert any(trimmed(captions(first)[photo]) != trimmed(captions(other)[photo]) for photo in range(8))
    assert all(torch.equal(a, b) for a, b in zip(dropped(first), dropped(again), strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(dropped(first), dropped(other), strict=True))
    assert not torch.equal(dropped(first)[0], dropped(first)[1])  # nor is it the same in every step


def trimmed(captions: list[list[int]]) -> list[tuple[int, ...]]:
    """Captions without padding, in an order of their own."""
    return sorted(tuple(word for word in caption if word) for caption in captions)


@wired("monitor")
def test_the_monitored_score_chooses_what_is_kept(captioner: Line, tmp_path: Path) -> None:
    line = captioner("trainer.max_epochs=3")
    by_score = watch(line, tmp_path / "score", scores=[3.0, 1.0, 2.0])
    assert (by_score.checkpoint("best")["epoch"], by_score.score) == (0, 3.0)
    by_loss = watch([*line, "monitor=nll"], tmp_path / "loss", scores=[3.0, 1.0, 2.0])
    losses = [row["val/nll"] for row in by_loss.rows if "val/nll" in row]
    assert by_loss.score == pytest.approx(min(losses))
    assert by_loss.checkpoint("best")["epoch"] == losses.index(min(losses)) != 0


@wired("patience", "trainer=default trainer.max_epochs")
def test_training_ends_when_patience_does_or_after_the_epochs(captioner: Line, tmp_path: Path) -> None:
    falling = [9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0]
    line = without(captioner(), "patience", "trainer.max_epochs")
    patient = watch([*line, "patience=2", "trainer.max_epochs=5"], tmp_path / "two", scores=falling)
    endless = watch([*line, "patience=null", "trainer.max_epochs=5"], tmp_path / "null", scores=falling)
    assert (len(patient.captions), len(endless.captions)) == (3, 5)


@wired("checkpoint_minutes")
def test_checkpoints_are_written_so_often(captioner: Line, watched: Watched) -> None:
    often, seldom = watched(captioner("checkpoint_minutes=0")), watched(captioner())
    assert (often.saved.count("last.ckpt"), seldom.saved.count("last.ckpt")) == (4, 1)  # the last step's is the epoch's


@wired("resume")
def test_a_run_goes_on_or_begins_anew(captioner: Line, tmp_path: Path) -> None:
    first = watch(captioner(), tmp_path)
    more = watch(captioner("trainer.max_epochs=2"), tmp_path)
    assert_close(more.before[0], first.before[-1])
    assert len(more.rates) == 4
    anew = watch(captioner("resume=false"), tmp_path)
    assert_close(anew.before[0], first.before[0])
    assert (tmp_path / "earlier" / "1" / "checkpoints" / "last.ckpt").exists()


# --- the trainer ----------------------------------------------------------------------------------------------------


@wired("trainer=default trainer.precision")
def test_logits_have_the_precision_of_the_trainer(captioner: Line, watched: Watched) -> None:
    assert set(watched(captioner("trainer.precision=bf16-mixed")).logits) == {torch.bfloat16}
    assert set(watched(captioner()).logits) == {torch.float32}


@wired("trainer=default trainer.limit_train_batches", "trainer=default trainer.num_sanity_val_steps")
@wired("trainer=default trainer.log_every_n_steps")
def test_the_trainer_takes_and_logs_so_many_batches(captioner: Line, watched: Watched) -> None:
    line = without(captioner(), "trainer.log_every_n_steps")
    few = ("trainer.limit_train_batches=3", "trainer.num_sanity_val_steps=1", "trainer.log_every_n_steps=3")
    seen, whole = watched([*line, *few]), watched(captioner())
    assert (len(seen.batches), seen.sanity, len(seen.losses)) == (3, 1, 1)
    assert (len(whole.batches), whole.sanity, len(whole.losses)) == (4, 0, 4)


@wired("trainer=default trainer.devices", "trainer=default trainer.strategy", "trainer=default trainer.accelerator")
@wired("trainer=default trainer.use_distributed_sampler", "trainer=default trainer.enable_model_summary")
@wired("trainer=default trainer.enable_progress_bar", "trainer=default trainer.num_nodes")
def test_lightning_is_given_the_settings_of_the_trainer(
    captioner: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NODE_RANK", "0")  # of three machines
    plain = without(captioner(), "trainer.accelerator", "trainer.enable_progress_bar")

    def made(*more: str) -> Any:
        config = compose([*plain, "trainer.accelerator=cpu", *more])
        return make_trainer(config, tmp_path, Monitor.of(config))

    changed = made(
        *("trainer.devices=2", "trainer.strategy=ddp_find_unused_parameters_true", "trainer.enable_model_summary=true"),
        "trainer.num_nodes=3",
        *("trainer.use_distributed_sampler=true", "trainer.enable_progress_bar=false", "report=false"),
    )
    default = made()
    assert (changed.num_devices, default.num_devices) == (2, 1)
    assert (changed.num_nodes, default.num_nodes) == (3, 1)
    assert changed.strategy._ddp_kwargs == {"find_unused_parameters": True}
    assert type(default.strategy).__name__ == "SingleDeviceStrategy"
    samplers = [trainer._accelerator_connector.use_distributed_sampler for trainer in (changed, default)]
    assert samplers == [True, False]
    callbacks = [{type(each).__name__ for each in trainer.callbacks} for trainer in (changed, default)]
    assert [any(name.endswith("ModelSummary") for name in each) for each in callbacks] == [True, False]
    assert [bool({"ProgressBar", "ProgressLines"} & set(each)) for each in callbacks] == [False, True]
    config = compose([*plain, "trainer.accelerator=abacus"])
    with pytest.raises(CaptioningError, match="abacus"):
        make_trainer(config, tmp_path, Monitor.of(config))


@wired("logger=csv logger.gradients", "logger=default logger.gradients")
def test_loggers_write_their_files_and_the_gradients_of_each_layer(captioner: Line, watched: Watched) -> None:
    line = without(captioner(), "logger")
    plain = watched(captioner())
    assert "metrics.csv" in plain.written() and "tensorboard" not in plain.written()
    assert not any(name.startswith("gradients/") for row in plain.rows for name in row)
    for logger in ("csv", "default"):
        seen = watched([*line, f"logger={logger}", "logger.gradients=true"])
        (row, *_) = seen.rows
        assert "gradients/clipped" in row
        assert row["gradients/word_layer"] == pytest.approx(
            norm({name: each for name, each in seen.raw[0].items() if ".word_layer." in name}), rel=1e-3
        )
        assert ("tensorboard" in seen.written()) == (logger == "default")


@wired("logger=default logger.tensorboard.name", "logger=default logger.tensorboard.version")
def test_tensorboard_writes_where_it_is_told(captioner: Line, tmp_path: Path) -> None:
    line = without(captioner(), "logger")
    for more, folder in (
        ((), "tensorboard"),
        (("logger.tensorboard.name=events", "logger.tensorboard.version=v1"), "events/v1"),
    ):
        config = compose([*line, *more])
        trainer = make_trainer(config, tmp_path, Monitor.of(config))
        assert trainer.loggers[1].log_dir == str(tmp_path / folder)


@wired("compile")
def test_what_trains_is_compiled_where_that_is_asked_for(
    captioner: Line, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(torch, "compile", lambda *arguments, **settings: asked.append(arguments) or arguments[0])
    attention = captioner("decoder=show_attend_tell", "decoder.attention_size=4", "trainer.limit_train_batches=1")
    watch(attention, tmp_path / "plain")
    assert not asked
    watch([*attention, "compile=true"], tmp_path / "compiled")
    assert asked


# --- which split is for what ----------------------------------------------------------------------------------------


@wired("test")
def test_each_split_is_for_one_thing(captioner: Line, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The vocabulary is the training split's, validation scores are of val, and test is scored once, at the end."""
    scored: list[list[str]] = []
    score = Scorer.score

    def counting(self: Scorer, captions: Any) -> Any:
        scored.append(self.said)
        return score(self, captions)

    begin = Scorer.__init__

    def keeping(self: Scorer, metrics: Any, references: Any) -> None:
        self.said = sorted({word for each in references.texts for caption in each for word in caption.split()})
        begin(self, metrics, references)

    monkeypatch.setattr(Scorer, "__init__", keeping)
    monkeypatch.setattr(Scorer, "score", counting)
    seen = watch([*without(captioner("trainer.max_epochs=2"), "test="), "test=true"], tmp_path / "run")
    assert [[word for word in said if word.endswith("ed") and word not in ("red",)] for said in scored] == [
        ["valed"],
        ["valed"],
        ["tested"],
    ]
    known = set(seen.module.vocabulary.words)
    assert {"trained", "seldom", "rare"} <= known and not {"valed", "tested"} & known
    assert [len(batch.photos) for batch in seen.validated] == [2, 1, 2, 1]
    assert {"captions_test.json", "references_test.json", "scores_test.json"} <= seen.written()
    assert not any(
        "val" in name or "train." in name for name in seen.written() if name.startswith(("captions_", "scores_"))
    )
    untested = watch(captioner(), tmp_path / "untested").written()
    assert "summary.json" in untested and not any("_test" in name for name in untested)


def test_validation_and_evaluation_are_without_dropout(
    captioner: Line, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With nearly all of it dropped, captions and likelihoods would be of chance."""
    searched: dict[str, set[bool]] = {"run": set(), "evaluate": set()}
    step, now = Decoder.step, "run"

    def stepping(self: Decoder, tokens: Tensor, state: Any) -> Any:
        searched[now].add(self.training)
        return step(self, tokens, state)

    monkeypatch.setattr(Decoder, "step", stepping)
    line = without(captioner(), "test")
    seen = watch([*line, "test=true", "decoder.output_dropout=0.99", "decoder.embedding_dropout=0.99"], tmp_path)
    now = "evaluate"
    evaluate(tmp_path, "test", line[-2:], device="cpu", trust=["wires"])
    assert searched == {"run": {False}, "evaluate": {False}}
    assert seen.modes and not any(seen.modes)
    module, data = seen.module, seen.trainer.datamodule
    module.load_state_dict(seen.checkpoint("best")["state_dict"])
    module.eval()
    captions, total, words = {}, 0.0, 0
    with torch.no_grad():
        for split in ("val", "test"):
            for batch in data.loader(split):
                features = batch.features.to(dtype=torch.float)
                found = Greedy(5)(module.decoder, features).tokens[:, 0].tolist()
                captions[split] = captions.get(split, []) + [module.vocabulary.decode(caption) for caption in found]
                if split == "val":
                    logits = module.decoder.logits(
                        module.decoder.teacher_force(features, batch.words, batch.packing).hidden
                    )
                    total += F.cross_entropy(logits, batch.targets, reduction="sum").item()
                    words += len(batch.targets)
    assert [caption for _, caption in sorted(seen.captions[0].items())] == captions["val"]
    tested = json.loads((tmp_path / "captions_test.json").read_text())
    assert [each["caption"] for each in tested] == captions["test"]
    (row,) = (row for row in seen.rows if "val/nll" in row)
    assert row["val/nll"] == pytest.approx(total / words, rel=1e-4)


def assert_close(found: dict[str, Tensor], expected: dict[str, Tensor], atol: float = 1e-6, rtol: float = 1e-4) -> None:
    assert found.keys() <= expected.keys() and found
    for name, tensor in found.items():
        torch.testing.assert_close(
            tensor.detach(), expected[name], atol=atol, rtol=rtol, msg=lambda text, n=name: f"{n}: {text}"
        )


def norm(gradients: dict[str, Tensor]) -> float:
    return torch.cat([gradient.flatten() for gradient in gradients.values()]).norm().item()
