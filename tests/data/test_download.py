"""Fetching, against a server on this machine that breaks off half-way and honours Range."""

import errno
import hashlib
import io
import itertools
import json
import os
import shutil
import signal
import sys
import threading
import traceback
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from captioning.core.errors import CaptioningError
from captioning.core.ownership import MARK
from captioning.data import coco_archives, download
from captioning.data.coco import read_coco
from captioning.data.coco_archives import Archive, prepare_coco
from captioning.data.download import fetch, unzip

CONTENT = bytes(range(256)) * 4000
HALF = len(CONTENT) // 2
PAGE = b"<html>Log in!</html>"
LOCK = ".captioning-lock"


@dataclass
class Server:
    """What the server has, how it misbehaves, and what it was asked for."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=lambda: {"/file.bin": CONTENT})
    breaks: int = 0  # of the next answers break off half-way
    refusals: list[int] = field(default_factory=list)  # statuses of the next answers
    answers: list[tuple[int, dict[str, str], Iterable[bytes]]] = field(default_factory=list)  # the next, as they are
    ranges: bool = True
    asked: list[tuple[str, str | None]] = field(default_factory=list)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers["Range"] if state.ranges else None
            state.asked.append((self.path, self.headers["Range"]))
            if state.answers:
                return self.answer(*state.answers.pop(0))
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

        def answer(self, status: int, headers: dict[str, str], chunks: Iterable[bytes]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            with suppress(OSError):  # the other side has heard enough
                for chunk in chunks:
                    self.wfile.write(chunk)

        def log_message(self, *arguments: Any) -> None:
            pass

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        state.url = f"http://127.0.0.1:{listener.server_port}"
        threading.Thread(target=listener.serve_forever, args=(0.01,), daemon=True).start()
        yield state
        listener.shutdown()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def begin(url: str, path: Path, arrived: bytes) -> Path:
    """Leave what an interrupted ``fetch`` leaves; the ``.part``."""
    note = {"program": "captioning", "url": url, "size": None, "sha256": None}
    path.with_name(f".{path.name}.fetch").write_text(json.dumps(note))
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(arrived)
    return part


def test_a_broken_download_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    server.breaks = 3
    path = tmp_path / "new" / "file.bin"
    fetch(f"{server.url}/file.bin", path, len(CONTENT), hashlib.sha256(CONTENT).hexdigest(), pause=0)
    assert path.read_bytes() == CONTENT
    assert [wanted for _, wanted in server.asked] == [
        None,
        f"bytes={HALF}-",
        f"bytes={HALF + HALF // 2}-",
        f"bytes={HALF + HALF // 2 + HALF // 4}-",
    ]
    fetch(f"{server.url}/file.bin", path, len(CONTENT))
    assert len(server.asked) == 4  # it is there: nothing is asked for
    assert names(path.parent) == [".file.bin.fetch", "file.bin"]
    download.clear(path, path.parent)
    assert names(path.parent) == []


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


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("size", [len(CONTENT), None])
def test_all_again_that_breaks_off_earlier_loses_nothing(
    size: int | None, ranges: bool, server: Server, tmp_path: Path
) -> None:
    url = f"{server.url}/file.bin"
    part = begin(url, tmp_path / "file.bin", CONTENT[:HALF])
    server.ranges = ranges
    server.answers = [(200, {"Content-Length": str(len(CONTENT))}, [CONTENT[:1000]])]
    with pytest.raises(
        CaptioningError, match=rf"broke off after 1000 of .* the {HALF} bytes that have arrived are kept"
    ):
        fetch(url, tmp_path / "file.bin", size, attempts=1)
    assert part.read_bytes() == CONTENT[:HALF]
    fetch(url, tmp_path / "file.bin", size, attempts=1)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("size", [len(CONTENT), None])
def test_a_complete_part(size: int | None, server: Server, tmp_path: Path) -> None:
    begin(f"{server.url}/file.bin", tmp_path / "file.bin", CONTENT)
    fetch(f"{server.url}/file.bin", tmp_path / "file.bin", size, pause=0)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("note", [None, "", "{}", '["captioning"]', '{"program": "other", "url": "x"}', "[" * 99999])
def test_a_part_of_somebody_else_is_refused(note: str | None, server: Server, tmp_path: Path) -> None:
    part, beside = tmp_path / "file.bin.part", tmp_path / ".file.bin.fetch"
    part.write_bytes(b"of a browser")
    if note is not None:
        beside.write_text(note)
    with pytest.raises(CaptioningError, match=r"/file\.bin\.part: this program has not written .* Move it away"):
        fetch(f"{server.url}/file.bin", tmp_path / "file.bin", pause=0)
    download.clear(tmp_path / "file.bin", tmp_path)
    assert part.read_bytes() == b"of a browser" and not server.asked
    part.unlink()
    if note is not None:  # nor is a file of the note's name overwritten
        with pytest.raises(CaptioningError, match=r"/\.file\.bin\.fetch: this file is not one of this program"):
            fetch(f"{server.url}/file.bin", tmp_path / "file.bin", pause=0)
        assert beside.read_text() == note and not server.asked


def test_a_part_from_another_address_is_refused(server: Server, tmp_path: Path) -> None:
    part = begin("http://mirror/file.bin", tmp_path / "file.bin", CONTENT[:HALF])
    with pytest.raises(
        CaptioningError, match=r"file\.bin\.part: this has been fetched from http://mirror/file\.bin, not"
    ):
        fetch(f"{server.url}/file.bin", tmp_path / "file.bin", pause=0)
    assert part.read_bytes() == CONTENT[:HALF] and not server.asked
    part.unlink()
    fetch(f"{server.url}/file.bin", tmp_path / "file.bin", pause=0)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


PORTAL: list[tuple[int, dict[str, str], bytes]] = [
    (200, {"Content-Length": "20"}, PAGE),
    (200, {}, PAGE),
    (200, {"Content-Length": "abc"}, PAGE),
    (200, {"Content-Length": "20"}, CONTENT[:20]),
    (200, {}, CONTENT[:20]),
    (206, {"Content-Length": "20"}, PAGE),
    (206, {"Content-Length": "20", "Content-Range": "bytes 0-19/20"}, PAGE),
    (206, {"Content-Length": "20", "Content-Range": f"bytes 0-19/{len(CONTENT)}"}, PAGE),
    (416, {"Content-Length": "20"}, PAGE),
]
OF_KNOWN_SIZE = [
    (200, {}, CONTENT[:HALF] + PAGE),
    (206, {"Content-Range": f"bytes {HALF}-{HALF + 19}/*"}, PAGE),
    (206, {"Content-Length": "20", "Content-Range": f"bytes {HALF}-{HALF + 19}/{HALF + 20}"}, PAGE),
]


@pytest.mark.parametrize(
    ("size", "status", "headers", "body"),
    [*((None, *answer) for answer in PORTAL), *((len(CONTENT), *answer) for answer in PORTAL + OF_KNOWN_SIZE)],
)
def test_an_answer_that_cannot_be_the_rest_loses_nothing(
    size: int | None, status: int, headers: dict[str, str], body: bytes, server: Server, tmp_path: Path
) -> None:
    """A captive portal answers any question with its page."""
    url = f"{server.url}/file.bin"
    part = begin(url, tmp_path / "file.bin", CONTENT[:HALF])
    server.answers = [(status, headers, [body]), (200, headers, [body])]  # the second is asked for after 416 alone
    with pytest.raises(CaptioningError, match="can't be fetched"):
        fetch(url, tmp_path / "file.bin", size, attempts=1)
    assert part.read_bytes() == CONTENT[:HALF]
    server.answers = []
    fetch(url, tmp_path / "file.bin", size, attempts=1)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert server.asked[-1] == ("/file.bin", f"bytes={HALF}-")


@pytest.mark.parametrize("ranges", [True, False])
def test_bytes_that_are_not_the_files_are_replaced_by_it(ranges: bool, server: Server, tmp_path: Path) -> None:
    url = f"{server.url}/file.bin"
    begin(url, tmp_path / "file.bin", CONTENT[:1000] + b"?" * 1000)
    server.ranges = ranges
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    if ranges:  # nothing but the checksum tells
        with pytest.raises(CaptioningError, match=r"its SHA-256 is .* and was deleted\. Run again"):
            fetch(url, tmp_path / "file.bin", len(CONTENT), sha256, pause=0)
        assert names(tmp_path) == []
    fetch(url, tmp_path / "file.bin", len(CONTENT), sha256, pause=0)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("have", [0, HALF])
@pytest.mark.parametrize("first", [CONTENT, b"?" * len(CONTENT)])
def test_a_body_without_end(
    have: int, first: bytes, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "CHUNK", 100_000)
    url, sent = f"{server.url}/file.bin", []

    def endless() -> Iterator[bytes]:
        for chunk in itertools.chain([first], itertools.repeat(b"?" * (1 << 20), 99)):
            sent.append(len(chunk))
            yield chunk

    if have:
        begin(url, tmp_path / "file.bin", CONTENT[:have])
    server.answers = [(200, {}, endless())]
    with pytest.raises(CaptioningError, match="can't be fetched"):
        fetch(url, tmp_path / "file.bin", len(CONTENT), attempts=1)
    assert sum(sent) < 50 << 20  # what sockets hold
    if have:
        assert (tmp_path / "file.bin.part").read_bytes() == CONTENT[:have]
    else:
        assert names(tmp_path) == []


@pytest.mark.parametrize("length", ["abc", "-5", "", "1e6", "9" * 5000])
def test_a_length_that_is_none(length: str, server: Server, tmp_path: Path) -> None:
    for name, size in (("a", None), ("b", len(CONTENT))):
        server.answers = [(200, {"Content-Length": length}, [CONTENT])]
        fetch(f"{server.url}/file.bin", tmp_path / name, size, pause=0)
        assert (tmp_path / name).read_bytes() == CONTENT


def test_an_address_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(CaptioningError, match=r"^mirror/file\.bin: can't be fetched \(unknown url type"):
        fetch("mirror/file.bin", tmp_path / "file.bin")
    assert names(tmp_path) == []


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
    assert names(tmp_path) == [".file.bin.fetch", "file.bin"]  # of what has not come, nothing is left


def test_no_server(server: Server, tmp_path: Path) -> None:
    with pytest.raises(CaptioningError, match="can't be fetched"):
        fetch("http://127.0.0.1:9/file.bin", tmp_path / "file.bin", attempts=2, pause=0)


def test_a_file_of_another_length_is_not_fetched(server: Server, tmp_path: Path) -> None:
    with pytest.raises(CaptioningError, match=r"the server offers 1024000 bytes, not 1023999"):
        fetch(f"{server.url}/file.bin", tmp_path / "file.bin", len(CONTENT) - 1, pause=0)
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("arrived", "size", "sha256", "message"),
    [
        (b"", None, "0" * 64, "its SHA-256 is [0-9a-f]{64}, not 0"),
        (CONTENT, len(CONTENT) - 1, None, "it has 1024000 bytes, not 1023999"),
    ],
)
def test_what_is_wrong_is_deleted(
    server: Server, tmp_path: Path, arrived: bytes, size: int | None, sha256: str | None, message: str
) -> None:
    begin(f"{server.url}/file.bin", tmp_path / "file.bin", arrived)
    with pytest.raises(CaptioningError, match=rf"{message}.* and was deleted"):
        fetch(f"{server.url}/file.bin", tmp_path / "file.bin", size, sha256)
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("size", "sha256", "message"),
    [(len(CONTENT), None, r"it has 4 bytes, not 1024000"), (4, "0" * 64, "its SHA-256 is [0-9a-f]{64}, not 0")],
)
def test_another_file_of_the_name_is_not_touched(
    size: int, sha256: str | None, message: str, server: Server, tmp_path: Path
) -> None:
    (tmp_path / "file.bin").write_bytes(b"mine")
    with pytest.raises(CaptioningError, match=rf"/file\.bin: .*{message}.*\. Move it away"):
        fetch(f"{server.url}/file.bin", tmp_path / "file.bin", size, sha256)
    assert names(tmp_path) == ["file.bin"] and (tmp_path / "file.bin").read_bytes() == b"mine"


def test_a_link_that_leads_nowhere_is_not_replaced(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.bin").symlink_to(tmp_path / "unmounted")
    with pytest.raises(CaptioningError, match=r"/file\.bin: this is no file\. Move it away"):
        fetch(f"{server.url}/file.bin", tmp_path / "file.bin")
    assert (tmp_path / "file.bin").is_symlink()


def test_a_file_that_comes_during_the_download_is_not_replaced(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = download._write

    def write(file: Any, chunk: bytes, path: Path) -> None:
        (tmp_path / "file.bin").write_bytes(b"mine")
        real(file, chunk, path)

    monkeypatch.setattr(download, "_write", write)
    with pytest.raises(CaptioningError, match=r"/file\.bin: this was put here during the download, and stays"):
        fetch(f"{server.url}/file.bin", tmp_path / "file.bin")
    download.clear(tmp_path / "file.bin", tmp_path)
    assert names(tmp_path) == ["file.bin"] and (tmp_path / "file.bin").read_bytes() == b"mine"


def test_a_file_in_place_of_the_one_that_was_fetched_is_not_removed(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    fetch(f"{server.url}/file.bin", path)
    path.unlink()
    path.write_bytes(CONTENT)  # the same, but a user's
    download.clear(path, tmp_path)
    assert names(tmp_path) == ["file.bin"]


def test_the_free_disk_is_looked_at_first(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=len(CONTENT) - 1))
    with pytest.raises(CaptioningError, match="free on this disk"):
        fetch(f"{server.url}/file.bin", tmp_path / "file.bin", len(CONTENT))
    assert not server.asked
    begin(f"{server.url}/file.bin", tmp_path / "file.bin", CONTENT[:1])  # what has arrived needs no room any more
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
    assert names(tmp_path) == ["train2017", "train2017.zip"]


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
    nameless, member = zip_of(tmp_path / "c.zip", {"train2017/1.jpg": b"1"}), zipfile.ZipInfo("x")
    member.filename = ""
    with zipfile.ZipFile(nameless, "a") as zipped:
        zipped.writestr(member, b"0")
    unzip(nameless, tmp_path, ("train2017",))
    assert names(tmp_path / "train2017") == ["1.jpg"]


def test_an_archive_that_unpacks_to_many_times_its_size_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("train2017/1.jpg", bytes(70_000_000))
    with pytest.raises(CaptioningError, match=r"a\.zip: it would unpack to 70 MB, 100 times its size or more"):
        unzip(tmp_path / "a.zip", tmp_path, ("train2017",))
    assert not (tmp_path / "train2017").exists()


@pytest.mark.parametrize("mark", [None, "{}", '{"program": "captioning", "kind": "run"}'])
def test_a_folder_in_the_place_of_unpacking_is_refused(mark: str | None, tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "a.zip", {"train2017/1.jpg": b"1"})
    aside = tmp_path / ".a.zip.part"
    (aside / "train2017").mkdir(parents=True)
    (aside / "train2017" / "1.jpg").write_bytes(b"mine")
    if mark:
        (aside / MARK).write_text(mark)
    said = (
        r"\.a\.zip\.part.*: this (holds something other|folder is used for something else|file is not one of this pr)"
    )
    with pytest.raises(CaptioningError, match=said):
        unzip(archive, tmp_path, ("train2017",))
    download.clear(archive, tmp_path)
    assert (aside / "train2017" / "1.jpg").read_bytes() == b"mine" and not (tmp_path / "train2017").exists()


def test_a_file_in_the_place_of_unpacking_is_refused(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "a.zip", {"train2017/1.jpg": b"1"})
    (tmp_path / ".a.zip.part").write_bytes(b"mine")
    with pytest.raises(CaptioningError, match=r"\.a\.zip\.part: this is no folder"):
        unzip(archive, tmp_path, ("train2017",))
    download.clear(archive, tmp_path)
    assert (tmp_path / ".a.zip.part").read_bytes() == b"mine"


def test_what_was_not_unpacked_stays_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    archive = zip_of(tmp_path / "a.zip", {"train2017/1.jpg": b"1"})
    aside, real = tmp_path / ".a.zip.part", shutil.copyfileobj

    def copy(*arguments: Any) -> None:
        (aside / "deep" / "empty").mkdir(parents=True, exist_ok=True)
        (aside / "deep" / "notes.txt").write_text("mine")
        real(*arguments)

    monkeypatch.setattr(shutil, "copyfileobj", copy)
    unzip(archive, tmp_path, ("train2017",))
    assert [str(path.relative_to(aside)) for path in sorted(aside.rglob("*"))] == ["deep", "deep/notes.txt"]
    assert ".a.zip.part: it holds files that were not wanted, and they stay" in caplog.text
    assert names(tmp_path / "train2017") == ["1.jpg"]


def test_an_entry_that_is_there_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = zip_of(tmp_path / "a.zip", {f"annotations/{name}.json": b"{}" for name in "abc"})
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "a.json").write_text("edited")
    real = shutil.copyfileobj

    def copy(*arguments: Any) -> None:
        real(*arguments)
        (tmp_path / "annotations" / "b.json").write_text("edited meanwhile")

    monkeypatch.setattr(shutil, "copyfileobj", copy)
    unzip(archive, tmp_path, [f"annotations/{name}.json" for name in "abc"])
    assert {path.name: path.read_text() for path in (tmp_path / "annotations").iterdir()} == {
        "a.json": "edited",
        "b.json": "edited meanwhile",
        "c.json": "{}",
    }


@pytest.mark.parametrize("name", ["../out", "train2017/../../out", "/tmp/out", "train2017/../out"])
def test_nothing_is_unpacked_elsewhere(name: str, tmp_path: Path) -> None:
    root = tmp_path / "deep" / "root"
    root.mkdir(parents=True)
    archive = zip_of(tmp_path / "a.zip", {"train2017/1.jpg": b"1", name: b"out"})
    unzip(archive, root, ("train2017",))
    assert [str(path.relative_to(root)) for path in sorted(root.rglob("*"))] == ["train2017", "train2017/1.jpg"]
    assert names(tmp_path) == ["a.zip", "deep"] and names(tmp_path / "deep") == ["root"]


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
    assert names(root) == [LOCK, "annotations", "train2017", "val2017"]
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
    assert names(root) == [LOCK, "annotations", "train2017", "val2017"]


def fork(call: Callable[[], None]) -> int:
    """Call in a process of its own, which shares the server; the process's number."""
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        try:
            call()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        os._exit(1)
    return child


def status(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def dying(call: Callable[[], None], limit: int) -> Callable[[], None]:
    """``call``, but the process ends, as by ``kill -9``, before it changes anything on the disk once more."""
    count = 0
    changes = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link"}

    def step() -> None:
        nonlocal count
        count += 1
        if count > limit:
            os._exit(9)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in changes or (event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR)):
            step()

    def write(file: Any, chunk: bytes, path: Path, real: Any = download._write) -> None:
        real(file, chunk[: len(chunk) // 2], path)
        step()
        real(file, chunk[len(chunk) // 2 :], path)

    def copy(source: Any, target: Any, length: int) -> None:
        content = source.read()
        target.write(content[:10])
        target.flush()
        step()
        target.write(content[10:])

    def called() -> None:
        download._write, shutil.copyfileobj = write, copy  # type: ignore[assignment]
        sys.addaudithook(hook)
        call()

    return called


@pytest.mark.parametrize("own", [False, True], ids=["fetched", "own zip"])
def test_coco_goes_on_after_a_kill_at_any_change_of_the_disk(
    own: bool, server: Server, small_coco: dict[str, Archive], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archives = coco_archives.ARCHIVES[2017]
    monkeypatch.setattr(coco_archives, "ARCHIVES", {2017: archives[2:] if own else archives[:1]})
    expected = [LOCK, "val2017", "val2017.zip"] if own else [LOCK, "annotations"]
    for limit in itertools.count():
        root = tmp_path / str(limit)
        root.mkdir()
        if own:
            (root / "val2017.zip").write_bytes(server.files["/zips/val2017.zip"])
        killed = status(fork(dying(lambda root=root: prepare_coco(root, 2017, server.url), limit)))  # type: ignore[misc]
        assert killed in (0, 9)
        prepare_coco(root, 2017, server.url)
        assert names(root) == expected, limit
        unpacked = [path for path in root.glob("*/*") if path.is_file()]
        with zipfile.ZipFile(io.BytesIO(server.files[f"/{coco_archives.ARCHIVES[2017][0].place}"])) as zipped:
            assert [path.read_bytes() for path in unpacked] == [
                zipped.read(str(path.relative_to(root))) for path in unpacked
            ]
        assert len(unpacked) == 2
        if killed == 0:
            break
    assert limit > (15 if own else 30)


def test_two_processes_prepare_one_folder(server: Server, small_coco: dict[str, Archive], tmp_path: Path) -> None:
    root = tmp_path / "coco"
    server.breaks = 3
    children = [fork(lambda: prepare_coco(root, 2017, server.url)) for _ in range(3)]
    assert [status(child) for child in children] == [0, 0, 0]
    assert names(root) == [LOCK, "annotations", "train2017", "val2017"]
    assert len(list(read_coco(root, holdout={"val": 1}))) == 6
    assert [wanted for _, wanted in server.asked].count(None) == 3  # each archive was begun once


def test_a_zip_of_the_user_is_used_and_kept(server: Server, small_coco: dict[str, Archive], tmp_path: Path) -> None:
    root = tmp_path / "coco"
    root.mkdir()
    content = server.files["/zips/val2017.zip"]
    (root / "val2017.zip").write_bytes(content)
    prepare_coco(root, 2017, server.url)
    assert names(root) == [LOCK, "annotations", "train2017", "val2017", "val2017.zip"]
    assert (root / "val2017.zip").read_bytes() == content
    assert "/zips/val2017.zip" not in [place for place, _ in server.asked]


def test_a_zip_of_the_user_beside_an_interrupted_download_is_used_and_kept(
    server: Server, small_coco: dict[str, Archive], tmp_path: Path
) -> None:
    root = tmp_path / "coco"
    root.mkdir()
    content = server.files["/zips/val2017.zip"]
    begin(f"{server.url}/zips/val2017.zip", root / "val2017.zip", content[:100])
    (root / "..val2017.zip.fetch.captioning-01234567").touch()  # the note, when its writing was killed
    (root / "val2017.zip").write_bytes(content)
    prepare_coco(root, 2017, server.url)
    assert names(root) == [LOCK, "annotations", "train2017", "val2017", "val2017.zip"]


def test_what_a_kill_has_left_of_what_is_there_by_now_is_removed(
    server: Server, small_coco: dict[str, Archive], tmp_path: Path
) -> None:
    root = tmp_path / "coco"
    prepare_coco(root, 2017, server.url)
    begin(f"{server.url}/zips/val2017.zip", root / "val2017.zip", b"half")
    (root / ".val2017.zip.part").mkdir()
    (root / ".val2017.zip.part" / f".{MARK}.captioning-01234567").touch()
    (root / "train2017.zip.part").write_text("mine")
    prepare_coco(root, 2017, server.url)
    assert names(root) == [LOCK, "annotations", "train2017", "train2017.zip.part", "val2017"]


def test_a_damaged_zip_of_the_user_is_refused_before_it_is_unpacked(
    server: Server, small_coco: dict[str, Archive], tmp_path: Path
) -> None:
    root = tmp_path / "coco"
    root.mkdir()
    content = bytearray(server.files["/annotations/annotations_trainval2017.zip"])
    content[80] ^= 0xFF
    path = root / "annotations_trainval2017.zip"
    path.write_bytes(content)
    with pytest.raises(CaptioningError, match=r"annotations_trainval2017\.zip: .* SHA-256 is .* Move it away"):
        prepare_coco(root, 2017, server.url)
    assert path.read_bytes() == content and names(root) == [LOCK, path.name]


@pytest.mark.parametrize("place", ["annotations", ""], ids=["annotations", "root"])
def test_captions_that_are_there_are_left_alone(
    place: str, server: Server, small_coco: dict[str, Archive], tmp_path: Path
) -> None:
    root = tmp_path / "coco"
    (root / place).mkdir(parents=True)
    edited = root / place / "captions_train2017.json"
    edited.write_text("edited")
    (root / "images" / "val2017").mkdir(parents=True)
    prepare_coco(root, 2017, server.url)
    assert edited.read_text() == "edited"
    assert [path.parent.name for path in root.rglob("captions_train2017.json")] == [edited.parent.name]
    assert (root / "annotations" / "captions_val2017.json").exists()
    assert not (root / "val2017").exists() and names(root / "images" / "val2017") == []


def test_a_complete_folder_is_not_written_to(server: Server, small_coco: dict[str, Archive], tmp_path: Path) -> None:
    root = tmp_path / "coco"
    for name in ("train2017", "val2017"):
        (root / name).mkdir(parents=True)
        (root / f"captions_{name}.json").touch()
    before = root.stat().st_mtime_ns, names(root)
    prepare_coco(root, 2017, server.url)
    assert (root.stat().st_mtime_ns, names(root)) == before


def test_links_to_photographs_that_are_not_mounted(
    server: Server, small_coco: dict[str, Archive], tmp_path: Path
) -> None:
    root = tmp_path / "coco"
    (root / "images").mkdir(parents=True)
    (root / "images" / "val2017").symlink_to(tmp_path / "unmounted")
    with pytest.raises(CaptioningError, match="/images/val2017: this link leads nowhere"):
        prepare_coco(root, 2017, server.url)
    assert not server.asked


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
