"""Translations of a split from a trained model, with scores, intervals, signatures, and BLEU by length."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from captioning.core.ownership import write_json_output
from captioning.core.progress import progress
from captioning.data.parallel import SentencePair
from captioning.data.sentence_batches import SentenceBatch, SentenceData
from captioning.metrics import Metric, References, Scorer, measures_of
from captioning.metrics.bootstrap import bootstrap, interval
from captioning.metrics.translation import TranslationMetric
from captioning.predict.translator import Translation, Translator
from captioning.search import Search
from captioning.text.words import tokenize_words_each

log = logging.getLogger(__name__)

LENGTHS = (0, 8, 11, 14, 17, 20)  # the least words of a source in each group of the scores by length


def translate_split(translator: Translator, data: SentenceData, split: str, search: Search) -> list[Translation]:
    """The translation of each sentence of a split."""
    languages = translator.languages
    search = search.for_vocabulary(languages.targets)
    found: list[Translation] = []
    for batch in progress(data.loader(split), f"translating {split}", unit="batches"):
        assert isinstance(batch, SentenceBatch)
        sources = [
            [languages.sources.words[number] for number in numbers[:length]]
            for numbers, length in zip(batch.sources.words.tolist(), batch.sources.lengths.tolist(), strict=True)
        ]
        found += translator.translate_numbers(batch.sources, sources, search)
    return found


@dataclass(frozen=True)
class Standing:
    """The scores of translations of one split.

    Attributes:
        scores: the scores by measure name, ×1.
        intervals: the 95 % intervals by measure name.
        signatures: sacrebleu's signatures by measure name.
        by_length: for each group of source lengths the least and the most words, the number of sentences and the
            scores by measure name, ×1.
    """

    scores: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    signatures: dict[str, str]
    by_length: list[dict[str, Any]]


def score_translations(
    texts: Sequence[str], pairs: Sequence[SentencePair], metrics: Sequence[Metric], *, resamples: int = 1000, seed: int
) -> Standing:
    """Score translations, in whole and by the number of blank-separated words of the source.

    Args:
        texts: the translations.
        pairs: the sentences with their references.
        metrics: the metrics.
        resamples: the number of resamples of the bootstrap.
        seed: the seed of the bootstrap.
    """
    references = [[pair.target] for pair in pairs]
    scores = Scorer(metrics, References(references, tokenize_words_each)).score(texts)
    drawn = bootstrap([scores], resamples, seed)[0]
    lengths = np.array([len(pair.source.split()) for pair in pairs])
    by_length = []
    for least, below in zip(LENGTHS, [*LENGTHS[1:], 1 + int(lengths.max())], strict=True):
        chosen = (lengths >= least) & (lengths < below)
        if chosen.any():
            found = {name: float(values[0]) for name, values in scores.resampled(chosen[None].astype(float)).items()}
            by_length.append(
                {
                    "least": int(lengths[chosen].min()),
                    "most": int(lengths[chosen].max()),
                    "sentences": int(chosen.sum()),
                    "scores": found,
                }
            )
    return Standing(
        scores.corpus(),
        {name: interval(values) for name, values in drawn.items()},
        {
            name: metric.signature(references)
            for metric in metrics
            if isinstance(metric, TranslationMetric)
            for name in measures_of([metric])
        },
        by_length,
    )


def write_translations(
    path: Path, pairs: Sequence[SentencePair], translations: Sequence[Translation], languages: Sequence[str]
) -> None:
    """Write translations beside sources and references, as JSON."""
    rows = [
        {"source": pair.source, "reference": pair.target, "translation": translation.text}
        for pair, translation in zip(pairs, translations, strict=True)
    ]
    write_json_output(path, {"languages": list(languages), "sentences": rows})
    log.info("wrote %s", path)
