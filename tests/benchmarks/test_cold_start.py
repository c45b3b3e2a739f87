"""One photograph captioned from a cold start, against what any program that needs torch and torchvision waits for."""

import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from captioning.core.vocabulary import SPECIAL, Vocabulary
from captioning.jobs.config import compose
from captioning.runs import parts
from captioning.runs.checkpoint import contents_of, own_part


def test_caption_a_photograph(race, tmp_path: Path) -> None:
    """Soft attention on EfficientNet-Lite0, as trained on Flickr8k: 58 MB."""
    config = compose(["data=flickr8k", f"data.root={tmp_path}", "decoder=show_attend_tell"])
    vocabulary = Vocabulary([*SPECIAL, *(f"word{number}" for number in range(2600))])
    encoder = parts.make_encoder(config)
    decoder = parts.make_decoder(config, vocabulary, encoder.spec)
    weights = torch.nn.ModuleDict({"encoder": encoder, "decoder": decoder}).state_dict()
    torch.save({"state_dict": weights, "captioning": own_part(config, contents_of(vocabulary))}, tmp_path / "best.ckpt")
    pixels = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.jpg")
    run = partial(subprocess.run, check=True, stdout=subprocess.DEVNULL, cwd=tmp_path)
    command = ["-m", "captioning", "caption", "photo.jpg", "--checkpoint", str(tmp_path)]
    race(
        "`captioning caption` of one photograph, cold",
        partial(run, [sys.executable, *command]),
        partial(run, [sys.executable, "-c", "import torch, torchvision"]),
        count=1,
        unit="starts",
        against="import torch, torchvision",
        at_least=0.5,
        rounds=3,
    )
