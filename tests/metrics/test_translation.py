"""BLEU and chrF of translations: sacrebleu's numbers, of the corpus, of each sentence and of resampled corpora."""

import random
from unittest.mock import patch

import numpy as np
import pytest

from captioning.metrics import ChrF, Pairs, References, SacreBleu, Scores, UnavailableError
from captioning.metrics.translation import TranslationMetric

sacrebleu = pytest.importorskip("sacrebleu")
REFERENCES = [
    ["Ein Hund, der rennt, ist schnell.", "Der Hund rennt."],
    ["Zwei Männer sitzen auf einer Bank im Park.", "Auf der Bank sitzen 2 Männer!"],
    ["Eine Frau steht am 3. Fenster.", "Eine Frau."],
    ["Ja.", "Jawohl, so ist es."],
]
METRICS = [SacreBleu(), SacreBleu(lowercase=True, tokenize="char"), ChrF()]


def candidates() -> list[str]:
    draw = random.Random(3)
    said = [" ".join(word for word in each[0].split() if draw.random() > 0.2) for each in REFERENCES]
    return [*said[:2], "", "ja."]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("count", [1, 2])
def test_scores_are_those_of_sacrebleu(metric: TranslationMetric, count: int) -> None:
    references, said = [each[:count] for each in REFERENCES], candidates()
    scores = Scores.of([metric], Pairs(References(references), said))
    theirs = metric.scorer()
    streams = [[each[place] for each in references] for place in range(count)]
    assert 100 * scores.corpus()[metric.name] == pytest.approx(theirs.corpus_score(said, streams).score, abs=1e-6)
    if isinstance(metric, SacreBleu):
        theirs = sacrebleu.BLEU(lowercase=metric.lowercase, tokenize=metric.tokenize, effective_order=True)
    for value, one, each in zip(scores.images()[metric.name], said, references, strict=True):
        assert 100 * value == pytest.approx(theirs.sentence_score(one, each).score, abs=1e-6)
    weights = np.array([[2.0, 0, 1, 1]])
    repeated = [0, 0, 2, 3]
    resampled = scores.resampled(weights)[metric.name][0]
    again = metric.scorer().corpus_score([said[n] for n in repeated], [[each[n] for n in repeated] for each in streams])
    assert 100 * resampled == pytest.approx(again.score, abs=1e-6)


def test_without_any_match_the_score_is_zero() -> None:
    pairs = Pairs(References([["a b"], ["c"]]), ["", "x y"])
    assert Scores.of([SacreBleu(), ChrF()], pairs).corpus() == {"BLEU": 0, "chrF": 0}


def test_the_signature_says_what_was_computed() -> None:
    assert SacreBleu().signature(REFERENCES).startswith("nrefs:2|case:mixed|eff:no|tok:13a|smooth:exp|version:")
    assert SacreBleu(lowercase=True, tokenize="intl").signature([["a"]]).startswith("nrefs:1|case:lc|eff:no|tok:intl|")
    assert ChrF().signature([["a"]]).startswith("nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|version:")


def test_without_sacrebleu_the_message_says_how_to_get_it() -> None:
    with (
        patch.dict("sys.modules", {"sacrebleu": None, "sacrebleu.metrics": None}),
        pytest.raises(UnavailableError, match=r"pip install captioning\[translation\]"),
    ):
        SacreBleu().statistics(Pairs(References([["a"]]), ["a"]))
