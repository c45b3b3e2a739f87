"""Your own questions: JSON lines or CSV with the columns question, answer and, if you like, image, split and kind."""

import logging
import os
from pathlib import Path

from captioning.core.errors import CaptioningError
from captioning.core.ids import ImageId, key
from captioning.core.questions import KINDS, kind_of
from captioning.data.assemble import first_ten
from captioning.data.own import READERS, SPLIT_NAMES
from captioning.data.questions import Question, QuestionSet, assemble_questions, hold_out_questions
from captioning.data.tables import split_name

log = logging.getLogger(__name__)


def read_own_questions(
    root: str | os.PathLike[str],
    images: str | os.PathLike[str] | None = None,
    validation: float = 0.1,
    seed: int = 0,
) -> QuestionSet:
    """Read your own questions: one row for each question.

    ``image`` is a path, absolute or relative to ``images`` or else to the file's folder; without the column the
    questions are for models that read no photograph. ``split`` is train, val or test; if no row has a split, a seeded
    shuffle of the photographs takes ``validation`` of them each for validation and test. ``kind`` is one of ``KINDS``;
    by default the question's words tell it.

    Args:
        root: the ``.jsonl`` or ``.csv`` file.
        images: the folder that the images' paths begin in; None for the file's folder.
        validation: where no row has a split, the photographs for validation, and as many for the test: a count, or a
            fraction if below 1.
        seed: the shuffle's seed.

    Raises:
        CaptioningError: the file is missing, a line can't be read, only some rows have a split or an image, a
            photograph is in two splits, or pictures are missing.
    """
    path = Path(root)
    if path.suffix.lower() not in READERS:
        raise CaptioningError(f"{path}: own questions are a .jsonl or .csv file. Set data.root to one.")
    found: list[tuple[str | None, Question]] = []
    split_of: dict[ImageId, str] = {}
    forms: dict[str, str] = {}  # a photograph may be named with accents in two forms of Unicode
    without = []
    for line, row in READERS[path.suffix.lower()](path, ("question", "answer")):
        image = str(row.get("image") or "").strip()
        image = forms.setdefault(key(image), image)
        if not image:
            without.append(line)
        split = None
        if str(row.get("split") or "").strip():
            split = split_name(row["split"], SPLIT_NAMES)
            if split is None:
                raise CaptioningError(f"{path}, line {line}: {row['split']!r} is not a split. Say train, val or test.")
            if image and split_of.setdefault(image, split) != split:
                raise CaptioningError(
                    f"{path}, line {line}: {image} is in the splits {split_of[image]!r} and {split!r}. Choose one."
                )
        kind = str(row.get("kind") or "").strip().lower() or kind_of(row["question"])
        if kind not in KINDS:
            raise CaptioningError(f"{path}, line {line}: the kind {kind!r} is none of {', '.join(KINDS)}. Choose one.")
        found.append((split, Question(line, row["question"].strip(), (row["answer"].strip(),), image or line, kind)))
    if not found:
        raise CaptioningError(f"{path}: there is no question in this file. Write one row for each question.")
    if without and len(without) < len(found):
        raise CaptioningError(
            f"{path}: {len(without)} rows have no image, and others have one: lines "
            f"{first_ten(list(map(str, without)))}. "
            "Name the image of each question, or of none."
        )
    folder = Path(images) if images is not None else path.parent
    paths: dict[ImageId, Path] | None = None
    if not without:
        paths = {each.image: folder / str(each.image) for _, each in found}
    return assemble_questions("own_questions", _split(found, validation, seed, path), path, paths)


def _split(
    found: list[tuple[str | None, Question]], validation: float, seed: int, path: Path
) -> dict[str, list[Question]]:
    if all(split is None for split, _ in found):
        train, val = hold_out_questions([each for _, each in found], validation, seed, path)
        train, test = hold_out_questions(train, len({each.image for each in val}), seed, path) if val else (train, [])
        log.warning(
            "%s: it names no splits; %d questions are for training, %d for validation and %d for the test, drawn with "
            "seed %d.",
            *(path, len(train), len(val), len(test), seed),
        )
        return {"train": train, "val": val, "test": test}
    lost = [str(each.id) for split, each in found if split is None]
    if lost:
        raise CaptioningError(
            f"{path}: {len(lost)} questions have no split, while others have one: lines {first_ten(lost)}. Give each "
            "question a split, or none of them."
        )
    return {name: [each for split, each in found if split == name] for name in ("train", "val", "test")}
