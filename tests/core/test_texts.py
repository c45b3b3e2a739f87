"""Text of other people's programs: one way to open it, and a sentence where it is not what it should be."""

import codecs
import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from captioning.core.errors import CaptioningError
from captioning.core.files import read_json
from captioning.core.texts import parse_json, read_text
from captioning.data import read_flickr8k, read_karpathy, read_own
from captioning.data.coco import load_captions
from captioning.data.text import read_characters
from captioning.decoders.embeddings import load_glove
from captioning.metrics.results import read_references, read_results
from captioning.runs.metrics_file import read_metrics
from captioning.runs.results import read_rows

TEXTS = {  # the name of each kind of file: its reader and a content that it reads
    "own.csv": (read_own, "image,caption,split\na.png,süß,train\n"),
    "own.jsonl": (read_own, '{"image": "a.png", "caption": "süß", "split": "train"}\n'),
    "results.json": (read_results, '[{"image_id": 1, "caption": "süß"}]'),
    "references.json": (read_references, '{"images": [{"id": 1}], "annotations": [{"image_id": 1, "caption": "süß"}]}'),
    "coco.json": (
        lambda path: load_captions(path).dataset,
        '{"images": [{"id": 1, "file_name": "a.png"}], "annotations": [{"id": 1, "image_id": 1, "caption": "süß"}]}',
    ),
    "karpathy.json": (
        lambda path: read_karpathy(path, path.parent),
        json.dumps(
            {
                "dataset": "d",
                "images": [
                    {"filename": f"{name}.png", "split": split, "sentences": [{"raw": "süß"}]}
                    for name, split in (("a", "train"), ("b", "val"), ("c", "test"))
                ],
            },
            ensure_ascii=False,
        ),
    ),
    "vectors.txt": (lambda path: load_glove(path, ["süß", "b"], 2)[1].tolist(), "süß 1 2\nb 3 4\n"),
    "text.txt": (lambda path: "".join(read_characters(path).vocabulary.words), "süß und heiß\n"),
    "metrics.csv": (read_metrics, "step,val/ä\n1,2\n"),
    "rows.csv": (read_rows, "experiment,overrides,süß\nm,,2\n"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_byte_order_mark_changes_nothing(tmp_path: Path, name: str) -> None:
    read, text = TEXTS[name]
    for each in "abc":
        Image.new("RGB", (4, 4)).save(tmp_path / f"{each}.png")
    path = tmp_path / name
    path.write_bytes(text.encode())
    plain = read(path)
    path.write_bytes(codecs.BOM_UTF8 + text.encode())
    assert read(path) == plain
    for encoding, said in (("utf-16", "UTF-16"), ("utf-32", "UTF-32"), ("latin-1", "Latin-1")):
        path.write_bytes(text.encode(encoding))
        with pytest.raises(CaptioningError, match=f"{name}.*{said}.*Save the file as UTF-8"):
            read(path)


def test_flickr8ks_lists_and_captions_may_begin_with_a_mark(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for split, name in (("train", "a"), ("dev", "b"), ("test", "c")):
        Image.new("RGB", (4, 4)).save(tmp_path / "images" / f"{name}.png")
        (tmp_path / f"Flickr_8k.{split}Images.txt").write_text(f"\ufeff{name}.png\n", encoding="utf-8")
    (tmp_path / "Flickr8k.token.txt").write_text("\ufeff" + "".join(f"{n}.png#0\tx\n" for n in "abc"), encoding="utf-8")
    assert [photo.captions for photo in read_flickr8k(tmp_path)] == [("x",)] * 3


def test_null_characters_are_said(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("image\ncaption".encode("utf-16-le"))
    with pytest.raises(CaptioningError, match=r"a\.csv, line 1: there are null characters.*Save the file as UTF-8"):
        read_text(tmp_path / "a.csv")


def test_a_header_of_word_vectors_is_no_vector(tmp_path: Path) -> None:
    path = tmp_path / "wiki.vec"
    path.write_text("2 3\nred 1 2 3 \n2 4 5 6\n")
    numbers, vectors = load_glove(path, ["2", "red"], 3)
    assert numbers.tolist() == [0, 1] and torch.equal(vectors, torch.tensor([[4.0, 5, 6], [1, 2, 3]]))
    with pytest.raises(CaptioningError, match=r"its first line says .* 3 numbers.*decoder.embedding_size=3"):
        load_glove(path, ["red"], 4)
    path.write_text("red 1 nan 3\n")
    with pytest.raises(CaptioningError, match="line 1: a number of this vector is not finite"):
        load_glove(path, ["red"], 3)


HALF = "\\ud83d"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[" * 5000 + "]" * 5000, "nested too deeply"),
        ('{"a":' * 5000 + "1" + "}" * 5000, "nested too deeply"),
        ("[" + "1" * 5000 + "]", "a number has thousands of digits"),
        (f'[{{"image_id": 1, "caption": "a {HALF} dog"}}]', "half of a surrogate pair"),
        (f'[{{"image_id": "{HALF}", "caption": "a dog"}}]', "half of a surrogate pair"),
        (f'{{"{HALF}": 1}}', "half of a surrogate pair"),
        ('["\\\\ude00"]', "half of a surrogate pair"),
        ("", "not valid JSON"),
    ],
    ids=lambda value: value[:12],
)
def test_json_that_no_reader_can_use_is_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    text = text.replace("\\\\ude00", "\\ude00")
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(CaptioningError, match=rf"^{path}: .*{sentence}"):
        read_json(path, "results file")
    if text:
        path = tmp_path / "own.jsonl"
        path.write_text(f'\n{{"image": "a", "caption": {text}}}\n')
        with pytest.raises(CaptioningError, match=rf"^{path}, line 2: .*{sentence}"):
            read_own(path)


def test_pairs_and_backslashes_are_no_halves() -> None:
    for value in ("😀 and 😀", "a \\ud83d as written", "\\\\ud83d", "\\"):
        for ascii_alone in (True, False):
            assert parse_json(json.dumps([value], ensure_ascii=ascii_alone), "a file") == [value]


READERS: dict[str, Callable[[Path], object]] = {name: read for name, (read, _) in TEXTS.items() if "json" in name}


@pytest.mark.parametrize("name", READERS)
def test_values_of_another_type_are_sentences(tmp_path: Path, name: str) -> None:
    """Every value of a good file in turn: missing, null, of another type."""
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    path = tmp_path / name
    good = json.loads(TEXTS[name][1])

    def changed(value: object, replace: object) -> list[object]:
        """The value with one part replaced, for each of its parts."""
        found: list[object] = [] if value is good else [replace]
        if isinstance(value, dict):
            for key, inner in value.items():
                found += [{**value, key: each} for each in changed(inner, replace)]
                found += [{other: each for other, each in value.items() if other != key}]
        if isinstance(value, list):
            found += [
                [*value[:i], each, *value[i + 1 :]] for i, inner in enumerate(value) for each in changed(inner, replace)
            ]
        return found

    tried = 0
    for replacement in (None, 7, -1.5, True, "x", [], {}, [None], {"id": None}):
        for value in [replacement, *changed(good, replacement)]:
            path.write_text(json.dumps(value), encoding="utf-8")
            tried += 1
            try:
                READERS[name](path)
            except CaptioningError as error:
                assert str(path) in str(error) or "a.png" in str(error) or "picture" in str(error)
    assert tried > 25


def test_a_text_that_unpacks_to_many_times_its_size_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "vectors.txt.gz"
    with gzip.open(path, "wt") as file:
        file.write("0 " * 20_000_000)
    with pytest.raises(CaptioningError, match=rf"{path}: it unpacks to over 100 times its size"):
        read_text(path)


def test_a_pipe_in_place_of_a_text_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "captions.json")
    with pytest.raises(CaptioningError, match=r"captions\.json: this annotations can't be read, for it is a pipe"):
        read_text(tmp_path / "captions.json", "annotations")
    reading, writing = os.pipe()  # as `captioning score <(…)` gives
    os.write(writing, b"a text")
    os.close(writing)
    assert read_text(f"/dev/fd/{reading}") == "a text"
    os.close(reading)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_end_where_a_system_ends_them_and_nowhere_else(tmp_path: Path, end: str) -> None:
    captions = [f"a{odd}dog" for odd in ("\u2028", "\u2029", "\x85", " ")]
    results = [{"image_id": number, "caption": caption} for number, caption in enumerate(captions)]
    path = tmp_path / "results.jsonl"
    path.write_bytes("".join(json.dumps(each, ensure_ascii=False) + end for each in results).encode())
    assert list(read_results(path).values()) == captions
