"""DAQUAR: Malinowski and Fritz, "A Multi-World Approach to Question Answering about Real-World Scenes" (2014)."""

import os
import re
from pathlib import Path

from captioning.core.errors import CaptioningError
from captioning.core.ids import ImageId
from captioning.core.questions import kind_of
from captioning.core.texts import fault_of, read_text, rows_of
from captioning.data.assemble import find_first
from captioning.data.questions import PICTURES, Question, QuestionSet, assemble_questions, hold_out_questions, numbered

NAMES = {split: (f"qa.894.raw.{split}.txt", f"qa.37.raw.{split}.txt") for split in ("train", "test")}
REMEDY = "Fetch DAQUAR from its authors' site (MPI Informatics), and set data.root to the folder of its qa.*.txt."
_IMAGE = re.compile(r"(image\d+)\s*\??$")  # of a text without blanks at its end
_BEFORE = re.compile(r"(?:\b(?:in|on|of|from)(?:\s+the)?|\bthe)?$")


def read_daquar(
    root: str | os.PathLike[str],
    images: str | os.PathLike[str] | None = None,
    validation: float = 0.1,
    seed: int = 0,
) -> QuestionSet:
    """Read DAQUAR: a question, which ends in its photograph's name ("… in the image3 ?"), and an answer, line by line.

    The photograph's name is taken out of the question. An answer of several words or of several objects ("chair,
    table") is one answer.

    Args:
        root: the folder with ``qa.894.raw.train.txt`` and ``…test.txt`` (or the 37 classes' ``qa.37.raw.…``).
        images: the folder of the photographs (``image3.png``); None for questions alone.
        validation: the photographs of the training split that are for validation: a count, or a fraction if below 1.
        seed: the seed that draws them.

    Raises:
        CaptioningError: a file is missing, a question has no answer, or a question names no photograph.
    """
    root = Path(root)
    train, test = (_read(find_first(root, NAMES[split], REMEDY)) for split in ("train", "test"))
    train, held = hold_out_questions(train, validation, seed, root)
    paths: dict[ImageId, Path] | None = None
    if images is not None:
        paths = {path.stem: path for path in sorted(Path(images).rglob("*")) if path.suffix.lower() in PICTURES}
    return assemble_questions("daquar", {"train": train, "val": held, "test": test}, root, paths)


def _read(path: Path) -> list[Question]:
    lines = [line.strip() for line in rows_of(read_text(path)) if line.strip()]
    if len(lines) % 2:
        raise CaptioningError(
            f"{path}: questions and answers take turns, line by line, and there are {len(lines)} lines: a question has "
            "no answer, or an answer no question. Fetch the file again."
        )
    found = []
    for place in range(0, len(lines), 2):
        text, answer = lines[place], lines[place + 1]
        if fault := fault_of(text):
            raise CaptioningError(f"{path}: the question {place // 2 + 1} {fault}. Correct it.")
        image = _IMAGE.search(text)
        if image is None:
            raise CaptioningError(f"{path}, question {place // 2 + 1}: {text!r:.80} names no photograph (image3).")
        question = _BEFORE.sub("", text[: image.start()].rstrip()).rstrip(" \t,")
        found.append(Question(0, question, (answer,), image[1], kind_of(question)))
    return numbered(found)
