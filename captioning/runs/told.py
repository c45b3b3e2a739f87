"""What the files of a finished run tell, checked where they are read: of a damaged file there is a sentence."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from captioning.core.errors import CaptioningError
from captioning.core.files import read_json
from captioning.core.ids import image_id

COUNTED = ("epochs", "best_epoch", "seconds", "parameters", "memory_mb", "gpu_memory_mb")  # the numbers of a summary


def read_scores(path: Path) -> dict[str, Any]:
    """The content of a file of scores (``scores_SPLIT.json``).

    Raises:
        CaptioningError: the file is missing or damaged; the message names the part.
    """
    content = read_json(path, "scores file")
    if not isinstance(content, dict) or not isinstance(content.get("scores"), dict):
        raise CaptioningError(f"{path}: these are no scores. Evaluate the run again.")
    odd = [name for name, fits in _SCORES.items() if content.get(name) is not None and not fits(content[name])]
    if odd:
        raise CaptioningError(
            f"{path}: its {odd[0]!r} is not as `captioning evaluate` writes it. Evaluate the run again."
        )
    return content


def read_summary(run: Path, needed: Sequence[str] = ()) -> dict[str, Any]:
    """The content of a run's ``summary.json``.

    Args:
        run: the run's folder.
        needed: the names of numbers that must be there.

    Raises:
        CaptioningError: the file is missing or damaged.
    """
    path = run / "summary.json"
    content = read_json(path, "summary of a run")
    if not isinstance(content, dict):
        raise CaptioningError(f"{path}: this is no summary of a run.")
    for name in COUNTED:
        if not _is_number(content.get(name, None if name in needed else 0), finite=True):
            raise CaptioningError(f"{path}: its {name!r} is no number. The file is damaged: train the run again.")
    return content


def read_answers(path: Path) -> list[dict[str, Any]]:
    """The rows of a file of answers (``answers_SPLIT.json``).

    Raises:
        CaptioningError: the file is missing or damaged.
    """
    content = read_json(path, "answers file")
    if not isinstance(content, list) or not all(map(_is_answer, content)):
        raise CaptioningError(f"{path}: these are no answers to questions. Evaluate the run again.")
    return content


def overrides_of(run: Path) -> list[str]:
    """The command line of a run, as Hydra has recorded it; empty if it has not.

    Raises:
        CaptioningError: the record is damaged.
    """
    path = run / ".hydra" / "overrides.yaml"
    found = (_yaml(path) or []) if path.exists() else []
    if not isinstance(found, list):
        raise CaptioningError(f"{path}: this is no list of a run's settings. The file is damaged.")
    return [str(each) for each in found]


def configuration_of(run: Path) -> dict[str, Any]:
    """The configuration of a run as it was resolved; empty if there is none.

    Raises:
        CaptioningError: the file is damaged.
    """
    path = run / "config.yaml"
    found = _yaml(path) if path.exists() else {}
    groups = [found, *((found.get(name) or {}) for name in ("data", "answerer"))] if isinstance(found, dict) else [None]
    if not all(isinstance(group, dict) for group in groups):
        raise CaptioningError(f"{path}: this is not the configuration of a run. The file is damaged.")
    return dict(found)


def _yaml(path: Path) -> Any:
    try:
        return OmegaConf.to_container(OmegaConf.load(path))
    except Exception as error:
        raise CaptioningError(f"{path}: this is no YAML that can be read. The file is damaged.") from error


def _is_number(value: Any, finite: bool = False) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and (not finite or math.isfinite(value))


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _are_numbers(values: Any) -> bool:
    return isinstance(values, Mapping) and all(map(_is_number, values.values()))


def _are_intervals(values: Any) -> bool:
    ends = values.values() if isinstance(values, Mapping) else [None]
    return all(isinstance(each, list) and len(each) == 2 and all(map(_is_number, each)) for each in ends)


def _are_groups(values: Any) -> bool:
    return isinstance(values, Mapping) and all(map(_are_numbers, values.values()))


def _are_members(values: Any) -> bool:
    rows = values if isinstance(values, list) else [None]
    texts = ("checkpoint", "sha256", "decoder", "cell", "encoder")
    return all(
        isinstance(each, Mapping)
        and each.keys() >= {"checkpoint", "sha256", "seed"}
        and all(isinstance(each.get(name, ""), str) for name in texts)
        for each in rows
    )


def _is_answer(row: Any) -> bool:
    if not isinstance(row, dict) or image_id(row.get("question_id")) is None or not isinstance(row.get("answer"), str):
        return False
    answers = row.get("answers")
    return isinstance(answers, list) and bool(answers) and all(isinstance(each, str) for each in answers)


_SCORES: dict[str, Callable[[Any], bool]] = {
    "scores": _are_numbers,
    "intervals": _are_intervals,
    "kinds": _are_numbers,
    "members": _are_members,
    "questions": _is_number,
    "photographs_per_second": _is_number,
    **dict.fromkeys(("run", "data", "search", "tokenizer"), _is_text),
    "languages": lambda value: isinstance(value, list),
    "signatures": lambda value: isinstance(value, Mapping),
    "weights": lambda value: isinstance(value, list) and all(map(_is_number, value)),
    **dict.fromkeys(("baselines", "p_values"), _are_groups),
}
