"""What is said of captions, and how it is shown."""

import pytest

from captioning.core.errors import CaptioningError
from captioning.metrics.comparison import compare
from captioning.metrics.diversity import diversity
from captioning.report.table import latex, sentences, table, text

REFERENCES = [["A dog runs.", "The dog is running"], ["A cat sleeps", "a sleeping cat"], ["A man in a hat", "a man"]]
GOOD = ["A dog runs", "a cat sleeps!", "a man in a hat"]
BAD = ["a cat", "a cat", "A cat."]


def test_diversity_compares_words_not_punctuation() -> None:
    said = diversity(BAD, REFERENCES, training=["The CAT", "a cat ."])
    assert (said.vocabulary, said.mean_length, said.novel) == (2, 2.0, 0.0)
    assert said.distinct == pytest.approx(1 / 3)
    assert said.never_said[:2] == [("dog", 2), ("man", 2)]
    assert ("hat", 1) in said.never_said
    assert "cat" not in dict(said.never_said)
    assert diversity(GOOD, REFERENCES, training=["a dog runs"]).novel == pytest.approx(2 / 3)
    assert diversity(GOOD, REFERENCES).novel is None


def test_the_table_holds_everything_and_the_better_one_is_named() -> None:
    reports = compare({"bad": BAD, "good": GOOD}, REFERENCES, training=["a cat"], resamples=200)
    rows = {row[0]: row[1:] for row in table(reports)}
    assert rows[""] == ["bad", "good"]
    assert rows["BLEU-1"][1].startswith("100.0 [")
    assert rows["not in training, %"] == ["0.0", "100.0"]
    assert rows["different captions, %"] == ["33.3", "100.0"]
    said = sentences(reports)
    difference = 100 * (reports[1].scores["CIDEr"] - reports[0].scores["CIDEr"])
    assert any(line.startswith("good ") and f"than bad by {difference:.1f} CIDEr, p = " in line for line in said)
    assert any(line.startswith("bad never says: dog (2), man (2)") for line in said)
    lines = text(table(reports)).splitlines()
    assert len(lines) == len(rows) + 1
    assert len({len(line) for line in lines}) <= 2


def test_latex_is_escaped_and_has_a_row_for_each_score() -> None:
    shown = latex(table(compare({"my_run": GOOD}, REFERENCES, resamples=0)))
    assert r"my\_run" in shown
    assert r"captions, \%" in shown
    assert shown.count(r"\\") == 1 + 6 + 4
    assert "[" not in shown


def test_a_score_that_fails_is_left_out_and_said(caplog: pytest.LogCaptureFixture) -> None:
    calls = []

    def broken(*_: object) -> tuple[float, list[float]]:
        calls.append(1)
        raise CaptioningError("no Java")

    others = {"METEOR": broken, "half": lambda candidates, _: (0.5, [0.5] * len(candidates))}
    reports = compare({"a": GOOD, "b": BAD}, REFERENCES, resamples=0, others=others)
    assert "METEOR" not in reports[0].scores
    assert reports[1].scores["half"] == 0.5
    assert reports[1].images["half"] == [0.5, 0.5, 0.5]
    assert reports[0].scores["BLEU-1"] == pytest.approx(1.0)
    assert "no Java" in caplog.text
    assert len(calls) == 1
