"""The setting ``compile=true``: torch.compile for the parts of a training step that gain by it.

A compiler leaves the products as they are and gains time between the products. In a captioner the products take three
quarters of a step, and the loop over words cannot be compiled: the number of captions that still have a word differs
from step to step and from batch to batch, and each of these shapes would be compiled anew. So the attention alone is
compiled, which computes ``(N, L, A)`` numbers at every word: one kernel for any N. The attention gains little on a CPU,
and a captioner without attention nothing.

The streams of a text have one length, so a language model's loop itself is compiled, a block of steps at a time. The
smaller the network, the larger the fraction of time between the products, and the larger the gain. An LSTM in single
precision on a CPU is oneDNN's own, and has nothing to compile.
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
    """Compile the parts that gain by it in training: a language model's steps, any other decoder's attention.

    Search and validation are not compiled.

    Args:
        module: a decoder after ``make_fast``.

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
            "compile=true: %s has no additive attention, and nothing else of it gains by torch.compile.",
            type(module).__name__,
        )
    for attention in attentions:
        attention.compile(dynamic=True)


def _begin() -> None:
    """Check that there is a compiler, and drop the functions that earlier runs of a sweep have compiled."""
    compilers = [os.environ.get("CXX", "g++"), "g++", "clang++"]
    if not any(shutil.which(compiler) for compiler in compilers):
        raise CaptioningError("compile=true needs a C++ compiler: install g++, or set compile=false.")
    torch.compiler.reset()  # torch keeps at most eight versions of a function, and would not compile the next
