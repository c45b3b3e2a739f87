"""Subwords by sentencepiece's unigram model (Kudo, ACL 2018, arXiv 1804.10959), trained on the training split.

sentencepiece writes a blank as ``▁`` within its pieces, so that the pieces of a text put together are the text.
"""

import base64
import binascii
import io
from collections.abc import Iterable, Sequence
from typing import Any

from captioning.core.errors import CaptioningError


class Subwords:
    """A trained model of subwords.

    Attributes:
        model: the model of sentencepiece, in base 64, as checkpoints keep it.
    """

    def __init__(self, model: str) -> None:
        """Take a trained model.

        Raises:
            CaptioningError: sentencepiece is not installed, or the text is no model.
        """
        self.model = model
        try:
            self._pieces = _library().SentencePieceProcessor(model_proto=base64.b64decode(model, validate=True))
        except (RuntimeError, TypeError, ValueError, binascii.Error) as error:
            raise CaptioningError(f"The model of subwords is damaged ({str(error)[:80]}). Train again.") from error

    @classmethod
    def train(cls, texts: Iterable[str], size: int) -> "Subwords":
        """Train a model.

        Args:
            texts: the sentences of the training split.
            size: the number of pieces, the most that the texts allow where that is fewer.

        Raises:
            CaptioningError: sentencepiece is not installed, or there are too few pieces for the texts' characters.
        """
        model = io.BytesIO()
        try:
            _library().SentencePieceTrainer.train(
                sentence_iterator=iter(list(texts)),
                model_writer=model,
                vocab_size=size,
                character_coverage=1.0,
                hard_vocab_limit=False,
                num_threads=1,  # the same pieces on any machine
                minloglevel=2,
            )
        except RuntimeError as error:
            raise CaptioningError(
                f"data.subwords={size}: sentencepiece can't make so many pieces of these sentences "
                f"({str(error).splitlines()[-1][:160]}). Take another number."
            ) from error
        return cls(base64.b64encode(model.getvalue()).decode())

    def split(self, text: str) -> list[str]:
        """The pieces of a text."""
        pieces: list[str] = self._pieces.encode(text, out_type=str)
        return pieces

    def join(self, pieces: Sequence[str]) -> str:
        """The text of pieces."""
        return "".join(pieces).replace("▁", " ").strip()


def _library() -> Any:
    try:
        import sentencepiece
    except ImportError as error:
        raise CaptioningError("data.tokenizer=subwords needs sentencepiece: pip install captioning[translation]") from (
            error
        )
    return sentencepiece
