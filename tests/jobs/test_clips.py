"""Clips from the command line: train, caption with attention drawn, and fuse frames and optical flow late."""

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from PIL import Image

from captioning.core.files import read_json
from captioning.report.pictures import draw_contact_sheet
from captioning.runs.results import row_of

Child = Callable[..., "CompletedProcess[str]"]


def places(folder: Path) -> list[str]:
    return [f"data.root={folder / 'clips'}", "data.count=12", f"data.features_root={folder / 'features'}"]


def training(folder: Path, name: str, *more: str) -> list[str]:
    return [
        *("train", "experiment=moving_scenes_attention", *places(folder), f"out={folder}", f"name={name}"),
        *("data.workers=0", "data.minimum_count=1", "report=false", "encoder.frames=4", "encoder.part=pooled"),
        *("encoder@encoder.encoders.picture=resnet18", "encoder.encoders.picture.weights=null"),
        *("encoder.encoders.picture.last_stage=layer1", "encoder.encoders.picture.image_size=16"),
        *("decoder.hidden_size=8", "decoder.embedding_size=8", "decoder.attention_size=4", "search.size=1"),
        *("search.max_length=5", "trainer.max_epochs=1", "trainer.check_val_every_n_epoch=1", "logger=csv"),
        *("trainer.enable_progress_bar=false", "trainer.accelerator=cpu", "monitor=nll", *more),
    ]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, in_child: Child) -> Path:
    """The folder of a run on frames, one on optical flow, and what the command line makes of both."""
    pytest.importorskip("cv2", reason="optical flow is computed by OpenCV (captioning[video])")
    folder = tmp_path_factory.mktemp("clips")
    clip = folder / "clips" / "test" / "000012.png"
    done = in_child(
        training(folder, "rgb"),
        training(folder, "flow", "encoder=flow", "test=false"),
        ["caption", clip, clip, "--checkpoint", folder / "rgb", "--attention", folder / "looks.png"],
        ["caption", clip, "--checkpoint", folder / "rgb", "--checkpoint", folder / "flow", "--weights", "0.6,0.4"],
        ["evaluate", folder / "rgb", folder / "flow", "--weights", "1,0", *places(folder)],
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    (folder / "output.txt").write_text(done.stdout)
    return folder


def test_a_run_of_clips_is_scored_with_its_events(runs: Path) -> None:
    scores = read_json(runs / "rgb" / "scores_test.json", "scores")["scores"]
    assert {"order", "sideways", "motion", "jumps", "CIDEr"} <= scores.keys()
    assert row_of(runs / "rgb", "test")["order"] == f"{100 * scores['order']:.2f}"


def test_a_clip_is_captioned_and_the_frames_that_each_word_looked_at_are_drawn(runs: Path) -> None:
    single = (runs / "output.txt").read_text().split("\0")[2].strip()
    name, _, caption = single.partition("\t")
    assert name.endswith("000012.png")
    with Image.open(runs / "looks.png") as drawing:
        rows = 1 + len(caption.split())
        assert drawing.size == (int(100 * (1.2 + 0.9 * 4)), int(100 * 0.98 * rows))


def test_a_member_with_all_the_weight_is_the_ensemble(runs: Path) -> None:
    (folder,) = runs.glob("ensemble=*")
    found = read_json(folder / "scores_test.json", "scores")
    alone = read_json(runs / "rgb" / "scores_test.json", "scores")
    assert found["weights"] == [1.0, 0.0] and found["scores"] == pytest.approx(alone["scores"])
    assert row_of(folder, "test")["overrides"] == "average=probabilities weights=1,0"


def test_a_contact_sheet_shows_frames_of_a_clip(runs: Path, tmp_path: Path) -> None:
    draw_contact_sheet([(runs / "clips" / "test" / "000012.png", "a clip")], tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").stat().st_size > 0


@pytest.mark.parametrize("weights", ["1", "0.5,x", "1,2,3"])
def test_weights_that_do_not_fit_get_a_sentence(weights: str, capsys: pytest.CaptureFixture[str]) -> None:
    from captioning.__main__ import main

    assert main(["evaluate", "a", "b", "--weights", weights])
    assert f"--weights {weights}: give a number for each of several checkpoints" in capsys.readouterr().err
