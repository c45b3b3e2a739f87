"""Encoders of frames and of optical flow: a clip's features are those of its frames, in any batch, live and stored."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from captioning.cells import LSTM
from captioning.core.errors import CaptioningError
from captioning.core.features import Features
from captioning.core.images import stack
from captioning.core.packing import Packing
from captioning.core.vocabulary import START
from captioning.data.feature_store import FeatureStore
from captioning.data.moving_scenes.reader import write_clip
from captioning.decoders import S2VT, AttendStates, Decoder, ShowAttendTell
from captioning.encoders import Encoder
from captioning.encoders.flow import Flow, flow_picture
from captioning.encoders.frames import Frames
from captioning.encoders.resnet import ResNet
from captioning.encoders.several import Several


def clip(path: Path, count: int, seed: int = 0) -> list[Image.Image]:
    """A clip of so many frames of noise."""
    rng = np.random.default_rng([seed, count])
    frames = [Image.fromarray(rng.integers(0, 256, (16, 20, 3), dtype=np.uint8)) for _ in range(count)]
    write_clip(frames, path)
    return frames


def resnet(seed: int = 0, **settings: Any) -> ResNet:
    torch.manual_seed(seed)
    return ResNet("resnet18", None, 16, last_stage="layer1", **settings)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Clips of 3, 6 and 1 frames."""
    folder = tmp_path_factory.mktemp("clips")
    for number, count in enumerate((3, 6, 1)):
        clip(folder / f"{number}.png", count)
    return sorted(folder.iterdir())


def encode(encoder: Encoder, paths: list[Path]) -> Features:
    with torch.no_grad():
        features: Features = encoder(stack([encoder.transform.read(path) for path in paths]))
    return features


@pytest.mark.parametrize("part", ["pooled", "grid"])
def test_frames_are_those_of_the_encoder_of_photographs(part: str, tmp_path: Path) -> None:
    frames = clip(tmp_path / "clip.png", 5)
    encoder = Frames({"picture": resnet()}, frames=5, part=part)
    features = encode(encoder, [tmp_path / "clip.png"])
    of = encoder.of
    expected = of(stack([of.transform(frame) for frame in frames]))[part].flatten(1)
    torch.testing.assert_close(features["frames"][0], expected)
    torch.testing.assert_close(features["pooled"][0], expected.mean(0))
    assert encoder.spec["frames"] == (5, expected.shape[1]) and encoder.spec.varying == {"frames"}
    fused = encoder.fused()
    torch.testing.assert_close(
        encode(fused, [tmp_path / "clip.png"])["frames"], features["frames"], rtol=1e-2, atol=1e-3
    )


def test_a_clip_is_the_same_alone_and_beside_longer_ones(clips: list[Path]) -> None:
    encoder = Frames({"picture": resnet()}, frames=4)
    together = encode(encoder, clips)
    assert together.lengths["frames"].tolist() == [3, 4, 1]
    for place, path in enumerate(clips):
        alone = encode(encoder, [path])
        n = int(alone.lengths["frames"])
        torch.testing.assert_close(together["frames"][place, :n], alone["frames"][0])
        torch.testing.assert_close(together["pooled"][place], alone["pooled"][0])


def test_stored_features_are_the_live_ones(clips: list[Path], tmp_path: Path) -> None:
    encoder = Frames({"picture": resnet()}, frames=4)
    store = FeatureStore.build(
        tmp_path,
        key={"encoder": encoder.fingerprint()},
        spec=encoder.spec,
        transform=encoder.transform,
        paths=clips,
        extractor=lambda: partial(Encoder.__call__, encoder),
        workers=0,
    )
    stored, live = store[[0, 1, 2]], encode(encoder, clips)
    assert torch.equal(stored.lengths["frames"].long(), live.lengths["frames"])
    for part in ("frames", "pooled"):
        torch.testing.assert_close(stored[part].float(), live[part], rtol=1e-3, atol=1e-3)


def test_settings_tell_stores_apart() -> None:
    one = Frames({"picture": resnet()}, frames=4)
    assert one.fingerprint() != Frames({"picture": resnet()}, frames=4, part="grid").fingerprint()
    assert one.fingerprint() == Frames({"picture": resnet()}, frames=4).fingerprint()
    for more in ({"frames": 5}, {"every": 2}, {"shuffle": True}):
        other = Frames({"picture": resnet()}, **{"frames": 4, **more})
        assert other.transform.to_dict() != one.transform.to_dict()


def test_shuffled_frames_are_the_same_frames_in_one_other_order(clips: list[Path]) -> None:
    plain, shuffled = (Frames({"picture": resnet()}, frames=6, shuffle=each) for each in (False, True))
    there, mixed = encode(plain, clips[1:2])["frames"][0], encode(shuffled, clips[1:2])["frames"][0]
    assert not torch.equal(there, mixed)
    assert sorted(row.sum().item() for row in there) == pytest.approx(sorted(row.sum().item() for row in mixed))
    assert torch.equal(mixed, encode(shuffled, clips[1:2])["frames"][0])


def test_frames_can_be_fine_tuned_and_stand_beside_other_encoders(clips: list[Path]) -> None:
    encoder = Frames({"picture": resnet(finetune_from="layer1")}, frames=3)
    encoder.keep(["frames"])
    assert encoder.trainable
    several = Several({"rgb": Frames({"picture": resnet()}, frames=2), "other": resnet(1)}, joined=False)
    pixels = several.transform.read(clips[2])
    features = several(pixels.unsqueeze(0))
    torch.testing.assert_close(features["rgb_frames"], encode(several.members()["rgb"], clips[2:])["frames"])


def test_what_does_not_fit_gets_a_sentence(clips: list[Path]) -> None:
    with pytest.raises(CaptioningError, match="names a, b: the frames of a clip are read by one encoder"):
        Frames({"a": resnet(), "b": resnet()})
    with pytest.raises(CaptioningError, match="'nothing'"):
        Frames({"a": resnet()}, part="nothing")
    with pytest.raises(CaptioningError, match=r"encoder\.method=brox: take one of farneback, dis"):
        Flow({"a": resnet()}, method="brox")  # type: ignore[arg-type]
    pytest.importorskip("cv2", reason="optical flow is computed by OpenCV (captioning[video])")
    encoder = Flow({"a": resnet()}, frames=3)
    with pytest.raises(CaptioningError, match="optical flow is between two frames, and this clip has one"):
        encoder.transform.read(clips[2])


@pytest.mark.parametrize("method", ["farneback", "dis"])
def test_flow_says_how_far_things_move(method: Any) -> None:
    pytest.importorskip("cv2", reason="optical flow is computed by OpenCV (captioning[video])")
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8))
    picture = np.asarray(small.resize((72, 72), Image.Resampling.BICUBIC))
    first, second = (torch.from_numpy(picture[:64, left : left + 64].copy()).permute(2, 0, 1) for left in (4, 2))
    middle = flow_picture(first, second, method)[:, 20:44, 20:44].float().mean((1, 2))  # two pixels to the right
    assert middle[0] == pytest.approx(128 + 16 * 2, abs=8)
    assert middle[1] == pytest.approx(128, abs=8) and middle[2] == pytest.approx(160, abs=8)


def test_a_clip_s_flow_has_a_picture_for_each_chosen_frame(clips: list[Path]) -> None:
    pytest.importorskip("cv2", reason="optical flow is computed by OpenCV (captioning[video])")
    for frames, count in ((6, 6), (2, 2)):
        encoder = Flow({"picture": resnet()}, frames=frames)
        assert encode(encoder, clips[1:2]).lengths["frames"].tolist() == [count]
        assert encode(encoder.fused(), clips[1:2])["frames"].shape == (1, count, encoder.size)


def decoders(encoder: Frames) -> list[Decoder]:
    small = {"embedding_size": 6, "hidden_size": 8}
    torch.manual_seed(1)
    return [
        S2VT(9, encoder.spec, LSTM, **small).eval(),
        ShowAttendTell(9, encoder.spec, LSTM, attends="frames", attention_size=4, **small).eval(),
        AttendStates(9, encoder.spec, LSTM, attention_size=4, reader_size=5, **small).eval(),
    ]


def test_captions_of_a_clip_do_not_depend_on_longer_ones_and_attention_ends_with_the_clip(clips: list[Path]) -> None:
    encoder = Frames({"picture": resnet()}, frames=6)
    together = encode(encoder, clips)
    broken = Features(  # what is behind a clip's end may be anything
        together.lengths, frames=torch.where(together.mask("frames").unsqueeze(-1), together["frames"], torch.nan)
    )
    tokens = torch.tensor([[[START, 5, 6, 7]]]).expand(3, -1, -1)
    for decoder in decoders(encoder):
        with torch.no_grad():
            logits = decoder(broken, tokens)
            assert logits.isfinite().all()
            for place, path in enumerate(clips):
                torch.testing.assert_close(logits[place], decoder(encode(encoder, [path]), tokens[:1])[0])
            outputs = decoder.teacher_force(broken, *_packed(tokens))
        if not isinstance(decoder, S2VT):
            weights = outputs.trace["attention"].view(4, 3, -1)  # time-major: three captions at each of four words
            assert (weights[:, 0, 3:] == 0).all() and (weights[:, 2, 1:] == 0).all()
            torch.testing.assert_close(weights.sum(-1), torch.ones(4, 3))


def test_s2vt_and_states_know_the_order_and_attention_to_frames_does_not(clips: list[Path]) -> None:
    encoder = Frames({"picture": resnet()}, frames=6)
    features = encode(encoder, clips[1:2])
    backwards = Features(features.lengths, frames=features["frames"].flip(1))
    tokens = torch.tensor([[[START, 5, 6]]])
    s2vt, attention, states = decoders(encoder)
    with torch.no_grad():
        torch.testing.assert_close(attention(features, tokens), attention(backwards, tokens))
        for decoder in (s2vt, states):
            assert not torch.allclose(decoder(features, tokens), decoder(backwards, tokens), atol=1e-4)


def _packed(tokens: Tensor) -> tuple[Tensor, Packing]:
    packing = Packing.of(tokens)
    return packing.pack(tokens), packing
