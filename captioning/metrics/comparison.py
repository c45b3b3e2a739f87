"""Everything that is to be known of some captioners' results on the same images."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from captioning.core.errors import CaptioningError
from captioning.metrics.bootstrap import bootstrap, interval, p_value
from captioning.metrics.diversity import Diversity, diversity
from captioning.metrics.references import DocumentFrequencies, References, Tokenizer
from captioning.text.tokenizer import tokenize_each

log = logging.getLogger(__name__)

# From candidates and references to the score of the corpus and of each image: METEOR and SPICE.
Scorer = Callable[[Sequence[str], Sequence[Sequence[str]]], tuple[float, list[float]]]


@dataclass(frozen=True)
class Report:
    """Everything known of one captioner's results.

    Attributes:
        name: what to call it.
        scores: of the corpus, in the field's units: 0 to 1, CIDEr 0 to 10.
        intervals: the 95 % intervals of those that were bootstrapped.
        p_values: how likely each difference from the first report would be by chance; empty for the first.
        diversity: what it says.
        images: the scores of each image.
    """

    name: str
    scores: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    p_values: dict[str, float]
    diversity: Diversity
    images: dict[str, list[float]]


def compare(
    captions: Mapping[str, Sequence[str]],
    references: Sequence[Sequence[str]],
    *,
    training: Sequence[str] | None = None,
    frequencies: DocumentFrequencies | None = None,
    tokenizer: Tokenizer = tokenize_each,
    resamples: int = 1000,
    seed: int = 0,
    others: Mapping[str, Scorer] | None = None,
) -> list[Report]:
    """Score captioners on the same images, and say how sure the scores and the differences are.

    Args:
        captions: one caption an image, by the captioner's name; the first is what the others are compared with.
        references: of each image.
        training: all captions of the training set, for the share of captions that are not among them.
        frequencies: fixed document frequencies for CIDEr.
        tokenizer: for the scores.
        resamples: of the bootstrap, 0 for none.
        seed: of the bootstrap.
        others: further scores by name; one that fails is left out with a warning.
    """
    prepared = References(references, frequencies, tokenizer)
    scores = [prepared.score(candidates) for candidates in captions.values()]
    drawn = bootstrap(scores, resamples, seed) if resamples > 0 else [{} for _ in scores]
    reports: list[Report] = []
    others = dict(others or {})
    for (name, candidates), score, values in zip(captions.items(), scores, drawn, strict=True):
        corpus, images = score.corpus(), {part: each.tolist() for part, each in score.images().items()}
        for other, scorer in list(others.items()):
            try:
                corpus[other], images[other] = scorer(candidates, references)
            except CaptioningError as error:
                log.warning("%s", error)
                del others[other]  # it would fail again
        reports.append(
            Report(
                name=name,
                scores=corpus,
                intervals={part: interval(each) for part, each in values.items()},
                p_values={part: p_value(drawn[0][part], each) for part, each in values.items()} if reports else {},
                diversity=diversity(candidates, references, training),
                images=images,
            )
        )
    return reports
