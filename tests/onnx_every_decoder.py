"""Every decoder with every cell as ONNX graphs: equal captions, greedy and beam. Takes half an hour; run it by hand.

.venv/bin/python tests/onnx_every_decoder.py [--record FILE] [PART OF A NAME …]

With ``--record`` each result is a line of the file, and what the file holds as equal is not tried again.
"""

import argparse
import re
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "examples"), str(Path(__file__).parent / "predict")]

import onnx_caption
import torch
from test_onnx import TINY, babbler, differing, draw_photos, kinds

from captioning import Captioner
from captioning.predict.onnx import _export, _quiet, _write_settings, graphs_of, write_onnx

EQUAL = re.compile(r"(.+): (\d+) of \2 equal, ")  # a line of a combination whose captions are all equal


def write_for(captioner: Captioner, place: Path) -> Path:
    """Write a captioner's graphs into a folder, in which the encoder's may be already: all have the same encoder."""
    folder = place / "-".join(captioner.decoder.reads)
    if not (folder / "encoder.onnx").exists():
        write_onnx(captioner, folder)
        return folder
    with torch.no_grad(), _quiet():
        for graph in graphs_of(captioner)[1:]:
            _export(graph, folder / f"{graph.name}.onnx")
    _write_settings(captioner, folder)
    return folder


def main() -> int:
    """Compare, and count what differs."""
    parser = argparse.ArgumentParser(description="Compare the captions of ONNX graphs with those of their captioners.")
    parser.add_argument("parts", nargs="*", metavar="PART", help="a part of the names to try; by default all")
    parser.add_argument("--record", type=Path, help="the file of results, which is read first and goes on")
    options = parser.parse_args()
    torch.set_num_threads(1)
    began, tried, failed = time.monotonic(), 0, []
    earlier = options.record.read_text("utf-8").splitlines() if options.record and options.record.exists() else []
    equal = {found[1] for line in earlier if (found := EQUAL.match(line))}
    known = 0
    with tempfile.TemporaryDirectory() as place:
        photos = draw_photos(Path(place), 200)
        for name, with_cells in kinds().items():
            for overrides in with_cells:
                called = f"{name} {overrides[-1]}" if len(with_cells) > 1 else name
                if options.parts and not any(part in called for part in options.parts):
                    continue
                if called in equal:
                    known += 1
                    continue
                captioner = babbler(TINY, *overrides)
                wrong, said = differing(captioner, photos, onnx_caption.Captioner(write_for(captioner, Path(place))))
                tried += 1
                failed += [called] if wrong else []
                count = 2 * len(photos)
                line = f"{called}: {count - len(wrong)} of {count} equal, {said} different"
                print(line, *wrong[:3], flush=True)
                if options.record:
                    with options.record.open("a", encoding="utf-8") as file:
                        print(line, file=file)
    if not tried + known:
        parser.error(f"no name has {' or '.join(options.parts)} in it, as {name} has")
    minutes = (time.monotonic() - began) / 60
    print(f"{tried} tried in {minutes:.1f} minutes; not equal: {', '.join(failed) or 'none'}", end="")
    print(f"; {known} equal before" if known else "")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
