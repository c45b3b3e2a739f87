"""The encoder of sentences: torch's own bidirectional layers, a sentence alone and among others, and its speed."""

from typing import Any

import pytest
import torch
from torch import nn

from captioning.cells import GRU, LSTM, RNN, Cell
from captioning.core.errors import CaptioningError
from captioning.core.sentences import Sentences
from captioning.encoders.sentence import SentenceEncoder
from captioning.speed import make_fast

SENTENCES = Sentences.of([[4, 5, 6, 2], [7, 2], [4, 8, 9, 7, 5, 2], [2]])
KINDS: list[tuple[type[Cell], type[nn.RNNBase]]] = [(RNN, nn.RNN), (GRU, nn.GRU), (LSTM, nn.LSTM)]


def encoder(cell: type[Cell] = GRU, **settings: object) -> SentenceEncoder:
    torch.manual_seed(0)
    sizes = {"embedding_size": 5, "hidden_size": 4, **settings}
    return SentenceEncoder(12, cell, **sizes).eval()


@pytest.mark.parametrize(("cell", "oracle"), KINDS)
@pytest.mark.parametrize("bidirectional", [True, False])
def test_it_reads_as_torch_s_own_layers_do(cell: type[Cell], oracle: type[nn.RNNBase], bidirectional: bool) -> None:
    ours = encoder(cell, depth=2, bidirectional=bidirectional)
    theirs = oracle(5, 4, 2, batch_first=True, bidirectional=bidirectional)
    for layer, cells in enumerate(ours.layers):
        for place, each in enumerate(cells):
            for side, name in (("Wxh", "ih"), ("Whh", "hh")):
                for kind in ("weight", "bias"):
                    suffix = f"_l{layer}" + "_reverse" * place
                    getattr(theirs, f"{kind}_{name}{suffix}").data = getattr(getattr(each, side), kind).data
    packed = nn.utils.rnn.pack_padded_sequence(
        ours.embedding(SENTENCES.words), SENTENCES.lengths, batch_first=True, enforce_sorted=False
    )
    outputs, last = theirs(packed)
    hidden = last[0] if isinstance(last, tuple) else last
    found = ours(SENTENCES)
    torch.testing.assert_close(found["grid"], nn.utils.rnn.pad_packed_sequence(outputs, batch_first=True)[0])
    directions = 2 if bidirectional else 1
    torch.testing.assert_close(found["pooled"], hidden[-directions:].transpose(0, 1).flatten(1))
    if not bidirectional and isinstance(last, tuple):
        torch.testing.assert_close(found["state"], torch.cat(last, dim=-1).transpose(0, 1))
    for part in ours.spec:
        width = ours.spec.stored(part)
        assert found[part].shape[-1] == width[-1] and (part == "grid" or found[part].shape[1:] == width)


def test_a_sentence_has_the_same_features_alone_and_among_longer_ones() -> None:
    made = encoder(LSTM, depth=2)
    together = made(SENTENCES)
    for place, length in enumerate(SENTENCES.lengths.tolist()):
        alone = made(Sentences(SENTENCES.words[place : place + 1, :length], SENTENCES.lengths[place : place + 1]))
        torch.testing.assert_close(alone["grid"][0], together["grid"][place, :length])
        assert not together["grid"][place, length:].any()
        for part in ("pooled", "state"):
            torch.testing.assert_close(alone[part][0], together[part][place])
    assert torch.equal(together.lengths["grid"], SENTENCES.lengths)


@pytest.mark.parametrize("cell", [GRU, LSTM])
def test_the_fast_encoder_has_the_values_and_gradients_of_the_plain_one(cell: type[Cell]) -> None:
    found = []
    for made in (encoder(cell), make_fast(encoder(cell))):
        features = made(SENTENCES)
        (features["grid"].square().sum() + features["pooled"].sum()).backward()
        found.append([features["grid"], *(weight.grad for weight in made.parameters())])
    assert len(found[0]) > 5
    for plain, fast in zip(*found, strict=True):
        torch.testing.assert_close(fast, plain)


def test_dropout_is_of_training_alone_and_settings_are_checked() -> None:
    made = encoder(embedding_dropout=0.5, depth=2, layer_dropout=0.5)
    assert torch.equal(made(SENTENCES)["grid"], made(SENTENCES)["grid"])
    made.train()
    assert not torch.equal(made(SENTENCES)["grid"], made(SENTENCES)["grid"])
    with pytest.raises(CaptioningError, match=r"encoder.depth=0: take 1 recurrent layer or more"):
        encoder(depth=0)
    with pytest.raises(CaptioningError, match=r"encoder.layer_dropout=2: take a fraction"):
        encoder(layer_dropout=2)


def test_it_reads_without_double_precision(no_doubles: type[Any]) -> None:
    with no_doubles():
        encoder(LSTM, depth=2).train()(SENTENCES)["grid"].sum().backward()
