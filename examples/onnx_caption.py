"""Captions without torch: numpy, Pillow and onnxruntime on what `captioning export RUN --onnx FOLDER` has written.

python examples/onnx_caption.py FOLDER photo.jpg other.png [--beam 5]
"""

import argparse
import json
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps


def resized(lines, count):
    """Bicubic, antialiased, bit for bit torch's: Pillow's own differs by 1 in a pixel of 300, which can turn a word."""
    scale = len(lines) / count
    if scale == 1:
        return lines
    weights = []
    for centre in scale * (np.arange(count) + 0.5):
        first, last = max(int(centre - 2 * max(scale, 1) + 0.5), 0), int(centre + 2 * max(scale, 1) + 0.5)
        x = np.abs((np.arange(first, min(last, len(lines))) - centre + 0.5) / max(scale, 1))
        each = np.where(x < 1, (1.5 * x - 2.5) * x * x + 1, np.where(x < 2, -0.5 * (((x - 5) * x + 8) * x - 4), 0))
        weights.append((first, each / each.sum()))
    most, bits = max(each.max() for _, each in weights), 0
    while bits < 22 and int(0.5 + most * 2 ** (bits + 1)) < 2**15:
        bits += 1
    whole = [(first, np.trunc(each * 2**bits + np.copysign(0.5, each)).astype(int)) for first, each in weights]
    sums = [np.tensordot(each, lines[first : first + len(each)].astype(int), 1) for first, each in whole]
    return ((np.stack(sums) + 2 ** (bits - 1)) >> bits).clip(0, 255).astype(np.uint8)


class Captioner:
    def __init__(self, folder):
        folder = Path(folder)
        self.graphs = {
            name: onnxruntime.InferenceSession(folder / f"{name}.onnx", providers=["CPUExecutionProvider"])
            for name in ("encoder", "start", "step")
        }
        self.settings = json.loads((folder / "captioner.json").read_text("utf-8"))

    def run(self, graph, **inputs):
        names = [each.name for each in self.graphs[graph].get_inputs()]
        results = self.graphs[graph].run(None, {name: inputs[name] for name in names})
        return dict(zip([each.name for each in self.graphs[graph].get_outputs()], results))

    def pixels(self, path):
        image, transform = ImageOps.exif_transpose(Image.open(path)).convert("RGB"), self.settings["transform"]
        (width, height), (rows, columns) = image.size, transform["size"]
        if transform["fit"] == "crop":
            wide, high = round(min(width, height * columns / rows)), round(min(height, width * rows / columns))
            left, top = (width - wide) // 2, (height - high) // 2
            image = image.crop((left, top, left + wide, top + high))
        across = resized(np.asarray(image).transpose(1, 0, 2), columns)  # first the columns, as torch does
        return resized(across.transpose(1, 0, 2), rows).transpose(2, 0, 1)[None]

    def __call__(self, path, beam=None):
        """The best caption by beam search; with a beam of 1 by greedy search."""
        search, end = self.settings["search"], self.settings["end"]
        size, penalty, longest = beam or search["beam"], search["length_penalty"], search["max_length"]
        penalty = penalty if size > 1 else 0.0
        state = self.run("start", **self.run("encoder", image=self.pixels(path)))
        scores, texts, best = np.zeros(1, np.float32), [[]], (-np.inf, [])
        for length in range(1, longest + 1):
            logp = state["log_probs"][0].copy()  # (S, V)
            logp[:, self.settings["never_said"]] = -np.inf
            total = (scores[:, None] + logp).ravel()
            chosen = np.argsort(-total, kind="stable")[:size]
            parents, words, scores = chosen // logp.shape[1], chosen % logp.shape[1], total[chosen]
            texts = [[*texts[parent], int(word)] for parent, word in zip(parents, words)]
            for text, score in zip(texts, scores):
                if text[-1] == end and score / length**penalty > best[0]:
                    best = score / length**penalty, text[:-1]
            scores = np.where(words == end, -np.inf, scores).astype(np.float32)
            scores[scores / longest**penalty <= best[0]] = -np.inf
            if not np.isfinite(scores).any() or length == longest:
                break
            going = {name: part[:, parents] if "sequence" in name else part for name, part in state.items()}
            after = self.run("step", tokens=words[None], **going)
            state |= {name.removeprefix("next_"): part for name, part in after.items()}
        if best[0] == -np.inf:  # none has ended: the best that was cut
            best = 0.0, texts[int(np.argmax(scores))]
        return " ".join(self.settings["vocabulary"][word] for word in best[1])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("pictures", nargs="+")
    parser.add_argument("--beam", type=int)
    options = parser.parse_args()
    captioner = Captioner(options.folder)
    for picture in options.pictures:
        print(picture, captioner(picture, options.beam), sep="\t", flush=True)
