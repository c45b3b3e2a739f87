"""Golden curves: the first losses of every decoder and cell, which only an intended change may alter.

    python tests/golden/record.py

records the curves anew, for this commit, in ``tests/golden/curves``; ``tests/golden/test_curves.py`` compares later
versions with the curves. Each parameter's initial values are drawn from the parameter's name, so that a curve depends
neither on the order in which a model makes its parameters nor on torch's generator. Dropout is off, the images are
squares of noise whose features are exact (``tiny_encoder``), and a run computes in single precision on one thread.
"""

import csv
import os
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
import pytorch_lightning as pl
import torch
from PIL import Image

CURVES = Path(__file__).parent / "curves"
COLUMNS = ("step", "train/loss", "val/nll", "val/CIDEr", "val/loss")
WORDS = ("red", "green", "blue", "grey", "bright", "dark", "left", "right", "square", "noise", "a", "the", "of", "with")

RUN = [
    *("trainer.max_epochs=2", "trainer.log_every_n_steps=1", "trainer.accelerator=cpu", "patience=null", "test=false"),
    *("trainer.enable_progress_bar=false", "report=false", "trainer.precision=32-true", "logger=csv"),
]
PHOTOS = [
    *("data=own", "data.minimum_count=1", "data.batch_size=2", "data.captions_per_photo=2", "data.workers=0"),
    *("encoder=none", "+encoder._target_=tiny_encoder.MeanColours", "decoder.embedding_size=12"),
    *("decoder.hidden_size=16", "search=beam", "search.size=3", "search.max_length=8", "optimizer.lr=2e-3"),
]
TEXT = [
    *("experiment=char_rnn", "data.batch_size=4", "data.chunk=15", "data.sample_every=1000", "decoder.hidden_size=16"),
    *("decoder.layer_dropout=0", "decoder.output_dropout=0", "ema_decay=null", "scheduler=constant", "monitor=loss"),
]
SMALL = {
    "show_attend_tell": "decoder.attention_size=10",
    "mrnn": "decoder.second_embedding_size=10",
    "adaptive": "decoder.attention_size=10",
    "up_down": "decoder.attention_size=10",
    "attention_on_attention": "decoder.refining_layers=2",
}
DECODERS = ("neuraltalk", "show_tell", "lrcn", "mrnn", "visual_memory", "show_attend_tell", "adaptive", "up_down")
DECODERS += ("attention_on_attention", "sequence_to_sequence")
CELLS = (
    "rnn",
    "gru",
    "lstm_forget_bias",
    "lstm_peephole",
    "lstm_coupled",
    "lstm_no_forget_gate",
    "lstm_maxout",
    "mut1",
    "mut2",
    "mut3",
)
WITHOUT_CELLS = [setting for setting in PHOTOS if not setting.startswith("decoder.hidden_size=")]
KINDS: dict[str, list[str]] = {
    **{decoder: [*PHOTOS, f"decoder={decoder}", *filter(None, [SMALL.get(decoder)])] for decoder in DECODERS},
    "show_tell_batch_norm": [*PHOTOS, "decoder=show_tell", "decoder.image_norm=batch"],
    "neuraltalk_first": [*PHOTOS, "decoder=neuraltalk", "decoder.inject=first"],
    "show_attend_tell_hard": [*PHOTOS, "decoder=show_attend_tell", "decoder.attention=hard", SMALL["show_attend_tell"]],
    **{f"cell_{cell}": [*PHOTOS, "decoder=neuraltalk", f"cell={cell}"] for cell in CELLS},
    "s2vt": [*PHOTOS, "decoder=s2vt", "decoder.reads_from=grid"],
    "attend_states": [
        *(*PHOTOS, "decoder=attend_states", "decoder.attends=grid"),
        *("decoder.attention_size=10", "decoder.reader_size=10"),
    ],
    "transformer": [*WITHOUT_CELLS, "decoder=transformer", "decoder.heads=4", "decoder.feed_forward_size=20"],
    "two_layers": [*PHOTOS, "decoder=neuraltalk", "decoder.depth=2", "decoder.tied=true", "decoder.embedding_size=16"],
    "language_model": TEXT,
    "language_model_rnn": [*TEXT, "cell=rnn", "decoder.depth=1", "decoder.one_hot=false"],
}


def data(folder: Path) -> list[str]:
    """Draw 48 images and write a text; return the settings that name their folders."""
    rng = np.random.Generator(np.random.PCG64(7))
    rows = []
    for number in range(48):
        colours = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(colours.repeat(8, 0).repeat(8, 1)).save(folder / f"{number:02}.png")
        split = "train" if number < 40 else "val"
        captions = [" ".join(WORDS[each] for each in rng.integers(0, len(WORDS), 3 + number % 4)) for _ in range(3)]
        rows += [{"image": f"{number:02}.png", "caption": caption, "split": split} for caption in captions]
    with (folder / "captions.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["image", "caption", "split"])
        writer.writeheader()
        writer.writerows(rows)
    letters = "".join("abcd \n"[each] for each in np.minimum.accumulate(rng.integers(0, 6, (222, 6)), 1).flatten())
    (folder / "text.txt").write_text(letters, newline="")
    return [f"data.root={folder}", f"data.features_root={folder / 'features'}"]


@torch.no_grad()
def fill(module: torch.nn.Module) -> None:
    """Give each parameter values that depend on its name and shape alone, of the size of torch's initial values.

    Initial values of 1, the bias of an open forget gate, stay.
    """
    for name, parameter in module.named_parameters():
        rng = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
        bound = 1 / np.sqrt(parameter.shape[-1])
        drawn = torch.from_numpy(rng.uniform(-bound, bound, tuple(parameter.shape))).to(parameter.dtype)
        parameter.copy_(torch.where(parameter == 1, parameter, drawn))


@contextmanager
def filled() -> Iterator[None]:
    """Let every training begin with the values of ``fill``."""
    fit: Callable[..., Any] = pl.Trainer.fit

    def filling(trainer: pl.Trainer, module: pl.LightningModule, *arguments: Any, **settings: Any) -> Any:
        fill(module)
        return fit(trainer, module, *arguments, **settings)

    with patch.object(pl.Trainer, "fit", filling):
        yield


def curve(kind: str, folder: Path) -> list[dict[str, str]]:
    """The rows of ``metrics.csv`` after a run of two epochs, forty steps, in a folder."""
    from captioning.jobs.config import compose
    from captioning.jobs.train import train

    places = data(folder)
    text = [f"data.text={folder / 'text.txt'}", f"data.cache={folder}"]
    torch.set_num_threads(1)
    with filled():
        train(compose([*KINDS[kind], *RUN, *(text if KINDS[kind][0] == TEXT[0] else places)]), folder / "run")
    with (folder / "run" / "metrics.csv").open(newline="") as file:
        return [{name: row[name] for name in COLUMNS if row.get(name)} for row in csv.DictReader(file)]


def main() -> None:
    """Record all curves."""
    git = ["git", "-C", str(CURVES), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    CURVES.mkdir(exist_ok=True)
    for kind in sys.argv[1:] or KINDS:
        with tempfile.TemporaryDirectory() as folder:
            rows = curve(kind, Path(folder))
        with (CURVES / f"{kind}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, ["commit", *COLUMNS], lineterminator="\n")
            writer.writeheader()
            writer.writerows({"commit": commit, **row} for row in rows)
        print(kind, len(rows), "rows, the last loss", rows[-1]["train/loss"])


if __name__ == "__main__":
    main()
