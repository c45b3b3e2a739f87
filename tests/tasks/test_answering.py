"""Answering from the command line: training, scores beside the baselines, questions of one's own, averages."""

import csv
import json
import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from captioning import Answerer, Captioner
from captioning.__main__ import main
from captioning.core.errors import CaptioningError
from captioning.core.images import ImageTransform
from captioning.data.photos import Box, CaptionedPhotos, Photo
from captioning.data.questions import Question, QuestionSet
from captioning.metrics import Accuracy, AccuracyByKind
from captioning.predict.answerer import Answer, Reply
from captioning.tasks.answering.baselines import Blind, Majority
from captioning.tasks.answering.evaluation import compare_answers, play_pointing
from captioning.text.words import tokenize_words_each

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (40, 60, 220)}
COMMON = [
    *("task=answering", "data=own_questions", "metrics=answers", "~metrics.wups_09", "~metrics.wups_00"),
    *("monitor=accuracy", "data.batch_size=4", "data.workers=0", "optimizer.lr=0.05", "trainer.max_epochs=3"),
    *("trainer.log_every_n_steps=1", "trainer.enable_progress_bar=false", "trainer.accelerator=cpu", "logger=csv"),
    *("patience=null", "out=runs", "data.features_root=features"),
]
SMALL = ["encoder=resnet18", "encoder.weights=null", "encoder.last_stage=layer1", "encoder.image_size=32"]
Child = Callable[..., "subprocess.CompletedProcess[str]"]


def draw(folder: Path) -> Path:
    """Eighteen pictures of one colour, with two questions each; the last answer is in no training question."""
    rows = []
    for number in range(18):
        name, rgb = list(COLOURS.items())[number % 3]
        Image.fromarray(np.full((40, 48, 3), rgb, np.uint8)).save(folder / f"{number}.png")
        split = "train" if number < 12 else "val" if number < 15 else "test"
        common = {"image": f"{number}.png", "split": split}
        rows.append({**common, "question": "what is the color of all", "answer": name, "kind": "colour"})
        rows.append({**common, "question": "how many colors", "answer": "one" if number < 17 else "seventeen"})
    (folder / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "questions.jsonl"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, in_child: Child) -> Path:
    """A folder with the runs ``img_bow``, ``bow``, ``knn`` and ``looks``, and the questions beside them."""
    folder = tmp_path_factory.mktemp("answering")
    line = ["train", *COMMON, f"data.root={draw(folder)}"]
    small = "answerer.embedding_size=8"
    for each in (
        [*SMALL, "answerer=img_bow", small, "name=img_bow"],
        ["encoder=none", "answerer=bow", small, "name=bow"],
        [*SMALL, "answerer=knn", small, "answerer.neighbours=3", "name=knn"],
        [*SMALL, "answerer=stacked_attention", small, "answerer.hidden_size=8", "name=looks", "cell=rnn", "test=false"],
    ):
        done = in_child([*line, *each], cwd=folder)
        assert done.returncode == 0, done.stderr
    return folder


def scores(folder: Path, name: str) -> dict[str, object]:
    content: dict[str, object] = json.loads((folder / "runs" / name / "scores_test.json").read_text())
    return content


def test_the_photograph_tells_what_the_question_does_not(trained: Path) -> None:
    """Language alone knows the number and one colour of three; the photograph tells the others."""
    found = scores(trained, "img_bow")
    assert found["questions"] == 6 and found["unseen_answers"] == 1
    assert found["scores"] == {"accuracy": pytest.approx(5 / 6), "number": pytest.approx(2 / 3), "colour": 1.0}
    baselines = found["baselines"]
    assert baselines["majority"]["colour"] == baselines["blind"]["colour"] == pytest.approx(1 / 3)
    low, high = found["intervals"]["accuracy"]
    assert low < 5 / 6 <= high
    assert set(found["p_values"]) == {"majority", "blind"}
    assert scores(trained, "bow")["scores"]["colour"] == pytest.approx(1 / 3)
    assert scores(trained, "knn")["scores"]["colour"] == 1.0
    rows = json.loads((trained / "runs" / "img_bow" / "answers_test.json").read_text())
    assert [row["answer"] for row in rows][:5] == ["red", "one", "green", "one", "blue"]
    assert rows[5]["answers"] == ["seventeen"]


def test_evaluation_and_averages_of_the_command_line(trained: Path, in_child: Child) -> None:
    here = f"data.root={trained / 'questions.jsonl'}"
    places = [here, "data.features_root=features"]
    done = in_child(
        ["evaluate", "runs/img_bow", "--split", "val", *places],
        ["evaluate", "runs/img_bow", "runs/knn", "runs/bow", "--out", "full", *places],
        cwd=trained,
    )
    assert done.returncode == 0, done.stderr
    one, full = done.stdout.split("\0")[:2]
    assert "majority" in one and "blind" in one and "95 %" in one
    assert "1 of 6 answers were never seen in training, and count as wrong." in full
    assert len(json.loads((trained / "full" / "scores_test.json").read_text())["members"]) == 3
    done = in_child(["results", "questions.csv", "runs/img_bow", "runs/bow", "full"], cwd=trained)
    assert done.returncode == 0, done.stderr
    with (trained / "questions.csv").open(newline="") as file:
        rows = {(row["model"], row["kind"]): row for row in csv.DictReader(file)}
    models = ("img_bow", "bow", "average of 3", "majority", "blind")
    assert set(rows) == {(model, kind) for model in models for kind in ("all", "number", "colour")}
    assert [rows["img_bow", kind]["accuracy"] for kind in ("all", "colour")] == ["83.33", "100.00"]
    assert rows["bow", "colour"]["questions"] == "3" and float(rows["bow", "all"]["low"]) < 50


def test_files_of_answers_are_compared(trained: Path, in_child: Child) -> None:
    files = ["runs/img_bow/answers_test.json", "runs/bow/answers_test.json"]
    rows = json.loads((trained / files[1]).read_text())
    (trained / "fewer.json").write_text(json.dumps(rows[1:]))
    (trained / "captions.json").write_text(json.dumps([{"image_id": 1, "caption": "a"}]))
    for lines, status, said in (
        ([["score", *files, "--json", "both.json"]], 0, "img_bow"),
        ([["score", files[0], "fewer.json"]], 1, "5 questions, of which 0 are not those of"),
        ([["score", "captions.json"]], 2, "--references"),
    ):
        done = in_child(*lines, cwd=trained)
        assert done.returncode == status and said in done.stdout + done.stderr, done.stderr
    texts = [{**row, "question_id": f"{row['question_id']}", "image_id": [1]} for row in rows]
    (trained / "texts.json").write_text(json.dumps(texts))
    same = []
    for name in (files[1], "texts.json"):  # a number in one file may be a text in the other
        line = ["score", str(trained / files[0]), str(trained / name), "--json", str(trained / "same.json")]
        assert main(line) == 0
        same.append([*json.loads((trained / "same.json").read_text())["p_values"].values()])
    assert same[0] == same[1]
    found = json.loads((trained / "both.json").read_text())
    assert found["questions"] == 6 and found["scores"]["img_bow"]["accuracy"] == pytest.approx(5 / 6)
    assert found["scores"]["bow"]["colour"] == pytest.approx(1 / 3)
    assert 0 < found["p_values"]["bow"]["accuracy"] < 0.5 and "object" not in found["scores"]["bow"]


def test_questions_of_another_set_are_answered(trained: Path, in_child: Child) -> None:
    """A file of test questions alone, as of other photographs: no baselines, and answers of another training set."""
    rows = [json.loads(line) for line in (trained / "questions.jsonl").read_text().splitlines()]
    others = [{**row, "answer": "cat", "split": "test"} for row in rows[:2]] + [{**rows[4], "split": "test"}]
    (trained / "others.jsonl").write_text("".join(json.dumps(row) + "\n" for row in others))
    line = ["evaluate", "runs/img_bow", "data=own_questions", "data.root=others.jsonl", "--out", "others"]
    done = in_child(
        [*line, "data.features_root=features", "--split", "test"], ["results", "others.csv", "others"], cwd=trained
    )
    assert done.returncode == 0, done.stderr
    assert "2 of 3 answers were never seen in training, and count as wrong." in done.stdout
    found = json.loads((trained / "others" / "scores_test.json").read_text())
    assert found["unseen_answers"] == 2 and found["scores"]["accuracy"] == pytest.approx(1 / 3)
    assert found["baselines"] == {}
    with (trained / "others.csv").open(newline="") as file:
        row = next(csv.DictReader(file))
    assert (row["data"], row["model"], row["questions"]) == ("others", "img_bow", "3")  # not the training's data


def test_attention_points_at_what_the_question_names(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The weights of one region: in the box of the thing that a question names, and beside it."""
    photo = Photo("a.png", trained / "0.png", (), (Box(("ball", "balls"), 0, 0, 24, 20),))
    asked = [question("how many balls are there", "one"), question("what is red", "ball")]
    asked = [replace(each, image="a.png") for each in asked]
    source = QuestionSet("q", {"test": asked}, CaptionedPhotos("q", {"test": [photo]}))
    inside, outside = np.zeros((2, 2), np.float32), np.zeros((2, 2), np.float32)
    inside[0, 0] = outside[1, 1] = 1
    looks = [np.stack([inside, outside]), np.stack([outside, outside])]
    transform = ImageTransform()
    first, second = play_pointing(source, "test", looks, transform)
    assert (first.hits, first.named, second.hits, second.named) == (1, 1, 0, 1)
    assert first.chance == pytest.approx(0.25)
    assert play_pointing(source, "test", [], transform) == []


def test_questions_of_the_command_line(trained: Path, in_child: Child) -> None:
    asked = "what is the color of all"
    done = in_child(
        ["ask", "13.png", asked, "--checkpoint", "runs/img_bow", "--best", "2"],
        ["ask", "13.png", asked, "--checkpoint", "runs/looks", "--attention", "looks.png", "--json", "-"],
        ["ask", "how many colors", "--checkpoint", "runs/bow"],
        cwd=trained,
    )
    assert done.returncode == 0, done.stderr
    best, looked, blind = done.stdout.split("\0")[:3]
    lines = [line.split("\t") for line in best.splitlines()]
    assert len(lines) == 2 and lines[0][1] == "green" and float(lines[0][0]) > float(lines[1][0])
    assert len(json.loads(looked)["answers"]) == 4 and Image.open(trained / "looks.png").size[0] > 100
    assert blind.splitlines()[0].endswith("\tone")


def test_answers_from_python_are_those_of_the_evaluation(trained: Path) -> None:
    answerer = Answerer.load(trained / "runs" / "img_bow", "cpu")
    rows = json.loads((trained / "runs" / "img_bow" / "answers_test.json").read_text())
    for row in rows:
        with Image.open(trained / row["image_id"]) as picture:
            assert answerer(picture, row["question"]) == row["answer"]
    reply = answerer.ask(trained / "13.png", "how many colors?", best=99)
    assert sum(answer.probability for answer in reply.answers) == pytest.approx(1) and len(reply.answers) == 4
    looks = Answerer.load(trained / "runs" / "looks", "cpu")
    maps = looks.ask(trained / "13.png", "how many", attention=True).attention
    assert maps is not None and maps.shape == (2, 8, 8) and maps.sum((1, 2)) == pytest.approx([1, 1])
    knn = Answerer.load(trained / "runs" / "knn", "cpu")
    assert knn(trained / "16.png", "what is the color of all") == "green"


@pytest.mark.parametrize(
    ("run", "picture", "question", "said"),
    [
        ("img_bow", "13.png", " ?", "has no word"),
        ("img_bow", "13.png", "какого цвета", "none of its words"),
        ("img_bow", "questions.jsonl", "what", "questions.jsonl"),
        ("img_bow", None, "what", "looks at a photograph"),
        ("looks", "no.png", "what", "no.png"),
    ],
)
def test_what_can_t_be_answered_is_said(trained: Path, run: str, picture: str | None, question: str, said: str) -> None:
    answerer = Answerer.load(trained / "runs" / run, "cpu")
    with pytest.raises(CaptioningError, match=said):
        answerer(picture and trained / picture, question)


def test_other_checkpoints_are_refused(trained: Path) -> None:
    with pytest.raises(CaptioningError, match=r"answers questions \(`captioning ask`\)"):
        Captioner.load(trained / "runs" / "bow", "cpu")
    bow, looks = (Answerer.load(trained / "runs" / name, "cpu") for name in ("bow", "looks"))
    with pytest.raises(CaptioningError, match="no attention"):
        bow.ask(None, "how many", attention=True)
    looks.vocabulary.words[-1] = "other"
    with pytest.raises(CaptioningError, match="of one training set"):
        Answerer.combine([bow, looks])


def test_a_stranger_s_memory_is_bounded_by_the_file(trained: Path, tmp_path: Path) -> None:
    content = torch.load(trained / "runs" / "knn" / "checkpoints" / "best.ckpt", weights_only=True)
    content["captioning"]["contents"]["memory"] = [2**30, 2**30, 2**30]
    torch.save(content, tmp_path / "odd.ckpt")
    with pytest.raises(CaptioningError, match="do not fit"):
        Answerer.load(tmp_path / "odd.ckpt", "cpu")


def test_wrong_settings_are_sentences(trained: Path, in_child: Child) -> None:
    line = ["train", *COMMON, f"data.root={trained / 'questions.jsonl'}", "name=wrong"]
    for settings, said in (
        (["encoder=none"], "choose one, such as answerer=bow"),
        (["encoder=none", "answerer=img_bow"], "this encoder has none"),
        ([*SMALL, "answerer=bow"], "take encoder=none"),
        (["data=scenes", "encoder=none", "answerer=bow"], "task=answering answers questions"),
    ):
        done = in_child([*line, *settings], cwd=trained)
        assert done.returncode == 1 and said in done.stderr, (said, done.stderr)


def question(text: str, answer: str, kind: str = "object") -> Question:
    return Question(0, text, (answer,), 0, kind)


def test_baselines_by_hand() -> None:
    training = [
        question("what is the dog holding", "ball"),
        question("what is the dog eating", "bone"),
        question("what is the dog eating", "bone"),
        question("how many", "two", "number"),
        question("what is it", "cat"),
        question("what is it", "cat"),
        question("what is it", "cat"),
    ]
    asked = [
        question("what is the dog holding", "ball"),  # known as a whole
        question("what is the dog chasing", "cat"),  # "what is the dog": bone twice
        question("how much", "two", "number"),
        question("whose", "cat"),  # nothing is known of it
    ]
    assert Majority(training)(asked) == ["cat", "cat", "two", "cat"]
    blind = Blind(training, tokenize_words_each)(asked)
    assert blind == ["ball", "bone", "two", "cat"]
    standing = compare_answers(
        {"model": blind, "majority": Majority(training)(asked)}, asked, [Accuracy(), AccuracyByKind()], resamples=20
    )
    assert standing.scores["model"] == {"accuracy": 0.75, "object": pytest.approx(2 / 3), "number": 1.0}
    assert 0 < standing.p_values["majority"]["accuracy"] <= 1


def test_guess_on_coco_qa_is_the_paper_s(shared: Path) -> None:
    """7.30 %: 2,845 of 38,948."""
    from captioning.data import read_coco_qa

    found = read_coco_qa(shared / "sequences" / "cocoqa", validation=0)
    given = Majority(found["train"])(found["test"])
    assert sum(answer == each.answer for answer, each in zip(given, found["test"], strict=True)) == 2845


def test_the_report_tells_scores_baselines_and_questions(trained: Path) -> None:
    """Each run has written its own; several are compared by the command, with a paired test."""
    run = trained / "runs" / "img_bow"
    page = (run / "report.html").read_text("utf-8")
    told = json.loads((run / "scores_test.json").read_text())
    low, high = (100 * bound for bound in told["intervals"]["accuracy"])
    assert f"<td>{100 * told['scores']['accuracy']:.1f} [{low:.1f}, {high:.1f}]</td>" in page
    assert "<th>majority</th><th>blind</th>" in page and "the blind baseline" in page
    rows = json.loads((run / "answers_test.json").read_text())
    right = sum(row["answer"] == row["answers"][0] for row in rows)
    assert f"answered rightly: {right}" in page and f"answered wrongly: {len(rows) - right}" in page
    assert page.count("data:image/jpeg") == len(rows)  # a photograph beside each question
    out = trained / "both.html"
    line = ["report", str(run), str(trained / "runs" / "bow"), f"data.root={trained}", "--out", str(out)]
    assert main([*line, "--resamples", "100"]) == 0
    both = out.read_text("utf-8")
    assert "<th>img_bow</th><th>bow</th>" in both
    assert re.search(r"<li>(img_bow|bow) [^<]* (img_bow|bow)[^<]*accuracy", both)


def test_a_photograph_that_is_not_looked_at_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    class Blind:
        encoder = None

        def ask(self, *_: object, **settings: object) -> Reply:
            return Reply([Answer("red", 1.0)])

    monkeypatch.setattr(Answerer, "load", lambda *_: Blind())
    assert main(["ask", "photo.jpg", "what is it", "--checkpoint", "run"]) == 0
    assert "photo.jpg: this model reads the question alone" in caplog.text + capsys.readouterr().err
    assert main(["ask", "https://a.b/c.jpg", "what is it", "--checkpoint", "run"]) == 1
