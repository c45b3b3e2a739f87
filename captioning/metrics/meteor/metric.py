"""METEOR 1.5 for English, as in coco-caption, without Java.

Denkowski and Lavie, "Meteor Universal: Language Specific Translation Evaluation for Any Target Language" (2014),
section 2, with the authors' parameters for English ("rank"). The tables of synonyms and paraphrases come with
``captioning[java]``; no Java is started.
"""

from collections.abc import Sequence
from itertools import chain, repeat

import numpy as np

from captioning.metrics.java import sentence
from captioning.metrics.meteor.alignment import Aligner, Caption, Match
from captioning.metrics.meteor.normaliser import normalise
from captioning.metrics.meteor.phrases import find_phrases
from captioning.metrics.meteor.tables import Tables, tables
from captioning.metrics.meteor.vocabulary import Vocabulary
from captioning.metrics.metric import Metric, Pairs
from captioning.metrics.ngrams import Floats
from captioning.metrics.references import References

ALPHA, BETA, GAMMA, DELTA = 0.85, 0.20, 0.60, 0.75
WEIGHTS = (1.0, 0.6, 0.8, 0.6)  # the weights of matches of words, stems, synonyms, paraphrases
COUNTS = 23


class Meteor(Metric):
    """METEOR of the corpus, 0 to 1, from summed counts of matches."""

    name = "METEOR"
    by_image = True

    def __init__(self) -> None:
        """Normalised references are kept until the references change."""
        self._references: tuple[References, list[list[list[str]]]] | None = None

    def statistics(self, pairs: Pairs) -> Floats:
        """``(N, 23)``: the counts of each image, against the best-matching reference.

        The counts come in pairs, candidate and reference: words, function words; matching content words, matching
        function words of each of four kinds of match. The number of chunks and the matched words of candidate and
        reference follow. A candidate equal to its reference counts as no chunk.

        Raises:
            UnavailableError: the tables are not installed.
        """
        known = tables()
        abbreviations = known.abbreviations()
        if self._references is None or self._references[0] is not pairs.prepared:
            normalised = [
                [normalise(sentence(tokens), abbreviations) for tokens in each] for each in pairs.reference_tokens
            ]
            self._references = pairs.prepared, normalised
        candidates = [normalise(sentence(tokens), abbreviations) for tokens in pairs.candidate_tokens]
        return count_matches(candidates, self._references[1], known)

    def score(self, sums: Floats, images: Floats) -> Floats:
        """``(…, 1)``: the weighted harmonic mean of precision and recall, times the penalty of fragmentation."""
        length, function = sums[..., 0:2], sums[..., 2:4]  # of candidate and reference
        # kind, content or function, candidate or reference
        matches = sums[..., 4:20].reshape(*sums.shape[:-1], 4, 2, 2)
        weighed = DELTA * matches[..., 0, :] + (1 - DELTA) * matches[..., 1, :]
        weighed_length = DELTA * (length - function) + (1 - DELTA) * function
        with np.errstate(divide="ignore", invalid="ignore"):  # nothing matches, or there are no words
            precision, recall = np.moveaxis((np.array(WEIGHTS)[:, None] * weighed).sum(-2) / weighed_length, -1, 0)
            mean = 1 / ((1 - ALPHA) / precision + ALPHA / recall)
            fragmentation = sums[..., 20] / ((sums[..., 21] + sums[..., 22]) / 2)
            scores: Floats = np.nan_to_num(mean * (1 - GAMMA * fragmentation**BETA))
        return scores[..., None]


def align_best(tokens: Sequence[str], references: Sequence[Sequence[str]]) -> tuple[int, list[tuple[str, str, int]]]:
    """The best-matching reference of one caption, and the matches with it, for an explanation.

    Args:
        tokens: the caption's tokens.
        references: the tokens of each reference.

    Returns:
        The number of the reference; and of each match the caption's words, the reference's words, and the kind.
    """
    known = tables()
    shortened = known.abbreviations()
    captions = [normalise(sentence(each), shortened) for each in (tokens, *references)]
    vocabulary = Vocabulary(chain.from_iterable(captions), known)
    numbered = [vocabulary[caption] for caption in captions]
    phrases = find_phrases(numbered, vocabulary.in_tables, known)
    ours, *theirs = map(Caption.of, numbered, phrases.of, repeat(vocabulary.identities))
    aligned = [Aligner(vocabulary, phrases)(ours, reference) for reference in theirs]
    scores = [
        _score(_counts(ours, each, matches, vocabulary.function)) for each, matches in zip(theirs, aligned, strict=True)
    ]
    best = scores.index(max(scores))
    return best, [
        (
            " ".join(captions[0][match.candidate : match.candidate + match.candidate_length]),
            " ".join(captions[1 + best][match.begin : match.begin + match.length]),
            match.kind,
        )
        for match in aligned[best]
    ]


def count_matches(
    candidates: Sequence[Sequence[str]], references: Sequence[Sequence[Sequence[str]]], known: Tables
) -> Floats:
    """The counts of N normalised candidates against the best of their normalised references, see ``Meteor``."""
    captions = [*candidates, *chain.from_iterable(references)]
    vocabulary = Vocabulary(chain.from_iterable(captions), known)
    numbered = [vocabulary[caption] for caption in captions]
    phrases = find_phrases(numbered, vocabulary.in_tables, known)
    prepared = map(Caption.of, numbered, phrases.of, repeat(vocabulary.identities))
    ours = [next(prepared) for _ in candidates]
    align = Aligner(vocabulary, phrases)
    best = []
    for candidate, each in zip(ours, references, strict=True):
        counts: list[list[int]] = []
        for _ in each:
            reference = next(prepared)
            counts.append(_counts(candidate, reference, align(candidate, reference), vocabulary.function))
        best.append(max(counts, key=_score))
    return np.array(best, dtype=np.float64).reshape(-1, COUNTS)


def _counts(candidate: Caption, reference: Caption, matches: Sequence[Match], function: Sequence[bool]) -> list[int]:
    """The counts of an alignment, see ``Meteor.statistics``."""
    ours, theirs = ([function[word] for word in caption.words] for caption in (candidate, reference))
    counts = [len(ours), len(theirs), sum(ours), sum(theirs), *[0] * (COUNTS - 4)]
    end, begin = -1, -1  # where a match must begin in candidate and reference to continue the chunk
    for match in matches:
        kind = 4 + 4 * match.kind
        of_function = sum(ours[match.candidate : match.candidate + match.candidate_length])
        of_function_too = sum(theirs[match.begin : match.begin + match.length])
        counts[kind] += match.candidate_length - of_function
        counts[kind + 1] += match.length - of_function_too
        counts[kind + 2] += of_function
        counts[kind + 3] += of_function_too
        counts[20] += (match.candidate, match.begin) != (end, begin)
        counts[21] += match.candidate_length
        counts[22] += match.length
        end, begin = match.candidate + match.candidate_length, match.begin + match.length
    if counts[20] == 1 and counts[21] == counts[0] and counts[22] == counts[1]:
        counts[20] = 0
    return counts


def _score(counts: Sequence[int]) -> float:
    """The score of one alignment, in the original's order of operations: ties between references depend on it."""
    if not counts[21]:
        return 0.0
    sides = []
    for side in (0, 1):
        weighed = 0.0
        for place, weight in ((4, DELTA), (6, 1 - DELTA)):
            for kind, of_kind in enumerate(WEIGHTS):
                weighed += counts[place + side + 4 * kind] * of_kind * weight
        length = DELTA * (counts[side] - counts[2 + side]) + (1 - DELTA) * counts[2 + side]
        sides.append(weighed / length)
    precision, recall = sides
    mean = 1.0 / ((1.0 - ALPHA) / precision + ALPHA / recall)
    fragmentation: float = (counts[20] / ((counts[21] + counts[22]) / 2.0)) ** BETA
    return max(mean * (1.0 - GAMMA * fragmentation), 0.0)
