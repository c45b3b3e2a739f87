"""What is said of captions, and how it is shown."""

import pytest
from numpy.typing import ArrayLike

from captioning.metrics import Metric, Pairs, UnavailableError, coco_metrics
from captioning.metrics.comparison import compare
from captioning.metrics.diversity import SHARES, diversity, shares
from captioning.report.table import latex, sentences, table, text, units

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


def test_the_shares_of_captions_made_by_hand() -> None:
    said = ["A man on a", "a man on a .", "the dog is", "A DOG RUNS!", "a cat, and a hat", ""]
    training = ["a dog runs", "the dog is", "a man"]
    assert shares(said, training) == pytest.approx({"different": 5 / 6, "novel": 4 / 6, "bad_endings": 3 / 6})
    assert shares(said) == pytest.approx({"different": 5 / 6, "bad_endings": 3 / 6})
    assert shares(["a dog runs"], training) == {"different": 1.0, "novel": 0.0, "bad_endings": 0.0}
    assert [(share.name, share.higher_is_better, share.text(0.125)) for share in SHARES] == [
        ("different", True, "12.5"),
        ("novel", True, "12.5"),
        ("bad_endings", False, "12.5"),
    ]


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
    assert shown.count(r"\\") == 1 + 6 + 5
    assert "[" not in shown


class Length(Metric):
    """The mean number of words, of which fewer are better, written as it is."""

    name = "length"
    higher_is_better = False
    scale = 1.0

    def statistics(self, pairs: Pairs) -> ArrayLike:
        return [[len(tokens)] for tokens in pairs.candidate_tokens]


class Absent(Metric):
    """A metric whose program is not there."""

    name = "absent"

    def __init__(self, calls: list[int]) -> None:
        self.calls = calls

    def statistics(self, pairs: Pairs) -> ArrayLike:
        self.calls.append(len(pairs))
        raise UnavailableError("no Java")


def test_the_shorter_one_is_better_where_fewer_words_are() -> None:
    references = REFERENCES * 20
    reports = compare({"good": GOOD * 20, "bad": BAD * 20}, references, metrics=[Length(), *coco_metrics()])
    rows = table(reports)
    assert rows[1][0] == "length ↓"
    assert rows[1][1].startswith("3.6667 [3.")  # 3, 3 and 5 words, not × 100
    assert rows[1][2] == "2.0000 [2.0000, 2.0000]"
    assert units(reports) == "scores × 100, length × 1"
    said = sentences(reports)
    assert "bad is better than good by 1.6667 length, p = 0.002." in said
    assert any(line.startswith("good is better than bad by ") and "BLEU-1" in line for line in said)
    assert r"length $\downarrow$ & 3.6667 [" in latex(rows)
    assert reports[0].images["length"].tolist() == [3.0, 3.0, 5.0] * 20
    low, high = reports[0].intervals["length"]
    assert low < 11 / 3 < high


def test_equal_scores_have_no_better_one() -> None:
    said = sentences(compare({"one": GOOD, "two": GOOD}, REFERENCES, metrics=[Length()], resamples=50))
    assert said[0] == "one and two have the same length."


def test_a_metric_that_is_unavailable_is_left_out_and_said(caplog: pytest.LogCaptureFixture) -> None:
    calls: list[int] = []
    metrics = [Absent(calls), Length()]
    reports = compare({"a": GOOD, "b": BAD}, REFERENCES, resamples=50, metrics=metrics)
    assert [list(report.scores) for report in reports] == [["length"], ["length"]]
    assert list(reports[1].p_values) == ["length"]
    assert "no Java" in caplog.text
    assert calls == [3]  # not asked again for the second captioner
    assert len(metrics) == 2
    assert compare({"a": GOOD}, REFERENCES, metrics=[Absent([])])[0].scores == {}
