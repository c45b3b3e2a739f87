"""``captioning report``: one file that needs nothing else, tells what the run's files tell, and runs nothing."""

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from captioning.__main__ import main
from captioning.core.errors import CaptioningError
from captioning.core.files import write_json
from captioning.core.measure import Measure
from captioning.core.terminal import nearby
from captioning.jobs.config import compose
from captioning.jobs.run_report import _commands, write_at_the_end
from captioning.jobs.sweep_report import names_of
from captioning.report.page import RunRecord, report_html

VOID = {"meta", "img", "line", "circle", "polyline", "rect", "br", "hr", "link", "wbr"}


class Page(HTMLParser):
    """What a page asks for, its sections and its text; every element must be closed in its order."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.wanted: list[str] = []
        self.tags: list[str] = []
        self.text, self.html, self.tables = "", path.read_text("utf-8"), [[]]
        self.open: list[str] = []
        self.feed(self.html)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.wanted += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]
        assert not [name for name, _ in attrs if name.startswith("on")]
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.open and self.open[-1] in ("td", "th"):
            self.tables[-1][-1][-1] += data

    def row(self, name: str) -> list[str]:
        return next(row for table in self.tables for row in table if row and row[0] == name)


def stands_alone(page: Page) -> None:
    assert all(each.startswith(("data:image/jpeg;base64,", "#")) for each in page.wanted)
    assert "script" not in page.tags and "@import" not in page.html and "url(" not in page.html


@pytest.fixture(scope="module")
def sweep(tiny_settings: list[str], tmp_path_factory: pytest.TempPathFactory, in_child: Callable[..., object]) -> Path:
    """A sweep of two jobs with attention, and with reports."""
    folder = tmp_path_factory.mktemp("report")
    more = ["decoder=show_attend_tell", "decoder.attention_size=8", "report=true", "sweep=two", "out=runs"]
    places = ["data.features_root=features", "trainer.max_epochs=1", "hydra.sweep.subdir=seed_${seed}"]
    done = in_child(["train", "-m", *tiny_settings, *more, *places, "seed=1,2"], cwd=folder)
    assert done.returncode == 0, done.stderr  # type: ignore[attr-defined]
    assert "report: runs/two/report.html\n" in done.stdout  # type: ignore[attr-defined]
    return folder / "runs" / "two"


def test_the_report_of_a_run_tells_what_its_files_tell(sweep: Path) -> None:
    run = sweep / "seed_1"
    page = Page(run / "report.html")
    stands_alone(page)
    scores = json.loads((run / "scores_test.json").read_text())["scores"]
    for name in ("BLEU-1", "ROUGE-L", "CIDEr"):
        value, low, high = map(float, re.fullmatch(r"(\S+) \[(\S+), (\S+)\]", page.row(name)[1]).groups())  # type: ignore[union-attr]
        assert value == pytest.approx(100 * scores[name], abs=0.051) and low <= value <= high
    for row in json.loads((run / "captions_test.json").read_text()):
        assert row["caption"] in page.text
    assert all(
        row["caption"] in page.text for row in json.loads((run / "references_test.json").read_text())["annotations"]
    )
    assert page.text.count("What matched in the first of these") == 3 and "adds to CIDEr" in page.text
    summary = json.loads((run / "summary.json").read_text())
    assert page.row("trained parameters")[1] == f"{summary['parameters'] / 1e6:.2f} M"
    assert page.row("largest memory")[1] == f"{summary['memory_mb'] / 1000:.1f} GB" and summary["memory_mb"] > 100
    assert page.row("decoder.attention_size") == ["decoder.attention_size", "8"]
    assert "captioning train " in page.text and "seed=1" in page.text
    assert "Where seed_1 looked" in page.text
    assert page.tags.count("polyline") >= 4  # losses, scores, gradients
    words = [len(row["caption"].split()) for row in json.loads((run / "captions_test.json").read_text())]
    assert page.tags.count("img") == 3 + 3 + sum(words)  # three test photographs; and each again, by word


def test_the_report_of_a_sweep_ranks_its_jobs_and_tells_each_settings_effect(sweep: Path) -> None:
    page = Page(sweep / "report.html")
    stands_alone(page)
    head, *rows = next(table for table in page.tables if table and table[0][:1] == ["job"])
    place = head.index("val/CIDEr")
    assert {row[0] for row in rows} == {"seed_1", "seed_2"}
    assert float(rows[0][place]) >= float(rows[1][place])
    effect = next(table for table in page.tables if table and table[0][:1] == ["value"])
    assert [row[0] for row in effect[1:]] == [row[0].partition("_")[2] for row in rows]
    assert all(row[1] == "1" and row[2] == row[3] == row[4] for row in effect[1:])
    assert "seed: val/CIDEr of its values" in page.text
    assert page.row("seed") == ["seed", *(row[0].partition("_")[2] for row in rows)]  # a setting that differs
    assert not [row for table in page.tables for row in table if row[:1] == ["decoder.attention_size"]]


def test_the_command_compares_runs(
    sweep: Path, tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs, out = [str(sweep / "seed_1"), str(sweep / "seed_2")], tmp_path / "both.html"
    assert main(["report", *runs, "--out", str(out), "--resamples", "50"]) == 0
    printed = capsys.readouterr()
    assert printed.out == f"{out}\n"
    assert printed.err.startswith("captioning: photographs are left out: ") and "data.root=" in printed.err
    assert "Photographs are left out" in Page(out).text and "img" not in Page(out).tags
    assert main(["report", *runs, "--out", str(out), f"data.root={tiny_data}"]) == 0
    page = Page(out)
    stands_alone(page)
    assert capsys.readouterr().err == "" and page.tags.count("img") > 6
    assert page.row("CIDEr")[0] == "CIDEr" and len(page.row("CIDEr")) == 3
    assert re.search(r"seed_\d .*(seed_\d|the same) .*CIDEr", page.text)
    assert main(["report", str(sweep), "--out", str(tmp_path / "sweep.html")]) == 0
    again, before = (
        (folder / name).read_text("utf-8") for folder, name in ((tmp_path, "sweep.html"), (sweep, "report.html"))
    )
    assert again.replace(f"{sweep.parents[1]}/", "") == before


def test_wrong_folders(sweep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path)]) == 1
    assert "config.yaml: this is not the configuration of a run" in capsys.readouterr().err
    assert main(["report", str(sweep), str(sweep / "seed_1")]) == 2
    assert "whose report stands alone" in capsys.readouterr().err


EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>"


def test_nothing_of_a_run_becomes_markup(tmp_path: Path) -> None:
    record = RunRecord(
        name=EVIL,
        settings={EVIL: EVIL},
        captions={1: EVIL},
        references={1: [EVIL]},
        search=EVIL,
        commands=[EVIL],
        samples=EVIL,
    )
    (tmp_path / "page.html").write_text(report_html(EVIL, [record, RunRecord(name="b")], notes=[EVIL]), "utf-8")
    page = Page(tmp_path / "page.html")
    stands_alone(page)
    assert page.text.count("alert(1)") >= 8


def test_what_the_file_of_scores_alone_tells_is_in_the_table(tmp_path: Path) -> None:
    """METEOR and the fraction of new captions, of the same captions; and the curves are in the table's unit."""
    said: dict[str, Any] = {
        "captions": {1: "a dog"},
        "references": {1: ["a dog runs"]},
        "measures": {"CIDEr": Measure("CIDEr", True)},
    }
    rows = [{"step": step, "val/CIDEr": 0.5 + step / 10} for step in range(3)]
    told: dict[str, Any] = {"split": "test", "scores": {"METEOR": 0.25, "novel": 0.5, "BLEU-1": 0.1}}
    (tmp_path / "page.html").write_text(
        report_html("run", [RunRecord(name="run", told=told, rows=rows, **said)], resamples=0), "utf-8"
    )
    page = Page(tmp_path / "page.html")
    names = [row[0] for row in page.tables[1]]
    assert page.row("METEOR") == ["METEOR", "25.0"] and page.row("not in training, %")[1] == "50.0"
    assert names[names.index("METEOR") + 1] == "vocabulary" and names.count("BLEU-1") == 1
    assert "validation scores × 100" in page.text and "70" in page.text
    told = {"split": "val", "scores": {"METEOR": 0.25}}  # of other photographs than the captions
    assert "<th>METEOR</th>" not in report_html("run", [RunRecord(name="run", told=told, **said)], resamples=0)


def test_names_of_jobs_leave_out_what_all_have() -> None:
    overrides = {
        f"cell={cell},experiment=demo,model=[1,2],trainer.max_epochs=1": [
            *(f"cell={cell}", "test=true", "trainer.max_epochs=1", "experiment=demo", "model=[1,2]")
        ]
        for cell in ("lstm", "rnn")
    }
    first, second = overrides
    shared = ["trainer.max_epochs=1", "experiment=demo", "model=[1,2]"]
    assert names_of(overrides) == ({first: "cell=lstm", second: "cell=rnn"}, shared)
    assert names_of({**overrides, "failed": []})[0]["failed"] == "failed"  # it has no command line
    assert names_of({"seed_1": ["seed=1", "a=b"], "seed_2": ["seed=2", "a=b"]})[1] == []
    assert names_of({first: overrides[first]}) == ({first: first}, [])  # nothing would be left


def test_the_commands_name_a_folder_as_a_reader_would(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "runs" / "one").mkdir(parents=True)
    assert nearby(tmp_path / "runs" / "one") == tmp_path / "runs" / "one"
    monkeypatch.chdir(tmp_path)
    assert nearby(tmp_path / "runs" / "one") == nearby("runs/one") == Path("runs/one")
    assert [*_commands(Path("runs/one").absolute(), True)][1] == "captioning evaluate runs/one --split test"


def test_a_report_that_fails_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "config.yaml").write_text("a: 1\n")
    write_json(tmp_path / "captions_test.json", "nonsense")
    write_json(tmp_path / "references_test.json", {"annotations": [{"image_id": 1, "caption": "a"}]})
    write_at_the_end(tmp_path, None)
    assert "no report was written" in caplog.text and not (tmp_path / "report.html").exists()


def test_a_damaged_run_is_a_sentence(tmp_path: Path) -> None:
    from captioning.jobs.run_report import record_of

    whole = OmegaConf.to_yaml(compose(["data=own", "data.root=photos"])).splitlines(keepends=True)
    for damaged in ("a: [", "", "".join(whole[: len(whole) // 2])):  # garbled, empty, cut short
        (tmp_path / "config.yaml").write_text(damaged)
        with pytest.raises(CaptioningError, match=r"config\.yaml: this is not the configuration of a run"):
            record_of(tmp_path, "x", {})
