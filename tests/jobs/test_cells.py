"""`captioning cells` and `captioning gradients`, from the command line to their files."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from captioning.__main__ import main
from captioning.jobs.config import compose
from captioning.jobs.train import train

SENTENCES = ["He said, at last, no.\n", '"Why?" asked she; ', '"it is (and only then) late," ', "and he left.\n\n"]
TEXT = "".join(np.random.default_rng(0).choice(SENTENCES, 200))


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a language model that was trained for a moment."""
    folder = tmp_path_factory.mktemp("writer")
    (folder / "text.txt").write_text(TEXT)
    small = ["data.batch_size=8", "data.chunk=20", "decoder.hidden_size=12", "trainer.max_epochs=1", "ema_decay=null"]
    quick = [
        "trainer.enable_progress_bar=false",
        "report=false",
        "trainer.accelerator=cpu",
        "trainer.precision=32-true",
        "logger=csv",
    ]
    train(compose(["experiment=char_rnn", f"data.text={folder / 'text.txt'}", *small, *quick]), folder / "run")
    return folder


def test_cells_of_a_language_model(writer: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = writer / "cells"
    command = ["cells", str(writer / "text.txt"), "--checkpoint", str(writer / "run"), "--out", str(out)]
    assert main([*command, "--length", "2000", "--drawn", "150"]) == 0
    printed = capsys.readouterr().out
    table = json.loads((out / "cells.json").read_text())
    assert table["positions"] == {"found on": 1000, "held out": 1000}
    found = {one["feature"]: one for one in table["candidates"]}
    assert {"inside quotes", "inside brackets", "position in line", "word boundary"} <= found.keys()
    for name, one in found.items():
        assert f"{name:18} {one['unit']}" in printed
        assert 0 < one["chance"] < 1 and abs(one["held_out"]) <= 1 and 0 <= one["information"] <= one["entropy"]
        assert (out / f"{name.replace(' ', '_')}.png").stat().st_size > 1000
    assert found["word boundary"]["convincing"]  # a network tells a blank from a letter, trained or not
    page = (out / "cells.html").read_text()
    assert page.count("<h2>") == len(found) and page.count("<pre>") == len(found)
    assert page.count("<span style") >= 150 * len(found)
    assert np.asarray(Image.open(out / "gates.png").convert("L")).std() > 5


def test_cells_of_a_captioner(
    tiny: Callable[..., list[str]], tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(compose(tiny("trainer.max_epochs=1", "optimizer.lr=0", "test=false", "cell=gru")), tmp_path / "run")
    command = ["cells", str(tiny_data), "--checkpoint", str(tmp_path / "run"), "--out", str(tmp_path / "cells")]
    assert main(command) == 0
    table = json.loads((tmp_path / "cells" / "cells.json").read_text())
    found = {one["feature"]: one for one in table["candidates"]}
    assert "words so far" in found and found["words so far"]["unit"].startswith("recurrent.layers.0.h[")
    assert "&lt;start&gt;" in (tmp_path / "cells" / "cells.html").read_text()
    assert "words so far" in capsys.readouterr().out


def test_what_cannot_be_read_is_a_sentence(writer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def sentence(*inputs: str) -> str:
        assert main(["cells", *inputs, "--checkpoint", str(writer / "run"), "--out", str(tmp_path)]) == 1
        return capsys.readouterr().err

    short, foreign = tmp_path / "short.txt", tmp_path / "foreign.txt"
    short.write_text("He said.")
    foreign.write_text("ß" * 200)
    assert "not 2" in sentence(str(short), str(foreign))
    assert "8 characters are too few" in sentence(str(short))
    assert "ß" in sentence(str(foreign))
    assert "there is no such text" in sentence(str(tmp_path / "none.txt"))


def test_where_nothing_varies_there_is_nothing_to_find(
    writer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("captioning.analysis.text_features.text_features", lambda text: {"same": np.zeros(len(text))})
    command = ["cells", str(writer / "text.txt"), "--checkpoint", str(writer / "run"), "--out", str(tmp_path / "cells")]
    assert main([*command, "--length", "200"]) == 1
    assert "no feature that varies" in capsys.readouterr().err and not (tmp_path / "cells").exists()


def test_gradients(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gradients", "--out", str(tmp_path), "--hidden", "8", "--steps", "12", "--updates", "2"]) == 0
    for name in ("flow.png", "singular_values.png", "cures.png"):
        assert np.asarray(Image.open(tmp_path / name).convert("L")).std() > 5
    tables = json.loads((tmp_path / "gradients.json").read_text())
    by_value = tables["factor a step back"]["RNN, by largest singular value of Whh"]
    assert by_value["0.5"] < 0.5 < by_value["4"] and by_value["1"] < 1
    assert "no clipping" in capsys.readouterr().out
