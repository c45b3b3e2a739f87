"""The metric of any training loop: batches and ranks give what one call gives."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from captioning.core.errors import CaptioningError
from captioning.metrics import score_captions
from captioning.metrics.torch_metric import CaptionScores

CAPTIONS = ["a dog (red) runs", "a cat on a bed", "two men é", "a bus", "a red bus"]
REFERENCES = [["a dog runs", "the dog"], ["a cat"], ["two men walk é", "men"], ["the bus stops"], ["a red bus stops"]]


def fill(metric: CaptionScores, images: range | list[int]) -> CaptionScores:
    for image in images:
        metric.update([CAPTIONS[image]], [REFERENCES[image]], [image])
    return metric


def test_batches_are_one_corpus() -> None:
    expected = score_captions(CAPTIONS, REFERENCES)
    metric = CaptionScores()
    metric.update(CAPTIONS[:2], REFERENCES[:2])
    metric.update([], [])
    metric.update(CAPTIONS[2:], REFERENCES[2:])
    assert {name: float(value) for name, value in metric.compute().items()} == pytest.approx(expected)
    metric.reset()
    with pytest.raises(CaptioningError, match="0 of 0 images"):
        fill(metric, []).update([], [])
        metric.compute()


def test_two_ranks_with_a_repeated_image_are_one_process() -> None:
    others = fill(CaptionScores(), [1, 3, 0])  # a distributed sampler fills up with the first image
    gathered = {"uint8": torch.cat(others.texts), "int64": torch.cat(others.sizes)}

    def gather(value: torch.Tensor, group: object = None) -> list[torch.Tensor]:
        return [value, gathered[str(value.dtype).removeprefix("torch.")]]

    metric = fill(CaptionScores(dist_sync_fn=gather, distributed_available_fn=lambda: True), [0, 2, 4])
    alone = fill(CaptionScores(), range(5)).compute()
    assert {name: float(value) for name, value in metric.compute().items()} == {
        name: float(value) for name, value in alone.items()
    }
    assert float(alone["CIDEr"]) == pytest.approx(score_captions(CAPTIONS, REFERENCES)["CIDEr"])


def _rank(rank: int, folder: Path) -> None:
    """One of two processes: its own images, of which the sampler repeats one."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    scores = fill(CaptionScores(), [[0, 2, 4], [1, 3, 0]][rank]).compute()
    (folder / f"{rank}.json").write_text(json.dumps({name: float(value) for name, value in scores.items()}))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_two_processes_are_one(tmp_path: Path) -> None:
    children = []
    for rank in range(2):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                _rank(rank, tmp_path)
                status = 0
            finally:
                os._exit(status)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    alone = {name: float(value) for name, value in fill(CaptionScores(), range(5)).compute().items()}
    assert [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)] == [alone, alone]


def test_wrong_numbers_are_refused() -> None:
    with pytest.raises(CaptioningError, match="2 captions, references of 1 images, 2 ids"):
        CaptionScores().update(["a", "b"], [["a"]], [1, 2])


def test_scores_are_in_single_precision(no_doubles: type[Any]) -> None:
    with no_doubles():
        assert float(fill(CaptionScores(), range(5)).compute()["CIDEr"]) > 0
