"""Captions without torch: numpy, Pillow and onnxruntime on what `captioning export RUN --onnx FOLDER` has written.

python examples/onnx_caption.py FOLDER photo.jpg other.png [--beam 5]
"""

import argparse
import json
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps


class Captioner:
    def __init__(self, folder):
        folder = Path(folder)
        self.graphs = {
            name: onnxruntime.InferenceSession(folder / f"{name}.onnx", providers=["CPUExecutionProvider"])
            for name in ("encoder", "start", "step")
        }
        self.settings = json.loads((folder / "captioner.json").read_text("utf-8"))

    def run(self, graph, *inputs):
        names = [each.name for each in self.graphs[graph].get_inputs()]
        known = dict(zip((f"{n}" for n in self.all_inputs(graph)), inputs))
        return self.graphs[graph].run(None, {name: known[name] for name in names})  # unused inputs are not in a graph

    def all_inputs(self, graph):
        if graph == "encoder":
            return ["image"]
        if graph == "start":
            return [each.name for each in self.graphs["encoder"].get_outputs()]
        image, sequence = self.settings["image_parts"], self.settings["sequence_parts"]
        return ["tokens", *(f"image_{n}" for n in range(image)), *(f"sequence_{n}" for n in range(sequence))]

    def pixels(self, path):
        image, transform = ImageOps.exif_transpose(Image.open(path)).convert("RGB"), self.settings["transform"]
        (width, height), (rows, columns) = image.size, transform["size"]
        box = (0, 0, width, height)
        if transform["fit"] == "crop":
            wide, high = round(min(width, height * columns / rows)), round(min(height, width * rows / columns))
            left, top = (width - wide) // 2, (height - high) // 2
            box = (left, top, left + wide, top + high)
        if (box[3] - box[1], box[2] - box[0]) != (rows, columns):
            image = image.resize((columns, rows), Image.Resampling.BICUBIC, box)
        else:
            image = image.crop(box)
        return np.asarray(image).transpose(2, 0, 1)[None]

    def __call__(self, path, beam=None):
        """The best caption by beam search; with a beam of 1 by greedy search."""
        search, end = self.settings["search"], self.settings["end"]
        size, penalty, longest = beam or search["beam"], search["length_penalty"], search["max_length"]
        penalty = penalty if size > 1 else 0.0
        features = self.run("encoder", self.pixels(path))
        log_probs, *state = self.run("start", *features)
        image, sequence = state[: self.settings["image_parts"]], state[self.settings["image_parts"] :]
        scores, texts, best = np.zeros(1, np.float32), [[]], (-np.inf, [])
        for length in range(1, longest + 1):
            logp = log_probs[0].copy()  # (S, V)
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
            sequence = [part[:, parents] for part in sequence]
            log_probs, *sequence = self.run("step", words[None], *image, *sequence)
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
