"""A captioner in a user's own module, outside of the package: README's, trained, scored, tried and loaded again."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from captioning.__main__ import main
from captioning.predict.captioner import Captioner

Done = subprocess.CompletedProcess[str]
Overrides = Callable[..., list[str]]
REPOSITORY = Path(__file__).resolve().parents[2]
README = REPOSITORY / "README.md"
MINE = ["decoder._target_=my_module.MyDecoder"]


def own_module() -> str:
    """README's own captioner."""
    blocks = re.findall(r"^```python\n(.*?)^```", README.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    return next(block for block in blocks if "class MyDecoder" in block)


def test_it_is_short() -> None:
    assert len(own_module().strip().splitlines()) < 40


def afterwards(run: str, photo: str, places: list[str]) -> int:
    """What a user does with the run, from the command line and from Python."""
    assert main(["evaluate", run, *places, "--trust", "my_module", "--beam", "3", "--device", "cpu"]) == 0
    assert main(["caption", photo, "--checkpoint", run, "--trust", "my_module", "--device", "cpu"]) == 0
    assert main(["caption", photo, "--checkpoint", run, "--device", "cpu"]) == 1
    captioner = Captioner.load(run, "cpu", trust=["my_module"])
    print(type(captioner.decoder))
    print(*captioner(photo))
    return 0


def test_trains_evaluates_captions_and_loads(
    in_child: Callable[..., Done], in_fork: Callable[..., Done], tiny: Overrides, tiny_data: Path, tmp_path: Path
) -> None:
    folder, photo, mine = tmp_path / "elsewhere", str(tiny_data / "0.png"), tmp_path / "runs" / "mine"
    folder.mkdir()
    (folder / "my_module.py").write_text(own_module())

    done = in_child(["train", *tiny(*MINE, "trainer.max_epochs=1", "test=false", "name=mine")], cwd=folder)
    assert done.returncode == 0, done.stderr
    assert not (mine / "scores_test.json").exists()
    places = [each for each in tiny() if each.startswith(("data.root=", "data.features_root="))]
    done = in_fork(lambda: afterwards(str(mine), photo, places), cwd=folder)
    assert done.returncode == 0, done.stderr
    names, _, captioned, decoder, caption = done.stdout.splitlines()
    assert names.split()[:4] == ["BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4"]
    assert json.loads((mine / "scores_test.json").read_text())["images"] == 3
    assert decoder == "<class 'my_module.MyDecoder'>"
    assert captioned == f"{photo}\t{caption}"


def test_settings_of_another_captioner_are_left_out_and_said(
    tiny: Overrides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from captioning.core.features import FeatureSpec
    from captioning.core.vocabulary import SPECIAL, Vocabulary
    from captioning.jobs.config import compose
    from captioning.runs.parts import make_decoder

    (tmp_path / "my_module.py").write_text(own_module())
    monkeypatch.syspath_prepend(tmp_path)
    config = compose(tiny("decoder=neuraltalk", "decoder._target_=my_module.MyDecoder"))
    decoder = make_decoder(config, Vocabulary(SPECIAL), FeatureSpec(pooled=(4,), grid=(1, 1, 4)))
    assert type(decoder).__name__ == "MyDecoder"
    assert decoder.hidden_size == config["decoder"]["hidden_size"]
    assert "my_module.MyDecoder has no setting image and no inject: left out" in caplog.text
