"""Film reviews: folds that are of both classes and leave nothing out, and files in another encoding."""

from pathlib import Path

import pytest

from captioning.core.errors import CaptioningError
from captioning.data import QuestionSet, read_movie_reviews


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twenty positive and ten negative sentences, the first with an é of latin-1."""
    positive = ["a film of C\u00e9line", *(f"good {number}" for number in range(19))]
    (tmp_path / "rt-polarity.pos").write_bytes("\n".join(positive).encode("latin-1") + b"\n")
    (tmp_path / "rt-polarity.neg").write_text("".join(f"bad {number} . \n" for number in range(10)))
    return tmp_path


def texts(found: QuestionSet) -> dict[str, set[str]]:
    return {split: {each.text for each in questions} for split, questions in found.splits.items()}


def test_each_sentence_is_tested_once_and_never_trained_on_in_its_fold(folder: Path) -> None:
    tested: list[str] = []
    for fold in range(5):
        found = texts(read_movie_reviews(folder, folds=5, fold=fold, validation=0.25))
        assert [len(found[split]) for split in ("train", "val", "test")] == [18, 6, 6]
        assert [sum("bad" in text for text in found[split]) for split in ("train", "val", "test")] == [6, 2, 2]
        assert len(set.union(*found.values())) == 30
        tested += found["test"]
    assert len(tested) == len(set(tested)) == 30


def test_the_seed_alone_deals_the_sentences_out(folder: Path) -> None:
    one, same, other = (texts(read_movie_reviews(folder, folds=5, folds_seed=seed)) for seed in (0, 0, 1))
    assert one == same != other
    held = read_movie_reviews(folder, folds=5, validation=4)
    assert len(held["val"]) == 4 and {each.answer for each in held["val"]} == {"positive", "negative"}
    assert held.noun == "sentences" and [each.id for each in held["test"]] == sorted(each.id for each in held["test"])


def test_the_encoding_is_a_setting_and_a_wrong_one_is_told(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    def read(encoding: str) -> set[str]:
        return set.union(*texts(read_movie_reviews(folder, encoding, folds=5)).values())

    assert "a film of C\u00e9line" in read("latin-1")
    with pytest.raises(CaptioningError, match=r"rt-polarity.pos, line 1: .* not UTF-8.*data\.encoding=latin-1"):
        read("utf-8")
    with pytest.raises(CaptioningError, match=r"rt-polarity.pos: this file of reviews is no ascii text.*encoding"):
        read("ascii")
    with pytest.raises(CaptioningError, match=r"'latin-99': there is no such encoding\. Take utf-8"):
        read("latin-99")
    assert not caplog.messages
    (folder / "rt-polarity.pos").write_text("\n".join(["a film of C\u00e9line"] * 5), "utf-8")
    assert "a film of C\u00e9line" in read("UTF8")
    read("latin-1")
    assert "set data.encoding=utf-8" in caplog.text


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"folds": 1}, r"data\.folds=1: .* 2 folds or more"),
        ({"fold": 10}, r"data\.fold=10: the 10 folds .* 0 to 9"),
        ({"folds": 11}, "10 sentences do not fill 11 folds"),
        ({"validation": 30}, r"data\.validation=30 leaves no negative sentence for training"),
        ({"validation": -1}, r"data\.validation=-1"),
    ],
)
def test_settings_that_do_not_fit(folder: Path, settings: dict[str, int], said: str) -> None:
    with pytest.raises(CaptioningError, match=said):
        read_movie_reviews(folder, **settings)  # type: ignore[arg-type]


def test_missing_files_and_empty_lines(folder: Path) -> None:
    (folder / "rt-polarity.neg").write_text("\n\nbad\n . \n" * 10)
    with pytest.raises(CaptioningError, match=r"the sentence \d+ of .* is '\.', without a word. Write the sentence"):
        read_movie_reviews(folder)
    (folder / "rt-polarity.neg").unlink()
    with pytest.raises(CaptioningError, match=r"rt-polarity.neg: there is no such file. Fetch rt-polaritydata"):
        read_movie_reviews(folder)


def test_the_released_files(shared: Path) -> None:
    found = read_movie_reviews(shared / "sequences" / "movie_reviews", fold=9)
    assert {split: len(each) for split, each in found.splits.items()} == {"train": 8636, "val": 960, "test": 1066}
    assert sum(each.answer == "positive" for each in found["test"]) == 533
    with pytest.raises(CaptioningError, match=r"data\.encoding=latin-1"):
        read_movie_reviews(shared / "sequences" / "movie_reviews", "utf-8")
