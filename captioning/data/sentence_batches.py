"""Batches of sentences with their translations, in the form in which captioning has captions of photographs.

The seed and the step alone determine the sentences of a batch, as for captions (``captioning.data.batches``). A
sentence stands in the place of a photograph, and its translation in that of a caption.

Dimensions: B sentences.
"""

from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from captioning.core.errors import CaptioningError
from captioning.core.packing import Packing
from captioning.core.sentences import Sentences, SourceVocabulary
from captioning.core.vocabulary import UNK, Vocabulary
from captioning.data.batches import Batch, Draw, PhotoDataset, Places
from captioning.data.module import PhotoData
from captioning.data.parallel import ParallelText
from captioning.data.photos import CaptionedPhotos

Split = Callable[[str], list[str]]  # from a sentence to its tokens


@dataclass(frozen=True)
class SentenceBatch(Batch):
    """B sentences with one translation each; ``photos`` are the sentences' indices in the split.

    Attributes:
        sources: the sentences.
    """

    sources: Sentences


@dataclass(frozen=True)
class Numbers:
    """Sentences as word numbers in one flat array.

    Attributes:
        words: the words of all sentences, one sentence after the other.
        ends: ``(N,)`` the end of each sentence in ``words``.
    """

    words: "np.ndarray[tuple[int], np.dtype[np.int32]]"
    ends: "np.ndarray[tuple[int], np.dtype[np.int64]]"

    @classmethod
    def of(cls, sentences: Iterable[Sequence[int]]) -> "Numbers":
        """Put sentences one after the other."""
        words, ends = array("i"), array("q")
        for sentence in sentences:
            words.extend(sentence)
            ends.append(len(words))
        return cls(np.frombuffer(words, np.int32), np.frombuffer(ends, np.int64))

    def __len__(self) -> int:
        """N."""
        return len(self.ends)

    def __getitem__(self, place: int) -> list[int]:
        """One sentence."""
        numbers: list[int] = self.words[self.ends[place - 1] if place else 0 : self.ends[place]].tolist()
        return numbers


class SentenceDataset(PhotoDataset):
    """Sentences with their translations."""

    def __init__(self, sources: Numbers, targets: Numbers) -> None:
        """Take the sentences (``w1 … <end>``) and their translations (``<start> w1 … <end>``)."""
        super().__init__()
        self.sources, self.targets = sources, targets

    def __getitem__(self, draw: Draw) -> SentenceBatch:
        """The batch of the sentences whose indices are drawn."""
        places = list(draw.photos)
        tokens = Sentences.of([self.targets[place] for place in places]).words.unsqueeze(1)  # (B, 1, T + 1)
        packing = Packing.of(tokens[..., 1:])
        return SentenceBatch(
            **vars(super().__getitem__(draw)),
            words=packing.pack(tokens[..., :-1]),
            targets=packing.pack(tokens[..., 1:]),
            packing=packing,
            sources=Sentences.of([self.sources[place] for place in places]),
        )


class SentenceData(PhotoData):
    """Batches of sentences; in training without those whose translation has no known word."""

    def __init__(
        self,
        source: ParallelText,
        vocabularies: tuple[SourceVocabulary, Vocabulary],
        *,
        split_source: Split,
        split_target: Split,
        max_words: int,
        **common: Any,
    ) -> None:
        """Take the data.

        Args:
            source: the sentences by split.
            vocabularies: the words of the training split's sentences, and of their translations.
            split_source: the function from a sentence to its tokens.
            split_target: the same of translations.
            max_words: the number of tokens after which training sentences and translations are cut.
            common: ``batch_size``, ``workers`` and ``seed``, see ``PhotoData``.
        """
        super().__init__(CaptionedPhotos(source.name), features=None, image=_no_image, **common)
        self.source, self.vocabularies = source, vocabularies
        self.split_source, self.split_target, self.max_words = split_source, split_target, max_words

    def dataset(self, split: str, shuffle: bool) -> tuple[PhotoDataset, Places]:
        """The dataset of a split, and the indices of its sentences.

        Raises:
            CaptioningError: no training sentence has a translation with a known word.
        """
        pairs, (reader, writer) = self.source[split], self.vocabularies
        most = self.max_words if shuffle else None  # what is to be translated is never cut
        sources = Numbers.of(reader.read(self.split_source(pair.source), most) for pair in pairs)
        targets = Numbers.of(writer.encode(self.split_target(pair.target)[:most]) for pair in pairs)
        dataset = SentenceDataset(sources, targets)
        if not shuffle:
            return dataset, range(len(pairs))
        known = np.array([any(word > UNK for word in targets[place]) for place in range(len(pairs))])
        if not known.any():
            raise CaptioningError("No translation for training has a known word. Lower data.minimum_count.")
        return dataset, np.flatnonzero(known)

    def describe_batch(self, batch: Any) -> str:
        """A description of a training batch, for locating an error in the data."""
        return (
            "the sentences " + ", ".join(str(place + 1) for place in batch.photos.tolist()) + " of the training split"
        )


def _no_image(photo: Any) -> Any:
    raise TypeError("a sentence has no image")
