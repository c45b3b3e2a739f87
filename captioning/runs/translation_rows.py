"""Rows of ``data/results/translation.csv``: one for each scored run that translates."""

from collections.abc import Mapping
from pathlib import Path

from captioning.core.errors import CaptioningError
from captioning.runs.results import row_of
from captioning.runs.settings import data_name
from captioning.runs.told import configuration_of, read_scores

Row = dict[str, str]
COLUMNS = (
    *("experiment", "overrides", "data", "split", "direction", "tokenizer", "decoder", "cell", "search", "BLEU"),
    *("BLEU_low", "BLEU_high", "chrF", "chrF_low", "chrF_high", "sentences", "seed", "epochs", "best_epoch", "seconds"),
    *("parameters", "signature", "commit", "date"),
)
KEY = ("experiment", "overrides", "data", "split", "direction", "search", "seed")  # what a row is a repetition by


def is_of_translations(folder: Path, split: str) -> bool:
    """True if the scores of a folder are those of translations."""
    content = read_scores(folder / f"scores_{split}.json")
    return "languages" in content and "signatures" in content


def rows_of_translations(folder: Path, split: str) -> list[Row]:
    """The row of a run; scores and the ends of their 95 % intervals are ×100, with two decimals.

    Args:
        folder: a folder with ``scores_SPLIT.json``.
        split: the split.

    Raises:
        CaptioningError: a file is missing or damaged.
    """
    path = folder / f"scores_{split}.json"
    content = read_scores(path)
    row = row_of(folder, split)
    config = configuration_of(Path(content.get("run") or folder))  # as in ``question_rows``
    data = config.get("data") or {}
    languages, intervals = content.get("languages"), content.get("intervals")
    signatures = content.get("signatures")
    if not isinstance(languages, list) or not isinstance(intervals, Mapping) or not isinstance(signatures, Mapping):
        raise CaptioningError(f"{path}: these are no scores of translations. Evaluate the run again.")
    row |= {
        "data": str(content.get("data") or data_name(config)),
        "split": split,
        "direction": "-".join(map(str, languages)),
        "tokenizer": str(data.get("tokenizer", "")),
        "sentences": str(content.get("sentences", "")),
        "signature": str(signatures.get("BLEU", "")),
    }
    for name, (low, high) in intervals.items():
        row |= {f"{name}_low": f"{100 * low:.2f}", f"{name}_high": f"{100 * high:.2f}"}
    return [{name: value for name, value in row.items() if name in COLUMNS}]
