"""``captioning report``: what runs have found, in one HTML file; also written at the end of a run and of a sweep."""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from captioning.core.errors import UsageError
from captioning.core.terminal import show_log
from captioning.jobs.options import add_trust_option, trusted
from captioning.jobs.whole import RESAMPLES, whole


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="captioning report",
        description="One HTML file that needs nothing else: settings, curves, scores with intervals and tests, "
        "photographs, attention, time, and the commands to do it again. Further runs are compared with the first; of a "
        "sweep's folder the jobs are ranked.",
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folders of runs, or of one sweep")
    parser.add_argument(
        "settings",
        nargs="*",
        metavar="SETTING=VALUE",
        help="such as data.root=../flickr8k: where the photographs are, unless at the default place, is yours to say",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="(default: report.html in the folder)")
    parser.add_argument(
        "--resamples", type=whole(RESAMPLES, 0), default=1000, help="of the bootstrap; 0: none (default: 1000)"
    )
    add_trust_option(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = parser().parse_intermixed_args(argv)
    show_log(logging.WARNING)
    from captioning.core.ownership import kind_of
    from captioning.jobs.evaluate import further
    from captioning.jobs.run_report import REPORT, write_report

    folders, settings = further([*options.runs, *options.settings])
    if not folders:
        raise UsageError("report: name the folder of a run.")
    sweeps = [folder for folder in folders if kind_of(folder) == "sweep"]
    if sweeps and len(folders) > 1:
        raise UsageError(f"{sweeps[0]}: this is a sweep, whose report stands alone. Name one sweep, or runs.")
    if sweeps:
        from captioning.jobs.sweep_report import write_sweep_report

        print(write_sweep_report(sweeps[0], options.out, options.resamples))
        return 0
    out = options.out or (folders[0] / REPORT if len(folders) == 1 else Path(REPORT))
    print(write_report(folders, out, settings, trusted(options.trust, settings), options.resamples))
    return 0
