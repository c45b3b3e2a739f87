"""Signals that ask a process to end: SIGTERM (a cluster's time limit, ``timeout``) and SIGINT (Ctrl+C).

Within ``ending`` a SIGTERM raises ``Stopped``, so that files are closed and what has been computed is kept. Within
``deferred`` the first signal is only noted, for a place at which the process can end without loss; the second signal
ends the process at once.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)
GRACE = 10  # seconds
_OWN = (signal.SIG_DFL, signal.default_int_handler)  # Python's handlers; another one is a launcher's and stays
_deferrals: list["Deferral"] = []


class Stopped(BaseException):
    """The end of the process by a signal.

    Attributes:
        signal: the number of the signal.
    """

    def __init__(self, number: int) -> None:
        """Take the signal's number."""
        super().__init__(f"ended by {signal.Signals(number).name}")
        self.signal = number

    @property
    def status(self) -> int:
        """The exit status of a process that a signal has ended, as shells have it."""
        return 128 + self.signal


class Deferral:
    """The first signal of a block, noted.

    Attributes:
        signal: the number of the signal; None if none has come.
    """

    def __init__(self) -> None:
        """Note the process: processes that it forks inherit its handlers."""
        self.signal: int | None = None
        self.taken: list[signal.Signals] = []
        self.process = os.getpid()

    def handle(self, number: int, _: FrameType | None = None) -> None:
        """Note the first signal; end at once at the second."""
        if os.getpid() != self.process:
            return
        if self.signal is not None:
            raise Stopped(number)
        self.signal = number
        name = signal.Signals(number).name
        # printing may be under way, and Python's files can't be written to from within themselves
        os.write(2, f"\n{name}: ending after this step, with a checkpoint; a second one ends at once.\n".encode())

    def rearm(self) -> None:
        """Take the signals again."""
        for number in self.taken:
            signal.signal(number, self.handle)


@contextmanager
def ending() -> Iterator[None]:
    """Raise ``Stopped`` at a SIGTERM during the block."""
    process = os.getpid()

    def end(number: int, _: FrameType | None) -> None:
        if os.getpid() == process:
            raise Stopped(number)
        os._exit(128 + number)  # a forked process: nothing to clean up

    with _handlers({signal.SIGTERM: end}):
        yield


@contextmanager
def deferred() -> Iterator[Deferral]:
    """Note the first SIGTERM or SIGINT during the block instead of ending.

    Handlers that are neither Python's nor this module's stay: a launcher of a cluster has its own.
    """
    deferral = Deferral()
    _deferrals.append(deferral)
    try:
        with _handlers(dict.fromkeys(SIGNALS, deferral.handle)) as taken:
            deferral.taken = taken
            yield deferral
    finally:
        _deferrals.remove(deferral)


def rearm() -> None:
    """Let the running ``deferred`` block take its signals again, after a library has put handlers before its own."""
    if _deferrals:
        _deferrals[-1].rearm()


def asked_to_end() -> int | None:
    """The number of the signal that the running ``deferred`` block has noted; None for none."""
    return _deferrals[-1].signal if _deferrals else None


@contextmanager
def handlers_kept() -> Iterator[None]:
    """Put the handlers of signals back after a block in which a library sets its own."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                signal.signal(number, handler)


def outlast_signals() -> None:
    """Let a worker process work on for some seconds after a signal, until its parent has ended what it is doing.

    A time limit and Ctrl+C are sent to a whole group of processes; without its workers the parent could not finish the
    step.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "alarm"):  # Windows has none, and no groups either
        signal.signal(signal.SIGTERM, lambda *_: signal.alarm(GRACE))


@contextmanager
def _handlers(handlers: dict[signal.Signals, Any]) -> Iterator[list[signal.Signals]]:
    """Set handlers during a block, in place of Python's or this module's own; yields the signals that were taken."""
    before: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for number, handler in handlers.items():
            there = signal.getsignal(number)
            if there in _OWN or getattr(there, "__module__", "") == __name__:
                before[number] = there
                signal.signal(number, handler)
    try:
        yield [*before]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end_when_unheard() -> None:
    """End a loader's worker process that can't hand a batch on, as with no file handle left.

    Python prints the error and goes on without the batch, for which the loader would wait for ever; of a worker that
    has ended, the loader says so.
    """
    from multiprocessing.queues import Queue

    Queue._on_queue_feeder_error = staticmethod(_end)  # type: ignore[attr-defined]


def _end(error: BaseException, _: object) -> None:
    print(f"A worker process can't hand on what it has read: {error}.", file=sys.stderr, flush=True)
    os._exit(1)
