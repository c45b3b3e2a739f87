"""The reward of self-critical training against the metric, pycocoevalcap and nltk."""

from collections.abc import Sequence

import numpy as np
import pytest
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

from captioning.core.errors import CaptioningError
from captioning.metrics import Cider, CiderReward, DocumentFrequencies, Pairs, References, reward
from captioning.metrics.ngrams import NGramCounts, NGramIndex, count_ngrams
from captioning.text.tokenizer import tokenize

REFERENCES = [
    ["A dog runs on the beach.", "a brown dog is running along a beach", "dog on sand"],
    ["Two cats sleep on a red sofa!", "cats on a sofa"],
    ["a man with a surfboard", "A man is standing with a surf board on the beach", "the man", "a surfer and a board"],
    ["a man rides a horse on the beach", "someone's horse"],
]
SAMPLES = [
    ("a dog runs on the beach", 0, True),
    ("a dog on a dog on a dog on a beach", 0, True),
    ("a man with a", 2, True),
    ("a man with a", 2, False),
    ("cats", 1, True),
    ("", 1, True),
    ("", 3, False),
    ("a man's horse on the beach with a man", 3, True),
    ("entirely other words here", 3, True),
    ("two cats sleep on a red sofa", 1, False),
]
CAPTIONS, PHOTOS, ENDED = (list(each) for each in zip(*SAMPLES, strict=True))


def test_without_end_it_is_the_metric() -> None:
    """Several captions of a photograph, each as if it were the only one."""
    found = CiderReward(REFERENCES, end_is_a_word=False)(CAPTIONS, PHOTOS, ENDED)
    references, metric = References(REFERENCES), Cider()
    for caption, photo, score in zip(CAPTIONS, PHOTOS, found, strict=True):
        candidates = [caption if photo == image else "a" for image in range(len(REFERENCES))]
        assert score == pytest.approx(np.ravel(metric.statistics(Pairs(references, candidates)))[photo], abs=1e-12)
    assert found.max() > 1 and found.min() == 0


@pytest.mark.parametrize("ended", [True, False])
def test_with_end_it_is_pycocoevalcap_s_of_captions_that_end_in_a_word(ended: bool) -> None:
    """Their CIDEr-D takes the document frequencies from the references, which all end in that word."""
    cider = pytest.importorskip("pycocoevalcap.cider.cider").Cider()
    references = {n: [f"{' '.join(tokenize(each))} eos" for each in image] for n, image in enumerate(REFERENCES)}
    candidates = ["a man with a", "a brown dog is running", "cats on a sofa", "a horse on the"]
    photos = [2, 0, 1, 3]
    theirs = {n: [f"{candidate} eos" if ended else candidate] for n, candidate in zip(photos, candidates, strict=True)}
    scores = cider.compute_score(references, theirs)[1]
    found = CiderReward(REFERENCES)(candidates, photos, [ended] * 4)
    assert found == pytest.approx([scores[n] for n in photos], abs=1e-6)
    assert all(score > 0.1 for score in found)


def test_a_cut_caption_has_no_end_among_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor any n-gram with END in it, and it is worth less than the same caption that ends."""
    scored = CiderReward(REFERENCES)
    seen: list[Sequence[Sequence[str]]] = []

    def counting(captions: Sequence[Sequence[str]], near: NGramIndex) -> NGramCounts:
        seen.append(captions)
        return count_ngrams(captions, near)

    monkeypatch.setattr(reward, "count_ngrams", counting)
    cut, whole, twice = (scored(["a man with a surfboard"], [2], ended) for ended in ([False], [True], None))
    assert whole == twice and whole[0] > cut[0] > 0
    words = ["a", "man", "with", "a", "surfboard"]
    assert seen == [[words], [[*words, reward.END]], [[*words, reward.END]]]
    assert all(tokens[-1] == reward.END for image in scored.references.tokens for tokens in image)
    index = scored.references.ngrams.counts.index
    frequencies = scored.references.frequencies
    assert frequencies.counts_of(index)[index.words[reward.END]] == frequencies.images == len(REFERENCES)


def test_a_bad_ending_is_the_best_caption_where_end_is_no_word() -> None:
    """Whatever the man has, its word is in one reference of three alone (Rennie et al., appendix)."""
    man = ["a man with a board", "a man with a surfboard", "a man with a paddle"]
    references = [man, ["a cat with a ball"], ["two dogs with a man"]]
    for end_is_a_word in (True, False):
        short, long = CiderReward(references, end_is_a_word=end_is_a_word)(["a man with a", man[0]], [0, 0])
        assert (long > short) == end_is_a_word


@pytest.mark.parametrize("end_is_a_word", [True, False])
def test_bleu_is_nltk_s_of_the_second_method(end_is_a_word: bool) -> None:
    found = CiderReward(REFERENCES, cider=0, bleu=1, end_is_a_word=end_is_a_word)(CAPTIONS, PHOTOS, ENDED)
    end = ["."] if end_is_a_word else []
    for caption, photo, ended, score in zip(CAPTIONS, PHOTOS, ENDED, found, strict=True):
        words = tokenize(caption) + (end if ended else [])
        references = [tokenize(each) + end for each in REFERENCES[photo]]
        expected = sentence_bleu(references, words, smoothing_function=SmoothingFunction().method2)
        assert score == pytest.approx(float(expected), abs=1e-12), caption
    assert 0.9 < found.max() <= 1 and found.min() == 0


def test_weights_add_up() -> None:
    both = CiderReward(REFERENCES, cider=0.5, bleu=2)(CAPTIONS, PHOTOS, ENDED)
    cider, bleu = (CiderReward(REFERENCES, cider=c, bleu=1 - c)(CAPTIONS, PHOTOS, ENDED) for c in (1.0, 0.0))
    assert both == pytest.approx(0.5 * cider + 2 * bleu)
    assert not np.allclose(cider, bleu)


def test_fixed_document_frequencies_are_used() -> None:
    of_all = CiderReward(REFERENCES)
    frequencies: DocumentFrequencies = of_all.references.frequencies
    two = CiderReward(REFERENCES[:2], frequencies=frequencies)
    captions, photos = ["a dog runs on sand", "cats on a sofa"], [0, 1]
    assert two(captions, photos) == pytest.approx(of_all(captions, photos))
    assert not np.allclose(CiderReward(REFERENCES[:2])(captions, photos), of_all(captions, photos))


def test_no_captions_have_no_rewards() -> None:
    assert CiderReward(REFERENCES, bleu=1)([], []).shape == (0,)


def test_a_photograph_without_references_is_a_sentence() -> None:
    with pytest.raises(CaptioningError, match="1 of 2 images have no reference"):
        CiderReward([["a dog"], []])


def test_the_signature_is_sacreeos_s() -> None:
    """The two that its README gives as the most common, without the baseline's part; and ours of mixed rewards."""
    assert CiderReward(REFERENCES).signature == "STANDARD_wInit+Cider-D[n4,s6.0]"
    assert CiderReward(REFERENCES, end_is_a_word=False).signature == "NO<EOS>_wInit+Cider-D[n4,s6.0]"
    mixed = CiderReward(REFERENCES, cider=0.5, bleu=1).signature
    assert mixed == "STANDARD_wInit+0.5*Cider-D[n4,s6.0]&BLEU[n4,smoothed]"
