"""The task of labelling: a label for each frame of a clip."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from captioning.cells import GRU
from captioning.core.errors import CaptioningError
from captioning.core.features import Features, FeatureSpec
from captioning.core.files import read_json
from captioning.data import Photo, read_moving_scenes
from captioning.data.label_batches import UNKNOWN, LabelData, labels_in
from captioning.data.moving_scenes.plan import FRAMES, LABELS
from captioning.data.photos import CaptionedPhotos
from captioning.tasks.labelling.module import FrameLabeller

SPEC = FeatureSpec(["frames"], frames=(6, 5), pooled=(5,))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, in_child: Callable[..., object]) -> Path:
    """The folder of a run on twelve clips."""
    folder = tmp_path_factory.mktemp("labelling")
    line = [
        *("train", "experiment=moving_scenes_labels", "data.count=12", f"data.root={folder / 'clips'}"),
        *(f"data.features_root={folder / 'features'}", f"out={folder}", "name=run", "data.workers=0", "report=false"),
        *("encoder.frames=5", "encoder.part=pooled", "encoder@encoder.encoders.picture=resnet18"),
        *("encoder.encoders.picture.weights=null", "encoder.encoders.picture.last_stage=layer1"),
        *("encoder.encoders.picture.image_size=16", "trainer.max_epochs=2", "task.hidden_size=8", "logger=csv"),
        *("trainer.enable_progress_bar=false", "trainer.accelerator=cpu"),
    ]
    done = in_child(line, cwd=folder)
    assert done.returncode == 0, done.stderr  # type: ignore[attr-defined]
    return folder


def test_a_run_trains_and_is_scored(trained: Path) -> None:
    scores = read_json(trained / "run" / "scores_test.json", "scores")["scores"]
    assert scores.keys() == {"loss", "accuracy", "happening"}
    assert 0 <= scores["accuracy"] <= 1 and scores["loss"] > 0


def test_labels_are_those_of_the_frames_that_are_read(trained: Path) -> None:
    clips = read_moving_scenes(trained / "clips", count=12)
    words = labels_in(clips)
    assert set(words) <= set(LABELS)
    data = LabelData(
        clips, words, lambda count: [0, count - 1], features=lambda split: lambda places: Features(x=torch.zeros(1, 1)),
        image=lambda photo: torch.zeros(0), batch_size=3, workers=0,
    )  # fmt: skip
    batch = next(iter(data.loader("train")))
    assert len(clips["train"][0].labels) == FRAMES
    told = [[words[number] for number in row] for row in batch.labels.tolist()]
    assert told == [[clip.labels[0], clip.labels[-1]] for clip in clips["train"][:3]]


def test_a_clip_s_labels_do_not_depend_on_longer_clips_beside_it() -> None:
    torch.manual_seed(0)
    frames, lengths = torch.randn(2, 6, 5), torch.tensor([4, 6])
    for settings in ({"bidirectional": True}, {}, {"network": "frame"}):
        network = FrameLabeller(SPEC, 3, GRU, hidden_size=4, **settings).eval()  # type: ignore[arg-type]
        together = network(Features({"frames": lengths}, frames=frames))
        alone = network(Features({"frames": lengths[:1]}, frames=frames[:1, :4]))
        torch.testing.assert_close(together[:1, :4], alone)
        other = torch.cat([frames[:, :1] + 1, frames[:, 1:]], dim=1)  # another first frame
        changed = network(Features({"frames": lengths}, frames=other))
        recurrent = settings.get("network") != "frame"
        assert torch.equal(changed[:, 3], together[:, 3]) is not recurrent


def test_what_does_not_fit_gets_a_sentence() -> None:
    photo = Photo(1, Path("clip.mp4"), ("a clip",))
    with pytest.raises(CaptioningError, match=r"clip\.mp4: its frames have no labels"):
        labels_in(CaptionedPhotos("own", {"train": [photo]}))
    with pytest.raises(CaptioningError, match=r"task\.network=tree: take one of recurrent, frame"):
        FrameLabeller(SPEC, 3, GRU, network="tree")  # type: ignore[arg-type]
    assert UNKNOWN == -1


@pytest.mark.parametrize("network", ["recurrent", "frame"])
def test_it_learns_without_double_precision(network: Any, no_doubles: type[Any]) -> None:
    labeller = FrameLabeller(SPEC, 3, GRU, network=network, hidden_size=4)
    with no_doubles():
        logits = labeller(Features({"frames": torch.tensor([6, 2])}, frames=torch.randn(2, 6, 5)))
        torch.nn.functional.cross_entropy(logits.flatten(0, 1), torch.zeros(12, dtype=torch.long)).backward()
