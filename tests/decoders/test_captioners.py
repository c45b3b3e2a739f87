"""What is each captioner's own, against its paper's equations."""

import pytest
import torch

from captioning.cells import LSTM, RNN
from captioning.core.errors import CaptioningError
from captioning.core.features import Features, FeatureSpec
from captioning.core.packing import Packing
from captioning.decoders import LRCN, MRNN, Decoder, LanguageModel, NeuralTalk, ShowTell, VisualMemory

B, P, E, H, V = 2, 5, 6, 7, 11
SPEC = FeatureSpec(pooled=(P,), grid=(1, 1, 1))
SIZES = {"embedding_size": E, "hidden_size": H}
TOKENS = torch.tensor([[[1, 5, 8]], [[1, 9, 4]]])


@pytest.fixture
def features() -> Features:
    torch.manual_seed(0)
    return Features(pooled=torch.randn(B, P))


def test_neuraltalk_first_sees_the_photograph_once(features: Features) -> None:
    decoder = NeuralTalk(V, SPEC, RNN, inject="first", **SIZES)
    cell, h = decoder.recurrent.layer(0), torch.zeros(B, H)
    for t in range(3):
        x = decoder.embedding(TOKENS[:, 0, t])
        h = torch.tanh(cell.Wxh(x) + cell.Whh(h) + (cell.Wih(features["pooled"]) if t == 0 else 0))
        torch.testing.assert_close(decoder(features, TOKENS)[:, 0, t], decoder.word_layer(h))


def test_show_tell_reads_the_photograph_as_the_word_before_start(features: Features) -> None:
    decoder = ShowTell(V, SPEC, LSTM, **SIZES)
    oracle, cell = torch.nn.LSTM(E, H, batch_first=True), decoder.recurrent.layer(0)
    for name, matrix in {"ih": cell.Wxh, "hh": cell.Whh}.items():
        getattr(oracle, f"weight_{name}_l0").data = matrix.weight.data
        getattr(oracle, f"bias_{name}_l0").data = matrix.bias.data
    words = decoder.embedding(TOKENS[:, 0])  # (B, T, E)
    image = decoder.image_embedding(features["pooled"]).unsqueeze(1)
    hidden, _ = oracle(torch.cat([image, words], dim=1))
    torch.testing.assert_close(decoder(features, TOKENS)[:, 0], decoder.word_layer(hidden[:, 1:]))


def test_show_tell_normalises_one_photograph_by_the_running_statistics(features: Features) -> None:
    torch.manual_seed(0)
    decoder = ShowTell(V, SPEC, LSTM, image_norm="batch", **SIZES)
    decoder.image_norm.running_mean.fill_(0.3)
    decoder.image_norm.running_var.fill_(4.0)
    one = features.map(lambda part: part[:1])
    torch.testing.assert_close(
        decoder.train().start(one).sequence["hidden"], decoder.eval().start(one).sequence["hidden"]
    )
    assert decoder.image_norm.running_mean.eq(0.3).all()


@pytest.mark.parametrize(("factored", "layer"), [(False, 0), (True, 1)])
def test_lrcn_gives_the_photograph_to_one_layer(features: Features, factored: bool, layer: int) -> None:
    decoder = LRCN(V, SPEC, LSTM, factored=factored, depth=2, **SIZES)
    entered = [decoder.recurrent.layer(index).Wih is not None for index in range(2)]
    assert entered == [index == layer for index in range(2)]
    other = Features(pooled=features["pooled"] + 1)
    state, changed = (decoder.advance(TOKENS[:, :, 0], decoder.start(given))[1] for given in (features, other))
    moved = (state.sequence["hidden"] - changed.sequence["hidden"]).abs().amax(dim=(0, 1, 3)) > 0
    assert moved.tolist() == [not factored, True]  # the second layer in either case


def test_mrnn_adds_word_recurrent_layer_and_photograph_through_the_scaled_tanh(features: Features) -> None:
    decoder = MRNN(V, SPEC, RNN, second_embedding_size=8, multimodal_size=9, **SIZES)
    cell, r = decoder.recurrent.layer(0), torch.zeros(B, H)
    for t in range(3):
        w = decoder.second_embedding(decoder.embedding(TOKENS[:, 0, t]))
        r = torch.tanh(cell.Wxh(w) + cell.Whh(r))
        m = 1.7159 * torch.tanh(2 / 3 * (decoder.Vw(w) + decoder.Vr(r) + decoder.VI(features["pooled"])))
        torch.testing.assert_close(decoder(features, TOKENS)[:, 0, t], decoder.word_layer(m))


def test_visual_memory_imagines_the_photograph_from_words_alone(features: Features) -> None:
    decoder = VisualMemory(V, SPEC, LSTM, memory_size=8, reconstruction=3.0, **SIZES)
    packing = Packing.of(TOKENS)
    words, log_p = packing.pack(TOKENS), torch.zeros(6)
    outputs = decoder.teacher_force(features, words, packing)
    u = outputs.trace["visual memory"]
    other = decoder.teacher_force(Features(pooled=features["pooled"] + 1), words, packing)
    assert torch.equal(other.trace["visual memory"], u)
    assert not torch.equal(other.hidden, outputs.hidden)
    losses = decoder.losses(outputs, features, packing, log_p)
    imagined = packing.unpack(decoder.Wuv(u))[:, 0]  # (B, T, P)
    error = (imagined - features["pooled"].unsqueeze(1)).square().mean()
    assert losses.keys() == {"reconstruction"} and losses["reconstruction"].count == 6
    torch.testing.assert_close(losses["reconstruction"].mean, 3 * error)


def test_tied_weights_are_one_and_need_equal_widths() -> None:
    decoder = ShowTell(V, SPEC, LSTM, embedding_size=E, hidden_size=E, tied=True)
    assert decoder.word_layer.weight is decoder.embedding.weight
    with pytest.raises(CaptioningError, match=f"decoder.embedding_size={H}"):
        ShowTell(V, SPEC, LSTM, tied=True, **SIZES)


@pytest.mark.parametrize(
    "setting", [{"depth": 0}, {"layer_dropout": 1.5}, {"output_dropout": -0.1}, {"embedding_dropout": 2}]
)
@pytest.mark.parametrize("kind", [ShowTell, NeuralTalk])
def test_settings_out_of_range_are_a_sentence(kind: type[Decoder], setting: dict[str, float]) -> None:
    ((name, value),) = setting.items()
    with pytest.raises(CaptioningError, match=rf"^decoder\.{name}={value}: take "):
        kind(V, SPEC, LSTM, **{**SIZES, **setting})


@pytest.mark.parametrize("one_hot", [False, True])
def test_a_language_model_is_neuraltalk_without_the_photograph(one_hot: bool, features: Features) -> None:
    model = LanguageModel(V, SPEC, LSTM, one_hot=one_hot, depth=2, **SIZES)
    sighted = NeuralTalk(V, SPEC, LSTM, depth=2, **{**SIZES, "embedding_size": V if one_hot else E})
    missing = sighted.load_state_dict(model.state_dict(), strict=False)
    assert missing.missing_keys == ["recurrent.layers.0.Wih.weight"] and not missing.unexpected_keys
    blank = Features(pooled=torch.zeros(B, P))
    torch.testing.assert_close(model(features, TOKENS), sighted(blank, TOKENS))
    torch.testing.assert_close(model(Features.none(B), TOKENS), model(features, TOKENS))


def test_characters_as_unit_vectors_are_nothing_to_learn_and_the_first_character_is_none_to_leave_out() -> None:
    one_hot, embedded = (LanguageModel(V, SPEC, RNN, one_hot=choice, **SIZES) for choice in (True, False))
    assert torch.equal(one_hot.embed(torch.tensor([3])), torch.eye(V)[3:4])
    assert not one_hot.embedding.weight.requires_grad
    embedded.embed(torch.tensor([0, 0])).sum().backward()
    assert embedded.embedding.weight.grad is not None
    assert embedded.embedding.weight.grad[0].tolist() == [2.0] * E
    with pytest.raises(CaptioningError, match=r"decoder\.tied=false"):
        LanguageModel(V, SPEC, RNN, one_hot=True, tied=True, **SIZES)
