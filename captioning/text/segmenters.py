"""From a sentence to tokens and back, as ``data.tokenizer`` of translation chooses it: words, or subwords."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from captioning.core.errors import CaptioningError
from captioning.core.terminal import printable
from captioning.text.reversible import join_words, split_words
from captioning.text.subwords import Subwords

WORDS, SUBWORDS = "words", "subwords"


@dataclass(frozen=True)
class Segmenter:
    """The tokens of one language.

    Attributes:
        lower: whether sentences are lower-cased before they are split.
        subwords: the model of subwords; None for words (``captioning.text.reversible``).
    """

    lower: bool = False
    subwords: Subwords | None = None

    @classmethod
    def train(cls, tokenizer: str, lower: bool, texts: Sequence[str], size: int) -> "Segmenter":
        """The segmenter of a training split's sentences.

        Args:
            tokenizer: ``words`` or ``subwords``.
            lower: whether sentences are lower-cased.
            texts: the sentences of the training split.
            size: the number of subwords.

        Raises:
            CaptioningError: there is no such tokenizer, or see ``Subwords``.
        """
        if tokenizer not in (WORDS, SUBWORDS):
            raise CaptioningError(
                f"data.tokenizer={printable(str(tokenizer)[:100])}: translation has no such tokenizer. Take {WORDS}, "
                f"words and punctuation, or {SUBWORDS}, the pieces of sentencepiece."
            )
        if tokenizer == WORDS:
            return cls(lower)
        return cls(lower, Subwords.train([text.lower() if lower else text for text in texts], size))

    def split(self, text: str) -> list[str]:
        """The tokens of a sentence."""
        text = text.lower() if self.lower else text
        return self.subwords.split(text) if self.subwords else split_words(text)

    def join(self, tokens: Sequence[str]) -> str:
        """The sentence of tokens."""
        return self.subwords.join(tokens) if self.subwords else join_words(tokens)

    def to_json(self) -> dict[str, Any]:
        """Plain values, as checkpoints keep them."""
        return {"lower": self.lower, "subwords": self.subwords and self.subwords.model}

    @classmethod
    def of(cls, content: Any) -> "Segmenter":
        """The segmenter of the values that ``to_json`` has given.

        Raises:
            CaptioningError: the values are others, or see ``Subwords``.
        """
        model = content.get("subwords") if isinstance(content, Mapping) else 0
        if not (model is None or isinstance(model, str)):
            raise CaptioningError("The checkpoint does not say how its sentences are split. Copy it again.")
        return cls(bool(content.get("lower")), Subwords(model) if model else None)
