"""``captioning serve``: the command around the page, from its first line to its last."""

import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import torch

from captioning.__main__ import main
from captioning.core.errors import CaptioningError
from captioning.core.vocabulary import SPECIAL, Vocabulary
from captioning.jobs.config import compose
from captioning.jobs.serve import listen
from captioning.predict.captioner import Captioner
from captioning.runs import parts, published

pytest.importorskip("fastapi", reason="needs captioning[web]")


@pytest.fixture
def saved(tiny: Callable[..., list[str]], tmp_path: Path) -> Path:
    config, vocabulary = compose(tiny("encoder.last_stage=layer1")), Vocabulary([*SPECIAL, "a", "dog"])
    encoder = parts.make_encoder(config)
    decoder = parts.make_decoder(config, vocabulary, encoder.spec)
    return Captioner(encoder, decoder, vocabulary, config).save_pretrained(tmp_path / "saved")


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_it_says_where_captions_and_ends_cleanly(
    saved: Path,
    tiny_data: Path,
    end: signal.Signals,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The captioner inside serves; what it says of a photograph is what the command line says."""
    monkeypatch.setattr(published, "INSIDE", saved)
    photo = tiny_data / "3.png"
    assert main(["caption", str(photo), "--device", "cpu"]) == 0
    expected = capfd.readouterr().out.rstrip("\n").split("\t")[1]
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.dup2(writing, 1)
            sys.stdout = os.fdopen(1, "w")
            torch.set_num_threads(1)
            signal.alarm(60)
            os._exit(main(["serve", "--port", "0", "--device", "cpu"]))
        finally:
            os._exit(99)
    os.close(writing)
    with os.fdopen(reading) as said:
        line = said.readline()
        place = urlsplit(line.split()[0])
        assert place.hostname == "127.0.0.1" and line.endswith("captions photographs; Ctrl+C ends it.\n")
        connection = HTTPConnection(place.hostname, place.port, timeout=30)
        connection.request("POST", "/caption", photo.read_bytes(), {"Content-Type": "application/octet-stream"})
        assert json.loads(connection.getresponse().read())["caption"] == expected
        os.kill(child, end)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status) or os.waitstatus_to_exitcode(status) in (0, 130, 143)
        assert said.read() == ""
    assert "Traceback" not in capfd.readouterr().err


def test_a_port_in_use_is_a_sentence(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["serve", str(saved), "--port", str(port)]) == 1
    assert f"127.0.0.1:{port} can't be listened on" in capsys.readouterr().err
    assert main(["serve", str(saved), "--port", "70000"]) == 1
    assert "--port 70000 is no port" in capsys.readouterr().err


def test_without_the_extra_a_sentence_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert main(["serve", "no"]) == 1
    assert 'pip install "captioning[web]"' in capsys.readouterr().err


@pytest.mark.parametrize("host", ["..", "a" * 64 + ".b", "no such host", "256.1.1.1"])
def test_a_name_that_no_host_has_is_a_sentence(host: str) -> None:
    with pytest.raises(CaptioningError, match="can't be listened on"):
        listen(host, 0)
