"""Answers from Python: ``Answerer.load("runs/coco_qa")("photo.jpg", "how many dogs are there?")``.

Dimensions: Q questions, L regions.
"""

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from captioning.answerers import AnswerModel, Answers, Average
from captioning.core.errors import CaptioningError
from captioning.core.features import NO_FEATURES, Features
from captioning.core.images import stack
from captioning.core.questions import KINDS, AnswerSet, Questions, QuestionVocabulary, kind_of, question_numbers
from captioning.core.vocabulary import UNK
from captioning.encoders import Encoder
from captioning.predict.loading import load
from captioning.predict.pictures import Picture, read_picture
from captioning.runs.checkpoint import Checkpoint
from captioning.runs.parts import make_answerer, make_encoder
from captioning.runs.settings import tokenizer_of, without_weights

if TYPE_CHECKING:
    from captioning.text.registry import Tokenizer

LONGEST = 55  # words of a question, where the run's settings name no other number


@dataclass(frozen=True)
class Answer:
    """One answer to a question.

    Attributes:
        text: the answer.
        probability: its probability, 0 to 1.
    """

    text: str
    probability: float


@dataclass(frozen=True)
class Reply:
    """What a model says of one question.

    Attributes:
        answers: the most probable answers, best first.
        attention: ``(looks, rows, columns)``, the weights of the regions at each look, or ``(1, 1, T)``, those of the
            words for a model of sentences; None if not requested, or without attention.
        words: the T words that the model has read.
    """

    answers: Sequence[Answer]
    attention: "np.ndarray[tuple[int, int, int], np.dtype[np.float32]] | None" = None
    words: Sequence[str] = ()


@dataclass(frozen=True)
class _Asked:
    """What a checkpoint tells beside the weights."""

    vocabulary: QuestionVocabulary
    answers: AnswerSet
    memory: Sequence[int] | None

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> "_Asked":
        vocabulary, answers = checkpoint.asked
        memory = checkpoint.contents.get("memory")
        if not (isinstance(memory, list) and len(memory) == 3):
            return cls(vocabulary, answers, None)
        whole = all(type(each) is int and 0 <= each < 2**31 for each in memory)
        return cls(vocabulary, answers, memory if whole else None)


class Answerer:
    """A trained encoder and model of answers, with words and answers; or the average of several models.

    Attributes:
        encoder: the encoder; None for a model that reads the question alone.
        model: the model of answers.
        vocabulary: the words of questions.
        answers: the answers.
        config: the configuration of the trained run; of several models that of the first.
    """

    def __init__(
        self,
        encoder: Encoder | None,
        model: AnswerModel,
        vocabulary: QuestionVocabulary,
        answers: AnswerSet,
        config: Mapping[str, Any],
    ) -> None:
        """Take the parts, and put them in evaluation mode."""
        self.encoder = None if encoder is None else encoder.eval()
        self.model = model.eval()
        self.vocabulary, self.answers, self.config = vocabulary, answers, config

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        device: str = "auto",
        trust: Collection[str] = (),
        average: str = "probabilities",
    ) -> "Answerer":
        """Read a checkpoint, also a stranger's: no code that the checkpoint holds or names is run (docs/security.md).

        Args:
            path: a ``.ckpt`` file, or a run's folder (its best checkpoint); several such paths for their average.
            device: the device; ``"auto"`` is the GPU if there is one, else the CPU.
            trust: modules or classes outside of this package that the checkpoint may name; ``load`` imports them.
            average: ``"probabilities"`` or ``"log-probabilities"``, what several models average.

        Raises:
            CaptioningError: the checkpoint does not exist, is of another task, names a class that is not trusted, or
                does not fit this version of the code; several models do not fit together.
        """
        paths = [path] if isinstance(path, (str, os.PathLike)) else list(path)
        found = [cls._load(each, device, trust) for each in paths]
        return found[0] if len(found) == 1 else cls.combine(found, average, [str(each) for each in paths])

    @classmethod
    def _load(cls, path: str | os.PathLike[str], device: str, trust: Collection[str]) -> "Answerer":
        trained = load(path, device, trust, _Asked.of, _make)
        encoder = dict(trained.parts.items()).get("encoder")
        asked = trained.vocabulary
        return cls(encoder, trained.parts["answerer"], asked.vocabulary, asked.answers, trained.config)

    @classmethod
    def combine(
        cls, members: Sequence["Answerer"], average: str = "probabilities", names: Sequence[str] = ()
    ) -> "Answerer":
        """The average of several models (FULL in Ren et al. 2015), which share their weights with the average.

        Args:
            members: models of the same words and answers; those that read photographs have equal encoders.
            average: ``"probabilities"`` or ``"log-probabilities"``.
            names: the models' names, for errors.

        Raises:
            CaptioningError: words, answers or encoders differ.
        """
        names = names or [f"model {number}" for number in range(1, len(members) + 1)]
        if average not in ("probabilities", "log-probabilities"):
            raise CaptioningError(f"Models of answers average probabilities or log-probabilities, and not {average}.")
        first = members[0]
        for member, name in zip(members, names, strict=True):
            same = (member.vocabulary.words, member.answers.words) == (first.vocabulary.words, first.answers.words)
            if not same:
                raise CaptioningError(
                    f"{name}: its words or answers are not those of {names[0]}. Average models of one training set."
                )
        encoders = [member.encoder for member in members if member.encoder is not None]
        if len({encoder.fingerprint() for encoder in encoders}) > 1:
            raise CaptioningError("Models of different encoders can't be averaged. Take models of one frozen encoder.")
        model = Average([member.model for member in members], logarithms=average == "log-probabilities")
        return cls(encoders[0] if encoders else None, model, first.vocabulary, first.answers, first.config)

    @property
    def tokenizer(self) -> "Tokenizer":
        """The tokenizer of the training questions."""
        from captioning.text.registry import find_tokenizer

        return find_tokenizer(tokenizer_of(self.config))

    @property
    def device(self) -> torch.device:
        """The model's device."""
        return next(self.model.parameters()).device

    def __call__(self, picture: Picture | None, question: str) -> str:
        """The best answer to a question, see ``ask``."""
        return self.ask(picture, question, best=1).answers[0].text

    def ask(self, picture: Picture | None, question: str, best: int = 5, attention: bool | None = False) -> Reply:
        """Answer a question about a photograph.

        Args:
            picture: a path or a PIL image of any mode and size; None for a model that reads the question alone.
            question: the question.
            best: the number of answers.
            attention: whether to return the weights of the regions; None to return them if the model has any.

        Raises:
            CaptioningError: the photograph can't be read or is missing; the question has no word, or none that the
                training questions have; attention is requested and the model has none; ``best`` is below 1.
        """
        if best < 1:
            raise CaptioningError(f"{best} answers can't be given. Ask for 1 or more.")
        questions = self.questions([question])
        features = self._features(picture)
        with torch.inference_mode():
            found: Answers = self.model(features, questions.to(self.device))
        if attention and found.attention is None:
            remedy = "answerer=stacked_attention" if self.model.reads else "answerer=lstm answerer.summary=attention"
            raise CaptioningError(f"{type(self.model).__name__} has no attention to show. Use {remedy}.")
        p = found.logits[0].softmax(-1)
        top = p.topk(min(best, len(p)))
        answers = [
            Answer(self.answers.words[number], probability)
            for number, probability in zip(top.indices.tolist(), top.values.tolist(), strict=True)
        ]
        maps = None
        if attention is not False and found.attention is not None:
            maps = self.maps(found.attention[0], features)
        words = self.tokenizer([question])[0][: questions.words.shape[1]]
        return Reply(answers, maps, words)

    def questions(self, texts: Sequence[str]) -> Questions:
        """Questions as numbers.

        Raises:
            CaptioningError: a question has no word, or none that the training questions have.
        """
        numbers = []
        longest = (self.config.get("data") or {}).get("max_words", LONGEST)
        for text, tokens in zip(texts, self.tokenizer(texts), strict=True):
            if not tokens:
                raise CaptioningError(f"{text!r:.80} has no word. Ask a question, such as 'what is on the table'.")
            known = question_numbers(self.vocabulary, tokens, longest if isinstance(longest, int) else LONGEST)
            if all(number == UNK for number in known):
                raise CaptioningError(
                    f"{text!r:.80}: none of its words is in a question of the training split. Ask in the language and "
                    f"script of those, whose most frequent words are {' '.join(self.vocabulary.words[4:12])}."
                )
            numbers.append(known)
        return Questions.of(numbers, [KINDS.index(kind_of(text)) for text in texts])

    def _features(self, picture: Picture | None) -> Features:
        if self.encoder is None:
            return Features.none(1, self.device)
        if picture is None:
            raise CaptioningError("This model looks at a photograph. Name one.")
        images = stack([read_picture(picture, 0, self.encoder.transform)])
        with torch.inference_mode():
            features: Features = self.encoder(images.to(self.device))
        return features

    def maps(self, weights: Tensor, features: Features) -> "np.ndarray[tuple[int, int, int], np.dtype[np.float32]]":
        """The weights of a photograph's regions as maps.

        Args:
            weights: ``(looks, L)``, see ``Answers.attention``.
            features: the features that were looked at.

        Returns:
            ``(looks, rows, columns)``; one row where the regions have no layout.
        """
        looks, regions = weights.shape
        spec = NO_FEATURES if self.encoder is None else self.encoder.spec
        part = next((each for each in self.model.reads if each in spec and spec.regions(each) == regions), None)
        rows, columns = spec.layout(part) if part is not None and part not in features.lengths else (1, regions)
        maps: np.ndarray[tuple[int, int, int], np.dtype[np.float32]] = weights.float().cpu().numpy()
        return maps.reshape(looks, rows, columns)


def _make(config: Mapping[str, Any], asked: _Asked) -> dict[str, nn.Module]:
    settings = config.get("encoder")
    encoder = make_encoder({**config, "encoder": without_weights(settings)}) if settings else None
    spec = NO_FEATURES if encoder is None else encoder.spec
    model = make_answerer(config, asked.vocabulary, asked.answers, spec, asked.memory)
    return {"answerer": model, **({} if encoder is None else {"encoder": encoder})}
