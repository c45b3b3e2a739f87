"""SPICE: programs that hang, die or are not there. METEOR is in test_meteor.py."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from captioning.metrics import Cider, Metric, Scorer, Spice, UnavailableError, java, spice

CANDIDATES = ["a man rides a bike", "two dogs play in the snow, one jumps", ""]
REFERENCES = [["A man riding a bicycle.", "a person on a bike"], ["Dogs playing in snow"], ["a cat ||| sleeps"]]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Put a shell script in the place of Java, and an empty file in that of the program."""
    (tmp_path / "spice").mkdir()
    (tmp_path / "spice" / "spice-1.0.jar").touch()
    monkeypatch.setattr(spice, "package", lambda _: tmp_path)

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
    with pytest.raises(UnavailableError, match=f"SPICE {sentence}|SPICE .*{sentence}"):
        score(Spice(timeout=0.5))


def test_spice_reads_the_programs_answer(program: Callable[[str], None], tmp_path: Path) -> None:
    answers = ",".join(f'{{"image_id": {n}, "scores": {{"All": {{"f": 0.{n + 1}}}}}}}' for n in (2, 0, 1))
    program(f"grep -q 'two dogs play in the snow one jumps' \"$4\" || exit 9\necho '[{answers}]' > \"$6\"")
    fake_models(tmp_path)
    corpus, images = score(Spice())
    assert images == [0.1, 0.2, 0.3]
    assert corpus == pytest.approx(0.2)
    both = Scorer([Spice(spider=True), Cider()], REFERENCES).score(CANDIDATES).images()
    assert both["SPIDEr"] == pytest.approx((both["SPICE"] + both["CIDEr"]) / 2)


def test_what_is_missing_is_named(
    program: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UnavailableError, match=r"SPICE needs Stanford CoreNLP 3\.6\.0 .*get_stanford_models"):
        score(Spice())
    with monkeypatch.context() as without:
        without.setenv("PATH", str(tmp_path))
        fake_models(tmp_path)
        with pytest.raises(UnavailableError, match="SPICE needs Java"):
            score(Spice())
    (tmp_path / "spice" / "spice-1.0.jar").unlink()
    with pytest.raises(UnavailableError, match=r"spice-1\.0\.jar is missing.*pip install"):
        score(Spice())


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(java.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UnavailableError, match=r"captioning\[java\]"):
        score(Spice())
