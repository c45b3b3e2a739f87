"""Every setting of ``conf/`` has a test, every choice of a group makes what its file says, and presets arrive."""

import importlib.util
import re
from collections.abc import Callable, Mapping
from inspect import signature
from pathlib import Path
from pkgutil import resolve_name
from types import ModuleType
from typing import Any
from unittest.mock import patch

import pytest
import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.loggers import TensorBoardLogger, WandbLogger
from wires import COLOURS, PRESETS, WIRED, compose, composer, leaves, settings_of_conf

from captioning import answerers, cells, data, decoders, metrics, search
from captioning.core.build import build, class_of
from captioning.core.features import FeatureSpec
from captioning.core.questions import AnswerSet, QuestionVocabulary
from captioning.core.vocabulary import SPECIAL, Vocabulary
from captioning.data.augmentation import Augmentation
from captioning.encoders.efficientnet import EfficientNetLite0, EfficientNetLite1, EfficientNetLite2
from captioning.encoders.flow import Flow
from captioning.encoders.frames import Frames
from captioning.encoders.resnet import ResNet
from captioning.encoders.sentence import SentenceEncoder
from captioning.encoders.several import Several
from captioning.encoders.timm import Timm
from captioning.encoders.vgg import VGG
from captioning.jobs.config import conf_dir
from captioning.runs.metrics_file import CSVLogger
from captioning.runs.monitor import Monitor
from captioning.runs.parts import make_answerer, make_decoder, make_search
from captioning.tasks import Task
from captioning.tasks.answering import AnsweringTask
from captioning.tasks.captioning import CaptioningTask
from captioning.tasks.labelling import LabellingTask
from captioning.tasks.language import LanguageTask
from captioning.tasks.translation import TranslationTask
from captioning.training import scheduled_sampling, schedules
from captioning.training.objectives import CrossEntropy, Objective, SelfCritical
from captioning.training.settings import training_settings
from captioning.training.trackers import MLFlow, Trackio
from captioning.training.trainer import make_trainer

SETTINGS = settings_of_conf()
FOLLOWING = {  # made of other settings
    name: value for name, value in SETTINGS.items() if "${" in str(value) and " " in name and name[:6] != "hydra/"
}


def test_every_setting_has_a_test() -> None:
    for path in Path(__file__).parent.glob("test_*.py"):  # each says what it covers when it is imported
        spec = importlib.util.spec_from_file_location(f"wiring_{path.stem}", path)
        assert spec and spec.loader
        if path != Path(__file__):
            spec.loader.exec_module(importlib.util.module_from_spec(spec))
    without = SETTINGS.keys() - WIRED.keys() - FOLLOWING.keys()
    assert not without, (
        f"No test shows that these settings reach what they are for: {sorted(without)}. Write one in tests/wiring that "
        "changes the setting and looks at what it is for, and name the setting in its @wired(…)."
    )
    gone = WIRED.keys() - SETTINGS.keys()
    assert not gone, f"conf/ has no such settings any more: {sorted(gone)}. Take them out of @wired(…)."


# --- settings that are made of others -------------------------------------------------------------------------------

CHANGED = {"root": "moved", "count": 77, "scenes_seed": 5, "text": "moved.txt", "validation": 0.3, "cache": "moved"}
CHANGED |= {"splits.train": "other", "holdout.val": 9, "file": "file.json", "images": "pictures", "language": "en"}
CHANGED |= {"source_language": "fr", "target_language": "cs", "files": "[other.json]"}

CHANGED |= {"sources.clips.count": 77, "encoding": "utf-8", "folds": 4, "fold": 3, "folds_seed": 8}


@pytest.mark.parametrize("file", sorted({name.partition(" ")[0] for name in FOLLOWING if name.startswith("data=")}))
def test_what_is_made_of_other_settings_follows_them(file: str) -> None:
    """What reads or fetches data is given the settings of the data; a file that is made of the root moves along."""
    before = compose([file])
    there = dict(leaves(before["data"]))
    changes = {key: value for key, value in CHANGED.items() if key in there}
    after = compose([file, *(f"data.{key}={value}" for key, value in changes.items())])
    moved = compose([file, *(["data.root=moved"] if "root" in there else [])])
    for name, written in FOLLOWING.items():
        if name.startswith(f"{file} "):
            key = name.partition(" ")[2]
            whole = re.fullmatch(r"\$\{([\w.]+)\}", str(written))
            if whole and key not in (f"data.{each}" for each in changes):
                assert value_of(after, key) == value_of(after, whole[1]) != value_of(before, key), name
            else:
                assert value_of(moved, key) == str(written).replace("${data.root}", "moved"), name
                assert value_of(after, key) == CHANGED[key.removeprefix("data.")], name


def value_of(config: Any, name: str) -> Any:
    for part in name.split("."):
        config = config[part]
    return config


def test_the_objective_is_given_the_scheduled_sampling() -> None:
    others = {name for name in FOLLOWING if not name.startswith(("data=", "logger="))}
    # test_translation.py has the words of an encoder of sentences
    assert others == {"objective=cross_entropy objective.scheduled_sampling", "encoder=sentence encoder.max_words"}
    config = compose(["scheduled_sampling=exponential", "scheduled_sampling.k=0.5"])
    assert build(config["objective"], Objective).scheduled_sampling(2) == 0.75  # type: ignore[attr-defined]


# --- choices --------------------------------------------------------------------------------------------------------

VOCABULARY = Vocabulary([*SPECIAL, "a"])
SPEC = FeatureSpec(["frames"], pooled=(4,), grid=(1, 2, 2), frames=(3, 5))
SMALL = ("decoder.embedding_size=8", "decoder.hidden_size=8")


def plain(made: object) -> Any:
    """The class of an object, that which has been made fast for its own."""
    return getattr(type(made), "plain_class", type(made))


def decoder(config: Mapping[str, Any]) -> Any:
    return make_decoder(config, VOCABULARY, SPEC)


def trainer(config: Mapping[str, Any]) -> pl.Trainer:
    return make_trainer(
        {**config, "trainer": {**config["trainer"], "accelerator": "cpu"}}, Path("no"), Monitor.of(config)
    )


def loggers(config: Mapping[str, Any]) -> list[Any]:
    """The loggers of a trainer; trackio, which is not installed with the others, is given as an empty module."""
    with patch.dict("sys.modules", trackio=ModuleType("trackio")):
        if "mlflow" not in config["logger"]:
            return trainer(config).loggers
        with patch("mlflow.tracking.MlflowClient"):  # a new database takes seconds
            return trainer(config).loggers


def optimizer(config: Mapping[str, Any]) -> object:
    return training_settings(config)["optimizer"](params=[torch.nn.Parameter(torch.ones(1))])


def sampling(config: Mapping[str, Any]) -> Any:
    objective: Any = build(config["objective"], Objective)
    return objective.scheduled_sampling.func


def reader(config: Mapping[str, Any]) -> Any:
    fetches = config["data"].get("prepare")
    return resolve_name(config["data"]["source"]["_target_"]), fetches and resolve_name(fetches["_target_"])


OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}
CELLS = {"rnn": cells.RNN, "gru": cells.GRU, "lstm": cells.LSTM, "lstm_forget_bias": cells.LSTM}
CELLS |= {
    "lstm_peephole": cells.PeepholeLSTM,
    "lstm_coupled": cells.CoupledLSTM,
    "lstm_maxout": cells.MaxoutLSTM,
    "mut1": cells.MUT1,
    "mut2": cells.MUT2,
}
CELLS |= {"lstm_no_forget_gate": cells.NoForgetGateLSTM, "mut3": cells.MUT3}
DECODERS: dict[str, Any] = {"show_attend_tell": decoders.ShowAttendTell, "language_model": decoders.LanguageModel}
DECODERS |= {"neuraltalk": decoders.NeuralTalk, "show_tell": decoders.ShowTell, "lrcn": decoders.LRCN}
DECODERS |= {"mrnn": decoders.MRNN, "visual_memory": decoders.VisualMemory, "adaptive": decoders.Adaptive}
DECODERS |= {"up_down": decoders.UpDown, "transformer": decoders.Transformer}
DECODERS["attention_on_attention"] = decoders.AttentionOnAttention
DECODERS["sequence_to_sequence"] = decoders.SequenceToSequence
DECODERS |= {"s2vt": decoders.S2VT, "attend_states": decoders.AttendStates}
READERS: dict[str, Any] = {"coco": (data.read_coco, data.prepare_coco), "coco2014": (data.read_coco, data.prepare_coco)}
READERS |= {"coco_karpathy": (data.read_karpathy, data.prepare_coco), "flickr30k": (data.read_karpathy, None)}
READERS |= {"flickr8k_karpathy": (data.read_karpathy, None), "flickr8k": (data.read_flickr8k, None)}
READERS["multi30k"] = (data.read_multi30k, None)
READERS |= {"msvd": (data.read_msvd, None), "msr_vtt": (data.read_msr_vtt, None)}
READERS |= {"moving_scenes": (data.read_moving_scenes, None), "several": (data.read_several, None)}
READERS |= {"own": (data.read_own, None), "scenes": (data.read_scenes, None), "text": (data.read_characters, None)}
READERS |= {"coco_qa": (data.read_coco_qa, data.prepare_coco_qa), "daquar": (data.read_daquar, None)}
READERS |= {"vqa": (data.read_vqa, None), "vqa2": (data.read_vqa, data.prepare_vqa2)}
READERS["movie_reviews"] = (data.read_movie_reviews, None)
READERS["own_questions"] = (data.read_own_questions, None)
READERS |= {"multi30k_translation": (data.read_multi30k_translation, None)}
READERS |= {"own_translation": (data.read_own_translation, None)}
READERS["scenes_questions"] = (data.read_scene_questions, None)
ENCODERS: dict[str, Any] = {f"resnet{layers}": ResNet for layers in (18, 34, 50, 101, 152)}
ENCODERS |= {f"vgg{layers}{norm}": VGG for layers in (11, 16, 19) for norm in ("", "_bn")}
ENCODERS |= {"efficientnet_lite0": EfficientNetLite0, "efficientnet_lite1": EfficientNetLite1}
ENCODERS |= {"efficientnet_lite2": EfficientNetLite2, "several": Several, "timm": Timm, "none": None}
ENCODERS["sentence"] = SentenceEncoder
ENCODERS |= {"frames": Frames, "flow": Flow}

ANSWERERS: dict[str, Any] = {"none": None, "guess": answerers.Guess, "bow": answerers.BOW}
ANSWERERS |= {"lstm": answerers.LSTMAnswerer, "img": answerers.Img, "img_prior": answerers.ImgPrior}
ANSWERERS |= {"knn": answerers.KNN, "img_bow": answerers.ImgBOW, "vis_lstm": answerers.VisLSTM}
ANSWERERS |= {"two_vis_blstm": answerers.TwoVisBLSTM, "stacked_attention": answerers.StackedAttention}


def answerer(config: Mapping[str, Any]) -> Any:
    made = make_answerer(config, QUESTIONS, AnswerSet(["a"]), SPEC) if config.get("answerer") else None
    return None if made is None else plain(made)


QUESTIONS = QuestionVocabulary(VOCABULARY.words)

# a group to what each of its choices makes, and how that is made of a configuration
GROUPS: dict[str, tuple[dict[str, Any], Callable[[Any], Any]]] = {
    "task": (
        {
            "captioning": CaptioningTask,
            "language": LanguageTask,
            "answering": AnsweringTask,
            "translation": TranslationTask,
            "labelling": LabellingTask,
        },
        lambda config: type(build(config["task"], Task, config=config)),
    ),
    "data": (READERS, reader),
    "encoder": (
        ENCODERS,
        lambda config: class_of(config["encoder"], torch.nn.Module) if config.get("encoder") else None,
    ),
    "augmentation": (
        {"none": None, "standard": Augmentation},
        lambda config: type(build(config["augmentation"], Augmentation)) if config.get("augmentation") else None,
    ),
    "decoder": (DECODERS, lambda config: plain(decoder(config))),
    "answerer": (ANSWERERS, answerer),
    "cell": (CELLS, lambda config: plain(decoder(config).recurrent.layers[0])),
    "objective": (
        {"cross_entropy": CrossEntropy, "self_critical": SelfCritical},
        lambda config: type(build(config["objective"], Objective)),
    ),
    "optimizer": ({**OPTIMIZERS, "adagrad": torch.optim.Adagrad}, lambda config: type(optimizer(config))),
    "scheduler": (
        {"constant": schedules.constant, "cosine": schedules.cosine},
        lambda config: training_settings(config)["schedule"].func,
    ),
    "scheduled_sampling": (
        {name: getattr(scheduled_sampling, name) for name in ("never", "linear", "exponential", "inverse_sigmoid")},
        sampling,
    ),
    "search": (
        {
            "greedy": search.Greedy,
            "sample": search.Sample,
            "beam": search.Beam,
            "beam_8": search.Beam,
            "diverse_beam": search.DiverseBeam,
            "constrained_beam": search.ConstrainedBeam,
            "consensus": search.Consensus,
            "neighbours": search.Neighbours,
        },
        lambda config: type(make_search(config)),
    ),
    "metrics": (
        {
            "coco": [metrics.Bleu, metrics.RougeL, metrics.Cider],
            "answers": [metrics.Accuracy, metrics.AccuracyByKind, metrics.Wups, metrics.Wups],
            "accuracy": [metrics.Accuracy],
            "translation": [metrics.SacreBleu, metrics.ChrF],
            "moving_scenes": [metrics.Bleu, metrics.RougeL, metrics.Cider, metrics.Events, metrics.Events],
            "vqa": [metrics.VqaAccuracy, metrics.Accuracy, metrics.AccuracyByKind],
        },
        lambda config: [type(each) for each in metrics.build_metrics(config["metrics"])],
    ),
    "trainer": ({"default": pl.Trainer}, lambda config: type(trainer(config))),
    "logger": (
        {
            "csv": [CSVLogger],
            "default": [CSVLogger, TensorBoardLogger],
            "wandb": [CSVLogger, WandbLogger],
            "mlflow": [CSVLogger, MLFlow],
            "trackio": [CSVLogger, Trackio],
        },
        lambda config: [type(each) for each in loggers(config)],
    ),
    "callbacks": ({"none": []}, lambda config: list(config["callbacks"] or ())),
}


def test_every_group_and_choice_has_its_row() -> None:
    groups = {path.name for path in conf_dir().iterdir() if path.is_dir()} - {*PRESETS, "hydra"}
    assert groups == GROUPS.keys()
    for group, (choices, _) in GROUPS.items():
        files = {path.stem for path in (conf_dir() / group).glob("*.yaml")}
        assert {name for name in files if name != "base" and name[0] != "_"} == choices.keys(), group


@pytest.mark.parametrize("group", GROUPS)
def test_every_choice_makes_what_its_file_says(group: str) -> None:
    choices, make = GROUPS[group]
    for choice, expected in choices.items():
        encoder = [] if group == "encoder" else [*COLOURS]
        small = SMALL[:1] if choice == "transformer" else SMALL
        line = [*encoder, *small, f"{group}={choice}", *(["encoder.name=resnet10t"] if choice == "timm" else [])]
        assert make(compose(line)) == expected, choice
        if group in ("cell", "optimizer", "scheduler", "scheduled_sampling"):
            assert compose(line)[group]["_partial_"] is True  # for whoever makes it by hydra.utils.instantiate


# --- presets --------------------------------------------------------------------------------------------------------

FILES = sorted(path for preset in PRESETS for path in (conf_dir() / preset).glob("*.yaml"))
NEW = ("hidden", "rates", "callbacks.same_batches", "trainer.profiler", "hydra.sweeper.params")  # added by presets


@pytest.mark.parametrize("path", FILES, ids=[f"{path.parent.name}={path.stem}" for path in FILES])
def test_every_value_of_a_preset_arrives(path: Path) -> None:
    """A value that the preset has must be the run's, and the setting one that there is without the preset, too."""
    written: Any = OmegaConf.to_container(OmegaConf.load(path))
    chosen = choices_of(path)
    compositor = composer(str(conf_dir()), "train")
    with_preset = compositor.compose([f"{path.parent.name}={path.stem}"])
    without = compositor.compose([f"{group}={choice}" for group, choice in chosen.items()])
    for group, choice in chosen.items():
        assert with_preset.hydra.runtime.choices[group.removeprefix("+")] == choice
    written.pop("defaults", None)
    for name, value in leaves(written):
        arrived = raw(with_preset, name)
        assert arrived == value, name
        known = name.startswith(NEW) or name.partition("trainer.")[2] in signature(pl.Trainer).parameters
        assert known or has(without, name), f"{name}: there is no such setting to be changed"


def choices_of(path: Path) -> dict[str, str]:
    """The groups that a preset and those that it is made of choose, with a + those that they add."""
    found: dict[str, str] = {}
    for entry in OmegaConf.load(path).get("defaults", ()):
        if isinstance(entry, str) and entry != "_self_":
            found |= choices_of(path.with_name(f"{entry}.yaml"))
        elif isinstance(entry, DictConfig):
            found |= {
                re.sub("^/", "+", str(key).removeprefix("override /")): str(value) for key, value in entry.items()
            }
    return found


def raw(config: DictConfig, name: str) -> Any:
    """A setting as it is written, without what it stands for."""
    if OmegaConf.is_config(config) and name not in config:
        key = next(key for key in config if name.startswith(f"{key}."))
        return raw(config._get_node(key), name[len(str(key)) + 1 :])  # type: ignore[arg-type]
    value: Any = config._get_node(name)
    return OmegaConf.to_container(value) if OmegaConf.is_config(value) else value._value()


def has(config: Any, name: str) -> bool:
    for part in name.split("."):
        if not isinstance(config, DictConfig) or part not in config:
            return False
        config = config._get_node(part)
    return True
