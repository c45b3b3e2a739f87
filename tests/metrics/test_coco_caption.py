"""BLEU, ROUGE-L and CIDEr against pycocoevalcap and nltk."""

import json
import math
import random
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nltk.translate.bleu_score import corpus_bleu

from captioning.core.errors import CaptioningError
from captioning.metrics import (
    CiderD,
    Pairs,
    References,
    RougeL,
    Scorer,
    Scores,
    coco_metrics,
    measures_of,
    score_captions,
)
from captioning.metrics.rouge import rouge_l
from captioning.text.tokenizer import tokenize, tokenize_coco, tokenize_each

NAMES = list(measures_of(coco_metrics()))

Split = tuple[list[str], list[list[str]]]


def oracle(
    candidates: Sequence[str], references: Sequence[Sequence[str]]
) -> tuple[dict[str, float], dict[str, list[float]]]:
    """pycocoevalcap's scores of the corpus and of each image, on our tokens."""
    bleu = pytest.importorskip("pycocoevalcap.bleu.bleu").Bleu(4)
    rouge = pytest.importorskip("pycocoevalcap.rouge.rouge").Rouge()
    cider = pytest.importorskip("pycocoevalcap.cider.cider").Cider()
    tokens = map(" ".join, tokenize_coco([caption for captions in references for caption in captions]))
    given = {n: [next(tokens) for _ in captions] for n, captions in enumerate(references)}
    results = {n: [" ".join(tokens)] for n, tokens in enumerate(tokenize_coco(candidates))}
    bleus, bleu_images = bleu.compute_score(given, results, verbose=0)
    values = [*bleus, rouge.compute_score(given, results)[0], cider.compute_score(given, results)[0]]
    images = [*bleu_images, rouge.compute_score(given, results)[1], cider.compute_score(given, results)[1]]
    return dict(zip(NAMES, values, strict=True)), dict(zip(NAMES, images, strict=True))


def score(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> Scores:
    return Scorer(coco_metrics(), references).score(candidates)


def assert_equal(scores: Scores, candidates: Sequence[str], references: Sequence[Sequence[str]]) -> None:
    corpus, images = oracle(candidates, references)
    assert scores.corpus() == pytest.approx(corpus, abs=1e-9)
    for name, values in scores.images().items():
        np.testing.assert_allclose(values, images[name], atol=1e-9, rtol=0, err_msg=name)


@pytest.fixture(scope="module")
def val2017(shared: Path) -> Split:
    """Each image's first caption against the rest."""
    content = json.loads((shared / "coco_mini" / "captions_val2017.json").read_text(encoding="utf-8"))
    captions = defaultdict(list)
    for annotation in content["annotations"]:
        captions[annotation["image_id"]].append(annotation["caption"])
    return [first for first, *_ in captions.values()], [rest for _, *rest in captions.values()]


@pytest.mark.shared
def test_val2017_equals_pycocoevalcap(val2017: Split) -> None:
    candidates, references = val2017
    assert len(candidates) == 5000
    assert_equal(score(candidates, references), candidates, references)


@pytest.mark.shared
@pytest.mark.parametrize(
    "candidates",
    [
        ["a man riding a wave on top of a surfboard"] * 300,
        [""] * 300,
        ["dog"] * 300,
        ["a " * 200 + "man riding a wave"] * 300,
        [random.Random(n).choice(["", "a", "a cat on a bed", "a a a a", "the the man"]) for n in range(300)],
    ],
    ids=["always the same", "empty", "one word", "very long", "mixed"],
)
def test_what_bad_models_say(val2017: Split, candidates: list[str]) -> None:
    references = val2017[1][:300]
    assert_equal(score(candidates, references), candidates, references)


WORDS = st.lists(st.sampled_from(["a", "b", "c", "d", "dog"]), max_size=9).map(" ".join)
IMAGES = st.lists(st.tuples(WORDS, st.lists(WORDS, min_size=1, max_size=4)), min_size=1, max_size=6)


@settings(max_examples=150, deadline=None)
@given(IMAGES.filter(lambda images: any(caption for _, captions in images for caption in captions)))
def test_small_corpora_equal_pycocoevalcap(images: list[tuple[str, list[str]]]) -> None:
    candidates, references = [candidate for candidate, _ in images], [captions for _, captions in images]
    assert_equal(score(candidates, references), candidates, references)


@pytest.mark.filterwarnings("ignore")  # nltk's, on orders without a match
@settings(max_examples=100, deadline=None)
@given(IMAGES)
def test_bleu_equals_nltk_where_both_are_defined(images: list[tuple[str, list[str]]]) -> None:
    candidates, references = [candidate for candidate, _ in images], [captions for _, captions in images]
    scores = score_captions(candidates, references)
    for n in range(1, 5):
        theirs = corpus_bleu(
            [[caption.split() for caption in captions] for captions in references],
            [candidate.split() for candidate in candidates],
            weights=[1 / n] * n,
        )
        # nltk counts an n-gram where a caption has fewer than n words, and gives (almost) 0 where no n-gram matches.
        if theirs > 1e-9 and all(len(candidate.split()) >= n for candidate in candidates):
            assert scores[f"BLEU-{n}"] == pytest.approx(theirs, abs=1e-7)


def test_references_without_a_word() -> None:
    scores = score_captions(["", "a dog"], [[""], ["", "..."]])
    assert scores["CIDEr"] == 0
    assert scores["BLEU-1"] < 1e-9
    assert scores["ROUGE-L"] == 0.5  # an empty caption equals an empty reference, as in coco-caption


def test_units_and_names() -> None:
    captions = ["a black dog runs in the snow", "two men ride a very old bus"]
    scores = score_captions(captions, [[caption] for caption in captions])
    assert list(scores) == ["BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-L", "CIDEr"]
    assert scores == pytest.approx({**dict.fromkeys(scores, 1.0), "CIDEr": 10.0})


def plain_cider_d(candidate: str, references: list[str], training: list[list[str]]) -> float:
    """CIDEr-D from its equations (arXiv:1411.5726, section 7), with document frequencies of a training set."""

    def ngrams(caption: str, n: int) -> list[str]:
        words = tokenize(caption)
        return [" ".join(words[place : place + n]) for place in range(len(words) - n + 1)]

    def vector(caption: str, n: int) -> dict[str, float]:
        found = ngrams(caption, n)
        documents = {g: sum(any(g in ngrams(c, n) for c in image) for image in training) for g in found}
        return {g: found.count(g) * math.log(len(training) / max(1, documents[g])) for g in found}

    total = 0.0
    for n in range(1, 5):
        ours = vector(candidate, n)
        for reference in references:
            theirs = vector(reference, n)
            norm = math.hypot(*ours.values()) * math.hypot(*theirs.values())
            dot = sum(min(value, theirs.get(g, 0.0)) * theirs.get(g, 0.0) for g, value in ours.items())
            penalty = math.exp(-((len(tokenize(candidate)) - len(tokenize(reference))) ** 2) / (2 * 6**2))
            total += 10 * penalty * dot / norm / len(references) / 4 if norm else 0.0
    return total


def test_cider_d_of_samples_with_the_training_sets_frequencies() -> None:
    training = [["a dog runs", "the dog runs fast"], ["a cat sleeps on a bed"], ["a man and a dog", "a man walks"]]
    references = [["a dog sleeps on a sofa", "a brown dog sleeps"], ["a man runs fast", "the man runs"]]
    samples = ["a dog sleeps", "a dog sleeps on a bed", "", "a man runs fast", "zebra zebra"]
    images = [0, 0, 0, 1, 1]
    frequencies = References(training).frequencies
    expected = [
        plain_cider_d(sample, references[image], training) for sample, image in zip(samples, images, strict=True)
    ]
    rewards = CiderD(References(references), frequencies)(samples, images)
    np.testing.assert_allclose(rewards, expected, atol=1e-12)
    assert max(expected) > 1


def test_own_frequencies_make_an_images_score_depend_on_the_others_and_fixed_ones_do_not() -> None:
    references = [["a dog runs in the park"], ["a dog on a bed"], ["two cats on a sofa"], ["a man with a hat"]]
    candidates = ["a dog in the park", "a dog on a sofa", "cats on a bed", "a man"]
    frequencies = References(references).frequencies
    whole = score(candidates, references).images()["CIDEr"]
    assert not np.allclose(score(candidates[:2], references[:2]).images()["CIDEr"], whole[:2])
    fixed = Scorer(coco_metrics(frequencies), references[:2]).score(candidates[:2])
    np.testing.assert_allclose(fixed.images()["CIDEr"], whole[:2])
    assert score_captions(candidates[:2], references[:2], frequencies)["CIDEr"] == pytest.approx(whole[:2].mean())
    np.testing.assert_allclose(CiderD(References(references))(candidates[::-1], [3, 2, 1, 0]), whole[::-1])


def test_one_cider_scores_against_several_splits_in_turn() -> None:
    splits = [["a dog runs", "a cat sleeps"], ["a man walks", "two men walk", "a red bus"]]
    metrics = coco_metrics()
    scorers = [Scorer(metrics, [[caption] for caption in split]) for split in splits]
    for _ in range(2):
        for scorer, split in zip(scorers, splits, strict=True):
            candidates = ["a dog walks", *split[1:]]
            anew = score_captions(candidates, [[caption] for caption in split])
            assert scorer.score(candidates).corpus() == anew


def test_rouge_takes_the_maxima_of_precision_and_recall_apart() -> None:
    # Precision 1 from the first reference, recall 1 from the second; neither alone gives both.
    assert score_captions(["a b c d"], [["a b c d e f g h", "a"]])["ROUGE-L"] == pytest.approx(1.0)
    assert score_captions(["a b c d"], [["a b c d e f g h"]])["ROUGE-L"] < 0.7


def test_rouge_of_all_images_at_once_is_that_of_each_alone() -> None:
    draw, words = random.Random(0), ["a", "b", "c", "d", "e", "1\xa01/2", "other"]

    def caption() -> str:
        return " ".join(draw.choices(words, k=draw.choice([0, 1, 2, 5, 9, 13, 20, 62, 63, 64, 70])))

    references = [[caption() for _ in range(draw.randint(1, 4))] for _ in range(300)]
    prepared = References(references, lambda texts: [text.split(" ") if text else [] for text in texts])
    pairs = Pairs(prepared, [caption() for _ in references])
    alone = [rouge_l(*each) for each in zip(pairs.candidate_tokens, pairs.reference_tokens, strict=True)]
    assert np.asarray(RougeL().statistics(pairs))[:, 0].tolist() == alone


def test_brackets_and_fractions_count_as_in_the_original() -> None:
    candidates = ["a (red) car", "1 1/2 dogs", "a dog"]
    references = [["a (blue) car"], ["a dog 1 1/2", "1 1/2"], ["(555) 555-1234 dogs"]]
    assert_equal(score(candidates, references), candidates, references)
    assert score_captions(candidates, references) != score_captions(candidates, references, tokenizer=tokenize_each)


def test_wrong_numbers_are_refused() -> None:
    with pytest.raises(CaptioningError, match=r"2 captions .* 1 images"):
        score_captions(["a", "b"], [["a"]])
    with pytest.raises(CaptioningError, match="1 of 2 images have no reference"):
        References([["a"], []])
    with pytest.raises(CaptioningError, match="no reference"):
        References([])
