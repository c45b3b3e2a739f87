"""Translation from the command line: trained with and without attention, resumed, on two processes, scored, drawn."""

import csv
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from captioning import Captioner, Translator
from captioning.core.errors import CaptioningError
from captioning.data.parallel import SentencePair
from captioning.jobs.config import compose
from captioning.jobs.train import train
from captioning.jobs.translate import sentences_of
from captioning.metrics import SacreBleu
from captioning.report.alignment import draw_alignment, draw_by_length
from captioning.runs.metrics_file import read_metrics
from captioning.tasks.translation.evaluation import score_translations

pytest.importorskip("sacrebleu")
Child = Callable[..., "subprocess.CompletedProcess[str]"]
NOUNS = {"dog": "Hund", "cat": "Kater", "man": "Mann"}
VERBS = {"runs": "läuft", "sits": "sitzt"}
PAIRS = [
    (f"A {noun} {verb}{', fast' * tail}.", f"Ein {NOUNS[noun]} {VERBS[verb]}{', schnell' * tail}.")
    for tail in (0, 1)
    for noun in NOUNS
    for verb in VERBS
]
COMMON = [
    *("task=translation", "data=own_translation", "data.source_language=en", "data.target_language=de"),
    *("data.minimum_count=1", "data.batch_size=4", "data.workers=0", "encoder=sentence", "metrics=translation"),
    *("encoder.embedding_size=16", "encoder.hidden_size=16", "decoder.embedding_size=16", "decoder.hidden_size=16"),
    *("optimizer.lr=0.02", "search.size=2", "search.max_length=8", "monitor=BLEU", "patience=null"),
    *("trainer.max_epochs=2", "trainer.log_every_n_steps=1", "trainer.enable_progress_bar=false"),
    *("trainer.accelerator=cpu", "logger=csv", "out=runs", "report=false"),
]
ATTENDING = ["decoder=show_attend_tell", "decoder.attention_size=16", "cell=gru"]


def write(folder: Path) -> list[str]:
    """Twelve sentences for training, which are also those of the other splits; the settings that name them."""
    for split, pairs in {"train": PAIRS, "val": PAIRS[:5], "test": PAIRS[5:]}.items():
        for language, sentences in zip(("en", "de"), zip(*pairs, strict=True), strict=True):
            (folder / f"{split}.{language}").write_text("".join(f"{each}\n" for each in sentences))
    return [*COMMON, f"data.root={folder}"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, in_child: Child) -> Path:
    """A folder with the runs ``attending`` (well trained), ``plain`` and ``pieces``, and the text beside them."""
    folder = tmp_path_factory.mktemp("translation")
    line = write(folder)
    long = ["trainer.max_epochs=30", "+trainer.check_val_every_n_epoch=15"]
    state = ["decoder=sequence_to_sequence", "decoder.image=state", "encoder.bidirectional=false"]
    done = in_child(
        ["train", *line, *ATTENDING, *long, "name=attending"], ["train", *line, *state, "name=plain"], cwd=folder
    )
    assert done.returncode == 0, done.stderr
    return folder


def scores(folder: Path, name: str) -> dict[str, object]:
    content: dict[str, object] = json.loads((folder / "runs" / name / "scores_test.json").read_text())
    return content


def test_a_run_is_scored_with_signatures_intervals_and_lengths(trained: Path, in_child: Child) -> None:
    found = scores(trained, "attending")
    assert found["languages"] == ["en", "de"] and found["sentences"] == 7
    assert found["scores"]["BLEU"] > 0.7 and found["scores"]["chrF"] > 0.7
    assert set(found["signatures"]) == set(found["intervals"]) == {"BLEU", "chrF"}
    low, high = found["intervals"]["BLEU"]
    assert low <= found["scores"]["BLEU"] <= high <= 1
    assert sum(group["sentences"] for group in found["by_length"]) == 7
    written = json.loads((trained / "runs" / "attending" / "translations_test.json").read_text())["sentences"]
    assert [row["reference"] for row in written] == [target for _, target in PAIRS[5:]]
    with Image.open(trained / "runs" / "attending" / "bleu_by_length_test.png") as picture:
        assert picture.size[0] > 100
    done = in_child(
        [
            "evaluate",
            "runs/attending",
            "data.root=.",
            "data.source_language=en",
            "data.target_language=de",
            "--beam",
            2,
        ],
        ["results", "rows.csv", "runs"],
        cwd=trained,
    )
    assert done.returncode == 0, done.stderr
    assert "BLEU: nrefs:1|case:mixed" in done.stdout and "sources of 3 to 4 words" in done.stdout
    rows = {row["decoder"]: row for row in csv.DictReader((trained / "rows.csv").open())}
    row = rows["show_attend_tell"]
    assert (row["direction"], row["tokenizer"], row["sentences"]) == ("en-de", "words", "7")
    assert float(row["BLEU_low"]) <= float(row["BLEU"]) <= float(row["BLEU_high"]) and row["search"].startswith(
        "beam 2"
    )
    assert "sequence_to_sequence" in rows


def test_sentences_and_files_are_translated_and_attention_is_drawn(trained: Path, in_child: Child) -> None:
    (trained / "some.txt").write_text(f"{PAIRS[0][0]}\n\n{PAIRS[7][0]}\n")
    line = ["translate", "runs/attending", PAIRS[1][0], "some.txt", "--json", "out.json", "--attention", "a.png"]
    done = in_child(line, ["translate", "runs/plain", PAIRS[0][0], "--json", "-"], cwd=trained)
    assert done.returncode == 0, done.stderr
    lines, rest = done.stdout.split(chr(0))[:2]
    assert lines.split("\n")[:4] == [PAIRS[1][1], PAIRS[0][1], "", PAIRS[7][1]]
    rows = json.loads((trained / "out.json").read_text())
    assert [row["source"] for row in rows] == [PAIRS[1][0], PAIRS[0][0], "", PAIRS[7][0]]
    assert {path.name for path in trained.glob("a*.png")} == {"a.png", "a_2.png", "a_4.png"}
    assert json.loads(rest)[0]["source"] == PAIRS[0][0]
    refused = in_child(["translate", "runs/plain", "A dog.", "--attention", "b.png"], cwd=trained)
    assert refused.returncode == 1 and "SequenceToSequence has no attention to show" in refused.stderr
    assert in_child(["translate", "runs/plain", "nowhere.txt"], cwd=trained).returncode == 1
    (trained / "empty.txt").write_text("")
    with pytest.raises(CaptioningError, match="the file is empty"):
        sentences_of(str(trained / "empty.txt"))


def test_a_sentence_is_translated_alone_as_among_longer_ones(trained: Path) -> None:
    translator = Translator.load(trained / "runs" / "attending", "cpu")
    sources = [PAIRS[0][0], PAIRS[8][0], "A", f"{PAIRS[9][0]} {PAIRS[2][0]}", "zebra"]
    together = list(translator.translate(sources, attention=True))
    for source, one in zip(sources, together, strict=True):
        (alone,) = translator.translate([source], attention=True)
        assert alone.text == one.text and alone.score == pytest.approx(one.score, abs=1e-5)
        np.testing.assert_allclose(alone.attention, one.attention, atol=1e-5)
        assert one.attention.shape == (len(one.tokens), len(one.source)) and one.source[-1] == "<end>"
        np.testing.assert_allclose(one.attention.sum(1), 1, atol=1e-5)  # none is left beyond the length
    assert translator(PAIRS[0][0]) == PAIRS[0][1] == together[0].text
    with pytest.raises(CaptioningError, match="A batch of 0 sentences"):
        next(translator.translate(sources, batch_size=0))


def test_attention_looks_at_nothing_beyond_a_sentence(trained: Path) -> None:
    translator = Translator.load(trained / "runs" / "attending", "cpu")
    languages = translator.languages
    from captioning.core.sentences import Sentences

    numbers = [languages.sources.read(languages.segmenters[0].split(text)) for text in (PAIRS[0][0], PAIRS[9][0])]
    features = translator.encoder(Sentences.of(numbers))
    _, state = translator.decoder.step(torch.ones(2, 1, dtype=torch.long), translator.decoder.start(features))
    short = len(numbers[0])
    assert short < len(numbers[1])
    weights = state.sequence["attention"][0, 0]
    assert not weights[short:].any() and float(weights.sum()) == pytest.approx(1)


def test_an_interrupted_run_goes_on_to_the_same_losses(trained: Path, tmp_path: Path) -> None:
    dropped = ["decoder.embedding_dropout=0.5", "encoder.embedding_dropout=0.5", "objective.feature_dropout=0.5"]
    line = [*write(tmp_path), *ATTENDING, *dropped, "test=false", "trainer.max_epochs=3", "checkpoint_minutes=0"]
    train(compose(line), tmp_path / "whole")
    stopping = StopAt(5)
    with pytest.raises(RuntimeError, match="stopped here"), stopping:
        train(compose(line), tmp_path / "cut")
    train(compose(line), tmp_path / "cut")
    whole, cut = (read_metrics(tmp_path / name / "metrics.csv") for name in ("whole", "cut"))
    assert len(whole) == len(cut) >= 9
    for ours, theirs in zip(cut, whole, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-6)


class StopAt:
    """Interrupts training before a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def __enter__(self) -> None:
        from captioning.tasks.translation.module import TranslationModule

        self.kind, self.losses = TranslationModule, TranslationModule.losses

        def losses(module: TranslationModule, batch: object) -> object:
            if module.trainer.global_step == self.step:
                raise RuntimeError("stopped here")
            return self.losses(module, batch)  # type: ignore[arg-type]

        self.kind.losses = losses  # type: ignore[method-assign,assignment]

    def __exit__(self, *error: object) -> None:
        self.kind.losses = self.losses  # type: ignore[method-assign]


def test_two_ranks_are_one_process_with_the_same_global_batch(
    tmp_path: Path,
    in_fork: "Callable[..., subprocess.CompletedProcess[str]]",
    two_ranks: Callable[..., Callable[[], int]],
) -> None:
    line = [*write(tmp_path), *ATTENDING, "test=false"]
    train(compose([*line, "data.batch_size=4"]), tmp_path / "one")
    two = [*line, "data.batch_size=2", "trainer.devices=2", "trainer.strategy=ddp", "name=two", f"out={tmp_path}"]
    done = in_fork(two_ranks(two), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    ours, theirs = (read_metrics(tmp_path / name / "metrics.csv") for name in ("two", "one"))
    assert len(ours) == len(theirs) and any("val/BLEU" in row for row in ours)
    for one, other in zip(ours, theirs, strict=True):
        assert one == pytest.approx(other, rel=1e-4, abs=1e-6)


def test_subwords_are_kept_in_the_checkpoint(tmp_path: Path) -> None:
    pytest.importorskip("sentencepiece")
    line = [*write(tmp_path), *ATTENDING, "data.tokenizer=subwords", "data.subwords=40", "trainer.max_epochs=1"]
    train(compose(line), tmp_path / "pieces")
    translator = Translator.load(tmp_path / "pieces", "cpu")
    assert any(word.startswith("▁") for word in translator.languages.targets.words)
    assert "▁" not in translator(PAIRS[0][0])


def test_checkpoints_of_other_tasks_are_told_apart(trained: Path) -> None:
    with pytest.raises(CaptioningError, match=r"but translates \(`captioning translate`\)"):
        Captioner.load(trained / "runs" / "plain", "cpu")


def test_scores_by_length_are_of_the_sentences_of_these_lengths() -> None:
    pairs = [SentencePair("a b c", "x y z w"), SentencePair(" ".join("a" * 25), "q r s t")]
    found = score_translations(["x y z w", "u"], pairs, [SacreBleu()], resamples=3, seed=0)
    assert [(group["least"], group["most"], group["sentences"]) for group in found.by_length] == [
        (3, 3, 1),
        (25, 25, 1),
    ]
    assert [group["scores"]["BLEU"] for group in found.by_length] == [pytest.approx(1), 0]


def test_drawings_have_a_cell_for_each_pair_of_words(tmp_path: Path) -> None:
    weights = np.eye(3, 4, dtype=np.float32)
    draw_alignment(["A", "dog", "￭.", "<end>"], ["Ein", "$Hund", "<end>"], weights, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.width > picture.height > 100
    with pytest.raises(ValueError, match="for 3 words from 3"):
        draw_alignment(["A", "b", "c"], ["Ein", "Hund", "<end>"], weights, tmp_path / "b.png")
    groups = [{"least": 1, "most": 5, "scores": {"BLEU": 0.4}}, {"least": 6, "most": 9, "scores": {"BLEU": 0.2}}]
    draw_by_length({"one": groups, "other": groups}, "BLEU", tmp_path / "c.png")
    assert (tmp_path / "c.png").stat().st_size > 1000


def test_what_does_not_fit_gets_a_sentence(tmp_path: Path) -> None:
    line = [*write(tmp_path), *ATTENDING]
    bad = {
        "encoder=none": "task=translation needs an encoder of sentences",
        "encoder=resnet18": "this reads no sentences. Take encoder=sentence",
        "data.tokenizer=treebank": "translation has no such tokenizer",
        "data.minimum_count=99": "No word of the training sources occurs 99 times",
    }
    for setting, says in bad.items():
        kept = [each for each in line if setting[:8] != "encoder=" or not each.startswith("encoder")]
        with pytest.raises(CaptioningError, match=says):
            train(compose([*kept, setting]), tmp_path / "run")
    with pytest.raises(CaptioningError, match="choose data=multi30k_translation or data=own_translation"):
        train(compose(["task=translation", "data=own", f"data.root={tmp_path}"]), tmp_path / "run")


def test_a_sentence_that_is_too_long_for_a_file_s_name_is_a_sentence(tmp_path: Path) -> None:
    long = "一只狗在草地上奔跑，" * 20
    assert sentences_of(long) == [long] and sentences_of("a" * 5000) == ["a" * 5000]
    (tmp_path / "old.txt").write_bytes(b"A dog.\rA cat.\r")
    (tmp_path / "windows.txt").write_bytes(b"\xef\xbb\xbfA dog.\r\nA cat.\r\n")
    assert sentences_of(str(tmp_path / "old.txt")) == ["A dog.", "A cat."]
    assert [text.strip() for text in sentences_of(str(tmp_path / "windows.txt"))] == ["A dog.", "A cat."]
