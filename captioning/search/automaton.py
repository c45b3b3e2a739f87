"""Words that a caption must say, as a finite automaton (Anderson et al. 2017, arXiv 1612.00576, section 3.2).

Dimensions: V vocabulary, A states, C words of the constraints and one for all others.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from captioning.core.errors import CaptioningError
from captioning.core.terminal import printable
from captioning.core.vocabulary import SPECIAL, Vocabulary

STATES = 64  # the largest number of states, each with beams of its own: six words

Phrase = tuple[int, ...]
DONE: Phrase = (-1,)  # the state of a constraint that is satisfied


@dataclass(frozen=True)
class Automaton:
    """The states of constraints, from the first word of a caption on; state 0 is the first.

    Attributes:
        words: ``C - 1`` word numbers, those of the constraints.
        following: ``A`` rows of C states: the state after each state, by any other word and by each of ``words``.
        accepting: ``A`` values, True for a state in which all constraints are satisfied.
        shortest: the least number of words of a caption that satisfies all constraints.
    """

    words: tuple[int, ...]
    following: tuple[tuple[int, ...], ...]
    accepting: tuple[bool, ...]
    shortest: int


def automaton(must_say: Sequence[str], vocabulary: Vocabulary) -> Automaton:
    """The automaton of captions that say some words.

    Args:
        must_say: a word or phrase each (``"hot dog"``), or alternatives, of which one suffices (``"ball|frisbee"``).
        vocabulary: the vocabulary of the decoder.

    Raises:
        CaptioningError: the vocabulary lacks a word, or there are too many words.
    """
    constraints = [_alternatives(each, vocabulary) for each in must_say]
    words = tuple(sorted({word for phrases in constraints for phrase in phrases for word in phrase}))
    state: tuple[Phrase, ...] = ((),) * len(constraints)
    known, numbers, distance = [state], {state: 0}, [0]
    following: list[tuple[int, ...]] = []
    for state in known:  # grows while it is read: breadth first
        row = []
        for word in (-1, *words):
            after = tuple(_following(here, word, phrases) for here, phrases in zip(state, constraints, strict=True))
            if after not in numbers:
                numbers[after] = len(known)
                known.append(after)
                distance.append(distance[numbers[state]] + 1)
                if len(known) > STATES:
                    raise CaptioningError(
                        f"must_say: {len(must_say)} words and phrases are too many: each doubles the number of beams, "
                        "or more. Ask for six words at most."
                    )
            row.append(numbers[after])
        following.append(tuple(row))
    accepting = tuple(all(here == DONE for here in state) for state in known)
    return Automaton(words, tuple(following), accepting, distance[accepting.index(True)])


def _following(here: Phrase, word: int, phrases: Sequence[Phrase]) -> Phrase:
    """The state of one constraint after a word.

    The state is the longest end of the caption so far that begins one of the phrases (Aho and Corasick 1975), or
    ``DONE``.
    """
    if here == DONE:
        return DONE
    said = (*here, word)
    ends = [said[begin:] for begin in range(len(said) + 1)]  # longest first, the empty one last
    if any(end in phrases for end in ends):
        return DONE
    return next(end for end in ends if any(phrase[: len(end)] == end for phrase in phrases))


def _alternatives(text: str, vocabulary: Vocabulary) -> list[Phrase]:
    """The phrases of which a caption must say one, as word numbers."""
    phrases = [phrase.split() for phrase in text.split("|")]
    if not all(phrases):
        raise CaptioningError(f"must_say: {printable(text)!r} names no word. Write a word, a phrase or ball|frisbee.")
    return [tuple(_number(word, vocabulary) for word in phrase) for phrase in phrases]


def _number(word: str, vocabulary: Vocabulary) -> int:
    """The number of a word as written, or else of the word in lower case, its accents composed."""
    for written in (word, word.lower(), unicodedata.normalize("NFC", word.lower())):
        number = vocabulary.numbers.get(written, 0)
        if number >= len(SPECIAL):
            return number
    near = get_close_matches(word.lower(), vocabulary.words[len(SPECIAL) :], n=3)
    raise CaptioningError(
        f"must_say: the captioner's vocabulary has no word {printable(word)!r}, so no caption can say it. "
        + (f"Its words are like {', '.join(map(printable, near))}: take one of them." if near else "Take another word.")
    )
