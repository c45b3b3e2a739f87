"""VQA, versions 1 and 2: Antol et al. 2015 (arXiv 1505.00468), Goyal et al. 2017 (arXiv 1612.00837)."""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from captioning.core.errors import CaptioningError
from captioning.core.files import read_json
from captioning.core.ids import ImageId, image_id, translation
from captioning.core.questions import KINDS, kind_of
from captioning.data.assemble import find_first, first_ten
from captioning.data.questions import Question, QuestionSet, assemble_questions, hold_out_questions, pictures_by_number

SPLITS = MappingProxyType({"train": "train2014", "test": "val2014"})
REMEDY = (
    "Fetch questions and annotations from https://visualqa.org/download.html (version 2 also with: captioning prepare "
    "data=vqa2 data.root=…), and set data.root to their folder."
)


def read_vqa(
    root: str | os.PathLike[str],
    images: str | os.PathLike[str] | None = None,
    splits: Mapping[str, str | None] = SPLITS,
    validation: float = 0.1,
    seed: int = 0,
) -> QuestionSet:
    """Read questions and annotations in VQA's JSON, with the answers of ten people.

    The questions of the set ``train2014`` are in ``v2_OpenEnded_mscoco_train2014_questions.json`` and the answers in
    ``v2_mscoco_train2014_annotations.json``; version 1 has no ``v2_``. Files of any name with the set's name between
    ``questions`` or ``annotations`` and ``.json`` (``vqa_questions_valid.json.gz``) are read as well. The answers of
    VQA's own test set are not public; the usual choice is a test on its validation set.

    Args:
        root: the folder of the files.
        images: the folder of COCO's photographs; None for questions alone.
        splits: the set that each split is read from.
        validation: without a set for ``val``, the photographs of the training split that are for validation: a count,
            or a fraction if below 1.
        seed: the seed that draws them.

    Raises:
        CaptioningError: a file is missing or has another form, or a question has no answers.
    """
    root = Path(root)
    read = {split: _read_set(root, name) for split, name in splits.items() if name}
    if "train" not in read:
        raise CaptioningError(
            f"{root}: data.splits names no set for train. Name one, such as data.splits.train=train2014."
        )
    if "val" not in read:
        read["train"], read["val"] = hold_out_questions(read["train"], validation, seed, root)
    ordered: dict[str, list[Question]] = {split: read[split] for split in ("train", "val", "test") if split in read}
    paths = None if images is None else pictures_by_number(Path(images))
    return assemble_questions("vqa", ordered, root, paths)


def _read_set(root: Path, name: str) -> list[Question]:
    asked = _find(root, name, "questions", f"OpenEnded_mscoco_{name}_questions")
    told = _find(root, name, "annotations", f"mscoco_{name}_annotations")
    answers = dict(_numbered(_entries(told, "annotations")))
    entries = _entries(asked, "questions")
    # a number in one file may be a text in the other
    stands_for = translation((number for number, _ in _numbered(entries)), answers)
    found, without = [], []
    for entry in entries:
        number, image, text = image_id(entry.get("question_id")), image_id(entry.get("image_id")), entry.get("question")
        if number is None or image is None or not isinstance(text, str):
            raise CaptioningError(f"{asked}: a question lacks its question_id, image_id or question: {entry!r:.100}.")
        annotation = answers.get(stands_for.get(number, number))
        if annotation is None:
            without.append(str(number))
            continue
        kind = annotation.get("answer_type")
        found.append(
            Question(number, text, _answers(told, annotation), image, kind if kind in KINDS else kind_of(text))
        )
    if without:
        raise CaptioningError(
            f"{told}: {len(without)} questions of {asked.name} have no answers here: {first_ten(without)}. Take the "
            "two files of one set."
        )
    return found


def _numbered(entries: Iterable[dict[str, Any]]) -> Iterator[tuple[ImageId, dict[str, Any]]]:
    """The entries with a question's id, and these ids."""
    for entry in entries:
        number = image_id(entry.get("question_id"))
        if number is not None:
            yield number, entry


def _answers(path: Path, annotation: Mapping[str, Any]) -> tuple[str, ...]:
    """The answers of ten people, the chosen one first if it is among them, so that it is the one of equals."""
    given = annotation.get("answers")
    entries = given if isinstance(given, list) else []
    texts = [str(each["answer"]) for each in entries if isinstance(each, dict) and each.get("answer")]
    if not texts or len(texts) < len(entries):
        raise CaptioningError(
            f"{path}: the question {annotation.get('question_id')} has no list of answers, each with the text 'answer'."
        )
    chosen = annotation.get("multiple_choice_answer")
    return tuple(sorted(texts, key=lambda text: text != chosen))


def _entries(path: Path, key: str) -> list[dict[str, Any]]:
    content = read_json(path, f"VQA {key} file")
    entries = content.get(key) if isinstance(content, dict) else None
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise CaptioningError(f"{path}: a file of VQA holds the list {key!r}; this does not. {REMEDY}")
    return entries


def _find(root: Path, name: str, what: str, official: str) -> Path:
    """The file of a set: by VQA's own names, or else the one whose name ends in what it is and the set's name."""
    if not root.is_dir():
        raise CaptioningError(f"{root}: there is no such folder. {REMEDY}")
    stem = what[:7]  # "questio", "annotat": some copies have misspelt names
    loose = [
        path.name
        for path in sorted(root.iterdir())
        if stem in path.name and path.name.endswith((f"_{name}.json", f"_{name}.json.gz"))
    ]
    return find_first(root, (f"v2_{official}.json", f"{official}.json", *loose), REMEDY)
