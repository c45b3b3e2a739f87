"""The number of photographs that a captioner captions in a second."""

import time
from collections.abc import Sequence
from pathlib import Path

from captioning.predict.captioner import Captioner
from captioning.search import Search

MOST = 128  # photographs that are captioned for a measurement


def photographs_per_second(
    captioner: Captioner, paths: Sequence[Path], search: Search | None = None, batch_size: int = 16
) -> float:
    """The rate from files to captions: reading, resizing, encoder and search.

    One batch goes before the measurement.

    Args:
        captioner: the captioner.
        paths: one or more photographs, of which the first 128 are captioned.
        search: the search; None for the search of the captioner's configuration.
        batch_size: the number of photographs per batch.
    """
    chosen = list(paths[:MOST])
    for _ in captioner.caption(chosen[:batch_size], search, batch_size):
        pass
    began = time.perf_counter()
    count = sum(1 for _ in captioner.caption(chosen, search, batch_size))
    return count / (time.perf_counter() - began)
