"""Memory that stays with the process: measured by the pages that it fetches, in a process of its own."""

import gc
import platform
import subprocess
import sys

import pytest

from captioning.core.memory import keep_memory, no_collection

FAULTS = """
import resource
import torch
from captioning.core.memory import keep_memory

for begin in (bool, keep_memory):
    begin()
    for _ in range(20):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.ones(16 * 2**20)  # 64 MB, freed at once
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library than glibc")
def test_freed_memory_is_used_again() -> None:
    """Pages fetched for a large tensor, the last of twenty that were made and freed, without and with."""
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    usual, kept = map(int, done.stdout.split())
    assert kept < 20 < usual  # 16,384 pages, or 32 of two megabytes


def test_another_system_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_memory()


def test_no_collection_ends_with_its_block_whatever_happens() -> None:
    with pytest.raises(KeyError), no_collection():
        assert not gc.isenabled()
        raise KeyError
    assert gc.isenabled()
    gc.disable()
    try:
        with no_collection():
            pass
        assert not gc.isenabled()  # as it was
    finally:
        gc.enable()
