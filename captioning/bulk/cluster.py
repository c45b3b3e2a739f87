"""Captions by several processes, on one machine or many: shards are handed to actors by Ray Data.

Each actor loads the captioner once, and writes finished shards as one process does (``captioning.bulk.captions``). Ray
starts an actor that has died again, and hands its shard to an actor once more; the shard goes on from its last row.
"""

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from captioning.bulk.captions import Bulk, Written, caption_shard, total
from captioning.bulk.sources import Shard
from captioning.core.errors import CaptioningError
from captioning.predict.captioner import Captioner


class Actor:
    """A process with a captioner, for Ray Data's ``map_batches``."""

    def __init__(self, loading: Mapping[str, Any], settings: Mapping[str, Any], folder: str) -> None:
        """Load the captioner, see ``caption_by_actors``."""
        logging.getLogger("captioning").setLevel(logging.WARNING)
        self.bulk = Bulk(Captioner.load(**loading), **settings)
        self.folder = Path(folder)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Caption the shards of a batch."""
        written = [caption_shard(self.bulk, shard, self.folder) for shard in batch["shard"]]
        return {name: [getattr(each, name) for each in written] for name in ("pictures", "before", "problems")}


def caption_by_actors(
    shards: Iterable[Shard],
    folder: Path,
    actors: int,
    loading: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> Written:
    """Caption shards by several actors into a folder that ``begin_folder`` has claimed.

    Args:
        shards: the shards.
        folder: the folder, the same on every machine.
        actors: the number of actors, each with one processor or, for ``cuda``, one GPU.
        loading: the arguments of ``Captioner.load``; its paths are the same on every machine.
        settings: the arguments of ``Bulk`` besides the captioner.

    Raises:
        CaptioningError: Ray is not installed, or a shard can't be captioned.
    """
    if actors < 1:
        raise CaptioningError(f"--ray {actors}: take 1 actor or more.")
    try:
        import ray
    except ImportError as error:
        raise CaptioningError("--ray needs Ray: pip install 'captioning[ray]'.") from error
    ours = not ray.is_initialized()
    if ours:
        ray.init(log_to_driver=False, logging_level=logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    share: dict[str, Any] = {"num_gpus": 1} if str(loading["device"]).startswith("cuda") else {"num_cpus": 1}
    rows = ray.data.from_items([{"shard": shard} for shard in shards]).map_batches(
        Actor,
        batch_size=1,
        concurrency=actors,
        fn_constructor_args=(loading, settings, str(folder)),
        **share,
    )
    try:
        return total(Written(**row) for row in rows.iter_rows())
    except ray.exceptions.RayError as error:
        raise CaptioningError(_reason(error)) from error
    finally:
        if ours:
            ray.shutdown()  # its processes would go on beside a program that captions once


def _reason(error: BaseException) -> str:
    """The sentence of a ``CaptioningError`` of an actor, or Ray's own last line."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, CaptioningError):
            return str(cause)
        cause = getattr(cause, "cause", None) or cause.__cause__
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"Ray could not finish: {lines[-1] if lines else error!r}"
