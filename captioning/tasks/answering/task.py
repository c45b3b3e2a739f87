"""The task of answering."""

import logging
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from captioning.answerers import KNN, Training
from captioning.answerers.model import EmbeddingModel
from captioning.core.build import call
from captioning.core.errors import CaptioningError
from captioning.core.features import NO_FEATURES
from captioning.core.measure import Measure
from captioning.core.questions import AnswerSet, QuestionVocabulary, normal_answer
from captioning.data import QuestionSet
from captioning.data.question_batches import QuestionData, no_features
from captioning.decoders.embeddings import set_vectors
from captioning.encoders import Encoder
from captioning.metrics import AnswerPairs, References, Scores, measures_of
from captioning.predict.answerer import Answerer
from captioning.runs.checkpoint import Checkpoint
from captioning.runs.parts import make_answerer
from captioning.runs.settings import tokenizer_of
from captioning.speed import make_convolutions_fast
from captioning.tasks.answering.baselines import Blind, Majority
from captioning.tasks.answering.evaluation import answer_split, compare_answers, play_pointing, unseen, write_answers
from captioning.tasks.answering.module import AnsweringModule
from captioning.tasks.inputs import inputs_of_questions
from captioning.tasks.photographs import initial_encoder, photo_settings
from captioning.tasks.task import Evaluation, Prepared, Task, with_hint
from captioning.text.registry import Tokenizer, find_tokenizer
from captioning.text.words import tokenize_words_each
from captioning.training.settings import training_settings

log = logging.getLogger(__name__)


class AnsweringTask(Task):
    """Answering: from a question about a photograph to a word (Ren, Kiros & Zemel 2015, arXiv 1505.02074)."""

    takes_word_vectors = True

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of the questions (``data.tokenizer``)."""
        return find_tokenizer(tokenizer_of(self.config))

    @property
    def measures(self) -> Mapping[str, Measure]:
        """The measures of the metrics, and the cross-entropy of an answer."""
        return {**measures_of(self.metrics), "loss": Measure("loss", higher_is_better=False)}

    def read_source(self) -> QuestionSet:
        """Questions by split."""
        try:
            return call(self.config["data"]["source"], QuestionSet)
        except CaptioningError as error:
            hint = "task=answering answers questions: choose data=coco_qa, daquar, vqa or own_questions"
            raise with_hint(error, hint) from error

    def inputs(self, source: QuestionSet) -> dict[str, str]:
        """Digests of questions, photographs and splits."""
        return inputs_of_questions(self.config, source)

    def prepare(
        self, source: QuestionSet, folder: Path, device: torch.device, initial: Checkpoint | None = None
    ) -> Prepared:
        """An untrained model of answers and its data; the features of a frozen encoder are stored here."""
        config = self.config
        vocabulary, answers = self._words(source, initial)
        encoder = self._encoder(initial)
        model = make_answerer(config, vocabulary, answers, NO_FEATURES if encoder is None else encoder.spec)
        if encoder is not None:
            if not model.reads:
                raise CaptioningError(f"{type(model).__name__} reads the question alone: take encoder=none with it.")
            encoder.keep(model.reads)
            if encoder.trainable:
                make_convolutions_fast(encoder)
        if config["word_vectors"]:
            if not isinstance(model, EmbeddingModel):
                raise CaptioningError(
                    f"word_vectors: {type(model).__name__} has no embedding of words. Leave them out."
                )
            found = set_vectors(model.embedding, config["word_vectors"], vocabulary.words)
            log.info("%s: vectors of %d of the %d words.", config["word_vectors"], found, len(vocabulary))
        data = self._data(source, vocabulary, answers, encoder, model.reads, device)
        model.begin(self._training(data))
        module = AnsweringModule(
            encoder,
            model,
            score=self._scorer(source, "val", answers),
            encoder_lr=config["encoder_lr"],
            **training_settings(config),
        )
        size = f"{len(source['train'])} {source.noun}, {len(vocabulary)} words, {len(answers)} answers"
        contents: dict[str, Any] = {"questions": list(vocabulary.words), "answers": list(answers.words)}
        if isinstance(model, KNN):
            contents["memory"] = list(model.memory)
        return Prepared(module, data, contents, size)

    def _words(self, source: QuestionSet, initial: Checkpoint | None) -> tuple[QuestionVocabulary, AnswerSet]:
        """The words and answers of the training split, or of the checkpoint with the initial weights."""
        if initial is not None:
            return initial.asked
        training = source["train"]
        words = self.tokenizer([question.text for question in training])
        vocabulary = QuestionVocabulary.build(words, self.config["data"]["minimum_count"])
        most = self.config["data"]["most_answers"]
        answers = AnswerSet.build((normal_answer(question.answer) for question in training), most)
        return vocabulary, answers

    def _encoder(self, initial: Checkpoint | None) -> Encoder | None:
        """The encoder; None for a model of questions alone.

        Raises:
            CaptioningError: the model reads photographs and there is no encoder.
        """
        if self.config.get("encoder"):
            return initial_encoder(self.config, initial)
        return None

    def _data(
        self,
        source: QuestionSet,
        vocabulary: QuestionVocabulary,
        answers: AnswerSet,
        encoder: Encoder | None,
        reads: Sequence[str],
        device: torch.device,
    ) -> QuestionData:
        config, data = self.config, self.config["data"]
        if encoder is not None and source.photos is None:
            raise CaptioningError(
                f"{source.name}: the photographs of these questions are not here, and this model reads them. Set "
                "data.images to their folder, or take a model of questions alone (answerer=bow encoder=none)."
            )
        if encoder is not None and source.photos is not None:
            common = photo_settings(config, source.photos, encoder, reads, device)
        else:
            common = {
                "features": no_features,
                "image": None,
                "batch_size": data["batch_size"],
                "workers": data["workers"],
                "seed": config["seed"],
            }
        words = {"tokenizer": self.tokenizer, "max_words": data["max_words"]}
        return QuestionData(source, vocabulary, answers, **words, **common)

    def _training(self, data: QuestionData) -> Training:
        encoded = data.encoded("train")
        with_photos = data.source.photos is not None and data.features is not None
        return Training(
            [encoded[place].tolist() for place in range(len(encoded))],
            torch.from_numpy(encoded.kinds),
            torch.from_numpy(encoded.answers),
            torch.from_numpy(encoded.photos),
            data.vocabulary.words,
            data.features("train") if with_photos and data.features is not None else None,
        )

    def _scorer(
        self, source: QuestionSet, split: str, answers: AnswerSet
    ) -> Callable[[Sequence[int]], Mapping[str, float]]:
        """A scorer of the numbers of answers to a split, by the metrics that validation has."""
        questions = source[split]
        metrics = [metric for metric in self.metrics if any(measure.validated for measure in metric.measures)]
        references = References([question.answers for question in questions], tokenize_words_each)
        kinds = [question.kind for question in questions]

        def score(given: Sequence[int]) -> Mapping[str, float]:
            pairs = AnswerPairs(references, [answers.words[number] for number in given], kinds)
            return Scores.of(metrics, pairs).corpus()

        return score

    def evaluate(
        self,
        checkpoint: Path,
        split: str,
        *,
        out: Path,
        device: str,
        source: QuestionSet | None = None,
        trust: Collection[str] = (),
        search: Any = None,
    ) -> Evaluation:
        """Answer a split and score the answers, beside the baselines of the training split.

        Writes ``answers_SPLIT.json`` (VQA's results format, with the questions).
        """
        return self._evaluate(Answerer.load(checkpoint, device, trust), split, out, source, search)

    def evaluate_ensemble(
        self,
        checkpoints: Sequence[Path],
        split: str,
        *,
        average: str,
        out: Path,
        device: str,
        source: QuestionSet | None = None,
        trust: Collection[str] = (),
        search: Any = None,
    ) -> Evaluation:
        """The same for the average of several models: FULL, see ``captioning.answerers.Average``."""
        return self._evaluate(Answerer.load(checkpoints, device, trust, average), split, out, source, search)

    def _evaluate(
        self, answerer: Answerer, split: str, out: Path, source: QuestionSet | None, search: Any
    ) -> Evaluation:
        if search is not None:
            raise CaptioningError("Questions are answered without a search: leave the options of a search out.")
        source = self.source_of(split, source)
        questions, training = source[split], source.splits.get("train") or []
        data = self._data(
            source, answerer.vocabulary, answerer.answers, answerer.encoder, answerer.model.reads, answerer.device
        )
        boxes = source.photos is not None and any(photo.boxes for photo in source.photos[split])
        given = answer_split(answerer, data, split, attention=boxes)
        systems = {"model": given.answers}
        if training:
            systems |= {each.name: each(questions) for each in (Majority(training), Blind(training, self.tokenizer))}
        standing = compare_answers(systems, questions, self.metrics, seed=self.config["seed"])
        write_answers(out / f"answers_{split}.json", questions, systems["model"])
        lost = unseen(questions, answerer.answers)
        lines = standing.lines if training else []
        if lost:
            lines = [*lines, f"{lost} of {len(questions)} answers were never seen in training, and count as wrong."]
        pointing = []
        if answerer.encoder is not None:
            pointing = play_pointing(source, split, given.attention, answerer.encoder.transform)
        lines = [*lines, *(f"look {number}, {each}" for number, each in enumerate(pointing, 1))]
        details = {
            "questions": len(questions),
            "kinds": dict(Counter(question.kind for question in questions)),
            "unseen_answers": lost,
            "intervals": {name: list(bounds) for name, bounds in standing.intervals.items()},
            "baselines": {name: scores for name, scores in standing.scores.items() if name != "model"},
            "p_values": standing.p_values,
            **({"pointing": [{**asdict(each), "share": each.share} for each in pointing]} if pointing else {}),
        }
        return Evaluation(dict(standing.scores["model"]), details, lines)
