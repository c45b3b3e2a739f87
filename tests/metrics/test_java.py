"""METEOR and SPICE: the real METEOR, and programs that hang, die or are not there."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from captioning.core.errors import CaptioningError
from captioning.metrics import java
from captioning.text.tokenizer import tokenize

CANDIDATES = ["a man rides a bike", "two dogs play in the snow, one jumps", ""]
REFERENCES = [["A man riding a bicycle.", "a person on a bike"], ["Dogs playing in snow"], ["a cat ||| sleeps"]]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Put a shell script in the place of Java, and empty files in that of the programs."""
    for name in ("meteor/meteor-1.5.jar", "meteor/data/paraphrase-en.gz", "spice/spice-1.0.jar"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.setattr(java, "_package", lambda _: tmp_path)

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


@pytest.mark.java
def test_meteor_equals_pycocoevalcap() -> None:
    if shutil.which("java") is None:
        pytest.skip("needs java")
    meteor = pytest.importorskip("pycocoevalcap.meteor.meteor").Meteor()
    given = {n: [" ".join(tokenize(c)).replace("|||", "") for c in captions] for n, captions in enumerate(REFERENCES)}
    expected = meteor.compute_score(given, {n: [" ".join(tokenize(c))] for n, c in enumerate(CANDIDATES)})
    corpus, images = java.meteor(CANDIDATES, REFERENCES)
    assert corpus == pytest.approx(expected[0], abs=1e-9)
    assert images == pytest.approx(expected[1], abs=1e-9)


def test_a_conversation_with_meteor(program: Callable[[str], None]) -> None:
    program(
        'while read -r line; do case "$line" in\n'
        "SCORE*) echo 1 2 3;;\n"
        'EVAL*) [ "$line" = "EVAL ||| 1 2 3 ||| 1 2 3 ||| 1 2 3" ] && printf "0.1\\n0.2\\n0.3\\n0.25\\n";; esac; done'
    )
    assert java.meteor(CANDIDATES, REFERENCES) == (0.25, [0.1, 0.2, 0.3])


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
    with pytest.raises(CaptioningError, match=f"METEOR {sentence}|METEOR .*{sentence}"):
        java.meteor(CANDIDATES, REFERENCES, timeout=0.5)
    with pytest.raises(CaptioningError, match=f"SPICE {sentence}|SPICE .*{sentence}"):
        java.spice(CANDIDATES, REFERENCES, timeout=0.5)


def test_spice_reads_the_programs_answer(program: Callable[[str], None], tmp_path: Path) -> None:
    answers = ",".join(f'{{"image_id": {n}, "scores": {{"All": {{"f": 0.{n + 1}}}}}}}' for n in (2, 0, 1))
    program(f"grep -q 'two dogs play in the snow one jumps' \"$4\" || exit 9\necho '[{answers}]' > \"$6\"")
    fake_models(tmp_path)
    corpus, images = java.spice(CANDIDATES, REFERENCES)
    assert images == [0.1, 0.2, 0.3]
    assert corpus == pytest.approx(0.2)


def test_what_is_missing_is_named(
    program: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CaptioningError, match=r"SPICE needs Stanford CoreNLP 3\.6\.0 .*get_stanford_models"):
        java.spice(CANDIDATES, REFERENCES)
    with monkeypatch.context() as without:
        without.setenv("PATH", str(tmp_path))
        with pytest.raises(CaptioningError, match="METEOR needs Java"):
            java.meteor(CANDIDATES, REFERENCES)
    (tmp_path / "meteor" / "meteor-1.5.jar").unlink()
    with pytest.raises(CaptioningError, match=r"meteor-1\.5\.jar is missing.*pip install"):
        java.meteor(CANDIDATES, REFERENCES)


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(java.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(CaptioningError, match=r"captioning\[java\]"):
        java.meteor(CANDIDATES, REFERENCES)
