"""The packing against torch's PackedSequence, and there and back again."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.utils.rnn import pack_padded_sequence

from captioning.core.packing import Packing


@given(st.lists(st.lists(st.integers(0, 6), min_size=3, max_size=3), min_size=1, max_size=4))
def test_packs_like_torch_and_unpacks_again(lengths: list[list[int]]) -> None:
    counts = torch.tensor(lengths)  # (B, 3)
    tokens = torch.randint(1, 50, (*counts.shape, 6)) * (torch.arange(6) < counts.unsqueeze(-1))
    packing = Packing.of(tokens)
    assert torch.equal(packing.unpack(packing.pack(tokens)), tokens)
    real = counts.flatten() > 0
    assert len(packing.captions) == real.sum()
    if real.any():
        theirs = pack_padded_sequence(tokens.flatten(0, 1)[real], counts.flatten()[real], True, enforce_sorted=False)
        assert theirs.batch_sizes.tolist() == list(packing.sizes)
        first = tokens.flatten(0, 1)[packing.captions]
        assert torch.equal(packing.pack(tokens), torch.cat([first[:n, t] for t, n in enumerate(packing.sizes)]))
        assert torch.equal(packing.images[packing.row_captions], packing.row_images)


@given(st.integers(1, 5), st.integers(1, 7))
def test_sequences_of_equal_length_whatever_their_words(sequences: int, words: int) -> None:
    tokens = torch.randint(1, 50, (sequences, 1, words))
    expected, packing = Packing.of(tokens), Packing.even(sequences, words)
    assert torch.equal(packing.rows, expected.rows)
    assert torch.equal(packing.captions, expected.captions)
    assert (packing.sizes, packing.shape) == (expected.sizes, expected.shape)
    assert torch.equal(packing.pack(tokens), tokens[:, 0].T.flatten())


def test_captions_are_packed_from_their_ends_to_their_beginnings() -> None:
    tokens = torch.tensor([[[4, 5, 6, 0], [7, 0, 0, 0]], [[8, 9, 3, 2], [5, 6, 0, 0]]])
    packing = Packing.of(tokens)
    turned = packing.turned()
    assert turned.pack(tokens).tolist() == [2, 6, 6, 7, 3, 5, 5, 9, 4, 8]
    assert torch.equal(turned.pack(tokens), packing.pack(tokens)[packing.backwards])
    assert torch.equal(turned.unpack(turned.pack(tokens)), tokens)  # each word in its own place
    assert torch.equal(packing.backwards[packing.backwards], torch.arange(10))
