"""Fetching, against a server on this machine that breaks off half-way and honours Range."""

import errno
import hashlib
import shutil
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from captioning.core.errors import CaptioningError
from captioning.data import coco_archives, download
from captioning.data.coco import read_coco
from captioning.data.coco_archives import Archive, prepare_coco
from captioning.data.download import fetch, unzip

CONTENT = bytes(range(256)) * 4000


@dataclass
class Server:
    """What the server has, how it misbehaves, and what it was asked for."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=lambda: {"/file.bin": CONTENT})
    breaks: int = 0  # of the next answers break off half-way
    refusals: list[int] = field(default_factory=list)  # statuses of the next answers
    ranges: bool = True
    asked: list[tuple[str, str | None]] = field(default_factory=list)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers["Range"] if state.ranges else None
            state.asked.append((self.path, self.headers["Range"]))
            if state.refusals:
                return self.send_error(state.refusals.pop(0))
            if self.path not in state.files:
                return self.send_error(404)
            content = state.files[self.path]
            start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
            if start and start >= len(content):
                return self.send_error(416)
            self.send_response(206 if wanted else 200)
            self.send_header("Content-Length", str(len(content) - start))
            if wanted:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.end_headers()
            rest = content[start:]
            if state.breaks:
                state.breaks -= 1
                rest = rest[: len(rest) // 2]
            self.wfile.write(rest)
            return None

        def log_message(self, *arguments: Any) -> None:
            pass

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        state.url = f"http://127.0.0.1:{listener.server_port}"
        threading.Thread(target=listener.serve_forever, args=(0.01,), daemon=True).start()
        yield state
        listener.shutdown()


def test_a_broken_download_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    server.breaks = 3
    path = tmp_path / "new" / "file.bin"
    fetch(f"{server.url}/file.bin", path, len(CONTENT), hashlib.sha256(CONTENT).hexdigest(), pause=0)
    assert path.read_bytes() == CONTENT
    half = len(CONTENT) // 2
    assert [wanted for _, wanted in server.asked] == [
        None,
        f"bytes={half}-",
        f"bytes={half + half // 2}-",
        f"bytes={half + half // 2 + half // 4}-",
    ]
    fetch(f"{server.url}/file.bin", path, len(CONTENT))
    assert len(server.asked) == 4  # it is there: nothing is asked for
    assert [entry.name for entry in path.parent.iterdir()] == ["file.bin"]


def test_it_goes_on_in_a_later_run(server: Server, tmp_path: Path) -> None:
    server.breaks = 1
    path = tmp_path / "file.bin"
    with pytest.raises(CaptioningError, match=rf"broke off after {len(CONTENT) // 2} of .* run again: .*file.bin.part"):
        fetch(f"{server.url}/file.bin", path, attempts=1)
    assert not path.exists()
    fetch(f"{server.url}/file.bin", path, attempts=1)
    assert path.read_bytes() == CONTENT
    assert server.asked[-1][1] == f"bytes={len(CONTENT) // 2}-"


def test_a_server_without_ranges_sends_all_again(server: Server, tmp_path: Path) -> None:
    server.breaks, server.ranges = 1, False
    fetch(f"{server.url}/file.bin", tmp_path / "file.bin", pause=0)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_a_complete_part_of_unknown_size(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.bin.part").write_bytes(CONTENT)
    fetch(f"{server.url}/file.bin", tmp_path / "file.bin", pause=0)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_a_busy_server_is_asked_again_and_a_refusal_is_not(server: Server, tmp_path: Path) -> None:
    server.refusals = [503, 429, 500]
    fetch(f"{server.url}/file.bin", tmp_path / "file.bin", pause=0)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert len(server.asked) == 4
    with pytest.raises(CaptioningError, match=r"/none.bin: can't be fetched \(HTTP Error 404"):
        fetch(f"{server.url}/none.bin", tmp_path / "none.bin", pause=0)
    assert len(server.asked) == 5
    server.refusals = [503] * 10
    with pytest.raises(CaptioningError, match="503"):
        fetch(f"{server.url}/file.bin", tmp_path / "other.bin", attempts=3, pause=0)
    assert len(server.asked) == 8


def test_no_server(server: Server, tmp_path: Path) -> None:
    with pytest.raises(CaptioningError, match="can't be fetched"):
        fetch("http://127.0.0.1:9/file.bin", tmp_path / "file.bin", attempts=2, pause=0)


@pytest.mark.parametrize(
    ("size", "sha256", "message"),
    [
        (len(CONTENT) - 1, None, r"1024000 bytes came, not 1023999"),
        (None, "0" * 64, "its SHA-256 is [0-9a-f]{64}, not 0"),
    ],
)
def test_what_is_wrong_is_deleted(
    server: Server, tmp_path: Path, size: int | None, sha256: str | None, message: str
) -> None:
    with pytest.raises(CaptioningError, match=message):
        fetch(f"{server.url}/file.bin", tmp_path / "file.bin", size, sha256)
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_another_size_is_not_touched(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.bin").write_bytes(b"mine")
    with pytest.raises(CaptioningError, match=r"it has 4 bytes, not 1024000\. Delete it"):
        fetch(f"{server.url}/file.bin", tmp_path / "file.bin", len(CONTENT))
    assert (tmp_path / "file.bin").read_bytes() == b"mine"


def test_the_free_disk_is_looked_at_first(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=len(CONTENT) - 1))
    with pytest.raises(CaptioningError, match="free on this disk"):
        fetch(f"{server.url}/file.bin", tmp_path / "file.bin", len(CONTENT))
    assert not server.asked
    (tmp_path / "file.bin.part").write_bytes(CONTENT[:1])  # what has arrived needs no room any more
    fetch(f"{server.url}/file.bin", tmp_path / "file.bin", len(CONTENT))


def test_a_disk_that_fills_up(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def write(self, chunk: bytes) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    real = download._write
    monkeypatch.setattr(download, "_write", lambda file, chunk, path: real(Full(), chunk, path))
    with pytest.raises(CaptioningError, match=r"file.bin.part: the disk is full"):
        fetch(f"{server.url}/file.bin", tmp_path / "file.bin", pause=0)
    assert len(server.asked) == 1  # not tried again
    assert not (tmp_path / "file.bin").exists()


def zip_of(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in files.items():
            zipped.writestr(name, content)
    return path


def test_unpacking_goes_on_and_shows_only_what_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {f"train2017/{n}.jpg": CONTENT[n : n + 1000] for n in range(6)} | {"other/x": b"not wanted"}
    archive = zip_of(tmp_path / "train2017.zip", files)
    real, done = shutil.copyfileobj, []

    def interrupted(source: Any, target: Any, length: int = 0) -> None:
        if len(done) == 3:
            target.write(b"half")
            raise KeyboardInterrupt
        done.append(source.name)
        real(source, target, length)

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfileobj", interrupted)
        with pytest.raises(KeyboardInterrupt):
            unzip(archive, tmp_path, ("train2017",))
    assert not (tmp_path / "train2017").exists()

    def counted(source: Any, target: Any, length: int = 0) -> None:
        done.append(source.name)
        real(source, target, length)

    monkeypatch.setattr(shutil, "copyfileobj", counted)
    unzip(archive, tmp_path, ("train2017",))
    assert sorted(done) == sorted(name for name in files if name.startswith("train2017"))  # each of them once
    assert {path.name: path.read_bytes() for path in (tmp_path / "train2017").iterdir()} == {
        Path(name).name: content for name, content in files.items() if name.startswith("train2017")
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["train2017", "train2017.zip"]


def test_damaged_archives(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "a.zip", {"train2017/1.jpg": CONTENT, "train2017/2.jpg": b"2"})
    content = bytearray(archive.read_bytes())
    content[500] ^= 0xFF
    archive.write_bytes(content)
    with pytest.raises(CaptioningError, match=r"a.zip: it is damaged .* Delete it and run again"):
        unzip(archive, tmp_path, ("train2017",))
    archive.write_bytes(content[:700])
    with pytest.raises(CaptioningError, match="it is damaged"):
        unzip(archive, tmp_path, ("train2017",))
    assert not (tmp_path / "train2017").exists()
    with pytest.raises(CaptioningError, match="there is no val2017 in it"):
        unzip(zip_of(tmp_path / "b.zip", {"train2017/1.jpg": b"1"}), tmp_path, ("val2017",))


@pytest.fixture
def small_coco(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Archive]:
    """COCO 2017 with six photographs, at the real archives' paths on the server."""

    def captions(numbers: range) -> bytes:
        images = ", ".join(f'{{"id": {n}, "file_name": "{n}.jpg"}}' for n in numbers)
        entries = ", ".join(f'{{"id": {n}, "image_id": {n}, "caption": "a {n}"}}' for n in numbers)
        return f'{{"images": [{images}], "annotations": [{entries}]}}'.encode()

    contents = {
        "annotations_trainval2017.zip": {
            "annotations/captions_train2017.json": captions(range(1, 5)),
            "annotations/captions_val2017.json": captions(range(5, 7)),
            "annotations/instances_val2017.json": b"{}",
        },
        "train2017.zip": {f"train2017/{n}.jpg": CONTENT[n:][:5000] for n in range(1, 5)},
        "val2017.zip": {f"val2017/{n}.jpg": CONTENT[n:][:5000] for n in range(5, 7)},
    }
    archives = []
    for archive in coco_archives.ARCHIVES[2017]:
        data = zip_of(tmp_path / archive.name, contents[archive.name]).read_bytes()
        (tmp_path / archive.name).unlink()
        server.files[f"/{archive.place}"] = data
        archives.append(Archive(archive.place, len(data), hashlib.sha256(data).hexdigest(), archive.entries))
    monkeypatch.setattr(coco_archives, "ARCHIVES", {2017: tuple(archives)})
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    return {archive.name: archive for archive in archives}


def test_coco_is_fetched_unpacked_and_read(server: Server, small_coco: dict[str, Archive], tmp_path: Path) -> None:
    root = tmp_path / "coco"
    server.breaks = 2
    prepare_coco(root, 2017, server.url)
    assert sorted(str(path.relative_to(root)) for path in root.glob("*/*.json")) == [
        "annotations/captions_train2017.json",
        "annotations/captions_val2017.json",
    ]
    assert sorted(path.name for path in root.iterdir()) == ["annotations", "train2017", "val2017"]
    photos = read_coco(root, holdout={"val": 1})
    assert {split: len(found) for split, found in photos.splits.items()} == {"train": 3, "val": 1, "test": 2}
    asked = len(server.asked)
    prepare_coco(root, 2017, server.url)
    assert len(server.asked) == asked  # nothing is missing
    shutil.rmtree(root / "val2017")
    prepare_coco(root, 2017, server.url)
    assert [place for place, _ in server.asked[asked:]] == ["/zips/val2017.zip"]


def test_coco_goes_on_after_any_interruption(
    server: Server, small_coco: dict[str, Archive], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "coco"
    steps = 0

    def until(limit: int) -> None:
        """Let the run be killed at its n-th write."""
        count = 0
        real = shutil.copyfileobj, download._write

        def killed(call: Any, *arguments: Any) -> None:
            nonlocal count
            count += 1
            if count > limit:
                raise KeyboardInterrupt
            call(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(shutil, "copyfileobj", lambda *arguments: killed(real[0], *arguments))
            patch.setattr(download, "_write", lambda *arguments: killed(real[1], *arguments))
            prepare_coco(root, 2017, server.url)

    while True:
        try:
            until(1)
            break
        except KeyboardInterrupt:
            steps += 1
            assert not (root / "train2017").exists() or len(list((root / "train2017").iterdir())) == 4
    assert steps >= 8  # three archives and eight files, one write a run
    assert len(list(read_coco(root, holdout={"val": 1}))) == 6


def test_coco_that_does_not_fit(
    server: Server, small_coco: dict[str, Archive], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    needed = sum(archive.size for archive in small_coco.values()) + max(a.size for a in small_coco.values())
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=needed - 1))
    with pytest.raises(CaptioningError, match="COCO 2017 needs"):
        prepare_coco(tmp_path / "coco", 2017, server.url)
    assert not server.asked


def test_another_year(tmp_path: Path) -> None:
    with pytest.raises(CaptioningError, match="of 2014 and 2017, not of 2015"):
        prepare_coco(tmp_path, 2015)


def test_the_real_archives_are_of_coco() -> None:
    for year, archives in coco_archives.ARCHIVES.items():
        assert all(str(year) in archive.place and len(archive.sha256) == 64 for archive in archives)
        assert {entry for archive in archives for entry in archive.entries} == {
            f"annotations/captions_train{year}.json",
            f"annotations/captions_val{year}.json",
            f"train{year}",
            f"val{year}",
        }
