"""Every decoder, and every cell, as ONNX graphs: equal captions, greedy and beam. Takes minutes; run it by hand.

.venv/bin/python tests/onnx_every_decoder.py [NAME …]
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "examples"), str(Path(__file__).parent / "predict")]

import numpy as np
import onnx_caption
from PIL import Image
from test_onnx import babbler

from captioning.jobs.config import conf_dir
from captioning.predict.onnx import write_onnx
from captioning.search import Beam, Greedy

SETTINGS = ["encoder=none", "decoder.embedding_size=8", "search=greedy", "search.max_length=6"]
WITHOUT_CELLS = ("transformer",)
HEADS = ("transformer", "attention_on_attention")


def kinds() -> Iterator[tuple[str, list[str]]]:
    """Each decoder with an LSTM, and NeuralTalk with each cell."""
    decoders = sorted(file.stem for file in (conf_dir() / "decoder").glob("[!_]*.yaml"))
    for name in decoders:
        if name not in ("base", "language_model"):
            more = ["decoder.heads=2"] if name in HEADS else []
            yield name, [f"decoder={name}", *more, *([] if name in WITHOUT_CELLS else ["decoder.hidden_size=8"])]
    for name in sorted(file.stem for file in (conf_dir() / "cell").glob("*.yaml")):
        yield f"cell={name}", ["decoder=neuraltalk", f"cell={name}", "decoder.hidden_size=8", "decoder.depth=2"]


def main() -> int:
    """Compare, and count what differs."""
    rng, wrong = np.random.default_rng(0), 0
    with tempfile.TemporaryDirectory() as place:
        photos = [Path(place) / f"{number}.png" for number in range(40)]
        for path in photos:
            low = (rng.random((4, 4, 3)) * rng.random(3) * 255).astype(np.uint8)
            Image.fromarray(low).resize((40, 30), Image.Resampling.BICUBIC).save(path)
        for name, overrides in kinds():
            if sys.argv[1:] and name not in sys.argv[1:]:
                continue
            captioner = babbler(SETTINGS, *overrides)
            write_onnx(captioner, Path(place) / name)
            graphs = onnx_caption.Captioner(Path(place) / name)
            for beam, search in ((1, Greedy(max_length=6)), (4, Beam(4, max_length=6))):
                expected = captioner(photos, search)
                same = sum(graphs(path, beam) == text for path, text in zip(photos, expected, strict=True))
                wrong += len(photos) - same
                print(f"{name}, beam {beam}: {same} of {len(photos)} equal, {len(set(expected))} different", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
