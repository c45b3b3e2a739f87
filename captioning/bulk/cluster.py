"""Captions by several processes, on one machine or many: shards are handed to actors (``captioning.core.actors``).

Each actor loads the captioner once, and writes finished shards as one process does (``captioning.bulk.captions``). The
shard of an actor that has died goes on from its last row.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from captioning.bulk.captions import Bulk, Written, caption_shard, total
from captioning.bulk.sources import Shard
from captioning.core.actors import map_by_actors
from captioning.predict.captioner import Captioner


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
    make = partial(_make, loading, settings, folder)
    return total(map_by_actors(make, shards, actors, str(loading["device"])))


def _make(loading: Mapping[str, Any], settings: Mapping[str, Any], folder: Path) -> Callable[[Shard], Written]:
    return partial(caption_shard, Bulk(Captioner.load(**loading), **settings), folder=folder)
