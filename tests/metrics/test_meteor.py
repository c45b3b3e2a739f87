"""METEOR without Java: equal to the original, and its index of the tables."""

import gzip
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from captioning.core.errors import CaptioningError
from captioning.metrics import Meteor, Scorer, UnavailableError, java
from captioning.metrics.meteor import tables as of_tables
from captioning.metrics.meteor.metric import count_matches
from captioning.metrics.meteor.normaliser import normalise
from captioning.metrics.meteor.stemmer import stem
from captioning.metrics.meteor.vocabulary import java_hash

needs_tables = pytest.mark.skipif(not of_tables.installed(), reason="needs captioning[java]: METEOR's tables")

# What the original answers, ``SCORE ||| reference ||| candidate``: the matches of a kind (content and function words,
# each of candidate and reference), then chunks and matched words.
ANSWERS = {
    ("a dog runs", "a dog runs"): "2 2 1 1  0 0 0 0  0 0 0 0  0 0 0 0  1 3 3",
    ("two dogs play in the snow", "dogs playing in snow"): "2 2 1 1  1 1 0 0  0 0 0 0  0 0 0 0  2 4 4",
    ("a man rides a bike", "a man riding a bicycle"): "1 1 2 2  1 1 0 0  1 1 0 0  0 0 0 0  1 5 5",
    ("a person in the middle of the street", "somebody in the center of the road"): (
        "0 0 4 4  0 0 0 0  1 1 0 0  2 2 1 0  1 8 7"
    ),
    ("is", "k5"): "0 1 1 0  0 0 0 0  0 0 0 0  0 0 0 0  1 1 1",  # words of one hash
    ("a a the a a of the", "the a a a of a the the"): "0 0 7 7  0 0 0 0  0 0 0 0  0 0 0 0  4 7 7",
    ("", "a dog"): "0 0 0 0  0 0 0 0  0 0 0 0  0 0 0 0  0 0 0",
    ("a man on a skateboard is using his phone", "the skateboarder does an aerial stunt onto the road"): (
        "0 0 0 0  1 1 0 0  0 0 0 0  0 1 1 0  1 2 2"  # the chunk of two unlike matches
    ),
}


@needs_tables
@pytest.mark.parametrize("pair", ANSWERS)
def test_matches_are_the_originals(pair: tuple[str, str]) -> None:
    candidate, reference = (text.split() for text in pair)
    (found,) = count_matches([candidate], [[reference]], of_tables.tables()).astype(int).tolist()
    expected = [*map(int, ANSWERS[pair].split())]
    if expected[17:] == [len(candidate), len(reference)] and expected[16] == 1:
        expected[16] = 0  # chunks, see ``Meteor.statistics``
    assert found[4:] == expected


@needs_tables
def test_a_metric_like_the_others() -> None:
    references = [["A man riding a bicycle.", "a person on a bike"], ["Dogs playing in snow"], ["a cat ||| sleeps"]]
    candidates = ["a man rides a bike", "two dogs play in the snow, one jumps", ""]
    scores = Scorer([Meteor()], references).score(candidates)
    assert scores.corpus()["METEOR"] == pytest.approx(0.28185028378246446, abs=1e-12)  # the original's
    assert scores.images()["METEOR"] == pytest.approx([0.8363636363636364, 0.3856415619996757, 0.0], abs=1e-12)
    alone = [
        Scorer([Meteor()], [each]).score([said]).corpus()["METEOR"]
        for each, said in zip(references, candidates, strict=True)
    ]
    assert scores.images()["METEOR"] == pytest.approx(alone)
    twice = Scorer([Meteor()], [*references, references[0]]).score([*candidates, candidates[0]])
    assert scores.resampled(np.array([[2.0, 1, 1]]))["METEOR"] == pytest.approx(twice.corpus()["METEOR"])


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("a t-shirt 's o'clock 5's", "a t shirt ' s o 'clock 5 's"),
        ("u.s. mr. vs. p.m. st", "us mr. vs. pm st"),
        ("end. of .. it .... now", "end. of .. it .... now"),
        ("1,000 a,b 5,x `so' -lrb- $5", "1,000 a , b 5 , x ' so ' -lrb- $ 5"),
        ("no. 5 no. a no. A vs. X etc. X", "no. 5 no. a no . a vs. x etc . x"),
        ("A Ä 日本 1\xa01/2", "a ä 日 本 1 1 / 2"),
    ],
)
def test_normalised_words(line: str, words: str) -> None:
    assert normalise(line, {"vs": False, "no": True}) == words.split()


def test_stems_and_hashes() -> None:
    words = "generously skies dying yyed realizer organization's hopping hoped sky by say happily proceed oiliness"
    stems = "generous sky die yy realiz organ hop hope sky by say happili proceed oili"
    assert [*map(stem, words.split())] == stems.split()
    assert [java_hash(word) for word in ("", "is", "k5", "😀")] == [0, 3370, 3370, 1772899]


@pytest.fixture
def tiny_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A function that installs made-up tables with a paraphrase of "big dog"."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(of_tables, "package", lambda _: tmp_path)
    (tmp_path / "meteor" / "data").mkdir(parents=True)

    def install(paraphrase: str) -> None:
        with zipfile.ZipFile(tmp_path / "meteor" / "meteor-1.5.jar", "w") as jar:
            jar.writestr("function/english.words", "the\na\n")
            jar.writestr("nonbreaking/english.prefixes", "# none\nvs\nNo #NUMERIC_ONLY#\n")
            jar.writestr("synonym/english.exceptions", "mouse\nmice\n")
            jar.writestr("synonym/english.synsets", "mouse\n01 02\nrodent\n02\nnote\n9\n")
        with gzip.open(tmp_path / "meteor" / "data" / "paraphrase-en.gz", "wt") as archive:
            archive.write(f"0.5\nbig dog\n{paraphrase}\n0.1\nbig\nhuge\n")

    install("hound")
    return install


def kinds(candidate: str, reference: str) -> list[int]:
    (counts,) = count_matches([candidate.split()], [[reference.split()]], of_tables.tables())
    return [int(counts[4 + 4 * kind]) for kind in range(4)]


def test_index(tiny_tables: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert kinds("the mice notes dogs hound", "a rodent noted dog big dog") == [0, 2, 1, 1]
    assert kinds("hound", "a big dog") == [0, 0, 0, 1]
    (index,) = (tmp_path / "cache" / "captioning").glob("*.index")
    made = index.read_bytes()

    def forbidden(*_: object) -> None:
        raise AssertionError("the index is there")

    index_tables = of_tables._index
    monkeypatch.setattr(of_tables, "_index", forbidden)
    of_tables._opened.cache_clear()
    assert kinds("hound", "big dog") == [0, 0, 0, 1]
    monkeypatch.setattr(of_tables, "_index", index_tables)
    for damaged in (made[: len(made) // 2], made[:40], b"", b"other" + made, made + b"x"):
        index.write_bytes(damaged)
        of_tables._opened.cache_clear()
        assert kinds("hound", "big dog") == [0, 0, 0, 1]
        assert index.read_bytes() == made
    tiny_tables("poodle")
    of_tables._opened.cache_clear()
    assert kinds("poodle", "big dog") == [0, 0, 0, 1]
    assert kinds("hound", "big dog") == [0, 0, 0, 0]
    of_tables._opened.cache_clear()


def test_without_a_cache_folder(tiny_tables: Callable[[str], None], tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file is in the way")
    assert kinds("hound", "big dog") == [0, 0, 0, 1]
    of_tables._opened.cache_clear()


def test_missing_tables_are_named(
    tiny_tables: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert of_tables.installed()
    (tmp_path / "meteor" / "meteor-1.5.jar").unlink()
    assert not of_tables.installed()
    with pytest.raises(UnavailableError, match=r"meteor-1\.5\.jar is missing.*pip install"):
        Scorer([Meteor()], [["a"]]).score(["a"])
    monkeypatch.undo()
    monkeypatch.setattr(java.importlib.util, "find_spec", lambda _: None)
    assert not of_tables.installed()
    with pytest.raises(CaptioningError, match=r"captioning\[java\]"):
        Scorer([Meteor()], [["a"]]).score(["a"])
