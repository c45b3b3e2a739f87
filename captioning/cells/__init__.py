"""Recurrent cells: one layer each, one file each."""

from captioning.cells.base import Cell
from captioning.cells.gru import GRU
from captioning.cells.lstm import LSTM
from captioning.cells.recurrent import Recurrent
from captioning.cells.rnn import RNN

__all__ = ["GRU", "LSTM", "RNN", "Cell", "Recurrent"]
