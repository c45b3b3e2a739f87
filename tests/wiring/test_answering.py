"""The settings of questions and of models that answer them."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from wires import compose, wired

from captioning.core.build import build, call
from captioning.core.errors import CaptioningError
from captioning.core.features import FeatureSpec
from captioning.core.questions import AnswerSet, QuestionVocabulary
from captioning.core.vocabulary import SPECIAL
from captioning.data import QuestionSet
from captioning.metrics import AccuracyByKind, Wups, build_metrics
from captioning.runs.parts import make_answerer
from captioning.tasks import Task
from captioning.tasks.answering import AnsweringTask

KINDS_OF_DATA = ("coco_qa", "daquar", "vqa", "vqa2", "own_questions", "scenes_questions", "movie_reviews")
SPEC = FeatureSpec(pooled=(4,), grid=(2, 2, 3), other=(6,), objects=(5, 7))
WORDS, ANSWERS = QuestionVocabulary([*SPECIAL, "what"]), AnswerSet(["a", "b"])


def table(folder: Path) -> Path:
    """Ten questions without photographs; "seldom" is in one of the training split."""
    rows = [
        {"question": f"what's this {'seldom' * (number == 0)} now", "answer": "ab"[number % 2] if number else "c"}
        for number in range(10)
    ]
    for row, split in zip(rows, ["train"] * 6 + ["val"] * 2 + ["test"] * 2, strict=True):
        row["split"] = split
    (folder / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "questions.jsonl"


def line(folder: Path, *more: str) -> list[str]:
    common = ("task=answering", "data=own_questions", "encoder=none", "answerer=bow", "metrics=answers")
    return [*common, "monitor=accuracy", f"data.root={table(folder)}", *more]


def prepared(folder: Path, *more: str) -> Any:
    config = compose(line(folder, *more))
    task = build(config["task"], Task, config=config)
    return task.prepare(task.read_source(), folder, torch.device("cpu"))


@wired("data=_questions data.batch_size", "data=_questions data.max_words", "data=_questions data.workers")
def test_a_batch_has_so_many_questions_and_words(tmp_path: Path) -> None:
    data = prepared(tmp_path, "data.batch_size=4", "data.max_words=2", "data.workers=0").data
    assert [batch.questions.words.shape for batch in data.val_dataloader()] == [(2, 2)]
    assert next(iter(data.train_dataloader())).questions.words.shape == (4, 2)
    assert prepared(tmp_path, "data.workers=1").data.val_dataloader().num_workers == 1


def test_the_embedding_of_questions_begins_with_the_word_vectors(tmp_path: Path) -> None:
    (tmp_path / "vectors.txt").write_text("now 1 2 3\nelsewhere 9 9 9\n")
    vectors = f"word_vectors={tmp_path / 'vectors.txt'}"
    made = prepared(tmp_path, vectors, "answerer.embedding_size=3", "data.minimum_count=1")
    weight = made.module.answerer.embedding.weight
    assert weight[made.contents["questions"].index("now")].tolist() == [1, 2, 3]
    assert weight.abs().max() == 3
    with pytest.raises(CaptioningError, match="word_vectors: Guess has no embedding of words"):
        prepared(tmp_path, vectors, "answerer=guess")


@wired("data=_questions data.minimum_count", "data=_questions data.tokenizer", "data=_questions data.most_answers")
def test_words_and_answers_are_counted_and_cut_as_is_set(tmp_path: Path) -> None:
    words = {name: set(prepared(tmp_path, *more).contents["questions"]) for name, more in {
        "all": (), "frequent": ("data.minimum_count=2",), "treebank": ("data.tokenizer=treebank",)
    }.items()}  # fmt: skip
    assert "seldom" in words["all"] - words["frequent"] and "'s" in words["treebank"] - words["all"]
    assert prepared(tmp_path).contents["answers"] == ["b", "a", "c"]
    assert prepared(tmp_path, "data.most_answers=1").contents["answers"] == ["b"]


@wired("data=_questions data.validation", "data=_questions data.images", "data=own_questions data.root")
def test_photographs_are_held_out_and_looked_for(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / f"{name}.png").touch()
    (tmp_path / "tables").mkdir()
    lines = ["image,question,answer", *(f"{name}.png,what,it" for name in "abc")]
    (tmp_path / "tables" / "q.csv").write_text("\n".join(lines))
    own = ["data=own_questions", f"data.root={tmp_path / 'tables' / 'q.csv'}", f"data.images={tmp_path}"]
    found = call(compose([*own, "data.validation=1"])["data"]["source"], QuestionSet)
    assert [len(found.splits[split]) for split in ("train", "val", "test")] == [1, 1, 1]


@wired("data=_questions data.features_root")
def test_features_are_stored_where_is_set(tmp_path: Path) -> None:
    from PIL import Image

    rows = []
    for split in ("train", "val", "test"):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{split}.png")
        rows.append({"image": f"{split}.png", "question": "what", "answer": "it", "split": split})
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    more = ["encoder=none", "+encoder._target_=wires.Colours", "answerer=img_bow"]
    config = compose(
        [*line(tmp_path), *more, f"data.root={tmp_path / 'q.jsonl'}", f"data.features_root={tmp_path / 'f'}"]
    )
    task = build(config["task"], Task, config=config)
    task.prepare(task.read_source(), tmp_path, torch.device("cpu"))
    assert any((tmp_path / "f").iterdir())


@wired(*(f"data=vqa data.splits.{split}" for split in ("train", "val", "test")), "data=vqa data.most_answers")
@wired("data=vqa data.root", "data=vqa2 data.root", "data=coco_qa data.root", "data=daquar data.root")
def test_each_set_is_read_from_its_root(tmp_path: Path) -> None:
    for number, name in enumerate("abc"):
        common = {"question_id": number, "image_id": number}
        (tmp_path / f"questions_{name}.json").write_text(json.dumps({"questions": [{**common, "question": "what"}]}))
        told = {"annotations": [{**common, "answers": [{"answer": name}]}]}
        (tmp_path / f"annotations_{name}.json").write_text(json.dumps(told))
    sets = ["data.splits.train=b", "data.splits.val=c", "data.splits.test=a"]
    for kind in ("vqa", "vqa2"):
        found = call(compose([f"data={kind}", f"data.root={tmp_path}", *sets])["data"]["source"], QuestionSet)
        assert [found[split][0].answer for split in ("train", "val", "test")] == ["b", "c", "a"]
    assert compose(["data=vqa", "data.most_answers=7"])["data"]["most_answers"] == 7
    assert compose(["data=vqa"])["data"]["most_answers"] == 1000
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        for name, text in {"questions": "what\nwho", "answers": "a\nb", "img_ids": "1\n2", "types": "0\n0"}.items():
            (tmp_path / split / f"{name}.txt").write_text(f"{text}\n")
        (tmp_path / f"qa.37.raw.{split}.txt").write_text("what in image1\nchair\nwhat in image2\ntable\n")
    for kind in ("coco_qa", "daquar"):
        source = compose([f"data={kind}", f"data.root={tmp_path}", "data.validation=1"])["data"]["source"]
        assert [len(each) for each in call(source, QuestionSet).splits.values()] == [1, 1, 2]


@wired(*(f"data=movie_reviews data.{name}" for name in ("root", "encoding", "folds", "fold", "folds_seed")))
@wired("data=movie_reviews data.tokenizer")
def test_reviews_are_dealt_out_as_is_set(tmp_path: Path) -> None:
    for name in ("neg", "pos"):
        (tmp_path / f"rt-polarity.{name}").write_text(
            "".join(f"{name} isn't {place}\n" for place in range(20)), "utf-16"
        )
    common = ["data=movie_reviews", f"data.root={tmp_path}", "data.encoding=utf-16", "data.folds=4", "data.fold=3"]

    def texts(*more: str) -> list[list[str]]:
        found = call(compose([*common, *more])["data"]["source"], QuestionSet)
        return [[each.text for each in found[split]] for split in ("train", "val", "test")]

    assert list(map(len, texts())) == [26, 4, 10]  # ten in a hundred of 15, 1.5, is 2 of each class
    others = [texts("data.fold=2"), texts("data.folds_seed=4")]
    assert all(texts()[2] != other[2] for other in others)
    none = ["task=answering", "encoder=none", "answerer=bow", "metrics=accuracy", "monitor=accuracy"]
    config = compose([*common, *none, "data.batch_size=7", "data.tokenizer=words", "data.workers=0"])
    task = build(config["task"], Task, config=config)
    made = task.prepare(task.read_source(), tmp_path, torch.device("cpu"))
    assert len(next(iter(made.data.train_dataloader())).questions.words) == 7  # type: ignore[attr-defined]
    assert {"isn", "t"} <= set(made.contents["questions"])


@wired(*(f"data=scenes_questions data.{name}" for name in ("root", "count", "scenes_seed")))
def test_so_many_scenes_are_asked_about_by_their_seed(tmp_path: Path) -> None:
    def asked(name: str, *more: str) -> list[tuple[str, str]]:
        line = ["data=scenes_questions", f"data.root={tmp_path / name}", "data.count=13", *more]
        found = call(compose(line)["data"]["source"], QuestionSet)
        assert found.photos is not None and len(found.photos["train"]) == 11 and (tmp_path / name / "train").is_dir()
        return [(each.text, each.answer) for each in found["train"]]

    assert asked("one") != asked("two", "data.scenes_seed=9")


@wired(*(f"data={kind} data.name" for kind in KINDS_OF_DATA), "choices.answerer")
def test_names_are_those_of_the_command_line() -> None:
    for kind in KINDS_OF_DATA:
        assert compose([f"data={kind}"])["data"]["name"] == kind
    assert compose(["answerer=bow"])["choices"]["answerer"] == "bow"


def model(kind: str, *more: str) -> Any:
    return make_answerer(compose([f"answerer={kind}", *more]), WORDS, ANSWERS, SPEC)


@wired("answerer=_embedding answerer.embedding_size", "answerer=_embedding answerer.dropout")
@wired("answerer=_recurrent answerer.hidden_size", "answerer=_recurrent answerer.depth")
@wired("answerer=vis_lstm answerer.dropout", "answerer=two_vis_blstm answerer.dropout")
@pytest.mark.parametrize("kind", ["bow", "lstm", "vis_lstm", "two_vis_blstm"])
def test_models_have_the_set_sizes(kind: str) -> None:
    sizes = ["answerer.embedding_size=5", "answerer.dropout=0.25"]
    made = model(kind, *sizes, *([] if kind == "bow" else ["answerer.hidden_size=7", "answerer.depth=2"]))
    assert made.embedding.weight.shape == (5, 5) and made.dropout.p == 0.25
    if kind != "bow":
        assert (made.recurrent.hidden_size, made.recurrent.depth) == (7, 2)


@wired(*(f"answerer=lstm answerer.{name}" for name in ("bidirectional", "summary", "attention_size")))
@wired("answerer=lstm answerer.word_dropout", "answerer=lstm answerer.output_dropout")
def test_a_reader_reads_and_sums_up_as_is_set() -> None:
    sizes = ["answerer.hidden_size=7", "answerer.attention_size=5", "answerer.bidirectional=true"]
    drops = ["answerer.word_dropout=0.25", "answerer.output_dropout=0.125"]
    made = model("lstm", *sizes, *drops, "answerer.summary=attention")
    assert made.classifier.weight.shape == (2, 14) and made.attention[0].weight.shape == (5, 14)
    assert (made.word_dropout, made.output_dropout.p) == (0.25, 0.125)


@wired("answerer=img answerer.image", "answerer=img_bow answerer.image", "answerer=vis_lstm answerer.image")
@wired("answerer=img answerer.dropout", "answerer=knn answerer.neighbours")
@pytest.mark.parametrize("kind", ["img", "img_prior", "img_bow", "knn", "vis_lstm", "two_vis_blstm"])
def test_models_read_the_part_that_is_named(kind: str) -> None:
    assert model(kind, "answerer.image=other").reads == ("other",)
    if kind == "img":
        assert model(kind, "answerer.dropout=0.5").dropout.p == 0.5
    if kind == "knn":
        assert model(kind, "answerer.neighbours=13").neighbours == 13


@wired(*(f"answerer=stacked_attention answerer.{name}" for name in ("attends", "attention_size", "looks")))
@wired("answerer=stacked_attention answerer.output_dropout", "answerer=stacked_attention answerer.hidden_size")
@wired("answerer=stacked_attention answerer.bag", "answerer=stacked_attention answerer.region_dropout")
def test_attention_looks_as_often_and_at_what_is_set() -> None:
    sizes = ["answerer.attends=objects", "answerer.attention_size=5", "answerer.looks=3", "answerer.hidden_size=9"]
    more = ["answerer.output_dropout=0.25", "answerer.region_dropout=0.125", "answerer.bag=true"]
    made = model("stacked_attention", *sizes, *more)
    assert made.reads == ("objects",) and made.region_layer.weight.shape == (9, 7)
    assert [look.key.weight.shape for look in made.looks] == [(5, 9)] * 3
    assert (made.output_dropout.p, made.region_dropout.p) == (0.25, 0.125)
    assert made.bag_layer.weight.shape == (9, 500) and model("stacked_attention").bag_layer is None


@wired("answerer=stacked_attention answerer.counts", "answerer=stacked_attention answerer.places")
def test_attention_counts_and_knows_places_as_is_set() -> None:
    made = model("stacked_attention", "answerer.counts=true", "answerer.places=true", "answerer.hidden_size=9")
    assert made.sum.out.weight.shape == (9, 9) and made.place_layer.weight.shape == (9, 2)
    plain = model("stacked_attention")
    assert plain.sum is None and plain.place_layer is None


@wired("metrics=answers metrics.kinds.kinds", "metrics=vqa metrics.kinds.kinds")
@wired("metrics=answers metrics.wups_09.threshold", "metrics=answers metrics.wups_00.threshold")
def test_metrics_are_of_the_set_kinds_and_thresholds(tmp_path: Path) -> None:
    config = compose(line(tmp_path, "metrics.kinds.kinds=[other]", "metrics.wups_09.threshold=0.8"))
    config["metrics"]["wups_00"]["threshold"] = compose(line(tmp_path, "metrics.wups_00.threshold=0.1"))["metrics"][
        "wups_00"
    ]["threshold"]
    found = build_metrics(config["metrics"])
    assert [metric.kinds for metric in found if isinstance(metric, AccuracyByKind)] == [("other",)]
    assert [metric.threshold for metric in found if isinstance(metric, Wups)] == [0.8, 0.1]
    assert {"other", "WUPS-0.8"} <= AnsweringTask(config).measures.keys()
    vqa = build_metrics(compose(["metrics=vqa", "metrics.kinds.kinds=[number]"])["metrics"])
    assert [metric.kinds for metric in vqa if isinstance(metric, AccuracyByKind)] == [("number",)]
