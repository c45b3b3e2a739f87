"""Maps of several stages, and several encoders beside each other: each part is that of its encoder alone."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from captioning.core.errors import CaptioningError
from captioning.data.feature_store import FeatureStore
from captioning.encoders import Encoder
from captioning.encoders.efficientnet import EfficientNetLite0
from captioning.encoders.resnet import ResNet
from captioning.encoders.several import Several
from captioning.jobs import train as job
from captioning.jobs.config import compose
from captioning.predict.captioner import Captioner
from captioning.runs.checkpoint import read_checkpoint
from captioning.runs.parts import make_encoder
from captioning.tasks.inputs import inputs_of_settings

Overrides = Callable[..., list[str]]


def photograph(seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (40, 60, 3), dtype=np.uint8))


def resnet(side: int | tuple[int, int] = 64, seed: int = 0, **settings: Any) -> ResNet:
    torch.manual_seed(seed)
    return ResNet("resnet18", None, side, **settings)


def two(**settings: Any) -> Several:
    return Several({"fine": resnet(96, 1, last_stage="layer3"), "coarse": resnet((32, 64), 2)}, **settings)


# --- stages ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [64, 97])
def test_the_map_of_an_earlier_lite_stage_is_that_of_the_network_cut_there(side: int) -> None:
    whole = EfficientNetLite0(image_size=side, more_stages=["stage5", "stage2"])
    images = whole.transform(photograph()).unsqueeze(0)
    features, fused = whole(images), whole.fused()(images)
    assert list(features) == ["pooled", "grid", "stage2", "stage5"]
    for stage in ("stage2", "stage5"):
        cut = EfficientNetLite0(image_size=side, last_stage=stage)
        torch.testing.assert_close(features[stage], cut(images)["grid"])
        torch.testing.assert_close(fused[stage], features[stage], rtol=1e-3, atol=1e-3)
        assert whole.spec[stage] == cut.spec["grid"]
    torch.testing.assert_close(features["grid"], EfficientNetLite0(image_size=side)(images)["grid"])


def test_the_map_of_an_earlier_resnet_stage_is_that_of_the_network_cut_there() -> None:
    whole, cut = resnet(more_stages=["layer2"]), resnet(last_stage="layer2")
    cut.load_state_dict({name: whole.state_dict()[name] for name in cut.state_dict()})
    images = whole.transform(photograph()).unsqueeze(0)
    torch.testing.assert_close(whole(images)["layer2"], cut(images)["grid"])
    assert whole.spec["layer2"] == cut.spec["grid"] == (8, 8, 128)


def test_stages_tell_encoders_apart_and_must_come_before_the_last() -> None:
    for make in (resnet, lambda **more: EfficientNetLite0(image_size=64, **more)):
        stage = "layer3" if make is resnet else "stage5"
        more = make(more_stages=[stage]).fingerprint()
        assert more == make(more_stages=[stage]).fingerprint() != make().fingerprint() == make().fingerprint()
    with pytest.raises(CaptioningError, match=r"=\['layer4'\] .* before .*layer4\. .*: layer1, layer2, layer3"):
        resnet(more_stages=["layer4"])
    with pytest.raises(CaptioningError, match="more_stages=stage3 is not a list"):
        EfficientNetLite0(None, more_stages="stage3")


def test_a_stage_behind_the_part_that_is_read_stays_frozen() -> None:
    encoder = resnet(more_stages=["layer2"], finetune_from="layer2")
    encoder.keep(["layer2"])
    trained = {name.split(".")[1] for name, weight in encoder.named_parameters() if weight.requires_grad}
    assert trained == {"layer2"}


# --- encoders -------------------------------------------------------------------------------------------------------


def test_each_encoder_sees_the_photograph_in_its_own_size() -> None:
    encoder = two()
    assert dict(encoder.spec) == {
        "pooled": (256 + 512,),
        "fine_pooled": (256,),
        "fine_grid": (6, 6, 256),
        "coarse_pooled": (512,),
        "coarse_grid": (1, 2, 512),
    }
    images = torch.stack([encoder.transform(photograph(seed)) for seed in range(3)])
    features, fused = encoder(images), encoder.fused()(images)
    assert set(features) == set(encoder.spec) and encoder.fused().spec == encoder.spec
    for name, alone in {"fine": resnet(96, 1, last_stage="layer3"), "coarse": resnet((32, 64), 2)}.items():
        own = alone(torch.stack([alone.transform(photograph(seed)) for seed in range(3)]))
        for part in ("pooled", "grid"):
            torch.testing.assert_close(features[f"{name}_{part}"], own[part])
            torch.testing.assert_close(fused[f"{name}_{part}"], own[part], rtol=1e-3, atol=1e-3)
    assert torch.equal(features["pooled"], torch.cat([features["fine_pooled"], features["coarse_pooled"]], dim=1))
    assert "pooled" not in two(joined=False).spec and "pooled" not in two(joined=False)(images)


def test_maps_of_one_layout_lie_side_by_side() -> None:
    one, other = resnet(64, 1), resnet((32, 32), 2, last_stage="layer3")
    encoder = Several({"a": one, "b": Several({"c": other})})  # also an ensemble's
    features = encoder(encoder.transform(photograph()).unsqueeze(0))
    assert encoder.spec["grid"] == (2, 2, 512 + 256)
    assert torch.equal(features["grid"], torch.cat([features["a_grid"], features["b_grid"]], dim=2))
    assert torch.equal(features["b_c_grid"], features["b_grid"])


def test_names_order_weights_and_sizes_tell_them_apart() -> None:
    def key(**encoders: Encoder) -> tuple[str, str]:
        joint = Several(encoders)
        return joint.fingerprint(), json.dumps(joint.transform.to_dict())

    one, other = resnet(64, 1), resnet(64, 2)
    assert key(a=one, b=other) == key(a=resnet(64, 1), b=resnet(64, 2))
    keys = [key(a=one, b=other), key(b=other, a=one), key(a=one, c=other), key(a=one, b=one)]
    assert len({*keys, key(a=one, b=resnet(32, 2))}) == 5


def test_what_they_store_is_what_they_give(tmp_path: Path) -> None:
    encoder = two()
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for number, path in enumerate(paths):
        photograph(number).save(path)
    store = FeatureStore.build(
        tmp_path / "store",
        key={"encoder": encoder.fingerprint()},
        spec=encoder.spec,
        transform=encoder.transform,
        paths=paths,
        extractor=encoder.fused,
        parts=["pooled", "fine_grid"],
        workers=0,
    )
    live = encoder(torch.stack([encoder.transform.read(path) for path in paths]))
    for part, values in store[range(3)].to(dtype=torch.float32).items():
        torch.testing.assert_close(values, live[part], rtol=5e-3, atol=5e-3)


@pytest.mark.parametrize(
    ("parts", "trained"), [(["b_grid"], {"b"}), (["a_grid", "b_pooled"], {"a", "b"}), (["grid"], {"a", "b"})]
)
def test_the_encoders_that_are_read_are_trained(parts: list[str], trained: set[str]) -> None:
    one = resnet(32, 1, finetune_from="layer4" if "a" in trained else None)
    encoder = Several({"a": one, "b": resnet(32, 2, finetune_from="layer4")})
    encoder.keep(parts)
    found = {name.split(".")[1] for name, weight in encoder.named_parameters() if weight.requires_grad}
    assert encoder.trainable and found == trained
    with pytest.raises(CaptioningError, match=r"'c_grid' .* this encoder has pooled, grid, a_pooled"):
        encoder.keep(["c_grid"])


def test_what_can_not_be_several_is_a_sentence() -> None:
    with pytest.raises(CaptioningError, match="see different parts of a photograph"):
        Several({"a": resnet(32), "b": resnet(32, fit="crop")})
    with pytest.raises(CaptioningError, match="encoders is empty"):
        Several({})
    with pytest.raises(CaptioningError, match=r"'a\.b' can't name a part"):
        Several({"a.b": resnet(32)})
    with pytest.raises(CaptioningError, match="would have the same name"):
        Several({"a": Several({"b": resnet(32)}), "a_b": resnet(32)})
    line = ["encoder=several", "encoder@encoder.encoders.second=resnet18", "encoder.encoders.second.weights=null"]
    with pytest.raises(CaptioningError, match=r"third is not the settings of one encoder\. .* \+encoder@encoder"):
        make_encoder(compose([*line, "+encoder.encoders.third=vgg16"]))


# --- on the command line --------------------------------------------------------------------------------------------


@pytest.fixture
def line(tiny: Overrides) -> list[str]:
    """Two small ResNets of other sizes; the decoder attends to the second one's map."""
    small = [each for each in tiny() if not each.startswith("encoder")]
    for name, size, stage in (("first", 16, "layer1"), ("second", 32, "layer1")):
        where = f"encoder.encoders.{name}"
        small += [f"encoder@{where}=resnet18", f"{where}.weights=null", f"{where}.last_stage={stage}"]
        small += [f"{where}.image_size={size}"]
    return ["encoder=several", *small, "trainer.max_epochs=1", "decoder=show_attend_tell", "decoder.attention_size=4"]


def test_a_captioner_of_two_encoders_trains_captions_and_is_fine_tuned(line: list[str], tmp_path: Path) -> None:
    stored = compose([*line, "decoder.attends=second_grid"])
    job.train(stored, tmp_path / "stored")
    assert {path.name for path in Path(stored["data"]["features_root"]).rglob("*grid*")} == {"grid"}
    captioner = Captioner.load(tmp_path / "stored", "cpu")
    (caption,) = captioner.caption(photograph(), attention=True)
    assert isinstance(captioner.encoder, Several) and caption.attention is not None
    assert caption.attention.shape[1:] == (8, 8)
    both = Captioner.combine([captioner, captioner])
    assert both(photograph()) == captioner(photograph())

    tuned = [*line, "decoder.attends=second_grid", "encoder.encoders.second.finetune_from=layer1"]
    job.train(compose([*tuned, f"init_from={tmp_path / 'stored'}", "encoder_lr=0.1"]), tmp_path / "tuned")
    before, after = (read_checkpoint(tmp_path / name).weights for name in ("stored", "tuned"))
    changed = {".".join(name.split(".")[:5]) for name in after if not torch.equal(before[name], after[name])}
    assert {name for name in changed if name.startswith("encoder")} == {"encoder.encoders.second.backbone.layer1"}


def test_files_of_weights_of_each_encoder_are_among_a_run_s_inputs(line: list[str], tmp_path: Path) -> None:
    torch.save(resnet(32).state_dict(), tmp_path / "weights.pth")
    config = compose([*line, f"encoder.encoders.second.weights={tmp_path / 'weights.pth'}"])
    assert inputs_of_settings(config, None).keys() == {"weights of the encoder second"}
