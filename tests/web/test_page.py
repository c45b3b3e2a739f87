"""The page in a real Chromium: photographs in, captions out, words that show where the captioner looked."""

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="needs captioning[web]")

from babblers import Served, picture

from captioning.report.page import Looked, RunRecord, report_html

DROP = """([selector, data, kind]) => {
  const bytes = Uint8Array.from(atob(data), c => c.charCodeAt(0)), transfer = new DataTransfer();
  transfer.items.add(new File([bytes], "photo.png", {type: "image/png"}));
  const event = kind === "paste" ? new ClipboardEvent("paste", {clipboardData: transfer, bubbles: true})
    : new DragEvent(kind, {dataTransfer: transfer, bubbles: true, cancelable: true});
  document.querySelector(selector).dispatchEvent(event);
}"""


def encoded(number: int) -> str:
    buffer = io.BytesIO()
    picture(number).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def spoken(served: Served, number: int, name: str = "looks") -> str:
    return served.captioners[name](picture(number))[0]


def with_a_caption(served: Served, words: int = 3) -> int:
    """A picture of whose caption there are some words."""
    return next(number for number in range(300, 400) if len(spoken(served, number).split()) >= words)


@pytest.fixture
def page(browser: Any, served: Served) -> Iterator[Any]:
    """The page, which must ask no other host and say nothing on the console."""
    context = browser.new_context(reduced_motion="reduce")
    yield opened(context, served)
    for each in context.pages:
        assert each.heard == []
    context.close()


def opened(context: Any, served: Served) -> Any:
    page = context.new_page()
    page.heard = []
    allowed = (served.address, "data:", "blob:")
    page.on("request", lambda request: None if request.url.startswith(allowed) else page.heard.append(request.url))
    page.on("pageerror", lambda error: page.heard.append(str(error)))
    page.on(
        "console", lambda message: page.heard.append(message.text) if message.type in ("error", "warning") else None
    )
    page.set_default_timeout(60_000)  # a machine may be busy with other things
    page.goto(served.address)
    page.wait_for_selector("#six button:nth-child(6) img")
    return page


def caption_of(page: Any, card: int = 0) -> str:
    handle = page.locator(".card .caption").nth(card)
    page.wait_for_function("n => document.querySelectorAll('.card .caption')[n]?.dataset.done !== undefined", arg=card)
    return str(handle.evaluate("element => element.dataset.done"))


def drop(page: Any, number: int, kind: str = "drop") -> None:
    page.evaluate("document.querySelectorAll('.card').forEach(each => each.remove())")
    page.evaluate(DROP, ["body", encoded(number), kind])


def test_a_photograph_is_dropped_and_its_words_show_where_it_looked(page: Any, served: Served) -> None:
    number = with_a_caption(served)
    drop(page, number)
    caption = caption_of(page)
    assert caption == spoken(served, number)
    words = page.locator(".card").first.locator(".caption button")
    assert words.all_inner_texts() == [*caption.split(), "(end)"]
    canvas, maps, pixels = page.locator(".card canvas").first, [], []
    for place in range(3):
        words.nth(place).hover()
        maps.append(canvas.evaluate("element => element.dataset.map"))
        pixels.append(canvas.evaluate("element => element.toDataURL()"))
        assert words.nth(place).get_attribute("class") == "on"
        bars = page.locator(".card").first.locator(".next")
        assert caption.split()[place] == bars.locator("b").inner_text()
    assert len(set(maps)) == len(set(pixels)) == 3
    (expected,) = served.captioners["looks"].caption([picture(number)], attention=True)
    assert expected.attention is not None
    shown = [[float(value) for value in each.split()] for each in maps]
    assert shown == [pytest.approx(each.ravel().tolist(), abs=1e-4) for each in expected.attention[:3]]
    assert "where it looked" in canvas.get_attribute("aria-label")


def test_pasted_chosen_and_broken(page: Any, served: Served) -> None:
    drop(page, 301, "paste")
    assert caption_of(page) == spoken(served, 301)
    broken = {"name": "broken.jpg", "mimeType": "image/jpeg", "buffer": b"\xff\xd8\xff nonsense"}
    page.set_input_files("#file", broken)
    page.wait_for_function("() => document.getElementById('said').textContent !== ''")
    assert "not a picture that can be read" in page.inner_text("#said")
    assert page.locator(".card").count() == 0
    good = {"name": "good.png", "mimeType": "image/png", "buffer": base64.b64decode(encoded(302))}
    page.set_input_files("#file", good)
    assert caption_of(page) == spoken(served, 302) and page.inner_text("#said") == ""


def test_the_keyboard_alone(page: Any, served: Served) -> None:
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "file"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('#six') !== null")
    page.keyboard.press("Enter")
    caption_of(page, 1)
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('.caption') !== null"):
            break
    first = page.locator(".card canvas").first.evaluate("element => element.dataset.map")
    page.keyboard.press("ArrowRight")
    second = page.locator(".card canvas").first.evaluate("element => element.dataset.map")
    assert first != second


def test_the_controls_and_the_other_captions(page: Any, served: Served) -> None:
    number = with_a_caption(served)
    drop(page, number)
    caption_of(page, 1)
    best = page.locator(".card").first.locator(".best button")
    texts = [text.split("\n")[0] for text in best.all_inner_texts()]
    expected = [each.text for each in next(served.captioners["looks"].caption([picture(number)], n=4))]
    assert texts == expected and best.nth(0).get_attribute("aria-pressed") == "true"
    best.nth(1).click()
    assert caption_of(page) == expected[1] and best.nth(1).get_attribute("aria-pressed") == "true"
    assert page.locator("#of_beam").is_hidden() and page.locator("#again").is_hidden()
    page.select_option("#search", "greedy")
    page.wait_for_function("() => document.querySelectorAll('.card .best')[1]?.children.length === 1")
    page.select_option("#search", "sample")
    page.wait_for_function("() => document.querySelectorAll('.card .best')[1]?.children.length === 5")
    assert page.locator("#of_sample").is_visible()
    page.fill("#temperature", "0")
    page.dispatch_event("#temperature", "change")
    page.wait_for_function("() => document.getElementById('said').textContent.includes('0.05')")


def test_small_probabilities_and_words_of_its_own_are_written_for_readers(page: Any) -> None:
    said = page.evaluate("[1, 0.214, 0.057, 0.0002, 7e-6, 8e-8, 2e-14, 0].map(percent)")
    assert said == ["100 %", "21 %", "5.7 %", "0.02 %", "0.0007 %", "8·10⁻⁶ %", "2·10⁻¹² %", "0 %"]
    assert page.evaluate("['<end>', '<unk>', 'dog'].map(shown)") == ["(end)", "(unknown)", "dog"]


def test_an_answer_stands_beside_its_photograph(page: Any) -> None:
    page.set_viewport_size({"width": 1600, "height": 900})
    page.fill("#question", "what is this")
    drop(page, 305)
    page.wait_for_selector(".reply .answers b")
    photograph, answers = (page.locator(f".reply {each}").bounding_box() for each in ("canvas", ".answers"))
    assert answers["x"] >= photograph["x"] + photograph["width"]
    assert answers["y"] < photograph["y"] + photograph["height"]
    assert page.locator(".reply .caption button").first.bounding_box()["height"] < 60


def test_two_pages_at_once_in_a_narrow_window(page: Any, served: Served) -> None:
    other = opened(page.context, served)
    for number, each in ((303, page), (304, other)):
        each.set_viewport_size({"width": 400, "height": 800})
        drop(each, number)
    for number, each in ((303, page), (304, other)):
        said = [caption_of(each, card) for card in range(2)]
        assert said == [spoken(served, number), spoken(served, number, "does not look")]
        assert each.locator(".card h2").all_inner_texts() == ["looks", "does not look"]
        assert each.evaluate("document.documentElement.scrollWidth") <= 400
    assert "no attention" in page.locator(".card").nth(1).inner_text()


def test_a_finger_moves_over_the_words_that_come_one_by_one(browser: Any, served: Served) -> None:
    number = with_a_caption(served)
    context = browser.new_context(has_touch=True, viewport={"width": 400, "height": 800})
    page = opened(context, served)
    page.evaluate(
        """() => { window.lengths = new Set(); new MutationObserver(() => document.querySelectorAll('.caption')
        .forEach(each => window.lengths.add(each.children.length))).observe(document.body,
        {childList: true, subtree: true}); }"""
    )
    drop(page, number)
    caption_of(page, 1)
    words = page.locator(".card").first.locator(".caption button")
    assert page.evaluate("[...window.lengths].sort((a, b) => a - b).slice(0, 4)") == [0, 1, 2, 3]
    maps = []
    for place in range(3):
        words.nth(place).tap()
        maps.append(page.locator(".card canvas").first.evaluate("element => element.dataset.map"))
    assert len(set(maps)) == 3 and page.heard == []
    context.close()


def test_a_question_is_answered(page: Any, served: Served) -> None:
    page.fill("#question", "what is this")
    page.press("#question", "Enter")
    page.wait_for_function("() => document.getElementById('said').textContent.includes('Take a photograph first')")
    drop(page, 305)
    page.wait_for_selector(".reply .answers b")
    expected = served.answerer.ask(picture(305), "what is this", attention=True)
    assert page.inner_text(".reply .answers b") == expected.answers[0].text
    assert page.locator(".reply .answers .bar").count() == 5
    canvas, maps = page.locator(".reply canvas"), []
    for place in range(2):
        page.locator(".reply .caption button").nth(place).hover()
        maps.append([float(value) for value in canvas.evaluate("element => element.dataset.map").split()])
    assert expected.attention is not None
    assert maps == [pytest.approx(each.ravel().tolist(), abs=1e-4) for each in expected.attention]
    page.fill("#question", "unheard")
    page.click("#ask button")
    page.wait_for_function("() => document.getElementById('said').textContent.includes('none of its words')")


def test_without_a_model_of_answers_there_is_no_box_for_questions(page: Any, served: Served) -> None:
    assert page.locator("#ask").is_visible()
    told = {"captioners": ["looks"], "answerers": [], "photographs": [], "bytes": 1000}
    page.route("**/captioners", lambda route: route.fulfill(json=told))
    page.reload()
    page.wait_for_function("() => captioners.length === 1")
    assert page.locator("#ask").is_hidden() and page.locator("#controls").is_visible()


def test_the_settings_of_a_run_fit_a_narrow_window(browser: Any, tmp_path: Path) -> None:
    """Their table needs no scrolling, which would leave the values out of sight."""
    names = ("objective.scheduled_sampling._partial_", "scheduled_sampling._target_", "seed")
    record = RunRecord(name="run", settings=dict.fromkeys(names, "captioning.training.scheduled_sampling.never"))
    (tmp_path / "report.html").write_text(report_html("run", [record]), "utf-8")
    page = browser.new_page(viewport={"width": 400, "height": 900})
    page.goto((tmp_path / "report.html").as_uri())
    assert page.evaluate("(box => box.scrollWidth <= box.clientWidth)(document.querySelector('#settings .scroll'))")
    page.close()


@pytest.mark.parametrize("width", [400, 1600])
def test_a_report_fits_the_window(browser: Any, tmp_path: Path, width: int) -> None:
    photo = tmp_path / "a-photograph-with-a-very-long-name-without-any-blank-in-it-at-all.png"
    picture(1, (300, 200)).save(photo)
    rows = [
        {"step": step, "train/nll": 3.0 - step / 50, "val/nll": 2.0, "train/gradient_norm": 1.0} for step in range(50)
    ]
    record = RunRecord(
        name="decoder=show_attend_tell,cell=lstm_no_forget_gate,data.minimum_count=2,seed=1",
        settings={f"a.setting.of.some.length.{number}": "x" * 60 for number in range(30)},
        rows=rows,
        captions={"1": "a dog runs", "2": "a cat sleeps"},
        references={"1": ["a dog runs over grass"], "2": ["a cat"]},
        commands=["captioning train " + " ".join(f"setting{number}=value" for number in range(40))],
        photos={"1": photo, "2": tmp_path / "missing.png"},
        looked=[Looked(["", *"abcdefgh"], [picture(n) for n in range(9)])],
    )
    (tmp_path / "report.html").write_text(
        report_html("two runs", [record, RunRecord(name="b", captions=record.captions, references=record.references)]),
        "utf-8",
    )
    page = browser.new_page(viewport={"width": width, "height": 900})
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: asked.append(message.text))
    page.goto((tmp_path / "report.html").as_uri())
    assert [each for each in asked if not each.startswith(("data:", "file:"))] == [] and sum(
        each.startswith("file:") for each in asked
    ) == 1
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    drawn = page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    assert drawn and page.locator("img").count() == 2 + 9  # the best and the median; the words
    page.close()
