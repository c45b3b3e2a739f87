"""Recurrent cells, each one layer, and the module that stacks them."""

from captioning.cells.cell import Cell
from captioning.cells.gru import GRU
from captioning.cells.lstm import LSTM
from captioning.cells.lstm_variants import CoupledLSTM, MaxoutLSTM, NoForgetGateLSTM, PeepholeLSTM
from captioning.cells.mutations import MUT1, MUT2, MUT3
from captioning.cells.recurrent import Recurrent
from captioning.cells.rnn import RNN

__all__ = [
    "GRU",
    "LSTM",
    "MUT1",
    "MUT2",
    "MUT3",
    "RNN",
    "Cell",
    "CoupledLSTM",
    "MaxoutLSTM",
    "NoForgetGateLSTM",
    "PeepholeLSTM",
    "Recurrent",
]
