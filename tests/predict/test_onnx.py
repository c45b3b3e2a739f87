"""ONNX graphs say what the captioner says.

Written, they are tried of three captioners, since writing takes ten seconds; not yet written, of every decoder with one
cell, and of every cell. ``tests/onnx_every_decoder.py`` writes those of every decoder with every cell, by hand.
"""

import ast
import importlib.util
import json
import sys
from pathlib import Path
from types import SimpleNamespace
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
from captioning.encoders.several import Several
from captioning.jobs.config import compose, conf_dir
from captioning.predict.onnx import Graph, _write_settings, graphs_of, write_onnx
from captioning.predict.onnx_int8 import pictures_for_scales
from captioning.runs import parts
from captioning.search import Beam, Greedy

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "onnx_caption.py"
WORDS = ("a", "red", "ball", "box", "star", "on", "the", "grass")
TINY = ["encoder=none", "decoder.embedding_size=8", "search=greedy", "search.max_length=6"]
# settings of a decoder; several lists make several captioners of one file
SETTINGS: dict[str, list[list[str]]] = {
    "lrcn": [["factored=false"], ["factored=true"]],
    "neuraltalk": [["inject=first"], ["inject=every", "depth=2"]],
    "show_tell": [["image_norm=null", "tied=true"], ["image_norm=batch"], ["image_norm=layer"]],
    "show_attend_tell": [["attention=soft"], ["attention=hard"]],
    "attention_on_attention": [["heads=2", "refining_layers=2"]],
    "s2vt": [["reads_from=grid"]],
    "attend_states": [["attends=grid", "reader_size=8"]],
    "transformer": [["heads=2", "depth=2", "feed_forward_size=8"]],
}
NO_CAPTIONERS = ("base", "_recurrent", "language_model")
WITHOUT_CELLS = ("transformer",)


def names(group: str) -> list[str]:
    return sorted(file.stem for file in (conf_dir() / group).glob("*.yaml"))


CELLS = names("cell")
CAPTIONERS = [name for name in names("decoder") if name not in NO_CAPTIONERS]


def kinds() -> dict[str, list[list[str]]]:
    """Each captioner of ``conf/decoder``: the settings that make a small one, with each cell in turn."""
    found = {}
    for name in CAPTIONERS:
        for settings in SETTINGS.get(name, [[]]):
            chosen = [f"decoder={name}", *(f"decoder.{each}" for each in settings)]
            with_cells = [[*chosen, "decoder.hidden_size=8", f"cell={cell}"] for cell in CELLS]
            found["-".join([name, *settings])] = [chosen] if name in WITHOUT_CELLS else with_cells
    return found


class Patches(Encoder):
    """One convolution: its graph is written fast."""

    def __init__(self, fit: Any = "squash") -> None:
        torch.manual_seed(0)
        super().__init__(nn.Conv2d(3, 8, 8, stride=8), image_size=(24, 32), fit=fit)

    def encode(self, images: Tensor) -> Features:
        maps = self.backbone(images)
        return Features(grid=maps, pooled=maps.mean((2, 3)))


def babbler(settings: list[str], *overrides: str, fit: str = "squash", seed: int = 2) -> Captioner:
    config = compose([*settings, *overrides])
    encoder, vocabulary = Patches(fit), Vocabulary([*SPECIAL, *WORDS])
    torch.manual_seed(seed)
    decoder = parts.make_decoder(config, vocabulary, encoder.spec)
    with torch.no_grad():
        for name, parameter in decoder.named_parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 1.0)  # larger ones make a rounding another word
            elif name.endswith("bias"):
                parameter.zero_()
        decoder.word_layer.bias[END] = 1.0
    return Captioner(encoder, decoder, vocabulary, config)


def draw_photos(folder: Path, count: int = 40) -> list[Path]:
    """Pictures of several sizes; the first has the encoder's."""
    rng, paths = np.random.default_rng(0), []
    for number in range(count):
        low = (rng.random((4, 4, 3)) * rng.random(3) * 255).astype(np.uint8)
        size = (24 + 5 * (number % 7), 32 + 3 * (number % 5)) if number else (32, 24)
        paths.append(folder / f"{number}.png")
        Image.fromarray(low).resize(size, Image.Resampling.BICUBIC).save(paths[-1])
    return paths


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return draw_photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def example() -> Any:
    pytest.importorskip("onnxscript", reason="needs captioning[onnx]")
    pytest.importorskip("onnxruntime", reason="needs captioning[onnx]")
    spec = importlib.util.spec_from_file_location("onnx_caption", EXAMPLE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class NotWritten:
    """In the place of a session of onnxruntime: a graph that is not yet written."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    def get_inputs(self) -> list[Any]:
        return [SimpleNamespace(name=name) for name in self.graph.inputs]

    def get_outputs(self) -> list[Any]:
        return [SimpleNamespace(name=name) for name in self.graph.outputs]

    @torch.no_grad()
    def run(self, names: None, inputs: dict[str, Any]) -> list[Any]:
        for each, example in zip(self.graph.inputs, self.graph.arguments, strict=True):
            assert inputs[each].dtype == example.numpy().dtype
        found = self.graph.module(*(torch.tensor(inputs[each]) for each in self.graph.inputs))
        return [each.numpy() for each in found]


def differing(captioner: Captioner, photos: list[Path], without_torch: Any) -> tuple[list[str], int]:
    """The captions, greedy and by beam, that the graphs say differently, and the number of different captions."""
    wrong, said = [], set()
    penalty = without_torch.settings["search"]["length_penalty"]
    for beam, search in ((1, Greedy(max_length=6)), (4, Beam(4, max_length=6, length_penalty=penalty))):
        expected = captioner(photos, search)
        found = [without_torch(path, beam) for path in photos]
        wrong += [f"{one} / {other}" for one, other in zip(expected, found, strict=True) if one != other]
        said |= set(expected)
    return wrong, len(said)


@pytest.mark.parametrize(
    "overrides",
    [
        ["decoder=show_attend_tell", "decoder.attention_size=8", "decoder.hidden_size=8", "cell=lstm"],
        ["decoder=neuraltalk", "decoder.inject=first", "decoder.hidden_size=8", "cell=gru"],
        ["decoder=s2vt", "decoder.reads_from=grid", "decoder.hidden_size=8", "cell=rnn"],
    ],
    ids=["attention", "image first", "reads first"],
)
def test_the_graphs_say_what_the_captioner_says(
    photos: list[Path], example: Any, tmp_path: Path, overrides: list[str]
) -> None:
    """By each search, and by that of the settings: a beam with a length penalty, over a photograph's middle."""
    trained = ["search=beam", "search.size=3", "search.length_penalty=0.9"]
    captioner = babbler(TINY, *overrides, *trained, fit="crop")
    files = write_onnx(captioner, tmp_path)
    assert [file.name for file in files] == ["encoder.onnx", "start.onnx", "step.onnx", "captioner.json"]
    without_torch = example.Captioner(tmp_path)
    wrong, said = differing(captioner, photos, without_torch)
    assert wrong == [] and said > 3
    assert [without_torch(path) for path in photos] == captioner(photos) != captioner(photos, Beam(3, max_length=6))
    settings = json.loads((tmp_path / "captioner.json").read_text("utf-8"))
    assert settings["vocabulary"] == captioner.vocabulary.words
    assert settings["search"] == {"beam": 3, "length_penalty": 0.9, "max_length": 6}
    if overrides[0] == "decoder=show_attend_tell":  # products in 8 bits are the same in every decoder
        in_eight_bits_they_say_nearly_the_same(captioner, photos, without_torch, example, tmp_path)


def in_eight_bits_they_say_nearly_the_same(
    captioner: Captioner, photos: list[Path], in_single: Any, example: Any, folder: Path
) -> None:
    """The random weights of these captioners are large, and their captions close to one another."""
    onnx = pytest.importorskip("onnx", reason="needs captioning[onnx]")
    write_onnx(captioner, folder, pictures_for_scales(captioner.encoder.transform, photos))
    in_eight = example.Captioner(folder)
    graphs = {name: onnx.load(folder / f"{name}.onnx").graph for name in ("encoder", "start", "step")}
    for name, graph in graphs.items():
        operations = {"DequantizeLinear"} if name == "encoder" else {"DynamicQuantizeLinear", "MatMulInteger"}
        assert {node.op_type for node in graph.node} >= operations, name
    scales = [each for each in graphs["encoder"].initializer if each.name.endswith("weight_scale")]
    assert [list(each.dims) for each in scales] == [[8]]  # one for each channel of the convolution
    errors, equal = [], 0
    for path in photos:
        features, exact = (each.run("encoder", image=each.pixels(path)) for each in (in_eight, in_single))
        for name, part in exact.items():
            errors.append(np.abs(features[name] - part).max() / np.abs(part).max())
        equal += in_eight(path) == in_single(path)
    assert 0 < max(errors) < 0.03
    assert equal >= 30


def test_eight_bits_need_photographs(
    tmp_path: Path, photos: list[Path], capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """All is refused before anything is written; a photograph that can't be read is left out."""
    (tmp_path / "broken.png").write_bytes(photos[0].read_bytes()[:60])
    assert len(pictures_for_scales(Patches().transform, [tmp_path / "broken.png", *photos])) == len(photos)
    assert "broken.png" in caplog.text
    many = pictures_for_scales(Patches().transform, [photos[place % 40] for place in range(500)])
    assert len(many) == 128
    with pytest.raises(CaptioningError, match=r"8 photographs or more, better 128, .* 7 can be read here"):
        pictures_for_scales(Patches().transform, [tmp_path / "broken.png", *photos[:7]])
    inside = ["export", "captioning/pretrained", "--onnx", str(tmp_path / "a"), "--pretrained", str(tmp_path / "b")]
    for wrong in ("", str(tmp_path / "none*.jpg"), str(tmp_path)):
        assert main([*inside, "--int8", wrong]) in (1, 2), wrong
    assert not (tmp_path / "a").exists() and not (tmp_path / "b").exists()


def test_several_encoders_are_no_graph() -> None:
    captioner = babbler(TINY, "decoder=show_tell", "decoder.hidden_size=8")
    captioner.encoder = Several({"one": captioner.encoder, "other": Patches()})
    with pytest.raises(CaptioningError, match="Several encoders side by side are no single graph"):
        graphs_of(captioner)


def few() -> dict[str, list[str]]:
    """Each captioner with one cell, in turn, so that each cell has its captioner."""
    return {name: each[place % len(each)] for place, (name, each) in enumerate(kinds().items())}


@pytest.mark.parametrize("name", few())
def test_the_parts_of_every_decoder_say_what_the_captioner_says(
    name: str, photos: list[Path], example: Any, tmp_path: Path
) -> None:
    drawn = (babbler(TINY, *few()[name], seed=seed) for seed in range(20))
    captioner = next(each for each in drawn if len(set(each(photos[:12]))) > 1)  # some say the same of every picture
    _write_settings(captioner, tmp_path)
    without_torch = object.__new__(example.Captioner)
    without_torch.settings = json.loads((tmp_path / "captioner.json").read_text("utf-8"))
    without_torch.graphs = {graph.name: NotWritten(graph) for graph in graphs_of(captioner)}
    wrong, said = differing(captioner, photos[:12], without_torch)
    assert wrong == [] and said > 1


def test_every_cell_has_its_captioner() -> None:
    assert {each[-1] for each in few().values()} >= {f"cell={cell}" for cell in CELLS}


def test_what_a_search_loses_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    beam = ["search=beam", "search.block_ngrams=2", "search.remove_bad_endings=true"]
    lost = "search.block_ngrams=2, search.remove_bad_endings=True"
    for more, said in ((beam, lost), (["search=sample"], "the search Sample")):
        captioner = babbler(TINY, "decoder=show_tell", "decoder.hidden_size=8", *more)
        _write_settings(captioner, tmp_path)
        assert said in caplog.messages[-1]


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
    assert main(["export", "no", "--hub", "me/it", "--int8", "photos"]) == 2
    assert "--int8 is of --onnx alone" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(CaptioningError, match=r'pip install "captioning\[onnx\]"'):
        pictures_for_scales(Patches().transform, [])
