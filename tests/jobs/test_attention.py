"""Seeing what a captioner looked at: ``captioning caption --attention`` and the pointing game of ``evaluate``."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from captioning.__main__ import main
from captioning.core.images import ImageTransform
from captioning.core.vocabulary import END, SPECIAL, Vocabulary
from captioning.data import read_scenes
from captioning.jobs.config import compose
from captioning.predict.captioner import Caption, Captioner
from captioning.runs import parts
from captioning.runs.checkpoint import own_part
from captioning.search import Beam, Greedy, Sample, Search
from captioning.tasks.captioning.evaluation import play_pointing

Overrides = Callable[..., list[str]]
WORDS = ("a", "red", "ball", "balls", "box", "boxes", "star", "stars", "heart", "hearts", "fish")
ATTENDS = (
    "decoder=show_attend_tell",
    "decoder.attention_size=8",
    "encoder.image_size=[64,96]",
    "encoder.last_stage=layer4",
)  # a grid of 2×3


def untrained(folder: Path, overrides: list[str]) -> Path:
    """The checkpoint of a captioner that babbles and, unless it is cut short, does not end."""
    torch.manual_seed(0)
    config, vocabulary = compose(overrides), Vocabulary([*SPECIAL, *WORDS])
    encoder = parts.make_encoder(config)
    decoder = parts.make_decoder(config, vocabulary, encoder.spec)
    with torch.no_grad():
        decoder.word_layer.bias[END] = -100.0
    modules = torch.nn.ModuleDict({"encoder": encoder, "decoder": decoder})
    path = folder / "untrained.ckpt"
    own = own_part(config, {"vocabulary": vocabulary.words})
    torch.save({"state_dict": modules.state_dict(), "captioning": own}, path)
    return path


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 140, 3), dtype=np.uint8)).save(path)
    return path


@pytest.mark.parametrize(
    "options", [["--beam", "1"], ["--beam", "3"], ["--sample", "--seed", "3"]], ids=["greedy", "beam", "sample"]
)
def test_a_drawing_for_every_search(
    options: list[str], tiny: Overrides, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint, out = untrained(tmp_path, tiny(*ATTENDS)), tmp_path / "out.png"
    photos = [str(photo), str(shutil.copy(photo, tmp_path / "again.jpg"))]
    command = ["caption", *photos, "--checkpoint", str(checkpoint), "--attention", str(out)]
    assert main([*command, "--max-length", "4", "--device", "cpu", *options]) == 0
    captions = [line.split("\t")[1] for line in capsys.readouterr().out.splitlines()]
    assert [len(caption.split()) for caption in captions] == [4, 4]
    with Image.open(out) as drawing, Image.open(tmp_path / "out_2.png") as another:
        assert drawing.size == another.size  # five panels each
        assert drawing.width > drawing.height


@pytest.mark.parametrize("search", [Greedy(4), Beam(3, 4), Sample(4, seed=1)], ids=["greedy", "beam", "sample"])
def test_as_an_array(search: Search, tiny: Overrides, photo: Path, tmp_path: Path) -> None:
    captioner = Captioner.load(untrained(tmp_path, tiny(*ATTENDS)), "cpu")
    (caption,) = captioner.caption(photo, search, attention=True)
    assert caption.attention is not None
    assert caption.attention.shape == (4, 2, 3)
    np.testing.assert_allclose(caption.attention.sum((1, 2)), 1, rtol=1e-5)
    (plain,) = captioner.caption(photo, Greedy(4))
    assert plain.attention is None
    # the same weights as when the decoder is led through these words by hand
    image = ImageTransform((64, 96)).read(photo)
    features = captioner.encoder(image.unsqueeze(0))
    state = captioner.decoder.start(features)
    for word, weights in zip(captioner.vocabulary.encode(caption.text.split()), caption.attention, strict=False):
        _, state = captioner.decoder.step(torch.tensor([[word]]), state)
        np.testing.assert_allclose(state.sequence["attention"][0, 0].detach().view(2, 3), weights, atol=1e-6)


def test_a_sentinel_is_drawn_and_is_there_as_an_array(
    tiny: Overrides, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from captioning.report import attention as report

    drawn: list[float | None] = []
    monkeypatch.setattr(report, "draw_bar", lambda axes, weight: drawn.append(weight))
    checkpoint = untrained(
        tmp_path, tiny("decoder=adaptive", "encoder.image_size=[64,96]", "encoder.last_stage=layer4")
    )
    command = ["caption", str(photo), "--checkpoint", str(checkpoint), "--attention", str(tmp_path / "out.png")]
    assert main([*command, "--max-length", "4", "--device", "cpu", "--beam", "1"]) == 0
    (caption,) = Captioner.load(checkpoint, "cpu").caption(photo, Greedy(4), attention=True)
    assert caption.attention is not None and caption.sentinel is not None
    assert caption.attention.shape == (4, 2, 3) and caption.sentinel.shape == (4,)
    assert drawn[0] is None and drawn[1:] == pytest.approx(caption.sentinel.tolist(), abs=1e-5)


def test_no_attention_to_draw(tiny: Overrides, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint, out = untrained(tmp_path, tiny("decoder=show_tell")), tmp_path / "out.png"
    command = ["caption", str(photo), "--checkpoint", str(checkpoint), "--attention", str(out), "--device", "cpu"]
    assert main(command) == 1
    captured = capsys.readouterr()
    assert "ShowTell has no attention to show" in captured.err and "decoder=show_attend_tell" in captured.err
    assert "Traceback" not in captured.err
    assert not out.exists() and not captured.out


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 scenes, 20 of them for training."""
    root = tmp_path_factory.mktemp("scenes") / "drawn"
    read_scenes(root, count=24)
    return root


def look_at(x: float, y: float) -> np.ndarray:
    """``(1, 160, 160)``, a cell a pixel of a scene."""
    grid = np.zeros((1, 160, 160), dtype=np.float32)
    grid[0, int(y), int(x)] = 1
    return grid


def test_boxes_of_scenes(scenes: Path) -> None:
    photos = read_scenes(scenes, count=24)["train"]
    first = [photo.boxes[0] for photo in photos]
    inside = [Caption(box.words[-1], 0, look_at(box.x + box.width / 2, box.y + box.height / 2)) for box in first]
    outside = [Caption(box.words[0], 0, look_at(159, 0)) for box in first]  # objects keep away from the edges
    hit, missed = (play_pointing(photos, captions, ImageTransform()) for captions in (inside, outside))
    assert hit is not None and (hit.hits, hit.named) == (20, 20)
    assert missed is not None and (missed.hits, missed.named) == (0, 20)
    areas = [  # of all that have the name: they do not overlap
        sum(box.width * box.height for box in photo.boxes if box.words == photo.boxes[0].words) for photo in photos
    ]
    assert hit.chance == missed.chance == pytest.approx(np.mean(areas) / 160**2)


def on_scenes(overrides: list[str], scenes: Path) -> list[str]:
    kept = [override for override in overrides if not override.startswith(("data=", "data.root="))]
    return [*kept, "data=scenes", f"data.root={scenes}", "data.count=24"]


def test_evaluate_reports_the_pointing_game(
    tiny: Overrides, scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = untrained(tmp_path, on_scenes(tiny(*ATTENDS), scenes))
    places = [f"data.root={scenes}", "data.count=24", f"data.features_root={tmp_path / 'features'}"]
    assert main(["evaluate", str(checkpoint), *places, "--split", "train", "--max-length", "8", "--beam", "2"]) == 0
    captions = json.loads((tmp_path / "captions_train.json").read_text())
    boxes = {photo.id: photo.boxes for photo in read_scenes(scenes, count=24)["train"]}
    named = [
        word
        for row in captions
        for word in row["caption"].split()
        if any(word in box.words for box in boxes[row["image_id"]])
    ]
    game = json.loads((tmp_path / "scores_train.json").read_text())["pointing"]
    assert game["named"] == len(named) > 0
    assert 0 < game["chance"] < 1
    assert game["share"] == game["hits"] / game["named"]
    share, chance = 100 * game["share"], 100 * game["chance"]
    line = f"pointing game: {share:.1f} % of {len(named)} named objects (chance {chance:.1f} %)"
    assert capsys.readouterr().out.splitlines()[-1] == line


@pytest.mark.parametrize("without", ["attention", "boxes"])
def test_no_pointing(
    without: str, tiny: Overrides, scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = on_scenes(tiny("decoder=show_tell"), scenes) if without == "attention" else tiny(*ATTENDS)
    places = [each for each in overrides if each.startswith(("data.root=", "data.features_root=", "data.count="))]
    assert main(["evaluate", str(untrained(tmp_path, overrides)), *places, "--beam", "1", "--max-length", "5"]) == 0
    assert "pointing" not in json.loads((tmp_path / "scores_test.json").read_text())
    assert "pointing" not in capsys.readouterr().out
