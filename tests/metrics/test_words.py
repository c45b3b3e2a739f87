"""Scores of words in any language: pycocoevalcap's of the same tokens."""

import random
import unicodedata

import pytest

from captioning.metrics import CiderReward, References, Scorer, coco_metrics, score_captions
from captioning.metrics.diversity import diversity, shares
from captioning.text.words import tokenize_words, tokenize_words_each

WORDS = [
    "Ein",
    "Mädchen",
    "läuft",
    "über",
    "die",
    "Straße",
    ",",
    "Hund",
    "(groß)",
    "T-Shirt",
    "l'eau",
    "犬が走る",
    "und",
]


def captions(seed: int, count: int) -> list[str]:
    random_ = random.Random(seed)
    each = (" ".join(random_.choices(WORDS, k=random_.randrange(3, 12))) for _ in range(count))
    return [unicodedata.normalize(random_.choice(("NFC", "NFD")), caption) for caption in each]


def test_scores_are_pycocoevalcap_s_of_the_same_tokens() -> None:
    bleu = pytest.importorskip("pycocoevalcap.bleu.bleu").Bleu(4)
    cider = pytest.importorskip("pycocoevalcap.cider.cider").Cider()
    candidates, references = captions(0, 40), [captions(seed, 5) for seed in range(1, 41)]
    given = {n: [" ".join(tokenize_words(caption)) for caption in image] for n, image in enumerate(references)}
    results = {n: [" ".join(tokenize_words(caption))] for n, caption in enumerate(candidates)}
    expected = [*bleu.compute_score(given, results, verbose=0)[0], cider.compute_score(given, results)[0]]
    found = score_captions(candidates, references, tokenizer=tokenize_words_each)
    assert [found[name] for name in ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "CIDEr")] == pytest.approx(expected)
    assert found != pytest.approx(score_captions(candidates, references))
    each = Scorer(coco_metrics(), References(references, tokenize_words_each)).score(candidates).images()["CIDEr"]
    reward = CiderReward(references, end_is_a_word=False, tokenizer=tokenize_words_each)
    assert reward(candidates, range(40)) == pytest.approx(each)


def test_captions_are_told_apart_by_the_same_tokens() -> None:
    said, training = ["ein mädchen schaut sich an", "ein hund"], ["Ein Ma\u0308dchen schaut sich an!"]
    found = diversity(said, [["Die Straße"], ["Ein Hund"]], training, tokenize_words_each)
    assert (found.novel, found.vocabulary, found.mean_length, found.bad_endings) == (0.5, 6, 3.5, None)
    assert found.never_said == [("die", 1), ("straße", 1)]
    assert shares(said, training, tokenize_words_each) == {"different": 1.0, "novel": 0.5}  # "an" ends no German badly
    assert shares(said, training)["bad_endings"] == 0.5
