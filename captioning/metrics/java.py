"""What ``pycocoevalcap`` installs (the extra ``captioning[java]``): METEOR's tables, and SPICE, which needs Java.

This module does not use that package's own wrappers: they wait forever for a program that died or hangs, and they write
into the package's installation.
"""

import importlib.util
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from captioning.metrics.metric import UnavailableError

TIMEOUT = 1800.0  # seconds
ADVICE = "run it again, or leave it out: the other scores need no Java."


def sentence(tokens: Sequence[str]) -> str:
    """Tokens joined by blanks, without METEOR's own separator."""
    return " ".join(tokens).replace("|||", "")


def package(score: str) -> Path:
    """The folder of the package that contains the programs.

    Raises:
        UnavailableError: the package is not installed.
    """
    found = importlib.util.find_spec("pycocoevalcap")
    if found is None or not found.submodule_search_locations:
        raise UnavailableError(f"{score} needs the package pycocoevalcap: pip install 'captioning[java]'")
    return Path(found.submodule_search_locations[0])


def require(score: str, *paths: Path) -> None:
    """Check that a program's files exist.

    Raises:
        UnavailableError: a file is missing; the message names the first one.
    """
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        raise UnavailableError(
            f"{score}: {missing[0]} is missing. Install again: pip install --force-reinstall pycocoevalcap"
        )


def _java(score: str) -> str:
    java = shutil.which("java")
    if java is None:
        raise UnavailableError(f"{score} needs Java (8 or later), and there is no `java` on the PATH; {ADVICE}")
    return java


def run(score: str, arguments: Sequence[str], folder: Path, timeout: float) -> None:
    """Run a Java program to its end.

    Args:
        score: the name of the score, for error messages.
        arguments: the arguments of ``java``.
        folder: the working folder.
        timeout: seconds after which the program is killed.

    Raises:
        UnavailableError: Java is missing, or the program failed or did not end in time.
    """
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


def _end(process: "subprocess.Popen[str]") -> None:
    """Kill a program and its child processes: the child of a `java` script would hold the pipes open."""
    with suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:  # Windows has no groups of processes
            process.kill()


def _late(score: str, timeout: float) -> UnavailableError:
    return UnavailableError(f"{score} did not answer within {timeout:g} s and was ended; {ADVICE}")


def _dead(score: str, status: int, errors: str) -> UnavailableError:
    if re.search('InaccessibleObjectException|UnsupportedClassVersionError|does not "opens', errors):
        return UnavailableError(
            f"{score} does not run on the Java that is on the PATH, which is too new or too old for it. Put Java 8 or "
            "11 there, or leave it out: the other scores need no Java."
        )
    last = (errors.strip().splitlines() or ["without a message"])[-1]
    return UnavailableError(f"{score} ended with status {status} ({last}); {ADVICE}")
