"""Anyone's photographs: whatever mode, orientation and damage they come with."""

import io
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from captioning.core.errors import CaptioningError
from captioning.core.images import ImageTransform, find_images, read_image, to_rgb

ORIENTATION = 0x0112
# EXIF's eight orientations: what a camera that was held so stores of an upright picture
STORED = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.swapaxes(0, 1),
    6: lambda upright: np.rot90(upright, 1),
    7: lambda upright: upright[::-1, ::-1].swapaxes(0, 1),
    8: lambda upright: np.rot90(upright, -1),
}


def noise(*shape: int, top: int = 256, dtype: type = np.uint8) -> "np.ndarray":
    return np.random.default_rng(0).integers(0, top, shape).astype(dtype)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("orientation", STORED)
def test_the_cameras_orientation_is_applied(tmp_path: Path, orientation: int, mode: str, suffix: str) -> None:
    upright = noise(6, 9, 3)[..., : len(mode)].squeeze()
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](upright)))
    exif = stored.getexif()
    exif[ORIENTATION] = orientation
    stored.save(tmp_path / f"photo{suffix}", exif=exif)
    found = np.asarray(read_image(tmp_path / f"photo{suffix}"))
    assert np.array_equal(found, upright if mode == "RGB" else np.stack([upright] * 3, -1))


def save(folder: Path, picture: Image.Image, suffix: str = ".png") -> Path:
    path = folder / f"picture{suffix}"
    picture.save(path)
    return path


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg", ".gif", ".bmp", ".webp"])
def test_grey(tmp_path: Path, suffix: str) -> None:
    grey = np.full((8, 8), 77, dtype=np.uint8)
    image = read_image(save(tmp_path, Image.fromarray(grey), suffix))
    assert image.mode == "RGB"
    assert (np.asarray(image) == 77).all()


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits_are_scaled_to_eight(tmp_path: Path, suffix: str) -> None:
    values = noise(6, 5, top=65536, dtype=np.uint16)
    pixels = np.asarray(read_image(save(tmp_path, Image.fromarray(values), suffix)))
    assert np.abs(pixels[..., 0] - values / 257).max() <= 1
    assert (pixels == pixels[..., :1]).all()


def test_a_dark_sixteen_bit_picture_stays_dark(tmp_path: Path) -> None:
    values = np.full((4, 4), 250, dtype=np.uint16)  # of 65535: black to the eye
    assert np.asarray(read_image(save(tmp_path, Image.fromarray(values)))).max() <= 1


def test_one_bit(tmp_path: Path) -> None:
    bits = noise(5, 7, top=2).astype(bool)
    pixels = np.asarray(read_image(save(tmp_path, Image.fromarray(bits))))
    assert np.array_equal(pixels[..., 0], np.where(bits, 255, 0))


def test_cmyk_is_not_inverted(tmp_path: Path) -> None:
    path = save(tmp_path, Image.new("CMYK", (8, 8), (0, 255, 255, 0)), ".jpg")  # magenta and yellow ink: red
    red, green, blue = np.asarray(read_image(path))[4, 4]
    assert red > 200 and green < 60 and blue < 60


TRANSPARENT_LEFT = np.array([[0, 0, 255, 255]] * 4, dtype=np.uint8)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "palette", "grey with a transparent value"])
def test_what_is_transparent_is_white(tmp_path: Path, mode: str) -> None:
    alpha = Image.fromarray(TRANSPARENT_LEFT)
    if mode == "palette":
        picture = Image.fromarray(TRANSPARENT_LEFT // 255, "P")
        picture.putpalette([10, 10, 10, 40, 40, 40])
        picture.info["transparency"] = 0
    elif mode == "grey with a transparent value":
        picture = Image.fromarray(np.where(TRANSPARENT_LEFT == 0, 10, 40).astype(np.uint8))
        picture.info["transparency"] = 10
    else:
        picture = Image.new(mode[:-1], (4, 4), (40, 40, 40) if mode == "RGBA" else 40)
        picture.putalpha(alpha)
    path = tmp_path / "picture.png"
    picture.save(path, **({"transparency": picture.info["transparency"]} if "transparency" in picture.info else {}))
    pixels = np.asarray(read_image(path))
    assert (pixels[:, :2] == 255).all()
    assert (pixels[:, 2:] == 40).all()


def test_half_transparent_is_half_white() -> None:
    assert np.asarray(to_rgb(Image.new("RGBA", (2, 2), (0, 0, 0, 128)))) == pytest.approx(127)


@pytest.mark.parametrize(
    "mode", ["1", "L", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "I", "F", "LA", "PA", "RGBX", "RGBa", "La", "I;16"]
)
def test_every_mode_becomes_rgb(mode: str) -> None:
    assert to_rgb(Image.new(mode, (3, 2))).mode == "RGB"


def test_damaged_files_are_sentences(tmp_path: Path) -> None:
    """Bytes changed and cut at random: an RGB picture or a sentence that names the file, nothing else."""
    choose = random.Random(0)
    refused = 0
    for form in ("JPEG", "PNG", "GIF", "WEBP", "BMP"):
        buffer = io.BytesIO()
        Image.fromarray(noise(24, 20, 3)).save(buffer, form)
        for _ in range(40):
            content = bytearray(buffer.getvalue())
            for _ in range(choose.randint(1, 6)):
                content[choose.randrange(min(len(content), 400))] = choose.randrange(256)
            path = tmp_path / f"photo.{form}"
            path.write_bytes(content[: choose.choice([len(content), choose.randrange(len(content))])])
            try:
                assert read_image(path).mode == "RGB"
            except CaptioningError as error:
                refused += 1
                assert str(error).startswith(f"{path}: ")
    assert refused > 100


def test_cut_short_no_picture_and_nothing_there(tmp_path: Path) -> None:
    path = save(tmp_path, Image.fromarray(noise(64, 64, 3)), ".jpg")
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(CaptioningError, match=rf"{path}: the picture can't be read.*cut short"):
        read_image(path)
    path.write_text("<html>404</html>")
    with pytest.raises(CaptioningError, match=rf"{path}: this is not a picture"):
        read_image(path)
    with pytest.raises(CaptioningError, match="there is no such picture"):
        read_image(tmp_path / "absent.jpg")
    with pytest.raises(CaptioningError, match="can't be read"):
        read_image(tmp_path)


def test_the_encoders_input_is_bytes_that_may_be_written_to(tmp_path: Path) -> None:
    path = save(tmp_path, Image.fromarray(noise(20, 30, 3)))
    pixels = ImageTransform((8, 12)).read(path)
    assert pixels.dtype == torch.uint8
    assert pixels.shape == (3, 8, 12)
    assert pixels.unsqueeze(0).is_contiguous(memory_format=torch.channels_last)
    pixels += 1


def test_a_picture_of_the_right_size_is_not_touched() -> None:
    pixels = noise(8, 12, 3)
    for fit in ("squash", "crop"):
        assert np.array_equal(ImageTransform((8, 12), fit)(Image.fromarray(pixels)).permute(1, 2, 0), pixels)


def test_crop_keeps_the_centre_and_squash_everything() -> None:
    wide = np.zeros((10, 40, 3), dtype=np.uint8)
    wide[:, 15:25] = 255  # the centre square
    assert ImageTransform((10, 10), "crop")(Image.fromarray(wide)).float().mean() == 255
    assert ImageTransform((10, 10), "squash")(Image.fromarray(wide)).float().mean() == pytest.approx(255 / 4, abs=8)
    assert ImageTransform((10, 10), "crop").seen((40, 10)) == (15, 0, 25, 10)
    assert ImageTransform((10, 10), "squash").seen((40, 10)) == (0, 0, 40, 10)


def test_pictures_are_found_below_a_folder_sorted(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.png", "deep/er/c.webp", "notes.txt", "folder.jpg/d.jpeg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [path.relative_to(tmp_path).as_posix() for path in find_images(tmp_path)]
    assert found == sorted(["a.png", "b.JPG", "deep/er/c.webp", "folder.jpg/d.jpeg"])
