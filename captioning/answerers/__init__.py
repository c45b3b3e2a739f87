"""Models that answer a question about a photograph by one of the known answers: one file each."""

from captioning.answerers.average import Average
from captioning.answerers.blstm import TwoVisBLSTM
from captioning.answerers.bow import BOW, ImgBOW
from captioning.answerers.guess import Guess
from captioning.answerers.img import Img
from captioning.answerers.img_prior import ImgPrior
from captioning.answerers.knn import KNN
from captioning.answerers.lstm import LSTMAnswerer
from captioning.answerers.model import AnswerModel, Answers, Training
from captioning.answerers.stacked_attention import StackedAttention
from captioning.answerers.vis_lstm import VisLSTM

__all__ = [
    "BOW",
    "KNN",
    "AnswerModel",
    "Answers",
    "Average",
    "Guess",
    "Img",
    "ImgBOW",
    "ImgPrior",
    "LSTMAnswerer",
    "StackedAttention",
    "Training",
    "TwoVisBLSTM",
    "VisLSTM",
]
