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
from torch import nn

from captioning.core.errors import CaptioningError
from captioning.decoders import LanguageModel
from captioning.speed.attention import FastAttention
from captioning.speed.recurrence import FastCell

log = logging.getLogger(__name__)


def compile_parts(module: nn.Module) -> None:
    """Compile for training what gains by it: a language model's steps, any other decoder's attention.

    Search and validation stay as they are.

    Args:
        module: a decoder that has been made fast.

    Raises:
        CaptioningError: there is no C++ compiler.
    """
    _begin()
    if isinstance(module, LanguageModel):
        for part in module.modules():
            if isinstance(part, FastCell):
                part.compile_steps()
        return
    attentions = [part for part in module.modules() if isinstance(part, FastAttention)]
    if not attentions:
        log.info(
            "compile=true: %s has no attention, and nothing else of it gains by torch.compile.", type(module).__name__
        )
    for attention in attentions:
        attention.compile(dynamic=True)


def _begin() -> None:
    """Check that there is a compiler, and forget what runs before this one in a sweep have compiled."""
    compilers = [os.environ.get("CXX", "g++"), "g++", "clang++"]
    if not any(shutil.which(compiler) for compiler in compilers):
        raise CaptioningError("compile=true needs a C++ compiler: install g++, or set compile=false.")
    torch.compiler.reset()  # of one function it keeps no more than eight versions, and would run the next one plainly
