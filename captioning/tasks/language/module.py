"""The Lightning module of a language model: truncated back-propagation through time over parallel streams.

Karpathy, min-char-rnn (2015): the state is carried from chunk to chunk, the gradient is cut at each, and every pass
over the text begins with a state of zeros.

Dimensions: B streams, T characters of a chunk, M = T·B.
"""

import logging
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from captioning.core.features import Features
from captioning.core.state import State
from captioning.core.terminal import printable
from captioning.core.vocabulary import CharacterVocabulary
from captioning.data.streams import Chunk
from captioning.decoders import LanguageModel
from captioning.search import Sample
from captioning.search.writing import write
from captioning.training.module import TrainingModule
from captioning.training.objectives import CrossEntropy, WordLoss

log = logging.getLogger(__name__)

MEMORY = 0.999  # of the smoothed loss
CARRIED = "carried"  # what a checkpoint calls the state between two chunks


@dataclass(frozen=True)
class Reached:
    """Where training is between two chunks.

    Attributes:
        state: of the model, after the last chunk.
        smooth_loss: ``0.999`` of itself and ``0.001`` of the loss of each chunk, summed over T as in min-char-rnn; at
            first that of a model that knows nothing, ``-log(1/V)·T``.
    """

    state: State
    smooth_loss: float


class LanguageModule(TrainingModule):
    """Trains a language model of characters, and lets it write now and then."""

    monitors: ClassVar = ("loss", "bits")
    decoder: LanguageModel

    def __init__(
        self,
        decoder: LanguageModel,
        vocabulary: CharacterVocabulary,
        objective: CrossEntropy,
        *,
        optimizer: Callable[..., torch.optim.Optimizer],
        schedule: Callable[[int, int], float],
        config: Mapping[str, Any],
        sample: Callable[[int], Sample],
        samples: Path,
    ) -> None:
        """Take the parts.

        Args:
            decoder: the language model.
            vocabulary: its characters.
            objective: the loss of the characters.
            optimizer: makes the optimizer from groups of parameters.
            schedule: (step, steps of the run) to the share of the learning rate.
            config: of the run; its ``data`` has ``chunk`` (T) and ``sample_every``.
            sample: a seed to what draws characters; its ``max_length`` is the length of a sample.
            samples: the file that the samples are added to.
        """
        super().__init__(decoder, vocabulary, optimizer=optimizer, schedule=schedule, config=config)
        self.vocabulary, self.objective = vocabulary, objective
        self.chunk, self.sample_every = config["data"]["chunk"], config["data"]["sample_every"]
        self.sample, self.samples = sample, samples
        self.reached = Reached(State(), math.log(len(vocabulary)) * self.chunk)  # by the last chunk that was read
        self.carried = self.reached  # by the last step that was taken
        self.validated = State()

    def read(self, chunk: Chunk, state: State) -> tuple[WordLoss, State]:
        """The loss of a chunk, and the state after it, from which no gradient comes back."""
        streams = len(chunk.places)
        if chunk.first:
            state = self.decoder.start(Features.none(streams))
        reading, state = self.decoder.read_on(state, chunk.words, chunk.packing)
        loss = self.objective.of(self.decoder, reading.hidden, chunk.targets, streams)
        return loss, state.map(torch.detach)

    def training_step(self, chunk: Chunk, batch_idx: int) -> Tensor:
        """The loss of a chunk."""
        words, state = self.read(chunk, self.reached.state)
        nll: Any = self.trainer.strategy.reduce(-words.log_likelihood.mean(), reduce_op="mean")  # over ranks
        smooth_loss = MEMORY * self.reached.smooth_loss + (1 - MEMORY) * float(nll) * self.chunk
        self.reached = Reached(state, smooth_loss)
        size = len(chunk.targets)
        self.log("train/loss", nll, prog_bar=True, batch_size=size)
        self.log("train/bits", nll / math.log(2), batch_size=size)
        self.log("train/smooth_loss", smooth_loss, batch_size=size)
        return words.loss

    def optimizer_step(self, *arguments: Any, **settings: Any) -> None:
        """Take the step; what it began with is kept until it is taken, for a checkpoint of a step that fails."""
        super().optimizer_step(*arguments, **settings)
        self.carried = self.reached

    def on_train_batch_start(self, batch: Chunk, batch_idx: int) -> None:
        """Write a sample every so many steps: before a step, so that a run resumed there writes it too."""
        due = self.trainer.global_step > 0 and self.trainer.global_step % self.sample_every == 0
        if due and batch_idx % self.trainer.accumulate_grad_batches == 0 and self.trainer.is_global_zero:
            self.show(batch.words)
        super().on_train_batch_start(batch, batch_idx)

    def show(self, words: Tensor) -> None:
        """Write a sample to the log and to the file; it goes on from the first of the words."""
        step = self.trainer.global_step
        title, sample = f"step {step}, loss {self.reached.smooth_loss / self.chunk:.3f}", self.sample(step)
        self.decoder.eval()
        written = write(self.decoder, words[:1].tolist(), sample, self.device)
        text = self.vocabulary.decode(islice(written, sample.max_length))
        self.decoder.train()
        log.info("%s\n----\n%s\n----", title, printable(text, keep="\n\t"))
        with self.samples.open("a", encoding="utf-8", newline="") as file:
            file.write(f"---- {title}\n{text}\n")

    def validation_step(self, chunk: Chunk, batch_idx: int) -> None:
        """The loss of the validation text; its first chunk is there to be remembered, and does not count."""
        words, self.validated = self.read(chunk, self.validated)
        if not chunk.first:
            nll, size = -words.log_likelihood.mean(), len(chunk.targets)
            self.log("val/loss", nll, batch_size=size, sync_dist=True)
            self.log("val/bits", nll / math.log(2), batch_size=size, sync_dist=True)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save what the next chunk begins with, of all ranks, and how far the samples go."""
        super().on_save_checkpoint(checkpoint)
        hidden = self.carried.state.sequence.get("hidden")
        if hidden is not None:
            every: Any = self.all_gather(hidden)
            checkpoint[CARRIED] = {
                "hidden": every.view(-1, *hidden.shape),  # (ranks, B, 1, depth, C)
                "smooth_loss": self.carried.smooth_loss,
                "samples": self.samples.stat().st_size if self.samples.exists() else 0,
            }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with them; samples that were written after the checkpoint will be written again."""
        super().on_load_checkpoint(checkpoint)
        carried = checkpoint[CARRIED]
        state = State({}, {"hidden": carried["hidden"][self.global_rank].to(self.device)})
        self.reached = self.carried = Reached(state, carried["smooth_loss"])
        if self.samples.exists() and self.global_rank == 0:
            os.truncate(self.samples, min(carried["samples"], self.samples.stat().st_size))
