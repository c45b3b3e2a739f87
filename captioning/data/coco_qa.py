"""COCO-QA as released: Ren, Kiros and Zemel, "Exploring Models and Data for Image Question Answering" (2015)."""

import os
import re
from pathlib import Path

from captioning.core.errors import CaptioningError
from captioning.core.questions import KINDS
from captioning.core.texts import read_text, rows_of
from captioning.data.questions import Question, QuestionSet, assemble_questions, hold_out_questions, pictures_by_number

FILES = ("questions", "answers", "img_ids", "types")
REMEDY = (
    "Fetch it with: captioning prepare data=coco_qa data.root=…; or unpack cocoqa-2015-05-17.zip of "
    "http://www.cs.toronto.edu/~mren/imageqa/data/cocoqa/, and set data.root to the folder with train and test in it."
)


def read_coco_qa(
    root: str | os.PathLike[str],
    images: str | os.PathLike[str] | None = None,
    validation: float = 0.1,
    seed: int = 0,
) -> QuestionSet:
    """Read COCO-QA: 78,736 questions for training and 38,948 for the test, of four kinds, with answers of one word.

    Each split is a folder with four files of a line for each question: ``questions.txt``, ``answers.txt``,
    ``img_ids.txt`` (COCO's ids) and ``types.txt`` (0 object, 1 number, 2 colour, 3 location).

    Args:
        root: the folder with the folders ``train`` and ``test``.
        images: the folder of COCO's photographs (2014 or 2017), or one above them; None for questions alone.
        validation: the photographs of the training split that are for validation: a count, or a fraction if below 1.
        seed: the seed that draws them.

    Raises:
        CaptioningError: a file is missing, the files of a split differ in their numbers of lines, or an id or a kind is
            no number.
    """
    root = Path(root)
    train = _read_split(root / "train")
    train, held = hold_out_questions(train, validation, seed, root)
    splits = {"train": train, "val": held, "test": _read_split(root / "test")}
    paths = None if images is None else pictures_by_number(Path(images))
    return assemble_questions("coco_qa", splits, root, paths)


def _read_split(folder: Path) -> list[Question]:
    for name in FILES:
        if not (folder / f"{name}.txt").is_file():
            raise CaptioningError(f"{folder / f'{name}.txt'}: there is no such file. {REMEDY}")
    lines = {name: _lines(folder / f"{name}.txt") for name in FILES}
    counts = {name: len(found) for name, found in lines.items()}
    if len(set(counts.values())) > 1:
        said = ", ".join(f"{name}.txt {count}" for name, count in counts.items())
        raise CaptioningError(
            f"{folder}: the files of a split have a line for each question, and these differ in their lines: {said}. "
            "Fetch them again."
        )
    return [
        Question(number, text, (answer,), *_numbers(folder, number, image, kind))
        for number, (text, answer, image, kind) in enumerate(zip(*lines.values(), strict=True))
    ]


def _numbers(folder: Path, number: int, image: str, kind: str) -> tuple[int, str]:
    if not re.fullmatch(r"[0-9]{1,18}", image) or kind not in ("0", "1", "2", "3"):
        raise CaptioningError(
            f"{folder}, line {number + 1}: the image id is {image!r:.30} and the kind {kind!r:.30}; a number is wanted "
            "in img_ids.txt, and 0, 1, 2 or 3 in types.txt."
        )
    return int(image), KINDS[int(kind)]


def _lines(path: Path) -> list[str]:
    return [line.strip() for line in rows_of(read_text(path).rstrip("\r\n"))]
