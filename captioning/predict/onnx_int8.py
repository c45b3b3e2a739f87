"""ONNX graphs in 8 bits, by onnxruntime.

The encoder's activations and weights become whole numbers of 8 bits, with scales that the activations of a few
photographs fix ("static": Jacob et al. 2018, arXiv 1712.05877, section 2; a scale for each channel of a weight). A
decoder's matrices do, too, and what they are multiplied with gets its scale at each product ("dynamic"), since what a
recurrent state holds differs from word to word. Everything else stays in single precision.
"""

import logging
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from captioning.core.errors import CaptioningError
from captioning.core.images import ImageTransform

if TYPE_CHECKING:
    import numpy as np

ENOUGH = 128  # photographs fix the scales
LEAST = 8  # photographs: the largest activations of fewer say little of others'

log = logging.getLogger(__name__)


def pictures_for_scales(transform: ImageTransform, photographs: Sequence[Path]) -> list[Tensor]:
    """What an encoder sees of some photographs, for ``to_int8``.

    Args:
        transform: the encoder's transform.
        photographs: photographs such as the captioner will see, of which 128, evenly spaced, are read; one that can't
            be read is left out, with a warning.

    Returns:
        Images, uint8 ``(3, height, width)``.

    Raises:
        CaptioningError: onnxruntime is not installed, or fewer than eight photographs can be read.
    """
    try:
        import_module("onnxruntime")
        import_module("onnx")
    except ImportError as error:
        raise CaptioningError('Graphs in 8 bits are written by onnxruntime: pip install "captioning[onnx]".') from error
    pictures, count = [], min(len(photographs), ENOUGH)
    for place in range(count):
        try:
            pictures.append(transform.read(photographs[place * len(photographs) // count]))
        except CaptioningError as error:
            log.warning("%s", error)
    if len(pictures) < LEAST:
        raise CaptioningError(
            f"The scales of 8 bits need {LEAST} photographs or more, better {ENOUGH}, such as the captioner will see; "
            f"{len(pictures)} can be read here."
        )
    return pictures


def to_int8(encoder: Path, decoder: Sequence[Path], pictures: Sequence[Tensor]) -> None:
    """Bring graphs to 8 bits, in their places.

    Args:
        encoder: the encoder's graph.
        decoder: the decoder's graphs.
        pictures: what ``pictures_for_scales`` has read.
    """
    _quantize_encoder(encoder, pictures)
    for path in decoder:
        _quantize_decoder(path)


def _quantize_encoder(path: Path, pictures: Sequence[Tensor]) -> None:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Pictures(CalibrationDataReader):  # type: ignore[misc]
        """The encoder's input for each picture."""

        def __init__(self) -> None:
            self.pictures = iter(pictures)

        def get_next(self) -> "dict[str, np.ndarray[Any, Any]] | None":
            picture = next(self.pictures, None)
            return None if picture is None else {"image": picture.unsqueeze(0).contiguous().numpy()}

    quant_pre_process(path, path, skip_symbolic_shape=True)
    quantize_static(
        path,
        path,
        Pictures(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )


def _quantize_decoder(path: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(path, path, weight_type=QuantType.QInt8, per_channel=True)
