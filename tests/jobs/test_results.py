"""``captioning results``: rows of runs, sweeps and ensembles in a table."""

import csv
import json
import random
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from captioning.__main__ import main
from captioning.core.errors import CaptioningError
from captioning.jobs import results
from captioning.jobs.results import Code
from captioning.jobs.run_report import record_of
from captioning.report.page import report_html
from captioning.runs.card import about, model_card
from captioning.runs.question_rows import rows_of_answers
from captioning.runs.results import COLUMNS, row_of

ROOT = Path(__file__).resolve().parents[2]
SCORES = {"BLEU-1": 0.61234, "BLEU-4": 0.2, "ROUGE-L": 0.45, "CIDEr": 0.5, "different": 0.806, "bad_endings": 0.004}
SUMMARY = {"data": "flickr8k", "encoder": "efficientnet_lite0", "decoder": "lrcn", "cell": "lstm", "search": "beam_8"}
SUMMARY |= {"seed": 1, "epochs": 7, "best_epoch": 6, "seconds": 395, "parameters": 1000}


def write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value))


def run(folder: Path, overrides: list[str], scores: dict[str, float] = SCORES, **summary: Any) -> Path:
    """A scored run's folder."""
    content = {"split": "test", "images": 1, "search": "beam 8, length penalty 0.6", "photographs_per_second": 36.61}
    write(folder / "scores_test.json", {**content, "scores": scores})
    write(folder / "captions_test.json", [{"image_id": 1, "caption": "a dog runs"}])
    references = [{"image_id": 1, "id": 1, "caption": "a dog runs"}]
    write(folder / "references_test.json", {"images": [{"id": 1}], "annotations": references})
    write(folder / "summary.json", {**SUMMARY, **summary})
    write(folder / ".hydra" / "overrides.yaml", "".join(f"- {each}\n" for each in overrides))
    return folder


def rows(table: Path) -> list[dict[str, str]]:
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(autouse=True)
def without_java(monkeypatch: pytest.MonkeyPatch) -> None:
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "java" else which(name))


def test_a_sweep_s_runs_are_rows_and_a_repeated_row_is_replaced(tmp_path: Path) -> None:
    sweep, table = tmp_path / "runs" / "sweep", tmp_path / "results" / "table.csv"
    run(
        sweep / "b",
        ["experiment=flickr8k_lrcn", "data.root=/x", "data.sources.a.root=/y", "seed=2", "init_from=/z/runs/first"],
        seed=2,
    )
    run(sweep / "a", ["experiment=flickr8k_lrcn", "sweep=x", "data.workers=1", "data.images=/x"])
    run(sweep / "a" / "earlier" / "1", ["experiment=gone"])
    assert main(["results", str(table), str(sweep), "--no-meteor"]) == 0
    first, second = rows(table)
    assert tuple(first) == COLUMNS
    told = {"experiment": "flickr8k_lrcn", "decoder": "lrcn", "cell": "lstm", "encoder": "efficientnet_lite0"}
    told |= {"search": "beam 8, length penalty 0.6", "epochs": "7", "best_epoch": "6", "seconds": "395"}
    told |= {"parameters": "1000", "BLEU-1": "61.23", "BLEU-4": "20.00", "CIDEr": "50.00", "ROUGE-L": "45.00"}
    told |= {"photographs_per_second": "36.6", "different": "80.60", "bad_endings": "0.40"}
    told |= {"novel": "", "METEOR": "", "members": ""}
    assert first.items() >= (told | {"overrides": "", "seed": "1"}).items()
    assert second.items() >= (told | {"overrides": "init_from=first", "seed": "2"}).items()
    run(sweep / "a", ["experiment=flickr8k_lrcn"], {"CIDEr": 0.6, "METEOR": 0.2})
    run(tmp_path / "runs" / "plain", [])
    folders = [str(sweep / "a"), str(tmp_path / "runs" / "plain")]
    assert main(["results", str(table), *folders, "--no-meteor"]) == 0
    assert [(row["experiment"], row["CIDEr"], row["METEOR"]) for row in rows(table)] == [
        *(("flickr8k_lrcn", "60.00", "20.00"), ("flickr8k_lrcn", "50.00", ""), ("plain", "50.00", ""))
    ]


def test_scores_of_another_tokenizer_are_named_and_have_no_meteor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "meteor_of", lambda *_: "30.00")
    german, english = (run(tmp_path / name, ["experiment=x"]) for name in ("german", "english"))
    content = json.loads((german / "scores_test.json").read_text())
    write(german / "scores_test.json", {**content, "tokenizer": "words"})
    assert main(["results", str(tmp_path / "table.csv"), str(german), str(english)]) == 0
    found = [(row["tokenizer"], row["METEOR"]) for row in rows(tmp_path / "table.csv")]
    assert found == [("words", ""), ("", "30.00")]  # two rows: neither repeats the other


def test_an_ensemble_is_a_row(tmp_path: Path) -> None:
    names = ("lrcn1", "mrnn2", "lrcn3")
    runs = [run(tmp_path / name, [], seed=seed, decoder=name[:-1]) for seed, name in enumerate(names)]
    members = [
        {"checkpoint": str(each / "checkpoints" / "best.ckpt"), "sha256": str(seed) * 64, "seed": seed}
        | {"decoder": each.name[:-1], "cell": "lstm", "encoder": "resnet18"}
        for seed, each in enumerate(runs)
    ]
    found = {}
    for average in ("probabilities", "weights"):
        folder = tmp_path / f"ensemble={average}"
        content = {"split": "test", "images": 1, "search": "beam 5", "scores": SCORES}
        write(folder / "scores_test.json", {**content, "average": average, "members": members})
        assert main(["results", str(tmp_path / "table.csv"), str(folder), "--no-meteor"]) == 0
        found[average] = rows(tmp_path / "table.csv")[-1]
    told = {"members": f"lrcn1 ({'0' * 12}) + mrnn2 ({'1' * 12}) + lrcn3 ({'2' * 12})", "seed": "0 1 2"}
    told |= {"decoder": "lrcn + mrnn", "cell": "lstm", "encoder": "resnet18", "search": "beam 5", "CIDEr": "50.00"}
    told |= {"seconds": "1185", "photographs_per_second": "", "epochs": ""}
    ensemble = {"experiment": "ensemble", "overrides": "average=probabilities", "parameters": "3000"}
    assert found["probabilities"].items() >= (told | ensemble).items()
    soup = {"experiment": "mean weights", "overrides": "average=weights", "parameters": "1000"}
    assert found["weights"].items() >= (told | soup).items()
    assert len(rows(tmp_path / "table.csv")) == 2


def test_the_committed_table_keeps_its_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row of the same experiment, seed and search is replaced; the others stay, with blanks in new columns."""
    table = tmp_path / "table.csv"
    lines = ["experiment,overrides,seed,search,CIDEr,commit,date"]
    lines += ['flickr8k_lrcn,,1,"beam 8, length penalty 0.6",46.38,5ffcd85,2026-11-22']
    lines += ["flickr8k_lrcn,search=beam,1,beam 5,51.69,0f4d1d8,2026-11-22"]
    table.write_text("\n".join(lines) + "\n")
    monkeypatch.setattr(results.Code, "of", lambda _: Code("abcdef0", "2026-01-01"))
    run(tmp_path / "run", ["experiment=flickr8k_lrcn"])
    assert main(["results", str(table), str(tmp_path / "run")]) == 0
    new, old = rows(table)
    assert (new["CIDEr"], new["commit"], new["date"]) == ("50.00", "abcdef0", "2026-01-01")
    assert (old["CIDEr"], old["commit"], old["novel"]) == ("51.69", "0f4d1d8", "")


def test_the_commit_is_that_of_the_code(tmp_path: Path) -> None:
    assert Code.of(tmp_path) == Code()
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("needs a clone")
    head = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, text=True).stdout
    code = Code.of(ROOT / "captioning")
    assert head.startswith(code.commit) and len(code.commit) >= 7 and len(code.date) == 10


def test_what_is_no_result_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    write(tmp_path / "odd" / "scores_test.json", [])
    write(tmp_path / "half" / "scores_test.json", {"scores": SCORES})
    for name, said in (("empty", "no scores_test.json here or below"), ("odd", "are no scores"), ("half", "summary")):
        assert main(["results", str(tmp_path / "table.csv"), str(tmp_path / name)]) == 1
        assert said in capsys.readouterr().err
    assert not (tmp_path / "table.csv").exists()


def test_a_table_of_something_else_is_left_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path / "run", ["seed=2"])
    captions = "image,caption\n1.jpg,a dog\n2.jpg,a cat\n"
    for content in (captions, "a letter,\nof somebody\n", "experiment,overrides\na,b,c\n"):
        (tmp_path / "captions.csv").write_text(content)
        assert main(["results", str(tmp_path / "captions.csv"), str(tmp_path / "run"), "--no-meteor"]) == 1
        assert "captions.csv: this is no table of such results" in capsys.readouterr().err
        assert (tmp_path / "captions.csv").read_text() == content
    (tmp_path / "captions.csv").write_text("experiment,overrides,note\nold,,mine\n")
    assert main(["results", str(tmp_path / "captions.csv"), str(tmp_path / "run"), "--no-meteor"]) == 0
    assert [row["note"] for row in rows(tmp_path / "captions.csv")] == ["mine", ""]


ODD: list[Any] = [None, True, -1, 1e400, "", "x", [], {}, [[1]], {"a": {"b": None}}, [{"checkpoint": 1}], {"a": [1]}]


@pytest.mark.parametrize("name", ["scores_test.json", "summary.json", "answers_test.json", ".hydra/overrides.yaml"])
def test_a_damaged_file_of_a_run_is_a_sentence(name: str, tmp_path: Path) -> None:
    """Whatever stands in the place of a part of it: in a table of results, on the report, and on a model card."""
    folder = run(tmp_path / "run", ["seed=2"])
    intervals, members = {"accuracy": [0.1, 0.2]}, [{"checkpoint": f"{folder}/best.ckpt", "sha256": "0", "seed": 1}]
    scores: dict[str, Any] = {"scores": {"accuracy": 0.5}, "intervals": intervals, "split": "test"}
    scores |= {"kinds": {"object": 1}, "questions": 1}
    scores |= {"baselines": {"blind": {"accuracy": 0.2}}, "p_values": {"blind": {"accuracy": 0.1}}, "search": "beam"}
    rows_of = [{"question_id": 1, "question": "what", "answer": "a", "answers": ["a"], "kind": "object"}]
    files: dict[str, Any] = {"scores_test.json": scores, "answers_test.json": rows_of, "summary.json": SUMMARY}
    files[".hydra/overrides.yaml"] = ["seed=2"]
    write(folder / "config.yaml", "data: {name: own, root: x}\nanswerer: {looks: 2}\n")
    whole = files[name]
    broken = [*ODD, *({**whole, key: odd} for key in whole for odd in ODD)] if isinstance(whole, dict) else list(ODD)
    broken += [{**scores, "members": each} for each in (members, *ODD)] if name == "scores_test.json" else []
    broken += [[{**rows_of[0], key: odd}] for key in rows_of[0] for odd in ODD] if name == "answers_test.json" else []
    for other, content in files.items():
        write(folder / other, content)
    outcomes = Counter[bool]()
    for content in random.Random(0).sample(broken, min(len(broken), 30)):
        write(folder / name, content)
        for use in (
            lambda: row_of(folder, "test"),
            lambda: rows_of_answers(folder, "test"),
            lambda: report_html("x", [record_of(folder, "x", {})], resamples=0),
            lambda: model_card({}, about(folder / "checkpoints" / "best.ckpt"), 1, "float32"),
        ):
            try:
                outcomes[bool(use())] += 1
            except CaptioningError as error:
                assert str(error).startswith(str(folder))
                outcomes[False] += 1
    assert outcomes[True] > 3 and outcomes[False] > 3
