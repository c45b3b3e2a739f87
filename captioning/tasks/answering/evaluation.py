"""Answers to a split from a trained model, beside the baselines, with intervals and p-values."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from captioning.analysis.pointing import Named, Score, find_named, score
from captioning.core.images import ImageTransform, read_image
from captioning.core.measure import Measure
from captioning.core.ownership import write_json_output
from captioning.core.progress import progress
from captioning.core.questions import AnswerSet, normal_answer
from captioning.data.question_batches import QuestionData
from captioning.data.questions import Question, QuestionSet
from captioning.metrics import AnswerPairs, Metric, References, Scores, UnavailableError
from captioning.metrics.bootstrap import bootstrap, interval, p_value
from captioning.predict.answerer import Answerer
from captioning.tasks.photographs import boxes_by_word, features_of
from captioning.text.words import tokenize_words, tokenize_words_each

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Given:
    """The answers of a model to a split.

    Attributes:
        answers: the best answer to each question.
        attention: ``(looks, rows, columns)`` of each question, the weights of the regions; empty if not requested, or
            without attention.
    """

    answers: list[str]
    attention: list[NDArray[np.float32]]


def answer_split(answerer: Answerer, data: QuestionData, split: str, attention: bool = False) -> Given:
    """Answer the questions of a split.

    Args:
        answerer: the model.
        data: the questions.
        split: the split.
        attention: whether to keep the weights of the regions.
    """
    given = Given([], [])
    for batch in progress(data.loader(split), f"answering {split}", unit="batches"):
        on_device = batch.to(answerer.device)
        with torch.no_grad():
            features = on_device.features if answerer.encoder is None else features_of(on_device, answerer.encoder)
            found = answerer.model(features.select(on_device.of), on_device.questions)
        given.answers.extend(answerer.answers.words[number] for number in found.logits.argmax(-1).tolist())
        if attention and found.attention is not None:
            given.attention.extend(answerer.maps(weights, features) for weights in found.attention)
    return given


def play_pointing(
    source: QuestionSet, split: str, attention: Sequence[NDArray[np.float32]], transform: ImageTransform
) -> list[Score]:
    """The scores in the pointing game of what the questions name, one for each look.

    A question names an object if one of its words does, see ``captioning.analysis.pointing``; its map is that of the
    look.

    Args:
        source: the questions, and their photographs with the boxes of objects.
        split: the split.
        attention: the weights of the regions of each question, see ``Given``.
        transform: the encoder's transform of photographs.

    Returns:
        The scores; empty without attention, if no object's place is known, or if no question names an object.
    """
    if not attention or source.photos is None:
        return []
    photos = {photo.id: photo for photo in source.photos[split]}
    seen = {id: transform.seen(read_image(photo.path).size) for id, photo in photos.items() if photo.boxes}
    named: list[list[Named]] = [[] for _ in attention[0]]
    for question, looks in zip(source[split], attention, strict=True):
        if question.image in seen:
            words, objects = tokenize_words(question.text), boxes_by_word(photos[question.image])
            for of_look, weights in zip(named, looks, strict=True):
                every = np.broadcast_to(weights, (len(words), *weights.shape))
                of_look += find_named(words, every, objects, seen[question.image])
    return [found for each in named if (found := score(each)) is not None]


@dataclass(frozen=True)
class Standing:
    """The scores of a model and of the baselines on one split.

    Attributes:
        measures: the measures by name.
        scores: the scores by the systems' names, the model first, and by the measures' names, ×1.
        intervals: the model's 95 % intervals by the measures' names.
        p_values: the p-value of the model's difference from each baseline, by the baselines' and measures' names.
    """

    measures: Mapping[str, Measure]
    scores: Mapping[str, Mapping[str, float]]
    intervals: Mapping[str, tuple[float, float]]
    p_values: Mapping[str, Mapping[str, float]]

    @property
    def lines(self) -> list[str]:
        """The baselines under the model's scores, and the model's intervals, as a table."""
        head = ["", *self.scores[self._model]]
        rows = [head]
        for name, scores in self.scores.items():
            if name != self._model:
                rows.append([name, *(self.measures[each].text(value, 2) for each, value in scores.items())])
        bounds = [
            "-".join(self.measures[each].text(value) for value in self.intervals[each])
            for each in self.scores[self._model]
        ]
        rows.append(["95 % of the model", *bounds])
        widths = [max(len(row[place]) for row in rows) for place in range(len(head))]
        return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]

    @property
    def _model(self) -> str:
        return next(iter(self.scores))


def compare_answers(
    systems: Mapping[str, Sequence[str]],
    questions: Sequence[Question],
    metrics: Sequence[Metric],
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> Standing:
    """Score systems on the same questions, with intervals of the first one and its paired tests against the others.

    A metric that is unavailable is left out with a warning, and so is the accuracy of a kind without questions.

    Args:
        systems: an answer to each question, by the systems' names.
        questions: the questions.
        metrics: the metrics.
        resamples: the number of resamples of the bootstrap.
        seed: the seed of the bootstrap.
    """
    references = References([question.answers for question in questions], tokenize_words_each)
    kinds = [question.kind for question in questions]
    usable: list[Metric] = []
    parts: dict[str, list[Scores]] = {name: [] for name in systems}
    for metric in metrics:
        try:
            found = {
                name: Scores.of([metric], AnswerPairs(references, given, kinds)) for name, given in systems.items()
            }
        except UnavailableError as error:
            log.warning("%s", error)
            continue
        usable.append(metric)
        for name, scores in found.items():
            parts[name].append(scores)
    every = {name: Scores(tuple(usable), tuple(each.statistics[0] for each in found)) for name, found in parts.items()}
    empty = {each for metric in usable for each in getattr(metric, "kinds", ()) if each not in kinds}
    corpus = {
        name: {measure: value for measure, value in scores.corpus().items() if measure not in empty}
        for name, scores in every.items()
    }
    drawn = dict(zip(every, bootstrap(list(every.values()), resamples, seed), strict=True))
    model, *others = systems
    return Standing(
        next(iter(every.values())).measures,
        corpus,
        {measure: interval(drawn[model][measure]) for measure in corpus[model]},
        {
            name: {measure: p_value(drawn[name][measure], drawn[model][measure]) for measure in corpus[model]}
            for name in others
        },
    )


def unseen(questions: Sequence[Question], answers: AnswerSet) -> int:
    """The number of questions whose answer the model can't give."""
    return sum(answers.number(normal_answer(question.answer)) < 0 for question in questions)


def write_answers(path: Path, questions: Sequence[Question], given: Sequence[str]) -> None:
    """Write answers in VQA's results format, each with its question beside it."""
    rows: list[dict[str, Any]] = [
        {
            "question_id": question.id,
            "answer": answer,
            "question": question.text,
            "image_id": question.image,
            "kind": question.kind,
            "answers": list(question.answers),
        }
        for question, answer in zip(questions, given, strict=True)
    ]
    write_json_output(path, rows)
    log.info("wrote %s", path)
