"""Sentences of film reviews, positive or negative, in folds for cross-validation.

Pang and Lee, "Seeing stars: Exploiting class relationships for sentiment categorization" (ACL 2005): 5,331 positive and
5,331 negative sentences or snippets. The set has no test split: the field takes ten folds, each of them the test of
one run (Kim, "Convolutional Neural Networks for Sentence Classification", 2014, arXiv 1408.5882, section 3.1).
"""

import logging
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from captioning.core.errors import CaptioningError
from captioning.core.texts import read_text
from captioning.data.questions import Question, QuestionSet, assemble_questions

log = logging.getLogger(__name__)

FILES = {"positive": "rt-polarity.pos", "negative": "rt-polarity.neg"}
REMEDY = (
    "Fetch rt-polaritydata.tar.gz from https://www.cs.cornell.edu/people/pabo/movie-review-data/, unpack it, and set "
    "data.root to the folder with rt-polarity.pos and rt-polarity.neg in it."
)


def read_movie_reviews(
    root: str | os.PathLike[str],
    encoding: str = "latin-1",
    folds: int = 10,
    fold: int = 0,
    validation: float = 0.1,
    folds_seed: int = 0,
) -> QuestionSet:
    """Read film reviews as sentences with the answers ``positive`` and ``negative``.

    A seeded shuffle of each class deals its sentences out to the folds, so each fold has as many of one class as of the
    other. The fold ``fold`` is the test split. The first sentences of the other folds, in the order of the same
    shuffle, are the validation split; the rest is the training split.

    Args:
        root: the folder with ``rt-polarity.pos`` and ``rt-polarity.neg``, a sentence a line.
        encoding: the files' encoding; the released files are ``latin-1``.
        folds: the number of folds.
        fold: the fold for the test, from 0.
        validation: the sentences of the other folds for validation: a count, or a fraction if below 1.
        folds_seed: the shuffle's seed.

    Raises:
        CaptioningError: a file is missing, in another encoding, or empty; there is no such fold, or it would be empty;
            no sentence would remain for training.
    """
    root = Path(root)
    if folds < 2:
        raise CaptioningError(f"data.folds={folds}: cross-validation has 2 folds or more. Take 10.")
    if not 0 <= fold < folds:
        raise CaptioningError(f"data.fold={fold}: the {folds} folds (data.folds) have the numbers 0 to {folds - 1}.")
    splits: dict[str, list[Question]] = {"train": [], "val": [], "test": []}
    begin = 0
    for answer, name in FILES.items():
        sentences = _read(root / name, answer, encoding, begin)
        begin += len(sentences)
        if len(sentences) < folds:
            raise CaptioningError(
                f"{root / name}: {len(sentences)} sentences do not fill {folds} folds. Take fewer (data.folds)."
            )
        parts = _split(sentences, folds, fold, validation, folds_seed)
        if validation < 0 or not parts[0]:
            raise CaptioningError(
                f"{root}: data.validation={validation:g} leaves no {answer} sentence for training. Take fewer."
            )
        for split, part in zip(splits, parts, strict=True):
            splits[split] += part
    return assemble_questions("movie_reviews", splits, root, noun="sentences")


def _read(path: Path, answer: str, encoding: str, begin: int) -> list[Question]:
    """The sentences of a file, numbered from ``begin``."""
    if not path.is_file():
        raise CaptioningError(f"{path}: there is no such file. {REMEDY}")
    text = read_text(path, "file of reviews", encoding, "Set the encoding: data.encoding=latin-1.")
    if encoding.lower() in ("latin-1", "latin1", "iso-8859-1") and "\u00c3" in text:
        log.warning("%s: it has Ã, as UTF-8 read as Latin-1 has. If it is UTF-8, set data.encoding=utf-8.", path)
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    return [
        Question(number, line, (answer,), number, "other")  # of no kind of question
        for number, line in enumerate(lines, start=begin)
    ]


def _split(
    sentences: Sequence[Question], folds: int, fold: int, validation: float, seed: int
) -> tuple[list[Question], list[Question], list[Question]]:
    """The training, validation and test sentences of one class, each in their order."""
    order = np.random.Generator(np.random.PCG64(seed)).permutation(len(sentences))
    test = order[fold::folds].tolist()
    others = np.delete(order, slice(fold, None, folds)).tolist()
    held = round(validation * len(others)) if validation < 1 else int(validation) // len(FILES)
    parts = (others[held:], others[:held], test)
    train, val, test = ([sentences[place] for place in sorted(part)] for part in parts)
    return train, val, test
