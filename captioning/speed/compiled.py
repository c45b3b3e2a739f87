"""``compile=true``: what of a training step gains by torch.compile.

The products are the same; what a compiler gains lies between them. In a captioner the products are three quarters of a
step, and its loop over words cannot be compiled: how many captions still have a word differs from step to step and
from batch to batch, and each of these shapes would be compiled anew. What is left is the attention, which goes over
``(N, L, A)`` numbers at every word: one kernel for any N. It gains little on a CPU, and a captioner without it nothing.

A text is read in streams of one length, so there the loop itself is compiled, a block of steps at a time. The smaller
the network, the more of its time goes between the products, and the more is gained. An LSTM in single precision on a
CPU is oneDNN's own, where there is nothing to compile.
"""

import logging
import os
import shutil

import torch

from captioning.cells import Cell
from captioning.core.errors import CaptioningError
from captioning.decoders import Decoder
from captioning.decoders.attention import AdditiveAttention

log = logging.getLogger(__name__)


def compile_attention(decoder: Decoder) -> None:
    """Compile a decoder's attention for training; search and validation stay as they are.

    Raises:
        CaptioningError: there is no C++ compiler.
    """
    _begin()
    parts = [part for part in decoder.modules() if isinstance(part, AdditiveAttention)]
    if not parts:
        log.info(
            "compile=true: %s has no attention, and nothing else of it gains by torch.compile.", type(decoder).__name__
        )
    for part in parts:
        part.compile(dynamic=True)


def compile_loop(decoder: Decoder) -> None:
    """Compile the steps of a decoder's cells, for training on sequences of one length.

    Raises:
        CaptioningError: there is no C++ compiler.
    """
    _begin()
    for part in decoder.modules():
        if isinstance(part, Cell):
            part.compile_steps()


def _begin() -> None:
    """Check that there is a compiler, and forget what runs before this one in a sweep have compiled."""
    compilers = [os.environ.get("CXX", "g++"), "g++", "clang++"]
    if not any(shutil.which(compiler) for compiler in compilers):
        raise CaptioningError("compile=true needs a C++ compiler: install g++, or set compile=false.")
    torch.compiler.reset()  # of one function it keeps no more than eight versions, and would run the next one plainly
