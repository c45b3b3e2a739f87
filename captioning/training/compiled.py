"""``compile=true``: what of a training step could gain by torch.compile.

The products are the same; what a compiler gains lies between them. A decoder's loop over words as a whole cannot be
compiled: how many captions still have a word differs from step to step and from batch to batch, and each of these
shapes would be compiled anew. Nor do the cells gain, whose few sums of ``(N, H)`` numbers cost less than the guards of
a compiled function. What could gain is the attention, which goes over ``(N, L, A)`` numbers at every word: one kernel
for any N. On two CPU cores it does not (0.97 of the plain rate); on a GPU it has not been measured.
"""

import logging
import os
import shutil

from captioning.core.errors import CaptioningError
from captioning.decoders import Decoder
from captioning.decoders.attention import AdditiveAttention

log = logging.getLogger(__name__)


def compile_attention(decoder: Decoder) -> None:
    """Compile a decoder's attention for training; search and validation stay as they are.

    Raises:
        CaptioningError: there is no C++ compiler.
    """
    compilers = [os.environ.get("CXX", "g++"), "g++", "clang++"]
    if not any(shutil.which(compiler) for compiler in compilers):
        raise CaptioningError("compile=true needs a C++ compiler: install g++, or set compile=false.")
    parts = [part for part in decoder.modules() if isinstance(part, AdditiveAttention)]
    if not parts:
        log.info(
            "compile=true: %s has no attention, and nothing else of it gains by torch.compile.", type(decoder).__name__
        )
    for part in parts:
        part.compile(dynamic=True)
