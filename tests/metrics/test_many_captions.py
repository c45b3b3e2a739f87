"""Very many captions: scores in blocks are those of all at once, and memory holds one block."""

import json
import random
import tracemalloc
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

from captioning.core import json_stream
from captioning.metrics import (
    Bleu,
    Cider,
    Metric,
    Pairs,
    References,
    Scorer,
    Scores,
    UnavailableError,
    coco_metrics,
    metric,
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
    assert 0 < len(in_blocks.index) < len(elsewhere.frequencies.index) and in_blocks.images == 70
    assert (in_blocks.count > 1).all()
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
