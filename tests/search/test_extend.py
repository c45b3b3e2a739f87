"""The two-stage selection against one stable sort of everything."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from captioning.core.vocabulary import PAD
from captioning.search.extend import best_extensions, block_repeats


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    beams=st.integers(1, 6),
    words=st.one_of(st.integers(4, 40), st.integers(100, 700), st.sampled_from([128, 256, 1000])),
    size=st.integers(1, 9),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    levels=st.sampled_from([0, 1, 3]),
    dead=st.booleans(),
)
def test_two_stages_are_one_stable_sort(seed, beams, words, size, dtype, levels, dead):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(3, beams, words, generator=generator)
    if levels:
        logits = torch.randint(levels, logits.shape, generator=generator).float()
    log_probs = logits.to(dtype).log_softmax(-1, dtype=torch.float32)
    log_probs[..., PAD] = -torch.inf
    scores = torch.randn(3, beams, generator=generator).sort(descending=True).values
    if dead:
        scores[:, -1] = -torch.inf
    sums = (scores.unsqueeze(-1) + log_probs).flatten(1)
    values, order = sums.sort(dim=1, descending=True, stable=True)
    K = min(size, beams * words)
    found, parents, tokens = best_extensions(log_probs, scores, size)
    assert torch.equal(found, values[:, :K])
    alive = found > -torch.inf
    assert torch.equal(parents[alive], (order[:, :K] // words)[alive])
    assert torch.equal(tokens[alive], (order[:, :K] % words)[alive])
    assert (parents < beams).all()
    assert (tokens < words).all()


def test_block_repeats():
    words = torch.tensor([[[5, 6, 7, 5, 6], [5, 5, 5, 5, 5], [4, 5, 6, 7, 8]]])

    def blocked(n):
        log_probs = block_repeats(torch.zeros(1, 3, 10), words, n)[0]
        return [set(row.isinf().nonzero().flatten().tolist()) - {PAD} for row in log_probs]

    assert blocked(1) == [{5, 6, 7}, {5}, {4, 5, 6, 7, 8}]
    assert blocked(2) == [{7}, {5}, set()]
    assert blocked(3) == [{7}, {5}, set()]
    assert blocked(4) == [set(), {5}, set()]
    assert blocked(6) == [set(), set(), set()]
