"""Reports on paper: A4 pages of a real Chromium, on which nothing is cut off and no picture is split."""

import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="needs captioning[web]")

from babblers import picture

from captioning.report.page import Effect, Looked, RunRecord, SweepRecord, report_html

WIDTH, HEIGHT = 688, 1016  # pixels of CSS between the margins of A4: 210 × 297 mm less twice 14 mm
SENTENCE = "a dog with a brown collar runs over the green grass after a ball that somebody has thrown"
OUTSIDE = f"""() => [...document.body.querySelectorAll("*")].filter(each => {{
  const box = each.getBoundingClientRect();
  return box.width && (box.right > {WIDTH} + 0.5 || box.left < -0.5 || each.scrollWidth > each.clientWidth + 1
    && getComputedStyle(each).display !== "inline" && !(each instanceof SVGElement));
}}).map(each => `${{each.tagName}}.${{each.className}} ${{each.textContent.slice(0, 40)}}`)"""

# What stays whole must fit on a page; a card with the captions of many runs may go on on the next one, its picture not.
SPLIT = f"""() => [...document.querySelectorAll("figure, .photo, img, tr, h2, h3")].filter(each =>
  each.matches(".photo") ? getComputedStyle(each).breakInside !== "avoid"
  : each.getBoundingClientRect().height > {HEIGHT}
    || (each.tagName !== "IMG" && getComputedStyle(each).breakInside !== "avoid")
).map(each => each.tagName)"""


def runs(folder: Path, count: int) -> list[RunRecord]:
    """Runs with long names, settings and commands, and with photographs in both formats."""
    photos = {}
    for number in range(12):
        photos[str(number)] = folder / f"{number}.png"
        picture(number, (300, 200) if number % 3 else (200, 300)).save(photos[str(number)])
    rows = [{"step": s, "train/nll": 3 - s / 50, "val/nll": 2.0, "train/gradient_norm": 1.0} for s in range(50)]
    words = SENTENCE.split()
    return [
        RunRecord(
            name=f"cell=lstm_no_forget_gate,decoder=attention_on_attention,optimizer.lr=0.000{run}",
            settings={f"a.setting.of.some.length.{number}": f"{run}" + "x" * 60 for number in range(30)},
            rows=rows,
            captions={each: " ".join(words[: 3 + (int(each) + run) % 15]) for each in photos},
            references={each: [SENTENCE] * 5 for each in photos},
            commands=["captioning train " + " ".join(f"setting{number}=value" for number in range(40))],
            photos=photos,
            looked=[Looked(["", *words], [picture(first + n) for n in range(len(words) + 1)]) for first in firsts],
            coloured=[("a heading", '<pre><span style="background:#f00">' + "letters " * 80 + "</span></pre>")],
            samples="x" * 900,
            summary={"epochs": 3, "seconds": 4000.0, "parameters": 10**7, "memory_mb": 1234.5},
        )
        for run, firsts in ((each, (1000 * each + 100, 1000 * each + 200)) for each in range(count))
    ]


SCORES = ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "METEOR", "ROUGE-L", "CIDEr")
SWEEP = SweepRecord(
    ["job", "status", "val/CIDEr", *(f"test/{name}" for name in SCORES), "parameters", "seconds"],
    [
        [f"cell=lstm_no_forget_gate,optimizer.lr=0.00{number}", "finished", *["12.34"] * 8, "10000000", "12345.6"]
        for number in range(60)
    ],
    [Effect("optimizer.lr: val/CIDEr of its values", [("0.001", 3, "1.00", "1.00", "1.00")] * 3)],
)


@pytest.mark.parametrize(("count", "sweep"), [(1, None), (6, None), (3, SWEEP)], ids=["run", "runs", "sweep"])
def test_nothing_is_cut_off_and_no_picture_is_split(
    browser: Any, tmp_path: Path, count: int, sweep: SweepRecord | None
) -> None:
    html = report_html("on paper", runs(tmp_path, count), sweep=sweep, resamples=20)
    (tmp_path / "report.html").write_text(html, "utf-8")
    page = browser.new_page(viewport={"width": WIDTH, "height": 1000}, color_scheme="dark")
    page.goto((tmp_path / "report.html").as_uri())
    page.emulate_media(media="print")
    assert page.evaluate(OUTSIDE) == []
    assert page.evaluate(SPLIT) == []
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    pdf = page.pdf(format="A4", prefer_css_page_size=True, print_background=True)
    page.close()
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", pdf)) <= 30
