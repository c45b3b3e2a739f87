"""``captioning serve``: a page in the browser that captions photographs, on this machine."""

import argparse
import logging
import socket
from collections.abc import Sequence
from pathlib import Path

from captioning.core.errors import CaptioningError
from captioning.core.terminal import printable, show_log
from captioning.jobs.options import add_trust_option, parse, trusted
from captioning.jobs.whole import whole


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="captioning serve",
        description="A page that captions photographs and shows where the captioner looked, and what it might have "
        "said. Several captioners are shown side by side; for a model of answers there is a box for questions. Needs: "
        "pip install 'captioning[web]'.",
    )
    parser.add_argument(
        "checkpoints",
        nargs="*",
        type=Path,
        metavar="CHECKPOINT",
        help="runs' folders, .ckpt files or published captioners, and runs that answer questions (default: the "
        "captioner inside the installation)",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1, this machine)")
    parser.add_argument("--port", type=whole(), default=8000, help="0 for any that is free (default: 8000)")
    parser.add_argument("--device", default="auto", help="cpu, cuda, … (default: the GPU where there is one)")
    add_trust_option(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command until it is interrupted.

    Raises:
        CaptioningError: the extra is not installed, a checkpoint can't be read, or the address can't be listened on.
    """
    options = parse(parser(), argv)
    show_log(logging.WARNING)
    try:
        import uvicorn

        from captioning.web.app import make_app
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] in ("uvicorn", "fastapi", "starlette"):
            raise CaptioningError('The page needs FastAPI and uvicorn: pip install "captioning[web]".') from error
        raise
    from captioning.jobs.score import short_names
    from captioning.predict.answerer import Answerer
    from captioning.predict.captioner import Captioner
    from captioning.runs.checkpoint import read_checkpoint

    listening = listen(options.host, options.port)
    trust = trusted(options.trust)
    captioners: dict[str, Captioner] = {}
    answerers: dict[str, Answerer] = {}
    if options.checkpoints:
        paths = [str(path.resolve()) for path in options.checkpoints]
        names = short_names(paths) if len(paths) > 1 else {paths[0]: Path(paths[0]).name}
        for path in paths:
            if read_checkpoint(Path(path), trust).contents.get("answers"):
                answerers[printable(names[path])] = Answerer.load(path, options.device, trust)
            else:
                captioners[printable(names[path])] = Captioner.load(path, options.device, trust)
    else:
        captioners = {"captioner": Captioner.load(None, options.device)}
    host, port = listening.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    print(f"http://{shown}:{port} captions photographs; Ctrl+C ends it.", flush=True)
    app = make_app(captioners, answerers, options.host)
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=10)
    uvicorn.Server(config).run(sockets=[listening])
    return 0


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens on an address.

    Raises:
        CaptioningError: the address is not this machine's, or the port is none or in use.
    """
    if not 0 <= port < 2**16:  # the system would take the remainder
        raise CaptioningError(f"--port {port} is no port. Take one from 1 to {2**16 - 1}, or 0 for any that is free.")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(128)
    except (OSError, UnicodeError) as error:  # UnicodeError: a name that no host can have
        reason = getattr(error, "strerror", None) or error
        raise CaptioningError(
            f"{host}:{port} can't be listened on ({reason}). Take another port (--port 8001), or --port 0 for any."
        ) from error
    return listening
