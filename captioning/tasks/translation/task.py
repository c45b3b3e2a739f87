"""The task of translation."""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import torch

from captioning.core.build import build, call, without_foreign
from captioning.core.errors import CaptioningError
from captioning.core.measure import Measure
from captioning.core.sentences import SourceVocabulary
from captioning.core.vocabulary import Vocabulary
from captioning.data import ParallelText
from captioning.data.sentence_batches import SentenceData
from captioning.metrics import References, Scorer, measures_of
from captioning.predict.translator import Languages, Translator
from captioning.report.alignment import draw_by_length
from captioning.runs.checkpoint import SIGNATURE, Checkpoint
from captioning.runs.parts import make_decoder, make_search, make_sentence_encoder
from captioning.search import Search
from captioning.speed import make_fast
from captioning.tasks.inputs import inputs_of_translation
from captioning.tasks.task import Evaluation, Prepared, Task, with_hint
from captioning.tasks.translation.evaluation import score_translations, translate_split, write_translations
from captioning.tasks.translation.module import TranslationModule
from captioning.text.segmenters import Segmenter
from captioning.text.words import tokenize_words_each
from captioning.training.objectives import Objective
from captioning.training.settings import training_settings

log = logging.getLogger(__name__)


class TranslationTask(Task):
    """Translation, with attention (Bahdanau et al. 2015) or from the last state (Cho et al., Sutskever et al. 2014)."""

    @property
    def measures(self) -> Mapping[str, Measure]:
        """The measures of the metrics, and the negative log-likelihood of a word."""
        return {**measures_of(self.metrics), "nll": Measure("nll", higher_is_better=False)}

    def read_source(self) -> ParallelText:
        """Sentences with their translations, by split."""
        try:
            return call(self.config["data"]["source"], ParallelText)
        except CaptioningError as error:
            hint = "task=translation translates: choose data=multi30k_translation or data=own_translation"
            raise with_hint(error, hint) from error

    def inputs(self, source: ParallelText) -> dict[str, str]:
        """Digests of the sentences and their translations."""
        return inputs_of_translation(source)

    def prepare(
        self, source: ParallelText, folder: Path, device: torch.device, initial: Checkpoint | None = None
    ) -> Prepared:
        """An untrained encoder and decoder, and their data."""
        config = self.config
        languages = Languages.of(initial) if initial else self._languages(source)
        encoder = make_sentence_encoder(config, languages.sources)
        decoder = make_decoder(config, languages.targets, encoder.spec)
        objective = make_fast(build(without_foreign(config["objective"]), Objective))
        objective.tokenizer = tokenize_words_each
        objective.begin(languages.targets, [[pair.target] for pair in source["train"]])
        module = TranslationModule(
            encoder,
            decoder,
            languages.targets,
            make_search(config),
            objective,
            segmenter=languages.segmenters[1],
            score=self.scorer(source, "val"),
            **training_settings(config),
        )
        size = (
            f"{len(source['train'])} sentences, {len(languages.sources)} words of {source.languages[0]}, "
            f"{len(languages.targets)} of {source.languages[1]}"
        )
        signature = {SIGNATURE: objective.signature} if objective.signature else {}
        return Prepared(module, self._data(source, languages), {**languages.to_json(), **signature}, size)

    def _languages(self, source: ParallelText) -> Languages:
        """The words of both languages, and how their sentences are split, from the training split alone."""
        data, training = self.config["data"], source["train"]
        texts = [pair.source for pair in training], [pair.target for pair in training]
        segmenters = tuple(
            Segmenter.train(data["tokenizer"], data[f"lower_{side}"], each, data["subwords"])
            for side, each in zip(("source", "target"), texts, strict=True)
        )
        least = data["minimum_count"] if data["tokenizer"] == "words" else 1
        tokens = [map(segmenter.split, each) for segmenter, each in zip(segmenters, texts, strict=True)]
        return Languages(
            SourceVocabulary.build(tokens[0], least),
            Vocabulary.build(tokens[1], least),
            (segmenters[0], segmenters[1]),
        )

    def _data(self, source: ParallelText, languages: Languages) -> SentenceData:
        data = self.config["data"]
        return SentenceData(
            source,
            (languages.sources, languages.targets),
            split_source=languages.segmenters[0].split,
            split_target=languages.segmenters[1].split,
            max_words=data["max_words"],
            batch_size=data["batch_size"],
            workers=data["workers"],
            seed=self.config["seed"],
        )

    def scorer(self, source: ParallelText, split: str) -> Callable[[Sequence[str]], Mapping[str, float]]:
        """A scorer of the translations of a split, in the split's order."""
        scorer = Scorer(self.metrics, References([[pair.target] for pair in source[split]], tokenize_words_each))
        return lambda texts: scorer.score(texts).corpus()

    def evaluate(
        self,
        checkpoint: Path,
        split: str,
        *,
        out: Path,
        device: str,
        source: ParallelText | None = None,
        trust: Collection[str] = (),
        search: Search | None = None,
    ) -> Evaluation:
        """Translate a split and score the translations, in whole and by the length of the source.

        Writes ``translations_SPLIT.json``, sources, references and translations, and ``bleu_by_length_SPLIT.png``.
        """
        translator = Translator.load(checkpoint, device, trust)
        source = self.source_of(split, source)
        torch.manual_seed(self.config["seed"])  # the seed of a random search without its own seed
        search = search or make_search(self.config)
        found = translate_split(translator, self._data(source, translator.languages), split, search)
        standing = score_translations(
            [each.text for each in found], source[split], self.metrics, seed=self.config["seed"]
        )
        write_translations(out / f"translations_{split}.json", source[split], found, source.languages)
        if standing.by_length and "BLEU" in standing.scores:
            drawing = out / f"bleu_by_length_{split}.png"
            draw_by_length({"-".join(source.languages): standing.by_length}, "BLEU", drawing)
        details = {
            "sentences": len(found),
            "languages": list(source.languages),
            "search": str(search),
            "signatures": standing.signatures,
            "intervals": {name: list(bounds) for name, bounds in standing.intervals.items()},
            "by_length": standing.by_length,
        }
        lines = [f"{name}: 95 % {self._bounds(name, bounds)}" for name, bounds in standing.intervals.items()]
        lines += [f"{name}: {signature}" for name, signature in standing.signatures.items()]
        lines += [
            f"sources of {each['least']} to {each['most']} words ({each['sentences']}): "
            + ", ".join(f"{name} {self.measures[name].text(value)}" for name, value in each["scores"].items())
            for each in standing.by_length
        ]
        return Evaluation(standing.scores, details, lines)

    def _bounds(self, name: str, bounds: tuple[float, float]) -> str:
        return " to ".join(self.measures[name].text(value) for value in bounds)
