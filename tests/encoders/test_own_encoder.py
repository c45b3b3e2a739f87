"""An encoder as a user writes it: parts of any names, different numbers of regions, and hardly a setting."""

import copy
import inspect
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from captioning.core.errors import CaptioningError
from captioning.core.features import Features, FeatureSpec
from captioning.data.feature_store import FeatureStore
from captioning.encoders import Encoder
from captioning.encoders.timm import Timm


class Objects(Encoder):
    """The regions of a map that stand out, the largest first, and the mean of the map."""

    def __init__(self, threshold: float = 0.7, finetune_from: str | None = None) -> None:
        self.threshold = threshold
        network = nn.Sequential()
        network.eyes = nn.Sequential(nn.Conv2d(3, 4, 5, stride=5), nn.BatchNorm2d(4), nn.ReLU())
        network.objects = nn.Linear(4, 6)
        super().__init__(network, finetune_from=finetune_from, image_size=16, most={"objects": 9})

    def encode(self, images: Tensor) -> Features:
        regions = self.backbone.eyes(images).flatten(2).transpose(1, 2)  # (B, 9, 4)
        sizes = regions.detach().norm(dim=2)
        order = sizes.argsort(1, descending=True)
        lengths = (sizes >= self.threshold * sizes.amax(1, keepdim=True)).sum(1)
        largest = regions.gather(1, order.unsqueeze(2).expand_as(regions))[:, : int(lengths.max())]
        return Features({"objects": lengths}, objects=self.backbone.objects(largest), scene=regions.mean(1))


def make(threshold: float = 0.7, finetune_from: str | None = None) -> Objects:
    torch.manual_seed(3)
    return Objects(threshold, finetune_from)


def photographs(count: int = 6) -> Tensor:
    return torch.randint(0, 256, (count, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def trained(encoder: Encoder) -> set[str]:
    return {name for name, parameter in encoder.named_parameters() if parameter.requires_grad}


def test_it_is_short() -> None:
    assert len(inspect.getsource(Objects).splitlines()) < 40


def test_its_spec_and_its_features() -> None:
    encoder = make()
    assert encoder.spec == FeatureSpec(["objects"], objects=(9, 6), scene=(4,))
    assert encoder.stages == ("eyes", "objects") and not encoder.trainable
    features = encoder(photographs())
    lengths = features.lengths["objects"]
    assert len(set(lengths.tolist())) > 1 and features["objects"].shape == (6, int(lengths.max()), 6)
    for place, length in enumerate(lengths.tolist()):  # alone, a photograph has the same regions
        alone = encoder(photographs()[place : place + 1])
        assert torch.allclose(alone["objects"][0], features["objects"][place, :length], atol=1e-6)


def test_what_it_stores_is_what_it_gives(tmp_path: Path) -> None:
    encoder, paths = make(), [tmp_path / f"{number}.png" for number in range(6)]
    for path, photograph in zip(paths, photographs(), strict=True):
        Image.fromarray(np.ascontiguousarray(photograph.permute(1, 2, 0).numpy())).save(path)
    key, folder = {"encoder": encoder.fingerprint()}, tmp_path / "store"
    settings = {"key": key, "spec": encoder.spec, "transform": encoder.transform, "paths": paths, "batch_size": 2}
    store = FeatureStore.build(folder, extractor=encoder.fused, workers=0, **settings)
    live, stored = encoder(photographs()), store[range(6)].to(dtype=torch.float32)
    assert torch.equal(stored.lengths["objects"], live.lengths["objects"])
    assert torch.allclose(stored.mean("objects"), live.mean("objects"), atol=2e-3)
    assert torch.allclose(stored["scene"], live["scene"], atol=2e-3)


def test_its_settings_and_weights_are_what_tells_it_apart() -> None:
    encoder = make()
    assert encoder.identity == {"threshold": 0.7, "finetune_from": None}
    assert make(0.7).fingerprint() == encoder.fingerprint() != make(0.8).fingerprint()
    torch.manual_seed(4)
    assert Objects().fingerprint() != encoder.fingerprint()
    for again in (copy.deepcopy(encoder), pickle.loads(pickle.dumps(encoder))):
        assert again.fingerprint() == encoder.fingerprint() and again.spec == encoder.spec


def test_fused_gives_the_same_features() -> None:
    encoder = make()
    plain, fused = encoder(photographs()), encoder.fused()
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fused.modules())
    assert torch.allclose(fused(photographs()).mean("objects"), plain.mean("objects"), atol=1e-5)


class NormFirst(Encoder):
    """A network that normalises before it convolves, and lists the two the other way round."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        network = nn.ModuleDict({"conv": nn.Conv2d(3, 3, 3, padding=1), "norm": nn.BatchNorm2d(3)})
        network["norm"].running_mean.uniform_(1, 2)
        network["norm"].running_var.uniform_(1, 2)
        super().__init__(network, image_size=8)

    def encode(self, images: Tensor) -> Features:
        return Features(map=self.backbone["conv"](self.backbone["norm"](images)))


def test_a_batch_norm_before_its_convolution_is_not_folded() -> None:
    encoder, images = NormFirst(), photographs()[:, :, :8, :8]
    assert encoder.spec.layout("map") == (8, 8)
    assert torch.equal(encoder.fused()(images)["map"], encoder(images)["map"])


def test_timm_s_models_are_folded_with_their_activations() -> None:
    torch.manual_seed(0)
    encoder = Timm("mobilenetv3_small_050", None, 64)
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.3, 0.3)
            module.running_var.uniform_(0.5, 1)
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    fused, plain = encoder.fused(), encoder(images)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fused.modules())
    assert torch.allclose(fused(images)["grid"], plain["grid"], atol=1e-4 * float(plain["grid"].abs().max()))


@pytest.mark.parametrize(("parts", "stays"), [(("scene",), False), (("objects",), True), (("scene", "objects"), True)])
def test_keep_freezes_what_a_part_does_not_need(parts: tuple[str, ...], stays: bool) -> None:
    encoder = make(finetune_from="eyes")
    both = trained(encoder)
    encoder.keep(parts)
    assert trained(encoder) == (both if stays else {name for name in both if ".objects." not in name})


def test_keep_of_nothing_that_is_there() -> None:
    with pytest.raises(
        CaptioningError, match=r"behind the features .* \(scene\): name an earlier one of eyes, objects"
    ):
        make(finetune_from="objects").keep(["scene"])
    with pytest.raises(CaptioningError, match=r"'grid' .* this encoder has objects, scene"):
        make(finetune_from="objects").keep(["grid"])
    with pytest.raises(CaptioningError, match=r"finetune_from=ears is not a stage of Objects\. .*: eyes, objects;"):
        make(finetune_from="ears")


def test_its_fine_tuning_does_not_see_what_is_beyond_a_length() -> None:
    """The gradient of a batch is the mean of those of its photographs alone."""
    encoder, images = make(finetune_from="eyes"), photographs()
    wanted = torch.zeros(len(trained(encoder)))

    def gradients(images: Tensor) -> Tensor:
        encoder.zero_grad()
        encoder(images).mean("objects").square().mean().backward()
        return torch.stack([p.grad.sum() for p in encoder.parameters() if p.requires_grad])

    for image in images:
        wanted += gradients(image[None]) / len(images)
    assert torch.allclose(gradients(images), wanted, atol=1e-5)


class Colours(Encoder):
    """No network at all: every photograph has the colours of as many of its rows as it has bright ones."""

    def __init__(self, name: str = "rows", most: dict[str, int] | None = None) -> None:
        self.name = name
        super().__init__(image_size=(4, 8), mean=(0, 0, 0), std=(1 / 255,) * 3, most=most)

    def encode(self, images: Tensor) -> Features:
        rows = images.mean(3).transpose(1, 2)  # (B, 4, 3)
        lengths = (rows.mean(2) > 200).sum(1)
        return Features({self.name: lengths}, **{self.name: rows[:, : int(lengths.max())]})


def test_an_encoder_without_a_network() -> None:
    encoder = Colours(most={"rows": 4})
    assert encoder.spec == FeatureSpec(["rows"], rows=(4, 3)) and encoder.stages == ()
    images = torch.zeros(2, 3, 4, 8, dtype=torch.uint8)
    images[0, :, :3], images[1, :, :1] = 255, 201
    assert encoder(images).lengths["rows"].tolist() == [3, 1]
    assert encoder(images)["rows"][:, 0, 0].tolist() == [255, 201]  # bytes, as they are
    with pytest.raises(CaptioningError, match="Colours finds no region in a photograph for its rows features"):
        encoder(0 * images)


def test_what_can_not_be_a_part() -> None:
    with pytest.raises(CaptioningError, match=r"'my\.rows' can't name a part"):
        Colours("my.rows")
    with pytest.raises(CaptioningError, match=r"most=\{'row': 4\}: encode of Colours gives no lengths of row\."):
        Colours(most={"row": 4})
