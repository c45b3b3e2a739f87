"""The contact sheet of captioned photographs."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from captioning.core.measure import Measure
from captioning.report.pictures import draw_contact_sheet, draw_curves


def test_no_caption_is_cut(tmp_path: Path) -> None:
    """Above each photograph of a sheet all lines of its caption are drawn, with white around them."""
    Image.new("RGB", (60, 60), (0, 255, 0)).save(tmp_path / "photo.png")
    long = " ".join(["photograph"] * 24)  # twelve lines
    ink = []
    for number, captions in enumerate(([long] * 2, ["a", long], [long, "a", "b", "c", long])):
        path = tmp_path / f"{number}.png"
        draw_contact_sheet([(tmp_path / "photo.png", caption) for caption in captions], path)
        pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
        dark = pixels.sum(-1) < 200
        assert not dark[0].any() and not dark[:, 0].any() and not dark[:, -1].any()
        ink.append(int(dark.sum()))
    one = ink[0] / 2
    assert ink[1] > 0.99 * one and ink[2] > 1.99 * one


def test_no_room_is_left_for_photographs_that_are_not_there(tmp_path: Path) -> None:
    Image.new("RGB", (300, 150), (0, 255, 0)).save(tmp_path / "photo.png")
    for count, (width, height) in {1: (1, 1), 6: (4, 2), 40: (4, 10)}.items():
        draw_contact_sheet([(tmp_path / "photo.png", "a caption")] * count, tmp_path / "sheet.png")
        sheet = Image.open(tmp_path / "sheet.png").convert("RGB")
        assert abs(sheet.width / width - 248) <= 1 and abs(sheet.height / height - 148) <= 1  # 80 pixels an inch
        green = sum(number for number, colour in sheet.getcolors(1 << 20) or [] if colour == (0, 255, 0))
        assert green == pytest.approx(count * 232 * 116, rel=0.02)


@pytest.mark.parametrize("caption", ["the # 5 is $ 5 and # 6 is $ 6", "<b> \\frac{a} & 100 % {", ""])
def test_captions_are_drawn_as_they_are_whatever_is_in_them(caption: str, tmp_path: Path) -> None:
    Image.new("RGB", (60, 30), (0, 255, 0)).save(tmp_path / "photo.png")
    draw_contact_sheet([(tmp_path / "photo.png", caption)] * 5, tmp_path / "sheet.png")
    drawn = Image.open(tmp_path / "sheet.png").convert("RGB")
    green = sum(count for count, colour in drawn.getcolors(1 << 20) or [] if colour == (0, 255, 0))
    assert green > 5 * 150 * 75


def test_curves_of_a_model_without_gradients_are_drawn_without_a_warning(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    """As of a model that only counts: its gradient's norm is 0 at every step."""
    rows = [{"step": 1.0, "train/gradient_norm": 0.0, "train/loss": 2.0}, {"step": 2.0, "val/loss": 2.0}]
    draw_curves(rows, tmp_path / "curves.png", {"loss": Measure("loss", higher_is_better=False)})
    assert not recwarn.list and (tmp_path / "curves.png").stat().st_size > 1000
