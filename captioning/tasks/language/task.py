"""The task of language modelling by characters."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch

from captioning.core.build import build, call, class_of, without_foreign
from captioning.core.errors import CaptioningError
from captioning.core.features import NO_FEATURES
from captioning.core.measure import Measure
from captioning.data import Text
from captioning.data.streams import TextData
from captioning.decoders import Decoder, LanguageModel
from captioning.predict.writer import Writer
from captioning.runs.checkpoint import Checkpoint, contents_of
from captioning.runs.parts import make_decoder
from captioning.search import Sample
from captioning.speed import make_fast
from captioning.tasks.inputs import inputs_of_text
from captioning.tasks.language.evaluation import in_characters_of, measure
from captioning.tasks.language.module import LanguageModule
from captioning.tasks.task import Evaluation, Prepared, Task, with_hint
from captioning.training.objectives import Objective
from captioning.training.settings import training_settings


class LanguageTask(Task):
    """Language modelling: from a text to its next character."""

    splits = ("val",)

    @property
    def measures(self) -> Mapping[str, Measure]:
        """The negative log-likelihood of a character, in nats and in bits."""
        return {name: Measure(name, higher_is_better=False) for name in ("loss", "bits")}

    def read_source(self) -> Text:
        """A text."""
        try:
            return call(self.config["data"]["source"], Text)
        except CaptioningError as error:
            raise with_hint(error, "task=language models a text (data=text), task=captioning images") from error

    def inputs(self, source: Text) -> dict[str, str]:
        """Digests of the text's characters, and of files named in settings."""
        return inputs_of_text(self.config, source)

    def prepare(self, source: Text, folder: Path, device: torch.device, initial: Checkpoint | None = None) -> Prepared:
        """An untrained language model of characters and its text."""
        config = self.config
        data, vocabulary = self._data(source), source.vocabulary
        if initial and initial.characters.words != vocabulary.words:
            raise CaptioningError(
                f"init_from={initial.path}: its characters are not those of {source.path}. Begin with a model of the "
                "same characters, or leave init_from out."
            )
        kind = class_of(config["decoder"], Decoder)
        if not issubclass(kind, LanguageModel):
            raise CaptioningError(
                f"{kind.__name__} captions photographs, and {source.path} is a text: "
                "train with experiment=char_rnn, or with decoder=language_model."
            )
        decoder = make_decoder(config, vocabulary, NO_FEATURES)
        assert isinstance(decoder, LanguageModel)

        def sample(seed: int) -> Sample:
            return build({**config["search"], "seed": seed}, Sample)

        if sample(config["seed"]).remove_bad_endings:  # an invalid setting is reported now, not at the first sample
            raise CaptioningError(
                "search.remove_bad_endings=true has no effect on a language model of characters, whose text has no "
                "words and no <end>. Leave it out."
            )
        objective = make_fast(build(without_foreign(config["objective"]), Objective))
        objective.begin(vocabulary, [])
        module = LanguageModule(
            decoder,
            vocabulary,
            objective,
            chunk=config["data"]["chunk"],
            sample_every=config["data"]["sample_every"],
            sample=sample,
            samples=folder / "samples.txt",
            **training_settings(config),
        )
        size = f"{source.training} characters, {len(vocabulary)} different ones"
        return Prepared(module, data, contents_of(vocabulary), size)

    def evaluate(
        self,
        checkpoint: Path,
        split: str,
        *,
        out: Path,
        device: str,
        source: Text | None = None,
        trust: Collection[str] = (),
        search: Any = None,
    ) -> Evaluation:
        """Measure the loss of the text's last part; the text may differ from the training text.

        Raises:
            CaptioningError: the model does not know a character of the text; a search was given.
        """
        if search is not None:
            raise CaptioningError("A language model is measured without a search: leave the options of a search out.")
        writer = Writer.load(checkpoint, device, trust)
        return Evaluation(
            measure(writer.decoder, self._data(in_characters_of(writer.vocabulary, self.source_of(split, source))))
        )

    def _data(self, source: Text) -> TextData:
        return TextData(source, batch_size=self.config["data"]["batch_size"], chunk=self.config["data"]["chunk"])
