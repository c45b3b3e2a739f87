"""Numbers on the command line that are too large or too small are sentences, in no time."""

import argparse

import pytest

from captioning.__main__ import main
from captioning.jobs.whole import whole

CAPTION, SCORE = ["caption", "a.jpg", "--checkpoint", "none"], ["score", "a.json", "--references", "b.json"]


@pytest.mark.parametrize("value", ["9" * 400, "9" * 5000, "1e3", "many"])
@pytest.mark.parametrize(
    "line",
    [
        *([*CAPTION, name] for name in ("--beam", "--n-best", "--max-length", "--batch-size", "--seed")),
        *([*SCORE, name] for name in ("--resamples", "--seed")),
        *(["gradients", name] for name in ("--steps", "--hidden", "--updates")),
    ],
)
def test_a_number_out_of_range_is_a_sentence(line: list[str], value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([*line, value])
    said = capsys.readouterr().err.splitlines()[-1]
    assert f"argument {line[-1]}: " in said and "whole number" in said and len(said) < 200


@pytest.mark.parametrize(
    "line", [[*SCORE, "--seed", "-1"], [*SCORE, "--resamples", "-1"], ["gradients", "--steps", "0"]]
)
def test_a_number_below_its_range_is_a_sentence(line: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(line)
    assert f"argument {line[-2]}: take a whole number from" in capsys.readouterr().err


def test_limits_belong_to_the_range() -> None:
    number = whole(10, 1)
    assert [number("1"), number("10"), whole(10)("-5")] == [1, 10, -5]
    for text in ("0", "11"):
        with pytest.raises(argparse.ArgumentTypeError, match="take a whole number from 1 to 10"):
            number(text)
