"""The scores of captions in any training loop: a ``torchmetrics.Metric``, synchronised over ranks.

    scores = CaptionScores()
    for batch in loader:
        scores.update(captions, references, ids)
    values = scores.compute()  # {"BLEU-1": tensor(0.71), …, "CIDEr": tensor(0.98)}, of all ranks

CIDEr depends on all images scored at once, and BLEU is no mean over batches. The metric therefore keeps the captions as
bytes, gathers those of all ranks, and scores them once; images that a distributed sampler gives twice count once.
``CiderReward`` is the reward of self-critical training.
"""

import json
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric as TorchMetric

from captioning.core.errors import CaptioningError
from captioning.core.ids import ImageId
from captioning.metrics.metric import Metric
from captioning.metrics.references import References
from captioning.metrics.scores import Scorer, coco_metrics
from captioning.text.registry import Tokenizer
from captioning.text.tokenizer import tokenize_coco


class CaptionScores(TorchMetric):
    """coco-caption's scores of the captions of all batches and ranks."""

    full_state_update = False
    higher_is_better = True
    is_differentiable = False
    texts: list[Tensor]
    sizes: list[Tensor]

    def __init__(
        self, metrics: Sequence[Metric] | None = None, tokenizer: Tokenizer = tokenize_coco, **settings: Any
    ) -> None:
        """Take the settings.

        Args:
            metrics: the metrics; by default BLEU-1 to -4, ROUGE-L and CIDEr.
            tokenizer: the tokenizer; by default coco-caption's.
            settings: those of ``torchmetrics.Metric``.
        """
        super().__init__(**settings)
        self.metrics, self.tokenizer = list(metrics) if metrics is not None else coco_metrics(), tokenizer
        self.add_state("texts", [], dist_reduce_fx="cat")
        self.add_state("sizes", [], dist_reduce_fx="cat")

    def update(
        self, captions: Sequence[str], references: Sequence[Sequence[str]], ids: Sequence[ImageId] | None = None
    ) -> None:
        """Take a batch.

        Args:
            captions: one caption of each image, as generated.
            references: the references of each image, as written.
            ids: the images' ids, by which repeated images are known; without them each image is another one.

        Raises:
            CaptioningError: the numbers of captions, references and ids differ.
        """
        count = len(captions)
        if len(references) != count or (ids is not None and len(ids) != count):
            raise CaptioningError(
                f"There are {count} captions, references of {len(references)} images"
                + ("" if ids is None else f", {len(ids)} ids")
                + ". Give as many of each."
            )
        rows = [
            json.dumps([None if ids is None else ids[place], captions[place], list(references[place])]).encode()
            for place in range(count)
        ]
        whole = bytearray(b"".join(rows))
        text = torch.frombuffer(whole, dtype=torch.uint8) if whole else torch.empty(0, dtype=torch.uint8)
        self.texts.append(text.to(self.device))
        self.sizes.append(torch.tensor([len(row) for row in rows], dtype=torch.int64, device=self.device))

    def compute(self) -> dict[str, Tensor]:
        """The scores by measure name, ×1.

        Raises:
            CaptioningError: there was no batch, or an image has no reference.
        """
        rows = self._rows()
        known = {image: (caption, given) for image, caption, given in rows if image is not None}
        unknown = [(caption, given) for image, caption, given in rows if image is None]
        # In the order of ids: the same scores, to the last digit, whatever the number of ranks.
        both = [known[image] for image in sorted(known, key=lambda image: (isinstance(image, str), image))] + unknown
        references = References([given for _, given in both], self.tokenizer)
        scores = Scorer(self.metrics, references).score([caption for caption, _ in both]).corpus()
        return {name: torch.tensor(float(value), device=self.device) for name, value in scores.items()}

    def _rows(self) -> list[list[Any]]:
        texts, sizes = (torch.cat([*each]) if isinstance(each, list) else each for each in (self.texts, self.sizes))
        whole, place, rows = bytes(texts.cpu().numpy()), 0, []
        for size in sizes.tolist():
            rows.append(json.loads(whole[place : place + size]))
            place += size
        return rows
