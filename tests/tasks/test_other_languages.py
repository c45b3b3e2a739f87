"""A captioner of another language, from the file of its captions to what it prints and its scores."""

import json
import subprocess
import unicodedata
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from captioning.core.errors import CaptioningError
from captioning.jobs.config import compose
from captioning.jobs.evaluate import evaluate
from captioning.jobs.evaluate import main as evaluate_main
from captioning.jobs.train import train
from captioning.metrics import score_captions
from captioning.predict.captioner import Captioner
from captioning.runs.checkpoint import read_checkpoint
from captioning.runs.folder import FolderError
from captioning.runs.results import row_of
from captioning.search import Greedy
from captioning.text.registry import TOKENIZERS

InChild = Callable[..., "subprocess.CompletedProcess[str]"]
GERMAN = {"red": "rötlich", "green": "GRÜN", "blue": "bläulich", "white": "weiß"}
LEARNS = ("decoder.hidden_size=32", "decoder.output_dropout=0", "optimizer.lr=0.03", "encoder.last_stage=layer1")


@pytest.fixture(scope="module")
def german(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny data in German, one caption of each photograph in NFC and one in NFD."""
    folder = tmp_path_factory.mktemp("german")
    lines = []
    for number, line in enumerate((tiny_data / "captions.jsonl").read_text().splitlines()):
        row = json.loads(line)
        colour = next(each for each in GERMAN if each in row["caption"])
        row["caption"] = unicodedata.normalize(("NFC", "NFD")[number % 2], f"Das schöne Bild – «{GERMAN[colour]}».")
        row["image"] = str(tiny_data / row["image"])
        lines.append(json.dumps(row, ensure_ascii=False))
    (folder / "captions.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def places(german: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return [f"data.root={german}", f"data.features_root={tmp_path_factory.mktemp('features')}"]


@pytest.fixture(scope="module")
def settings(tiny_settings: list[str], places: list[str]) -> list[str]:
    return [*tiny_settings, *LEARNS, *places, "data.tokenizer=words"]


@pytest.fixture(scope="module")
def run(settings: list[str], tmp_path_factory: pytest.TempPathFactory, in_child: InChild) -> Path:
    folder = tmp_path_factory.mktemp("elsewhere")
    done = in_child(["train", *settings, "trainer.max_epochs=15", "name=german"], cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "runs" / "german"


def test_umlauts_are_intact_from_the_file_to_the_printed_caption(
    run: Path, tiny_data: Path, in_child: InChild, tmp_path: Path
) -> None:
    words = ["das", "schöne", "bild", "rötlich", "grün", "bläulich", "weiß"]
    assert sorted(read_checkpoint(run).words.words[4:]) == sorted(words)  # NFC and NFD are one word
    done = in_child(["caption", tiny_data / "1.png", "--checkpoint", run, "--device", "cpu"], cwd=tmp_path)
    path, caption = done.stdout.removesuffix("\n\0").split("\t")
    assert (Path(path).name, caption) == ("1.png", "das schöne bild grün")
    captioner = Captioner.load(run, "cpu")
    assert captioner(tiny_data / "1.png") == [caption]
    assert captioner.tokenizer is TOKENIZERS["words"]
    nfd = unicodedata.normalize("NFD", "Weiß|BLÄULICH")  # as a terminal may give it
    (said,) = captioner.caption(tiny_data / "1.png", must_say=[nfd], search=Greedy(8))
    assert {"weiß", "bläulich"} & set(said.text.split())


def test_it_is_scored_and_named_by_its_tokenizer(run: Path, german: Path, places: list[str], tmp_path: Path) -> None:
    assert "words, tokenizer words" in (run / "train.log").read_text()
    out = StringIO()
    with redirect_stdout(out):
        line = [str(run), "--out", str(tmp_path), "--device", "cpu", *places]
        assert evaluate_main(line) == 0
    content = json.loads((tmp_path / "scores_test.json").read_text())
    assert content == json.loads((run / "scores_test.json").read_text())
    assert content["tokenizer"] == "words" and "bad_endings" not in content["scores"]
    assert out.getvalue().splitlines()[2].startswith("tokenizer: words (these scores do not compare")
    captions = {each["image_id"]: each["caption"] for each in json.loads((tmp_path / "captions_test.json").read_text())}
    rows = [json.loads(line) for line in (german / "captions.jsonl").read_text().splitlines()]
    references = [[row["caption"] for row in rows if row["image"] == image] for image in captions]
    expected = score_captions([*captions.values()], references, tokenizer=TOKENIZERS["words"])
    assert {name: content["scores"][name] for name in expected} == pytest.approx(expected)
    assert expected["BLEU-4"] > 0.2
    other = evaluate(run, "test", ["data=own", *places], out=tmp_path, device="cpu")
    assert other.details["tokenizer"] == "words"  # on other data, too
    plain = evaluate(run, "test", [*places, "data.tokenizer=treebank"], out=tmp_path, device="cpu")
    assert "tokenizer" not in plain.details and plain.scores["CIDEr"] != content["scores"]["CIDEr"]
    assert row_of(run, "test")["tokenizer"] == "words"


def test_a_run_from_before_there_was_a_choice_goes_on_with_treebank(
    settings: list[str], places: list[str], tmp_path: Path
) -> None:
    settings = [each for each in settings if each != "data.tokenizer=words"]
    run = tmp_path / "old"
    train(compose([*settings, "trainer.max_epochs=1"]), run)
    config: Any = OmegaConf.load(run / "config.yaml")
    del config.data["tokenizer"]
    (run / "config.yaml").write_text(OmegaConf.to_yaml(config))
    for path in (run / "checkpoints").glob("*.ckpt"):
        content = torch.load(path, weights_only=True)
        del content["captioning"]["config"]["data"]["tokenizer"]
        torch.save(content, path)
    assert Captioner.load(run, "cpu").tokenizer is TOKENIZERS["treebank"]
    assert "tokenizer" not in evaluate(run, "test", places, out=tmp_path, device="cpu").details
    with pytest.raises(FolderError, match=r"data\.tokenizer: treebank, now words"):
        train(compose([*settings, "trainer.max_epochs=2", "data.tokenizer=words"]), run)
    train(compose([*settings, "trainer.max_epochs=2"]), run)
    assert read_checkpoint(run / "checkpoints" / "last.ckpt").trained == 2
    begins = [*settings, f"init_from={run}", "data.tokenizer=words"]
    with pytest.raises(CaptioningError, match=r"words are those of data\.tokenizer=treebank, and here .*=words\. Set"):
        train(compose(begins), tmp_path / "new")
