"""Clips: some frames of a video, or of an animated picture.

Pillow reads animated GIF, PNG, WebP and AVIF, frame by frame and exactly. PyAV (FFmpeg) reads everything else, in any
container: ``pip install "captioning[video]"``. A still picture is a clip of one frame.

Dimensions: N frames of a clip.
"""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, Any

from PIL import Image, UnidentifiedImageError

from captioning.core.errors import CaptioningError
from captioning.core.images import open_image, read_image, require_size, to_rgb, usable
from captioning.core.regular import require_regular

log = logging.getLogger(__name__)

ANIMATED = frozenset({"GIF", "PNG", "WEBP", "AVIF"})  # formats of animations; pages of a TIFF are no frames
SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp", ".ogv", ".ts"}
)
MOST = 2**28  # pixels of a clip's frames in memory; of more, each frame is read at a fraction of its size
FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,mpegvideo,asf,flv,ogg,h264,hevc,m4v,ivf,gif,wtv,dv,mxf,"
    "wav,mp3,flac,aac"  # so that a file of sound is told from no video
)
WHOLE = 0.9  # the fraction of the stated frames below which a video is taken to be cut short
LARGEST = 2**25  # pixels of a clip's frame: 8K has 33.2 million, and a decoder holds up to sixteen such frames
EXTRA = 'pip install "captioning[video]"'

Choose = Callable[[int], Sequence[int]]  # from N to the numbers of the frames to read


@dataclass(frozen=True)
class FrameChoice:
    """The frames of a clip that are read.

    Attributes:
        frames: the largest number of frames.
        every: n for the frames 0, n, 2n, … (Venugopalan et al. 2015 take every tenth); None for ``frames`` frames,
            evenly spaced from the beginning to the end, or all frames of a shorter clip.
    """

    frames: int = 16
    every: int | None = None

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            CaptioningError: a number is below 1.
        """
        if self.frames < 1 or (self.every is not None and self.every < 1):
            raise CaptioningError(f"encoder.frames={self.frames}, encoder.every={self.every}: take 1 or more of each.")

    def __call__(self, count: int) -> list[int]:
        """The chosen frames of a clip with ``count`` frames, in increasing order."""
        if self.every is not None:
            return list(range(0, count, self.every))[: self.frames]
        taken = min(self.frames, count)
        return [(2 * place + 1) * count // (2 * taken) for place in range(taken)]


def read_frames(path: str | os.PathLike[str], choose: Choose, content: bytes | None = None) -> list[Image.Image]:
    """Some frames of a clip, see ``each_frame``."""
    return list(each_frame(path, choose, content))


def each_frame(path: str | os.PathLike[str], choose: Choose, content: bytes | None = None) -> Iterator[Image.Image]:
    """Read some frames of a clip, one at a time: as they are decoded, so that memory holds one of them.

    Args:
        path: the file.
        choose: a function from the number of the clip's frames to the numbers of the frames to read.
        content: the file's bytes, if they have been read already.

    Yields:
        RGB images, in the order of their numbers; a clip of which the decoder gives a few frames fewer than its
        container states has fewer.

    Raises:
        CaptioningError: the file is missing, no regular file, neither a video nor a picture, cut short or damaged; it
            has no video, its codec is missing, or its frames are too large; PyAV is not installed. What is cut short
            may be known after its last frame alone.
    """
    with usable(path):
        if content is None:
            if not Path(path).exists():
                raise CaptioningError(f"{path}: there is no such clip. Check the path.")
            require_regular(path, "clip")
        with Path(path).open("rb") if content is None else BytesIO(content) as file:
            try:
                with open_image(file) as image:
                    require_size(image, path)
                    count = getattr(image, "n_frames", 1) if image.format in ANIMATED else 1
                    if count > 1:
                        _require_small(path, *image.size)
                        chosen = _chosen(choose, count)
                        for number in chosen:
                            yield _frame_of(image, number, path, len(chosen))
                        return
            except UnidentifiedImageError:
                yield from _read_video(path, choose, file)
                return
        yield read_image(path, content)


def read_strip(path: str | os.PathLike[str], frames: int = 4) -> Image.Image:
    """One picture of a clip: some of its frames, side by side; a still picture is returned as it is."""
    shown = read_frames(path, FrameChoice(frames))
    return beside(shown) if len(shown) > 1 else shown[0]


def beside(pictures: Sequence[Image.Image], gap: int = 2) -> Image.Image:
    """Pictures side by side on white, each as high as the first."""
    height = pictures[0].height
    scaled = [each.resize((max(1, round(each.width * height / each.height)), height)) for each in pictures]
    strip = Image.new("RGB", (sum(each.width + gap for each in scaled) - gap, height), "white")
    left = 0
    for each in scaled:
        strip.paste(each, (left, 0))
        left += each.width + gap
    return strip


def _frame_of(image: Image.Image, number: int, path: object, count: int) -> Image.Image:
    image.seek(number)
    return _fitting(to_rgb(image.copy(), path), count)


def _fitting(frame: Image.Image, count: int) -> Image.Image:
    """One of several frames that are in memory together, at a fraction of its size if they are large."""
    pixels = frame.width * frame.height * count
    divisor = next((divisor for divisor in (1, 2, 4, 8) if pixels <= MOST * divisor**2), 16)
    return frame if divisor == 1 else frame.reduce(divisor)


def _chosen(choose: Choose, count: int) -> list[int]:
    return sorted(set(choose(count)))


def _read_video(path: object, choose: Choose, file: IO[bytes]) -> Iterator[Image.Image]:
    """The chosen frames of a video; its packets are counted first, without decoding."""
    av = _av(path)
    try:
        count, stated = _count(av, path, file)
        if count == 1:
            log.warning("%s: this video has one frame, so that nothing moves in it.", path)
        wanted = set(_chosen(choose, count))
        found = decoded = 0
        for number, frame in enumerate(_decoded(av, file)):
            decoded = number + 1
            if number in wanted:
                _require_small(path, frame.width, frame.height)
                found += 1
                yield _fitting(_upright(frame), len(wanted))
            if number >= max(wanted):
                break
    except CaptioningError:
        raise
    except av.error.DecoderNotFoundError:
        raise CaptioningError(_no_codec(path)) from None
    except (av.error.FFmpegError, ValueError, EOFError) as error:
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())[:200]
        raise CaptioningError(
            f"{path}: this is neither a video nor a picture that can be read ({reason}). It may be cut short or "
            "damaged: fetch it again."
        ) from error
    if not found or (max(wanted) >= decoded and decoded < WHOLE * max(count, stated)):
        raise CaptioningError(_cut_short(path, decoded, max(count, stated)))


@contextmanager
def _opened(av: Any, file: IO[bytes]) -> Iterator[Any]:
    """A video, opened as one of ``FORMATS``: lists of other files are no videos, and would have FFmpeg open those."""
    file.seek(0)
    with av.open(file, options={"format_whitelist": FORMATS, "protocol_whitelist": "none"}) as container:
        yield container


def _count(av: Any, path: object, file: IO[bytes]) -> tuple[int, int]:
    """The number of a video's packets, and the number of frames that its container states (0: none stated).

    Raises:
        CaptioningError: there is no video, its codec is missing, its frames are too large, or it is cut short.
    """
    with _opened(av, file) as container:
        if not container.streams.video:
            raise CaptioningError(f"{path}: there is no video in this file, only sound or data. Give a video.")
        stream = container.streams.video[0]
        if stream.codec_context is None:
            raise CaptioningError(_no_codec(path))
        _require_small(path, stream.codec_context.width, stream.codec_context.height)
        stated = int(stream.frames)
        count, end = 0, 0.0
        for packet in container.demux():
            count += packet.stream is stream and packet.size > 0
            if packet.pts is not None and packet.time_base is not None:
                end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        seconds = (container.duration or 0) / av.time_base
    if count == 0 or count < WHOLE * stated:
        raise CaptioningError(_cut_short(path, count, stated))
    if not stated and end < WHOLE * seconds - 1:  # WebM states seconds and no number of frames; sounds may end early
        raise CaptioningError(
            f"{path}: this video is cut short: {end:.1f} of {seconds:.1f} seconds can be read. Fetch it again."
        )
    return count, stated


def _decoded(av: Any, file: IO[bytes]) -> Iterator[Any]:
    with _opened(av, file) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1  # each process that reads clips has one core
        yield from container.decode(stream)


def _upright(frame: Any) -> Image.Image:
    """A frame as an RGB image, turned as the container says (a telephone's)."""
    image: Image.Image = frame.to_image()
    turn = getattr(frame, "rotation", 0)
    return image.rotate(turn, expand=True) if turn else image


def _av(path: object) -> Any:
    try:
        import av
    except ImportError as error:
        raise CaptioningError(
            f"{path}: this is no picture that can be read, and videos are read by PyAV, which is not installed: {EXTRA}"
        ) from error
    return av


def _require_small(path: object, width: int, height: int) -> None:
    if width * height > LARGEST:
        raise CaptioningError(
            f"{path}: frames of {width} × {height} pixels are too large ({width * height / 1e6:.0f} million). Make the "
            f"clip smaller: up to {LARGEST / 1e6:.0f} million pixels a frame are read."
        )


def _no_codec(path: object) -> str:
    return (
        f"{path}: the codec of this video is unknown to this FFmpeg. Convert it, for example by "
        "ffmpeg -i FILE -c:v libx264 FILE.mp4."
    )


def _cut_short(path: object, count: int, stated: int) -> str:
    of_stated = f" of {stated}" if stated else ""
    return f"{path}: this video is cut short: {count}{of_stated} frames can be read. Fetch it again."
