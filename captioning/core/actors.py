"""Work by several processes, on one machine or many: Ray Data hands pieces of it to actors.

Ray starts an actor that has died again, and hands its piece to an actor once more.
"""

import logging
from collections.abc import Callable, Generator, Iterable
from typing import Any, TypeVar

from captioning.core.errors import CaptioningError
from captioning.core.signals import handlers_kept

R = TypeVar("R")


class Actor:
    """A process that is made ready once, for Ray Data's ``map_batches``."""

    def __init__(self, make: Callable[[], Callable[[Any], Any]]) -> None:
        """Get ready, see ``map_by_actors``."""
        logging.getLogger("captioning").setLevel(logging.WARNING)
        self.work = make()

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Do some pieces of work."""
        return {"done": [self.work(piece) for piece in batch["piece"]]}


def map_by_actors(
    make: Callable[[], Callable[[Any], R]], pieces: Iterable[Any], actors: int, device: str
) -> Generator[R, None, None]:
    """Yield the results of pieces of work in the order in which they are finished.

    Args:
        make: a function, called once by every actor, that returns the function from a piece to its result. All of them
            travel to the actors by pickle; paths in them are the same on every machine.
        pieces: the pieces.
        actors: the number of actors, each with one processor or, for a device ``cuda``, one GPU.
        device: the name of the device that an actor computes on.

    Raises:
        CaptioningError: Ray is not installed, an actor raised a ``CaptioningError`` (its sentence), or Ray could not
            finish.
    """
    if actors < 1:
        raise CaptioningError(f"--ray {actors}: take 1 process or more.")
    try:
        import ray
    except ImportError as error:
        raise CaptioningError("--ray needs Ray: pip install 'captioning[ray]'.") from error
    given = [{"piece": piece} for piece in pieces]
    if not given:
        return
    ours = not ray.is_initialized()
    if ours:
        with handlers_kept():  # at SIGTERM, Ray's would abort without an end to what is being written
            ray.init(log_to_driver=False, logging_level=logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    share: dict[str, Any] = {"num_gpus": 1} if device.startswith("cuda") else {"num_cpus": 1}
    rows = ray.data.from_items(given, override_num_blocks=len(given)).map_batches(
        Actor,
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=actors),
        fn_constructor_args=(make,),
        **share,
    )
    try:
        for row in rows.iter_rows():
            yield row["done"]
    except ray.exceptions.RayError as error:
        raise CaptioningError(_reason(error)) from error
    finally:
        if ours:
            ray.shutdown()  # its processes would go on beside a program that works once


def _reason(error: BaseException) -> str:
    """The sentence of a ``CaptioningError`` of an actor, or Ray's own last line."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, CaptioningError):
            return str(cause)
        cause = getattr(cause, "cause", None) or cause.__cause__
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"Ray could not finish: {lines[-1] if lines else error!r}"
