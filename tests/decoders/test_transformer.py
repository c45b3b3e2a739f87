"""The transformer against ``torch.nn.TransformerDecoderLayer``, its positions, and its cache of keys and values."""

import math
from collections import Counter

import pytest
import torch
from torch import Tensor, nn

from captioning.core.errors import CaptioningError
from captioning.core.features import Features, FeatureSpec
from captioning.core.packing import Packing
from captioning.decoders import Transformer
from captioning.decoders.decoder import Decoder
from captioning.decoders.transformer import Layer, sinusoids

D, L, V, E, F, h = 4, 3, 9, 8, 10, 2
B, S, T = 2, 2, 5
TOKENS = torch.tensor([[[1, 5, 8, 4, 7], [1, 8, 0, 0, 0]], [[1, 7, 6, 5, 0], [0, 0, 0, 0, 0]]])
REGIONS = torch.tensor([3, 2])


def make(**settings: object) -> Transformer:
    torch.manual_seed(0)
    sizes = {"embedding_size": E, "feed_forward_size": F, "heads": h, "depth": 2}
    decoder = Transformer(V, FeatureSpec({"grid"}, grid=(L, D)), **{**sizes, **settings}).double().eval()
    for part in decoder.modules():
        if isinstance(part, nn.LayerNorm | nn.Linear):  # no weight of 1 and no bias of 0
            nn.init.normal_(part.bias)
            nn.init.normal_(part.weight)
    return decoder


def made_up() -> Features:
    grid = torch.randn(B, L, D, generator=torch.Generator().manual_seed(1)).double()
    return Features({"grid": REGIONS}, grid=grid)


def oracle(layer: Layer) -> nn.TransformerDecoderLayer:
    """torch's layer with the same weights."""
    theirs = nn.TransformerDecoderLayer(E, h, F, dropout=0.0, batch_first=True, norm_first=True).double().eval()
    with torch.no_grad():
        theirs.self_attn.in_proj_weight.copy_(layer.Wqkv.weight)
        theirs.self_attn.in_proj_bias.copy_(layer.Wqkv.bias)
        theirs.multihead_attn.in_proj_weight.copy_(torch.cat([layer.Wq.weight, layer.Wkv.weight]))
        theirs.multihead_attn.in_proj_bias.copy_(torch.cat([layer.Wq.bias, layer.Wkv.bias]))
    pairs = {theirs.self_attn.out_proj: layer.Wo, theirs.multihead_attn.out_proj: layer.Wr}
    pairs |= {theirs.linear1: layer.W1, theirs.linear2: layer.W2}
    pairs |= {theirs.norm1: layer.word_norm, theirs.norm2: layer.region_norm, theirs.norm3: layer.norm}
    for part, ours in pairs.items():
        part.load_state_dict(ours.state_dict())
    return theirs


def test_it_is_torch_s_decoder_over_the_regions_of_each_picture() -> None:
    decoder, features = make(), made_up()
    logits = decoder(features, TOKENS)
    causal = nn.Transformer.generate_square_subsequent_mask(T, dtype=torch.double)
    places = sinusoids(T, E, torch.device("cpu"))
    for b in range(B):
        regions = decoder.regions(features["grid"][b, : REGIONS[b]])
        for s in range(S):
            x = decoder.embedding(TOKENS[b, s]) * math.sqrt(E) + places
            for layer in decoder.layers:
                x = oracle(layer)(x.unsqueeze(0), regions.unsqueeze(0), tgt_mask=causal).squeeze(0)
            expected = decoder.word_layer(decoder.norm(x))
            there = TOKENS[b, s] != 0
            torch.testing.assert_close(logits[b, s][there], expected[there])


@pytest.mark.parametrize("size", [8, 7])
def test_positions_are_those_of_the_paper(size: int) -> None:
    found = sinusoids(30, size, torch.device("cpu"))
    for place in (0, 1, 29):
        for i in range(size):
            angle = place / 10000 ** (2 * (i // 2) / size)
            assert found[place, i].item() == pytest.approx(math.cos(angle) if i % 2 else math.sin(angle), abs=1e-5)


def test_a_step_computes_its_own_word_and_no_region() -> None:
    decoder, rows = make(), Counter[str]()

    def count(name: str) -> None:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            rows[name] += output.shape[:-1].numel()

        decoder.get_submodule(name).register_forward_hook(hook)

    for name, module in decoder.named_modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            count(name)
    state = decoder.start(made_up())
    started = Counter({"regions.0": B * L, "layers.0.Wkv": B * L, "layers.1.Wkv": B * L})
    assert rows == started
    for words in TOKENS.unbind(-1):
        _, state = decoder.step(words[:, :1], state)
    own = {name: B * T for name in rows if name not in started}
    assert rows == started + Counter(own) and len(own) == 2 * 6 + 2


def test_words_after_words_by_steps_where_all_sequences_are_as_long_and_a_sentence_where_not() -> None:
    decoder, tokens = make(), TOKENS[:1, :1]
    features = made_up().select(torch.tensor([0]))
    whole, states = decoder(features, tokens), []
    for way in (decoder.teacher_force_from, lambda *arguments: Decoder.teacher_force_from(decoder, *arguments)):
        state, found = decoder.start(features), []
        for chunk in tokens.split(3, dim=-1):
            packing = Packing.of(chunk)
            outputs, state = way(state, packing.pack(chunk), packing)
            found.append(packing.unpack(decoder.logits(outputs.hidden)))
        torch.testing.assert_close(torch.cat(found, dim=2), whole)
        states.append({name: part for name, part in state.sequence.items() if name != "attention"})
    torch.testing.assert_close(*states)
    packing = Packing.of(TOKENS)
    with pytest.raises(ValueError, match="grows with every word"):
        decoder.teacher_force_from(decoder.start(made_up()), packing.pack(TOKENS), packing, own_words=0.5)


def test_attention_is_the_mean_over_the_heads_of_the_last_layer() -> None:
    decoder, features = make(depth=1), made_up()
    _, state = decoder.step(TOKENS[:, :, 0], decoder.start(features))
    weights = state.sequence["attention"]
    torch.testing.assert_close(weights.sum(-1), torch.ones(B, S).double())
    assert (weights[1, :, 2] == 0).all() and (weights[0] > 0).all()
    layer = decoder.layers[0]
    x = decoder.embedding.weight[1] * math.sqrt(E) + sinusoids(1, E, torch.device("cpu"))
    _, value = layer.Wqkv(layer.word_norm(x)).split([2 * E, E], dim=-1)  # the first word attends to itself alone
    regions, attention = decoder.regions(features["grid"][:1]), oracle(layer).multihead_attn
    _, expected = attention(layer.region_norm(x + layer.Wo(value)).unsqueeze(0), regions, regions)
    torch.testing.assert_close(weights[0, 0], expected[0, 0])


@pytest.mark.parametrize("heads", [0, 3])
def test_heads_that_do_not_divide_are_a_sentence(heads: int) -> None:
    with pytest.raises(CaptioningError, match=rf"^decoder\.heads={heads}: take a number of heads that divides 8"):
        make(heads=heads)
    with pytest.raises(CaptioningError, match=r"^decoder\.depth=0: take 1 layer"):
        make(depth=0)


def test_sequences_that_ended_at_different_times_go_on_where_each_of_them_ended() -> None:
    decoder, features, packing = make(), made_up(), Packing.of(TOKENS)
    _, state = decoder.teacher_force_from(decoder.start(features), packing.pack(TOKENS), packing)
    more = torch.tensor([[[4, 6], [7, 8]], [[3, 5], [1, 4]]])
    again = Packing.of(more)
    outputs, _ = decoder.teacher_force_from(state, again.pack(more), again)
    step, _ = decoder.step(more[:, :, 0], state)
    found = again.unpack(decoder.logits(outputs.hidden))
    for b in range(B):
        for s in range(S):
            whole = torch.cat([TOKENS[b, s][TOKENS[b, s] != 0], more[b, s]]).view(1, 1, -1)
            expected = decoder(features.select(torch.tensor([b])), whole)[0, 0, -2:]
            torch.testing.assert_close(found[b, s], expected)
            torch.testing.assert_close(step[b, s], expected[0])
