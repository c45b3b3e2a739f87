"""The settings of data, of a text and of where things lie: seen in what is read, in the batches and in the files."""

import csv
import json
import os
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from io import StringIO
from itertools import product
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock, patch

import pytest
import torch
from hydra import compose as compose_with_hydra
from hydra import initialize_config_dir
from hydra.types import HydraContext
from hydra.utils import instantiate
from omegaconf import OmegaConf, open_dict
from torch.utils.data import DataLoader
from wires import CAPTIONER, RESNET, Seen, compose, draw, kept, wired, without

from captioning.__main__ import main
from captioning.core.build import build, call
from captioning.core.errors import CaptioningError
from captioning.data import Text, coco_archives
from captioning.data import text as texts
from captioning.jobs import train as job
from captioning.jobs.config import conf_dir
from captioning.tasks import Task
from captioning.tasks.captioning import CaptioningTask
from captioning.tasks.photographs import read_photos
from captioning.tasks.task import Prepared
from captioning.text.registry import TOKENIZERS

Line = Callable[..., list[str]]
Watched = Callable[[list[str]], Seen]


CHOICES = ("data", "encoder", "decoder", "cell", "search")  # of which the table of a sweep tells


def prepared(line: list[str], folder: Path) -> Prepared:
    """What a run of a command line would train, and on what."""
    config = compose(line)
    task = build(config["task"], Task, config=config)
    torch.manual_seed(config["seed"])
    return task.prepare(task.read_source(), folder, torch.device("cpu"))


def batches(loader: DataLoader[Any]) -> list[Any]:
    return list(iter(loader))


# --- photographs and captions ---------------------------------------------------------------------------------------


@wired("data=base data.minimum_count")
def test_the_vocabulary_has_the_training_split_s_words_of_that_count(captioner: Line, tmp_path: Path) -> None:
    line = without(captioner(), "data.minimum_count")
    for count, words in ((2, {"rare", "seldom"}), (3, {"seldom"}), (4, set())):
        known = set(prepared([*line, f"data.minimum_count={count}"], tmp_path).module.vocabulary.words)
        assert known & {"rare", "seldom", "trained", "valed", "tested"} == {*words, "trained"}


@wired("data=base data.batch_size", "data=base data.captions_per_photo", "data=base data.max_words")
def test_a_batch_has_so_many_photographs_captions_and_words(captioner: Line, tmp_path: Path) -> None:
    line = without(captioner(), "data.batch_size", "data.captions_per_photo")
    few = prepared([*line, "data.batch_size=3", "data.captions_per_photo=1", "data.max_words=4"], tmp_path).data
    shapes = [batch.packing.shape for batch in batches(few.train_dataloader())]
    assert shapes == [(3, 1, 5), (3, 1, 5), (2, 1, 5)]  # <end> follows the four words
    validation = [batch.packing.shape[:2] for batch in batches(few.val_dataloader())]
    assert validation == [(3, 3)]  # all captions of all photographs
    many = prepared([*line, "data.batch_size=8", "data.captions_per_photo=3"], tmp_path).data
    assert [batch.packing.shape for batch in batches(many.train_dataloader())] == [(8, 3, 10)]


@wired("data=base data.workers")
def test_so_many_processes_make_batches(captioner: Line, tmp_path: Path) -> None:
    line = without(captioner(), "data.workers")
    loaders = [prepared([*line, f"data.workers={count}"], tmp_path).data.train_dataloader() for count in (1, 0)]
    assert [loader.num_workers for loader in loaders] == [1, 0]


UNCHANGED = {"smallest": 1, "stretch": 1, "mirror": 0, "brightness": 0, "contrast": 0, "saturation": 0}


@wired(*(f"augmentation=standard augmentation.{name}" for name in (*UNCHANGED, "sides")))
def test_training_photographs_change_as_is_set(captioner: Line, tmp_path: Path) -> None:
    line = captioner(*RESNET, "encoder.finetune_from=layer1", "augmentation=standard")

    def pictures(**settings: Any) -> dict[int, torch.Tensor]:
        said = [f"augmentation.{name}={value}" for name, value in {**UNCHANGED, **settings}.items()]
        data = prepared([*line, *said], tmp_path).data
        return {
            photo: image
            for batch in batches(data.train_dataloader())
            for photo, image in zip(batch.photos.tolist(), batch.images, strict=True)
        }

    plain, members = pictures(), read_photos(compose(line))["train"]
    for name, value in {"smallest": 0.3, "stretch": 3, "brightness": 1, "contrast": 1, "saturation": 1}.items():
        same = [torch.equal(plain[photo], image) for photo, image in pictures(**{name: value}).items()]
        assert sum(same) <= 2, name
    for photo, image in pictures(mirror=1, sides="[rare]").items():
        stays = any("rare" in caption.split() for caption in members[photo].captions)
        assert torch.equal(image, plain[photo] if stays else plain[photo].flip(2))


@wired("data=base data.features_root")
def test_features_are_stored_where_they_belong(captioner: Line, tmp_path: Path) -> None:
    line = without(captioner(), "data.features_root")
    stored = prepared([*line, f"data.features_root={tmp_path / 'here'}"], tmp_path).data
    assert list((tmp_path / "here").rglob("*pooled*"))
    assert batches(stored.val_dataloader())[0].features["pooled"].shape == (2, 12)


def splits(*line: str) -> dict[str, int]:
    """What a command line reads: how many photographs are in each split."""
    return {split: len(members) for split, members in read_photos(compose(line)).splits.items()}


@wired("data=own data.root")
def test_own_data_are_read_from_their_root(photographs: Path) -> None:
    assert splits("data=own", f"data.root={photographs}") == {"train": 8, "val": 3, "test": 3}


@pytest.fixture(scope="module")
def coco(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in COCO's form, with the sets one (7 photographs), two (5) and three (3)."""
    root = tmp_path_factory.mktemp("coco")
    number = 0
    for part, count in (("one", 7), ("two", 5), ("three", 3), ("train2014", 6), ("val2014", 4)):
        (root / part).mkdir()
        images = []
        for _ in range(count):
            number += 1
            (root / part / f"{number}.jpg").touch()
            images.append({"id": number, "file_name": f"{number}.jpg"})
        captions = [{"id": each["id"], "image_id": each["id"], "caption": "a dog"} for each in images]
        (root / f"captions_{part}.json").write_text(json.dumps({"images": images, "annotations": captions}))
    return root


@wired("data=coco data.root", *(f"data=coco data.splits.{split}" for split in ("train", "val", "test")))
@wired("data=coco data.holdout.val", "data=coco data.holdout.test")
@wired("data=coco2014 data.splits.train", "data=coco2014 data.splits.test")
def test_coco_s_splits_are_those_sets_and_what_is_held_out(coco: Path) -> None:
    line = ("data=coco", f"data.root={coco}", "data.splits.train=one", "data.splits.test=two")
    assert splits(*line, "data.holdout.val=2") == {"train": 5, "val": 2, "test": 5}
    assert splits(*line, "data.splits.val=three", "data.holdout.val=0") == {"train": 7, "val": 3, "test": 5}
    assert splits(*line, "data.holdout.val=1", "data.holdout.test=3") == {"train": 3, "val": 1, "test": 3}
    assert splits("data=coco2014", f"data.root={coco}", "data.holdout.val=1") == {"train": 5, "val": 1, "test": 4}
    other = ("data=coco2014", f"data.root={coco}", "data.splits.train=one", "data.splits.test=three")
    assert splits(*other, "data.holdout.val=1") == {"train": 6, "val": 1, "test": 3}


@wired("data=coco data.prepare.year", "data=coco2014 data.prepare.year", "data=coco_karpathy data.prepare.year")
@pytest.mark.parametrize(("kind", "year"), [("coco", 2017), ("coco2014", 2014), ("coco_karpathy", 2014)])
def test_coco_is_fetched_of_its_year(kind: str, year: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = {2014: 2017, 2017: 2014}[year]
    for line, expected in ((), year), ((f"data.prepare.year={other}",), other):
        fetched: list[str] = []
        monkeypatch.setattr(coco_archives, "fetch", lambda address, *_, into=fetched: into.append(address))
        monkeypatch.setattr(coco_archives, "require_space", lambda *_: None)
        for name in ("unzip", "clear", "has_left"):
            monkeypatch.setattr(coco_archives, name, lambda *_: None)
        root = tmp_path / f"{kind}_{expected}"
        call(compose([f"data={kind}", f"data.root={root}", *line])["data"]["prepare"], type(None))
        assert fetched and all(str(expected) in address for address in fetched)
        assert root.is_dir()


KARPATHY = ("coco_karpathy", "flickr30k", "flickr8k_karpathy")


@wired(*(f"data={kind} data.root" for kind in KARPATHY))
@pytest.mark.parametrize("kind", KARPATHY)
def test_karpathy_s_splits_are_read_from_their_root(kind: str, tmp_path: Path) -> None:
    folder = {"coco_karpathy": ".", "flickr30k": "flickr30k-images", "flickr8k_karpathy": "images"}[kind]
    (tmp_path / folder).mkdir(exist_ok=True)
    images = []
    for number, split in enumerate(("train", "restval", "train", "val", "test")):
        (tmp_path / folder / f"{number}.jpg").touch()
        images.append({"filename": f"{number}.jpg", "split": split, "sentences": [{"raw": "a dog"}]})
    file = tmp_path / f"dataset_{kind.removesuffix('_karpathy')}.json"
    file.write_text(json.dumps({"dataset": "flickr", "images": images}))
    assert splits(f"data={kind}", f"data.root={tmp_path}") == {"train": 3, "val": 1, "test": 1}
    file.rename(tmp_path / "elsewhere.json")
    (tmp_path / "pictures").mkdir()
    for number in range(5):
        (tmp_path / folder / f"{number}.jpg").rename(tmp_path / "pictures" / f"{number}.jpg")
    line = (f"data={kind}", f"data.root={tmp_path}", f"data.file={tmp_path / 'elsewhere.json'}")
    assert splits(*line, f"data.images={tmp_path / 'pictures'}") == {"train": 3, "val": 1, "test": 1}


@wired("data=flickr8k data.root")
def test_flickr8k_is_read_from_its_root(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for name in ("a", "b", "c"):
        (tmp_path / "images" / f"{name}.jpg").touch()
    (tmp_path / "Flickr8k.token.txt").write_text("".join(f"{name}.jpg#0\ta dog\n" for name in "abc"))
    for split, name in (("train", "a"), ("dev", "b"), ("test", "c")):
        (tmp_path / f"Flickr_8k.{split}Images.txt").write_text(f"{name}.jpg\n")
    assert splits("data=flickr8k", f"data.root={tmp_path}") == {"train": 1, "val": 1, "test": 1}


@wired("data=multi30k data.root", "data=multi30k data.images", "data=multi30k data.language")
@wired("data=multi30k data.tokenizer")
def test_multi30k_is_read_in_its_language(tmp_path: Path) -> None:
    for name, split in (("a", "train"), ("b", "val"), ("c", "test_2016")):
        (tmp_path / f"{name}_8k.jpg").touch()
        (tmp_path / f"{split}_images.txt").write_text(f"{name}.jpg\n")
        for place, language in product(range(1, 6), ("de", "en")):
            (tmp_path / f"{split}.{place}.{language}").write_text(f"{language} {place}\n")
    line = ("data=multi30k", f"data.root={tmp_path}", f"data.images={tmp_path}")
    assert splits(*line) == {"train": 1, "val": 1, "test": 1}
    assert read_photos(compose(line))["val"][0].captions == tuple(f"de {place}" for place in range(1, 6))
    english = [*line, "data.language=en"]
    assert read_photos(compose(english))["val"][0].captions == tuple(f"en {place}" for place in range(1, 6))
    for said, name in (((), "words"), (("data.tokenizer=treebank",), "treebank")):
        assert CaptioningTask(compose([*line, *said])).tokenizer is TOKENIZERS[name]


@wired("data=base data.tokenizer")
def test_vocabulary_captions_scores_and_reward_have_the_data_s_tokenizer(captioner: Line, tmp_path: Path) -> None:
    photographs = draw(tmp_path)
    table = photographs / "captions.jsonl"
    table.write_text(table.read_text().replace("seldom", "T-shirt's").replace("tested", "don't"))
    line = [*without(captioner("objective=self_critical"), "data.root"), f"data.root={photographs}"]
    for said, seldom in (((), ["t-shirt", "'s"]), (("data.tokenizer=words",), ["t", "shirt", "s"])):
        made = prepared([*line, *said], tmp_path)
        words = made.module.vocabulary.words
        assert set(seldom) <= {*words} and not {"t", "shirt", "s", "t-shirt", "'s"} - {*seldom} & {*words}
        told = [words[number] for batch in batches(made.data.train_dataloader()) for number in batch.targets.tolist()]
        assert set(seldom) <= {*told}  # in the drawn captions of training
        assert made.module.objective.reward([" ".join(seldom)] * 8, range(8)).max() > 0
        tokens = [each for image in made.module.objective.reward.references.tokens for each in image]
        assert any(all(word in caption for word in seldom) for caption in tokens)
        task = CaptioningTask(compose([*line, *said]))
        scored = task.scorer(task.read_source(), "test")(["don t"] * 3)
        assert (scored["BLEU-1"] > 0.1) == bool(said)
    with pytest.raises(CaptioningError, match=r"^data\.tokenizer=wort: there is no such tokenizer"):
        prepared([*line, "data.tokenizer=wort"], tmp_path)


@wired("data=scenes data.root", "data=scenes data.count", "data=scenes data.scenes_seed")
def test_so_many_scenes_are_drawn_by_their_own_seed(tmp_path: Path) -> None:
    def drawn(name: str, *line: str) -> tuple[dict[str, int], str]:
        found = splits("data=scenes", f"data.root={tmp_path / name}", *line)
        return found, (tmp_path / name / "captions_val.json").read_text()

    sizes, captions = drawn("one", "data.count=13")
    assert sizes == {"train": 11, "val": 1, "test": 1}
    assert drawn("two", "data.count=13", "seed=9")[1] == captions
    assert drawn("three", "data.count=13", "data.scenes_seed=9")[1] != captions
    assert sum(drawn("four", "data.count=12")[0].values()) == 12


@wired(
    *(
        f"data={kind} data.name"
        for kind in (
            *("coco", "coco2014", *KARPATHY, "flickr8k", "multi30k", "own", "scenes", "text"),
            *("moving_scenes", "msvd", "msr_vtt", "several"),
        )
    )
)
def test_data_are_called_what_they_are_on_the_command_line() -> None:
    for path in (conf_dir() / "data").glob("*.yaml"):
        if path.stem != "base" and path.stem[0] != "_":
            assert OmegaConf.load(path).name == path.stem


# --- a text ---------------------------------------------------------------------------------------------------------


@wired("data=text data.text", "data=text data.validation")
def test_a_text_s_end_is_held_back(writer: Line, text: Path) -> None:
    config = compose(writer("data.validation=0.4"))
    found = call(config["data"]["source"], Text)
    assert (len(found.codes), found.training) == (len(text.read_text()), int(0.6 * len(text.read_text())))


@wired("data=text data.cache")
def test_the_numbers_of_a_large_text_are_kept_in_the_cache(
    writer: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(texts, "MAPPED", 100)
    call(compose([*without(writer(), "data.cache"), f"data.cache={tmp_path / 'cache'}"])["data"]["source"], Text)
    assert any(path.is_file() and path.stat().st_size >= 200 for path in (tmp_path / "cache").rglob("*"))


@wired("data=text data.batch_size", "data=text data.chunk", "data=text data.sample_every")
def test_a_text_is_read_in_streams_and_chunks_with_samples_between(writer: Line, watched: Watched) -> None:
    line = without(writer(), "data.batch_size", "data.chunk", "data.sample_every")
    seen = watched([*line, "data.batch_size=4", "data.chunk=9", "data.sample_every=2"])
    shapes = [batch.packing.shape for batch in seen.batches]
    assert shapes[0] == (4, 1, 9) and len(shapes) >= 5
    samples = (seen.folder / "samples.txt").read_text().split("---- step ")[1:]
    assert [int(sample.split(",")[0]) for sample in samples] == list(range(2, len(shapes), 2))
    assert all(len(sample.partition("\n")[2]) == 10 for sample in samples)  # search.max_length, and a line's end


# --- where things lie -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Said:
    """What was said by a command in a folder, and in which folder it trained."""

    folder: Path
    out: str
    err: str
    trained: set[Path]


@pytest.fixture(scope="module")
def started(captioner: Line, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Said]:
    """``captioning train`` in a folder of its own, with a preset of small settings from outside of ``conf/``."""
    presets = tmp_path_factory.mktemp("presets")
    excluded = ("data.root", "data.features_root", "data.workers", "test", "patience", "trainer.accelerator")
    excluded = (*excluded, "trainer.enable_progress_bar", "trainer.log_every_n_steps")
    said = [each for each in captioner() if each.partition("=")[0] in excluded]
    small = OmegaConf.from_dotlist([each for each in CAPTIONER if each not in said and each.count(".") == 1])
    chosen = ["override /data: own", "override /encoder: none", "override /optimizer: sgd", "override /search: greedy"]
    chosen = [dict([each.split(": ")]) for each in [*chosen, "override /logger: csv"]]
    written = OmegaConf.to_container(small)
    assert isinstance(written, dict)
    preset = {"defaults": chosen, **written, "encoder": {"_target_": "wires.Colours"}}
    (presets / "experiment").mkdir()
    text = "# @package _global_\n" + OmegaConf.to_yaml(OmegaConf.create(preset))
    (presets / "experiment" / "small.yaml").write_text(text)

    def start(*more: str) -> Said:
        folder, here = tmp_path_factory.mktemp("started"), Path.cwd()
        out, err, trained, train = StringIO(), StringIO(), set(), job.train

        def training(*arguments: Any) -> float:
            trained.add(Path.cwd())
            return train(*arguments)

        os.chdir(folder)
        try:
            with redirect_stdout(out), redirect_stderr(err), patch.object(job, "train", training):
                status = main(["train", f"--config-dir={presets}", *kept([*said, "experiment=small", *more])])
        finally:
            os.chdir(here)
        assert status == 0, err.getvalue()
        return Said(folder, out.getvalue(), err.getvalue(), trained)

    return start


@wired("out", "sweep", "hydra.sweep.dir", "hydra.sweep.subdir", *(f"choices.{group}" for group in CHOICES))
@wired("hydra.job.config.override_dirname.exclude_keys", "hydra.job.chdir", "report")
def test_a_sweep_s_runs_are_named_after_what_is_trained(started: Callable[..., Said]) -> None:
    at = ("out=outs", "sweep=seeds", "trainer.limit_train_batches=1", "checkpoint_minutes=9", "compile=false")
    at = (*at, "report=false")
    said = started("-m", *at, "seed=1,2", "cell=rnn")
    assert {path.name for path in said.folder.iterdir()} == {"outs"} and said.trained == {said.folder}
    with (said.folder / "outs" / "seeds" / "table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = {f"cell=rnn,experiment=small,seed={seed},trainer.limit_train_batches=1" for seed in (1, 2)}
    assert {row["job"] for row in rows} == names
    assert all((said.folder / "outs" / "seeds" / name / "summary.json").exists() for name in names)
    assert not list(said.folder.rglob("report.html"))
    chosen = {"data": "own", "encoder": "none", "decoder": "neuraltalk", "cell": "rnn", "search": "greedy"}
    assert all(chosen.items() <= row.items() for row in rows)


@wired("name", "hydra.run.dir", "hydra.output_subdir", "report")
@wired("hydra.job_logging.formatters.simple.format", "hydra.job_logging.handlers.console.stream")
def test_a_run_is_named_after_its_data_decoder_and_cell(started: Callable[..., Said]) -> None:
    said = started("decoder=lrcn", "cell=gru", "data.name=mine", "trainer.limit_train_batches=1")
    run = said.folder / "runs" / "mine_lrcn_gru"
    assert (run / "summary.json").exists() and (run / "report.html").exists()
    assert OmegaConf.load(run / ".hydra" / "config.yaml").decoder.hidden_size == 8
    assert {path.name for path in run.iterdir() if path.is_dir()} == {".hydra", "checkpoints"}
    assert sorted(path.name for path in (run / ".hydra").iterdir()) == ["config.yaml", "hydra.yaml", "overrides.yaml"]
    assert "trained parameters" not in said.out
    (line,) = (each for each in said.err.splitlines() if "trained parameters" in each)
    assert line.partition(": ")[0].endswith("runs/mine_lrcn_gru") and " " not in line.partition(": ")[0]  # no time


@wired(*(f"hydra/help=captioning hydra.help.{name}" for name in ("app_name", "header", "footer", "template")))
def test_help_is_ours() -> None:
    settings, out = OmegaConf.load(conf_dir() / "hydra" / "help" / "captioning.yaml"), StringIO()
    with redirect_stdout(out), suppress(SystemExit):
        main(["train", "--help"])
    said = out.getvalue()
    assert said.startswith(settings.header) and said.rstrip().endswith(settings.footer.rstrip())
    assert "the shortest whole run" in said and "show_attend_tell" in said
    assert settings.app_name == settings.header.removeprefix("usage: ").partition(" [")[0]


CLUSTER = {"name": "own", "timeout_min": 9, "max_num_timeout": 3, "cpus_per_task": 5, "gpus_per_node": 2, "mem_gb": 7}


@wired(*(f"hydra/launcher=cluster hydra.launcher.{name}" for name in CLUSTER))
def test_a_cluster_s_jobs_ask_for_what_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    submitit = pytest.importorskip("submitit")
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    given: dict[str, Any] = {}

    class Executor:
        def __init__(self, **settings: Any) -> None:
            given.update(settings)

        def update_parameters(self, **settings: Any) -> None:
            given.update(settings)

        def map_array(self, *_: Any) -> list[Any]:
            return []

    monkeypatch.setattr(submitit, "AutoExecutor", Executor)
    line = kept(["hydra/launcher=cluster", *(f"hydra.launcher.{name}={value}" for name, value in CLUSTER.items())])
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = compose_with_hydra("train", line, return_hydra_config=True)
    with open_dict(config):
        config.hydra.sweep.dir = str(tmp_path)
    launcher = instantiate(config.hydra.launcher)
    launcher.setup(hydra_context=MagicMock(spec=HydraContext), task_function=lambda _: None, config=config)
    launcher.launch([["seed=1"]], 0)
    named = {"name": "job_name"}
    asked = {name: given.get(name, given.get(f"slurm_{named.get(name, name)}")) for name in CLUSTER}
    asked["max_num_timeout"] = given.get("max_num_timeout", given.get("slurm_max_num_timeout"))
    assert asked == CLUSTER, given
