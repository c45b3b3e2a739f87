"""Clips on the page: the server's answers, what it refuses, and the strip of frames in Chromium."""

import base64
import io
import re
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi", reason="needs captioning[web]")

from babblers import Served, picture, serving, unasked, untrained
from test_server import ask, encoded

from captioning.core import clips as core_clips
from captioning.data.moving_scenes.reader import write_clip
from captioning.predict.pictures import Encoded
from captioning.web import answers

ATTENTION = ("decoder=show_attend_tell", "decoder.attends=frames", "decoder.attention_size=8")


@pytest.fixture(scope="module")
def clips(tiny_settings: list[str]) -> Iterator[Served]:
    """A server of a captioner of clips, one that does not attend, one of optical flow, and one of photographs."""
    captioners = {
        "clips": untrained(tiny_settings, "encoder=frames", *ATTENTION),
        "pooled": untrained(tiny_settings, "encoder=frames", "decoder=show_tell"),
        "flow": untrained(tiny_settings, "encoder=flow", *ATTENTION),
        "photographs": untrained(tiny_settings, "decoder=show_tell"),
    }
    with serving(captioners, unasked()) as served:
        yield served


def video(name: str = "clip.mp4", codec: str = "mpeg4", count: int = 12, size: tuple[int, int] = (64, 32)) -> bytes:
    """A video of several pictures."""
    av = pytest.importorskip("av", reason="videos are read by PyAV (captioning[video])")
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=name.rpartition(".")[2]) as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        for number in range(count):
            container.mux(stream.encode(av.VideoFrame.from_image(picture(number, size))))
        container.mux(stream.encode())
    return buffer.getvalue()


def still(tmp_path: Path) -> bytes:
    write_clip([picture(number) for number in range(5)], tmp_path / "clip.png")
    return (tmp_path / "clip.png").read_bytes()


@pytest.mark.parametrize("kind", ["mp4", "webm", "png"])
def test_a_clip_is_captioned_as_python_captions_it(clips: Served, kind: str, tmp_path: Path) -> None:
    codecs = {"mp4": "mpeg4", "webm": "libvpx"}
    content = still(tmp_path) if kind == "png" else video(f"clip.{kind}", codecs[kind])
    status, found = ask(clips, "POST", "/caption?captioner=clips", content)
    assert status == 200, found
    captioner = clips.captioners["clips"]
    (expected,) = captioner.caption([Encoded("clip", content)], n=4, attention=True)
    assert [each["text"] for each in found["captions"]] == [each.text for each in expected]
    assert len(found["frames"]) == 4
    for each, caption in zip(found["captions"], expected, strict=True):
        assert caption.attention is not None and caption.attention.shape[1:] == (1, 4)
        weights = np.array([word["attention"] for word in each["words"][:-1]])
        assert weights == pytest.approx(caption.attention, abs=1e-4)
    assert any(caption.text for caption in expected)
    opened = [Image.open(io.BytesIO(base64.b64decode(each.partition(",")[2]))) for each in found["frames"]]
    assert {each.size for each in opened} == {(200, 167) if kind == "png" else (200, 100)}  # the clip's proportions
    assert len({each.tobytes() for each in opened}) == 4 and found["picture"] == found["frames"][2]


def test_the_frames_are_those_that_the_encoder_is_given(clips: Served) -> None:
    content = video()
    pixels, frames = answers.read_clip(clips.captioners["clips"].encoder.transform, content)
    given = clips.captioners["clips"].encoder.transform.frames_in(pixels)  # type: ignore[attr-defined]
    for frame, each in zip(frames, given, strict=True):
        assert np.asarray(frame.resize((16, 16)), float) == pytest.approx(np.asarray(each, float), abs=40)
    ask_flow = ask(clips, "POST", "/caption?captioner=flow", content)[1]
    assert len(ask_flow["frames"]) == 4 and ask_flow["frames"] != [answers._picture(frame) for frame in frames]


def test_a_photograph_is_a_clip_of_one_frame_but_not_for_optical_flow(clips: Served) -> None:
    found = ask(clips, "POST", "/caption?captioner=pooled", encoded(picture(1)))[1]
    assert len(found["frames"]) == 1 and "attention" not in found["captions"][0]["words"][0]
    refused = ask(clips, "POST", "/caption?captioner=flow", encoded(picture(1)))
    assert refused[0] == 200 and "optical flow is between two frames" in refused[1]["error"]
    assert "frames" not in ask(clips, "POST", "/caption?captioner=photographs", encoded(picture(1)))[1]


def sound() -> bytes:
    av = pytest.importorskip("av")
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return buffer.getvalue()


def cut() -> bytes:
    content = video("clip.avi", count=60)
    return content[: len(content) // 2]


@pytest.mark.parametrize(
    ("name", "body", "status", "said"),
    [
        ("clips", b"no clip", 200, "neither a video nor a picture that can be read"),
        ("clips", b"", 200, "the file is empty"),
        ("clips", sound, 200, "there is no video in this file, only sound or data"),
        ("clips", cut, 200, "this video is cut short|It may be cut short or damaged"),
        ("clips", lambda: video("clip.avi").replace(b"FMP4", b"QQQQ"), 200, "codec of this video is unknown"),
        ("clips", lambda: bytes(answers.BYTES + 1), 413, "larger than 20 MB"),
        ("clips", lambda: encoded(Image.new("L", (7100, 7100))), 200, r"pixels are too many \(50 million\)"),
        (
            "photographs",
            video,
            200,
            "this is a video, and photographs are read here. Take a photograph, or a captioner",
        ),
        ("photographs", lambda: video("clip.webm", "libvpx"), 200, "this is a video, and photographs are read here"),
        ("photographs", lambda: video("clip.avi"), 200, "this is a video, and photographs are read here"),
    ],
)
def test_what_is_refused_is_a_sentence(
    clips: Served, name: str, body: bytes | Callable[[], bytes], status: int, said: str
) -> None:
    found = ask(clips, "POST", f"/caption?captioner={name}", body() if callable(body) else body)
    assert found[0] == status and re.search(said, found[1]["error"]), found


def test_a_clip_of_too_many_frames_or_too_large_ones(clips: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    content = video(count=30)
    monkeypatch.setattr(answers, "FRAMES", 29)
    found = ask(clips, "POST", "/caption?captioner=clips", content)[1]
    assert "the clip has 30 frames; up to 29 are read here" in found["error"]
    monkeypatch.undo()
    monkeypatch.setattr("captioning.core.clips.LARGEST", 64 * 32 - 1)
    found = ask(clips, "POST", "/caption?captioner=clips", content)[1]
    assert "frames of 64 × 32 pixels are too large" in found["error"]


def test_memory_holds_one_frame_as_it_is(clips: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames are made small as they are decoded: a clip of many large ones does not lie in memory."""
    made: list[weakref.ref[Image.Image]] = []
    most = 0
    upright = core_clips._upright

    def watched(frame: Any) -> Image.Image:
        nonlocal most
        image = upright(frame)
        made.append(weakref.ref(image))
        most = max(most, sum(each() is not None for each in made))
        return image

    monkeypatch.setattr(core_clips, "_upright", watched)
    found = ask(clips, "POST", "/caption?captioner=clips", video(count=40))[1]
    assert len(found["frames"]) == 4 and 1 <= most <= 2


def test_the_page_shows_the_weights_of_the_frames(browser: Any, clips: Served) -> None:
    from test_page import caption_of, opened

    content = video("clip.webm", "libvpx")
    context = browser.new_context(reduced_motion="reduce")
    page = opened(context, clips)
    assert page.inner_text("#choose") == "Choose a photograph or a clip"
    page.set_input_files("#file", {"name": "clip.webm", "mimeType": "video/webm", "buffer": content})
    caption = caption_of(page)
    (expected,) = clips.captioners["clips"].caption([Encoded("clip", content)], attention=True)
    assert caption == expected.text and expected.attention is not None
    card = page.locator(".card").first
    strip, words = card.locator(".strip"), card.locator(".caption button")
    assert strip.locator("img").count() == 4 and card.locator("canvas").count() == 0
    for place, weights in enumerate(expected.attention[:, 0]):
        words.nth(place).hover()
        shown = [float(each) for each in strip.evaluate("element => element.dataset.map").split()]
        assert shown == pytest.approx(weights.tolist(), abs=1e-4)
        lights = strip.locator("img").evaluate_all("all => all.map(each => parseFloat(each.style.filter.slice(11)))")
        assert lights == pytest.approx((0.15 + 0.85 * weights / weights.max()).tolist(), abs=1e-3)
        assert all(each.endswith("%") for each in strip.locator("span").all_inner_texts())
    page.set_viewport_size({"width": 400, "height": 800})
    widths = strip.locator("li").evaluate_all("all => all.map(each => each.offsetWidth)")
    assert max(widths) - min(widths) <= 1  # the last row's, too
    assert "photographs are read here" in page.inner_text("#said")  # the captioner of photographs beside it
    assert page.heard == []
    context.close()
