"""oneDNN's products are torch's, gradients included."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from captioning.speed.linear import FastLinear, repeated

onednn = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN")


class Names(TorchDispatchMode):
    """The operations that run."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.add(function.overloadpacket.__name__)
        return function(*args, **(kwargs or {}))


@pytest.fixture(autouse=True)
def _seed() -> Iterator[None]:
    torch.manual_seed(0)
    yield


def results(output: Tensor, x: Tensor, layer: FastLinear) -> list[Tensor]:
    wanted = [part for part in (x, layer.weight, layer.bias) if part is not None]
    return [output, *torch.autograd.grad(output.square().sum(), wanted)]


@onednn
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(64, 256), (4, 2, 8, 256)], ids=str)
def test_values_and_gradients_are_torchs(shape: tuple[int, ...], bias: bool) -> None:
    layer, x = FastLinear(256, 300, bias=bias), torch.randn(shape, requires_grad=True)
    with Names() as ran:
        found = results(layer(x), x, layer)
    assert "_linear_pointwise" in ran.names and "mm" not in ran.names
    torch.testing.assert_close(found, results(F.linear(x, layer.weight, layer.bias), x, layer), atol=2e-4, rtol=1e-4)


@onednn
def test_in_a_loop_and_in_inference() -> None:
    layer, x = FastLinear(256, 300), torch.randn(3, 64, 256, requires_grad=True)
    with Names() as ran, repeated(layer, [64] * 3):
        output = torch.stack([layer(step) for step in x])
    assert "_linear_pointwise" in ran.names
    expected = F.linear(x, layer.weight, layer.bias)
    torch.testing.assert_close(results(output, x, layer), results(expected, x, layer), atol=5e-4, rtol=1e-4)
    with torch.inference_mode():
        torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize(
    ("x", "outputs"),
    [
        (torch.randn(3, 256), 300),  # too small to be worth it
        (torch.randn(2**15, 256), 1),
        (torch.randn(2**15), 300),
        (torch.randn(64, 256, dtype=torch.double), 300),
        (torch.randn(0, 256), 300),
    ],
    ids=["few", "narrow", "a vector", "double", "none"],
)
def test_all_others_are_torchs_own(x: Tensor, outputs: int) -> None:
    layer = FastLinear(x.shape[-1], outputs, dtype=x.dtype)
    with Names() as ran:
        found = layer(x)
    assert "_linear_pointwise" not in ran.names
    assert torch.equal(found, F.linear(x, layer.weight, layer.bias))


def test_half_precision_is_autocasts() -> None:
    layer, x = FastLinear(256, 300), torch.randn(64, 256)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
