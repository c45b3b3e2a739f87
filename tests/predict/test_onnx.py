"""ONNX graphs say what the captioner says; ``tests/onnx_every_decoder.py`` tries every decoder and cell, by hand."""

import ast
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from captioning import Captioner
from captioning.__main__ import main
from captioning.core.errors import CaptioningError
from captioning.core.features import Features
from captioning.core.vocabulary import END, SPECIAL, Vocabulary
from captioning.encoders import Encoder
from captioning.jobs.config import compose
from captioning.predict.onnx import write_onnx
from captioning.runs import parts
from captioning.search import Beam, Greedy

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "onnx_caption.py"
WORDS = ("a", "red", "ball", "box", "star", "on", "the", "grass")


class Patches(Encoder):
    """One convolution: its graph is written fast."""

    def __init__(self, fit: Any = "squash") -> None:
        torch.manual_seed(0)
        super().__init__(nn.Conv2d(3, 8, 8, stride=8), image_size=(24, 32), fit=fit)

    def encode(self, images: Tensor) -> Features:
        maps = self.backbone(images)
        return Features(grid=maps, pooled=maps.mean((2, 3)))


def babbler(settings: list[str], *overrides: str, fit: str = "squash") -> Captioner:
    config = compose([*settings, *overrides])
    encoder, vocabulary = Patches(fit), Vocabulary([*SPECIAL, *WORDS])
    torch.manual_seed(2)
    decoder = parts.make_decoder(config, vocabulary, encoder.spec)
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.zero_() if parameter.dim() < 2 else parameter.normal_(0, 1.5)
        decoder.word_layer.bias[END] = 1.0
    return Captioner(encoder, decoder, vocabulary, config)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    paths = []
    for number in range(40):
        low = (rng.random((4, 4, 3)) * rng.random(3) * 255).astype(np.uint8)
        size = (24 + 5 * (number % 7), 32 + 3 * (number % 5)) if number else (32, 24)
        paths.append(folder / f"{number}.png")
        Image.fromarray(low).resize(size, Image.Resampling.BICUBIC).save(paths[-1])
    return paths


@pytest.fixture(scope="module")
def example() -> Any:
    pytest.importorskip("onnxscript", reason="needs captioning[onnx]")
    pytest.importorskip("onnxruntime", reason="needs captioning[onnx]")
    spec = importlib.util.spec_from_file_location("onnx_caption", EXAMPLE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("overrides", "fit"),
    [
        (["decoder=show_attend_tell", "decoder.attention_size=8", "cell=lstm"], "crop"),
        (["decoder=neuraltalk", "decoder.inject=first", "cell=gru"], "squash"),
    ],
    ids=["attention", "image first"],
)
def test_the_graphs_say_what_the_captioner_says(
    tiny_settings: list[str], photos: list[Path], example: Any, tmp_path: Path, overrides: list[str], fit: str
) -> None:
    captioner = babbler(tiny_settings, *overrides, fit=fit)
    files = write_onnx(captioner, tmp_path)
    assert [file.name for file in files] == ["encoder.onnx", "start.onnx", "step.onnx", "captioner.json"]
    without_torch = example.Captioner(tmp_path)
    for beam, search in ((1, Greedy(max_length=6)), (4, Beam(4, max_length=6))):
        expected = captioner(photos, search)
        assert [without_torch(path, beam) for path in photos] == expected
        assert len(set(expected)) > 3
    settings = json.loads((tmp_path / "captioner.json").read_text("utf-8"))
    assert settings["vocabulary"] == captioner.vocabulary.words and settings["search"]["max_length"] == 6


def test_the_example_is_short_and_needs_no_torch() -> None:
    text = EXAMPLE.read_text("utf-8")
    assert len(text.splitlines()) < 100
    named = {
        (node.module or "").split(".")[0] if isinstance(node, ast.ImportFrom) else alias.name.split(".")[0]
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert named - set(sys.stdlib_module_names) == {"numpy", "onnxruntime", "PIL"}


def test_an_ensemble_is_no_graph(tiny_settings: list[str], tmp_path: Path) -> None:
    one = babbler(tiny_settings, "decoder=show_tell")
    with pytest.raises(CaptioningError, match="An ensemble is no single graph"):
        write_onnx(Captioner.combine([one, one]), tmp_path)


def test_without_the_extra_a_sentence_says_what_to_install(
    tiny_settings: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(CaptioningError, match=r'pip install "captioning\[onnx\]"'):
        write_onnx(babbler(tiny_settings, "decoder=show_tell"), tmp_path)
    assert main(["export", "no"]) == 2 and "--onnx FOLDER" in capsys.readouterr().err
