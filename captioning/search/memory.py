"""The training photographs that a search looks back at: their features and their captions, in one file.

Dimensions: N photographs of the memory, P numbers of a photograph, B images, R captions, T words, V vocabulary.
"""

import os
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from captioning.core.archives import verify_archive
from captioning.core.errors import CaptioningError
from captioning.core.ownership import output
from captioning.core.vocabulary import PAD, UNK, Vocabulary

AT_ONCE = 8192  # photographs of the memory that are compared with the images at once
FORMAT = 1
CONTENT = ("features", "captions", "part", "encoder")


@dataclass(frozen=True)
class Memory:
    """N photographs with captions.

    Attributes:
        features: ``(N, P)``, float16, the mean of each photograph's features over its regions.
        captions: the captions of each photograph, words with blanks between them.
        part: the name of the features' part.
        encoder: the fingerprint of the encoder.
    """

    features: Tensor
    captions: list[list[str]]
    part: str
    encoder: str

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the file that ``read`` reads.

        Raises:
            CaptioningError: the file can't be written.
        """
        content = {name: getattr(self, name) for name in CONTENT}
        with output(path, "wb") as file:
            torch.save({"format": FORMAT, **content}, file)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Self:
        """The memory in a file.

        Raises:
            CaptioningError: the file is missing, damaged, or no memory.
        """
        verify_archive(path, "memory of training photographs")
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # whatever an odd archive makes torch raise
            raise CaptioningError(f"{path}: not a memory that torch can read ({error}). {_REMEDY}") from error
        if not _is_memory(content):
            raise CaptioningError(f"{path}: this file is no memory of training photographs. {_REMEDY}")
        return cls(**{name: content[name] for name in CONTENT})

    def nearest(self, images: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """The photographs of the memory that are most similar to images.

        Args:
            images: ``(B, P)``, the mean of each image's features over its regions.
            count: the number of photographs to find.

        Returns:
            The cosines ``(B, count)`` of the features without their mean over the memory, largest first, and the places
            of the photographs in the memory.
        """
        mean, norms = self._centre
        queries = F.normalize(images.float().cpu() - mean, dim=1)
        products = [queries @ some.float().t() for some in torch.split(self.features, AT_ONCE)]
        cosines = (torch.cat(products, dim=1) - (queries @ mean).unsqueeze(1)) / norms
        found = cosines.topk(min(count, cosines.shape[1]), dim=1)
        return found.values, found.indices

    @cached_property
    def _centre(self) -> tuple[Tensor, Tensor]:
        """The mean of the features ``(P,)``, and the norm of each photograph's without it, ``(N,)``."""
        parts = torch.split(self.features, AT_ONCE)
        mean = torch.stack([some.float().sum(0) for some in parts]).sum(0) / len(self.features)
        return mean, torch.cat([(some.float() - mean).norm(dim=1) for some in parts]).clamp_min(1e-6)

    def numbered(self, vocabulary: Vocabulary) -> tuple[Tensor, Tensor]:
        """All captions as the numbers of their words.

        Args:
            vocabulary: the vocabulary of the numbers; words that it lacks are ``<unk>``.

        Returns:
            The words ``(R, T)`` with ``<pad>`` behind the ends, and the place in the memory of each caption's
            photograph, ``(R,)``, in increasing order.
        """
        said = [caption.split() for captions in self.captions for caption in captions]
        photos = [photo for photo, captions in enumerate(self.captions) for _ in captions]
        words = torch.full((len(said), max(map(len, said), default=0) or 1), PAD)
        for row, caption in zip(words, said, strict=True):
            row[: len(caption)] = torch.tensor([max(vocabulary.numbers.get(word, UNK), UNK) for word in caption])
        return words, torch.tensor(photos)


_REMEDY = "Make it with captioning memory RUN."


def _is_memory(content: Any) -> bool:
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        return False
    features, captions = content.get("features"), content.get("captions")
    if not isinstance(features, Tensor) or features.dim() != 2 or not features.is_floating_point():
        return False
    if not isinstance(captions, list) or len(captions) != len(features) or not captions:
        return False
    texts = all(isinstance(each, list) and each and all(isinstance(one, str) for one in each) for each in captions)
    named = all(isinstance(content.get(name), str) for name in ("part", "encoder"))
    return texts and named and bool(features.isfinite().all())


class Rarity:
    """How rare n-grams are: ``log N - log d``, for an n-gram in the captions of d of the N photographs of a memory.

    As in CIDEr (Vedantam et al. 2015, arXiv 1411.5726, equation 1); an n-gram that no photograph has counts as in one.
    """

    def __init__(self, words: Tensor, photos: Tensor, orders: int) -> None:
        """Count the n-grams.

        Args:
            words: ``(R, T)``, the words of all captions, ``<pad>`` behind their ends.
            photos: ``(R,)``, the photograph of each caption.
            orders: the length of the longest n-grams.
        """
        self.tables: list[tuple[Tensor, Tensor]] = []  # of each n: the keys in order, and log N - log d of each
        number = int(photos.max()) + 1
        self.words, self.most = int(words.max()) + 1, torch.tensor(float(number)).log()
        before = torch.zeros_like(words)
        for n in range(min(orders, words.shape[1])):
            there = words[:, n:] != PAD
            keys = before[:, : there.shape[1]] * self.words + words[:, n:]
            table, places = torch.unique(keys[there], return_inverse=True)
            pairs = torch.unique(places * number + photos.unsqueeze(1).expand_as(there)[there])
            photographs = torch.bincount(pairs // number, minlength=len(table))
            self.tables.append((table, self.most - photographs.float().log()))
            before = torch.zeros_like(keys)
            before[there] = places

    def of(self, words: Tensor) -> list[Tensor]:
        """The rarity of the n-grams that end at each word: ``(K, T - n + 1)`` for each n, of words ``(K, T)``."""
        found = []
        before, known = torch.zeros_like(words), torch.ones_like(words, dtype=torch.bool)
        for n, (table, rarities) in enumerate(self.tables[: words.shape[1]]):
            last = words[:, n:]
            keys = before[:, : last.shape[1]] * self.words + last
            places = torch.searchsorted(table, keys).clamp_max(len(table) - 1)
            known = known[:, : last.shape[1]] & (last < self.words) & (table[places] == keys)
            found.append(torch.where(known, rarities[places], self.most))
            before = places
        return found + [self.most.expand(len(words), words.shape[1] - n) for n in range(len(found), words.shape[1])]
