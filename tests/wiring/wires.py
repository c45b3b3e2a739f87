"""What the tests of wiring share: the settings of ``conf/``, tiny data, and a run that is watched.

A test says by ``@wired("scheduler=cosine scheduler.final", …)`` which settings it shows to reach what they are for.
``plant.py`` takes each of them out of the command lines of its test, as if the program ignored it, and the test must
fail.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytorch_lightning as pl
import torch
from omegaconf import OmegaConf
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from captioning.core.features import Features
from captioning.encoders import Encoder
from captioning.jobs import config as configuration
from captioning.jobs import overrides as overrides_of
from captioning.jobs import train as job
from captioning.jobs.config import conf_dir
from captioning.runs.metrics_file import read_metrics
from captioning.training.trainer import AtomicCheckpointIO

IGNORED = os.environ.get("WIRING_IGNORED", "")  # "scheduler=cosine scheduler.final", see plant.py
HYDRA = ("_target_", "_partial_", "()")  # Hydra's own keys: what is made, see test_choices.py
PRESETS = ("experiment", "hparams_search", "debug")  # choices of values for settings of other files

WIRED: dict[str, list[str]] = {}  # a setting to the tests that show what it is for

CAPTIONER = [
    *("data=own", "data.minimum_count=1", "data.batch_size=2", "data.captions_per_photo=2", "data.workers=0"),
    *("decoder.embedding_size=6", "decoder.hidden_size=8", "search=greedy", "search.max_length=5"),
    *("optimizer=sgd", "optimizer.lr=0.5", "optimizer.momentum=0"),
    *("trainer.max_epochs=1", "trainer.log_every_n_steps=1", "trainer.accelerator=cpu", "logger=csv"),
    *(
        "trainer.gradient_clip_val=null",
        "trainer.enable_progress_bar=false",
        "report=false",
        "patience=null",
        "test=false",
    ),
]
COLOURS = ("encoder=none", "+encoder._target_=wires.Colours")
RESNET = ("encoder=resnet18", "encoder.weights=null", "encoder.image_size=16", "encoder.last_stage=layer1")
WRITER = [
    *("task=language", "data=text", "encoder=none", "decoder=language_model", "search=sample", "monitor=loss"),
    *("data.batch_size=3", "data.chunk=10", "decoder.embedding_size=6", "decoder.hidden_size=8", "cell=rnn"),
    *("optimizer=sgd", "optimizer.lr=0.5", "optimizer.momentum=0", "search.max_length=9", "data.sample_every=3"),
    *("trainer.max_epochs=1", "trainer.log_every_n_steps=1", "trainer.accelerator=cpu", "logger=csv"),
    *(
        "trainer.gradient_clip_val=null",
        "trainer.enable_progress_bar=false",
        "report=false",
        "patience=null",
        "test=false",
    ),
]
WORDS = ("red", "green", "blue", "grey", "bright", "dark", "left", "right", "square", "noise", "a", "the", "of", "with")


# --- settings -------------------------------------------------------------------------------------------------------


def wired(*settings: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Say which settings a test shows to reach what they are for, each as ``GROUP=FILE SETTING``."""

    def register(test: Callable[..., None]) -> Callable[..., None]:
        for setting in settings:
            WIRED.setdefault(setting, []).append(f"{Path(test.__code__.co_filename).name}::{test.__name__}")
        return test

    return register


def settings_of_conf() -> dict[str, Any]:
    """All settings of ``conf/`` but for those of presets, as ``GROUP=FILE SETTING``, to their values as written."""
    found: dict[str, Any] = {}
    for path in sorted(conf_dir().rglob("*.yaml")):
        *groups, file = path.relative_to(conf_dir()).with_suffix("").parts
        if groups and groups[0] in PRESETS:
            continue
        written = OmegaConf.to_container(OmegaConf.load(path))
        assert isinstance(written, dict)
        written.pop("defaults", None)
        package = ".".join(groups)
        for name, value in leaves(written, package):
            found[f"{'/'.join(groups)}={file} {name}" if groups else name] = value
    return found


def leaves(settings: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested settings by their dotted names, without those that are Hydra's."""
    for key, value in settings.items():
        name = f"{prefix}.{key}" if prefix else str(key)
        if isinstance(value, Mapping) and value:
            yield from leaves(value, name)
        elif key not in HYDRA:
            yield name, value


def without(line: Sequence[str], *begins: str) -> list[str]:
    """A command line without the settings that begin so."""
    return [each for each in line if not each.startswith(begins)]


def compose(overrides: Sequence[str]) -> dict[str, Any]:
    """The configuration of a command line; without the setting that is to be ignored, if any."""
    return json.loads(_composed(tuple(each for each in overrides if not _ignored(each, overrides))))


composer = cache(overrides_of.Composer)  # it keeps what it has composed of groups


@cache
def _composed(overrides: tuple[str, ...]) -> str:
    with patch.object(overrides_of, "Composer", composer):
        return json.dumps(configuration.compose(overrides))


def kept(overrides: Sequence[str]) -> list[str]:
    """A command line without the setting that is to be ignored, if any."""
    return [each for each in overrides if not _ignored(each, overrides)]


left_out = 0  # how often that setting was there


def _ignored(override: str, overrides: Sequence[str]) -> bool:
    global left_out
    file, _, name = IGNORED.rpartition(" ")
    if override.lstrip("+~").partition("=")[0] != name:
        return False
    group, _, choice = file.partition("=")
    chosen = [each.partition("=")[2] for each in overrides if each.lstrip("+").partition("=")[0] == group]
    if file and chosen and choice not in _ancestors(group, chosen[-1]):
        return False
    left_out += 1
    return True


def _ancestors(group: str, choice: str) -> set[str]:
    """A file of a group, and those that it is made of."""
    path = conf_dir() / group / f"{choice}.yaml"
    written: Any = OmegaConf.load(path) if path.exists() else {}
    above = [each for each in written.get("defaults", ()) if isinstance(each, str) and each != "_self_"]
    return {choice}.union(*(_ancestors(group, each) for each in above))


# --- data and encoder -----------------------------------------------------------------------------------------------


def draw(folder: Path) -> Path:
    """Own data: 8, 3 and 3 photographs of noise with three captions; each split has a word that the others have not.

    In the training split "seldom" is in three captions and "rare" in two; captions have four to nine words.
    """
    rng = np.random.Generator(np.random.PCG64(3))
    rows = []
    for number in range(14):
        colours = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(colours.repeat(4, 0).repeat(4, 1)).save(folder / f"{number:02}.png")
        split = "train" if number < 8 else "val" if number < 11 else "test"
        for place in range(3):
            words = [WORDS[each] for each in rng.integers(0, len(WORDS), 3 + (number + 2 * place) % 6)]
            extra = "seldom" if (number, place) in ((0, 0), (1, 1), (2, 2)) else split + "ed"
            words.append("rare" if (number, place) in ((3, 0), (4, 1)) else extra)
            rows.append({"image": f"{number:02}.png", "caption": " ".join(words), "split": split})
    (folder / "captions.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    return folder


class Colours(Encoder):
    """The mean colour of each of four regions, and all of them as one vector: nothing to train or to wait for."""

    def __init__(self, weights: None = None) -> None:
        super().__init__(nn.Identity(), identity={"name": "colours"}, stages={}, image_size=16)

    def encode(self, images: Tensor) -> Features:
        maps = F.avg_pool2d(images, 8)  # (B, 3, 2, 2)
        return Features(pooled=maps.flatten(1), grid=maps)


# --- a run ----------------------------------------------------------------------------------------------------------


@dataclass
class Seen:
    """What was seen of a run.

    Attributes:
        folder: of the run.
        config: of the run.
        module, trainer: of Lightning, after the run.
        score: the best of the monitored measurement.
        before: the weights at the beginning of each step, and at the end; of what is trained.
        gradients: of each step, as they come to the optimizer, clipped.
        raw: of each step, before they are clipped.
        rates: the learning rates of the optimizer's groups at each step.
        groups: the optimizer's groups at the end, without their parameters.
        batches: those of training.
        validated: those of validation.
        modes: whether encoder and decoder are in training mode, at each validation batch.
        given: the features that the decoder is given, each time it starts, with whether it is in training mode.
        own_words: how likely the decoder's own words go in, at each step; None under teacher forcing.
        fed: the words that the decoder embeds in training.
        hidden: what the word layer is given in training.
        logits: their precision.
        captions: of the validation split, at each validation.
        sanity: the validation batches before the first step.
        saved: the files of checkpoints, as often as they were written.
        averages: the decoder's weights at each validation.
    """

    folder: Path
    config: dict[str, Any]
    module: Any = None
    trainer: Any = None
    score: float = 0.0
    before: list[dict[str, Tensor]] = field(default_factory=list)
    gradients: list[dict[str, Tensor]] = field(default_factory=list)
    raw: list[dict[str, Tensor]] = field(default_factory=list)
    rates: list[list[float]] = field(default_factory=list)
    groups: list[dict[str, Any]] = field(default_factory=list)
    batches: list[Any] = field(default_factory=list)
    validated: list[Any] = field(default_factory=list)
    modes: list[bool] = field(default_factory=list)
    given: list[tuple[bool, Features]] = field(default_factory=list)
    own_words: list[float | None] = field(default_factory=list)
    fed: list[Tensor] = field(default_factory=list)
    hidden: list[Tensor] = field(default_factory=list)
    logits: list[torch.dtype] = field(default_factory=list)
    captions: list[dict[int, str]] = field(default_factory=list)
    sanity: int = 0
    saved: list[str] = field(default_factory=list)
    averages: list[dict[str, Tensor]] = field(default_factory=list)

    @property
    def rows(self) -> list[dict[str, float]]:
        """Of ``metrics.csv``."""
        return read_metrics(self.folder / "metrics.csv")

    @property
    def losses(self) -> list[float]:
        """Of all steps that were logged."""
        return [row["train/loss"] for row in self.rows if "train/loss" in row]

    @property
    def updates(self) -> list[dict[str, Tensor]]:
        """What each step added to the weights."""
        return [
            {name: after[name] - weight for name, weight in before.items()}
            for before, after in zip(self.before, self.before[1:], strict=False)
        ]

    def checkpoint(self, name: str = "last") -> dict[str, Any]:
        """A checkpoint of the run."""
        found: dict[str, Any] = torch.load(self.folder / "checkpoints" / f"{name}.ckpt", weights_only=True)
        return found

    def written(self) -> set[str]:
        """The names of the files in the run's folder."""
        return {path.name for path in self.folder.iterdir()}


class Watch(pl.Callback):
    """Writes down what happens in training."""

    def __init__(self, seen: Seen) -> None:
        self.seen = seen

    def on_train_start(self, trainer: pl.Trainer, module: Any) -> None:
        seen, decoder = self.seen, module.decoder
        seen.before.append(trained(module))
        start, by_steps, clip = decoder.start, decoder.teacher_force_by_steps, module.configure_gradient_clipping

        def started(features: Features) -> Any:
            seen.given.append((decoder.training, features))
            return start(features)

        def stepped(features: Features, words: Tensor, packing: Any, own_words: float = 0.0) -> Any:
            if decoder.training:
                seen.own_words[-1] = own_words
            return by_steps(features, words, packing, own_words)

        def clipped(optimizer: Any, *arguments: Any, **settings: Any) -> None:
            clip(optimizer, *arguments, **settings)
            seen.gradients.append(gradients(module))

        decoder.start, decoder.teacher_force_by_steps, module.configure_gradient_clipping = started, stepped, clipped
        decoder.embedding.register_forward_pre_hook(self._embedded)
        decoder.word_layer.register_forward_hook(self._said)

    def _embedded(self, layer: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        if layer.training:
            self.seen.fed.append(arguments[0])

    def _said(self, layer: nn.Module, arguments: tuple[Tensor, ...], logits: Tensor) -> None:
        if layer.training:
            self.seen.hidden.append(arguments[0].detach())
            self.seen.logits.append(logits.dtype)

    def on_train_batch_start(self, trainer: pl.Trainer, module: Any, batch: Any, batch_idx: int) -> None:
        self.seen.batches.append(batch)
        self.seen.own_words.append(None)

    def on_before_optimizer_step(self, trainer: pl.Trainer, module: Any, optimizer: torch.optim.Optimizer) -> None:
        self.seen.rates.append([group["lr"] for group in optimizer.param_groups])
        self.seen.raw.append(gradients(module))

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, *rest: Any) -> None:
        if len(self.seen.gradients) == len(self.seen.before):
            self.seen.before.append(trained(module))

    def on_validation_batch_start(self, trainer: pl.Trainer, module: Any, batch: Any, *rest: Any) -> None:
        self.seen.sanity += trainer.sanity_checking
        if not trainer.sanity_checking:
            self.seen.validated.append(batch)
            self.seen.modes += [part.training for part in module.modules()]

    def on_validation_epoch_end(self, trainer: pl.Trainer, module: Any) -> None:
        if not trainer.sanity_checking:
            self.seen.averages.append(trained(module))
            if hasattr(module, "captions"):
                self.seen.captions.append(dict(module.captions))

    def on_train_end(self, trainer: pl.Trainer, module: Any) -> None:
        self.seen.groups = [
            {k: v for k, v in group.items() if k != "params"} for group in trainer.optimizers[0].param_groups
        ]


def trained(module: nn.Module) -> dict[str, Tensor]:
    """Copies of the weights that are trained."""
    return {name: weight.detach().clone() for name, weight in module.named_parameters() if weight.requires_grad}


def gradients(module: nn.Module) -> dict[str, Tensor]:
    """Copies of the gradients."""
    return {name: weight.grad.clone() for name, weight in module.named_parameters() if weight.grad is not None}


def watch(overrides: Sequence[str], folder: Path, scores: Sequence[float] | None = None) -> Seen:
    """Run a command line and write down what happens.

    Args:
        overrides: the command line.
        folder: of the run.
        scores: what the validations are to give as CIDEr, one after the other; None for what they give.
    """
    seen = Seen(folder, compose(overrides))
    fit, save, given = pl.Trainer.fit, AtomicCheckpointIO.save_checkpoint, iter(scores or ())

    def watching(trainer: pl.Trainer, module: Any, *arguments: Any, **settings: Any) -> Any:
        seen.trainer, seen.module = trainer, module
        trainer.callbacks.insert(0, Watch(seen))  # type: ignore[attr-defined]
        if scores is not None:
            module.score = lambda captions: {"CIDEr": next(given)}
        return fit(trainer, module, *arguments, **settings)

    def saving(io: AtomicCheckpointIO, checkpoint: dict[str, Any], path: Any, **settings: Any) -> None:
        seen.saved.append(Path(path).name)
        save(io, checkpoint, path, **settings)

    with (
        patch.object(pl.Trainer, "fit", watching),
        patch.object(AtomicCheckpointIO, "save_checkpoint", saving),
        patch.object(job, "draw_curves"),  # it takes three times as long as all the rest
    ):
        seen.score = job.train(seen.config, folder)
    return seen
