"""COCO-QA and VQA version 2 are fetched: resumed, checked, unpacked, read."""

import hashlib
import logging
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from captioning.__main__ import main
from captioning.core.errors import CaptioningError
from captioning.data import prepare_coco_qa, prepare_vqa2, question_archives, read_coco_qa, read_vqa
from captioning.data.coco_archives import LOCK, Archive
from tests.data.test_download import Server, server

__all__ = ["server"]

LINES = {"questions": "what is it", "answers": "cat", "img_ids": "{}", "types": "0"}


def zipped(files: dict[str, str]) -> bytes:
    into = BytesIO()
    with zipfile.ZipFile(into, "w") as file:
        for name, content in files.items():
            file.writestr(name, content)
    return into.getvalue()


def coco_qa(counts: dict[str, int]) -> dict[str, str]:
    return {
        f"{split}/{name}.txt": "".join(f"{line.format(number)}\n" for number in range(count))
        for split, count in counts.items()
        for name, line in LINES.items()
    }


@pytest.fixture
def small(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """COCO-QA of five questions, and VQA of one in each set, at the real archives' paths on the server."""
    files = coco_qa({"train": 3, "test": 2})
    server.files[f"/{question_archives.COCO_QA.place}"] = zipped(files)
    monkeypatch.setattr(question_archives, "COCO_QA_LINES", {"train": 3, "test": 2})
    digests = {name: hashlib.sha256(content.encode()).hexdigest() for name, content in files.items()}
    monkeypatch.setattr(question_archives, "COCO_QA_SHA256", digests)
    archives = []
    for archive in question_archives.VQA2:
        (entry,) = archive.entries
        number = int("val" in entry)
        content = (
            f'{{"questions": [{{"question_id": {number}, "image_id": {number}, "question": "is it?"}}]}}'
            if "questions" in entry
            else f'{{"annotations": [{{"question_id": {number}, "answers": [{{"answer": "yes"}}]}}]}}'
        )
        data = zipped({entry: content, "readme.txt": "not wanted"})
        server.files[f"/{archive.place}"] = data
        archives.append(Archive(archive.place, len(data), hashlib.sha256(data).hexdigest(), archive.entries))
    monkeypatch.setattr(question_archives, "VQA2", tuple(archives))
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    yield server


def test_coco_qa_goes_on_is_unpacked_and_read(small: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = tmp_path / "coco_qa"
    small.breaks = 2
    with caplog.at_level(logging.WARNING):
        prepare_coco_qa(root, small.url)
    assert not caplog.records
    assert small.asked[1][1] and small.asked[1][1].startswith("bytes=")  # the rest alone
    assert sorted(path.name for path in root.iterdir()) == [LOCK, "test", "train"]
    found = read_coco_qa(root, validation=1)
    assert {split: len(asked) for split, asked in found.splits.items()} == {"train": 2, "val": 1, "test": 2}
    asked = len(small.asked)
    prepare_coco_qa(root, small.url)
    assert len(small.asked) == asked  # nothing is missing


def test_another_coco_qa_is_refused_or_said(small: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    place = f"/{question_archives.COCO_QA.place}"
    small.files[place] = zipped(coco_qa({"train": 4, "test": 2}))
    with pytest.raises(CaptioningError, match=r"questions.txt: it has 4 lines, not COCO-QA's 3"):
        prepare_coco_qa(tmp_path / "longer", small.url)
    small.files[place] = zipped(coco_qa({"train": 3, "test": 2}) | {"test/answers.txt": "cat\ndog\n"})
    with caplog.at_level(logging.WARNING):
        prepare_coco_qa(tmp_path / "other", small.url)
    assert "test/answers.txt differ from the copy" in caplog.text
    damaged = bytearray(small.files[place])
    damaged[60] ^= 255
    small.files[place] = bytes(damaged)
    with pytest.raises(CaptioningError, match="damaged"):
        prepare_coco_qa(tmp_path / "damaged", small.url)


def test_vqa_goes_on_is_checked_and_read(small: Server, tmp_path: Path) -> None:
    root = tmp_path / "vqa2"
    small.breaks = 1
    prepare_vqa2(root, small.url)
    assert len(list(root.glob("*.json"))) == 4 and not (root / "readme.txt").exists()
    found = read_vqa(root, validation=0)
    assert {split: len(asked) for split, asked in found.splits.items()} == {"train": 1, "val": 0, "test": 1}
    (root / "v2_mscoco_val2014_annotations.json").unlink()
    place = f"/{question_archives.VQA2[3].place}"
    small.files[place] = bytes(reversed(small.files[place]))
    with pytest.raises(CaptioningError, match="SHA-256"):
        prepare_vqa2(root, small.url)


@pytest.mark.parametrize("data", ["coco_qa", "vqa2"])
def test_the_command_fetches_and_counts(
    data: str, small: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = {"coco_qa": "prepare_coco_qa", "vqa2": "prepare_vqa2"}[data]
    call: Any = getattr(question_archives, name)
    monkeypatch.setattr(call, "__defaults__", (small.url,))
    assert main(["prepare", f"data={data}", f"data.root={tmp_path / data}", "data.validation=0"]) == 0
    of_coco_qa = ["coco_qa train: 3 questions on 3 photographs", "coco_qa val: 0 questions on 0 photographs"]
    of_vqa = ["vqa2 train: 1 questions on 1 photographs", "vqa2 val: 0 questions on 0 photographs"]
    expected = [*of_coco_qa, "coco_qa test: 2 questions on 2 photographs"]
    if data == "vqa2":
        expected = [*of_vqa, "vqa2 test: 1 questions on 1 photographs"]
    assert capsys.readouterr().out.splitlines() == expected
    assert main(["prepare", f"data={data}", f"data.root={tmp_path / data}", "--features", "pooled"]) == 1
    assert "the photographs of these questions are not here" in capsys.readouterr().err


def test_the_real_archives_are_of_vqa() -> None:
    assert [len(archive.sha256 or "") for archive in question_archives.VQA2] == [64] * 4
    assert sum(archive.size or 0 for archive in question_archives.VQA2) == 42_962_121
    assert question_archives.COCO_QA_LINES == {"train": 78_736, "test": 38_948}
