"""``captioning caption --out``: captions of many pictures, written as they are found."""

import argparse
import sys
from pathlib import Path

from captioning.core.errors import CaptioningError
from captioning.jobs.options import average_of, search_of, trusted, weights_of
from captioning.jobs.paths import named_picture
from captioning.jobs.whole import whole


def add_bulk_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of many pictures."""
    group = parser.add_argument_group(
        "many pictures",
        "With --out the pictures may also be lists of files (.txt), WebDataset's tar files and Parquet files. The same "
        "command goes on after an interruption. Pictures that can't be read are rows with an error.",
    )
    group.add_argument(
        "--out",
        type=Path,
        metavar="FILE.jsonl|FOLDER",
        help="write captions as they are found, as JSON lines to a file, or as Parquet files to a folder",
    )
    group.add_argument(
        "--column", metavar="NAME", help="the pictures' column of Parquet files (default: image, jpg, …)"
    )
    group.add_argument(
        "--shard-size", type=whole(), default=10_000, metavar="N", help="files in a Parquet file (default: 10000)"
    )
    group.add_argument(
        "--ray", type=whole(), metavar="N", help="caption by N processes of Ray, here or on its cluster; into a folder"
    )


def main(options: argparse.Namespace) -> int:
    """Caption into ``options.out``.

    Returns:
        0; also if pictures can't be read, which the output says.
    """
    from captioning.bulk.captions import JSON_LINES, Bulk, begin_folder, caption_file, caption_folder
    from captioning.bulk.sources import shards_of
    from captioning.core.locks import lock
    from captioning.predict.captioner import Captioner

    out: Path = options.out
    if options.json or options.attention:
        raise CaptioningError("--json and --attention have no effect with --out. Leave them out.")
    into_file = out.suffix.lower() == JSON_LINES
    if out.suffix and not into_file and not out.is_dir():
        raise CaptioningError(f"--out {out}: name a file of JSON lines (.jsonl), or a folder for Parquet files.")
    if into_file and options.ray is not None:
        raise CaptioningError(f"--ray writes Parquet files into a folder, and {out} is one file. Name a folder.")
    count = len(options.checkpoint or [None])
    loading = {
        "path": [path.absolute() for path in options.checkpoint or ()] or None,
        "device": options.device,
        "trust": trusted(options.trust),
        "average": average_of(options, count),
        "weights": weights_of(options, count),
    }
    captioner = Captioner.load(**loading)
    settings = {
        "search": search_of(options, captioner.config),
        "batch_size": options.batch_size,
        "n_best": options.n_best,
    }
    bulk = Bulk(captioner, **settings)
    shards = shards_of([named_picture(name) for name in options.pictures], options.shard_size, options.column)
    if into_file:
        written = caption_file(bulk, shards, out)
    elif options.ray is None:
        written = caption_folder(bulk, shards, out)
    else:
        from captioning.bulk.cluster import caption_by_actors

        begin_folder(bulk, out)
        with lock(out / ".lock"):
            written = caption_by_actors(shards, out.absolute(), options.ray, loading, settings)
    there = f", {written.before} of them were there already" if written.before else ""
    unread = f"; {written.problems} can't be read and have an error instead" if written.problems else ""
    print(f"{out}: {written.pictures} pictures{there}{unread}.", file=sys.stderr)
    return 0
