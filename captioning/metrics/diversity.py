"""What a captioner says, apart from how well: its words, its repetitions, and what it never says."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from captioning.text.tokenizer import tokenize_each


@dataclass(frozen=True)
class Diversity:
    """Of the generated captions of a split.

    Attributes:
        vocabulary: different words.
        mean_length: words a caption.
        distinct: share of the captions that are different ones, 0 to 1.
        novel: share of the captions that are not among the training captions, or None where those are unknown.
        never_said: the words of the references that no caption has, the most frequent first, with their counts.
    """

    vocabulary: int
    mean_length: float
    distinct: float
    novel: float | None
    never_said: list[tuple[str, int]]


def diversity(
    candidates: Sequence[str], references: Sequence[Sequence[str]], training: Sequence[str] | None = None
) -> Diversity:
    """Describe captions, compared as tokens, so that case and punctuation make no difference.

    Args:
        candidates: one or more.
        references: of each image, as written.
        training: all captions of the training set, as written.
    """
    captions = [tuple(tokens) for tokens in tokenize_each(candidates)]
    said = {word for caption in captions for word in caption}
    counts = Counter(word for image in references for tokens in tokenize_each(image) for word in tokens)
    novel = None
    if training is not None:
        known = {tuple(tokens) for tokens in tokenize_each(training)}
        novel = sum(caption not in known for caption in captions) / len(captions)
    return Diversity(
        vocabulary=len(said),
        mean_length=sum(map(len, captions)) / len(captions),
        distinct=len(set(captions)) / len(captions),
        novel=novel,
        never_said=sorted(
            ((w, n) for w, n in counts.items() if w not in said), key=lambda entry: (-entry[1], entry[0])
        ),
    )
