"""One file is enough, it runs nothing, and what is wrong with it is a sentence."""

import errno
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from captioning.core.errors import CaptioningError
from captioning.core.vocabulary import SPECIAL, CharacterVocabulary, Vocabulary
from captioning.jobs.config import compose
from captioning.predict.captioner import Captioner
from captioning.runs import parts
from captioning.runs.checkpoint import (
    contents_of,
    load_weights,
    own_part,
    read_checkpoint,
)
from captioning.runs.places import find_checkpoint
from captioning.runs.resuming import check_resumable
from captioning.training.trainer import AtomicCheckpointIO

Overrides = Callable[..., list[str]]
VOCABULARY = Vocabulary([*SPECIAL, "a", "dog"])


def parts_of(config: dict[str, Any]) -> torch.nn.ModuleDict:
    encoder = parts.make_encoder(config)
    return torch.nn.ModuleDict({"encoder": encoder, "decoder": parts.make_decoder(config, VOCABULARY, encoder.spec)})


@pytest.fixture
def config(tiny: Overrides) -> dict[str, Any]:
    return compose(tiny())


@pytest.fixture
def content(config: dict[str, Any]) -> dict[str, Any]:
    return {"state_dict": parts_of(config).state_dict(), "captioning": own_part(config, contents_of(VOCABULARY))}


@pytest.fixture
def path(tmp_path: Path, content: dict[str, Any]) -> Path:
    AtomicCheckpointIO().save_checkpoint(content, tmp_path / "checkpoints" / "last.ckpt")
    return tmp_path / "checkpoints" / "last.ckpt"


def changed(path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, path)
    return path


def test_there_and_back(path: Path, config: dict[str, Any], content: dict[str, Any]) -> None:
    torch.load(path, weights_only=True)  # nothing in it but plain values and tensors
    found = read_checkpoint(path)
    groups = ("encoder", "decoder", "cell", "search", "data", "choices", "task", "metrics", "seed")
    assert found.config == {**{group: config[group] for group in groups}, "answerer": {}}
    assert found.vocabulary.words == VOCABULARY.words
    assert all(torch.equal(found.weights[name], tensor) for name, tensor in content["state_dict"].items())


def test_a_run_is_its_best_checkpoint_or_else_its_last(tmp_path: Path, path: Path) -> None:
    assert find_checkpoint(tmp_path) == path == find_checkpoint(path)
    best = path.with_name("best.ckpt")
    best.write_bytes(path.read_bytes())
    assert find_checkpoint(tmp_path) == best == find_checkpoint(path.parent)
    for absent in (tmp_path / "absent", tmp_path / "absent.ckpt"):
        with pytest.raises(CaptioningError, match=rf"{absent}: there is no such checkpoint"):
            read_checkpoint(absent)
    (tmp_path / "empty").mkdir()
    with pytest.raises(CaptioningError, match="there is no checkpoint in this folder"):
        read_checkpoint(tmp_path / "empty")


def test_a_missing_best_checkpoint_is_missed_once_the_run_was_validated(tmp_path: Path, path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("step,epoch,train/loss\n0,0,2.0\n")
    assert find_checkpoint(tmp_path) == path
    for name, content in (("metrics.csv", "step,epoch,val/CIDEr\n0,0,0.5\n"), ("summary.json", "{}")):
        (tmp_path / name).write_text(content)
        for folder in (tmp_path, path.parent):
            with pytest.raises(CaptioningError, match=rf"best\.ckpt: this file is missing.*name {path}"):
                find_checkpoint(folder)
        (tmp_path / name).unlink()


def test_any_flipped_bit_of_the_content_is_seen(path: Path) -> None:
    """Flips in the padding between the records change nothing, and neither the weights."""
    whole, seen = path.read_bytes(), 0
    weights = read_checkpoint(path).weights
    rng = np.random.default_rng(0)
    for _ in range(40):
        damaged = bytearray(whole)
        damaged[rng.integers(len(whole))] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        try:
            found = read_checkpoint(path)
        except CaptioningError as error:
            assert str(error).startswith(f"{path}: ")
            seen += 1
        else:
            assert all(torch.equal(found.weights[name], tensor) for name, tensor in weights.items())
    assert seen > 30


def test_a_hole_and_a_block_of_another_file_are_seen(path: Path) -> None:
    whole = path.read_bytes()
    for block in (bytes(65536), whole[:65536]):
        path.write_bytes(whole[:100_000] + block + whole[165_536:])
        with pytest.raises(CaptioningError, match=rf"{path}: not a checkpoint that can be read .*[Cc]opy it again"):
            read_checkpoint(path)


def test_an_archive_that_unpacks_to_many_times_its_size(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(10_000_000))
    with pytest.raises(CaptioningError, match=r"its records are compressed"):
        read_checkpoint(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_no_numbers(value: float, path: Path) -> None:
    changed(path, lambda content: content["state_dict"]["decoder.embedding.weight"][2].fill_(value))
    with pytest.raises(CaptioningError, match=rf"{path}: its weight decoder\.embedding\.weight has .*NaN or infinity"):
        read_checkpoint(path)


def test_large_weights_are_numbers(path: Path) -> None:
    changed(path, lambda content: content["state_dict"]["decoder.embedding.weight"].fill_(3e38))
    assert read_checkpoint(path).weights["decoder.embedding.weight"].max() > 1e38


@pytest.mark.parametrize("kept", [0, 10, 5000, -10])
def test_cut_short(path: Path, kept: int) -> None:
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CaptioningError, match=rf"{path}: not a checkpoint that can be read.*copy it again"):
        read_checkpoint(path)


def test_files_of_other_programs(tmp_path: Path) -> None:
    for content in ({"state_dict": {}}, {"captioning": 1}, [torch.zeros(1)], {"model": {}}):
        torch.save(content, tmp_path / "other.ckpt")
        with pytest.raises(CaptioningError, match="not a checkpoint of `captioning train`"):
            read_checkpoint(tmp_path / "other.ckpt")


def test_another_version(path: Path) -> None:
    changed(path, lambda content: content["captioning"].update(version=99))
    with pytest.raises(CaptioningError, match=rf"{path}: this checkpoint has version 99, and this program reads"):
        Captioner.load(path, "cpu")


def test_weights_that_do_not_fit(path: Path, tiny: Overrides) -> None:
    other = parts_of(compose(tiny("decoder.hidden_size=9")))
    with pytest.raises(CaptioningError, match=r"last\.ckpt: \d+ weights of this checkpoint do not fit.*instead of"):
        load_weights(other, read_checkpoint(path).weights, path)
    changed(path, lambda content: content["state_dict"].pop("decoder.embedding.weight"))
    with pytest.raises(CaptioningError, match=r"1 weights .*decoder\.embedding\.weight missing instead of \(6, 8\)"):
        Captioner.load(path, "cpu")


def test_resuming_with_other_captions_is_refused(path: Path, config: dict[str, Any]) -> None:
    parts = parts_of(config)
    with pytest.raises(CaptioningError, match=r"no state of the optimizer.*\(a copy of best\.ckpt\?\)"):
        check_resumable(path, parts, contents_of(VOCABULARY))
    progress = {"current": {"processed": 3}, "is_last_batch": True}
    loops = {"fit_loop": {"epoch_progress": progress, "epoch_loop.batch_progress": progress}}
    changed(path, lambda content: content.update(loops=loops, optimizer_states=[], callbacks={}))
    check_resumable(path, parts, contents_of(VOCABULARY), 3)
    with pytest.raises(CaptioningError, match=r"in its epoch 3 already, and trainer\.max_epochs=2 are asked for"):
        check_resumable(path, parts, contents_of(VOCABULARY), 2)
    with pytest.raises(
        CaptioningError,
        match=r"captions have changed since \(6 then, 6 now; for example cat, dog\)",
    ):
        check_resumable(path, parts, contents_of(Vocabulary([*SPECIAL, "a", "cat"])))


def test_a_full_disk_leaves_the_old_file(path: Path, content: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    before = path.read_bytes()
    with monkeypatch.context() as patch, pytest.raises(CaptioningError, match=rf"{path}: the disk is full"):
        patch.setattr(os, "fsync", full)
        AtomicCheckpointIO().save_checkpoint({**content, "epoch": 3}, path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def _grey() -> Any:
    from PIL import Image

    return Image.new("L", (40, 40), 99)


def test_words_and_characters_are_told_apart(path: Path, config: dict[str, Any], tmp_path: Path) -> None:
    captioner = read_checkpoint(path)
    assert captioner.words.words == VOCABULARY.words
    with pytest.raises(CaptioningError, match=rf"^{path}: this is a captioner"):
        assert captioner.characters
    content = {"state_dict": {}, "captioning": own_part(config, contents_of(CharacterVocabulary("\nab☃")))}
    torch.save(content, tmp_path / "language.ckpt")
    model = read_checkpoint(tmp_path / "language.ckpt")
    assert model.characters.words == ["\n", "a", "b", "☃"]
    with pytest.raises(CaptioningError, match="this is a language model of characters"):
        assert model.words
