"""ONNX graphs in 8 bits, by onnxruntime.

The encoder's activations and weights become whole numbers of 8 bits, with scales that the activations of a few
photographs fix ("static": Jacob et al. 2018, arXiv 1712.05877, section 2; a scale for each channel of a weight). A
decoder's matrices do, too, and what they are multiplied with gets its scale at each product ("dynamic"), since what a
recurrent state holds differs from word to word. Everything else stays in single precision.
"""

import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from captioning.core.errors import CaptioningError
from captioning.core.images import ImageTransform
from captioning.core.ownership import output
from captioning.predict.onnx import GRAPHS

if TYPE_CHECKING:
    import numpy as np

ENOUGH = 128  # photographs fix the scales
LEAST = 8  # photographs: the largest activations of fewer say little of others'


def to_int8(folder: Path, transform: ImageTransform, photographs: Sequence[Path]) -> list[Path]:
    """Bring the graphs that ``write_onnx`` has written to 8 bits, in their places.

    Args:
        folder: the folder of the graphs.
        transform: the encoder's transform.
        photographs: photographs such as the captioner will see; the first 128 are looked at.

    Returns:
        The graphs' files.

    Raises:
        CaptioningError: onnxruntime is not installed, there are fewer than eight photographs, or one can't be read.
    """
    require_quantizer()
    if len(photographs) < LEAST:
        raise CaptioningError(
            f"{len(photographs)} photographs to fix the scales of 8 bits: take {LEAST} or more, better {ENOUGH}, such "
            "as the captioner will see."
        )
    encoder, *decoder = (folder / f"{name}.onnx" for name in GRAPHS)
    with _quiet():
        _quantize_encoder(encoder, transform, photographs[:ENOUGH])
        for path in decoder:
            _quantize_decoder(path)
    return [encoder, *decoder]


def require_quantizer() -> None:
    """Raise a sentence if the packages that write 8 bits are not installed."""
    try:
        import_module("onnxruntime")
        import_module("onnx")
    except ImportError as error:
        raise CaptioningError('Graphs in 8 bits are written by onnxruntime: pip install "captioning[onnx]".') from error


def _quantize_encoder(path: Path, transform: ImageTransform, photographs: Sequence[Path]) -> None:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Pictures(CalibrationDataReader):  # type: ignore[misc]
        """The encoder's input for each photograph."""

        def __init__(self) -> None:
            self.paths = iter(photographs)

        def get_next(self) -> "dict[str, np.ndarray[Any, Any]] | None":
            path = next(self.paths, None)
            return None if path is None else {"image": transform.read(path).unsqueeze(0).contiguous().numpy()}

    with _replaced(path) as small:
        quant_pre_process(path, small, skip_symbolic_shape=True)
        quantize_static(
            small,
            small,
            Pictures(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )


def _quantize_decoder(path: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with _replaced(path) as small:
        quantize_dynamic(path, small, weight_type=QuantType.QInt8, per_channel=True)


@contextmanager
def _replaced(path: Path) -> Iterator[Path]:
    """A file to write, whose content takes the place of another file's in the end."""
    with tempfile.TemporaryDirectory() as folder:
        yield (small := Path(folder) / path.name)
        with output(path, "wb") as file:
            file.write(small.read_bytes())


@contextmanager
def _quiet() -> Iterator[None]:
    """Without onnxruntime's advice, which it logs as warnings."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.setLevel(level)
