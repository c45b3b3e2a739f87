"""What this program has not written is neither overwritten nor claimed."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from captioning.core import files
from captioning.core.errors import CaptioningError
from captioning.core.files import atomic_write, remove_unfinished
from captioning.core.locks import HeldError, lock
from captioning.core.ownership import MARK, claim, is_ours, output, write_json_output

CHECKOUT = Path(__file__).parents[2]
MARKS = ["", "{}", '{"kind": "scenes"}', '["captioning"]', '{"program": "other"}', "[" * 99999]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_an_empty_folder_is_claimed_once_and_for_one_purpose(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "mine"
    assert not is_ours(folder, "scenes")
    claim(folder, "scenes", "scenes")
    assert is_ours(folder, "scenes") and not is_ours(folder, "run")
    (folder / "a.png").touch()
    claim(folder, "scenes", "scenes")
    with pytest.raises(CaptioningError, match=r"mine: this folder is used for something else \(scenes\)"):
        claim(folder, "run", "a run")


@pytest.mark.parametrize(
    "mark", ["", "{}", '{"kind": "scenes"}', '["captioning"]', '{"program": "other"}', "[" * 99999]
)
def test_a_mark_of_other_content_proves_nothing_and_stays(mark: str, tmp_path: Path) -> None:
    (tmp_path / MARK).write_text(mark)
    assert not is_ours(tmp_path, "scenes")
    with pytest.raises(CaptioningError, match=r"\.captioning: this file is not one of this program"):
        claim(tmp_path, "scenes", "scenes")
    for value in (1, 2):  # without a mark nothing tells whose the first one is
        write_json_output(tmp_path / "out.json", value)
    assert (tmp_path / MARK).read_text() == mark
    assert (tmp_path / "out.json").read_text() == "2\n" and (tmp_path / "out.json.~1~").read_text() == "1\n"


def test_names_that_are_not_written_may_stand_beside(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    claim(tmp_path, "run", "a run", ("config.yaml", "captions_*.json"))
    other = tmp_path / "other"
    other.mkdir()
    (other / "captions_mine.json").write_text("mine")
    with pytest.raises(CaptioningError, match=r"a run \(captions_mine\.json\)"):
        claim(other, "run", "a run", ("config.yaml", "captions_*.json"))


def test_a_file_of_our_own_is_replaced_and_a_foreign_or_changed_one_moved_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "out.json"
    path.write_text("years of work")
    for value in (1, 2, 2, 3):
        write_json_output(path, value)
    assert path.read_text() == "3\n"
    assert (tmp_path / "out.json.~1~").read_text() == "years of work"
    path.write_text("edited by hand")
    with caplog.at_level(logging.WARNING):
        write_json_output(path, 4)
    assert "kept as out.json.~2~" in caplog.text
    assert (tmp_path / "out.json.~2~").read_text() == "edited by hand"
    assert names(tmp_path) == [MARK, "out.json", "out.json.~1~", "out.json.~2~"]


def test_killed_between_the_mark_and_the_file_nothing_is_foreign(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_json_output(tmp_path / "out.json", 1)
    real = Path.replace

    def killed(self: Path, target: Path) -> None:
        if target.name == "out.json":
            raise KeyboardInterrupt
        real(self, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "replace", killed)
        write_json_output(tmp_path / "out.json", 2)
    assert (tmp_path / "out.json").read_text() == "1\n"
    write_json_output(tmp_path / "out.json", 2)
    assert names(tmp_path) == [MARK, "out.json"]


def test_a_link_to_nowhere_is_somebody_s_too(tmp_path: Path) -> None:
    (tmp_path / "out.json").symlink_to("nowhere")
    write_json_output(tmp_path / "out.json", 1)
    assert (tmp_path / "out.json.~1~").is_symlink() and (tmp_path / "out.json").read_text() == "1\n"


def test_what_can_take_no_output_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path, said in (
        (tmp_path, "this is a folder"),
        (tmp_path / MARK, "used for something else"),
        (tmp_path / ("x" * 300), "can't be written"),
        (tmp_path / "file" / "out.json", "can't be written"),
        ("/dev/full", "the disk is full"),
    ):
        with pytest.raises(CaptioningError, match=said):
            write_json_output(path, 1)


RACING = """
import sys
from pathlib import Path
from captioning.core.ownership import claim, write_json_output
folder, number = Path(sys.argv[1]), sys.argv[2]
sys.stdin.readline()
for turn in range(10):
    claim(folder / str(turn), "scenes", "scenes")
    (folder / str(turn) / "picture.png").touch()
    write_json_output(folder / f"out{number}.json", turn)
"""


def test_processes_that_claim_and_write_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen([sys.executable, "-c", RACING, tmp_path, str(n)], stdin=subprocess.PIPE, cwd=CHECKOUT)
        for n in range(3)
    ]
    for process in processes:
        assert process.stdin
        process.stdin.write(b"go\n")
        process.stdin.flush()
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert not list(tmp_path.rglob("*~"))
    assert not [path for path in tmp_path.rglob("*") if files.UNFINISHED.fullmatch(path.name)]


def test_what_is_no_file_is_written_to_or_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_json_output(tmp_path / "pipe", [1])
    assert os.read(reader, 100) == b"[\n 1\n]\n"
    os.close(reader)
    write_json_output("/dev/null", 1)
    assert Path("/dev/null").is_char_device()
    with pytest.raises(CaptioningError, match="this is a folder"), output(tmp_path):
        pass
    assert names(tmp_path) == ["pipe"]


WRITING = """
import sys, time
from captioning.core.files import atomic_write
with atomic_write(sys.argv[1]) as file:
    file.write("half")
    file.flush()
    print("writing", flush=True)
    time.sleep(60)
"""


def test_what_a_killed_writer_left_is_removed_and_what_is_being_written_stays(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    process = subprocess.Popen([sys.executable, "-c", WRITING, path], stdout=subprocess.PIPE, cwd=CHECKOUT)
    assert process.stdout and process.stdout.readline()
    (tmp_path / ".metrics.csv.12345678.part").write_text("somebody else's")
    with atomic_write(path) as file:
        file.write("whole")
    assert len(names(tmp_path)) == 3
    process.kill()
    process.wait()
    with atomic_write(tmp_path / "other") as file:
        file.write("whole")
    assert len(names(tmp_path)) == 4  # of another file
    with atomic_write(path) as file:
        file.write("whole again")
    assert names(tmp_path) == [".metrics.csv.12345678.part", "metrics.csv", "other"]
    assert files.UNFINISHED.fullmatch(".a.captioning-0123abcd")
    (tmp_path / ".a.captioning-0123abcd").touch()
    remove_unfinished(tmp_path, "b")
    remove_unfinished(tmp_path / "absent")
    assert (tmp_path / ".a.captioning-0123abcd").exists()
    remove_unfinished(tmp_path)
    assert not (tmp_path / ".a.captioning-0123abcd").exists()


HOLDING = """
import sys, time
from pathlib import Path
from captioning.core.locks import lock
with lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def test_one_process_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / ".lock"

    def holding(seconds: float) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-c", HOLDING, str(path), str(seconds)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=CHECKOUT)
        assert process.stdout and process.stdout.readline()
        return process

    first = holding(60)
    with pytest.raises(HeldError, match=rf"{tmp_path}: in use by process {first.pid} of "), lock(path):
        pass
    first.kill()
    first.wait()
    with lock(path), pytest.raises(HeldError, match="this process is at work"), lock(path):
        pass
    second = holding(0.5)
    with lock(path, wait=True):
        assert second.wait(10) == 0


def test_a_forked_worker_does_not_hold_on_to_the_lock(tmp_path: Path) -> None:
    script = (
        "import os, sys, time\nfrom pathlib import Path\nfrom captioning.core.locks import lock\n"
        "with lock(Path(sys.argv[1])):\n"
        "    child = os.fork()\n"
        "    if not child:\n        time.sleep(20)\n        os._exit(0)\n"
        "    print(child, flush=True)\n    os.kill(os.getpid(), 9)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / ".lock")], stdout=subprocess.PIPE, cwd=CHECKOUT
    )
    assert process.stdout
    child = int(process.stdout.readline())
    process.wait()
    with lock(tmp_path / ".lock"):
        os.kill(child, 9)


def test_a_lock_file_of_somebody_else_keeps_its_content(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("mine")
    (tmp_path / "empty").touch()
    (tmp_path / "link").symlink_to("empty")
    for name in ("lock", "empty"):
        with lock(tmp_path / name):
            pass
    with pytest.raises(CaptioningError, match="link: can't be written"), lock(tmp_path / "link"):
        pass
    assert (tmp_path / "lock").read_text() == "mine" and (tmp_path / "empty").read_text() == ""
