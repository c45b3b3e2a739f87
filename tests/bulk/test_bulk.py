"""Captions of many pictures: every source, an interruption at any moment, damage, and several processes."""

import io
import json
import os
import signal
import tarfile
import threading
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import captioning
from captioning.__main__ import main
from captioning.bulk.captions import Bulk, caption_folder, caption_into
from captioning.bulk.sources import Item, items_of, shards_of
from captioning.core.errors import CaptioningError
from captioning.jobs.caption import find_pictures
from captioning.predict.captioner import Captioner
from captioning.search import Greedy, Sample

Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def bulk() -> Bulk:
    """The captioner inside the package, three pictures at a time."""
    return Bulk(Captioner.load(device="cpu"), Greedy(6), 3)


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    paths = [tmp_path / "photos" / f"{number}.png" for number in range(7)]
    paths[0].parent.mkdir()
    for number, path in enumerate(paths):
        Image.fromarray(rng.integers(0, 30 * number + 30, (9, 12, 3), dtype=np.uint8)).save(path)
    return paths


def tar_of(paths: list[Path], path: Path) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as tar:
        for photo in paths:
            tar.add(photo, photo.name)
            text = tarfile.TarInfo(f"{photo.stem}.txt")
            tar.addfile(text, io.BytesIO())
    return path


def rows_of(path: Path) -> Rows:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def without_names(rows: Rows) -> Rows:
    return [{key: value for key, value in row.items() if key != "image"} for row in rows]


def written(bulk: Bulk, *pictures: object, to: Path, column: str | None = None) -> Rows:
    caption_into(bulk, items_of(shards_of([str(each) for each in pictures], column=column)), to)
    return rows_of(to)


def test_every_source_has_the_same_captions(bulk: Bulk, photos: list[Path], tmp_path: Path) -> None:
    expected = [
        {"image": str(path), "caption": caption.text, "score": pytest.approx(caption.score)}
        for path, caption in zip(photos, bulk.captioner.caption(photos, bulk.search, 3), strict=True)
    ]
    folder = written(bulk, photos[0].parent, to=tmp_path / "folder.jsonl")
    assert folder == expected
    (tmp_path / "list.txt").write_text("".join(f"photos/{path.name}\r\n" for path in photos) + "\n")
    assert written(bulk, tmp_path / "list.txt", to=tmp_path / "list.jsonl") == folder
    assert written(bulk, tmp_path / "photos" / "[0-4].*", *photos[5:], to=tmp_path / "pattern.jsonl") == folder
    for name in ("photos.tar", "photos.tar.gz"):
        of_tar = written(bulk, tar_of(photos, tmp_path / name), to=tmp_path / f"{name}.jsonl")
        assert without_names(of_tar) == without_names(folder)
        assert [row["image"] for row in of_tar] == [f"{tmp_path / name}/{path.name}" for path in photos]
    content = [path.read_bytes() for path in photos]
    structures = [{"bytes": None, "path": f"photos/{path.name}"} for path in photos]
    pq.write_table(pa.table({"id": range(7), "image": content, "odd": structures}), tmp_path / "p.parquet")
    for column in (None, "odd"):
        of_table = written(bulk, tmp_path / "p.parquet", to=tmp_path / f"{column}.jsonl", column=column)
        assert without_names(of_table) == without_names(folder)
        assert [row["image"] for row in of_table] == [f"{tmp_path / 'p.parquet'}/{place}" for place in range(7)]
    together = written(bulk, *photos[:2], tmp_path / "photos.tar", *photos[:1], to=tmp_path / "all.jsonl")
    expected_words = [row["caption"] for row in [*folder[:2], *folder, *folder[:1]]]
    assert [row["caption"] for row in together] == expected_words


def test_a_picture_that_can_not_be_read_is_a_row_in_its_place(
    bulk: Bulk, photos: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = written(bulk, *photos, to=tmp_path / "good.jsonl")
    bad = {0, 3, 4, 6}
    for place in bad:
        photos[place].write_bytes(b"no picture")
    (tmp_path / "odd").mkdir()
    command = ["caption", *map(str, photos), "--out", str(tmp_path / "odd" / "out.jsonl"), "--batch-size", "2"]
    assert main([*command, "--beam", "1", "--max-length", "6", "--device", "cpu"]) == 0
    rows = rows_of(tmp_path / "odd" / "out.jsonl")
    assert [row["image"] for row in rows] == [str(path) for path in photos]
    assert {place for place, row in enumerate(rows) if "error" in row} == bad
    assert all(str(photos[place]) in rows[place]["error"] for place in bad)
    assert [row["caption"] for row in rows if "error" not in row] == [good[each]["caption"] for each in (1, 2, 5)]
    assert "7 pictures; 4 can't be read and have an error instead." in capsys.readouterr().err


class Watched:
    """Pictures that remember which of them were read."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths, self.taken = paths, list[str]()

    def __iter__(self) -> Iterator[Item]:
        for path in self.paths:
            yield Item(str(path), _Taken(path, self))


class _Taken:
    """A path that says when it is opened."""

    def __init__(self, path: Path, watched: Watched) -> None:
        self.path, self.watched = path, watched

    def __fspath__(self) -> str:
        self.watched.taken.append(str(self.path))
        return str(self.path)

    def __str__(self) -> str:
        return str(self.path)


os.PathLike.register(_Taken)


def test_it_goes_on_from_every_byte(bulk: Bulk, photos: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    whole = written(bulk, *photos, to=out)
    content = out.read_bytes()
    ends = [place + 1 for place, byte in enumerate(content) if byte == ord("\n")]
    for cut in [0, 1, *(each + shift for each in ends[1:6:2] for shift in (-1, 0, 1)), len(content) - 1, len(content)]:
        out.write_bytes(content[:cut])
        watched = Watched(photos)
        done = caption_into(bulk, iter(watched), out)
        before = sum(end <= cut for end in ends)
        assert (done.pictures, done.before) == (7, before)
        assert set(watched.taken) == {str(path) for path in photos[before:]}  # nothing twice
        rows = rows_of(out)
        assert [row["image"] for row in rows] == [row["image"] for row in whole]
        assert [row["caption"] for row in rows] == [row["caption"] for row in whole]


def test_a_killed_process_loses_no_line(bulk: Bulk, photos: list[Path], tmp_path: Path) -> None:
    whole = written(bulk, *photos, to=tmp_path / "whole.jsonl")
    out = tmp_path / "out.jsonl"
    slow = Bulk(bulk.captioner, bulk.search, 1)

    def slowly() -> Iterator[Item]:
        for item in items_of(shards_of([str(photos[0].parent)])):
            time.sleep(0.1)
            yield item

    child = os.fork()
    if not child:
        caption_into(slow, slowly(), out)
        os._exit(0)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (out.exists() and out.read_bytes().count(b"\n") >= 2):
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    before = out.read_bytes().count(b"\n")
    assert 2 <= before < 7
    done = caption_into(slow, items_of(shards_of([str(photos[0].parent)])), out)
    assert (done.pictures, done.before) == (7, before)
    assert [row["caption"] for row in rows_of(out)] == [row["caption"] for row in whole]


def test_n_best_and_a_sampled_rest(bulk: Bulk, photos: list[Path], tmp_path: Path) -> None:
    sampling = Bulk(bulk.captioner, Sample(6, seed=3), 3, n_best=2)
    first = written(sampling, *photos[:3], to=tmp_path / "out.jsonl")
    assert [len(row["captions"]) for row in first] == [2, 2, 2]
    twice = [photos[0]] * 6  # the same photograph: equal numbers would draw equal captions again
    out = tmp_path / "twice.jsonl"
    written(sampling, *twice[:3], to=out)
    rows = written(sampling, *twice, to=out)
    assert rows[:3] != rows[3:]


def test_the_file_of_other_work_is_refused(
    bulk: Bulk, photos: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.jsonl"
    command = ["caption", str(photos[0].parent), "--out", str(out), "--device", "cpu", "--max-length", "4"]
    assert main([*command, "--beam", "2"]) == 0
    before = out.read_bytes()
    assert main([*command, "--beam", "3"]) == 1
    assert "begun with another search" in capsys.readouterr().err
    assert main([*command, "--beam", "2", "--n-best", "2"]) == 1
    assert "begun with another n-best" in capsys.readouterr().err
    Image.new("RGB", (9, 9)).save(photos[0].parent / "00.png")  # before the others
    assert main([*command, "--beam", "2"]) == 1
    assert "the pictures have changed" in capsys.readouterr().err
    assert out.read_bytes() == before
    lines = before.splitlines(keepends=True)
    out.write_bytes(b"".join([*lines[:2], b"{nonsense\n", *lines[3:]]))
    (photos[0].parent / "00.png").unlink()
    assert main([*command, "--beam", "2"]) == 1
    assert "line 3: this line is damaged" in capsys.readouterr().err
    own = tmp_path / "mine.jsonl"
    own.write_text("my notes\n")
    assert main([*command[:3], str(own), *command[4:]]) == 1
    assert "was not written by this command" in capsys.readouterr().err and own.read_text() == "my notes\n"


def test_an_ensemble_of_other_weights_is_other_work(
    photos: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inside = str(Path(captioning.__file__).parent / "pretrained")
    command = ["caption", str(photos[0]), "--out", str(tmp_path / "x.jsonl"), "--device", "cpu", "--beam", "1"]
    command += ["--checkpoint", inside, "--checkpoint", inside, "--max-length", "4"]
    assert main([*command, "--weights", "1,0"]) == 0
    assert main([*command, "--weights", "1,0"]) == 0
    assert main([*command, "--weights", "1,3"]) == 1
    assert "begun with another average" in capsys.readouterr().err
    assert main([*command, "--weights", "1"]) == 1
    assert "give a number for each" in capsys.readouterr().err


def test_pictures_are_named_as_without_an_output(
    bulk: Bulk, photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = ["--out", str(tmp_path / "x.jsonl"), "--device", "cpu", "--beam", "1", "--max-length", "4"]
    assert main(["caption", "~/photos", *settings]) == 0
    assert [row["image"] for row in rows_of(tmp_path / "x.jsonl")] == [str(path) for path in photos]
    for name, status, sentence in (("", 2, "name is empty"), ("https://a.b/c.jpg", 1, "this is an address")):
        assert main(["caption", name, *settings]) == status
        assert sentence in capsys.readouterr().err


def test_options_that_do_not_fit(photos: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "list.txt").write_text(f"{photos[0]}\n")
    for arguments, sentence in {
        ("--out", "x.jsonl", "--json", "y.json"): "no effect with --out",
        ("--out", "x.csv"): "name a file of JSON lines",
        ("--out", "x.jsonl", "--ray", "2"): "Name a folder",
        ("--ray", "2"): "no effect without --out",
        (str(tmp_path / "list.txt"),): "with --out captions.jsonl",
        ("--out", str(tmp_path / "new" / "x"), "--shard-size", "0"): "take 1 picture or more",
    }.items():
        assert main(["caption", str(photos[0]), *arguments, "--device", "cpu"]) == 1
        assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("name", ["missing.tar", "cut.tar", "no.parquet", "missing.parquet", "bare.parquet"])
def test_a_damaged_source_is_a_sentence_and_what_was_done_stays(
    name: str, bulk: Bulk, photos: list[Path], tmp_path: Path
) -> None:
    path = tmp_path / name
    if name == "cut.tar":
        content = tar_of(photos, path).read_bytes()
        path.write_bytes(content[: content.index(b"4.png") + 600])
    elif name == "no.parquet":
        path.write_bytes(b"PAR1 no table")
    elif name == "bare.parquet":
        pq.write_table(pa.table({"id": [1, 2]}), path)
    out = tmp_path / "out.jsonl"
    with pytest.raises(CaptioningError, match=str(path)) as error:
        written(bulk, photos[0], path, to=out)
    assert "Traceback" not in str(error.value)
    assert len(rows_of(out)) == (5 if name == "cut.tar" else 1)


def test_shards(bulk: Bulk, photos: list[Path], tmp_path: Path) -> None:
    expected = written(bulk, photos[0].parent, to=tmp_path / "expected.jsonl")
    out = tmp_path / "shards"

    def again(*pictures: object) -> Rows:
        caption_folder(bulk, shards_of([str(each) for each in pictures], 3), out)
        assert not list(out.glob("*.jsonl"))
        return [row for path in sorted(out.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]

    first = again(photos[0].parent)
    assert [{key: value for key, value in row.items() if key != "error"} for row in first] == expected
    assert [row["error"] for row in first] == [None] * 7
    files = sorted(out.glob("*.parquet"))
    assert [pq.read_table(path).num_rows for path in files] == [3, 3, 1]
    status = [path.stat() for path in files]
    lines = (tmp_path / "expected.jsonl").read_bytes().splitlines(keepends=True)
    files[1].unlink()
    (out / "captions-00001.jsonl").write_bytes(lines[3] + lines[4][:20])  # killed in the second shard
    assert [row["caption"] for row in again(photos[0].parent)] == [row["caption"] for row in first]
    assert [path.stat().st_ino for path in files[::2]] == [each.st_ino for each in status[::2]]  # left as they were
    with pytest.raises(CaptioningError, match=r"captions-00000.parquet: it is of other pictures"):
        again(*photos[1:])
    files[0].write_bytes(b"PAR1")
    with pytest.raises(CaptioningError, match=r"captions-00000.parquet: this is no finished shard"):
        again(photos[0].parent)
    with pytest.raises(CaptioningError, match="holds something other than captions"):
        caption_folder(bulk, shards_of([str(photos[0])]), photos[0].parent)


def test_memory_holds_a_shard_of_names(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("".join(f"a-folder-with-a-name/photograph-{number:08}.jpg\n" for number in range(50_000)))
    tracemalloc.start()
    try:
        assert sum(1 for _ in items_of(shards_of([str(path)], 500))) == 50_000
        assert tracemalloc.get_traced_memory()[1] < 3e6  # the names alone are 8 MB
    finally:
        tracemalloc.stop()


def test_memory_holds_one_picture_of_a_tar_file(tmp_path: Path) -> None:
    path = tmp_path / "photos.tar"
    with tarfile.open(path, "w") as tar:
        for number in range(1500):
            info = tarfile.TarInfo(f"{number:06}.png")
            info.size = 4096
            tar.addfile(info, io.BytesIO(bytes(4096)))
    tracemalloc.start()
    try:
        assert sum(1 for _ in items_of(shards_of([str(path)]))) == 1500
        assert tracemalloc.get_traced_memory()[1] < 1e6  # the members alone are 2 MB
    finally:
        tracemalloc.stop()


@pytest.mark.slow
def test_actors_caption_as_one_process_even_if_one_is_killed(
    photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = pytest.importorskip("ray", reason="needs Ray: pip install 'captioning[ray]'")
    psutil = pytest.importorskip("psutil", reason="comes with Ray")
    monkeypatch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    monkeypatch.setenv("RAY_worker_niceness", "0")  # Ray's 15 has actors wait for all that runs beside the tests
    many = [photos[place % 7] for place in range(24)]
    (tmp_path / "list.txt").write_text("".join(f"{path}\n" for path in many))
    command = [str(tmp_path / "list.txt"), "--beam", "1", "--max-length", "6", "--device", "cpu", "--batch-size", "1"]
    assert main(["caption", *command, "--out", str(tmp_path / "alone.jsonl")]) == 0
    out = tmp_path / "actors"
    killed: list[int] = []

    def kill_one() -> None:
        """End one of the two actors once a shard is begun; Ray's own actors have other names."""
        while not killed:
            if any(out.glob("captions-*")):
                actors = [
                    process
                    for process in psutil.Process().children(recursive=True)
                    if "ray::MapWorker(MapBatches(Actor))" in " ".join(process.cmdline())
                ]
                if actors:
                    actors[0].send_signal(signal.SIGKILL)
                    killed.append(actors[0].pid)
            time.sleep(0.01)

    killer = threading.Thread(target=kill_one, daemon=True)
    killer.start()
    assert main(["caption", *command, "--out", str(out), "--shard-size", "6", "--ray", "2"]) == 0
    assert killed and not ray.is_initialized()
    rows = [row for path in sorted(out.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]
    alone = rows_of(tmp_path / "alone.jsonl")
    assert [(row["image"], row["caption"]) for row in rows] == [(row["image"], row["caption"]) for row in alone]


def test_a_tar_file_does_not_ask_for_memory_or_depth(tmp_path: Path) -> None:
    path = tmp_path / "names.tar"
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 2**40
    path.write_bytes(header.tobuf() + bytes(100_000))
    with pytest.raises(CaptioningError, match=rf"{path}: this tar file can't be read on"):
        list(items_of(shards_of([str(path)])))
    header.type, header.size = tarfile.XHDTYPE, 0
    path.write_bytes(header.tobuf() * 5000)
    with pytest.raises(CaptioningError, match=rf"{path}: this tar file can't be read on"):
        list(items_of(shards_of([str(path)])))


def test_a_damaged_parquet_file_is_a_sentence_wherever_it_is_damaged(photos: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    pq.write_table(pa.table({"image": [photo.read_bytes() for photo in photos]}), path)
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    for place in rng.integers(4, len(content), 150):
        path.write_bytes(content[:place] + bytes([content[place] ^ int(rng.integers(1, 256))]) + content[place + 1 :])
        with suppress(CaptioningError):
            list(items_of(shards_of([str(path)])))


def test_a_shard_of_another_program_is_a_sentence(bulk: Bulk, photos: list[Path], tmp_path: Path) -> None:
    caption_folder(bulk, shards_of([str(photos[0])]), tmp_path / "out")
    file = tmp_path / "out" / "captions-00000.parquet"
    for metadata in (b"[]", b"{}", b'{"shard": 1, "pictures": "x", "problems": 0}', b"[" * 10_000):
        pq.write_table(pa.table({"image": ["a"]}).replace_schema_metadata({b"captioning": metadata}), file)
        with pytest.raises(CaptioningError, match=rf"{file}: this is no finished shard"):
            caption_folder(bulk, shards_of([str(photos[0])]), tmp_path / "out")


def test_a_name_that_is_too_long_stops_no_other_picture(bulk: Bulk, photos: list[Path], tmp_path: Path) -> None:
    rows = written(bulk, photos[0], "a" * 300 + ".png", photos[1], to=tmp_path / "out.jsonl")
    assert [("error" in row) for row in rows] == [False, True, False] and "File name too long" in rows[1]["error"]
    missing: list[CaptioningError] = []
    assert len(find_pictures([str(photos[0]), "ü" * 200 + ".png"], missing)) == 2 and not missing
