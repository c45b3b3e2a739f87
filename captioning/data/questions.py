"""The common in-memory form of questions about photographs, for all file formats."""

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np

from captioning.core.errors import CaptioningError
from captioning.core.ids import ImageId, translation
from captioning.core.texts import fault_of
from captioning.data.photos import Box, CaptionedPhotos, Listings, Photo, require_files

log = logging.getLogger(__name__)

PICTURES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True, slots=True)
class Question:
    """A question about a photograph.

    Attributes:
        id: the question's id: that of VQA's files, else its place in the split, from 0.
        text: the question as written.
        answers: the answers as written: one, or those of ten people in VQA.
        image: the photograph's id.
        kind: one of ``captioning.core.questions.KINDS``.
    """

    id: ImageId
    text: str
    answers: tuple[str, ...]
    image: ImageId
    kind: str

    @property
    def answer(self) -> str:
        """The answer that a model learns: the most frequent of the answers, of equals the first."""
        return max(dict.fromkeys(self.answers), key=self.answers.count)


@dataclass
class QuestionSet:
    """Questions, by split.

    Attributes:
        name: the data set's name ("coco_qa").
        splits: ``train``, ``val`` and ``test``; a split may be empty.
        photos: the questions' photographs, by split, each once; None if the photographs are not here.
        noun: what the questions are, for messages: "sentences" where a sentence stands in a question's place.
    """

    name: str
    splits: dict[str, list[Question]] = field(default_factory=dict)
    photos: CaptionedPhotos | None = None
    noun: str = "questions"

    def __getitem__(self, split: str) -> list[Question]:
        """The questions of a split.

        Raises:
            CaptioningError: the split does not exist or is empty.
        """
        questions = self.splits.get(split)
        if not questions:
            there = ", ".join(f"{name} ({len(found)})" for name, found in self.splits.items() if found) or "none"
            raise CaptioningError(f"{self.name}: the split {split!r} is empty. Splits with {self.noun}: {there}.")
        return questions

    def places(self, split: str) -> list[int]:
        """The place of each question's photograph among the split's photographs; -1 each without photographs."""
        if self.photos is None:
            return [-1] * len(self[split])
        place = {photo.id: number for number, photo in enumerate(self.photos.splits[split])}
        return [place[question.image] for question in self[split]]


def assemble_questions(
    name: str,
    splits: Mapping[str, Sequence[Question]],
    where: object,
    paths: Mapping[ImageId, Path] | None = None,
    noun: str = "questions",
    boxes: Mapping[ImageId, tuple[Box, ...]] = MappingProxyType({}),
) -> QuestionSet:
    """Put questions together with their photographs, and check both.

    Questions about photographs that are not in ``paths`` are left out; one warning states their count.

    Args:
        name: the data set's name.
        splits: the questions of each split.
        where: the file or folder that was read, for messages.
        paths: the photographs' files by id; None for questions without photographs.
        noun: what the questions are, see ``QuestionSet``.
        boxes: the places of the objects that questions name, by photograph, where they are known.

    Raises:
        CaptioningError: a question has no word or no answer, a photograph is in two splits, a file is missing, or no
            question is left.
    """
    for split, questions in splits.items():
        for question in questions:
            _check(question, split, where, noun.removesuffix("s"))
    kept = {split: list(questions) for split, questions in splits.items()}
    if paths is None:
        _require_some(kept, where)
        return QuestionSet(name, kept, noun=noun)
    stands_for = translation((each.image for questions in kept.values() for each in questions), paths)
    kept = {
        split: [replace(each, image=stands_for.get(each.image, each.image)) for each in questions]
        for split, questions in kept.items()
    }
    kept = {split: [each for each in questions if each.image in paths] for split, questions in kept.items()}
    left_out = sum(map(len, splits.values())) - sum(map(len, kept.values()))
    if left_out:
        log.warning("%s: %d questions are about photographs that are not here, and are left out.", where, left_out)
    _require_some(kept, where)
    listings = Listings()
    photos = {
        split: [
            Photo(image, listings.on_disk(paths[image]), (), boxes.get(image, ()))
            for image in dict.fromkeys(each.image for each in questions)
        ]
        for split, questions in kept.items()
    }
    require_files((photo.path for of_split in photos.values() for photo in of_split), listings)
    return QuestionSet(name, kept, CaptionedPhotos(name, photos), noun)


def hold_out_questions(
    questions: Sequence[Question], part: float, seed: int, where: object
) -> tuple[list[Question], list[Question]]:
    """Take the questions of some photographs away, for validation, by a seeded shuffle of the photographs.

    Args:
        questions: the questions.
        part: the number of photographs, or their fraction if below 1; 0 takes none.
        seed: the shuffle's seed.
        where: the file or folder that was read, for the error message.

    Returns:
        The questions that remain, and those taken away, each in their order.

    Raises:
        CaptioningError: no photograph would remain.
    """
    images = list(dict.fromkeys(question.image for question in questions))
    count = round(part * len(images)) if part < 1 else int(part)
    if part < 0 or count >= len(images):
        raise CaptioningError(
            f"{where}: data.validation={part:g} of {len(images)} photographs leaves none for training. Take fewer."
        )
    order = np.random.Generator(np.random.PCG64(seed)).permutation(len(images))[:count]
    held = {images[place] for place in order.tolist()}
    return (
        [each for each in questions if each.image not in held],
        [each for each in questions if each.image in held],
    )


def pictures_by_number(folder: Path) -> dict[ImageId, Path]:
    """The photographs of a folder and those below it, by the number at the end of their names, as COCO has them.

    Raises:
        CaptioningError: there is no such folder, or no such photograph in it.
    """
    if not folder.is_dir():
        raise CaptioningError(f"{folder}: there is no such folder. Set data.images to the photographs' folder.")
    found: dict[ImageId, Path] = {}
    for path in sorted(folder.rglob("*")):
        number = re.search(r"(\d+)$", path.stem)
        if number and path.suffix.lower() in PICTURES:
            found.setdefault(int(number[1]), path)
    if not found:
        raise CaptioningError(
            f"{folder}: there is no photograph with a number in its name, such as COCO_train2014_000000000009.jpg. "
            "Set data.images to the photographs' folder, or to null for models that read the question alone."
        )
    return found


def numbered(questions: Iterable[Question]) -> list[Question]:
    """Questions with their places as ids."""
    return [replace(question, id=place) for place, question in enumerate(questions)]


def _check(question: Question, split: str, where: object, noun: str) -> None:
    if not any(character.isalnum() for character in question.text):
        raise CaptioningError(
            f"{where}: the {noun} {question.id} of {split} is {question.text!r:.40}, without a word. Write the "
            f"{noun}, or take it out."
        )
    if not question.answers or not all(answer.strip() for answer in question.answers):
        raise CaptioningError(f"{where}: the {noun} {question.id} of {split} has an empty answer. Write one.")
    fault = next((fault for text in (question.text, *question.answers) if (fault := fault_of(text))), None)
    if fault:
        raise CaptioningError(f"{where}: the {noun} {question.id} of {split} {fault}. Correct it.")


def _require_some(splits: Mapping[str, Sequence[Question]], where: object) -> None:
    if not any(splits.values()):
        raise CaptioningError(f"{where}: there is no question about a photograph that is here. Check data.images.")
