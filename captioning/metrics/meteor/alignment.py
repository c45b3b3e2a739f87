"""METEOR's alignment of two captions: matches of words and phrases, and the beam search for the best set of them.

Denkowski and Lavie, "Meteor Universal" (2014), section 2.1: each word takes part in at most one match; most words are
covered, then there are fewest chunks, then the matches' positions are least apart. Whatever else decides between
alignments is the original's, such as the order of the matches: see ``search``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, NamedTuple

from captioning.metrics.meteor.phrases import Phrase, Phrases
from captioning.metrics.meteor.vocabulary import Vocabulary

EXACT, STEM, SYNONYM, PARAPHRASE = range(4)
BEAM = 40
_SEARCH_WEIGHTS = (1.0, 0.5, 0.5, 0.5)  # of the search alone; the scores have weights of their own
# Alignments are compared by one integer: fewer covered words, then more chunks, then larger distances are worse.
_CHUNK, _COVERED = 1 << 40, 1 << 64
_KEY = itemgetter(0)

Chain = tuple["Match", Any] | None  # the last match and the chain of those before it
Partial = tuple[int, int, int, int, int, Chain]
Option = tuple["Match", int, int, int]  # a match, what it covers (for keys), its words in the reference and candidate


class Match(NamedTuple):
    """A match of words of the candidate and the reference.

    Attributes:
        begin: the first word in the reference.
        length: the number of words in the reference.
        candidate: the first word in the candidate.
        candidate_length: the number of words in the candidate.
        kind: ``EXACT``, ``STEM``, ``SYNONYM`` or ``PARAPHRASE``.
    """

    begin: int
    length: int
    candidate: int
    candidate_length: int
    kind: int


@dataclass(frozen=True)
class Caption:
    """A caption, prepared for alignments with many others.

    Attributes:
        words: the numbers of its words.
        identities: the identities of its words, see ``Vocabulary``.
        places: the places of each of its words.
        exact_places: the places of each identity.
        different: its different words.
        phrases: its phrases.
        phrase_places: the first word and length of each of its phrases, by node.
    """

    words: list[int]
    identities: list[int]
    places: dict[int, list[int]]
    exact_places: dict[int, list[int]]
    different: frozenset[int]
    phrases: list[Phrase]
    phrase_places: dict[int, list[tuple[int, int]]]

    @classmethod
    def of(cls, words: list[int], phrases: list[Phrase], identities: Sequence[int]) -> "Caption":
        """Prepare a caption.

        Args:
            words: the numbers of its words.
            phrases: its phrases.
            identities: the identity of each word of the vocabulary.
        """
        same = [identities[word] for word in words]
        places = _places(words)
        exact_places = places if same == words else _places(same)
        phrase_places: dict[int, list[tuple[int, int]]] = {}
        for begin, length, node in phrases:
            phrase_places.setdefault(node, []).append((begin, length))
        return cls(words, same, places, exact_places, frozenset(places), phrases, phrase_places)


def _places(words: Sequence[int]) -> dict[int, list[int]]:
    places: dict[int, list[int]] = {}
    for place, word in enumerate(words):
        places.setdefault(word, []).append(place)
    return places


class Aligner:
    """Aligns captions of one vocabulary."""

    def __init__(self, vocabulary: Vocabulary, phrases: Phrases) -> None:
        """Take what is known of the captions' words and phrases."""
        self._same_stem, self._synonyms = vocabulary.same_stem, vocabulary.synonyms
        self._paraphrases = phrases.paraphrases

    def __call__(self, candidate: Caption, reference: Caption) -> list[Match]:
        """The matches of the best alignment, by their place in the reference."""
        return search(self.matches(candidate, reference), len(candidate.words))

    def matches(self, candidate: Caption, reference: Caption) -> list[list[Match]]:
        """All possible matches, by their first word in the reference, in the original's order."""
        places, exact_places, different = candidate.places, candidate.exact_places, candidate.different
        exact_alone = candidate.identities == reference.identities
        found: list[list[Match]] = []
        for begin, (word, identity) in enumerate(zip(reference.words, reference.identities, strict=True)):
            here = [Match(begin, 1, place, 1, EXACT) for place in exact_places.get(identity, ())]
            if not exact_alone:
                for kind, others in ((STEM, self._same_stem[word]), (SYNONYM, self._synonyms[word])):
                    if others and (common := others & different):
                        here += [Match(begin, 1, at, 1, kind) for at in sorted(p for w in common for p in places[w])]
            found.append(here)
        if not exact_alone:
            self._add_paraphrases(found, candidate, reference)
        return found

    def _add_paraphrases(self, found: list[list[Match]], candidate: Caption, reference: Caption) -> None:
        """Add the matches of a phrase of one caption and its paraphrase in the other."""
        for begin, length, node in reference.phrases:
            for place, other in self._common(node, candidate):
                found[begin].append(Match(begin, length, place, other, PARAPHRASE))
        for place, other, node in candidate.phrases:
            for begin, length in self._common(node, reference):
                found[begin].append(Match(begin, length, place, other, PARAPHRASE))

    def _common(self, node: int, caption: Caption) -> list[tuple[int, int]]:
        """The places and lengths of a phrase's paraphrases in a caption, in the order of the table."""
        paraphrases = self._paraphrases.get(node)
        if paraphrases is None:
            return []
        common = paraphrases.keys() & caption.phrase_places.keys()
        if len(common) > 1:
            in_order = sorted(common, key=paraphrases.__getitem__)
            return [each for other in in_order for each in caption.phrase_places[other]]
        return [each for other in common for each in caption.phrase_places[other]]


def search(matches: Sequence[Sequence[Match]], candidate_length: int) -> list[Match]:
    """The best set of matches by a beam search over the words of the reference.

    Matches without an alternative are set beforehand. Of equally good alignments, the first one wins. The original
    adds the distance of a match not to the alignment with the match, but to the one that was extended, and so to those
    that are made of it later; this function does the same.

    Args:
        matches: the possible matches that begin at each word of the reference.
        candidate_length: the number of words of the candidate.
    """
    length = len(matches)
    options, fixed, used, used_candidate = _prepare(matches, candidate_length)
    # An alignment: its key, used words of reference and candidate, the next word of the reference that is not covered,
    # the end of the last match in the candidate (-1 after an unmatched word), and its matches as a linked list.
    alignments: list[Partial] = [(0, used, used_candidate, 0, -1, None)]
    for place in range(length):
        if len(alignments) > 1:
            alignments.sort(key=_KEY)
            del alignments[BEAM:]
        extended: list[Partial] = []
        here, bit, set_match = options[place], 1 << place, fixed[place]
        for alignment in alignments:
            key, used, used_candidate, after, end, chain = alignment
            if used & bit:
                if place < after:
                    extended.append(alignment)
                elif set_match is not None:
                    match, covered, _, _ = set_match
                    key -= covered
                    if end not in (-1, match.candidate):
                        key += _CHUNK
                    key += abs(match.begin - match.candidate)
                    after, end = place + match.length, match.candidate + match.candidate_length
                    extended.append((key, used, used_candidate, after, end, (match, chain)))
                continue
            for match, covered, words, words_candidate in here:
                if used & words or used_candidate & words_candidate:
                    continue
                new = key - covered + _CHUNK if end not in (-1, match.candidate) else key - covered
                extended.append(
                    (
                        new,
                        used | words,
                        used_candidate | words_candidate,
                        place + match.length,
                        match.candidate + match.candidate_length,
                        (match, chain),
                    )
                )
                key += abs(place - match.candidate)
            extended.append((key + _CHUNK if end != -1 else key, used, used_candidate, place + 1, -1, chain))
        alignments = extended
    alignments.sort(key=_KEY)
    best = min(alignments[:BEAM], key=lambda alignment: alignment[0] + (_CHUNK if alignment[4] != -1 else 0))
    chain, found = best[5], []
    while chain is not None:
        found.append(chain[0])
        chain = chain[1]
    return found[::-1]


def _prepare(
    matches: Sequence[Sequence[Match]], candidate_length: int
) -> tuple[list[list[Option]], list[Option | None], int, int]:
    """The options at each word of the reference, the matches that are set beforehand, and the words that these use."""
    options: list[list[Option]] = []
    coverage, coverage_candidate = [0] * len(matches), [0] * candidate_length
    for here in matches:
        prepared: list[Option] = []
        for match in here:
            begin, length, candidate, other_length, kind = match
            for place in range(begin, begin + length):
                coverage[place] += 1
            for place in range(candidate, candidate + other_length):
                coverage_candidate[place] += 1
            weight = _SEARCH_WEIGHTS[kind]
            covered = int(length * weight) + int(other_length * weight)  # the original drops halves
            words = ((1 << length) - 1) << begin
            prepared.append((match, covered * _COVERED, words, ((1 << other_length) - 1) << candidate))
        options.append(prepared)
    fixed: list[Option | None] = [None] * len(matches)
    used = used_candidate = 0
    for place, prepared in enumerate(options):
        if len(prepared) == 1:
            match, _, words, words_candidate = prepared[0]
            alone = all(coverage[word] == 1 for word in range(place, place + match.length))
            stop = match.candidate + match.candidate_length
            if alone and all(coverage_candidate[word] == 1 for word in range(match.candidate, stop)):
                fixed[place] = prepared[0]
                used, used_candidate = used | words, used_candidate | words_candidate
    return options, fixed, used, used_candidate
