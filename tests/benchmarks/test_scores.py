"""Ours against pycocoevalcap's tokenizer, Bleu, Rouge and Cider: the same captions, the same run."""

import gc
import json
import shutil
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest

from captioning.coco_caption import Meteor, PTBTokenizer
from captioning.metrics import CiderReward, References, Scorer, coco_metrics
from captioning.metrics.meteor.tables import _opened, tables
from captioning.text import tokenizer

T = TypeVar("T")


def best_of(times: int, work: Callable[[], T]) -> tuple[float, T]:
    """Seconds of the quickest of some runs, and what it gave."""
    seconds = []
    for _ in range(times):
        gc.collect()
        tokenizer._words.clear()  # nothing may be left of the run before
        begin = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - begin)
    return min(seconds), result


@pytest.fixture(scope="module")
def captions(shared: Path) -> list[list[str]]:
    content = json.loads((shared / "coco_mini" / "captions_val2017.json").read_text(encoding="utf-8"))
    by_image = defaultdict(list)
    for annotation in content["annotations"]:
        by_image[annotation["image_id"]].append(annotation["caption"])
    return list(by_image.values())


@pytest.mark.java
@pytest.mark.shared
def test_twenty_five_times_faster_than_pycocoevalcap(captions: list[list[str]], report: Callable[..., None]) -> None:
    if shutil.which("java") is None:
        pytest.skip("needs java")
    ptb = pytest.importorskip("pycocoevalcap.tokenizer.ptbtokenizer").PTBTokenizer()
    bleu = pytest.importorskip("pycocoevalcap.bleu.bleu").Bleu(4)
    rouge = pytest.importorskip("pycocoevalcap.rouge.rouge").Rouge()
    cider = pytest.importorskip("pycocoevalcap.cider.cider").Cider()
    # Model output has a candidate that is none of the references: the second caption of the image before.
    candidates = [captions[number - 1][1] for number in range(len(captions))]
    references = [image[:5] for image in captions]

    def theirs() -> tuple[list[float], list[np.ndarray]]:
        given = ptb.tokenize({n: [{"caption": c} for c in image] for n, image in enumerate(references)})
        results = ptb.tokenize({n: [{"caption": candidate}] for n, candidate in enumerate(candidates)})
        (bleus, images), ours = bleu.compute_score(given, results, verbose=0), [rouge, cider]
        others = [scorer.compute_score(given, results) for scorer in ours]
        return [*bleus, *(score for score, _ in others)], [*map(np.array, images), *(each for _, each in others)]

    def ours() -> tuple[list[float], list[np.ndarray]]:
        scores = Scorer(coco_metrics(), References(references)).score(candidates)
        return list(scores.corpus().values()), list(scores.images().values())

    slow, (expected, expected_images) = best_of(1, theirs)
    fast, (found, found_images) = best_of(7, ours)
    of = f"scores of {len(references):,} images × {len(references[0])} references"
    report(of, len(references) / fast, "images", len(references) / slow, "pycocoevalcap", at_least=25)
    assert max(abs(a - b) for a, b in zip(found, expected, strict=True)) < 1e-9
    assert max(np.abs(a - b).max() for a, b in zip(found_images, expected_images, strict=True)) < 1e-9


@pytest.mark.java
@pytest.mark.shared
def test_meteor_is_faster_than_the_original(captions: list[list[str]], report: Callable[..., None]) -> None:
    """5,000 images with 5 references, start-up included; the index of the tables is there."""
    if shutil.which("java") is None:
        pytest.skip("needs java")
    original = pytest.importorskip("pycocoevalcap.meteor.meteor")
    candidates = [captions[number - 1][1] for number in range(len(captions))]
    references = [image[:5] for image in captions]
    given = PTBTokenizer().tokenize({n: [{"caption": c} for c in image] for n, image in enumerate(references)})
    said = PTBTokenizer().tokenize({n: [{"caption": candidate}] for n, candidate in enumerate(candidates)})
    tables()

    def ours() -> tuple[float, list[float]]:
        _opened.cache_clear()
        return Meteor().compute_score(given, said)

    slow, (expected, expected_images) = best_of(1, lambda: original.Meteor().compute_score(given, said))
    fast, (found, found_images) = best_of(2, ours)
    of = f"METEOR of {len(references):,} images × {len(references[0])} references"
    report(of, len(references) / fast, "images", len(references) / slow, "the original", at_least=1)
    assert found == pytest.approx(expected, abs=1e-9)
    np.testing.assert_allclose(found_images, expected_images, atol=1e-9)


@pytest.mark.shared
def test_rewards_of_a_batch_in_ten_milliseconds(captions: list[list[str]], report: Callable[..., None]) -> None:
    """Of self-critical training, whose references are counted once: those of all photographs."""
    reward = CiderReward([image[:5] for image in captions])
    samples = [captions[(image + sample) % len(captions)][0] for image in range(50) for sample in range(5)]
    images = np.repeat(np.arange(50), 5)
    seconds, rewards = best_of(20, lambda: reward(samples, images))
    report("CIDEr-D rewards of 50 images × 5 samples", 1 / seconds, "batches", 100, "ten milliseconds", at_least=1)
    assert rewards.reshape(50, 5)[:, 0].min() > 1  # the first sample is one of the references
