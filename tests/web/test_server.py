"""The server without a browser: what it answers, what it refuses, and twenty clients at once."""

import io
import json
import math
import os
import re
import socket
import sys
import threading
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("fastapi", reason="needs captioning[web]")

from babblers import Served, picture

from captioning.predict.explain import explain
from captioning.search import Beam, Greedy
from captioning.web import answers, app

BYTES = {"Content-Type": "application/octet-stream"}


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def ask(served: Served, method: str, path: str, body: Any = None, headers: dict[str, str] = BYTES) -> tuple[int, Any]:
    place = urlsplit(served.address)
    connection = HTTPConnection(f"{place.hostname}", place.port, timeout=60)
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    kind = answer.getheader("content-type") or ""
    return answer.status, json.loads(content) if "json" in kind else content


def test_a_caption_with_all_that_the_page_shows(served: Served) -> None:
    captioner, image = served.captioners["looks"], picture(1)
    status, found = ask(served, "POST", "/caption", encoded(image))
    assert status == 200
    (expected,) = captioner.caption([image], n=4, attention=True)
    assert found["caption"] == captioner(image)[0] == found["captions"][0]["text"]
    assert [each["text"] for each in found["captions"]] == [each.text for each in expected]
    for each, caption in zip(found["captions"], expected, strict=True):
        words = each["words"]
        assert [word["word"] for word in words] == [*caption.text.split(), "<end>"]
        assert caption.attention is not None
        for word, weights in zip(words[:-1], caption.attention, strict=True):
            assert torch.tensor(word["attention"]).numpy() == pytest.approx(weights, abs=1e-4)
        for word in words:
            likely = dict(word["next"])
            assert list(likely.values()) == sorted(likely.values(), reverse=True) and sum(likely.values()) <= 1.0001
            assert word["probability"] == pytest.approx(likely.get(word["word"], word["probability"]))
        assert each["probability"] == pytest.approx(math.prod(word["probability"] for word in words))
    assert found["seen"] == [0, 0, 1, 1] and found["picture"].startswith("data:image/jpeg;base64,")


def test_the_distributions_are_the_decoders_own(served: Served) -> None:
    """With beam search's own arithmetic: log p of a caption is the score without a length penalty."""
    captioner = served.captioners["looks"]
    features, captions = captioner.look(picture(2), Beam(4, max_length=60), 4)
    ended = [each for each in captions if len(each.text.split()) < 60]
    assert ended
    told = explain(captioner.decoder, captioner.vocabulary, features, [each.text for each in captions], 100)
    for caption, each in zip(captions, told, strict=True):
        if caption in ended:
            assert each.log_probability == pytest.approx(caption.score, abs=1e-4)
        for place in each.likeliest:
            assert len(place) == len(captioner.vocabulary) and sum(p for _, p in place) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("query", "count"), [("search=greedy", 1), ("search=beam&beam=2", 2), ("search=sample&temperature=2&seed=3", 5)]
)
def test_the_controls(served: Served, query: str, count: int) -> None:
    status, found = ask(served, "POST", f"/caption?captioner=looks&{query}", encoded(picture(3)))
    assert status == 200 and len(found["captions"]) == count
    if "greedy" in query:
        assert found["caption"] == served.captioners["looks"](picture(3), Greedy(max_length=6))[0]
    again = ask(served, "POST", f"/caption?captioner=looks&{query}", encoded(picture(3)))[1]
    assert again["captions"] == found["captions"]


def bomb() -> bytes:
    return encoded(Image.new("L", (7100, 7100)))


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("/caption", b"not a picture", 200, "not a picture that can be read"),
        ("/caption", b"", 200, "the file is empty"),
        ("/caption", encoded(picture(1))[:60], 200, "cut short or damaged"),
        ("/caption", bomb, 200, r"7100 × 7100 pixels are too many \(50 million\)"),
        ("/caption", lambda: bytes(answers.BYTES + 1), 413, "larger than 20 MB"),
        ("/caption?search=all", b"x", 200, "search is one of"),
        ("/caption?beam=0&search=beam", b"x", 200, "from 1 to 20"),
        ("/caption?beam=many", b"x", 200, "whole number"),
        ("/caption?temperature=nan", b"x", 200, "from 0.05 to 5"),
        ("/caption?captioner=no", b"x", 404, "no such captioner"),
        ("/ask?answerer=no&question=what", b"x", 404, "no such model of answers"),
        ("/ask?question=what", b"not a picture", 200, "not a picture that can be read"),
        ("/ask?question=", encoded(picture(1)), 200, "has no word"),
        ("/ask?question=unheard", encoded(picture(1)), 200, "none of its words is in a question"),
        ("/ask?question=" + "what+" * 100, encoded(picture(1)), 200, "longer than 300 characters"),
    ],
)
def test_what_is_refused_is_a_sentence(
    served: Served, path: str, body: bytes | Callable[[], bytes], status: int, said: str
) -> None:
    found = ask(served, "POST", path, body() if callable(body) else body)
    assert found[0] == status
    assert re.search(said, found[1]["error"]), found


def test_a_question_is_answered_as_python_answers_it(served: Served) -> None:
    status, found = ask(served, "POST", "/ask?question=what+is+this", encoded(picture(4)))
    expected = served.answerer.ask(picture(4), "what is this", attention=True)
    assert status == 200 and [each["text"] for each in found["answers"]] == [each.text for each in expected.answers]
    assert [each["probability"] for each in found["answers"]] == pytest.approx(
        [each.probability for each in expected.answers], abs=1e-5
    )
    assert expected.attention is not None and len(found["looks"]) == len(expected.attention) == 2
    assert torch.tensor(found["looks"]).numpy() == pytest.approx(expected.attention, abs=1e-4)


def test_nothing_is_kept_on_disk(served: Served) -> None:
    """No file is opened for writing while photographs are captioned, larger ones than a spool in memory included."""
    written: list[str] = []
    watching = True

    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        if watching and event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            written.append(str(arguments[0]))

    sys.addaudithook(hear)  # for good, so it stops listening instead
    try:
        large = np.random.default_rng(0).integers(0, 256, (1200, 1200, 3), dtype=np.uint8)
        for image in (picture(5), Image.fromarray(large)):
            assert ask(served, "POST", "/caption?captioner=looks", encoded(image))[0] == 200
            assert ask(served, "POST", "/ask?question=what", encoded(image))[0] == 200
        assert written == []
        with Path(os.devnull).open("w"):
            assert written == [os.devnull]  # it does hear
    finally:
        watching = False


def test_a_body_that_does_not_say_how_long_it_is(served: Served) -> None:
    parts = (bytes(10**6) for _ in range(25))
    try:
        status, found = ask(served, "POST", "/caption", parts, {**BYTES, "Transfer-Encoding": "chunked"})
    except (BrokenPipeError, ConnectionResetError):
        return  # it stopped listening before the end
    assert status == 413 and "larger than 20 MB" in found["error"]


def test_other_sites_can_t_use_it(served: Served) -> None:
    picture_bytes = encoded(picture(1))
    assert ask(served, "POST", "/caption", picture_bytes, {"Content-Type": "text/plain"})[0] == 415
    assert ask(served, "GET", "/", headers={"Host": "evil.example"})[0] == 400
    assert ask(served, "GET", "/photographs/..%2Fweb%2Fapp.py")[0] == 404
    assert ask(served, "GET", "/docs")[0] == 404


def test_the_page_asks_no_other_host_and_runs_its_own_script_alone(served: Served) -> None:
    place = urlsplit(served.address)
    connection = HTTPConnection(f"{place.hostname}", place.port)
    connection.request("GET", "/")
    answer = connection.getresponse()
    page, policy = answer.read().decode(), answer.getheader("content-security-policy") or ""
    assert "default-src 'none'" in policy and "connect-src 'self'" in policy and "unsafe" not in policy
    assert "http" not in page.replace("http-equiv", "") and "//" not in page.replace("// black", "")
    six = ask(served, "GET", "/captioners")[1]["photographs"]
    assert len(six) == 6
    for name in six:
        status, content = ask(served, "GET", f"/photographs/{name}")
        assert status == 200 and Image.open(io.BytesIO(content)).format == "JPEG" and len(content) <= 60_000


def test_two_hundred_pictures_from_twenty_clients(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """None is lost, none mixed up, and only so many are in memory at once."""
    captioner = served.captioners["looks"]
    images = [picture(number) for number in range(200)]
    expected = captioner(images, batch_size=1)
    assert len(set(expected)) > 20
    inside, most, lock = 0, 0, threading.Lock()
    read, guarded = app._body, app._guarded

    async def reading(request: Any) -> bytes:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        return await read(request)

    def working(*arguments: Any, **settings: Any) -> Any:
        nonlocal inside
        try:
            return guarded(*arguments, **settings)
        finally:
            with lock:
                inside -= 1

    monkeypatch.setattr(app, "_body", reading)
    monkeypatch.setattr(app, "_guarded", working)
    bodies, found = [encoded(image) for image in images], {}

    def client(first: int) -> None:
        for number in range(first, 200, 20):
            status, answer = ask(served, "POST", "/caption?captioner=looks", bodies[number])
            found[number] = status, answer["caption"]

    clients = [threading.Thread(target=client, args=(first,)) for first in range(20)]
    for each in clients:
        each.start()
    for each in clients:
        each.join(120)
    assert found == {number: (200, caption) for number, caption in enumerate(expected)}
    assert inside == 0 and 1 < most <= app.WAITING


def test_pictures_that_do_not_arrive_keep_no_place(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "PATIENCE", 0.3)
    place = urlsplit(served.address)
    waiting = []
    for _ in range(app.WAITING):
        connection = socket.create_connection((place.hostname, place.port))
        head = f"POST /caption HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Length: 1000\r\n"
        connection.sendall(f"{head}Content-Type: application/octet-stream\r\n\r\nhalf".encode())
        waiting.append(connection)
    status, found = ask(served, "POST", "/caption", encoded(picture(1)))
    assert status == 200 and found["caption"]
    assert all(b"did not arrive" in connection.recv(4096) for connection in waiting)
