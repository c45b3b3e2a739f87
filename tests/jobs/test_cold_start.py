"""Captioning one photograph waits for nothing that it does not need."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from captioning.core.vocabulary import SPECIAL, Vocabulary
from captioning.jobs.config import compose
from captioning.runs import parts
from captioning.runs.checkpoint import own_part

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ["pytorch_lightning", "lightning_fabric", "torchmetrics", "tensorboard", "hydra", "omegaconf"]
HEAVY += ["matplotlib", "pycocotools", "nltk", "timm"]
SAY_WHAT_WAS_IMPORTED = f"""
import json, sys
from captioning.__main__ import main
status = main(sys.argv[1:])
print(json.dumps([status, "torch" in sys.modules, [name for name in {HEAVY} if name in sys.modules]]))
"""


@pytest.fixture
def checkpoint(tiny: Callable[..., list[str]], tmp_path: Path) -> Path:
    """The folder of an untrained captioner."""
    config, vocabulary = compose(tiny()), Vocabulary([*SPECIAL, "red"])
    encoder = parts.make_encoder(config)
    decoder = parts.make_decoder(config, vocabulary, encoder.spec)
    weights = torch.nn.ModuleDict({"encoder": encoder, "decoder": decoder}).state_dict()
    own = own_part(config, {"vocabulary": vocabulary.words})
    torch.save({"state_dict": weights, "captioning": own}, tmp_path / "best.ckpt")
    return tmp_path


def test_what_is_not_needed_is_not_imported(checkpoint: Path, tiny_data: Path, tmp_path: Path) -> None:
    command = ["caption", str(tiny_data / "1.png"), "--checkpoint", str(tmp_path), "--json", str(tmp_path / "out.json")]
    done = subprocess.run([sys.executable, "-c", SAY_WHAT_WAS_IMPORTED, *command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [0, True, []]


CAPTIONS_FROM_PYTHON = """
import json, sys
import captioning
assert "torch" not in sys.modules, "import captioning imports torch"
from captioning import Captioner
for checkpoints in (sys.argv[1], [sys.argv[1], sys.argv[1]]):
    (captions,) = Captioner.load(checkpoints, "cpu").caption(sys.argv[2], n=1)
    assert len(captions) == 1
print(json.dumps(list(sys.modules)))
"""


def test_inference_imports_nothing_of_training(checkpoint: Path, tiny_data: Path) -> None:
    """Nor what draws and configures: a service that captions photographs needs torch and this package's own rooms."""
    command = [sys.executable, "-c", CAPTIONS_FROM_PYTHON, str(checkpoint), str(tiny_data / "1.png")]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    imported = json.loads(done.stdout)
    rooms = {".".join(name.split(".")[:2]) for name in imported if name.startswith("captioning.")}
    assert "captioning.predict" in rooms
    assert not rooms & {f"captioning.{room}" for room in ("training", "tasks", "jobs", "data", "metrics", "report")}
    assert not {*HEAVY, "captioning.training"} & set(imported)


@pytest.mark.parametrize(
    ("given", "found"),
    [({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "PASSIVE"}, "None")],
    ids=["ours", "count", "policy"],
)
def test_threads_are_told_how_to_wait_before_torch_is_there(given: dict[str, str], found: str) -> None:
    """And whoever has said it otherwise is heard."""
    says = "import captioning.__main__, os, sys; print(os.environ.get('GOMP_SPINCOUNT'), 'torch' in sys.modules)"
    plain = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    done = subprocess.run([sys.executable, "-c", says], env=plain | given, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [found, "False"]
