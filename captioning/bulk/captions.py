"""Captions of many pictures into files, as they are found; interrupted work goes on where it was.

A row is ``{"image", "caption", "score"}``; with several captions of each picture ``{"image", "captions": [{"caption",
"score"}, …]}``; for a picture that can't be read ``{"image", "error"}``. Rows are in the order of the pictures.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from inspect import signature
from itertools import islice
from pathlib import Path
from typing import Any

from captioning.bulk.journal import Journal
from captioning.bulk.sources import Item, Shard, items_of, parquet_library
from captioning.core.errors import CaptioningError
from captioning.core.files import atomic_write, read_json, write_json
from captioning.core.locks import lock
from captioning.core.ownership import claim
from captioning.core.progress import progress
from captioning.core.terminal import printable
from captioning.predict.captioner import Captioner
from captioning.predict.ensemble import Ensemble
from captioning.search import Sample, Search

KIND = "captions"  # of the folder of shards
JSON_LINES = ".jsonl"
PLAIN = (str, int, float, bool, type(None))  # kinds of settings that are compared


@dataclass(frozen=True)
class Bulk:
    """A captioner with the settings of its work.

    Attributes:
        captioner: the captioner.
        search: the search.
        batch_size: the number of pictures at a time.
        n_best: the number of captions of each picture.
    """

    captioner: Captioner
    search: Search
    batch_size: int = 16
    n_best: int = 1

    @property
    def identity(self) -> dict[str, Any]:
        """Values that differ where captions would: weights, vocabulary, an ensemble's mean, search."""
        digest = hashlib.sha256(json.dumps(list(self.captioner.vocabulary.words)).encode())
        for part in (self.captioner.encoder, self.captioner.decoder):
            for name, value in sorted(part.state_dict().items()):
                digest.update(name.encode())
                digest.update(value.detach().cpu().contiguous().view(-1).numpy().tobytes())
        decoder, mean = self.captioner.decoder, None
        if isinstance(decoder, Ensemble):
            mean = {"of": decoder.average, "log_shares": [f"{each:.9g}" for each in decoder.log_shares]}
        plain = {name: value for name, value in sorted(vars(self.search).items()) if isinstance(value, PLAIN)}
        return {
            "captioner": digest.hexdigest()[:32],
            "average": mean,
            "search": {"kind": type(self.search).__name__, **plain},
            "n_best": self.n_best,
        }

    def drawing_anew(self, place: int) -> "Bulk":
        """The same work from a place on, where a search that draws by a seed draws other numbers than before it."""
        search = self.search
        if place == 0 or type(search) is not Sample or search.seed is None:
            return self
        settings = {name: getattr(search, name) for name in signature(Sample).parameters}
        return replace(self, search=Sample(**settings | {"seed": search.seed + place}))

    def rows(self, items: Iterator[Item]) -> Iterator[dict[str, Any]]:
        """A row for each picture, in order.

        Raises:
            CaptioningError: the pictures' source can't be read on.
        """
        names: dict[int, str] = {}  # of pictures that have been read and have no row yet
        problems: dict[int, str] = {}
        broken: list[CaptioningError] = []  # the source itself; the pictures before come first

        def pictures() -> Iterator[Any]:
            try:
                for place, item in enumerate(items):
                    names[place] = item.name
                    yield item.picture
            except CaptioningError as error:
                broken.append(error)

        def unusable(place: int, error: CaptioningError) -> None:
            problems[place] = printable(str(error))

        def passed(place: int) -> Iterator[dict[str, Any]]:
            """The rows of the pictures from a place on that can't be read."""
            while place in problems:
                yield {"image": names.pop(place), "error": problems.pop(place)}
                place += 1

        place = 0
        found = self.captioner.caption(pictures(), self.search, self.batch_size, n=self.n_best, unusable=unusable)
        for captions in found:
            for row in passed(place):
                yield row
                place += 1
            plain = [{"caption": caption.text, "score": caption.score} for caption in captions]
            yield {"image": names.pop(place), **(plain[0] if self.n_best == 1 else {"captions": plain})}
            place += 1
        yield from passed(place)
        if broken:
            raise broken[0]


@dataclass(frozen=True)
class Written:
    """What has been written.

    Attributes:
        pictures: the number of rows.
        before: the number of rows that were there already.
        problems: the number of pictures that can't be read.
    """

    pictures: int
    before: int
    problems: int


def caption_into(bulk: Bulk, items: Iterator[Item], path: Path, first: int = 0) -> Written:
    """Caption pictures into a file of JSON lines, from the first picture that has no row there.

    Args:
        bulk: the captioner and its settings.
        items: the pictures, from the first one on.
        path: the file.
        first: a number that differs between the files of one work, for the seed of a search that draws.

    Raises:
        CaptioningError: the file is damaged, or its last row is that of another picture.
    """
    with Journal(path) as journal:
        before = journal.count
        if before:
            last = next(islice(items, before - 1, None), None)
            if last is None or journal.last is None or last.name != journal.last["image"]:
                raise CaptioningError(
                    f"{path}: its line {before} is of {(journal.last or {}).get('image')!r}, and the picture of that "
                    f"place is {last.name if last else 'missing'!r}: the pictures have changed since it was begun. "
                    "Name another output."
                )
        waiting: list[dict[str, Any]] = []
        try:
            rows = bulk.drawing_anew(first + before).rows(items)
            for row in progress(rows, f"captions for {path.name}", unit="photos", initial=before):
                waiting.append(row)
                if len(waiting) >= bulk.batch_size:
                    journal.append(waiting)
                    waiting = []
        finally:
            journal.append(waiting)
        return Written(journal.count, before, journal.problems)


def caption_file(bulk: Bulk, shards: Iterable[Shard], path: Path) -> Written:
    """Caption pictures into one file of JSON lines; begun again, the work goes on.

    The settings of the work lie beside the file, in ``.<name>.settings.json``.

    Raises:
        CaptioningError: the file is another program's or of other settings, or another process is writing it.
    """
    settings = path.with_name(f".{path.name}.settings.json")
    if path.exists() and not settings.exists():
        raise CaptioningError(f"{path}: this file was not written by this command. Name another one.")
    path.parent.mkdir(parents=True, exist_ok=True)
    with lock(path.with_name(f".{path.name}.lock")):
        _same_work(settings, bulk.identity, path)
        return caption_into(bulk, items_of(shards), path)


def caption_shard(bulk: Bulk, shard: Shard, folder: Path) -> Written:
    """Caption one shard into ``captions-<number>.parquet``, by way of a file of JSON lines while it is unfinished.

    A finished shard is left as it is.

    Raises:
        CaptioningError: the shard's pictures are not those of the finished or unfinished file.
    """
    parquet = parquet_library()
    final = folder / f"captions-{shard.number:05}.parquet"
    unfinished = final.with_suffix(JSON_LINES)
    if final.exists():
        known = _metadata(final)
        if known.get("shard") != shard.identity:
            raise CaptioningError(f"{final}: it is of other pictures: they have changed since. Name another folder.")
        unfinished.unlink(missing_ok=True)
        return Written(known["pictures"], known["pictures"], known["problems"])
    written = caption_into(bulk, shard.items(), unfinished, shard.number << 32)
    with atomic_write(final, "wb") as file:
        parquet.write_table(_table(unfinished, bulk.n_best, shard, written), file)
    unfinished.unlink()
    return written


def begin_folder(bulk: Bulk, folder: Path) -> None:
    """Claim a folder for shards, and write or compare the settings of the work.

    Raises:
        CaptioningError: the folder holds something else, or shards of other settings.
    """
    claim(folder, KIND, "captions")
    _same_work(folder / "settings.json", bulk.identity, folder)


def caption_folder(bulk: Bulk, shards: Iterable[Shard], folder: Path) -> Written:
    """Caption shards one after the other into a folder of Parquet files; begun again, the work goes on.

    Raises:
        CaptioningError: see ``begin_folder`` and ``caption_shard``, or another process works in the folder.
    """
    parquet_library()
    begin_folder(bulk, folder)
    with lock(folder / ".lock"):
        return total(caption_shard(bulk, shard, folder) for shard in shards)


def total(parts: Iterable[Written]) -> Written:
    """The sum of what was written."""
    pictures = before = problems = 0
    for part in parts:
        pictures, before, problems = pictures + part.pictures, before + part.before, problems + part.problems
    return Written(pictures, before, problems)


def _same_work(path: Path, identity: Mapping[str, Any], out: Path) -> None:
    """Write the settings of the work, or compare them with those of its beginning."""
    if not path.exists():
        write_json(path, identity)
        return
    before = read_json(path, "settings of the captions")
    if before != identity:
        differ = [key for key in identity if not isinstance(before, dict) or before.get(key) != identity[key]]
        raise CaptioningError(
            f"{out}: it was begun with another {' and '.join(differ).replace('_', '-')}. Name another output, or take "
            "the same again."
        )


def _table(path: Path, n_best: int, shard: Shard, written: Written) -> Any:
    """The rows of a file of JSON lines as a table, with the shard's identity."""
    import pyarrow as pa

    one = pa.struct([("caption", pa.string()), ("score", pa.float64())])
    fields = list(one) if n_best == 1 else [pa.field("captions", pa.list_(one))]
    own = {"shard": shard.identity, "pictures": str(written.pictures), "problems": str(written.problems)}
    metadata = {b"captioning": json.dumps(own).encode()}
    schema = pa.schema([("image", pa.string()), *fields, ("error", pa.string())], metadata=metadata)
    with path.open("rb") as file:
        rows = [json.loads(line) for line in file]
    return pa.Table.from_pylist([{name: row.get(name) for name in schema.names} for row in rows], schema=schema)


def _metadata(path: Path) -> dict[str, Any]:
    try:
        metadata = parquet_library().read_metadata(path).metadata or {}
        found = json.loads(metadata[b"captioning"])
        return {"shard": found["shard"], "pictures": int(found["pictures"]), "problems": int(found["problems"])}
    except Exception as error:  # pyarrow raises anything
        raise CaptioningError(
            f"{path}: this is no finished shard of this command ({error}). Move it away, and run again."
        ) from error
