"""A decoder without cells writes ``start`` and ``advance``; the rest is the base class's."""

import pytest
import torch
from torch import Tensor

from captioning.core.features import Features, FeatureSpec
from captioning.core.packing import Packing
from captioning.core.state import State
from captioning.decoders import Decoder

B, S, T, E, V = 2, 2, 4, 5, 11
SPEC = FeatureSpec(whole=(E,))
TOKENS = torch.tensor([[[1, 5, 8, 2], [1, 9, 0, 0]], [[1, 9, 4, 0], [0, 0, 0, 0]]])


class MeanOfWords(Decoder):
    """Says what the mean of the photograph and of all words so far is near to; its state grows with every word."""

    reads = ("whole",)

    def start(self, features: Features) -> State:
        return State({"whole": features["whole"]}, {"words": features["whole"].new_zeros(features.images, 1, 0, E)})

    def advance(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        words = torch.cat([state.sequence["words"], self.embed(tokens).unsqueeze(2)], dim=2)
        return words.mean(2) + state.image["whole"].unsqueeze(1), State(state.image, {"words": words})


@pytest.fixture
def decoder() -> MeanOfWords:
    torch.manual_seed(0)
    return MeanOfWords(V, SPEC, embedding_size=E)


@pytest.fixture
def features() -> Features:
    return Features(whole=torch.randn(B, E, generator=torch.Generator().manual_seed(1)))


def test_it_owes_nothing_to_cells(decoder: MeanOfWords) -> None:
    assert not {"cell", "hidden_size", "depth", "layer_dropout"} & vars(decoder).keys()
    assert decoder.word_layer.in_features == E


def test_captions_of_any_lengths_are_those_of_the_steps(decoder: MeanOfWords, features: Features) -> None:
    logits = decoder(features, TOKENS)
    for b in range(B):
        for s in range(S):
            words = decoder.embedding(TOKENS[b, s][TOKENS[b, s] != 0])
            for t in range(len(words)):
                expected = decoder.word_layer(words[: t + 1].mean(0) + features["whole"][b])
                torch.testing.assert_close(logits[b, s, t], expected)
    assert (logits[TOKENS == 0] == 0).all()


def test_from_a_state_where_the_sequences_are_as_long_and_a_sentence_where_not(
    decoder: MeanOfWords, features: Features
) -> None:
    tokens = TOKENS[:1, :1]
    whole, hidden = decoder(features.select(torch.tensor([0])), tokens), []
    state = decoder.start(features.select(torch.tensor([0])))
    for chunk in tokens.split(2, dim=-1):
        packing = Packing.of(chunk)
        outputs, state = decoder.teacher_force_from(state, packing.pack(chunk), packing)
        hidden.append(packing.unpack(decoder.logits(outputs.hidden)))
    torch.testing.assert_close(torch.cat(hidden, dim=2), whole)
    packing = Packing.of(TOKENS)
    with pytest.raises(ValueError, match="'words' grows with every word"):
        decoder.teacher_force_from(decoder.start(features), packing.pack(TOKENS), packing)
