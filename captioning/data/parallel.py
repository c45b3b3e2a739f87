"""Parallel text, sentences and their translations, in one form for all files; Multi30k's task 1, and your own files."""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from captioning.core.errors import CaptioningError
from captioning.core.texts import fault_of, read_text, rows_of
from captioning.data.assemble import first_ten
from captioning.data.own import READERS, SPLIT_NAMES
from captioning.data.tables import split_name

log = logging.getLogger(__name__)

LANGUAGES = ("en", "de", "fr", "cs")
MULTI30K = {"train": "train", "val": "val", "test": "test_2016_flickr"}
FOLDERS = (".", "task1", "task1/raw", "data/task1/raw")  # the last one is that of the repository
SPLITS = ("train", "val", "test")
REMEDY = "Clone https://github.com/multi30k/dataset, and set data.root to it or to its folder data."


@dataclass(frozen=True, slots=True)
class SentencePair:
    """A sentence and its translation, as written."""

    source: str
    target: str


@dataclass
class ParallelText:
    """Sentences with their translations, by split.

    Attributes:
        name: the data set's name ("multi30k").
        languages: the names of the source's and the target's language ("en", "de").
        splits: ``train``, ``val`` and ``test``; a split may be empty.
    """

    name: str
    languages: tuple[str, str]
    splits: dict[str, list[SentencePair]] = field(default_factory=dict)

    def __getitem__(self, split: str) -> list[SentencePair]:
        """The pairs of a split.

        Raises:
            CaptioningError: the split does not exist or is empty.
        """
        pairs = self.splits.get(split)
        if not pairs:
            there = ", ".join(f"{name} ({len(found)})" for name, found in self.splits.items() if found) or "none"
            raise CaptioningError(f"{self.name}: the split {split!r} is empty. Splits with sentences: {there}.")
        return pairs


def read_multi30k_translation(
    root: str | os.PathLike[str], source_language: str = "en", target_language: str = "de"
) -> ParallelText:
    """Read Multi30k's task 1: one English caption of each photograph, translated to German, French and Czech.

    Elliott, Frank, Sima'an and Specia, "Multi30K: Multilingual English-German Image Descriptions" (2016, arXiv
    1605.00459), section 2.1. The splits are 29,000 sentences for training, 1,014 for validation, and the 1,000 of
    ``test_2016_flickr`` for the test.

    Args:
        root: the folder of ``train.en`` to ``test_2016_flickr.de``, or the repository's folder, or a folder with the
            folder ``task1``; files may be compressed (``.gz``).
        source_language: the language to translate from, one of ``LANGUAGES``.
        target_language: the language to translate to.

    Raises:
        CaptioningError: a file is missing, is not UTF-8 or has an empty line, two files have different numbers of
            lines, or a language is unknown.
    """
    for name, language in (("source", source_language), ("target", target_language)):
        if language not in LANGUAGES:
            raise CaptioningError(
                f"data.{name}_language={language}: Multi30k's task 1 has {', '.join(LANGUAGES)}. Take one."
            )
    found = {
        split: _read_files(*(_find(Path(root), f"{name}.{each}") for each in (source_language, target_language)))
        for split, name in MULTI30K.items()
    }
    return _checked("multi30k", source_language, target_language, found)


def read_own_translation(
    root: str | os.PathLike[str], source_language: str = "source", target_language: str = "target"
) -> ParallelText:
    """Read your own parallel text: two files for each split, or one table.

    In a folder, ``train.en`` and ``train.de`` hold a sentence and its translation in the same line, and so do ``val``
    and, if you like, ``test``; the endings are the languages, and ``.gz`` may follow. A table (``.csv``, ``.tsv`` or
    ``.jsonl``) has the columns ``source``, ``target`` and ``split`` (train, val or test).

    Args:
        root: the folder, or the table.
        source_language: the language to translate from; in a folder the ending of its files.
        target_language: the language to translate to, likewise.

    Raises:
        CaptioningError: a file is missing, is not UTF-8 or has an empty sentence, two files have different numbers of
            lines, a row has no split, or there are no sentences for training or validation.
    """
    path = Path(root)
    if path.is_dir():
        found = _read_folder(path, source_language, target_language)
    elif path.suffix.lower() in READERS:
        found = _read_table(path)
    else:
        raise CaptioningError(
            f"{path}: there is no such folder, and it is no .csv, .tsv or .jsonl file. Set data.root to a folder with "
            f"train.{source_language} and train.{target_language}, or to a table with source, target and split."
        )
    return _checked("own_translation", source_language, target_language, found)


def _read_folder(folder: Path, source_language: str, target_language: str) -> dict[str, list[SentencePair]]:
    found = {}
    for split in SPLITS:
        paths = [_existing(folder / f"{split}.{each}") for each in (source_language, target_language)]
        if paths == [None, None] and split == "test":
            continue
        for path, each in zip(paths, (source_language, target_language), strict=True):
            if path is None:
                raise CaptioningError(
                    f"{folder}: there is no {split}.{each} or {split}.{each}.gz here. Sentences of a split are in two "
                    "files, whose endings are data.source_language and data.target_language."
                )
        source, target = paths
        assert source is not None and target is not None
        found[split] = _read_files(source, target)
    return found


def _read_table(path: Path) -> dict[str, list[SentencePair]]:
    found: dict[str, list[SentencePair]] = {split: [] for split in SPLITS}
    for line, row in READERS[path.suffix.lower()](path, ("source", "target", "split")):
        split = split_name(row["split"], SPLIT_NAMES)
        if split is None:
            raise CaptioningError(f"{path}, line {line}: {row['split']!r} is not a split. Say train, val or test.")
        for side in ("source", "target"):
            if not row[side].strip():
                raise CaptioningError(f"{path}, line {line}: the {side} is empty. Write it, or take the row out.")
        found[split].append(SentencePair(_one_line(row["source"]), _one_line(row["target"])))
    return found


def _read_files(source: Path, target: Path) -> list[SentencePair]:
    """The pairs of two files with a sentence in each line; lines that are empty in both are left out, with a warning.

    Raises:
        CaptioningError: the files have different numbers of lines, or a sentence lacks its translation.
    """
    sources, targets = _lines(source), _lines(target)
    if len(sources) != len(targets):
        raise CaptioningError(
            f"{source} has {len(sources)} lines and {target} has {len(targets)}: a sentence and its translation stand "
            "in the same line of both. Fetch both anew, or find the line from which they differ."
        )
    pairs, empty = [], []
    for line, (one, other) in enumerate(zip(sources, targets, strict=True), start=1):
        if not one and not other:
            empty.append(str(line))
        elif not one or not other:
            lacking = source if not one else target
            raise CaptioningError(
                f"{lacking}, line {line}: the line is empty, and that of the other language is not. Write the "
                "sentence, or take the line out of both files."
            )
        else:
            pairs.append(SentencePair(one, other))
    if empty:
        log.warning("%s and %s: lines without a sentence were left out: %s.", source, target, first_ten(empty))
    return pairs


def _lines(path: Path) -> list[str]:
    """The lines of a file, without blanks around them, see ``rows_of``."""
    return [_one_line(line) for line in rows_of(read_text(path))]


def _one_line(text: str) -> str:
    """A text with single blanks, and without control characters."""
    return " ".join(text.split())


def _find(root: Path, name: str) -> Path:
    if not root.is_dir():
        raise CaptioningError(f"{root}: there is no such folder. {REMEDY}")
    for folder in FOLDERS:
        if path := _existing(root / folder / name):
            return path
    raise CaptioningError(f"{root}: there is no {name} or {name}.gz here, nor in {', '.join(FOLDERS[1:])}. {REMEDY}")


def _existing(path: Path) -> Path | None:
    return next((each for each in (path, path.with_name(f"{path.name}.gz")) if each.is_file()), None)


def _checked(
    name: str, source_language: str, target_language: str, splits: Mapping[str, Sequence[SentencePair]]
) -> ParallelText:
    if source_language == target_language:
        raise CaptioningError(
            f"data.source_language and data.target_language are both {source_language}. Take two languages."
        )
    for split, pairs in splits.items():
        if not pairs and split != "test":
            raise CaptioningError(f"{name}: the split {split!r} has no sentences. Give it some.")
        for number, pair in enumerate(pairs, start=1):
            fault = fault_of(pair.source) or fault_of(pair.target)
            if fault:
                raise CaptioningError(f"{name}: the sentence {number} of {split} {fault}. Correct it.")
    return ParallelText(name, (source_language, target_language), {split: list(each) for split, each in splits.items()})
