"""What a metric of one's own needs, and what is said of a wrong one."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import ArrayLike
from omegaconf import OmegaConf

from captioning.core.errors import CaptioningError
from captioning.core.measure import Measure
from captioning.metrics import Bleu, Metric, Pairs, Scorer, build_metrics, coco_metrics, measures_of
from captioning.metrics.ngrams import Floats

CANDIDATES = ["A dog runs!", "two cats", "a"]
REFERENCES = [["a dog is running", "the dog"], ["two cats sleep"], ["a man", "a woman", "one"]]


class Words(Metric):
    """As short as the documentation says."""

    name = "words"

    def statistics(self, pairs: Pairs) -> ArrayLike:
        return [[len(tokens)] for tokens in pairs.candidate_tokens]


class Overlap(Metric):
    """Two measures of sums, one of them an error, neither a mean of images."""

    @property
    def measures(self) -> tuple[Measure, ...]:
        return Measure("overlap", higher_is_better=True, scale=100), Measure("missed", higher_is_better=False)

    def statistics(self, pairs: Pairs) -> ArrayLike:
        rows = []
        for said, references in zip(pairs.candidate_tokens, pairs.reference_tokens, strict=True):
            known = {word for reference in references for word in reference}
            rows.append([len({*said} & known), len(known)])
        return rows

    def score(self, sums: Floats, images: Floats) -> ArrayLike:
        overlap = sums[..., 0] / sums[..., 1]
        return np.stack([overlap, 1 - overlap], axis=-1)


class Unfinished(Metric):
    """Says nothing of an image."""


class Returns(Metric):
    """Gives back what it was made with."""

    def __init__(self, statistics: ArrayLike, score: ArrayLike | None = None) -> None:
        self.given, self.result = statistics, score

    def statistics(self, pairs: Pairs) -> ArrayLike:
        return self.given

    def score(self, sums: Floats, images: Floats) -> ArrayLike:
        return super().score(sums, images) if self.result is None else self.result


def test_a_name_and_statistics_are_a_metric() -> None:
    scores = Scorer([Words()], REFERENCES).score(CANDIDATES)
    assert scores.corpus() == {"words": 2.0}
    assert scores.images()["words"].tolist() == [3, 2, 1]
    assert scores.resampled(np.array([[3.0, 0, 0], [0, 1, 2]]))["words"].tolist() == [3, 4 / 3]
    assert scores.measures == {"words": Measure("words", higher_is_better=True, scale=100)}


def test_scores_are_of_sums_and_come_in_the_metrics_order() -> None:
    scores = Scorer([Overlap(), Words(), Bleu()], REFERENCES).score(CANDIDATES)
    assert list(scores.corpus()) == list(scores.measures) == ["overlap", "missed", "words", *measures_of([Bleu()])]
    assert scores.corpus()["overlap"] == pytest.approx((2 + 2 + 1) / (5 + 3 + 4))
    assert scores.images()["missed"] == pytest.approx([3 / 5, 1 / 3, 3 / 4])
    assert scores.resampled(np.array([[0.0, 2, 1]]))["overlap"] == pytest.approx([(2 + 2 + 1) / (3 + 3 + 4)])
    assert not scores.measures["missed"].higher_is_better


def test_captions_are_given_as_written_and_as_tokens_shared_by_all_metrics() -> None:
    seen: list[Pairs] = []

    class Looks(Words):
        def __init__(self, name: str) -> None:
            self.name = name

        def statistics(self, pairs: Pairs) -> ArrayLike:
            seen.append(pairs)
            return super().statistics(pairs)

    Scorer([Looks("one"), Looks("two")], REFERENCES).score(CANDIDATES)
    one, two = seen
    assert one is two
    assert len(one) == 3
    assert one.candidates == CANDIDATES
    assert one.references == REFERENCES
    assert one.candidate_tokens[0] == ["a", "dog", "runs"]
    assert one.reference_tokens[2][2] == ["one"]
    assert one.candidate_tokens is one.candidate_tokens
    assert one.candidate_ngrams is one.candidate_ngrams


def test_references_are_tokenized_and_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from captioning.metrics import references

    counted: list[int] = []
    count = references.count_ngrams
    monkeypatch.setattr(references, "count_ngrams", lambda captions: counted.append(len(captions)) or count(captions))
    tokenized: list[int] = []

    def tokenizer(captions: list[str]) -> list[list[str]]:
        tokenized.append(len(captions))
        return [caption.split() for caption in captions]

    prepared = references.References(REFERENCES, tokenizer)
    for _ in range(3):
        Scorer([Words()], prepared).score(CANDIDATES)
    assert counted == []  # nothing here needs n-grams
    for _ in range(3):
        Scorer(coco_metrics(), prepared).score(CANDIDATES)
    assert counted == [6]
    assert sorted(tokenized) == [*[3] * 6, 6]


@pytest.mark.parametrize(
    ("metric", "sentence"),
    [
        (Returns([1.0, 2.0, 3.0]), r"statistics are of shape \(3,\), and must be \(images, .*\(3, …\)"),
        (Returns([[1.0], [2.0]]), r"statistics are of shape \(2, 1\)"),
        (Returns([[1.0], [2.0], [float("nan")]]), "statistics are not all finite"),
        (Returns([[1.0], [2.0, 3.0], [4.0]]), "statistics are no table of numbers"),
        (Returns([["one"], ["two"], ["three"]]), "statistics are no table of numbers"),
        (Returns([[1.0, 2.0]] * 3), r"scores are of shape \(1, 2\), and must be \(1, 1\)"),
        (Returns([[1.0]] * 3, 0.5), r"scores are of shape \(\), and must be \(1, 1\)"),
        (Returns([[1.0]] * 3, [[float("inf")]]), "scores are not all finite"),
    ],
)
def test_a_wrong_metric_is_named(metric: Metric, sentence: str) -> None:
    with pytest.raises(CaptioningError, match=rf"^[\w.]*test_metric\.Returns: its {sentence}"):
        Scorer([metric], REFERENCES).score(CANDIDATES).corpus()


def test_a_name_is_given_to_one_measure() -> None:
    with pytest.raises(CaptioningError, match=r"test_metric\.Words: there is a measure words already"):
        Scorer([Words(), Overlap(), Words()], REFERENCES)
    assert list(measures_of([Returns([])])) == ["Returns"]


def test_the_configured_metrics_are_the_default_ones() -> None:
    path = Path(__file__).resolve().parents[2] / "conf" / "metrics" / "coco.yaml"
    config = OmegaConf.to_container(OmegaConf.load(path))
    assert isinstance(config, dict)
    metrics = build_metrics(config)
    assert [type(metric) for metric in metrics] == [type(metric) for metric in coco_metrics()]
    own = {"words": {"_target_": f"{__name__}.Words"}}
    assert list(measures_of(build_metrics({**config, **own})))[-2:] == ["CIDEr", "words"]
    with pytest.raises(CaptioningError, match="Vocabulary is not a Metric"):
        build_metrics({"words": {"_target_": "captioning.core.vocabulary.Vocabulary"}})
    with pytest.raises(CaptioningError, match=r"test_metric\.Unfinished has no statistics, which a Metric must have"):
        build_metrics({"words": {"_target_": f"{__name__}.Unfinished"}})
    with pytest.raises(CaptioningError, match="there is a measure BLEU-1 already"):
        build_metrics({**config, "again": config["bleu"]})
