"""The contact sheet of captioned photographs."""

from pathlib import Path

import pytest
from PIL import Image

from captioning.report.pictures import draw_contact_sheet


@pytest.mark.parametrize("caption", ["the # 5 is $ 5 and # 6 is $ 6", "<b> \\frac{a} & 100 % {", ""])
def test_captions_are_drawn_as_they_are_whatever_is_in_them(caption: str, tmp_path: Path) -> None:
    Image.new("RGB", (60, 30), (0, 255, 0)).save(tmp_path / "photo.png")
    draw_contact_sheet([(tmp_path / "photo.png", caption)] * 5, tmp_path / "sheet.png")
    drawn = Image.open(tmp_path / "sheet.png").convert("RGB")
    green = sum(count for count, colour in drawn.getcolors(1 << 20) or [] if colour == (0, 255, 0))
    assert green > 5 * 150 * 75
