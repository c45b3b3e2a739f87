"""METEOR 1.5 and SPICE: the two scores that only their authors' Java programs give.

Denkowski and Lavie, "Meteor Universal" (2014); Anderson et al., "SPICE" (arXiv:1607.08822). The programs come with
``pycocoevalcap`` (the extra ``captioning[java]``); they are run here rather than through that package, whose readers
wait for ever on a program that died or hangs, and which writes into its own installation.
"""

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from captioning.core.errors import CaptioningError
from captioning.text.tokenizer import tokenize_each

TIMEOUT = 1800.0


def meteor(
    candidates: Sequence[str], references: Sequence[Sequence[str]], timeout: float = TIMEOUT
) -> tuple[float, list[float]]:
    """METEOR of the corpus and of each image, 0 to 1.

    Args:
        candidates: one caption an image.
        references: of each image.
        timeout: seconds after which a silent program is ended.

    Raises:
        CaptioningError: Java or the program is missing, died, hung or answered nonsense.
    """
    jar = _package("METEOR") / "meteor" / "meteor-1.5.jar"
    _require("METEOR", jar, jar.parent / "data" / "paraphrase-en.gz")
    command = ["-Xmx2G", "-jar", jar.name, "-", "-", "-stdio", "-l", "en", "-norm"]
    pairs = zip(candidates, references, strict=True)
    questions = ["SCORE ||| " + " ||| ".join(_texts([*captions, candidate])) for candidate, captions in pairs]
    with _conversation("METEOR", command, jar.parent, timeout) as (ask, read):
        counts = []
        for question in questions:
            ask(question)
            counts.append(read())
        ask("EVAL ||| " + " ||| ".join(counts))
        images = [float(read()) for _ in counts]
        return float(read()), images


def spice(
    candidates: Sequence[str], references: Sequence[Sequence[str]], timeout: float = TIMEOUT
) -> tuple[float, list[float]]:
    """SPICE of the corpus and of each image, 0 to 1; see ``meteor``."""
    folder = _package("SPICE") / "spice"
    _require("SPICE", folder / "spice-1.0.jar")
    models = [folder / "lib" / f"stanford-corenlp-3.6.0{part}.jar" for part in ("", "-models")]
    if not all(path.is_file() for path in models):
        raise CaptioningError(
            f"SPICE needs Stanford CoreNLP 3.6.0 in {models[0].parent}, which pycocoevalcap does not ship. Fetch it "
            "once, with a network: python -m pycocoevalcap.spice.get_stanford_models"
        )
    pairs = zip(candidates, references, strict=True)
    entries = [
        {"image_id": number, "test": _texts([candidate])[0], "refs": _texts(captions)}
        for number, (candidate, captions) in enumerate(pairs)
    ]
    with tempfile.TemporaryDirectory() as temporary:
        asked, answered = Path(temporary, "asked.json"), Path(temporary, "answered.json")
        asked.write_text(json.dumps(entries), encoding="utf-8")
        command = ["-Xmx8G", "-jar", "spice-1.0.jar", str(asked), "-out", str(answered), "-subset", "-silent"]
        _run("SPICE", command, folder, timeout)
        try:
            answers = json.loads(answered.read_text(encoding="utf-8"))
            by_image = {entry["image_id"]: float(entry["scores"]["All"]["f"]) for entry in answers}
            images = [by_image[number] for number in range(len(entries))]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CaptioningError(f"SPICE gave no readable answer ({error!r}); {_ADVICE}") from error
    return sum(images) / len(images), images


_ADVICE = "run it again, or leave it out: the other scores need no Java."


def _texts(captions: Sequence[str]) -> list[str]:
    """Tokens with blanks between them; the program's own separator is taken out."""
    return [" ".join(tokens).replace("|||", "") for tokens in tokenize_each(captions)]


def _package(score: str) -> Path:
    found = importlib.util.find_spec("pycocoevalcap")
    if found is None or not found.submodule_search_locations:
        raise CaptioningError(f"{score} needs the package pycocoevalcap: pip install 'captioning[java]'")
    return Path(found.submodule_search_locations[0])


def _require(score: str, *paths: Path) -> None:
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        raise CaptioningError(
            f"{score}: {missing[0]} is missing. Install again: pip install --force-reinstall pycocoevalcap"
        )


def _java(score: str) -> str:
    java = shutil.which("java")
    if java is None:
        raise CaptioningError(f"{score} needs Java (8 or later), and there is no `java` on the PATH; {_ADVICE}")
    return java


def _run(score: str, arguments: Sequence[str], folder: Path, timeout: float) -> None:
    """Run a program to its end."""
    command, nothing = [_java(score), *arguments], subprocess.DEVNULL
    with subprocess.Popen(
        command,
        cwd=folder,
        stdin=nothing,
        stdout=nothing,
        stderr=subprocess.PIPE,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            _, errors = process.communicate(timeout=timeout)
        except BaseException as error:
            _end(process)
            if isinstance(error, subprocess.TimeoutExpired):
                raise _late(score, timeout) from error
            raise
    if process.returncode != 0:
        raise _dead(score, process.returncode, errors)


@contextmanager
def _conversation(
    score: str, arguments: Sequence[str], folder: Path, timeout: float
) -> Iterator[tuple[Callable[[str], None], Callable[[], str]]]:
    """A program that answers lines with lines; it is ended on leaving, or when the time is over."""
    command, late = [_java(score), *arguments], threading.Event()
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            encoding="utf-8",
            bufsize=1,
            start_new_session=True,
        )
        assert process.stdin is not None and process.stdout is not None
        given, answers = process.stdin, process.stdout

        def end() -> None:
            late.set()
            _end(process)

        def ask(line: str) -> None:
            given.write(line + "\n")

        def read() -> str:
            line = answers.readline()
            if not line:
                raise BrokenPipeError("the program is gone")
            return line.strip()

        watch = threading.Timer(timeout, end)
        watch.start()
        try:
            yield ask, read
        except (OSError, ValueError) as error:  # a pipe without its other end, or an answer that is no number
            _end(process)
            errors.seek(0)
            raise _late(score, timeout) if late.is_set() else _dead(score, process.wait(), errors.read()) from error
        finally:
            watch.cancel()
            if process.returncode is None:
                _end(process)
                process.wait()
            answers.close()
            with suppress(OSError):
                given.close()


def _end(process: "subprocess.Popen[str]") -> None:
    """End a program and all that it started: `java` may be a script, whose child would hold the pipes open."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _late(score: str, timeout: float) -> CaptioningError:
    return CaptioningError(f"{score} did not answer within {timeout:g} s and was ended; {_ADVICE}")


def _dead(score: str, status: int, errors: str) -> CaptioningError:
    if re.search('InaccessibleObjectException|UnsupportedClassVersionError|does not "opens', errors):
        return CaptioningError(
            f"{score} does not run on the Java that is on the PATH, which is too new or too old for it. Put Java 8 or "
            "11 there, or leave it out: the other scores need no Java."
        )
    last = (errors.strip().splitlines() or ["without a message"])[-1]
    return CaptioningError(f"{score} ended with status {status} ({last}); {_ADVICE}")
