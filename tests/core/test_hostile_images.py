"""Pictures that make decoders raise, wait or take gigabytes: a sentence for each, in bounded memory."""

import io
import os
import struct
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from captioning.core import images
from captioning.core.errors import CaptioningError
from captioning.core.images import ImageTransform, find_images, read_image, to_rgb


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, rows: bytes, *chunks: bytes, colour: int = 3, bits: int = 8) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    return b"".join([b"\x89PNG\r\n\x1a\n", header, *chunks, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")])


def content_of(image: Image.Image, form: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


PALETTE = chunk(b"PLTE", bytes([10, 10, 10, 40, 40, 40]))
RED = Image.new("RGB", (40, 40), "red")
HOSTILE = {
    "index.png": png(2, 2, b"\0\0\xc8\0\xc8\0", PALETTE, chunk(b"tRNS", b"\0")),
    "long_trns.png": png(2, 2, b"\0\0\1\0\1\0", PALETTE, chunk(b"tRNS", bytes(300))),
    "broken.avif": content_of(RED, "AVIF")[:-60] + bytes(60),
    "blp.jpg": b"BLP2" + struct.pack("<IBBBBII", 1, 1, 8, 8, 0, 16, 16) + bytes(200),
    "text.png": png(2, 2, b"\0\0\1\0\1\0", PALETTE, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2_000_000)))),
    "cut.webp": content_of(RED, "WEBP")[:30],
    "empty.jpg": b"",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_picture_or_a_sentence(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(HOSTILE[name])
    try:
        assert ImageTransform((8, 8)).read(path).shape == (3, 8, 8)
    except CaptioningError as error:
        assert str(error).startswith(f"{path}: ")


RAISED = [ValueError, RuntimeError, SyntaxError, struct.error, OverflowError, MemoryError, RecursionError, KeyError]


@pytest.mark.parametrize("kind", RAISED)
def test_whatever_a_decoder_raises_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    RED.save(tmp_path / "red.png")

    def fail(*_: object) -> None:
        raise kind("a decoder's words")

    for owner, name in ((ImageFile.ImageFile, "load"), (Image.Image, "getexif"), (images, "to_rgb")):
        with monkeypatch.context() as patch, pytest.raises(CaptioningError, match=rf"^{tmp_path}/red.png: "):
            patch.setattr(owner, name, fail)
            ImageTransform((8, 8)).read(tmp_path / "red.png")


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "endless.jpg").symlink_to("/dev/zero")
    (tmp_path / "folder.jpg").mkdir()
    for name in ("pipe.jpg", "endless.jpg", "folder.jpg"):
        failed: list[str] = []

        def read(path: Path, failed: list[str]) -> None:
            with pytest.raises(CaptioningError) as error:
                read_image(path)
            failed.append(str(error.value))

        thread = threading.Thread(target=read, args=(tmp_path / name, failed), daemon=True)
        thread.start()
        thread.join(5)
        assert failed and failed[0].startswith(f"{tmp_path / name}: this picture can't be read, for it is a ")


def test_few_bytes_do_not_take_gigabytes(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.gif"
    bomb.write_bytes(b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0) + b",\0\0\0\0\1\0\1\0\0\2\2D\1\0;")
    flat = tmp_path / "flat.png"
    flat.write_bytes(png(20_000, 10_000, bytes(1)))
    for path, size in ((bomb, "65535 × 65535"), (flat, "20000 × 10000")):
        with pytest.raises(CaptioningError, match=rf"^{path}: {size} pixels are too many .* 134 million") as error:
            read_image(path)
        assert "cut short" not in str(error.value)
    assert Image.MAX_IMAGE_PIXELS is not None  # Pillow's own limit stays as it was


def test_a_large_jpeg_is_decoded_at_the_size_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "WHOLE", 100 * 100)
    ramp = np.linspace(0, 255, 407).astype(np.uint8)
    photo = Image.fromarray(np.stack([np.tile(ramp, (205, 1))] * 3, -1))
    exif = photo.getexif()
    exif[0x0112] = 6
    for name, mode in (("a.jpg", "RGB"), ("b.png", "RGB"), ("c.png", "P"), ("d.png", "L"), ("e.tif", "RGBA")):
        photo.convert(mode).save(tmp_path / name, exif=exif)
        found = read_image(tmp_path / name)
        assert found.size in ((51, 101), (52, 102)) and found.mode == "RGB"  # a quarter, and upright
        assert np.abs(np.asarray(found)[:, 20, 0] - np.linspace(0, 255, found.height)).max() < 12
    deep = Image.fromarray(np.tile(np.linspace(0, 65535, 407).astype(np.uint16), (205, 1)))
    deep.save(tmp_path / "deep.tif")
    found = np.asarray(read_image(tmp_path / "deep.tif"))
    assert found.shape == (26, 51, 3) and np.abs(found[20, :, 0] - np.linspace(0, 255, 51)).max() < 5  # an eighth
    photo.save(tmp_path / "small.jpg")
    monkeypatch.setattr(images, "MOST_IN_PARTS", 50_000)
    with pytest.raises(CaptioningError, match="407 × 205 pixels are too many"):
        read_image(tmp_path / "small.jpg")


def deep(values: "np.ndarray", folder: Path) -> "np.ndarray":
    Image.fromarray(values).save(folder / "grey.tif")
    return np.asarray(read_image(folder / "grey.tif"))[..., 0].astype(int)


RAMP = np.linspace(0, 1, 64).reshape(8, 8)
EIGHT = np.linspace(0, 255, 64).reshape(8, 8)


@pytest.mark.parametrize(
    "values",
    [
        *[(RAMP * top).astype(np.float32) for top in (1, 255, 4095, 65535, 1e-3, 7.5, 3e38)],
        *[(RAMP * top).round().astype(np.uint16) for top in (255, 1023, 4095, 16383, 65535)],
        *[(RAMP * top).round().astype(np.int32) for top in (255, 4095, 65535, 2**31 - 1)],
        (RAMP * 5000 - 1000).astype(np.float32),
    ],
    ids=lambda values: f"{values.dtype} up to {values.max():.3g}",
)
def test_deep_grey_is_scaled_by_what_it_holds(tmp_path: Path, values: "np.ndarray") -> None:
    assert np.abs(deep(values, tmp_path) - EIGHT).max() <= 1


def test_dark_values_of_a_range_stay_dark(tmp_path: Path) -> None:
    assert deep((RAMP * 0.5).astype(np.float32), tmp_path).max() == 128  # half of white
    assert deep((RAMP * 40_000).astype(np.uint16), tmp_path).max() == 156


def test_values_that_are_no_numbers_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    values = RAMP.astype(np.float32)
    values[0, 0], values[4, 4] = np.nan, np.inf
    found = deep(values, tmp_path)
    assert found[7, 7] == 255 and found[0, 0] == found[4, 4] == 0
    assert f"{tmp_path / 'grey.tif'}: 2 values are no finite numbers" in caplog.text
    with pytest.raises(CaptioningError, match=r"grey\.tif: no value of the picture is a finite number"):
        deep(np.full((2, 2), np.nan, np.float32), tmp_path)
    caplog.clear()
    deep(np.full((2, 2), 0.5, np.float32), tmp_path)
    assert "the picture has one value, 0.5, everywhere" in caplog.text


def test_a_picture_in_memory_is_turned_upright_as_a_file_is(tmp_path: Path) -> None:
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 12, 3)).astype(np.uint8))
    exif = photo.getexif()
    for orientation, form in ((6, "png"), (3, "jpg"), (8, "tif"), (5, "webp")):
        exif[0x0112] = orientation
        path = tmp_path / f"photo.{form}"
        photo.save(path, exif=exif)
        with Image.open(path) as opened:
            before = opened.size
            assert np.array_equal(np.asarray(to_rgb(opened)), np.asarray(read_image(path)))
            assert opened.size == before or form == "tif"  # the given picture is not changed


def test_a_folder_is_read_whole_or_what_is_left_out_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder, elsewhere = tmp_path / "holiday", tmp_path / "disk2"
    (folder / "deep").mkdir(parents=True)
    elsewhere.mkdir()
    for name in (
        "a.jpg",
        "b.avif",
        "c.jfif",
        "d.jp2",
        "IMG_1.HEIC",
        "notes.txt",
        "movie.mov",
        "list",
        ".DS_Store",
        "deep/g.png",
    ):
        (folder / name).write_bytes(b"nothing to see here")
    RED.save(folder / "e", format="PNG")
    RED.save(elsewhere / "f.jpg")
    (folder / "linked").symlink_to(elsewhere)
    (folder / "twice").symlink_to(folder / "deep")
    (elsewhere / "back").symlink_to(folder)  # a circle
    found = [path.relative_to(folder).as_posix() for path in find_images(folder)]
    assert found == sorted(["a.jpg", "b.avif", "c.jfif", "d.jp2", "IMG_1.HEIC", "e", "deep/g.png", "linked/f.jpg"])
    (said,) = [record.getMessage() for record in caplog.records]
    assert "3 files left out" in said and all(name in said for name in ("notes.txt", "movie.mov", "list"))
