"""``captioning results``: the rows of scored runs, sweeps and ensembles in a table of results."""

import argparse
import csv
import logging
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from captioning.core.errors import CaptioningError
from captioning.core.terminal import show_log
from captioning.jobs.options import parse

log = logging.getLogger(__name__)


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="captioning results",
        description="Write a row of a CSV table for each scored run, sweep's job or ensemble: what it is, its scores "
        "and its rate, with the commit of the code. A row that repeats one of the table takes its place. METEOR is "
        "computed where captioning[java] is installed.",
    )
    parser.add_argument("table", type=Path, help="the table, such as data/results/flickr8k.csv; made if missing")
    parser.add_argument("folders", type=Path, nargs="+", help="folders of runs, sweeps and ensembles, or above them")
    parser.add_argument("--split", default="test", help="train, val or test (default: test)")
    parser.add_argument("--no-meteor", action="store_true", help="leave METEOR blank where it is not in the scores")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = parse(parser(), argv)
    show_log()
    from captioning.core.files import atomic_write
    from captioning.runs import folds
    from captioning.runs.question_rows import COLUMNS as QUESTION_COLUMNS
    from captioning.runs.question_rows import KEY as QUESTION_KEY
    from captioning.runs.question_rows import is_of_answers, rows_of_answers
    from captioning.runs.results import KEY, columns_of, merged, read_rows, row_of, scored
    from captioning.runs.translation_rows import COLUMNS as TRANSLATION_COLUMNS
    from captioning.runs.translation_rows import KEY as TRANSLATION_KEY
    from captioning.runs.translation_rows import is_of_translations, rows_of_translations

    code = Code.of(Path(__file__).parents[1])
    folders = list(scored(options.folders, options.split))
    kinds: tuple[tuple[Any, ...], ...] = (
        (lambda folder, _: folds.folds_of(folder) is not None, folds.rows_of_folds, folds.COLUMNS, folds.KEY),
        (is_of_answers, _of_each(rows_of_answers), QUESTION_COLUMNS, QUESTION_KEY),
        (is_of_translations, _of_each(rows_of_translations), TRANSLATION_COLUMNS, TRANSLATION_KEY),
    )
    found = {
        next((number for number, (is_one, *_) in enumerate(kinds) if is_one(folder, options.split)), None)
        for folder in folders
    }
    if len(found) > 1:
        raise CaptioningError(
            "Captioners, runs that answer questions, runs that translate and cross-validations have columns of their "
            "own: name a table for each."
        )
    kind = found.pop()
    key = KEY if kind is None else kinds[kind][3]
    read_rows(options.table, key)  # before METEOR takes its time
    rows: list[dict[str, Any]] = []
    if kind is not None:
        rows = kinds[kind][1](folders, options.split)
    for folder in folders if kind is None else ():
        row = row_of(folder, options.split)
        if not row.get("METEOR") and not options.no_meteor and "tokenizer" not in row:  # METEOR is of English
            row["METEOR"] = meteor_of(folder, options.split)
        rows.append(row)
    rows = [row | {"commit": code.commit, "date": code.date} for row in rows]
    table = merged(read_rows(options.table, key), rows, key)
    own = columns_of(table) if kind is None else kinds[kind][2]
    columns = list(dict.fromkeys([*own, *(name for row in table for name in row)]))
    options.table.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(options.table) as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)
    print(f"{options.table}: {len(rows)} rows of {len(table)} are of these folders.")
    return 0


def _of_each(rows_of: Callable[[Path, str], Sequence[Any]]) -> Callable[[Sequence[Path], str], list[Any]]:
    """A function from folders to the rows of each."""
    return lambda folders, split: [row for folder in folders for row in rows_of(folder, split)]


def meteor_of(folder: Path, split: str) -> str:
    """METEOR of a folder's captions, ×100; blank without its tables."""
    from captioning.metrics import Meteor, Scorer, UnavailableError
    from captioning.metrics.results import read_references, read_results

    captions = read_results(folder / f"captions_{split}.json")
    references = read_references(folder / f"references_{split}.json")
    try:
        scorer = Scorer([Meteor()], [references[image] for image in captions])
        return f"{100 * scorer.score(list(captions.values())).corpus()['METEOR']:.2f}"
    except UnavailableError as error:
        log.warning("%s: METEOR is left blank. %s", folder, error)
        return ""


@dataclass(frozen=True)
class Code:
    """The version of the code that recorded a row.

    Attributes:
        commit: the commit, abbreviated; blank outside of a repository.
        date: the commit's date, YYYY-MM-DD.
    """

    commit: str = ""
    date: str = ""

    @classmethod
    def of(cls, folder: Path) -> "Code":
        """The commit of this package's code in its repository; a warning if the code has been changed since."""

        def git(*arguments: str) -> str:
            done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True)
            return done.stdout.strip() if done.returncode == 0 else ""

        try:
            if not git("ls-files", "__main__.py"):  # installed, perhaps below a repository of something else
                log.warning("The code is in no repository: the rows name no commit.")
                return cls()
            if git("status", "--porcelain", "--untracked-files=no", "--", ".", "../conf"):
                log.warning("The code has changes that are in no commit: the rows name the commit before them.")
            return cls(git("rev-parse", "--short=7", "HEAD"), git("log", "-1", "--format=%ad", "--date=short"))
        except OSError:
            log.warning("There is no git here: the rows name no commit.")
            return cls()
