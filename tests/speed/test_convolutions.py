"""Fast convolutions of a fine-tuned encoder: the values, gradients and weights of the plain one."""

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn

from captioning.core.features import Features
from captioning.encoders import Encoder
from captioning.encoders.efficientnet import EfficientNetLite0
from captioning.encoders.resnet import ResNet
from captioning.encoders.several import Several
from captioning.encoders.timm import Timm
from captioning.speed import make_convolutions_fast

SIDE = 32


def with_statistics(encoder: Encoder) -> Encoder:
    """The encoder with BatchNorms that are not those of initialisation."""
    generator = torch.Generator().manual_seed(1)
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, least in ((module.running_mean, -0.3), (module.running_var, 0.5), (module.weight, 0.7)):
                tensor.data.copy_(torch.rand(tensor.shape, generator=generator) * 0.6 + least)
    return encoder


def make(kind: str) -> Encoder:
    torch.manual_seed(0)
    made: Encoder
    if kind == "several":
        made = Several({"a": make("resnet"), "b": make("lite")})
    elif kind == "lite":
        made = EfficientNetLite0(None, SIDE, finetune_from="stage6", more_stages=["stage5"])
    elif kind == "resnet":
        made = ResNet("resnet18", None, SIDE, last_stage="layer2", finetune_from="layer1")
    else:
        made = Timm("mobilenetv3_small_050", None, SIDE, finetune_from="blocks.2")
    return with_statistics(made)


def images(encoder: Encoder, count: int = 3) -> Tensor:
    shape = (count, *encoder.picture().shape[1:])
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.manual_seed(2))


def loss(features: Features) -> Tensor:
    return sum((part * torch.linspace(-1, 1, part.shape[-1])).square().mean() for part in features.values())


@pytest.mark.parametrize("kind", ["lite", "resnet", "timm", "several"])
def test_values_and_gradients_are_those_of_the_plain_encoder(kind: str) -> None:
    plain, fast = make(kind).double(), make_convolutions_fast(make(kind).double())
    assert any("forward" in vars(module) for module in fast.modules())
    assert list(plain.state_dict()) == list(fast.state_dict()) and plain.fingerprint() == fast.fingerprint()
    given = images(plain)
    expected, found = plain(given), fast(given)
    for part in expected:
        torch.testing.assert_close(found[part], expected[part], rtol=1e-9, atol=1e-9)
    loss(expected).backward()
    loss(found).backward()
    tuned = [name for name, weight in plain.named_parameters() if weight.grad is not None]
    assert len(tuned) > 5
    for name, weight in fast.named_parameters():
        assert (weight.grad is not None) == (name in tuned)
        if weight.grad is not None:
            torch.testing.assert_close(weight.grad, plain.get_parameter(name).grad, rtol=1e-7, atol=1e-9)


def test_other_weights_are_used_wherever_they_come_from() -> None:
    """After a checkpoint is loaded, after a step, in a copy and from a pickle."""
    fast, other = make_convolutions_fast(make("lite")), make("lite")
    given = images(fast)
    with torch.no_grad():
        for weight in other.parameters():
            weight.mul_(1.05)
    copied = copy.deepcopy(fast)
    fast.load_state_dict(other.state_dict())
    torch.testing.assert_close(fast(given)["grid"], other(given)["grid"], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(pickle.loads(pickle.dumps(fast))(given)["grid"], fast(given)["grid"])
    torch.testing.assert_close(copied(given)["grid"], make("lite")(given)["grid"], rtol=1e-4, atol=1e-4)
    copied.load_state_dict(other.state_dict(), assign=True)
    torch.testing.assert_close(copied(given)["grid"], other(given)["grid"], rtol=1e-4, atol=1e-4)


def test_trained_depthwise_convolutions_compute_in_single_precision_under_autocast() -> None:
    """So they are no less precise than the plain ones in bfloat16, and the others have its precision."""
    plain, fast = make("lite"), make_convolutions_fast(make("lite"))
    seen: dict[str, set[torch.dtype]] = {"depthwise": set(), "frozen": set(), "others": set()}
    for module in fast.backbone.modules():
        if isinstance(module, nn.Conv2d):
            trained = module.weight.requires_grad and module.groups > 1
            kind = "depthwise" if trained else "others" if module.weight.requires_grad else "frozen"
            module.register_forward_hook(lambda _, __, maps, kind=kind: seen[kind].add(maps.dtype))
    given = images(fast)
    exact = plain(given)["grid"].detach()
    with torch.autocast("cpu", torch.bfloat16):
        errors = [(encoder(given)["grid"].float() - exact).norm() for encoder in (fast, plain)]
    assert seen == {"depthwise": {torch.float32}, "frozen": {torch.bfloat16}, "others": {torch.bfloat16}}
    assert errors[0] < 1.2 * errors[1] < 0.1 * exact.norm()


class NormFirst(Encoder):
    """A network that normalises before it convolves, and lists the two the other way round."""

    def __init__(self) -> None:
        network = nn.ModuleDict({"conv": nn.Conv2d(3, 3, 3, padding=1), "norm": nn.BatchNorm2d(3)})
        super().__init__(network, image_size=8)

    def encode(self, images: Tensor) -> Features:
        return Features(map=self.backbone["conv"](self.backbone["norm"](images)))


def test_an_encoder_whose_features_would_change_stays_as_it_was() -> None:
    encoder = with_statistics(NormFirst())
    expected = encoder(images(encoder))["map"]
    assert torch.equal(make_convolutions_fast(encoder)(images(encoder))["map"], expected)
    assert not any("forward" in vars(module) for module in encoder.modules())
