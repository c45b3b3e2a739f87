"""Published captioners: a folder with ``model.safetensors``, ``config.json`` and a model card, without any code.

The folder is read as a checkpoint (``captioning.runs.checkpoint``), with the same checks: a stranger's folder is as
safe as a stranger's checkpoint. ``config.json`` holds the settings that a captioner is built from, the vocabulary, and
what is known of the training; no path of the machine that trained the captioner.

The matrices of the decoder may be stored in half precision, or in 8 bits: each row of a matrix as integers from -127
to 127 and the row's scale, ``w ≈ s · q`` with ``s = max |w| / 127``. Vectors (biases, statistics) stay in single
precision. Weights of an encoder that comes as a package of the package index may be left out: ``config.json`` then
names the package and the SHA-256 of the weights.
"""

import hashlib
import json
import os
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from captioning.core.errors import CaptioningError
from captioning.core.files import read_json
from captioning.core.ownership import output
from captioning.core.regular import require_regular
from captioning.core.terminal import printable
from captioning.runs.places import WEIGHTS
from captioning.runs.settings import without_weights

Storage = Literal["float32", "float16", "int8"]
CONFIG, CARD = "config.json", "README.md"
PUBLISHED = (WEIGHTS, CONFIG, CARD)
FORMAT = 1
CHECKSUM = "crc32"  # the name of the checksum of model.safetensors, which has none itself
BLOCK = 1 << 20  # bytes
SCALE = "scale/"  # the prefix of the names of the scales of 8-bit matrices
KEPT = ("encoder", "decoder", "cell", "search", "choices", "task", "metrics")
SAID = ("name", "language", "tokenizer")  # the texts among the settings of the data; the others may be paths
INSIDE = Path(__file__).resolve().parents[1] / "pretrained"  # the captioner inside the installation, if it has one


def inside() -> Path:
    """The folder of the captioner that comes with the installation.

    Raises:
        CaptioningError: the installation has none.
    """
    if not (INSIDE / WEIGHTS).exists():
        raise CaptioningError(
            f"{INSIDE}: this installation has no captioner inside. Name a run's folder or a .ckpt file "
            "(--checkpoint PATH; Captioner.load(path) in Python)."
        )
    return INSIDE


def write_published(
    folder: Path,
    weights: Mapping[str, Tensor],
    config: Mapping[str, Any],
    contents: Mapping[str, Any],
    about: Mapping[str, Any],
    storage: Storage = "float32",
    encoder: bool = True,
) -> None:
    """Write ``model.safetensors`` and ``config.json``.

    Args:
        folder: the folder, which is made if it is missing.
        weights: the weights of encoder and decoder, by name.
        config: the configuration of the run; what is not needed to caption photographs is left out.
        contents: the plain values of the task, such as the words of the vocabulary.
        about: what is known of the training, for the model card.
        storage: the precision of the decoder's matrices; those of the encoder are in half precision at least.
        encoder: False to leave out the weights that the encoder's own package has.

    Raises:
        CaptioningError: an unknown storage; the encoder's weights are to be left out, and are of no package; the folder
            can't be written to.
    """
    from safetensors.torch import save

    if storage not in get_args(Storage):
        raise CaptioningError(f"storage={storage}: take one of {', '.join(get_args(Storage))}.")
    settings: dict[str, Any] = {
        "program": "captioning",
        "format": FORMAT,
        "config": published_part(config),
        "contents": dict(contents),
    }
    kept = dict(weights)
    if not encoder:
        package, taken = _of_a_package(config, weights)
        kept = {name: tensor for name, tensor in weights.items() if name not in taken}
        settings["encoder"] = {"package": package, "sha256": _digest(weights, taken), "weights": taken}
    stored: dict[str, Tensor] = {}
    for name, tensor in kept.items():
        stored |= _stored(name, tensor.detach().cpu(), storage)
    content = save(stored, {"format": "pt"})
    settings[CHECKSUM] = zlib.crc32(content)
    with output(folder / WEIGHTS, "wb") as file:
        file.write(content)
    with output(folder / CONFIG) as file:
        json.dump({**settings, "storage": storage, "about": dict(about)}, file, ensure_ascii=False, indent=1)
        file.write("\n")


def published_part(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a captioner is built from and scored by; without paths, and without places of weights."""
    kept: dict[str, Any] = {name: dict(config[name]) for name in KEPT if isinstance(config.get(name), Mapping)}
    if kept.get("encoder"):
        kept["encoder"] = without_weights(kept["encoder"])
    data = config.get("data") or {}
    plain = {key: value for key, value in data.items() if value is None or isinstance(value, bool | int | float)}
    kept["data"] = plain | {key: data[key] for key in SAID if isinstance(data.get(key), str)}
    kept["seed"] = config.get("seed", 0)
    return kept


def read_published(path: Path) -> dict[str, Any]:
    """The content of a published folder, in the form of a checkpoint's.

    Args:
        path: the folder's ``model.safetensors``.

    Raises:
        CaptioningError: a file is missing or damaged, or a package of weights is missing or has others.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    settings = read_settings(path.parent)
    require_regular(path, "checkpoint")
    try:
        _verify(path, settings.get(CHECKSUM))
        stored = load_file(path)
    except (SafetensorError, OSError) as error:
        raise CaptioningError(
            f"{path}: not a file of weights that can be read ({printable(str(error))[:200]}). Fetch it again."
        ) from error
    scales = {name.removeprefix(SCALE): tensor for name, tensor in stored.items() if name.startswith(SCALE)}
    weights = {name: tensor for name, tensor in stored.items() if not name.startswith(SCALE)}
    for name, scale in scales.items():
        if name not in weights or weights[name].dim() < 2 or scale.shape != (len(weights[name]),):
            raise CaptioningError(f"{path}: its scale of {printable(name)} belongs to no matrix. Fetch it again.")
        matrix = weights[name]
        weights[name] = matrix.float() * scale.float().view(-1, *[1] * (matrix.dim() - 1))
    if settings.get("encoder"):
        weights |= _from_the_package(settings["encoder"], path)
    own = {"version": 2, "config": settings.get("config"), "unresolved": None, "contents": settings.get("contents")}
    return {"state_dict": weights, "captioning": own}


def _verify(path: Path, expected: Any) -> None:
    """Compare the checksum of a file of weights; earlier versions wrote none.

    Raises:
        CaptioningError: the checksum differs.
    """
    if expected is None:
        return
    found = 0
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            found = zlib.crc32(block, found)
    if found != expected:
        raise CaptioningError(
            f"{path}: its checksum is not the one in {CONFIG}: the file is damaged, or that of another captioner. "
            "Fetch both again."
        )


def read_settings(folder: Path) -> dict[str, Any]:
    """The content of a published folder's ``config.json``.

    Raises:
        CaptioningError: the file is missing or damaged, or is not of this program.
    """
    path = folder / CONFIG
    found = read_json(path, "configuration of a captioner")
    if not isinstance(found, dict) or found.get("program") != "captioning":
        raise CaptioningError(
            f"{path}: this is not a captioner of this program. Name a run's folder, a .ckpt file, or a folder that "
            "save_pretrained has written."
        )
    if found.get("format") != FORMAT:
        raise CaptioningError(
            f"{path}: this captioner is of the format {printable(str(found.get('format')))[:50]}, and this program "
            f"reads format {FORMAT}. Install the version of captioning that wrote it."
        )
    return found


def size_of(folder: Path) -> int:
    """The bytes of a published folder's files."""
    return sum(os.path.getsize(folder / name) for name in PUBLISHED if (folder / name).exists())  # noqa: PTH202


def _stored(name: str, tensor: Tensor, storage: Storage) -> dict[str, Tensor]:
    """A tensor in the form of the file: a copy, since two names may share their numbers (tied weights)."""
    if storage == "float32" or not tensor.is_floating_point() or tensor.dim() < 2:
        return {name: tensor.clone(memory_format=torch.contiguous_format)}
    if storage == "int8" and name.startswith("decoder."):
        rows = tensor.float().flatten(1)
        scale = rows.abs().amax(1).clamp_min(torch.finfo(torch.float32).tiny) / 127
        whole = (rows / scale.unsqueeze(1)).round().to(torch.int8).view(tensor.shape)
        return {name: whole, f"{SCALE}{name}": scale}
    half = tensor.to(torch.float16, memory_format=torch.contiguous_format)
    return {name: half if half.isfinite().all() else tensor.clone(memory_format=torch.contiguous_format)}


def _of_a_package(config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> tuple[str, list[str]]:
    """The package that has weights of the encoder, and the names of the weights that are equal there."""
    from captioning.encoders.efficientnet import packaged

    target = str(config["encoder"].get("_target_"))
    state = packaged(target.rpartition(".")[2])
    if state is None:
        raise CaptioningError(
            f"{target}: no package of the package index has this encoder's weights, so they can't be left out."
        )
    package, tensors = state
    names = {f"encoder.backbone.{name}": tensor for name, tensor in tensors.items()}
    taken = [name for name, tensor in weights.items() if name in names and torch.equal(tensor.cpu(), names[name])]
    return package, taken


def _from_the_package(encoder: Any, path: Path) -> dict[str, Tensor]:
    """The weights that a folder has left out.

    Raises:
        CaptioningError: ``config.json`` names no known package, or the package is missing or has other weights.
    """
    from captioning.encoders.efficientnet import PACKAGES, packaged

    file = path.with_name(CONFIG)
    named = encoder.get("package") if isinstance(encoder, Mapping) else None
    names = encoder.get("weights") if isinstance(encoder, Mapping) else None
    if named not in PACKAGES or not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise CaptioningError(f"{file}: its encoder's weights are of no package that is known here. Fetch it again.")
    state = packaged(PACKAGES[named])
    assert state is not None
    found = {f"encoder.backbone.{name}": tensor for name, tensor in state[1].items()}
    if not set(names) <= found.keys() or _digest(found, names) != encoder.get("sha256"):
        raise CaptioningError(
            f"{file}: the package {named} has other weights than those this captioner was trained with. Install the "
            "version of the package that it names, or fetch a captioner with its encoder's weights."
        )
    return {name: found[name] for name in names}


def _digest(weights: Mapping[str, Tensor], names: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for name in sorted(names):
        tensor = weights[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
