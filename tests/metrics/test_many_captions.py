"""Very many captions: scores in blocks are those of all at once, and memory holds one block."""

import csv
import json
import random
import tracemalloc
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

from captioning.core import json_stream, spilled
from captioning.jobs import score
from captioning.metrics import (
    Bleu,
    Cider,
    Metric,
    Pairs,
    References,
    Scorer,
    Scores,
    UnavailableError,
    bootstrap,
    coco_metrics,
    diversity,
    frequencies,
    image_ids,
    metric,
    packed,
    references,
    scores,
)
from captioning.metrics.comparison import compare
from captioning.metrics.results import read_references, read_results
from captioning.text.registry import Tokenizer, number_tokens
from captioning.text.token_numbers import TokenNumbers
from captioning.text.tokenizer import number_coco, tokenize_coco

TEXT = "a A the dog dogs cat on in of is I. S. U.S. no. fig. 5 1/2 (red) don't dogs' & $5 é \n ."
WORDS = [*TEXT.split(" "), "1 1/2"]


def captions(count: int, seed: int = 0) -> tuple[list[str], list[list[str]]]:
    """Some candidates, and one to three references of each, with what makes a caption depend on the next one."""
    draw = random.Random(seed)
    texts = [" ".join(draw.choices(WORDS, k=draw.randint(0, 9))) for _ in range(60)]
    return draw.choices(texts, k=count), [draw.choices(texts, k=draw.randint(1, 3)) for _ in range(count)]


class Position(Metric):
    """A metric that must see all images at once."""

    def statistics(self, pairs: Pairs) -> list[list[int]]:
        return [[len(pairs), 7 * number] for number, _ in enumerate(pairs.candidates)]

    def score(self, sums: np.ndarray, images: np.ndarray) -> np.ndarray:
        return sums.sum(-1, keepdims=True) / images[..., None]


def test_scores_in_blocks_are_those_of_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    candidates, given = captions(100)
    whole = Scorer([*coco_metrics(), Position()], given).score(candidates)
    elsewhere = References(captions(70, seed=1)[1])
    fixed = Scorer([Cider(elsewhere.frequencies)], given).score(candidates)
    weights = np.random.default_rng(0).integers(0, 3, (5, 100)).astype(np.float64)
    resampled = whole.resampled(weights)
    monkeypatch.setattr(references, "AT_ONCE", 7)
    for module in (references, scores):
        monkeypatch.setattr(module, "MANY", 7)
    blocks = Scorer([*coco_metrics(), Position()], given).score(candidates)
    assert [each.dtype for each in blocks.statistics] == [np.uint8, np.float64, np.float64, np.uint16]
    for name, values in blocks.resampled(weights).items():
        np.testing.assert_allclose(values, resampled[name], atol=1e-9, rtol=1e-12, err_msg=name)
    for name, values in blocks.images().items():
        np.testing.assert_allclose(values, whole.images()[name], atol=1e-12, rtol=0, err_msg=name)
    assert blocks.corpus() == pytest.approx(whole.corpus(), abs=1e-12)
    in_blocks = References(captions(70, seed=1)[1]).frequencies
    assert isinstance(in_blocks, frequencies.HashedFrequencies) and in_blocks.images == 70
    counted = elsewhere.frequencies.counts_of(elsewhere.ngrams.counts.index)
    np.testing.assert_array_equal(in_blocks.counts_of(elsewhere.ngrams.counts.index), np.where(counted > 1, counted, 0))
    assert {1, 2} < {*counted.tolist()}
    again = Scorer([Cider(in_blocks)], given).score(candidates)
    np.testing.assert_allclose(again.images()["CIDEr"], fixed.images()["CIDEr"], atol=1e-12)


def test_metrics_share_the_tokens_of_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(references, "AT_ONCE", 7)
    monkeypatch.setattr(references, "MANY", 7)
    begun: list[int] = []

    def numbers(tokenizer: Tokenizer, texts: Sequence[str], begin: int = 0, end: int | None = None) -> TokenNumbers:
        begun.append(begin)
        return number_tokens(tokenizer, texts, begin, end)

    monkeypatch.setattr(metric, "number_tokens", numbers)
    candidates, given = captions(100)
    (report,) = compare({"ours": candidates}, given, resamples=0)
    assert begun == [*range(0, 100, 7)]
    gone = Position()
    monkeypatch.setattr(gone, "statistics", Mock(side_effect=UnavailableError("gone")))
    (without,) = compare({"ours": candidates}, given, metrics=[*coco_metrics(), gone], resamples=0)
    assert without.scores == report.scores and len(report.scores) == 6


def test_a_part_of_captions_has_the_tokens_that_the_whole_gives_it() -> None:
    texts = captions(200)[0]
    tokens = tokenize_coco(texts)
    for begin, end in ((0, 200), (0, 1), (30, 77), (199, 200), (5, 5)):
        assert number_coco(texts, begin, end).lists() == tokens[begin:end]


def test_memory_holds_one_block_and_the_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(references, "AT_ONCE", 100)
    for module in (references, scores):
        monkeypatch.setattr(module, "MANY", 100)

    def peak(count: int) -> int:
        candidates, given = captions(count)
        tracemalloc.start()
        try:
            Scorer(coco_metrics(), given).score(candidates).corpus()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(100)  # caches of words
    few, many = peak(200), peak(900)
    assert many - few < 700 * 250  # bytes: the sketch of n-grams, statistics, places of texts; no tokens, no n-grams


def test_an_image_s_statistics_take_bytes_and_temporary_numbers_are_those_of_a_block(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scores, "MANY", 100)
    found = Scores((Bleu(),), (np.ones((10_000, 10), np.uint8),))

    def peak(work: Callable[[], object]) -> float:
        tracemalloc.start()
        try:
            work()
            return tracemalloc.get_traced_memory()[1] / len(found)
        finally:
            tracemalloc.stop()

    assert peak(found.corpus) < 20  # bytes an image: its weight
    assert peak(found.images) < 100  # four scores, in blocks and together


def test_document_frequencies_of_further_images_take_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Captions whose n-grams all occur in two images: their weights are in a file."""
    in_small_blocks(monkeypatch, 100)
    in_files(monkeypatch, 100)
    draw = np.random.default_rng(0)

    def peak(count: int) -> int:
        words = draw.integers(0, 1_000, (count, 10)).astype(str)
        texts = [" ".join(each) for each in words]
        given = References([[text] for text in (*texts, *texts[::-1])])
        index = given.ngrams.counts.index
        _ = given.flat, given.frequencies.images  # the block of the first use
        del given.frequencies
        tracemalloc.start()
        try:
            found = given.frequencies
            most = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        counts = found.counts_of(index)
        assert counts[len(index.words) :].min() == 2  # pairs of words and more occur in few captions, and those twice
        return most

    few, many = peak(300), peak(1_000)
    assert (many - few) / 1_400 < 20  # bytes an image, which has 34 n-grams: the places of these small blocks


@pytest.mark.parametrize("name", ["results.json", "results.jsonl", "results.zip", "references.json"])
def test_files_are_read_in_pieces(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """20,000 further captions take what their texts and ids take, whatever the form of the file."""
    monkeypatch.setattr(json_stream, "_PIECE", 1 << 16)

    def peak(count: int) -> int:
        path = tmp_path / f"{count}_{name}"
        entries = [
            json.dumps({"image_id": 3 * number, "caption": f"a man on a bike {number}"}) for number in range(count)
        ]
        if name == "references.json":
            images = ", ".join(f'{{"id": {3 * number}}}' for number in range(count))
            path.write_text(f'{{"images": [{images}], "annotations": [{", ".join(entries)}]}}')
        elif name == "results.jsonl":
            path.write_text("\n".join(entries))
        elif name == "results.json":
            path.write_text(f"[{', '.join(entries)}]")
        else:
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("results.json", f"[{', '.join(entries)}]")
        del entries
        tracemalloc.start()
        try:
            found = read_references(path) if name == "references.json" else read_results(path)
            most = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert len(found) == count and [*found][-1] == 3 * (count - 1)
        return most

    few, many = peak(5_000), peak(25_000)
    assert many - few < 20_000 * 90  # bytes; the parsed entries and the file's text take 600


def write_captions(folder: Path, count: int, shuffled: bool = False) -> list[str]:
    """The command line that scores so many captions against three references each, without METEOR."""
    draw = random.Random(0)
    texts = [" ".join(draw.choices(WORDS, k=draw.randint(1, 9))) for _ in range(60)]
    images = [3 * number for number in range(count)]
    entries = [{"image_id": image, "caption": draw.choice(texts)} for image in images]
    given = [{"image_id": image, "caption": draw.choice(texts)} for image in images for _ in range(3)]
    if shuffled:
        draw.shuffle(entries)
        draw.shuffle(given)
    (folder / "said.json").write_text(json.dumps(entries))
    (folder / "given.json").write_text(json.dumps({"images": [{"id": each} for each in images], "annotations": given}))
    return [str(folder / "said.json"), "--references", str(folder / "given.json"), "--no-meteor"]


def in_small_blocks(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    """Score in blocks of so many images."""
    monkeypatch.setattr(score, "keep_memory", lambda: False)
    monkeypatch.setattr(references, "AT_ONCE", at_once)
    for module in (references, scores):
        monkeypatch.setattr(module, "MANY", at_once)


def in_files(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    """Leave nothing in memory that can be in a temporary file; blocks of so many rows."""
    monkeypatch.setattr(spilled, "HELD", 0)
    for module in (spilled, image_ids):
        monkeypatch.setattr(module, "ROWS", rows)
    monkeypatch.setattr(packed.Texts.__init__, "__defaults__", (0,))
    monkeypatch.setattr(bootstrap, "_DRAWN", rows)
    monkeypatch.setattr(diversity, "_COMPARED", rows)
    monkeypatch.setattr(frequencies, "_CAPTIONS_BITS", 8)


@pytest.mark.parametrize("shuffled", [False, True])
def test_files_written_from_temporary_files_are_those_written_from_memory(
    shuffled: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = [*write_captions(tmp_path, 600, shuffled), "--train", str(tmp_path / "given.json"), "--resamples", "30"]
    in_small_blocks(monkeypatch, 100)
    written = []
    for name in ("memory", "files"):
        files = [tmp_path / f"{name}.json", tmp_path / f"{name}.csv"]
        assert score.main([*line, "--json", str(files[0]), "--per-image", str(files[1])]) == 0
        written.append([*(file.read_bytes() for file in files), capsys.readouterr().out])
        in_files(monkeypatch, 64)
    assert written[0] == written[1]
    with (tmp_path / "files.csv").open(newline="") as file:
        assert len([*csv.reader(file)]) == 601


class Letters(Metric):
    """A metric that takes little time and memory."""

    by_image = True

    def statistics(self, pairs: Pairs) -> list[list[float]]:
        return [[len(caption), 0.5] for caption in pairs.candidates]

    def score(self, sums: np.ndarray, images: np.ndarray) -> np.ndarray:
        return sums[..., :1] / images[..., None]


def test_a_further_image_takes_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an image remains a byte while its weights are drawn, beside the places of blocks in the temporary files."""
    in_small_blocks(monkeypatch, 500)
    in_files(monkeypatch, 500)
    monkeypatch.setattr(json_stream, "_PIECE", 1 << 14)
    monkeypatch.setattr(bootstrap, "_WEIGHTS", 1)
    monkeypatch.setattr(diversity, "_AT_ONCE", 500)

    def peak(count: int) -> int:
        write_captions(tmp_path, count)
        tracemalloc.start()
        try:
            given = References(read_references(tmp_path / "given.json").sets)
            said = read_results(tmp_path / "said.json").all.sets.first
            (report,) = compare({"": said}, given, metrics=[Letters()], resamples=2)
            assert sum(1 for _ in report.images.rows(["Letters"])) == count
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(500)  # caches of words
    few, many = peak(1_000), peak(2_500)
    assert (many - few) / 1_500 < 9  # bytes: 6, most of them the places of these small blocks
