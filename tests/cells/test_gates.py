"""The gates that a cell names are those that its step goes through."""

import pytest
import torch

from captioning.cells import (
    GRU,
    LSTM,
    MUT1,
    MUT2,
    MUT3,
    RNN,
    Cell,
    CoupledLSTM,
    MaxoutLSTM,
    NoForgetGateLSTM,
    PeepholeLSTM,
)

E, H, N = 5, 7, 4
BLOCKS = {  # each gate's place among the blocks of the terms
    LSTM: {"i": 0, "f": 1, "o": 3},
    PeepholeLSTM: {"i": 0, "f": 1, "o": 3},
    CoupledLSTM: {"i": 0, "o": 2},
    MaxoutLSTM: {"i": 0, "f": 1, "o": 2},
    NoForgetGateLSTM: {"i": 0, "o": 2},
    GRU: {"r": 0, "z": 1},
    MUT1: {"z": 1, "r": 2},
    MUT2: {"r": 0, "z": 1},
    MUT3: {"r": 0, "z": 1},
    RNN: {},
}


@pytest.mark.parametrize("kind", BLOCKS)
def test_a_term_opens_and_closes_the_gate_of_its_block_alone(kind: type[Cell]) -> None:
    torch.manual_seed(0)
    cell = kind(E, H)
    terms, state = torch.randn(N, cell.gates * H), torch.randn(N, cell.memories * H)
    before = cell.gates_of(terms, state)
    assert before.keys() == BLOCKS[kind].keys()
    for name, block in BLOCKS[kind].items():
        for push, limit in ((100.0, 1.0), (-100.0, 0.0)):
            pushed = terms.clone()
            pushed[:, block * H : (block + 1) * H] += push
            after = cell.gates_of(pushed, state)
            torch.testing.assert_close(after[name], torch.full((N, H), limit))
            for other in before.keys() - {name} - ({"o"} if kind is PeepholeLSTM else set()):  # o sees the next c
                torch.testing.assert_close(after[other], before[other])


def test_an_lstm_s_step_is_made_of_its_gates() -> None:
    torch.manual_seed(0)
    cell = LSTM(E, H)
    terms, state = torch.randn(N, 4 * H), torch.randn(N, 2 * H)
    gates = cell.gates_of(terms, state)
    h, c = cell(terms, state).chunk(2, dim=-1)
    torch.testing.assert_close(h, gates["o"] * c.tanh())
    candidate = (c - gates["f"] * state[:, H:]) / gates["i"]
    assert candidate.abs().max() <= 1


def test_a_gru_s_step_lies_between_its_state_and_its_candidate() -> None:
    torch.manual_seed(0)
    cell = GRU(E, H)
    terms, state = torch.randn(N, 3 * H), torch.randn(N, H)
    z = cell.gates_of(terms, state)["z"]
    candidate = (cell(terms, state) - z * state) / (1 - z)
    assert candidate.abs().max() <= 1
