"""A captioner as ONNX graphs, which need no torch: ``encoder.onnx``, ``start.onnx``, ``step.onnx``, ``captioner.json``.

The graphs are of one photograph with S sequences (beams); ``examples/onnx_caption.py`` searches with them.

- ``encoder``: ``image``, uint8 ``(1, 3, height, width)``, to the features that the decoder reads.
- ``start``: the features to ``log_probs (1, 1, V)`` of the first word, and the state after START: its image's part,
  which never changes, and its sequences' part. START is in here, since the state of some decoders loses parts with the
  first word, and from then on has the same parts at every word.
- ``step``: ``tokens (1, S)`` and the state to ``log_probs (1, S, V)`` of the next word and the next sequences' part.

Dimensions: S sequences, V vocabulary.
"""

import copy
import json
import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from captioning.core.errors import CaptioningError
from captioning.core.features import Features
from captioning.core.ownership import output
from captioning.core.state import State
from captioning.core.vocabulary import END, START
from captioning.encoders.several import Several
from captioning.predict.captioner import Captioner
from captioning.predict.onnx_int8 import to_int8
from captioning.runs.parts import make_search
from captioning.search import Beam, Greedy
from captioning.search.search import NEVER_SAID

GRAPHS = ("encoder", "start", "step")
SETTINGS = "captioner.json"
UNTOLD = ("block_ngrams", "remove_bad_endings")  # settings of a search that the file of settings has no place for
BEAMS = 3  # of the traced example; any number runs

log = logging.getLogger(__name__)
M = TypeVar("M", bound=nn.Module)


def write_onnx(captioner: Captioner, folder: Path, pictures: Sequence[Tensor] | None = None) -> list[Path]:
    """Write a captioner as ONNX graphs and JSON, all graphs or none.

    Args:
        captioner: the captioner, on the CPU; no ensemble.
        folder: the folder, which is made if it is missing.
        pictures: pictures that fix the scales of 8 bits (``captioning.predict.onnx_int8.pictures_for_scales``); None
            for graphs in single precision.

    Returns:
        The files.

    Raises:
        CaptioningError: the packages are not installed, or the captioner can't be written so.
    """
    _require_packages()
    with tempfile.TemporaryDirectory() as place:
        written = {name: Path(place) / f"{name}.onnx" for name in GRAPHS}
        with torch.no_grad(), _quiet():
            for graph in graphs_of(captioner):
                _export(graph, written[graph.name])
            if pictures is not None:
                encoder, *decoder = written.values()
                to_int8(encoder, decoder, pictures)
        for path in written.values():
            with output(folder / path.name, "wb") as file:
                file.write(path.read_bytes())
    _write_settings(captioner, folder)
    return [*(folder / f"{name}.onnx" for name in GRAPHS), folder / SETTINGS]


@dataclass(frozen=True)
class Graph:
    """A part of a captioner before it is written.

    Attributes:
        name: the name in ``GRAPHS``.
        module: what the graph computes.
        arguments: an example of its inputs.
        inputs: the names of the inputs.
        outputs: the names of the outputs.
        dynamic: the dimensions of each input that vary, as ``torch.onnx.export`` takes them.
    """

    name: str
    module: nn.Module
    arguments: tuple[Tensor, ...]
    inputs: list[str]
    outputs: list[str]
    dynamic: Any = None


@torch.no_grad()
def graphs_of(captioner: Captioner) -> list[Graph]:
    """The three graphs of a captioner, not yet written.

    Args:
        captioner: the captioner, on the CPU; no ensemble.

    Raises:
        CaptioningError: the captioner can't be written so.
    """
    if not hasattr(captioner.decoder, "word_layer"):
        raise CaptioningError("An ensemble is no single graph: export its members, or their mean weights.")
    if isinstance(captioner.encoder, Several):
        raise CaptioningError("Several encoders side by side are no single graph: export a captioner with one encoder.")
    encoder, decoder = _plain(captioner.encoder.fused()), _plain(captioner.decoder)
    parts, spec = list(captioner.decoder.reads), captioner.encoder.spec
    varying = [part for part in parts if part in spec.varying]
    if varying:
        raise CaptioningError(f"Photographs differ in their numbers of {varying[0]}, which the graphs can't express.")
    image = captioner.encoder.picture().cpu()
    encode, start = _Encode(encoder, parts), _Start(decoder, parts)
    features = encode(image)
    state = start.state(*features)
    tokens = torch.full((1, BEAMS), END)
    several = state.reorder(torch.zeros(1, BEAMS, dtype=torch.long))
    _, later = decoder.step(tokens, several)
    of_image, of_sequence = list(state.image), list(state.sequence)
    step = _Step(decoder, of_image, of_sequence)
    beams = torch.export.Dim.DYNAMIC
    growing = {name: _grown(several.sequence[name], later.sequence[name]) for name in of_sequence}
    shapes = [{} for _ in of_image] + [{1: beams, **dict.fromkeys(growing[name], beams)} for name in of_sequence]
    given = (tokens, *state.image.values(), *several.sequence.values())
    read = _numbered("features", parts)
    images, sequences = _numbered("image", of_image), _numbered("sequence", of_sequence)
    after = [f"next_{name}" for name in sequences]
    return [
        Graph("encoder", encode, (image,), ["image"], read),
        Graph("start", start, features, read, ["log_probs", *images, *sequences]),
        Graph(
            *("step", step, given, ["tokens", *images, *sequences], ["log_probs", *after]), ({1: beams}, tuple(shapes))
        ),
    ]


class _Encode(nn.Module):
    def __init__(self, encoder: nn.Module, parts: Sequence[str]) -> None:
        super().__init__()
        self.encoder, self.parts = encoder, parts

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        encoder: Any = self.encoder
        features = encoder._raw(image)
        found = (features[part] for part in self.parts)
        return tuple(part.flatten(2).transpose(1, 2) if part.dim() == 4 else part for part in found)


class _Start(nn.Module):
    def __init__(self, decoder: nn.Module, parts: Sequence[str]) -> None:
        super().__init__()
        self.decoder, self.parts = decoder, parts

    def first(self, *features: Tensor) -> tuple[Tensor, State]:
        decoder: Any = self.decoder
        state = decoder.start(Features(**dict(zip(self.parts, features, strict=True))))
        found: tuple[Tensor, State] = decoder.step(torch.full((1, 1), START), state)
        return found

    def state(self, *features: Tensor) -> State:
        return self.first(*features)[1]

    def forward(self, *features: Tensor) -> tuple[Tensor, ...]:
        logits, state = self.first(*features)
        return (logits.log_softmax(-1), *state.image.values(), *state.sequence.values())


class _Step(nn.Module):
    def __init__(self, decoder: nn.Module, image: Sequence[str], sequence: Sequence[str]) -> None:
        super().__init__()
        self.decoder, self.image, self.sequence = decoder, image, sequence

    def forward(self, tokens: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        decoder: Any = self.decoder
        image = dict(zip(self.image, state, strict=False))
        sequence = dict(zip(self.sequence, state[len(self.image) :], strict=True))
        logits, after = decoder.step(tokens, State(image, sequence))
        return (logits.log_softmax(-1), *(after.sequence[name] for name in self.sequence))


def _plain(module: M) -> M:
    """A copy with the plain class of each part in place of the fast one (``captioning.speed``)."""
    copied = copy.deepcopy(module).requires_grad_(False)
    for part in copied.modules():
        plain = getattr(type(part), "plain_class", None)
        if plain is not None:
            part.__class__ = plain
    return copied.eval()


def _grown(before: Tensor, after: Tensor) -> list[int]:
    """The dimensions in which a part of the state grows with every word."""
    return [place for place, (one, other) in enumerate(zip(before.shape, after.shape, strict=True)) if one != other]


def _numbered(kind: str, names: Sequence[str]) -> list[str]:
    return [f"{kind}_{number}" for number in range(len(names))]


def _export(graph: Graph, path: Path) -> None:
    program = torch.onnx.export(
        graph.module,
        graph.arguments,
        dynamo=True,
        input_names=graph.inputs,
        output_names=graph.outputs,
        dynamic_shapes=graph.dynamic,
        verbose=False,
    )
    assert program is not None
    with output(path, "wb") as file:
        file.write(program.model_proto.SerializeToString())


def _write_settings(captioner: Captioner, folder: Path) -> None:
    search = make_search(captioner.config)
    lost = [f"search.{name}={value}" for name in UNTOLD if (value := getattr(search, name, False))]
    if type(search) not in (Beam, Greedy):
        lost.append(f"the search {type(search).__name__}")
    if lost:
        log.warning("%s holds a greedy or beam search without %s.", folder / SETTINGS, ", ".join(lost))
    settings = {
        "vocabulary": captioner.vocabulary.words,
        "start": START,
        "end": END,
        "never_said": list(NEVER_SAID),
        "transform": captioner.encoder.transform.to_dict(),
        "search": {
            "beam": search.size if isinstance(search, Beam) else 1,
            "length_penalty": search.length_penalty if isinstance(search, Beam) else 0.0,
            "max_length": search.max_length,
        },
    }
    with output(folder / SETTINGS) as file:
        json.dump(settings, file, ensure_ascii=False, indent=1)
        file.write("\n")


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter, and the quantizer by the root logger, say of their own workings."""
    names = ("torch.onnx", "onnxscript", "onnx_ir", "torch.export", "torch.__trace", "root")
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _require_packages() -> None:
    try:
        import_module("onnxscript")
    except ImportError as error:
        raise CaptioningError('ONNX graphs are written by onnxscript: pip install "captioning[onnx]".') from error
