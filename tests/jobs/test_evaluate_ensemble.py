"""``captioning evaluate`` of several captioners as one."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from captioning.__main__ import main
from captioning.core.vocabulary import END, SPECIAL, Vocabulary
from captioning.jobs.config import compose
from captioning.jobs.evaluate import further
from captioning.predict.captioner import Captioner
from captioning.runs import parts
from captioning.runs.checkpoint import own_part
from captioning.search import Beam

WORDS = ("a", "red", "green", "blue", "white", "picture", "all", "of", "it", "is")
ATTENDS = ("decoder=show_attend_tell", "decoder.attention_size=8")
Overrides = Callable[..., list[str]]
Untrained = Callable[..., Path]


@pytest.fixture
def untrained(tiny: Overrides, tmp_path: Path) -> Untrained:
    """``untrained("a", "decoder=show_tell", seed=1)``: the folder of a run with a checkpoint."""

    def save(name: str, *overrides: str, seed: int = 0, words: tuple[str, ...] = WORDS) -> Path:
        config = compose(tiny("encoder.last_stage=layer1", f"seed={seed}", *overrides))
        vocabulary = Vocabulary([*SPECIAL, *words])
        torch.manual_seed(100)
        encoder = parts.make_encoder(config)  # frozen: the same weights in all
        torch.manual_seed(seed)
        decoder = parts.make_decoder(config, vocabulary, encoder.spec)
        with torch.no_grad():
            decoder.word_layer.weight.mul_(8)
            decoder.word_layer.bias[END] = -1.0
        weights = torch.nn.ModuleDict({"encoder": encoder, "decoder": decoder}).state_dict()
        folder = tmp_path / "runs" / name / "checkpoints"
        folder.mkdir(parents=True)
        own = own_part(config, {"vocabulary": vocabulary.words})
        torch.save({"state_dict": weights, "captioning": own}, folder / "best.ckpt")
        return folder.parents[0]

    return save


@pytest.fixture
def places(tiny: Overrides) -> list[str]:
    return [each for each in tiny() if each.startswith(("data.root=", "data.features_root="))]


def evaluate(*arguments: object) -> int:
    return main(["evaluate", *map(str, arguments), "--device", "cpu"])


def read(path: Path) -> Any:
    return json.loads(path.read_text())


@pytest.mark.parametrize("average", ["probabilities", "log-probabilities"])
def test_five_captioners_are_scored_as_one(
    average: str, untrained: Untrained, places: list[str], tiny_data: Path, tmp_path: Path
) -> None:
    """As the ensemble captions the photographs themselves; features are stored once for each different encoder."""
    runs = [
        untrained("a", *ATTENDS, seed=1),
        untrained("b", "decoder=neuraltalk", seed=2),
        untrained("c", *ATTENDS, "encoder.image_size=48", seed=3),
        untrained("d", "decoder=show_tell", "encoder.image_size=48", seed=4, words=tuple(reversed(WORDS))),
        untrained("seed=5", "decoder=lrcn", seed=5),
    ]
    assert evaluate(*runs, *places, "--beam", 3, "--average", average) == 0
    name = "ensemble=a+b+c+d+seed=5" + (",average=log-probabilities" if average != "probabilities" else "")
    out = tmp_path / "runs" / name
    captions = read(out / "captions_test.json")
    together = Captioner.load(runs, "cpu", average=average)  # type: ignore[arg-type]
    photographs = [tiny_data / row["image_id"] for row in captions]
    assert [row["caption"] for row in captions] == together(photographs, Beam(3))
    stored = sorted((tmp_path / "features").glob("*/*/features.npy"))
    assert [path.parent.name for path in stored] == ["grid", "pooled"] * 2
    assert len({path.parents[1] for path in stored}) == 2
    times = [path.stat().st_mtime_ns for path in stored]
    content = read(out / "scores_test.json")
    assert (content["average"], content["search"], content["images"]) == (average, "beam 3", 3)
    assert [(member["seed"], member["decoder"]) for member in content["members"]] == [
        *((1, "show_attend_tell"), (2, "neuraltalk"), (3, "show_attend_tell"), (4, "show_tell"), (5, "lrcn"))
    ]
    for run, member in zip(runs, content["members"], strict=True):
        file = run / "checkpoints" / "best.ckpt"
        assert (member["checkpoint"], member["sha256"]) == (str(file), hashlib.sha256(file.read_bytes()).hexdigest())
    assert evaluate(runs[2], *places) == 0  # a member by itself finds its features there
    assert sorted((tmp_path / "features").glob("*/*/features.npy")) == stored
    assert [path.stat().st_mtime_ns for path in stored] == times


def test_mean_weights_are_scored_as_one_captioner(
    untrained: Untrained, places: list[str], tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [untrained(name, "decoder=show_tell", seed=seed) for seed, name in enumerate("ab")]
    command = [*runs, *places, "--average", "weights", "--split", "val", "--out", tmp_path / "soup", "--rate"]
    assert evaluate(*command) == 0
    printed, content = capsys.readouterr().out.splitlines(), read(tmp_path / "soup" / "scores_val.json")
    assert content["photographs_per_second"] > 0
    rate, _, unit = printed[-1].partition(" ")
    assert float(rate) == pytest.approx(content["photographs_per_second"], abs=0.06)  # both are rounded
    assert unit == "photographs captioned a second, from files"
    captions = read(tmp_path / "soup" / "captions_val.json")
    together = Captioner.load(runs, "cpu", average="weights")
    assert [row["caption"] for row in captions] == together([tiny_data / row["image_id"] for row in captions])
    assert content["average"] == "weights"
    command = ["caption", str(tiny_data / "10.png"), "--average", "weights", "--device", "cpu"]
    assert main([*command, "--checkpoint", str(runs[0]), "--checkpoint", str(runs[1])]) == 0
    assert capsys.readouterr().out == f"{tiny_data / '10.png'}\t{captions[0]['caption']}\n"


def test_a_fine_tuned_encoder_s_features_are_computed_for_each_member(
    untrained: Untrained, places: list[str], tiny_data: Path, tmp_path: Path
) -> None:
    runs = [untrained("a", "encoder.finetune_from=layer1"), untrained("b", "encoder.image_size=48", seed=1)]
    assert evaluate(*runs, *places) == 0
    captions = read(tmp_path / "runs" / "ensemble=a+b" / "captions_test.json")
    photographs = [tiny_data / row["image_id"] for row in captions]
    assert [row["caption"] for row in captions] == Captioner.load(runs, "cpu")(photographs)


def test_what_makes_no_ensemble_is_a_sentence(
    untrained: Untrained, places: list[str], tiny: Overrides, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, fewer, gru = untrained("a"), untrained("fewer", words=WORDS[:5]), untrained("gru", "cell=gru")
    language = untrained("language", "task._target_=captioning.tasks.language.LanguageTask")
    for arguments, said in (
        ([a, fewer], "its vocabulary holds other words than that of"),
        ([a, gru, "--average", "weights"], "its settings differ (cell._target_)"),
        ([a, a], "named twice"),
        ([a, tmp_path / "nowhere"], "there is no such checkpoint"),
        ([a, "--average", "weights"], "--average has no effect on one checkpoint"),
        ([a, language], "The members of an ensemble have one task"),
    ):
        assert evaluate(*arguments, *places) == 1
        error = capsys.readouterr().err
        assert said in error and len(error.splitlines()) == 1, error


def test_a_setting_s_name_has_no_slash() -> None:
    given = ["runs/b", "data.root=/x/y", "runs/cells/seed=2", "./seed=3", "search.size=3", "data=own"]
    assert further(given) == (
        [Path("runs/b"), Path("runs/cells/seed=2"), Path("./seed=3")],
        ["data.root=/x/y", "search.size=3", "data=own"],
    )
