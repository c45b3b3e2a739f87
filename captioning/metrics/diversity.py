"""Properties of captions besides their quality: vocabulary, repetitions, and reference words that never occur."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from captioning.core.measure import Measure
from captioning.text.endings import ends_badly
from captioning.text.registry import OF_ENGLISH, Tokenizer
from captioning.text.tokenizer import tokenize_each

SHARES = (
    Measure("different", higher_is_better=True, scale=100.0, validated=False),
    Measure("novel", higher_is_better=True, scale=100.0, validated=False),
    Measure("bad_endings", higher_is_better=False, scale=100.0, validated=False),
)


@dataclass(frozen=True)
class Diversity:
    """The diversity of the generated captions of a split.

    Attributes:
        vocabulary: the number of different words.
        mean_length: the mean number of words per caption.
        distinct: the number of different captions over the number of captions, 0 to 1.
        novel: the fraction of captions that do not occur in training, or None if the training captions are unknown.
        bad_endings: the fraction of captions that end in a function word of English, see ``captioning.text.endings``;
            None with a tokenizer of any language.
        never_said: the words of the references that no caption contains, the most frequent first, with their counts.
    """

    vocabulary: int
    mean_length: float
    distinct: float
    novel: float | None
    bad_endings: float | None
    never_said: list[tuple[str, int]]


def diversity(
    candidates: Sequence[str],
    references: Sequence[Sequence[str]],
    training: Sequence[str] | None = None,
    tokenizer: Tokenizer = tokenize_each,
) -> Diversity:
    """Compute the diversity of captions as tokens, so that case and punctuation do not count.

    Args:
        candidates: one or more captions.
        references: the references of each image, as written.
        training: all captions of the training set, as written.
        tokenizer: the tokenizer of all captions.
    """
    captions = [tuple(tokens) for tokens in tokenizer(candidates)]
    said = {word for caption in captions for word in caption}
    counts = Counter(word for image in references for tokens in tokenizer(image) for word in tokens)
    novel = None
    if training is not None:
        known = {tuple(tokens) for tokens in tokenizer(training)}
        novel = sum(caption not in known for caption in captions) / len(captions)
    return Diversity(
        vocabulary=len(said),
        mean_length=sum(map(len, captions)) / len(captions),
        distinct=len(set(captions)) / len(captions),
        novel=novel,
        bad_endings=sum(map(ends_badly, captions)) / len(captions) if tokenizer in OF_ENGLISH else None,
        never_said=sorted(
            ((w, n) for w, n in counts.items() if w not in said), key=lambda entry: (-entry[1], entry[0])
        ),
    )


def shares(
    candidates: Sequence[str], training: Sequence[str] | None = None, tokenizer: Tokenizer = tokenize_each
) -> dict[str, float]:
    """The shares of captions that evaluation reports beside the scores, by the names of ``SHARES``.

    Args:
        candidates: one or more captions.
        training: all captions of the training set, as written; without them there is no share of novel captions.
        tokenizer: the tokenizer of all captions; with one of any language there is no share of bad endings.
    """
    found = diversity(candidates, (), training, tokenizer)
    named = {"different": found.distinct, "novel": found.novel, "bad_endings": found.bad_endings}
    return {name: share for name, share in named.items() if share is not None}
