"""The command line: ``captioning COMMAND …``, with one module of ``captioning.jobs`` per command."""

import errno
import importlib
import io
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress

from captioning import __version__
from captioning.core.errors import CaptioningError
from captioning.core.signals import Stopped, ending
from captioning.core.terminal import printable

# Spinning threads take processor time from the threads that they wait for as soon as another process runs. Threads that
# sleep at once wake up late, which costs up to a third of a training step. The threads therefore spin for some
# microseconds.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")

COMMANDS = {
    "prepare": "fetch or draw a data set, and store its features",
    "train": "train a captioner, or sweep over many (-m)",
    "evaluate": "score a trained captioner on a split",
    "results": "write scored runs into a table of results",
    "report": "write one HTML page on runs or a sweep",
    "score": "score results files against annotations, no model needed",
    "memory": "store the training photographs of a captioner, for --neighbours",
    "caption": "caption photographs and folders",
    "ask": "answer a question about a photograph",
    "translate": "translate sentences and files of sentences",
    "questions": "make questions from captions",
    "export": "publish a captioner: a folder of safetensors, the hub, ONNX",
    "serve": "a page in the browser that captions photographs, on this machine",
    "sample": "let a language model of characters write",
    "cells": "find units of a trained network that mean something",
    "gradients": "measure how gradients vanish and explode on their way back through time",
}

REMEDIES = {  # what a user can do about errors of the system
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "Free some space, and run again."),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "Raise the limit (ulimit -n), or take fewer data.workers."),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "Check the permissions, or choose another folder."),
    **dict.fromkeys((errno.ENAMETOOLONG, errno.ELOOP), "Check the path."),
    errno.EIO: "The disk or the network has failed: check it, and run again.",
}

WORKERS = (
    "No file handles or no memory may be left: raise the limit (ulimit -n), or take fewer processes (data.workers=0)."
)

USAGE = "\n".join(
    [
        "usage: captioning COMMAND ...",
        "",
        "Image captioning with recurrent networks.",
        "",
        "commands:",
        *(f"  {name:10}{what}" for name, what in COMMANDS.items()),
        "",
        "`captioning COMMAND --help` tells more of a command.",
    ]
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        The exit status: 0, 1 after a failure, 2 for a wrong command line, 130 or 143 after SIGINT or SIGTERM.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")  # a terminal in cp1252 or ASCII lacks characters
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if arguments else 2
    if arguments[0] == "--version":
        print(f"captioning {__version__}")
        return 0
    command = arguments[0]
    if command not in COMMANDS:
        print(f"captioning: there is no command {command!r}; there are {', '.join(COMMANDS)}.", file=sys.stderr)
        return 2
    try:
        with ending():
            status: int = importlib.import_module(f"captioning.jobs.{command}").main(arguments[1:])
        sys.stdout.flush()
    except CaptioningError as error:
        print(printable(f"captioning: error: {error}", keep="\n"), file=sys.stderr)
        return error.status
    except KeyboardInterrupt:
        print("captioning: interrupted.", file=sys.stderr)
        return 130
    except Stopped as stopped:
        print(f"captioning: {stopped}.", file=sys.stderr)
        return stopped.status
    except BrokenPipeError:  # `captioning … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        remedy = REMEDIES.get(error.errno or 0)
        if remedy is None:
            raise
        try:
            sys.stdout.flush()
        except OSError:  # nor could Python write the rest when it exits
            with suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        named = f"{error.filename}: " if error.filename else ""
        print(printable(f"captioning: error: {named}{error.strerror}. {remedy}"), file=sys.stderr)
        return 1
    except RuntimeError as error:  # torch's, on a process that reads data
        if not str(error).startswith("DataLoader worker"):
            raise
        if hasattr(signal, "SIGCHLD"):  # at which torch raises the same of the other processes, once more
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        said = " ".join(str(error).split()).rstrip(".")
        print(printable(f"captioning: error: {said}. {WORKERS}"), file=sys.stderr)
        return 1
    return status


if __name__ == "__main__":
    sys.exit(main())
