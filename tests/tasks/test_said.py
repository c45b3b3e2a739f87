"""What a data set or a score has that makes a result worth less is said."""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from captioning.data.photos import CaptionedPhotos, Photo
from captioning.metrics.constant import constant, say_constant
from captioning.metrics.references import References
from captioning.metrics.scores import coco_metrics
from captioning.tasks.inputs import inputs_of_photographs
from captioning.text.registry import TOKENIZERS, say_blanks


def test_one_photograph_in_two_splits_under_two_names(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    photos = {}
    for split, name, content in (("train", "a", b"1"), ("train", "b", b"2"), ("test", "c", b"1"), ("train", "d", b"1")):
        (tmp_path / name).write_bytes(content)
        photos.setdefault(split, []).append(Photo(name, tmp_path / name, ("a dog",)))
    config = {"data": {"features_root": str(tmp_path / "features")}}
    inputs_of_photographs(config, CaptionedPhotos("own", photos))
    assert caplog.messages[-1].startswith(
        f"own: 1 photographs are in two splits, the same file under two names, such as {tmp_path / 'a'} (train) and "
        f"{tmp_path / 'c'} (test)"
    )
    caplog.clear()
    inputs_of_photographs(config, CaptionedPhotos("own", {"train": photos["train"]}))
    assert not caplog.records


@pytest.mark.parametrize(
    ("captions", "said"),
    [
        (["一只棕色的狗在草地上奔跑。", "2只狗 in the grass"], True),
        (["茶色の犬が草の上を走っている"], True),
        (["a dog called 花子 runs", "a brown dog"], False),
        (["Ein Hund läuft über das Gras."], False),
        (["1 2 3"], False),
    ],
)
def test_sentences_without_blanks(captions: list[str], said: bool) -> None:
    assert bool(say_blanks(TOKENIZERS["treebank"], captions)) is said
    assert say_blanks(TOKENIZERS["words"], captions) == ""


def test_a_score_that_can_not_vary_is_no_measurement() -> None:
    one, three = [["a dog runs", "a dog"]], [["a dog runs far"], ["a cat sits there"], ["two birds fly off"]]
    assert constant(coco_metrics(), References(one)) == {"CIDEr": 0.0}
    assert constant(coco_metrics(), References(three)) == {}
    assert say_constant({"CIDEr": 0.0}, 1).startswith("CIDEr: no measurement, for the value is the same whatever")


def test_score_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    from captioning.jobs.score import main

    annotations = {"annotations": [{"image_id": 1, "caption": "一只棕色的狗在草地上奔跑"}]}
    (tmp_path / "references.json").write_text(json.dumps(annotations))
    (tmp_path / "results.json").write_text(json.dumps([{"image_id": 1, "caption": "一只狗"}]))
    with caplog.at_level(logging.WARNING):
        main([str(tmp_path / "results.json"), "--references", str(tmp_path / "references.json")])
    assert "CIDEr: no measurement" in capsys.readouterr().out
    assert "no blanks between their words (such as 一只棕色的狗在草地上奔跑), so that" in caplog.text
    assert "say --tokenizer words" in caplog.text


def test_evaluate_prints_no_number(
    tiny: Callable[..., list[str]], tmp_path: Path, in_child: Callable[..., object]
) -> None:
    (root,) = (each.partition("=")[2] for each in tiny() if each.startswith("data.root="))
    lines = [
        {"image": f"{root}/{number}.png", "caption": "a small picture of something", "split": split}
        for number, split in enumerate(["train"] * 4 + ["val", "test"])
    ]
    own = tmp_path / "own.jsonl"
    own.write_text("\n".join(map(json.dumps, lines)))
    settings = tiny(f"data.root={own}", "trainer.max_epochs=1", "name=run", "monitor=nll")
    evaluate = [
        "evaluate",
        tmp_path / "runs" / "run",
        f"data.root={own}",
        f"data.features_root={tmp_path / 'features'}",
    ]
    done = in_child(["train", *settings], evaluate, cwd=tmp_path)
    assert done.returncode == 0, done.stderr  # type: ignore[attr-defined]
    names, values = done.stdout.split("\0")[-2].strip().splitlines()[:2]  # type: ignore[attr-defined]
    shown = dict(zip(names.split(), values.split(), strict=True))
    assert shown["CIDEr"] == "–" and shown["BLEU-1"] != "–"
    assert json.loads((tmp_path / "runs" / "run" / "scores_test.json").read_text())["constant"] == ["CIDEr"]
