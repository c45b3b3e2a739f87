"""A training step of models of answers, forwards and backwards, against the time of its matrix products alone."""

from collections.abc import Callable

import pytest
import torch
from torch.nn import functional as F

from captioning.answerers import BOW, AnswerModel, ImgBOW, LSTMAnswerer, StackedAttention, TwoVisBLSTM, VisLSTM
from captioning.cells import LSTM
from captioning.core.features import Features, FeatureSpec
from captioning.core.questions import Questions
from captioning.speed import make_fast

T, V, A, P, L = 8, 3000, 1000, 1280, 49  # questions of Flickr8k, EfficientNet-Lite0
QUESTIONS = {BOW: 800}  # of a batch, as in experiment=flickr8k_questions_bow; of others 100
SPEC = FeatureSpec(pooled=(P,), grid=(7, 7, P))
KINDS = [BOW, LSTMAnswerer, ImgBOW, VisLSTM, TwoVisBLSTM, StackedAttention]


@pytest.mark.parametrize("kind", KINDS)
def test_step_at_the_sizes_of_flickr8k(
    kind: type[AnswerModel], race: Callable, products_of: Callable, device: torch.device
) -> None:
    """Questions of 5 to 11 words, each about another photograph, float32."""
    torch.manual_seed(0)
    Q = QUESTIONS.get(kind, 100)
    more = {} if kind in (BOW, ImgBOW) else {"cell": LSTM}
    model = make_fast(kind(V, A, SPEC, **more)).to(device)
    lengths = torch.randint(T - 3, T + 4, (Q,)).tolist()
    asked = Questions.of([torch.randint(4, V, (length,)).tolist() for length in lengths], [0] * Q).to(device)
    shapes = {"pooled": (Q, P), "grid": (Q, L, P)}
    seen = Features.none(Q, device) if not model.reads else Features(**{n: torch.randn(shapes[n]) for n in model.reads})
    seen, answers = seen.to(device), torch.randint(A, (Q,), device=device)

    def step() -> None:
        model.zero_grad()
        F.cross_entropy(model(seen, asked).logits, answers).backward()

    race(
        f"training {kind.__name__}, questions of Flickr8k, float32",
        step,
        products_of(step),
        count=Q,
        unit="questions",
        against="its matrix products alone",
        at_least=0.7,
        rounds=25,  # of some 40 ms each
    )
