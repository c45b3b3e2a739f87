"""The schedules of scheduled sampling against the paper's formulas."""

import math
from collections.abc import Callable
from functools import partial

import pytest

from captioning.core.errors import CaptioningError
from captioning.training import scheduled_sampling as sampling
from captioning.training.objectives import CrossEntropy

SCHEDULES = [sampling.never, sampling.linear, sampling.exponential, sampling.inverse_sigmoid]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_rises_from_teacher_forcing_and_stays_a_probability(schedule: object) -> None:
    values = [schedule(step) for step in range(0, 2_000_000, 9_999)]
    assert values[0] == pytest.approx(0, abs=1e-3)
    assert values == sorted(values)
    assert values[-1] <= 1


@pytest.mark.parametrize("step", [0, 1, 500, 3000, 12000])
def test_is_one_minus_the_papers_epsilon(step: int) -> None:
    assert sampling.linear(step, k=0.9, c=1e-4, least=0.3) == pytest.approx(1 - max(0.3, 0.9 - 1e-4 * step))
    assert sampling.exponential(step, k=0.999) == pytest.approx(1 - 0.999**step)
    assert sampling.inverse_sigmoid(step, k=300) == pytest.approx(1 - 300 / (300 + math.exp(step / 300)))


@pytest.mark.parametrize(
    ("schedule", "settings"),
    [
        *((sampling.linear, {"k": 2.0}), (sampling.linear, {"least": -1.0}), (sampling.linear, {"c": math.nan})),
        *((sampling.exponential, {"k": 0.0}), (sampling.exponential, {"k": 1.5})),
        *((sampling.inverse_sigmoid, {"k": k}) for k in (0.0, -1.0, math.nan, math.inf)),
    ],
)
def test_a_number_out_of_range_is_found_before_training(
    schedule: Callable[..., float], settings: dict[str, float]
) -> None:
    with pytest.raises(CaptioningError, match=r"scheduled_sampling\.k=.*: take"):
        CrossEntropy(scheduled_sampling=partial(schedule, **settings))
