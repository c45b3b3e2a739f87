"""The bootstrap: what it draws, and what it concludes."""

import random

import numpy as np
import pytest

from captioning.metrics import References, Scorer, Scores, coco_metrics
from captioning.metrics.bootstrap import bootstrap, interval, p_value

WORDS = ["dog", "cat", "man", "red", "runs", "sleeps", "bed", "park"]


def corpus(images: int = 150) -> tuple[list[list[str]], list[str], list[str]]:
    """References, a captioner that gets most words right, and one that gets half of them right."""
    draw = random.Random(0)
    captions = [[draw.choice(WORDS) for _ in range(8)] for _ in range(images)]

    def noisy(share: float) -> list[str]:
        return [" ".join(w if draw.random() < share else draw.choice(WORDS) for w in caption) for caption in captions]

    return [[" ".join(caption)] for caption in captions], noisy(0.9), noisy(0.5)


@pytest.fixture(scope="module")
def systems() -> tuple[Scores, Scores]:
    references, good, bad = corpus()
    scorer = Scorer(coco_metrics(), references)
    return scorer.score(bad), scorer.score(good)


def test_each_image_once_is_the_corpus_itself(systems: tuple[Scores, Scores]) -> None:
    scores = systems[0]
    assert {name: values[0] for name, values in scores.resampled(np.ones((1, len(scores)))).items()} == scores.corpus()


def test_a_redrawn_split_scores_as_if_it_were_scored_anew() -> None:
    references, good, _ = corpus()
    frequencies = References(references).frequencies
    scores = Scorer(coco_metrics(), references).score(good)
    drawn = np.random.default_rng(1).integers(len(good), size=len(good))
    redrawn = Scorer(coco_metrics(frequencies), [references[i] for i in drawn])
    anew = redrawn.score([good[i] for i in drawn]).corpus()
    weights = np.bincount(drawn, minlength=len(good)).astype(float)[None]
    assert {name: values[0] for name, values in scores.resampled(weights).items()} == pytest.approx(anew, abs=1e-12)


def test_intervals_hold_the_score_and_the_seed_decides(systems: tuple[Scores, Scores]) -> None:
    (bad,), (again,), (other,) = (bootstrap(systems[:1], 250, seed) for seed in (0, 0, 1))
    for name, score in systems[0].corpus().items():
        low, high = interval(bad[name])
        assert low < score < high
        assert len(bad[name]) == 250
        np.testing.assert_array_equal(bad[name], again[name])
        assert not np.array_equal(bad[name], other[name])


def test_a_clear_difference_is_unlikely_and_none_is_certain(systems: tuple[Scores, Scores]) -> None:
    bad, good = bootstrap(systems, 999)
    assert p_value(bad["CIDEr"], good["CIDEr"]) == p_value(good["CIDEr"], bad["CIDEr"]) == 2 / 1000
    assert p_value(bad["CIDEr"], bad["CIDEr"]) == 1
    assert p_value(np.zeros(9), np.array([1, 1, 1, 1, 1, 1, 1, -1, -1.0])) == pytest.approx(0.6)
