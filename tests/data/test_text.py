"""Texts as numbers, and as streams of chunks."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from captioning.core.errors import CaptioningError
from captioning.core.vocabulary import CharacterVocabulary
from captioning.data import Text, read_characters, text
from captioning.data.streams import InOrder, Streams, TextData

CHARACTERS = st.text(st.characters(codec="utf-8", exclude_characters="\ufeff"), min_size=20, max_size=200)


def written(folder: Path, content: str) -> Path:
    path = folder / "text.txt"
    path.write_bytes(content.encode())
    return path


@pytest.mark.parametrize("mapped", [False, True], ids=["in memory", "mapped"])
@given(content=CHARACTERS.filter(lambda content: len(set(content)) > 1), block=st.integers(1, 7))
@settings(max_examples=40, deadline=None)
def test_every_character_comes_back(
    content: str, block: int, mapped: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Also where a block of bytes ends inside of a character; and so does every line end."""
    folder = tmp_path_factory.mktemp("text")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "BLOCK", block)
        patch.setattr(text, "MAPPED", 0 if mapped else 1 << 30)
        found = read_characters(str(written(folder, content)), 0.25)
    assert found.vocabulary.decode(found.codes) == content
    assert found.vocabulary.words == sorted(set(content))
    assert found.codes.tolist() == found.vocabulary.encode(content)
    assert found.training == int(len(content) * 0.75)
    assert isinstance(found.codes, np.memmap) == mapped


def test_the_numbers_are_as_small_as_they_can_be(tmp_path: Path) -> None:
    sizes = {}
    for different in (256, 257, 65536, 65537):
        content = "".join(map(chr, range(0x10000, 0x10000 + different)))
        sizes[different] = read_characters(str(written(tmp_path, content))).codes.itemsize
    assert sizes == {256: 1, 257: 2, 65536: 2, 65537: 4}


def test_a_byte_order_mark_is_no_character(tmp_path: Path) -> None:
    assert read_characters(str(written(tmp_path, "\ufeffabcabcabcabc"))).vocabulary.words == ["a", "b", "c"]


def test_a_large_text_is_gone_through_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "MAPPED", 10)
    path, cache = written(tmp_path, "to be or not to be"), tmp_path / "cache"
    first = read_characters(str(path), cache=str(cache))
    with monkeypatch.context() as patch:
        patch.setattr(text, "_blocks", lambda path: pytest.fail("read again"))
        again = read_characters(str(path), cache=str(cache))
    assert again.codes.tolist() == first.codes.tolist()
    assert again.vocabulary.words == first.vocabulary.words
    status = path.stat()
    written(tmp_path, "to be or not to eb")  # of the same size, and made to have the same time
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert read_characters(str(path), cache=str(cache)).codes.tolist() != first.codes.tolist()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "can't be read .No such file.*data.text"),
        (b"", "two different characters or more is needed; this has 0"),
        (b"aaaaaaaaaaaaaaaaaaaaa", "this has 1"),
        (b"fine\nline\nna\xefve", "line 3: this is not UTF-8"),
        (b"cut short \xe2\x98", "line 1: this is not UTF-8"),
    ],
)
def test_what_is_no_text_is_a_sentence(content: bytes | None, said: str, tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CaptioningError, match=rf"^{path}\S* .*{said}"):
        read_characters(str(path))


def test_a_folder_and_a_share_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(CaptioningError, match="3 characters are too few to hold back 90% of them"):
        read_characters(str(written(tmp_path, "abc")), 0.9)
    with pytest.raises(CaptioningError, match="can't be read"):
        read_characters(str(tmp_path))
    with pytest.raises(CaptioningError, match=r"data\.validation=1\.0"):
        read_characters(str(written(tmp_path, "abc")), 1.0)


def made(length: int, training: int) -> Text:
    """A text in which every character is its place."""
    vocabulary = CharacterVocabulary("".join(map(chr, range(length))))
    return Text(Path("text.txt"), vocabulary, np.arange(length, dtype=np.uint16), training)


@given(begin=st.integers(0, 30), length=st.integers(12, 200), streams=st.integers(1, 5), chunk=st.integers(1, 20))
def test_every_character_of_a_part_is_said_once_after_the_one_before(
    begin: int, length: int, streams: int, chunk: int
) -> None:
    found = Streams(np.arange(300, dtype=np.uint16), (begin, begin + length), streams, chunk)
    chunks = [found[number] for number in range(len(found))]
    said = torch.cat([c.packing.unpack(c.targets) for c in chunks], dim=-1).squeeze(1)  # (B, length of a stream)
    first = max(begin, 1)
    whole = (begin + length - first) // streams * streams
    assert said.flatten().tolist() == list(range(first, first + whole))
    assert length - (begin == 0) - whole < streams
    for c in chunks:
        assert torch.equal(c.words + 1, c.targets)
        assert c.packing.unpack(c.targets)[:, 0, 0].tolist() == c.places.tolist()
        assert len(c.packing.sizes) <= chunk
    assert [c.first for c in chunks] == [True] + [False] * (len(chunks) - 1)


def test_several_processes_read_what_one_would() -> None:
    codes = np.arange(100, dtype=np.uint8)
    whole = Streams(codes, (0, 97), 6, 5)
    parts = [Streams(codes, (0, 97), 3, 5, rank=rank, ranks=2) for rank in range(2)]
    for number in range(len(whole)):
        places = torch.stack([part[number].places for part in parts], dim=1).flatten()
        assert places.tolist() == whole[number].places.tolist()


def test_validation_begins_with_what_was_before() -> None:
    data = TextData(made(200, 150), batch_size=3, chunk=7)
    context, *chunks = list(data.val_dataloader())
    assert context.first and not any(chunk.first for chunk in chunks)
    assert (context.targets[-3:] + 1).tolist() == chunks[0].targets[:3].tolist()
    assert context.places.tolist() == [143, 159, 175]
    assert chunks[0].places.tolist() == [150, 166, 182]
    assert len(torch.cat([chunk.targets for chunk in chunks])) == 48  # of 50
    short = TextData(made(110, 100), batch_size=8, chunk=7).val_dataloader()
    assert len(next(iter(short)).places) == 1


def test_a_text_that_is_too_short_is_a_sentence() -> None:
    with pytest.raises(CaptioningError, match=r"text\.txt: the 150 characters for training are too few for 15 streams"):
        TextData(made(200, 150), batch_size=15, chunk=10)
    with pytest.raises(CaptioningError, match=r"data\.batch_size=0"):
        TextData(made(200, 150), batch_size=0)


def test_a_pass_goes_on_where_it_was() -> None:
    assert list(InOrder(5, lambda: 3)) == [3, 4]
    assert len(InOrder(5, lambda: 3)) == 5
