"""Words numbered by their bytes are the words that ``split`` gives, each numbered once."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captioning.text import forms
from captioning.text.forms import number_forms

WORDS = "a A b ab ba a\0 \0 \0\0 abcdefg abcdefgh abcdefgi abcdefgh\0 abcdefghijklmno abcdefghijklmnop abcdefghijklmnoq"
OTHERS = ["é", "日本語", "日本語日本", "日本語日本人", "😀😀", "\ud800", "\xa0", "\r", "x" * 300, "x" * 301, "y" * 255]
LINES = st.lists(st.sampled_from([*WORDS.split(" "), *OTHERS, "", " "]) | st.text(max_size=20)).map(" ".join)


@pytest.fixture(params=["as it is", "one slot", "no table"])
def table(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables in which words meet: the second has one place, so that three words are found and the others looked up."""
    if request.param == "one slot":
        monkeypatch.setattr(forms, "_FACTORS", (0, 0, 0))
    if request.param == "no table":
        monkeypatch.setattr(forms, "_FACTORS", (1,))


@pytest.mark.usefixtures("table")
@given(st.lists(LINES.map(lambda line: line.replace("\n", "")), min_size=1, max_size=6))
def test_words(lines: list[str]) -> None:
    found, number, per_line = number_forms("\n".join(lines))
    words = [[word for word in line.split(" ") if word] for line in lines]
    flat = [word for line in words for word in line]
    assert [found[each] for each in number.tolist()] == flat
    assert per_line.tolist() == [*map(len, words)]
    assert found == [*Counter(flat)]


def test_no_word_and_many() -> None:
    assert [*map(len, number_forms(""))] == [0, 0, 1]
    lines = [" ".join(f"word{number}" for number in range(start, start + 1000)) for start in range(0, 60_000, 500)]
    found, number, _ = number_forms("\n".join(lines))
    assert len(found) == 60_500 and " ".join(found[each] for each in number.tolist()) == " ".join(lines)
