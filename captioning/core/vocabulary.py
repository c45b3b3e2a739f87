"""Vocabularies: words or characters, and their numbers."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import ClassVar, Self

from captioning.core.errors import CaptioningError

PAD, START, END, UNK = 0, 1, 2, 3
SPECIAL = ("<pad>", "<start>", "<end>", "<unk>")


class Vocabulary:
    """The words that a captioner can generate, numbered.

    Numbers 0 to 3 are ``<pad> <start> <end> <unk>``; the words follow by decreasing count, ties in alphabetical order,
    so that the same captions always give the same numbers.

    Attributes:
        of: the words and their origin, for an error's message.
    """

    of: ClassVar = "words of the training captions"

    def __init__(self, words: Sequence[str]) -> None:
        """Take the words in their order, the four special ones first.

        Raises:
            CaptioningError: the special words are missing, or a word occurs twice.
        """
        if tuple(words[: len(SPECIAL)]) != SPECIAL:
            raise CaptioningError(f"A vocabulary begins with {' '.join(SPECIAL)}; this one with {words[:4]}.")
        self.words = list(words)
        self.numbers = {word: number for number, word in enumerate(self.words)}
        if len(self.numbers) != len(self.words):
            twice = [word for word, count in Counter(self.words).items() if count > 1]
            raise CaptioningError(f"A vocabulary names each word once; these occur twice: {twice[:10]}.")

    @classmethod
    def build(cls, captions: Iterable[Sequence[str]], minimum_count: int = 5) -> Self:
        """Count the words of tokenized captions (the training split's alone) and keep the frequent ones.

        Args:
            captions: tokenized captions.
            minimum_count: the least count of a word that is kept; rarer words become ``<unk>``.

        Raises:
            CaptioningError: no word is left.
        """
        counts = Counter(word for caption in captions for word in caption)
        kept = sorted((word for word in counts if counts[word] >= minimum_count), key=lambda w: (-counts[w], w))
        kept = [word for word in kept if word not in SPECIAL]
        if not kept:
            raise CaptioningError(
                f"No word of the {cls.of.partition(' of the ')[2]} occurs {minimum_count} times, so the vocabulary "
                "would be empty. Check them, or lower data.minimum_count."
            )
        return cls([*SPECIAL, *kept])

    def __len__(self) -> int:
        """V, the number of words, the special ones included."""
        return len(self.words)

    def encode(self, tokens: Sequence[str]) -> list[int]:
        """The numbers of ``<start> w1 … wT <end>``; unknown words become ``<unk>``, and so does a literal "<end>"."""
        return [START, *(max(self.numbers.get(token, UNK), UNK) for token in tokens), END]

    def decode(self, numbers: Iterable[int]) -> str:
        """The caption up to ``<end>``, words separated by spaces; ``<pad>`` and ``<start>`` are left out."""
        words = []
        for number in numbers:
            if number == END:
                break
            if number not in (PAD, START):
                words.append(self.words[number])
        return " ".join(words)


class CharacterVocabulary:
    """The characters of a text, numbered from 0 in the order of their code points.

    A text needs no tokens for its beginning, its end or padding, so there are no special tokens: V is the number of
    different characters, and a uniform prediction has a loss of log V.

    Attributes:
        of: the characters and their origin, for an error's message.
    """

    of: ClassVar = "characters of the text"

    def __init__(self, characters: Sequence[str]) -> None:
        """Take the characters in their order.

        Raises:
            CaptioningError: there are fewer than two characters, or one occurs twice.
        """
        self.words = list(characters)
        self.numbers = {character: number for number, character in enumerate(self.words)}
        if not 2 <= len(self.words) == len(self.numbers):
            raise CaptioningError(
                f"A text has two different characters or more; this vocabulary is {characters!r:.80}."
            )

    def __len__(self) -> int:
        """V, the number of characters."""
        return len(self.words)

    def encode(self, text: str) -> list[int]:
        """The characters' numbers.

        Raises:
            CaptioningError: the vocabulary lacks a character; the message names up to ten of them.
        """
        unknown = [character for character in dict.fromkeys(text) if character not in self.numbers]
        if unknown:
            named = ", ".join(f"{character!r} (U+{ord(character):04X})" for character in unknown[:10])
            raise CaptioningError(
                f"{named}{', …' if len(unknown) > 10 else ''}: not in the text that this model was trained on, whose "
                f"{len(self)} characters are {''.join(self.words)!r:.300}. Leave it out."
            )
        return [self.numbers[character] for character in text]

    def decode(self, numbers: Iterable[int]) -> str:
        """The text."""
        return "".join(self.words[number] for number in numbers)
