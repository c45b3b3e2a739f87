"""Nothing is computed for padding, and what belongs to a photograph is computed once for all of its captions."""

from collections import Counter

import pytest
import torch
from torch import nn

from captioning.cells import GRU, Cell
from captioning.core.features import Features, FeatureSpec
from captioning.core.packing import Packing
from captioning.decoders import (
    LRCN,
    MRNN,
    Adaptive,
    AttentionOnAttention,
    Decoder,
    NeuralTalk,
    RecurrentDecoder,
    ShowAttendTell,
    ShowTell,
    Transformer,
    UpDown,
    VisualMemory,
)

B, L, D, V = 4, 3, 5, 12
LENGTHS = torch.tensor([[9, 1, 4], [2, 7, 3], [5, 0, 1], [8, 8, 2]])
M = int(LENGTHS.sum())
REGIONS = ("attention.key", "Wa", "regions", "regions.0", "Wkv", "Wqkv", "aoa.Wq", "aoa.Wv", "key", "value")
# what sees the photograph: once for each
IMAGE = {
    NeuralTalk: {"recurrent.layers.0.Wih"},
    LRCN: {"recurrent.layers.0.Wih"},
    ShowTell: {"image_embedding"},
    MRNN: {"VI"},
    VisualMemory: {"recurrent.layers.0.Wih"},
    ShowAttendTell: {"attention.key", "initial.0.0", "initial.0.2"},
    Adaptive: {"attention.key", "Wa", "Wb", "recurrent.layers.0.Wih", "Wxv"},
    UpDown: {"attention.key", "attending.layers.0.Wih"},
    AttentionOnAttention: {
        *("regions", "key", "value"),
        *(f"refining.{layer}.{part}" for layer in range(6) for part in ("Wqkv", "aoa.Wq", "aoa.Wv")),
    },
    Transformer: {"regions.0", *(f"layers.{layer}.Wkv" for layer in range(3))},
}


@pytest.mark.parametrize("kind", IMAGE, ids=lambda kind: kind.__name__)
def test_a_row_a_word_and_one_a_photograph(kind: type[Decoder]) -> None:
    torch.manual_seed(0)
    settings = {"cell": GRU, "hidden_size": 8} if issubclass(kind, RecurrentDecoder) else {}
    decoder = kind(V, FeatureSpec(pooled=(D,), grid=(1, L, D)), embedding_size=8, **settings)
    rows: Counter[str] = Counter()

    def count(name: str) -> None:
        def hook(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            rows[name] += output.shape[:-1].numel()

        decoder.get_submodule(name).register_forward_hook(hook)

    for name, module in decoder.named_modules():
        if isinstance(module, nn.Linear | nn.Embedding | Cell):
            count(name)
    tokens = torch.randint(4, V, (*LENGTHS.shape, 9)) * (torch.arange(9) < LENGTHS.unsqueeze(-1))
    packing = Packing.of(tokens)
    features = Features(pooled=torch.randn(B, D), grid=torch.randn(B, L, D))
    outputs = decoder.teacher_force(features, packing.pack(tokens), packing)
    decoder.logits(outputs.hidden)

    score = rows.pop("attention.score", 0)
    assert score in (0, M * L, M * (L + 1))  # the sentinel is one more
    image = {name: rows.pop(name) for name in IMAGE[kind]}
    start = {"recurrent.layers.0": B, "recurrent.layers.0.Wxh": B, "recurrent.layers.0.Whh": B}
    if kind is ShowTell:  # the photograph is its first word
        rows.subtract(start)
    if kind is AttentionOnAttention:  # of the regions' mean, and of the context at every word
        rows["recurrent.layers.0.Wih"] -= B
    assert image == {name: B * L if name.endswith(REGIONS) else B for name in IMAGE[kind]}
    assert rows.pop("Wuv", M) == M
    assert {"embedding", "word_layer"} <= rows.keys()
    assert set(rows.values()) == {M}, rows
