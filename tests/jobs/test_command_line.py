"""The real command line on a tiny captioner: trained once, from another folder, in a process of its own."""

import csv
import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO

from captioning.__main__ import main
from captioning.predict.captioner import Captioner
from captioning.search import Beam, Memory, Neighbours
from captioning.text.tokenizer import tokenize

InChild = Callable[..., "subprocess.CompletedProcess[str]"]
LEARNS = [  # to tell colours: captions that are all the same would prove little
    "decoder.hidden_size=32",
    "decoder.output_dropout=0",
    "optimizer.lr=0.03",
    "trainer.max_epochs=20",
    "encoder.last_stage=layer1",
]
WRITTEN = ("captions_test.json", "references_test.json", "scores_test.json", "captions_test.png")


@dataclass(frozen=True)
class Said:
    """What a command printed."""

    status: int
    out: str
    err: str

    @property
    def captions(self) -> dict[str, str]:
        """Of each picture, by its path."""
        return dict(line.split("\t") for line in self.out.splitlines())


def captioning(*arguments: object) -> Said:
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        status = main([str(argument) for argument in arguments])
    assert "Traceback" not in err.getvalue()
    return Said(status, out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def run(tiny_settings: list[str], tmp_path_factory: pytest.TempPathFactory, in_child: InChild) -> Path:
    """The folder of a run."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    done = in_child(["train", *tiny_settings, *LEARNS, "name=tiny", "data.features_root=features"], cwd=elsewhere)
    assert done.returncode == 0, done.stderr
    assert "runs/tiny: test/BLEU-1" in done.stderr
    return elsewhere / "runs" / "tiny"


@pytest.fixture(autouse=True)
def elsewhere(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the run was made: its features are there, and this folder stays clean."""
    monkeypatch.chdir(run.parents[1])


@pytest.fixture
def caption(run: Path) -> Callable[..., Said]:
    def command(*arguments: object) -> Said:
        return captioning("caption", *arguments, "--checkpoint", run, "--device", "cpu")

    return command


def test_a_runs_folder_tells_everything(run: Path) -> None:
    files = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}
    assert {"config.yaml", "metrics.csv", "curves.png", "summary.json", *WRITTEN} <= files
    assert {"checkpoints/best.ckpt", "checkpoints/last.ckpt"} <= files
    assert not [name for name in files if name.endswith(".part")]
    assert (run.parents[1] / "features").is_dir()


@pytest.fixture
def places(tiny_data: Path) -> list[str]:
    """Where the run's data are: of a checkpoint's paths none is acted on."""
    return [f"data.root={tiny_data}", "data.features_root=features"]


def training_rows(data: Path) -> list[dict[str, str]]:
    rows = [json.loads(line) for line in (data / "captions.jsonl").read_text().splitlines()]
    return [row for row in rows if row["split"] == "train"]


def test_evaluate_scores_what_score_scores_and_training_did(
    run: Path, places: list[str], tiny_data: Path, tmp_path: Path
) -> None:
    said = captioning("evaluate", run, *places, "--out", tmp_path, "--device", "cpu")
    assert said.status == 0
    content = json.loads((tmp_path / "scores_test.json").read_text())
    scores = content["scores"]
    assert (content["images"], content["search"]) == (3, "greedy, max length 6")
    assert content["score_signature"].startswith("tokenizer:treebank|images:3|references:")
    for name in WRITTEN[:3]:
        assert (tmp_path / name).read_text() == (run / name).read_text()
    names, values = (line.split() for line in said.out.splitlines())
    assert dict(zip(names, map(float, values), strict=True)) == pytest.approx(
        {name: 100 * value for name, value in scores.items()}, abs=0.006
    )
    files = (tmp_path / "captions_test.json", "--references", tmp_path / "references_test.json")
    again = json.loads(captioning("score", *files, "--json", "-", "--resamples", 0).out)
    found = again["results"][0]["scores"]
    assert {name: scores[name] for name in found} == pytest.approx(found)
    captions = [row["caption"].split() for row in json.loads((tmp_path / "captions_test.json").read_text())]
    known = [tokenize(row["caption"]) for row in training_rows(tiny_data)]
    assert {name: scores[name] for name in scores.keys() - found.keys()} == {
        "different": len(set(map(tuple, captions))) / 3,
        "novel": sum(caption not in known for caption in captions) / 3,
        "bad_endings": sum(caption[-1] in ("a", "of", "is") for caption in captions) / 3,
    }
    summary = json.loads((run / "summary.json").read_text())
    assert {name: summary[f"test/{name}"] for name in scores} == scores
    theirs = COCO(str(tmp_path / "references_test.json"))
    found = theirs.loadRes(str(tmp_path / "captions_test.json"))
    assert sorted(found.getImgIds()) == sorted(theirs.getImgIds()) == ["13.png", "14.png", "15.png"]


def test_evaluate_says_what_caption_says(run: Path, tiny_data: Path, caption: Callable[..., Said]) -> None:
    rows = json.loads((run / "captions_test.json").read_text())
    said = caption(*(tiny_data / row["image_id"] for row in rows))
    assert list(said.captions.values()) == [row["caption"] for row in rows]


def test_evaluate_on_data_that_moved(run: Path, tiny_data: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(tiny_data, tmp_path / "moved"))
    table = moved / "captions.jsonl"
    table.write_text(table.read_text().replace("picture", "photograph"))
    features = f"data.features_root={tmp_path / 'features'}"
    said = captioning("evaluate", run, f"data.root={moved}", features, "--split", "val", "--out", tmp_path / "new")
    assert said.status == 0
    references = json.loads((tmp_path / "new" / "references_val.json").read_text())["annotations"]
    assert sum("photograph" in row["caption"] for row in references) == 3
    refused = captioning("evaluate", run, f"data.root={tmp_path / 'nowhere'}", features)
    assert refused.status == 1
    assert refused.err.startswith(f"captioning: error: {tmp_path / 'nowhere'}: ")
    assert len(refused.err.splitlines()) == 1


def test_captions_like_those_of_remembered_photographs(
    run: Path,
    places: list[str],
    caption: Callable[..., Said],
    tiny_data: Path,
    tiny_settings: list[str],
    tmp_path: Path,
) -> None:
    path = tmp_path / "memory.pt"
    said = captioning("memory", run, *places, "--out", path, "--device", "cpu")
    assert (said.status, said.out) == (0, f"{path}: 10 photographs, 20 captions\n")
    memory, captioner, rows = Memory.read(path), Captioner.load(run, "cpu"), training_rows(tiny_data)
    texts = [text for row in rows for text in row.get("captions", [row.get("caption")])]
    remembered = [caption for captions in memory.captions for caption in captions]
    assert remembered == [" ".join(tokenize(text)) for text in texts]
    pictures = sorted({tiny_data / row["image"] for row in rows}, key=lambda each: int(each.stem))
    for picture, found in zip(pictures, memory.features, strict=True):
        with Image.open(picture) as image:
            seen = captioner.encoder(captioner.encoder.transform(image.convert("RGB")).unsqueeze(0))
        torch.testing.assert_close(seen.mean(memory.part)[0], found.float(), atol=1e-2, rtol=1e-2)
    line = ("--neighbours", path, "--beam", 3)
    assert captioning("evaluate", run, *places, *line, "--out", tmp_path / "other", "--device", "cpu").status == 0
    assert json.loads((tmp_path / "other" / "scores_test.json").read_text())["search"] == "neighbours 3"
    picture = tiny_data / "14.png"
    (expected,) = captioner(picture, Neighbours(path, 3))
    assert caption(picture, *line).captions == {str(picture): expected}
    replace(memory, encoder="of another run").write(path)
    for refused in (caption(picture, *line), captioning("evaluate", run, *places, *line, "--out", tmp_path / "third")):
        assert refused.status == 1 and "this memory has the features of another encoder" in refused.err
    err, validated = StringIO(), ("search=neighbours", f"search.memory={path}", f"out={tmp_path / 'runs'}")
    with redirect_stderr(err), redirect_stdout(err), pytest.raises(SystemExit):
        main(["train", *tiny_settings, *validated, "data.features_root=features"])
    assert "this memory has the features of another encoder" in err.getvalue()
    refused = caption(picture, *line, "--consensus")
    assert refused.status == 1 and "--consensus and --neighbours are two searches" in refused.err


def test_an_evaluation_elsewhere_by_another_search_is_a_row_of_its_run(
    run: Path, places: list[str], tmp_path: Path
) -> None:
    line = ("--consensus", "--beam", 3, "--out", tmp_path / "other", "--device", "cpu")
    assert captioning("evaluate", run, *places, *line).status == 0
    table = tmp_path / "table.csv"
    assert captioning("results", table, run, tmp_path / "other", "--no-meteor").status == 0
    with table.open(newline="") as file:
        own, other = csv.DictReader(file)
    assert (own.pop("search"), other.pop("search")) == ("greedy, max length 6", "consensus 3")
    told = ("experiment", "overrides", "decoder", "encoder", "seed", "epochs", "parameters", "seconds")
    assert [own[name] for name in told] == [other[name] for name in told] and own["seconds"]


def test_files_folders_and_patterns(tiny_data: Path, tmp_path: Path, caption: Callable[..., Said]) -> None:
    for name in ("a.png", "deep/er/b.png", "deep/c.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(tiny_data / "1.png", tmp_path / name)
    (tmp_path / "deep" / "notes.txt").write_text("no picture")
    said = caption(tmp_path / "a.png", tmp_path / "deep", tmp_path / "*.png", "--json", tmp_path / "out.json")
    assert said.status == 0
    found = [Path(path).relative_to(tmp_path).as_posix() for path in said.captions]
    assert found == ["a.png", "deep/c.png", "deep/er/b.png"]  # each once, though the pattern names the first again
    assert len(set(said.captions.values())) == 1
    rows = json.loads((tmp_path / "out.json").read_text())
    assert {row["image"]: row["caption"] for row in rows} == said.captions
    assert all(row["score"] < 0 for row in rows)
    nothing = caption(tmp_path / "*.jpg")
    assert (nothing.status, nothing.out) == (1, "")
    assert "no picture there" in nothing.err


def test_what_cannot_be_read_is_named_and_the_rest_captioned(
    tiny_data: Path, tmp_path: Path, caption: Callable[..., Said]
) -> None:
    for name in ("a", "d"):
        shutil.copy(tiny_data / "2.png", tmp_path / f"{name}.png")
    (tmp_path / "b.jpg").write_text("no picture")
    (tmp_path / "c.png").write_bytes((tmp_path / "a.png").read_bytes()[:900])
    said = caption(tmp_path, tmp_path / "absent.jpg", "--batch-size", 2)
    assert said.status == 1
    assert [Path(path).name for path in said.captions] == ["a.png", "d.png"]
    errors = said.err.splitlines()
    assert len(errors) == 3
    for name, line in zip(("b.jpg", "c.png", "absent.jpg"), errors, strict=True):
        assert line.startswith(f"captioning: {tmp_path / name}: ")


def test_a_file_name_that_is_not_utf8(run: Path, tiny_data: Path, tmp_path: Path) -> None:
    """As old archives unpack them: the name comes out as it is, and JSON stays JSON."""
    name = os.fsencode(tmp_path) + b"/f\xfcnf.png"
    shutil.copy(tiny_data / "2.png", name)
    out = TextIOWrapper(BytesIO(), encoding="utf-8")
    with redirect_stdout(out):
        assert main(["caption", str(tmp_path), "--checkpoint", str(run), "--json", str(tmp_path / "out.json")]) == 0
    out.flush()
    assert out.buffer.getvalue().startswith(name + b"\t")
    assert json.loads((tmp_path / "out.json").read_text())[0]["image"].endswith("/f\ufffdnf.png")


def test_every_kind_of_picture(tmp_path: Path, caption: Callable[..., Said]) -> None:
    red = Image.new("RGB", (48, 40), (220, 30, 30))
    exif = red.getexif()
    exif[0x0112] = 6
    red.save(tmp_path / "plain.png")
    red.rotate(90, expand=True).save(tmp_path / "rotated.jpg", exif=exif, quality=100)
    red.convert("RGBA").save(tmp_path / "alpha.webp")
    red.convert("P").save(tmp_path / "palette.gif")
    red.convert("CMYK").save(tmp_path / "cmyk.tif")
    for mode in ("L", "LA", "1"):
        red.convert(mode).save(tmp_path / f"{mode}.png")
    Image.fromarray(np.full((30, 9), 40_000, dtype=np.uint16)).save(tmp_path / "deep.png")
    Image.new("RGB", (1, 1)).save(tmp_path / "dot.bmp")
    Image.new("RGB", (3000, 2)).save(tmp_path / "line.png")
    said = caption(tmp_path)
    assert said.status == 0
    assert len(said.captions) == 11
    alike = {said.captions[str(tmp_path / name)] for name in ("plain.png", "alpha.webp", "rotated.jpg")}
    assert len(alike) == 1


def test_the_same_caption_alone_in_a_batch_and_from_python(
    run: Path, tiny_data: Path, caption: Callable[..., Said]
) -> None:
    pictures = sorted(tiny_data.glob("*.png"))
    together = caption(tiny_data, "--beam", 3).captions
    assert list(together) == [str(path) for path in pictures]
    assert caption(tiny_data, "--beam", 3, "--batch-size", 1).captions == together
    assert len(set(together.values())) > 2
    captioner = Captioner.load(run, "cpu")
    assert captioner(pictures, Beam(3)) == list(together.values())
    assert captioner([Image.open(path) for path in pictures], Beam(3), batch_size=5) == list(together.values())
    assert captioner(str(pictures[0]), Beam(3)) == [together[str(pictures[0])]]
    features = captioner.encoder(torch.stack([captioner.encoder.transform.read(path) for path in pictures]))
    assert [found.text for found in captioner.caption_features(features, Beam(3))] == list(together.values())


def test_without_options_it_searches_as_in_training(run: Path, tiny_data: Path, caption: Callable[..., Said]) -> None:
    greedy = caption(tiny_data, "--beam", 1, "--max-length", 6).captions  # search=greedy search.max_length=6
    assert caption(tiny_data).captions == greedy
    captioner = Captioner.load(run, "cpu")
    captioner.config = {**captioner.config, "search": {**captioner.config["search"], "max_length": 1}}
    assert all(len(text.split()) <= 1 for text in captioner(sorted(tiny_data.glob("*.png"))))


def test_options_change_the_beam_search_of_training(run: Path) -> None:
    from captioning.jobs.caption import parser
    from captioning.jobs.options import search_of

    beam = {"_target_": "captioning.search.Beam", "size": 4, "max_length": 7, "length_penalty": 0.7, "n_best": 3}
    greedy = {"_target_": "captioning.search.Greedy", "max_length": 7}

    def search(config: dict[str, object], *options: str) -> tuple[str, dict[str, object]]:
        found = search_of(parser().parse_args(["a.jpg", "--checkpoint", str(run), *options]), {"search": config})
        return type(found).__name__, vars(found)

    trained = {"size": 4, "max_length": 7, "length_penalty": 0.7, "block_ngrams": 0, "n_best": 1}
    trained["remove_bad_endings"] = False
    assert search(beam) == ("Beam", trained | {"n_best": 3})
    assert search(beam, "--beam", "2") == ("Beam", trained | {"size": 2})
    assert search(beam, "--max-length", "9") == ("Beam", trained | {"max_length": 9})
    assert search(beam, "--length-penalty", "0") == ("Beam", trained | {"length_penalty": 0})
    assert search(beam, "--sample")[0] == "Sample"
    assert search(greedy) == ("Greedy", {"max_length": 7, "remove_bad_endings": False})
    assert search(greedy, "--beam", "2") == ("Beam", vars(Beam(2)))


def test_arguments_in_any_order(run: Path, tiny_data: Path) -> None:
    first, second = tiny_data / "0.png", tiny_data / "1.png"
    said = captioning("caption", first, "--beam", 2, second, "--checkpoint", run, "--device", "cpu")
    assert list(said.captions) == [str(first), str(second)]


def test_each_batch_draws_other_samples(run: Path, tiny_data: Path) -> None:
    """One photograph again and again, one at a time: a search made anew from its seed would say the same."""
    captioner = Captioner.load(run, "cpu")
    sample = {"_target_": "captioning.search.Sample", "max_length": 6, "temperature": 3.0, "seed": 1}
    captioner.config = {**captioner.config, "search": sample}
    said = captioner([tiny_data / "1.png"] * 8, batch_size=1)
    assert len(set(said)) > 1
    assert captioner([tiny_data / "1.png"] * 8, batch_size=1) == said


def test_samples_are_drawn_by_their_seed(tiny_data: Path, caption: Callable[..., Said]) -> None:
    def sample(*options: object) -> list[str]:
        return list(caption(tiny_data, "--sample", *options).captions.values())

    assert sample("--seed", 1) == sample("--seed", 1) != sample("--seed", 2)
    assert sample() == sample("--seed", 0)
    assert sample("--top-k", 1) == list(caption(tiny_data, "--beam", 1).captions.values())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--batch-size", "0"], "A batch of 0 pictures"),
        (["--temperature", "2"], "--temperature has no effect without --beam K or --sample"),
        (["--beam", "3", "--top-k", "2"], "--top-k has no effect in beam search"),
        (["--sample", "--length-penalty", "1"], "--length-penalty has no effect with --sample"),
        (["--max-length", "3"], "--max-length has no effect without"),
        (["--sample", "--beam", "2"], "--beam has no effect with --sample"),
        (["--beam", "0"], "beam"),
        (["--sample", "--temperature", "0"], "temperature"),
    ],
)
def test_options_without_effect_or_sense_are_refused(
    tiny_data: Path, caption: Callable[..., Said], options: list[str], said: str
) -> None:
    found = caption(tiny_data, *options)
    assert found.status == 1
    assert said in found.err


@pytest.fixture
def hydra_here(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hydra in this process: it takes the arguments and the log for its own."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    monkeypatch.setattr(sys, "argv", sys.argv)
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.usefixtures("hydra_here")
def test_training_again_and_wrong_settings(run: Path, tiny_settings: list[str], tmp_path: Path) -> None:
    """In this process, though Hydra ends it: a folder that is not there; before Hydra, a choice that is not there."""
    err = StringIO()
    with redirect_stderr(err), redirect_stdout(err), pytest.raises(SystemExit) as exit_:
        main(["train", *tiny_settings, f"out={tmp_path}", f"data.root={tmp_path / 'nowhere'}"])
    assert exit_.value.code == 1
    assert "nowhere" in err.getvalue() and "Traceback" not in err.getvalue()
    assert main(["train", *tiny_settings, f"out={tmp_path}", "decoder=nope"]) == 2
    before = (run / "summary.json").stat().st_mtime_ns
    err = StringIO()
    with redirect_stderr(err):
        assert main(["train", *tiny_settings, *LEARNS, f"out={run.parent}", "name=tiny"]) == 0
    assert "is finished" in err.getvalue()
    assert (run / "summary.json").stat().st_mtime_ns == before


LIGHT = """
import sys, time
from captioning.__main__ import main

def run(*command):
    before = time.process_time()
    try:
        status = main(command)
    except SystemExit as exit:
        status = exit.code
    assert not {"torch", "pytorch_lightning", "torchvision"} & sys.modules.keys(), (command, "imports torch")
    assert time.process_time() - before < 1.5, (command, time.process_time() - before)
    return status

commands = "caption evaluate results score prepare sample cells gradients ask questions"
for command in commands.split():
    assert run(command, "--help") == 0
assert run() == 2 and run("nonsense") == 2 and run("caption") == 2
assert run("--help") == 0 and run("--version") == 0
assert run("score", "absent.json", "--references", "absent.json") == 1
assert run("score", sys.argv[1], "--references", sys.argv[2]) == 0
"""


def test_files_of_the_current_folder_do_not_stand_in_for_libraries(run: Path, tmp_path: Path) -> None:
    for name in ("random", "queue", "pycocoevalcap"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('shadowed')")
    files = [str(run / "captions_test.json"), "--references", str(run / "references_test.json")]
    code = "import sys; from captioning.__main__ import main; sys.exit(main())"  # as the installed command does
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    command = [sys.executable, "-P", "-c", code, "score", *files]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_what_needs_no_torch_does_not_wait_for_it(run: Path) -> None:
    files = [str(run / "captions_test.json"), str(run / "references_test.json")]
    done = subprocess.run([sys.executable, "-c", LIGHT, *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "there is no command 'nonsense'" in done.stderr
    assert "Traceback" not in done.stderr
    assert "3 of 3 images" in done.stdout
