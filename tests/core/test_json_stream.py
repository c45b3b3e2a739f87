"""JSON in pieces is JSON as a whole, wherever the pieces end; what is no JSON is not streamed."""

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from captioning.core import json_stream
from captioning.core.json_stream import NotStreamed, stream_lines, stream_list, stream_members

TEXTS = st.text(max_size=6) | st.sampled_from(["},", "},{", '"}],', "]", "\\", "a }, b", "😀", "[{"])
SIMPLE = TEXTS | st.integers() | st.floats(allow_nan=False) | st.none() | st.booleans()
VALUES = st.recursive(SIMPLE, lambda v: st.lists(v, max_size=4) | st.dictionaries(TEXTS, v, max_size=4), max_leaves=12)
ENTRIES = st.lists(st.dictionaries(TEXTS, VALUES, max_size=4) | VALUES, max_size=6)
FORMS: list[dict[str, Any]] = [{}, {"indent": 1}, {"separators": (",", ":")}, {"ensure_ascii": False}]
FEW = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@pytest.fixture(params=[1, 7, 1 << 20])
def piece(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(json_stream, "_PIECE", request.param)
    return int(request.param)


@FEW
@given(ENTRIES, st.sampled_from(FORMS))
def test_lists(piece: int, entries: list[Any], form: dict[str, Any]) -> None:
    assert [*stream_list(io.StringIO(f" {json.dumps(entries, **form)}\n"))] == entries


@FEW
@given(ENTRIES, st.dictionaries(TEXTS, VALUES, max_size=3), st.sampled_from(FORMS), st.randoms())
def test_members(piece: int, entries: list[Any], others: dict[str, Any], form: dict[str, Any], draw: Any) -> None:
    names = [*others, "annotations"]
    draw.shuffle(names)
    content = {name: entries if name == "annotations" else others[name] for name in names}
    found = [*stream_members(io.StringIO(json.dumps(content, **form)), ["annotations"])]
    assert found == [("annotations", entry) for entry in entries]


@FEW
@given(ENTRIES, st.integers(0, 200), st.sampled_from(["", ",", "]", "}", '"', "{", "[", "x", "\0", "\\ud800", "1e"]))
def test_what_is_damaged_is_not_streamed(piece: int, entries: list[Any], place: int, put: str) -> None:
    """Or it is read as it is read whole."""
    text = json.dumps(entries)
    damaged = text[: place % len(text)] + put + text[place % len(text) + 1 :]
    try:
        found = [*stream_list(io.StringIO(damaged))]
    except NotStreamed:
        return
    assert "\0" not in damaged and found == json.loads(damaged)


@pytest.mark.parametrize(
    ("stream", "text"),
    [
        (stream_list, text)
        for text in ("", "{}", "[", "[{},]", "[{}] 1", '[{"a": 1}, {"a": 2},\n]', "[" * 100_000, '["\\ud800"]', "[1 2]")
    ]
    + [(stream_lines, '{"a": 1}\n{\n'), (stream_lines, '"\\udc00"')],
)
def test_what_is_no_list(piece: int, stream: Callable[[io.StringIO], Any], text: str) -> None:
    with pytest.raises(NotStreamed):
        list(stream(io.StringIO(text)))


@pytest.mark.parametrize(
    "text", ['{"a": []', '{"a": [], "a": []}', '{"a": 1}', '{"a": [],}', '{"a": []} {}', "[]", "{}"]
)
def test_what_is_no_object_with_lists(piece: int, text: str) -> None:
    with pytest.raises(NotStreamed):
        list(stream_members(io.StringIO(text), ["a"]))


def test_lines(piece: int) -> None:
    assert [*stream_lines(io.StringIO('{"a": 1}\n\n  [2]\n3'))] == [{"a": 1}, [2], 3]
