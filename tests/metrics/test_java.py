"""METEOR and SPICE: the real METEOR, and programs that hang, die or are not there."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from captioning.metrics import Meteor, Metric, Scorer, Spice, UnavailableError, java, meteor, spice
from captioning.text.tokenizer import tokenize

CANDIDATES = ["a man rides a bike", "two dogs play in the snow, one jumps", ""]
REFERENCES = [["A man riding a bicycle.", "a person on a bike"], ["Dogs playing in snow"], ["a cat ||| sleeps"]]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Put a shell script in the place of Java, and empty files in that of the programs."""
    for name in ("meteor/meteor-1.5.jar", "meteor/data/paraphrase-en.gz", "spice/spice-1.0.jar"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for module in (meteor, spice):
        monkeypatch.setattr(module, "package", lambda _: tmp_path)

    def install(script: str) -> None:
        path = tmp_path / "bin" / "java"
        path.parent.mkdir()
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{path.parent}{os.pathsep}{os.environ['PATH']}")

    return install


def fake_models(folder: Path) -> None:
    for name in ("stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar"):
        (folder / "spice" / "lib").mkdir(exist_ok=True)
        (folder / "spice" / "lib" / name).touch()


def score(metric: Metric) -> tuple[float, list[float]]:
    scores, name = Scorer([metric], REFERENCES).score(CANDIDATES), metric.name
    return scores.corpus()[name], scores.images()[name].tolist()


@pytest.mark.java
def test_meteor_equals_pycocoevalcap() -> None:
    if shutil.which("java") is None:
        pytest.skip("needs java")
    theirs = pytest.importorskip("pycocoevalcap.meteor.meteor").Meteor()
    more = [
        ("a dog runs", ["a dog runs", "the dog is running"]),  # equal to a reference: no chunk
        ("a person in the middle of the street", ["somebody in the center of the road", "a street"]),
        ("the", ["a cat"]),
        ("a man sits on a bench next to a large tree", ["a huge tree and a man sitting on the bench"]),
    ]
    candidates, references = [*CANDIDATES, *(c for c, _ in more)], [*REFERENCES, *(r for _, r in more)]

    def expected(images: list[int]) -> tuple[float, list[float]]:
        given = {n: [" ".join(tokenize(c)).replace("|||", "") for c in references[n]] for n in images}
        corpus, each = theirs.compute_score(given, {n: [" ".join(tokenize(candidates[n]))] for n in images})
        return corpus, each

    scores = Scorer([Meteor()], references).score(candidates)
    corpus, images = expected([*range(7)])
    assert scores.corpus()["METEOR"] == pytest.approx(corpus, abs=1e-9)
    assert scores.images()["METEOR"] == pytest.approx(images, abs=1e-9)
    assert corpus != pytest.approx(sum(images) / 7, abs=1e-3)
    some = scores.resampled(np.array([[1.0, 0, 0, 1, 0, 0, 1], [0, 1, 0, 0, 1, 0, 0]]))["METEOR"]  # as if scored alone
    assert some == pytest.approx([expected([0, 3, 6])[0], expected([1, 4])[0]], abs=1e-9)


def test_a_conversation_with_meteor(program: Callable[[str], None]) -> None:
    # Words and function words of candidate and reference; matches of content and of function words of four kinds; then
    # chunks and matched words. The captions of the first image match in two words of four, the others in none.
    matched, nothing = "4 4 0 0 2 2 0 0 0 0 0 0 0 0 0 0 0 0 0 0 1 2 2", "4 4 0 0 " + "0 " * 18 + "0"
    program(
        'read -r line; [ "$line" = "SCORE ||| a man riding a bicycle ||| a person on a bike ||| a man rides a bike" ] '
        f"|| exit 9\necho {matched}\nwhile read -r line; do echo {nothing}; done"
    )
    image = 0.5 * (1 - 0.6 * 0.5**0.2)  # one chunk of two words
    corpus, images = score(Meteor())
    assert images == pytest.approx([image, 0, 0])
    assert corpus == pytest.approx((2 / 12) * (1 - 0.6 * 0.5**0.2))


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ("exec sleep 60", "did not answer within 0.5 s and was ended"),
        ("sleep 60; true", "did not answer within 0.5 s and was ended"),
        ("echo out of memory >&2; exit 3", r"ended with status 3 \(out of memory\)"),
        ("echo java.lang.UnsupportedClassVersionError >&2; exit 1", "too new or too old.*Java 8 or 11"),
        ("echo x; read -r line; exit 1", "ended with status"),
    ],
)
def test_a_hung_dead_or_wrong_java_is_ended_and_reported(
    program: Callable[[str], None], tmp_path: Path, script: str, sentence: str
) -> None:
    program(script)
    fake_models(tmp_path)
    with pytest.raises(UnavailableError, match=f"METEOR {sentence}|METEOR .*{sentence}"):
        score(Meteor(timeout=0.5))
    with pytest.raises(UnavailableError, match=f"SPICE {sentence}|SPICE .*{sentence}"):
        score(Spice(timeout=0.5))


def test_another_number_of_counts_is_no_answer_of_meteor(program: Callable[[str], None]) -> None:
    program("while read -r line; do echo 1 2 3; done")
    with pytest.raises(UnavailableError, match="METEOR ended with status"):
        score(Meteor())


def test_spice_reads_the_programs_answer(program: Callable[[str], None], tmp_path: Path) -> None:
    answers = ",".join(f'{{"image_id": {n}, "scores": {{"All": {{"f": 0.{n + 1}}}}}}}' for n in (2, 0, 1))
    program(f"grep -q 'two dogs play in the snow one jumps' \"$4\" || exit 9\necho '[{answers}]' > \"$6\"")
    fake_models(tmp_path)
    corpus, images = score(Spice())
    assert images == [0.1, 0.2, 0.3]
    assert corpus == pytest.approx(0.2)


def test_what_is_missing_is_named(
    program: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UnavailableError, match=r"SPICE needs Stanford CoreNLP 3\.6\.0 .*get_stanford_models"):
        score(Spice())
    with monkeypatch.context() as without:
        without.setenv("PATH", str(tmp_path))
        with pytest.raises(UnavailableError, match="METEOR needs Java"):
            score(Meteor())
    (tmp_path / "meteor" / "meteor-1.5.jar").unlink()
    with pytest.raises(UnavailableError, match=r"meteor-1\.5\.jar is missing.*pip install"):
        score(Meteor())


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(java.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UnavailableError, match=r"captioning\[java\]"):
        score(Meteor())
