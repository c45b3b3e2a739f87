"""Cross-validation from the command line: a sweep over folds, its means, and a row of a table of results."""

import csv
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from captioning import Answerer
from captioning.__main__ import main
from captioning.runs.folds import folds_of, groups_of

Child = Callable[..., "subprocess.CompletedProcess[str]"]
LINE = [
    *("experiment=movie_reviews", "data.root=.", "data.folds=3", "data.batch_size=8", "data.workers=0", "logger=csv"),
    *("answerer.embedding_size=8", "answerer.hidden_size=4", "trainer.max_epochs=1", "report=false", "ema_decay=null"),
    *("trainer.enable_progress_bar=false", "trainer.accelerator=cpu", "patience=null", "optimizer.lr=0.05"),
]


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory, in_child: Child) -> tuple[Path, str]:
    """The folder of a sweep over three folds and two cells, and what the sweep has printed."""
    folder = tmp_path_factory.mktemp("folds")
    for name, word in (("pos", "good"), ("neg", "bad")):
        (folder / f"rt-polarity.{name}").write_text("".join(f"a {word} film {number}\n" for number in range(12)))
    done = in_child(["train", "-m", *LINE, "data.fold=0,1,2", "cell=rnn,gru"], cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("14 sentences, ") == 6
    return folder, done.stdout


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_table_ends_with_the_means_over_the_folds(swept: tuple[Path, str]) -> None:
    folder, printed = swept
    rows = table(folder / "runs" / "movie_reviews" / "table.csv")
    assert [row["status"] for row in rows] == ["finished"] * 6 + ["mean of 3 folds"] * 2
    means = {row["job"]: row for row in rows[6:]}
    assert means.keys() == {"cell=rnn", "cell=gru"}
    for cell in ("rnn", "gru"):
        folds = [float(row["test/accuracy"]) for row in rows[:6] if row["cell"] == cell]
        assert float(means[f"cell={cell}"]["test/accuracy"]) == pytest.approx(sum(folds) / 3)
    lines = printed.splitlines()
    assert sum("mean of 3 folds" in line for line in lines) == 2
    best = next(line for line in lines if line.startswith("best job"))
    assert "data.fold=" in best  # a job, and no mean


def test_a_row_of_results_is_of_all_folds(swept: tuple[Path, str], capsys: pytest.CaptureFixture[str]) -> None:
    folder, _ = swept
    sweep, found = folder / "runs" / "movie_reviews", folder / "reviews.csv"
    assert main(["results", str(found), str(sweep)]) == 0
    rows = table(found)
    own = {row["cell"]: row for row in rows if row["model"] == "lstm"}
    assert own.keys() == {"rnn", "gru"} and {row["model"] for row in rows} == {"lstm", "majority", "blind"}
    jobs = [row for row in table(sweep / "table.csv") if row["cell"] == "gru" and row["status"] == "finished"]
    scores = [100 * float(row["test/accuracy"]) for row in jobs]
    for name, value in (("accuracy", sum(scores) / 3), ("low", min(scores)), ("high", max(scores))):
        assert float(own["gru"][name]) == pytest.approx(value, abs=0.006)
    assert own["gru"].items() >= {"folds": "3", "questions": "24", "experiment": "movie_reviews", "seed": "1"}.items()
    assert "cell=gru" in own["gru"]["overrides"] and "fold=" not in own["gru"]["overrides"]
    assert next(row for row in rows if row["model"] == "majority")["accuracy"] == "50.00"
    two = [job for job in sorted(sweep.iterdir()) if "gru" in job.name and "fold=1" not in job.name]
    assert main(["results", str(found), *map(str, two)]) == 0  # takes the place of the row of three
    again = [row for row in table(found) if row["cell"] == "gru"]
    assert [row["folds"] for row in again] == ["2 of 3"]
    assert main(["results", str(found), str(two[0]), str(two[0])]) == 1
    assert "has its settings and its fold, too" in capsys.readouterr().err


def test_runs_are_together_that_differ_in_the_fold_alone(swept: tuple[Path, str]) -> None:
    jobs = sorted((swept[0] / "runs" / "movie_reviews").glob("*/config.yaml"))
    groups = groups_of(job.parent for job in jobs)
    assert [[folds_of(run) for run in group] for group in groups] == [[(0, 3), (1, 3), (2, 3)]] * 2
    assert all(len({("gru" in run.name) for run in group}) == 1 for group in groups)


def test_a_sentence_is_classified(swept: tuple[Path, str], capsys: pytest.CaptureFixture[str]) -> None:
    run = next((swept[0] / "runs" / "movie_reviews").glob("*gru*fold=0*"))
    assert main(["ask", "a good film", "--checkpoint", str(run)]) == 0
    said = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert {answer for _, answer in said} == {"positive", "negative"}
    assert sum(float(p) for p, _ in said) == pytest.approx(1, abs=2e-4)
    assert Answerer.load(run, "cpu")(None, "a good film") == said[0][1]


def test_attention_says_which_words_count(
    swept: tuple[Path, str], in_child: Child, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = swept[0]
    line = [*LINE, "name=looks", "answerer.summary=attention", "data.fold=0", "test=false"]
    done = in_child(["train", *line], cwd=folder)
    assert done.returncode == 0, done.stderr
    reply = Answerer.load(folder / "runs" / "looks", "cpu").ask(None, "A good, good film!", attention=True)
    assert list(reply.words) == ["a", "good", "good", "film"]
    assert reply.attention is not None and reply.attention.shape == (1, 1, 4)
    assert reply.attention.sum() == pytest.approx(1)
    picture = folder / "words.png"
    run = ["--checkpoint", str(folder / "runs" / "looks")]
    assert main(["ask", "a good film", *run, "--attention", str(picture)]) == 0
    with Image.open(picture) as found:
        assert found.size[0] > 50
    capsys.readouterr()
    last = next((folder / "runs" / "movie_reviews").glob("*gru*fold=0*"))
    assert main(["ask", "a good film", "--checkpoint", str(last), "--attention", str(picture)]) == 1
    assert "Use answerer=lstm answerer.summary=attention." in capsys.readouterr().err
