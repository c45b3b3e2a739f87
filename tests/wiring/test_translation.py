"""The settings of translation: sentences, their tokens, and the encoder that reads them."""

from pathlib import Path
from typing import Any

import pytest
import torch
from wires import compose, wired

from captioning.core.build import build, call
from captioning.core.sentences import Sentences, SourceVocabulary
from captioning.core.vocabulary import SPECIAL
from captioning.data import ParallelText
from captioning.runs.parts import make_sentence_encoder
from captioning.tasks import Task

KINDS_OF_DATA = ("multi30k_translation", "own_translation")
SENTENCES = [("A seldom dog", "Ein Hund"), *[("A dog runs here now", "Ein Hund läuft jetzt hier")] * 5]


def write(folder: Path, ending: str = "", names: tuple[str, ...] = ("train", "val", "test")) -> Path:
    for name in names:
        for place, language in enumerate(("en", "de", "fr")):
            lines = [f"{(*pair, *pair)[place]}{ending}\n" for pair in SENTENCES]
            (folder / f"{name}.{language}").write_text("".join(lines))
    return folder


def prepared(folder: Path, *more: str) -> Any:
    languages = ("data.source_language=en", "data.target_language=de")
    common = ("task=translation", "data=own_translation", "encoder=sentence", "metrics=translation", "monitor=BLEU")
    config = compose([*common, f"data.root={write(folder)}", *languages, *more])
    task = build(config["task"], Task, config=config)
    return task.prepare(task.read_source(), folder, torch.device("cpu"))


@wired("data=_translation data.batch_size", "data=_translation data.max_words", "data=_translation data.workers")
def test_a_batch_has_so_many_sentences_and_words(tmp_path: Path) -> None:
    data = prepared(tmp_path, "data.batch_size=4", "data.max_words=2", "data.workers=0").data
    assert [len(batch.sources.lengths) for batch in data.val_dataloader()] == [4, 2]
    batch = next(iter(data.train_dataloader()))
    assert batch.sources.words.shape == (4, 3) and batch.packing.shape == (4, 1, 3)
    assert prepared(tmp_path, "data.workers=1").data.val_dataloader().num_workers == 1


@wired("data=_translation data.minimum_count", "data=_translation data.tokenizer", "data=_translation data.subwords")
@wired("data=_translation data.lower_source", "data=_translation data.lower_target")
def test_words_are_split_counted_and_lower_cased_as_is_set(tmp_path: Path) -> None:
    pytest.importorskip("sentencepiece")

    def words(*more: str) -> tuple[set[str], set[str]]:
        contents = prepared(tmp_path, *more).contents
        return set(contents["sources"]), set(contents["targets"])

    sources, targets = words()
    assert {"dog", "a"} <= sources and "seldom" not in sources and {"Hund", "Ein"} <= targets
    assert "seldom" in words("data.minimum_count=1")[0]
    sources, targets = words("data.lower_source=false", "data.lower_target=true")
    assert "A" in sources and "a" not in sources and "hund" in targets and "Hund" not in targets
    few, many = (words("data.tokenizer=subwords", f"data.subwords={size}")[1] for size in (20, 21))
    assert "▁Hund" in few & many and "▁hier" in many - few


@wired(
    *(f"data={kind} data.{name}" for kind in KINDS_OF_DATA for name in ("root", "source_language", "target_language"))
)
def test_files_are_read_from_the_root_in_the_set_languages(tmp_path: Path) -> None:
    write(tmp_path, names=("train", "val", "test", "test_2016_flickr"))
    for kind in KINDS_OF_DATA:
        line = [f"data={kind}", f"data.root={tmp_path}", "data.source_language=de", "data.target_language=fr"]
        found = call(compose(line)["data"]["source"], ParallelText)
        assert found.languages == ("de", "fr") and found["train"][0].source == "Ein Hund"
        assert found["test"][0].target == "A seldom dog"


@wired(*(f"data={kind} data.name" for kind in KINDS_OF_DATA))
def test_names_are_those_of_the_command_line() -> None:
    for kind in KINDS_OF_DATA:
        assert compose([f"data={kind}"])["data"]["name"] == kind


@wired(
    "encoder=sentence encoder.embedding_size", "encoder=sentence encoder.hidden_size", "encoder=sentence encoder.depth"
)
@wired("encoder=sentence encoder.bidirectional", "encoder=sentence encoder.embedding_dropout")
@wired("encoder=sentence encoder.layer_dropout")
def test_the_encoder_has_the_set_layers() -> None:
    words = SourceVocabulary([*SPECIAL, "a"])

    def made(*more: str) -> Any:
        return make_sentence_encoder(compose(["encoder=sentence", "data=own_translation", "cell=gru", *more]), words)

    found = made("encoder.embedding_size=5", "encoder.hidden_size=7", "encoder.depth=2", "data.max_words=9")
    assert found.embedding.weight.shape == (5, 5) and found.spec["grid"] == (10, 14) and len(found.layers) == 2
    assert found.layers[1][1].Whh.in_features == 7
    assert made("encoder.bidirectional=false", "encoder.hidden_size=7").spec["pooled"] == (7,)
    dropped = made("encoder.embedding_dropout=0.25", "encoder.layer_dropout=0.5")
    assert (dropped.embedding_dropout.p, dropped.layer_dropout.p) == (0.25, 0.5)
    assert found(Sentences.of([[4, 2]]))["pooled"].shape == (1, 14)
