"""``captioning score`` as a command, and the check of results files."""

import csv
import io
import json
import math
import os
import re
import subprocess
import sys
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from captioning.core.errors import CaptioningError
from captioning.jobs.score import main
from captioning.metrics.results import check_results, read_references, read_results, read_sets

REFERENCES = {
    1: ["A dog runs in the park.", "the dog is running"],
    2: ["A cat sleeps on a bed", "a sleeping cat"],
    "photo.jpg": ["A man in a hat", "a man with a hat"],
}
GOOD = {1: "a dog runs in the park", 2: "a cat sleeps on a bed", "photo.jpg": "a man in a hat"}
BAD = {1: "a cat", 2: "a cat (red)", "photo.jpg": "a cat"}


def write(path: Path, content: Any) -> str:
    path.write_text(json.dumps(content), encoding="utf-8")
    return str(path)


def results(path: Path, captions: dict[Any, str]) -> str:
    return write(path, [{"image_id": image, "caption": caption} for image, caption in captions.items()])


@pytest.fixture
def references(tmp_path: Path) -> str:
    annotations = [
        {"image_id": image, "caption": c, "id": 0} for image, captions in REFERENCES.items() for c in captions
    ]
    images = [{"id": image, "file_name": f"{image}.jpg"} for image in REFERENCES]
    return write(tmp_path / "references.json", {"images": images, "annotations": annotations})


def test_two_files_in_one_table(tmp_path: Path, references: str) -> None:
    bad, good = results(tmp_path / "bad.json", BAD), results(tmp_path / "good.json", GOOD)
    command = [
        sys.executable,
        "-m",
        "captioning",
        "score",
        bad,
        good,
        "--references",
        references,
        "--train",
        references,
    ]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = ended.stdout.splitlines()
    assert lines[0].startswith("3 of 3 images")
    rows = {line.split("  ")[0]: line for line in lines}
    assert "100.0 [100.0, 100.0]" in rows["BLEU-4"]
    assert rows["not in training, %"].split() == ["not", "in", "training,", "%", "100.0", "0.0"]
    assert "good.json is better than bad.json by" in ended.stdout
    assert "bad.json never says: dog (2), hat (2), in (2), man (2)" in ended.stdout
    assert ended.stderr == ""


def test_json_latex_and_per_image(tmp_path: Path, references: str, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = results(tmp_path / "good.json", GOOD), results(tmp_path / "bad.json", BAD)
    images = tmp_path / "out" / "images.csv"
    assert main([good, bad, "--references", references, "--json", "-", "--seed", "3", "--per-image", str(images)]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["images"] == shown["of"] == 3
    first, second = shown["results"]
    assert first["name"] == "good.json"
    assert first["scores"]["BLEU-4"] == pytest.approx(1)
    assert set(second["p_values"]) == set(first["intervals"]) == set(first["scores"])
    assert [measure["name"] for measure in shown["measures"]] == list(first["scores"])
    assert shown["measures"][-1] == {"name": "CIDEr", "higher_is_better": True, "scale": 100}

    with images.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["results"], row["image_id"], row["caption"]) for row in rows[3:]] == [
        ("bad.json", str(image), caption) for image, caption in BAD.items()
    ]
    mean = sum(float(row["CIDEr"]) for row in rows[:3]) / 3
    assert mean == pytest.approx(first["scores"]["CIDEr"])

    main([good, "--references", references, "--latex", "--resamples", "0"])
    assert r"BLEU-1 & 100.0 \\" in capsys.readouterr().out


def test_json_into_a_file_beside_the_table(tmp_path: Path, references: str, capsys: pytest.CaptureFixture[str]) -> None:
    good, file = results(tmp_path / "good.json", GOOD), tmp_path / "out" / "scores.json"
    options = [good, "--references", references, "--resamples", "0"]
    main([*options, "--json", str(file)])
    assert "BLEU-1" in capsys.readouterr().out
    main([*options, "--json", "-"])
    assert json.loads(capsys.readouterr().out) == json.loads(file.read_text(encoding="utf-8"))
    file.unlink()
    main([*options, "--json", str(file), "--latex"])
    assert capsys.readouterr().out.startswith(r"\begin{tabular}")
    assert file.is_file()
    with pytest.raises(CaptioningError, match="--json - and --latex both print"):
        main([*options, "--json", "-", "--latex"])


OWN = """
from captioning.core.measure import Measure
from captioning.metrics import Metric


class Words(Metric):
    name = "words"
    scale = 1

    def statistics(self, pairs):
        return [[len(tokens)] for tokens in pairs.candidate_tokens]


class Errors(Metric):
    name = "errors"
    higher_is_better = False

    def statistics(self, pairs):
        both = zip(pairs.candidate_tokens, pairs.reference_tokens)
        return [[candidate not in references] for candidate, references in both]


class Short(Metric):
    def statistics(self, pairs):
        return [[1.0]]
"""


def test_metrics_of_ones_own(
    tmp_path: Path, references: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "metrics_of_mine.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    good, bad = results(tmp_path / "good.json", GOOD), results(tmp_path / "bad.json", BAD)
    own = ["--metric", "metrics_of_mine.Words", "--metric", "metrics_of_mine.Errors"]
    command = [good, bad, "--references", references, *own]
    main([*command, "--per-image", "images.csv", "--json", "all.json"])
    shown = capsys.readouterr().out
    lines = shown.splitlines()
    assert lines[0] == "3 of 3 images; scores × 100, words × 1, with 95 % intervals"
    rows = {line.split("  ")[0]: line.split() for line in lines}
    assert rows["words"][1] == "5.6667"  # 6, 6 and 5 words
    assert rows["errors ↓"][2:] == ["0.0", "[0.0,", "0.0]", "100.0", "[100.0,", "100.0]"]
    assert "good.json is better than bad.json by 100.0 errors, p = 0.002." in lines
    with Path("images.csv").open(encoding="utf-8", newline="") as file:
        images = list(csv.DictReader(file))
    assert [(row["words"], row["errors"]) for row in images[:3]] == [("6.0", "0.0"), ("6.0", "0.0"), ("5.0", "0.0")]
    content = json.loads(Path("all.json").read_text(encoding="utf-8"))
    assert {"words", "errors"} < content["results"][1]["intervals"].keys()
    assert {"name": "errors", "higher_is_better": False, "scale": 100.0} in content["measures"]

    with pytest.raises(CaptioningError, match=r"metrics_of_mine\.Short: its statistics are of shape \(1, 1\)"):
        main([good, "--references", references, "--metric", "metrics_of_mine.Short"])
    with pytest.raises(CaptioningError, match=r"metrics_of_mine\.Wurds can't be imported"):
        main([good, "--references", references, "--metric", "metrics_of_mine.Wurds"])
    with pytest.raises(CaptioningError, match=r"captioning\.core\.measure\.Measure is not a Metric"):
        main([good, "--references", references, "--metric", "captioning.core.measure.Measure"])


def test_clean_tokens_and_frequencies_on_request(
    tmp_path: Path, references: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = results(tmp_path / "bad.json", BAD)
    annotations = [{"image_id": n, "caption": c} for n, c in enumerate(["a cat", "a red cat", "a dog", "a bird"])]
    other = write(tmp_path / "other.json", {"annotations": annotations})

    def scores(*options: str) -> dict[str, float]:
        main([bad, "--references", references, "--json", "-", "--resamples", "0", *options])
        values: dict[str, float] = json.loads(capsys.readouterr().out)["results"][0]["scores"]
        return values

    plain, clean, fixed = scores(), scores("--tokenizer", "clean"), scores("--frequencies", other)
    assert plain["BLEU-1"] < clean["BLEU-1"]  # -lrb- and -rrb- count as words
    assert fixed["BLEU-1"] == plain["BLEU-1"]
    assert fixed["CIDEr"] != plain["CIDEr"]


def test_captions_that_coco_caption_misreads_are_counted(
    tmp_path: Path, references: str, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    broken = results(tmp_path / "broken.json", {**GOOD, 1: "a dog runs\rin the park"})
    assert main([broken, "--references", references, "--json", "-", "--resamples", "0"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["misread_by_coco_caption"] == {broken: 3}
    assert shown["results"][0]["scores"]["BLEU-4"] == pytest.approx(1)
    assert shown["signature"].startswith("tokenizer:treebank|images:3|references:2|frequencies:references|captioning:")
    assert "coco-caption would lose or shift 3 of 3 captions" in caplog.text
    main([broken, "--references", references, "--resamples", "0", "--frequencies", references])
    assert (
        "tokenizer:treebank|images:3|references:2|frequencies:other captions|"
        in capsys.readouterr().out.splitlines()[-1]
    )


def test_a_score_is_explained(tmp_path: Path, references: str, capsys: pytest.CaptureFixture[str]) -> None:
    bad, images = results(tmp_path / "bad.json", {**BAD, 1: "a dog running in the park (fast)"}), tmp_path / "i.csv"
    options = [bad, "--references", references, "--resamples", "0"]
    assert main([*options, "--explain", "1", "--per-image", str(images)]) == 0
    lines = capsys.readouterr().out.splitlines()
    lines = lines[lines.index(f"{bad}, image 1") :]
    assert lines[1:4] == [
        "caption: a dog running in the park -lrb- fast -rrb-",
        "reference 1: a dog runs in the park",
        "reference 2: the dog is running",
    ]
    rows = {line.split("  ")[0]: line.split() for line in lines[6:]}
    assert rows["dog"][1:4] == ["1/1", "1,", "2"] and rows["fast"][1:] == ["0/1", "-", "0.0000"]
    assert rows["in the park"][3:5] == ["1/1", "1"]
    with images.open(encoding="utf-8") as file:
        alone = next(csv.DictReader(file))
    ngrams = [line for line in lines[6:] if re.search(r" \d/\d  +[-\d]", line)]
    assert sum(float(line.split()[-1]) for line in ngrams) == pytest.approx(float(alone["CIDEr"]), abs=1e-3)
    for name in ("BLEU-1", "BLEU-4", "ROUGE-L", *(["METEOR"] if "METEOR" in rows else [])):
        assert float(rows[name][1]) == pytest.approx(float(alone[name]), abs=1e-4)
    assert float(rows["CIDEr"][-1]) == pytest.approx(float(alone["CIDEr"]), abs=1e-4)
    assert '5/9 ("a dog in the park", reference 1)' in next(line for line in lines if line.startswith("ROUGE-L"))
    with pytest.raises(CaptioningError, match="--explain 9: no scored image has this id"):
        main([*options, "--explain", "9"])


def test_a_subset_must_be_asked_for(tmp_path: Path, references: str, capsys: pytest.CaptureFixture[str]) -> None:
    some = results(tmp_path / "some.json", {1: GOOD[1], "photo.jpg": GOOD["photo.jpg"]})
    others = results(tmp_path / "others.json", {2: GOOD[2]})
    with pytest.raises(CaptioningError, match=r"1 of 3 images have no caption: 2\. .*--subset"):
        main([some, "--references", references])
    assert main([some, "--references", references, "--subset", "--resamples", "0"]) == 0
    assert capsys.readouterr().out.startswith("2 of 3 images")
    with pytest.raises(CaptioningError, match="no image has a caption in every one"):
        main([some, others, "--references", references, "--subset"])


def test_another_tokenizer_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = {1: "ein hund laeuft", 2: "ein mädchen schaut sich etwas an"}
    given = [
        {"image_id": 1, "caption": "Ein Hund (laeuft)."},
        {"image_id": 2, "caption": "EIN MA\u0308DCHEN schaut"},
    ]
    references = write(tmp_path / "references.json", {"annotations": given})
    files = [results(tmp_path / "one.json", said), results(tmp_path / "two.json", said), "--references", references]
    assert main([*files, "--tokenizer", "words", "--resamples", "0", "--json", str(tmp_path / "out.json")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert next(line for line in lines if line.startswith("tokenizer")).split() == ["tokenizer", "words", "words"]
    assert not any(line.startswith("bad endings") for line in lines)  # the list is of English
    assert "one.json and two.json" not in lines[-1] and "never says" not in "".join(lines)  # ä is ä
    assert json.loads((tmp_path / "out.json").read_text())["tokenizer"] == "words"
    assert main([*files, "--tokenizer", "words", "--latex"]) == 0
    assert r"tokenizer & words & words \\" in capsys.readouterr().out
    assert main([*files, "--tokenizer", "treebank", "--json", "-", "--resamples", "0"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert "tokenizer" not in shown
    assert [word for word, _ in shown["results"][0]["diversity"]["never_said"]] == ["ma\u0308dchen"]
    for wrong, told in (
        (("--tokenizer", "wort"), "^--tokenizer wort: there is no such tokenizer"),
        (("--tokenizer", "words", "--meteor"), "METEOR and SPICE know English alone"),
    ):
        with pytest.raises(CaptioningError, match=told):
            main([*files, *wrong])


def test_chinese_by_characters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = [{"image_id": 1, "caption": "一个男人骑自行车。"}, {"image_id": 2, "caption": "两只狗在雪地里奔跑"}]
    references = write(tmp_path / "references.json", {"annotations": given})
    files = [results(tmp_path / "said.json", {1: "一个男人骑马", 2: "两只狗在雪地里奔跑"}), "--references", references]
    assert main([*files, "--tokenizer", "words", "--resamples", "0", "--json", str(tmp_path / "out.json")]) == 0
    shown = capsys.readouterr().out
    assert "tokenizer:words|images:2|references:1|frequencies:references|captioning:" in shown
    scores = json.loads((tmp_path / "out.json").read_text())["results"][0]["scores"]
    # 5 of the first caption's 6 characters, and all 9 of the second, against 8 and 9
    assert scores["BLEU-1"] == pytest.approx(14 / 15 * math.exp(1 - 17 / 15)) and "METEOR" not in scores


def test_sets_of_captions(tmp_path: Path, references: str, capsys: pytest.CaptureFixture[str]) -> None:
    given = read_references(references)
    sets = [{"image_id": str(image), "captions": [texts[0], "a", "a dog"]} for image, texts in given.items()]
    ours = [write(tmp_path / "sets.json", sets), "--references", references, "--no-meteor", "--sets"]
    assert main([*ours, "--json", str(tmp_path / "out.json")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("sets.json: 3 images, 3 captions each")
    assert [line.split()[0] for line in lines[1:5]] == ["Div-1", "Div-2", "mBLEU-4", "self-CIDEr"]
    found = json.loads((tmp_path / "out.json").read_text())["results"][0]
    assert found["signature"] == lines[-1] and lines[-1].startswith("tokenizer:treebank|images:3|")
    assert found["first"]["ROUGE-L"] == found["best"]["ROUGE-L"] == pytest.approx(1)
    assert all(found["best"][name] >= value for name, value in found["first"].items())
    turned = [{**each, "captions": each["captions"][::-1]} for each in sets]
    assert main([write(tmp_path / "turned.json", turned), *ours[1:], "--json", "-"]) == 0
    again = json.loads(capsys.readouterr().out)["results"][0]
    assert again["best"] == pytest.approx(found["best"]) and again["first"]["CIDEr"] < found["first"]["CIDEr"]
    with pytest.raises(CaptioningError, match="--sets does not go with --explain"):
        main([*ours, "--explain", "1"])
    with pytest.raises(CaptioningError, match="fewer than 2 captions"):
        main([results(tmp_path / "one.json", dict.fromkeys(given, "a dog")), *ours[1:]])


def test_java_that_is_not_there_spoils_nothing_else(tmp_path: Path, references: str) -> None:
    good = results(tmp_path / "good.json", GOOD)
    command = [sys.executable, "-m", "captioning", "score", good, "--references", references, "--spice", "--no-meteor"]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, env={"PATH": str(tmp_path)})
    assert "CIDEr" in ended.stdout
    assert "SPICE needs " in ended.stderr


def test_help_is_quick_and_errors_are_sentences(tmp_path: Path, references: str) -> None:
    code = "import sys; from captioning.jobs import score; score.parser(); print({'torch', 'numpy'} & {*sys.modules})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
    command = [sys.executable, "-m", "captioning", "score", str(tmp_path / "none.json"), "--references", references]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 1
    assert "none.json: there is no such results file" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_results_of_many_wrong_images_name_ten_and_count_all(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    with pytest.raises(CaptioningError, match=r"results\.json: 12 images .*: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, …"):
        read_results(write(path, [{"image_id": n % 12, "caption": f"a {n}"} for n in range(24)]))
    with pytest.raises(CaptioningError, match=r"12 of 13 images are not in the references: 1, .*, 10, …"):
        check_results(path, range(13), [0])
    with pytest.raises(CaptioningError, match=r"12 of 13 images have no caption: 1, .*, 10, …"):
        check_results(path, [0], range(13))
    check_results(path, [0], range(13), subset=True)
    with pytest.raises(CaptioningError, match="not in the references: '1'"):  # a string is not the number
        check_results(path, ["1"], [1])


@pytest.mark.parametrize(
    "entry",
    [
        *({"image_id": 1, "caption": 5}, {"image_id": 1, "captions": []}, {"image_id": True, "caption": "a"}),
        *({"caption": "a"}, ["a"], {"image_id": 1}),
    ],
)
def test_results_that_are_no_captions(tmp_path: Path, entry: Any) -> None:
    with pytest.raises(CaptioningError, match="1 entries have no image_id"):
        read_results(write(tmp_path / "results.json", [{"image_id": 5, "caption": "fine"}, entry]))
    with pytest.raises(CaptioningError, match="is a list of"):
        read_results(write(tmp_path / "results.json", entry if isinstance(entry, dict) else "a"))


@pytest.mark.parametrize("empty", ["null", "NaN", '["a", null]'])
def test_captions_that_are_empty_cells(tmp_path: Path, empty: str) -> None:
    path = tmp_path / "results.json"
    path.write_text('[{"image_id": 5, "caption": "fine"}, {"image_id": 1, "caption": ' + empty + "}]")
    with pytest.raises(CaptioningError, match="1 entries have no caption but null or NaN"):
        read_results(path)


def test_results_in_other_forms(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    expected = {1: "a dog", "x": "a \u2028 cat", 3: ""}
    entries: list[dict[str, Any]] = [
        {"image_id": 1, "caption": ["a dog"], "score": 0.5},
        {"image_id": "x", "captions": ["a \u2028 cat"], "id": 7},
        {"image_id": 3, "caption": ""},
        {"image_id": 1, "caption": "a dog"},
    ]
    assert read_results(write(tmp_path / "results.json", entries)) == expected
    assert "1 images are there several times" in caplog.text
    assert "1 of 3 captions are empty, and score 0: 3." in caplog.text
    lines = tmp_path / "results.jsonl"
    lines.write_text("\r\n".join(json.dumps(entry, ensure_ascii=False) for entry in entries) + "\n\n", encoding="utf-8")
    assert read_results(lines) == expected
    with zipfile.ZipFile(tmp_path / "server.zip", "w") as archive:
        archive.writestr("captions_val2014_x_results.json", json.dumps(entries))
        archive.writestr("__MACOSX/._captions.json", "x")
    assert read_results(tmp_path / "server.zip") == expected
    several = [{"image_id": 1, "captions": ["a dog", "a cat"]}, {"image_id": 2, "caption": "a"}]
    assert read_sets(write(tmp_path / "sets.json", several)) == {1: ["a dog", "a cat"], 2: ["a"]}


def test_forms_that_are_none(tmp_path: Path) -> None:
    archive = tmp_path / "server.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a.txt", "x")
    for content, told in ((None, "there are 0 .json files"), (b"PK", "can't be read"), (b"", "can't be read")):
        if content is not None:
            archive.write_bytes(content)
        with pytest.raises(CaptioningError, match=told):
            read_results(archive)
    archive.unlink()
    with pytest.raises(CaptioningError, match="there is no such results file"):
        read_results(archive)
    (tmp_path / "a.jsonl").write_text('{"image_id": 1, "caption": "a"}\n{"image_id": 2, "capt')
    with pytest.raises(CaptioningError, match=r"a\.jsonl, line 2"):
        read_results(tmp_path / "a.jsonl")


def test_references_must_be_annotations_of_all_images(tmp_path: Path, references: str) -> None:
    assert read_references(references) == REFERENCES
    path = tmp_path / "wrong.json"
    for content in ([], {"annotations": []}, {"annotations": [{"image_id": 1}]}):
        with pytest.raises(CaptioningError, match="no caption annotations in COCO's format"):
            read_references(write(path, content))
    with pytest.raises(CaptioningError, match="1 images have no reference: 2"):
        read_references(
            write(path, {"images": [{"id": 1}, {"id": 2}], "annotations": [{"image_id": 1, "caption": "a"}]})
        )


def annotated(images: list[Any], captions: dict[Any, str]) -> dict[str, Any]:
    entries = [{"image_id": image, "caption": caption} for image, caption in captions.items()]
    return {"images": [{"id": image} for image in images], "annotations": entries}


@pytest.mark.parametrize(
    ("given", "listed", "annotations"),
    [
        (["1", "2"], [1, 2], [1, 2]),
        ([1.0, 2.0], [1, 2], [1, 2]),
        (["1", "2"], [1, 2], ["1", "2"]),
        ([1, 2], [1, 2], ["1", "2"]),
        ([1, 2], ["1", "2"], [1.0, 2.0]),
        ([" 1", "2 "], [1, 2], [1, 2]),
        (["gru\u0308n.jpg", "a"], ["gr\u00fcn.jpg", "a"], ["gr\u00fcn.jpg", "a"]),
    ],
    ids=str,
)
def test_ids_of_another_type_or_form_are_the_same_images(
    tmp_path: Path,
    given: list[Any],
    listed: list[Any],
    annotations: list[Any],
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    references = write(
        tmp_path / "refs.json", annotated(listed, dict(zip(annotations, ["A dog.", "A cat."], strict=True)))
    )
    texts = zip(given, ["a dog", "a cat"], strict=True)
    results = write(tmp_path / "r.json", [{"image_id": image, "caption": text} for image, text in texts])
    assert main([results, "--references", references, "--resamples", "0"]) == 0
    assert re.search(r"BLEU-1 +100\.0", capsys.readouterr().out)
    assert ("image ids are taken as ids of another type" in caplog.text) is (listed != given or annotations != listed)


def test_two_ids_of_one_image_are_two_captions(tmp_path: Path) -> None:
    references = write(tmp_path / "refs.json", annotated([1, 2], {1: "A dog.", 2: "A cat."}))
    results = write(tmp_path / "r.json", [{"image_id": each, "caption": "a"} for each in (1, "1")])
    with pytest.raises(CaptioningError, match=r"r\.json: 1 images have more than one caption: 1"):
        main([results, "--references", references, "--subset", "--resamples", "0"])


def test_a_subset_leaves_out_images_without_captions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    references = write(tmp_path / "refs.json", annotated([1, 2, 3, 4], {1: "A dog.", 2: "A cat.", 4: "A cow."}))
    results = write(tmp_path / "r.json", [{"image_id": each, "caption": "a dog"} for each in (1, 2, 3)])
    with pytest.raises(CaptioningError, match=r"refs\.json: 1 images have no reference: 3\. .* --subset"):
        main([results, "--references", references, "--resamples", "0"])
    assert main([results, "--references", references, "--subset", "--resamples", "0"]) == 0
    assert capsys.readouterr().out.startswith("2 of 3 images;")
    assert "refs.json: 1 images have no reference and are left out" in caplog.text


@pytest.mark.parametrize(
    ("images", "said"),
    [([{}], "entry 0 of 'images' has no id"), ([{"id": 1}, 7], "entry 1 of 'images' has no id"), (7, "is no list")],
    ids=str,
)
def test_images_without_ids_are_a_sentence(tmp_path: Path, images: object, said: str) -> None:
    content = {"images": images, "annotations": [{"image_id": 1, "caption": "A dog."}]}
    with pytest.raises(CaptioningError, match=rf"refs\.json: .*{said}"):
        read_references(write(tmp_path / "refs.json", content))
    assert read_references(write(tmp_path / "refs.json", {**content, "images": None})) == {1: ["A dog."]}


def test_archives_that_are_no_files_or_unpack_to_gigabytes(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.zip")
    with pytest.raises(CaptioningError, match="for it is a pipe"):
        read_results(tmp_path / "pipe.zip")
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("r.json", " " * 50_000_000)
    with pytest.raises(CaptioningError, match=r"r.json would unpack to 50 MB, too much"):
        read_results(tmp_path / "bomb.zip")
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_LZMA) as file:
        file.writestr("r.json", json.dumps([{"image_id": 1, "caption": "a dog"}] * 50))
    content = whole.getvalue()
    for place in range(0, len(content), 3):
        (tmp_path / "r.zip").write_bytes(content[:place] + bytes([content[place] ^ 255]) + content[place + 1 :])
        with suppress(CaptioningError):
            assert read_results(tmp_path / "r.zip") == {1: "a dog"}
