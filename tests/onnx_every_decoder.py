"""Every decoder with every cell as ONNX graphs: equal captions, greedy and beam. Takes minutes; run it by hand.

.venv/bin/python tests/onnx_every_decoder.py [PART OF A NAME …]
"""

import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "examples"), str(Path(__file__).parent / "predict")]

import onnx_caption
import torch
from test_onnx import TINY, babbler, differing, draw_photos, kinds

from captioning.predict.onnx import write_onnx


def main() -> int:
    """Compare, and count what differs."""
    torch.set_num_threads(1)
    began, tried, failed = time.monotonic(), 0, []
    with tempfile.TemporaryDirectory() as place:
        photos = draw_photos(Path(place))
        for name, with_cells in kinds().items():
            for overrides in with_cells:
                called = f"{name} {overrides[-1]}" if len(with_cells) > 1 else name
                if sys.argv[1:] and not any(part in called for part in sys.argv[1:]):
                    continue
                captioner = babbler(TINY, *overrides)
                write_onnx(captioner, Path(place) / "graphs")
                wrong, said = differing(captioner, photos, onnx_caption.Captioner(Path(place) / "graphs"))
                tried += 1
                failed += [called] if wrong else []
                count = 2 * len(photos)
                print(f"{called}: {count - len(wrong)} of {count} equal, {said} different", *wrong[:3], flush=True)
    minutes = (time.monotonic() - began) / 60
    print(f"{tried} tried in {minutes:.1f} minutes; not equal: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
