"""The Lightning module of a language model: truncated back-propagation through time over parallel streams.

Karpathy, min-char-rnn (2015): the state is carried from chunk to chunk, the gradient is cut at the chunk's beginning,
and every pass over the text begins with a state of zeros.

Dimensions: B streams, T characters of a chunk, M = T·B.
"""

import logging
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from captioning.core.errors import CaptioningError
from captioning.core.features import Features
from captioning.core.packing import Packing
from captioning.core.state import State
from captioning.core.sums import Sum
from captioning.core.terminal import printable
from captioning.core.vocabulary import CharacterVocabulary
from captioning.data.streams import Chunk
from captioning.decoders import LanguageModel, Outputs
from captioning.search import Sample
from captioning.search.writing import write
from captioning.training.module import TrainingModule
from captioning.training.objectives import Objective, word_loss

log = logging.getLogger(__name__)

MEMORY = 0.999  # the decay of the smoothed loss
CARRIED = "carried"  # the name in a checkpoint of the state between two chunks


@dataclass(frozen=True)
class Reached:
    """The progress of training between two chunks.

    Attributes:
        state: the model's state after the last chunk.
        smooth_loss: the running mean of the chunks' losses, summed over T as in min-char-rnn, with weights 0.999 (old)
            and 0.001 (new); at first the loss of a uniform model, ``-log(1/V)·T``.
    """

    state: State
    smooth_loss: float


class Carrying:
    """A language model that starts from a given state, not from zeros, and keeps the state after its last input."""

    def __init__(self, decoder: LanguageModel, state: State) -> None:
        """Take the model and the initial state."""
        self.decoder, self.state = decoder, state

    def __getattr__(self, name: str) -> Any:
        """All other attributes are those of the model."""
        return getattr(self.decoder, name)

    def start(self, features: Features) -> State:
        """The state in which the last input left the model."""
        return self.state

    def teacher_force(self, features: Features, words: Tensor, packing: Packing) -> Outputs:
        """See ``Decoder.teacher_force``; no gradient flows beyond the initial state."""
        return self.teacher_force_by_steps(features, words, packing)

    def teacher_force_by_steps(
        self, features: Features, words: Tensor, packing: Packing, own_words: float = 0.0
    ) -> Outputs:
        """See ``Decoder.teacher_force_by_steps``; no gradient flows beyond the initial state."""
        outputs, self.state = self.decoder.teacher_force_from(self.state, words, packing, own_words)
        return outputs

    def __call__(self, features: Features, tokens: Tensor) -> Tensor:
        """See ``Decoder.forward``."""
        packing = Packing.of(tokens)
        outputs = self.teacher_force(features, packing.pack(tokens), packing)
        logits: Tensor = self.decoder.logits(outputs.hidden)
        return packing.unpack(logits)


class LanguageModule(TrainingModule):
    """The training of a language model of characters, which writes samples at regular steps."""

    def __init__(
        self,
        decoder: LanguageModel,
        vocabulary: CharacterVocabulary,
        objective: Objective,
        *,
        chunk: int,
        sample_every: int,
        sample: Callable[[int], Sample],
        samples: Path,
        **common: Any,
    ) -> None:
        """Take the parts.

        Args:
            decoder: the language model.
            vocabulary: the characters.
            objective: the quantity that a step minimizes.
            chunk: T, the length of a chunk.
            sample_every: the number of steps between two samples.
            sample: a function from a seed to a sampling search, whose ``max_length`` is the length of a sample.
            samples: the file to which samples are appended.
            common: the arguments of ``TrainingModule``.

        Raises:
            CaptioningError: ``sample_every`` is below 1.
        """
        super().__init__(**common)
        self.decoder, self.vocabulary, self.objective = decoder, vocabulary, objective
        if sample_every < 1:
            raise CaptioningError(f"data.sample_every={sample_every}: take 1 step or more between two samples.")
        self.chunk, self.sample_every = chunk, sample_every
        self.sample, self.samples = sample, samples
        self.reached = Reached(State(), math.log(len(vocabulary)) * self.chunk)  # after the last chunk
        self.carried = self.reached  # after the last optimizer step
        self.validated = self.ended = State()

    def losses(self, batch: Chunk) -> dict[str, Sum]:
        """The sums of the objective for a chunk, which continues from the previous chunk's state."""
        carrying = Carrying(self.decoder, self._before(batch, self.reached.state))
        features = Features.none(len(batch.places), batch.words.device)
        sums: dict[str, Sum] = self.objective(carrying, features, batch, self.trainer.global_step)
        self.sums, self.ended = sums, carrying.state.map(torch.detach)
        return sums

    def training_step(self, batch: Chunk, batch_idx: int) -> Tensor:
        """The loss of a chunk; logs also min-char-rnn's smoothed loss, and bits."""
        loss = super().training_step(batch, batch_idx)
        of_words = self.sums["nll"].mean.detach() if "nll" in self.sums else loss.detach()
        nll: Any = self.trainer.strategy.reduce(of_words, reduce_op="mean")  # over ranks
        smooth_loss = MEMORY * self.reached.smooth_loss + (1 - MEMORY) * float(nll) * self.chunk
        self.reached = Reached(self.ended, smooth_loss)
        size = len(batch.targets)
        self.log("train/bits", nll / math.log(2), batch_size=size)
        self.log("train/smooth_loss", smooth_loss, batch_size=size)
        return loss

    def _before(self, chunk: Chunk, state: State) -> State:
        """The state before a chunk: zeros at the text's beginning."""
        return self.decoder.start(Features.none(len(chunk.places))) if chunk.first else state

    def optimizer_step(self, *arguments: Any, **settings: Any) -> None:
        """Take the step; ``carried`` keeps the state before it until success, for a checkpoint after a failure."""
        super().optimizer_step(*arguments, **settings)
        self.carried = self.reached

    def on_train_batch_start(self, batch: Chunk, batch_idx: int) -> None:
        """Write a sample at regular steps: before the step, so that a run resumed there writes the sample, too."""
        due = self.trainer.global_step > 0 and self.trainer.global_step % self.sample_every == 0
        if due and batch_idx % self.trainer.accumulate_grad_batches == 0 and self.trainer.is_global_zero:
            self.show(batch.words)
        super().on_train_batch_start(batch, batch_idx)

    def show(self, words: Tensor) -> None:
        """Write a sample to the log and to the file; the sample continues from the first of the words."""
        step = self.trainer.global_step
        title, sample = f"step {step}, loss {self.reached.smooth_loss / self.chunk:.3f}", self.sample(step)
        self.decoder.eval()
        written = write(self.decoder, words[:1].tolist(), sample, self.device)
        text = self.vocabulary.decode(islice(written, sample.max_length))
        self.decoder.train()
        log.info("%s\n----\n%s\n----", title, printable(text, keep="\n\t"))
        with self.samples.open("a", encoding="utf-8", newline="") as file:
            file.write(f"---- {title}\n{text}\n")

    def validation_step(self, batch: Chunk, batch_idx: int) -> None:
        """Log the loss of the validation text, without the first chunk, which is context only."""
        before = self._before(batch, self.validated)
        outputs, self.validated = self.decoder.teacher_force_from(before, batch.words, batch.packing)
        if not batch.first:
            nll, size = word_loss(self.decoder, outputs.hidden, batch.targets)[0], len(batch.targets)
            self.log_means({"loss": Sum(nll, size), "bits": Sum(nll / math.log(2), size)})

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the states of all ranks for the next chunk, and the size of the samples' file."""
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
        """Restore the states; samples written after the checkpoint are cut off and will be written again."""
        super().on_load_checkpoint(checkpoint)
        carried = checkpoint[CARRIED]
        state = State({}, {"hidden": carried["hidden"][self.global_rank].to(self.device)})
        self.reached = self.carried = Reached(state, carried["smooth_loss"])
        if self.samples.exists() and self.global_rank == 0:
            os.truncate(self.samples, min(carried["samples"], self.samples.stat().st_size))
