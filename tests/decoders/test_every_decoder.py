"""What holds for every decoder with every cell: a new file in conf/decoder or conf/cell is tested as it is."""

from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from captioning.core.features import Features, FeatureSpec
from captioning.core.packing import Packing
from captioning.core.vocabulary import PAD, START
from captioning.decoders import Decoder

CONF = Path(__file__).resolve().parents[2] / "conf"
SPEC = FeatureSpec(pooled=6, grid=7, shape=(2, 3))
B, S, T, V = 3, 2, 6, 17

# settings that make another captioner of the same yaml
SETTINGS = {
    "lrcn": ["factored=false", "factored=true"],
    "neuraltalk": ["inject=first", "inject=every"],
    "show_attend_tell": ["attention=soft", "attention=hard"],
}
DECODERS = [
    (name, setting)
    for name in sorted(path.stem for path in (CONF / "decoder").glob("*.yaml") if path.stem != "base")
    for setting in SETTINGS.get(name, ["tied=false"])
]
CELLS = sorted(path.stem for path in (CONF / "cell").glob("*.yaml"))
COMBINATIONS = [pytest.param(*decoder, cell, id="-".join([*decoder, cell])) for decoder in DECODERS for cell in CELLS]
every = pytest.mark.parametrize(("name", "setting", "cell"), COMBINATIONS)


def build(name: str, *settings: str, cell: str = "lstm", size: int = 8) -> Decoder:
    """The decoder of conf/decoder/{name}.yaml, made small."""
    with initialize_config_dir(str(CONF), version_base=None):
        config = compose(f"decoder/{name}", overrides=[f"decoder.{setting}" for setting in settings])["decoder"]
        kind = instantiate(compose(f"cell/{cell}")["cell"])
    for key in config:
        if key.endswith("_size"):
            config[key] = size
    torch.manual_seed(0)
    decoder = instantiate(config, _partial_=True)(V, SPEC, kind)
    assert isinstance(decoder, Decoder)
    return decoder.eval()


def features(images: int = B) -> Features:
    generator = torch.Generator().manual_seed(1)
    return Features(
        pooled=torch.randn(images, SPEC.pooled, generator=generator),
        grid=torch.randn(images, SPEC.regions, SPEC.grid, generator=generator),
    )


def captions() -> torch.Tensor:
    """``(B, S, T)``, of all lengths from none to T."""
    lengths = torch.tensor([[3, 6], [1, 0], [4, 2]])
    tokens = torch.randint(4, V, (B, S, T), generator=torch.Generator().manual_seed(2))
    tokens[:, :, 0] = START
    return tokens.masked_fill(torch.arange(T) >= lengths.unsqueeze(-1), PAD)


def gradients(decoder: Decoder, hidden: torch.Tensor, trace: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    decoder.zero_grad()
    loss = decoder.logits(hidden).square().sum() + sum(values.square().sum() for values in trace.values())
    loss.backward()
    return {key: weight.grad.clone() for key, weight in decoder.named_parameters() if weight.grad is not None}


@every
@pytest.mark.parametrize("depth", [1, 2])
def test_forward_is_the_loop_of_steps_and_so_are_its_gradients(name: str, setting: str, cell: str, depth: int) -> None:
    decoder = build(name, f"depth={depth}", setting, cell=cell)
    packing = Packing.of(captions())
    words = packing.pack(captions())
    fast, slow = decoder.read(features(), words, packing), decoder.read_by_steps(features(), words, packing)
    torch.testing.assert_close(fast.hidden, slow.hidden, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(fast.trace, slow.trace, atol=1e-5, rtol=1e-5)
    ours, expected = gradients(decoder, fast.hidden, fast.trace), gradients(decoder, slow.hidden, slow.trace)
    torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)
    assert all(gradient.abs().sum() > 0 for gradient in ours.values())
