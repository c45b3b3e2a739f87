"""Clips: the chosen frames are read, and what can't be read gets a sentence."""

import logging
import struct
import wave
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from captioning.core import clips
from captioning.core.clips import FrameChoice, beside, read_frames, read_strip
from captioning.core.errors import CaptioningError
from captioning.core.images import read_image
from captioning.data.moving_scenes.reader import write_clip


def colours(count: int = 9, size: tuple[int, int] = (48, 32)) -> list[Image.Image]:
    """Frames of one colour each."""
    return [Image.new("RGB", size, (20 * number, 255 - 20 * number, 90)) for number in range(count)]


def video(frames: Sequence[Image.Image], path: Path, codec: str = "ffv1") -> Path:
    """A video, lossless by default."""
    av = pytest.importorskip("av", reason="videos are read by PyAV (captioning[video])")
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height = frames[0].size
        stream.pix_fmt = {"ffv1": "bgr0"}.get(codec, "yuv420p")
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_image(frame)))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize(
    ("settings", "count", "chosen"),
    [
        ((3, None), 9, [1, 4, 7]),
        ((1, None), 10, [5]),
        ((16, None), 4, [0, 1, 2, 3]),
        ((4, 3), 20, [0, 3, 6, 9]),
        ((80, 10), 25, [0, 10, 20]),
    ],
)
def test_frames_are_spaced_evenly_or_every_nth(settings: tuple[int, int | None], count: int, chosen: list[int]) -> None:
    assert FrameChoice(*settings)(count) == chosen


@pytest.mark.parametrize("ending", ["mkv", "avi", "png", "gif"])
def test_the_frames_read_are_those_written(ending: str, tmp_path: Path) -> None:
    frames = [*colours(4), *colours(4)[-1:], *colours(4)[:1]]  # two in a row are equal
    path = tmp_path / f"clip.{ending}"
    if ending == "png":
        write_clip(frames, path)
    elif ending == "gif":
        frames = colours(6)  # a GIF joins equal frames
        frames[0].save(path, save_all=True, append_images=frames[1:])
    else:
        video(frames, path)
    found = read_frames(path, FrameChoice(99))
    assert len(found) == len(frames)
    for ours, theirs in zip(found, frames, strict=True):
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))
    some = read_frames(path, lambda count: [1, count - 1], path.read_bytes())
    assert [np.asarray(each)[0, 0].tolist() for each in some] == [
        np.asarray(frames[place])[0, 0].tolist() for place in (1, 5)
    ]


def test_a_picture_is_a_clip_of_one_frame_and_a_strip_shows_some(tmp_path: Path) -> None:
    colours()[3].save(tmp_path / "still.png")
    assert len(read_frames(tmp_path / "still.png", FrameChoice(5))) == 1
    assert read_strip(tmp_path / "still.png").size == (48, 32)
    write_clip(colours(), tmp_path / "moving.png")
    assert read_strip(tmp_path / "moving.png", 3).size == (3 * 48 + 4, 32)
    assert beside([colours(1)[0], colours(1, (10, 64))[0]], 0).size == (48 + 5, 32)


def test_a_video_of_one_frame_gets_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = video(colours(1), tmp_path / "one.mkv")
    with caplog.at_level(logging.WARNING):
        assert len(read_frames(path, FrameChoice(4))) == 1
    assert "one.mkv: this video has one frame, so that nothing moves in it." in caplog.text


def bad(folder: Path, kind: str) -> Path:
    """A file that is no clip."""
    path = folder / f"{kind}.avi"
    if kind == "sound":
        with wave.open(str(path), "wb") as sound:
            sound.setparams((1, 2, 8000, 800, "NONE", ""))
            sound.writeframes(bytes(1600))
    elif kind == "text":
        path.write_text("no clip")
    elif kind == "folder":
        path.mkdir()
    elif kind in ("cut", "codec"):
        content = video(colours(60), folder / "whole.avi", "mpeg4").read_bytes()
        path.write_bytes(content[: len(content) // 2] if kind == "cut" else content.replace(b"FMP4", b"QQQQ"))
    return path


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("nothing", "there is no such clip. Check the path"),
        ("folder", "this clip can't be read, for it is a folder"),
        ("text", "this is neither a video nor a picture that can be read"),
        ("sound", "there is no video in this file, only sound or data"),
        ("cut", r"this video is cut short: \d+ of 60 frames can be read|neither a video nor a picture .* cut short"),
        ("codec", "the codec of this video is unknown to this FFmpeg. Convert it"),
    ],
)
def test_what_is_no_clip_gets_a_sentence(kind: str, sentence: str, tmp_path: Path) -> None:
    pytest.importorskip("av", reason="videos are read by PyAV (captioning[video])")
    path = bad(tmp_path, kind)
    with pytest.raises(CaptioningError, match=f"{kind}.avi: .*({sentence})"):
        read_frames(path, FrameChoice(4))


def test_a_video_that_states_its_seconds_alone_is_cut_short(tmp_path: Path) -> None:
    path = video(colours(80), tmp_path / "clip.webm", "libvpx")
    assert len(read_frames(path, FrameChoice(4))) == 4
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(CaptioningError, match=r"clip.webm: this video is cut short: [1-5]\.\d of 8\.0 seconds"):
        read_frames(path, FrameChoice(4))


@pytest.mark.parametrize("ending", ["mkv", "avi", "mp4"])
def test_a_reader_of_photographs_says_that_a_video_is_one(ending: str, tmp_path: Path) -> None:
    path = video(colours(), tmp_path / f"clip.{ending}", "mpeg4")
    with pytest.raises(CaptioningError, match=f"clip.{ending}: this is a video, and photographs are read here"):
        read_image(path)
    (tmp_path / "photo.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))  # a picture of a kind that is not read
    with pytest.raises(CaptioningError, match="not a picture that can be read"):
        read_image(tmp_path / "photo.heic")


def test_frames_that_are_too_large_get_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("captioning.core.clips.LARGEST", 48 * 32 - 1)
    write_clip(colours(3), tmp_path / "clip.png")
    for path in (video(colours(3), tmp_path / "clip.mkv"), tmp_path / "clip.png"):
        with pytest.raises(CaptioningError, match=f"{path.name}: frames of 48 × 32 pixels are too large"):
            read_frames(path, FrameChoice(2))


def test_without_pyav_a_video_gets_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"no picture")
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(CaptioningError, match=r'PyAV, which is not installed: pip install "captioning\[video\]"'):
        read_frames(tmp_path / "clip.mp4", FrameChoice(4))
    with pytest.raises(CaptioningError, match=r"encoder\.frames=0, encoder\.every=None: take 1 or more"):
        FrameChoice(0)


def gif(width: int, height: int, frames: int) -> bytes:
    """An animation of which each frame draws one pixel."""
    one = b",\0\0\0\0\1\0\1\0\0\2\2D\1\0"
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0, 0, 0) + one * frames + b";"


def test_few_bytes_do_not_take_gigabytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bomb.gif").write_bytes(gif(65535, 65535, 4))
    with pytest.raises(CaptioningError, match=r"bomb.gif: 65535 × 65535 pixels are too many"):
        read_frames(tmp_path / "bomb.gif", FrameChoice(4))
    monkeypatch.setattr(clips, "MOST", 100 * 60)
    (tmp_path / "large.gif").write_bytes(gif(200, 120, 4))
    found = read_frames(tmp_path / "large.gif", FrameChoice(4))
    assert [frame.size for frame in found] == [(50, 30)] * 4  # together in memory, so each at a quarter of its sides
    path = video(colours(4, (200, 120)), tmp_path / "large.mkv")
    assert [frame.size for frame in read_frames(path, FrameChoice(4))] == [(50, 30)] * 4
    monkeypatch.setattr(clips, "LARGEST", 100)
    with pytest.raises(CaptioningError, match=r"large.mkv: frames of 200 × 120 pixels are too large"):
        read_frames(path, FrameChoice(4))


@pytest.mark.parametrize("form", ["m3u8", "concat"])
def test_a_list_of_other_files_is_no_clip(form: str, tmp_path: Path) -> None:
    """FFmpeg would open what a playlist names, also an address."""
    secret = video(colours(3), tmp_path / "secret.ts", "mpeg4")
    text = {
        "m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{secret}\n#EXT-X-ENDLIST\n",
        "concat": f"ffconcat version 1.0\nfile {secret.name}\n",
    }
    (tmp_path / f"clip.{form}").write_text(text[form])
    with pytest.raises(CaptioningError, match="neither a video nor a picture that can be read"):
        read_frames(tmp_path / f"clip.{form}", FrameChoice(2))
