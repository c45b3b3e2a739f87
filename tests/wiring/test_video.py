"""The settings of clips: what is read, which frames, what reads them, and the labels of frames."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from wires import compose, wired

from captioning.core.build import build, call
from captioning.core.errors import CaptioningError
from captioning.core.features import Features, FeatureSpec
from captioning.core.vocabulary import SPECIAL, START, Vocabulary
from captioning.data import CaptionedPhotos
from captioning.data.moving_scenes.reader import write_clip
from captioning.metrics import Events, build_metrics
from captioning.runs.parts import make_decoder, make_encoder
from captioning.runs.settings import essence
from captioning.tasks import Task
from captioning.tasks.labelling import LabellingTask
from captioning.tasks.labelling.module import FrameLabeller

VOCABULARY = Vocabulary([*SPECIAL, "a", "ball"])
SPEC = FeatureSpec(["frames", "others"], frames=(4, 5), others=(4, 3), pooled=(5,))
TINY = ("encoder@encoder.encoders.picture=resnet18", "encoder.encoders.picture.weights=null")
TINY += ("encoder.encoders.picture.last_stage=layer1", "encoder.encoders.picture.image_size=16")


def encoder(*more: str, kind: str = "frames") -> Any:
    torch.manual_seed(0)
    return make_encoder(compose([f"encoder={kind}", *TINY, *more]))


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A clip of nine frames in which a square moves to the right."""
    frames = []
    for number in range(9):
        pixels = np.random.default_rng(0).integers(0, 90, (32, 32, 3), dtype=np.uint8)
        pixels[8:20, 2 + 2 * number : 14 + 2 * number] += 150
        frames.append(Image.fromarray(pixels))
    write_clip(frames, tmp_path / "clip.png")
    return tmp_path / "clip.png"


@wired("encoder=frames encoder.frames", "encoder=frames encoder.every")
def test_so_many_frames_are_read_or_every_nth(clip: Path) -> None:
    for line, count in ((("encoder.frames=4",), 4), (("encoder.every=3",), 3), ((), 9)):
        made = encoder(*line)
        assert made.transform.unpack(made.transform.read(clip).unsqueeze(0))[1].tolist() == [count]


@wired("encoder=frames encoder.part", "encoder=frames encoder.shuffle")
def test_a_frame_is_the_part_and_in_its_place_unless_shuffled(clip: Path) -> None:
    assert encoder().spec["frames"] == (16, 64)
    assert encoder("encoder.part=grid").spec["frames"] == (16, 64 * 16)
    plain, shuffled = encoder().transform.read(clip), encoder("encoder.shuffle=true").transform.read(clip)
    assert not torch.equal(plain, shuffled) and plain.sum() == shuffled.sum()


@wired("encoder=flow encoder.method", "encoder=flow encoder.scale")
def test_flow_is_computed_by_its_method_and_drawn_to_its_scale(clip: Path) -> None:
    pytest.importorskip("cv2", reason="optical flow is computed by OpenCV (captioning[video])")
    one, other = (encoder(*line, kind="flow").transform.read(clip) for line in ((), ("encoder.method=dis",)))
    assert not torch.equal(one, other)
    small = encoder("encoder.scale=1", kind="flow").transform.read(clip)
    frames = slice(0, 9 * 256)
    assert (small[0, 0, frames].float() - 128).abs().mean() < (one[0, 0, frames].float() - 128).abs().mean() / 4


def decoder(kind: str, *more: str) -> Any:
    torch.manual_seed(0)
    small = ("decoder.embedding_size=6", "decoder.hidden_size=8")
    return make_decoder(compose([f"decoder={kind}", *small, *more]), VOCABULARY, SPEC).eval()


@wired("decoder=s2vt decoder.reads_from", "decoder=attend_states decoder.attends")
@wired("decoder=attend_states decoder.reader_size", "decoder=attend_states decoder.bidirectional")
def test_decoders_of_clips_read_their_part_with_layers_of_their_sizes() -> None:
    assert decoder("s2vt").frame_embedding.in_features == 5
    assert decoder("s2vt", "decoder.reads_from=others").reads == ("others",)
    made = decoder("attend_states", "decoder.attends=others", "decoder.reader_size=7")
    assert made.reads == ("others",) and made.frame_embedding[0].weight.shape == (7, 3)
    assert made.attention.key.in_features == 14
    assert (
        decoder("attend_states", "decoder.reader_size=7", "decoder.bidirectional=false").attention.key.in_features == 7
    )


@wired("decoder=s2vt decoder.frame_dropout", "decoder=attend_states decoder.frame_dropout")
@pytest.mark.parametrize("kind", ["s2vt", "attend_states"])
def test_frames_lose_their_share_in_training_alone(kind: str) -> None:
    frames = Features({"frames": torch.tensor([4])}, frames=torch.randn(1, 4, 5))
    made = decoder(kind, "decoder.frame_dropout=1")
    empty = Features({"frames": torch.tensor([4])}, frames=torch.zeros(1, 4, 5))
    layer = made.frame_embedding if kind == "s2vt" else made.frame_embedding[0]
    torch.nn.init.zeros_(layer.bias)
    tokens = torch.tensor([[[START, 4]]])
    with torch.no_grad():
        assert not torch.allclose(made(frames, tokens), made(empty, tokens))
        torch.testing.assert_close(made.train()(frames, tokens), made(empty, tokens))


@wired("decoder=s2vt decoder.frame_norm", "decoder=attend_states decoder.frame_norm")
@pytest.mark.parametrize("kind", ["s2vt", "attend_states"])
def test_embedded_frames_are_normalised_over_the_frames_that_are_there(kind: str) -> None:
    """In training by the batch, in use by what was measured; what lies behind a clip's end does not count."""
    values = torch.randn(2, 4, 5)
    broken = values.clone()
    broken[1, 2:] = 1e4
    clips = [Features({"frames": torch.tensor([4, 2])}, frames=each) for each in (values, broken)]
    tokens = torch.tensor([[[START, 4]], [[START, 5]]])
    made = decoder(kind, "decoder.frame_norm=batch").train()
    with torch.no_grad():
        torch.testing.assert_close(made(clips[0], tokens), made(clips[1], tokens))
        embed = made.frame_embedding if kind == "s2vt" else made.frame_embedding[0]
        embedded = embed(torch.cat([values[0], values[1, :2]]))
        torch.testing.assert_close(made.frame_norm.running_mean, (1 - 0.9**2) * embedded.mean(0))
        alone = Features({"frames": torch.tensor([2])}, frames=values[1:])
        torch.testing.assert_close(made.eval()(alone, tokens[1:]), made(clips[1], tokens)[1:])
    assert isinstance(decoder(kind, "decoder.frame_norm=layer").frame_norm, torch.nn.LayerNorm)
    with pytest.raises(CaptioningError, match=r"decoder\.frame_norm=group: one of batch, layer or null"):
        decoder(kind, "decoder.frame_norm=group")


@wired("metrics=moving_scenes metrics.order.name", "metrics=moving_scenes metrics.motion.name")
def test_moving_scenes_are_scored_by_both_families_of_events() -> None:
    built = build_metrics(compose(["metrics=moving_scenes"])["metrics"])
    assert [each.name for each in built if isinstance(each, Events)] == ["order", "motion"]
    swapped = ["metrics=moving_scenes", "metrics.order.name=motion", "metrics.motion.name=order"]
    assert [each.name for each in build_metrics(compose(swapped)["metrics"]) if isinstance(each, Events)] == [
        "motion",
        "order",
    ]


def source(*line: str) -> CaptionedPhotos:
    return call(compose(line)["data"]["source"], CaptionedPhotos)


@wired("data=moving_scenes data.root", "data=moving_scenes data.count", "data=moving_scenes data.scenes_seed")
def test_so_many_clips_are_drawn_by_their_own_seed(tmp_path: Path) -> None:
    def drawn(name: str, *more: str) -> list[tuple[str, ...]]:
        found = source("data=moving_scenes", f"data.root={tmp_path / name}", *more)
        assert (tmp_path / name / "train").is_dir()
        return [clip.captions for clip in found]

    one = drawn("one", "data.count=12", "data.scenes_seed=5")
    assert len(one) == 12 and len(drawn("two", "data.count=13", "data.scenes_seed=5")) == 13
    assert drawn("three", "data.count=12", "data.scenes_seed=6") != one


@wired("data=msvd data.root", "data=msvd data.images", "data=msr_vtt data.root", "data=msr_vtt data.images")
@wired("data=msr_vtt data.files")
def test_clips_of_others_are_read_from_their_folders(tmp_path: Path) -> None:
    for name in ("texts", "clips"):
        (tmp_path / name).mkdir()
    for name in ("one.avi", "two.avi"):
        (tmp_path / "clips" / name).touch()
    texts = tmp_path / "texts"
    (texts / "youtube_mapping.txt").write_text("one vid1\ntwo vid2")
    for split, line in {"train": "vid1\ta", "val": "vid2\tb", "test": ""}.items():
        (texts / f"sents_{split}_lc_nopunc.txt").write_text(line)
    videos = [{"video_id": "one", "split": "train"}, {"video_id": "two", "split": "test"}]
    sentences = [{"video_id": name, "caption": "a"} for name in ("one", "two")]
    (texts / "info.json").write_text(json.dumps({"videos": videos, "sentences": sentences}))
    places = (f"data.root={texts}", f"data.images={tmp_path / 'clips'}")
    assert [clip.id for clip in source("data=msvd", *places)] == ["one", "two"]
    assert list(source("data=msr_vtt", "data.files=[info.json]", *places).splits) == ["train", "test"]


@wired("data=several data.sources.photographs.root", "data=several data.sources.clips.root")
@wired("data=several data.sources.clips.count", "data=several data.sources.clips.seed")
def test_several_data_sets_are_one(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for split, name in {"train": "1.jpg", "dev": "2.jpg", "test": "3.jpg"}.items():
        (tmp_path / "images" / name).touch()
        (tmp_path / f"Flickr_8k.{split}Images.txt").write_text(name)
    (tmp_path / "captions.txt").write_text("image,caption\n1.jpg,a dog\n2.jpg,a cat\n3.jpg,a cow")

    def joined(name: str, *more: str) -> CaptionedPhotos:
        places = {"photographs.root": tmp_path, "clips.root": tmp_path / name, "clips.count": 12}
        return source("data=several", *(f"data.sources.{key}={value}" for key, value in places.items()), *more)

    one = joined("one")
    assert [len(one[split]) for split in ("train", "val", "test")] == [10, 2, 3]
    assert one["val"][0].id == "photographs/2.jpg"
    assert {str(each.id).partition("/")[0] for each in one} == {"photographs", "clips"}
    assert len([*joined("two", "data.sources.clips.count=13")]) == 16
    captions = [clip.captions for clip in one["train"]]
    assert [clip.captions for clip in joined("three", "data.sources.clips.seed=9")["train"]] != captions
    moved, more = (essence(compose(["data=several", each])) for each in (
        "data.sources.clips.root=moved", "data.sources.clips.count=13"
    ))  # fmt: skip
    assert moved == essence(compose(["data=several"])) != more  # a run of moved data goes on
    with pytest.raises(CaptioningError, match="there is no data set"):
        source("data=several", "~data.sources.photographs", "~data.sources.clips")


@wired("task=labelling task.network", "task=labelling task.hidden_size", "task=labelling task.bidirectional")
@wired("task=labelling task.dropout")
def test_labels_come_from_a_network_as_is_set() -> None:
    def labeller(*more: str) -> FrameLabeller:
        config = compose(["task=labelling", *more])
        task = build(config["task"], Task, config=config)
        assert isinstance(task, LabellingTask)
        cell: Callable[..., Any] = __import__("captioning.cells", fromlist=["LSTM"]).LSTM
        return FrameLabeller(SPEC, 3, cell, **task.settings)  # type: ignore[arg-type]

    made = labeller("task.hidden_size=6", "task.dropout=0.25")
    assert made.classifier.in_features == 6 and made.embedding[1].p == 0.25
    assert labeller("task.hidden_size=6", "task.bidirectional=true").classifier.in_features == 12
    assert labeller("task.network=frame").reader is None and made.reader is not None
