"""One file that holds all it takes to caption a photograph, to write a text, or to go on training."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from captioning.core.errors import CaptioningError
from captioning.core.vocabulary import CharacterVocabulary, Vocabulary

VERSION = 1  # of what this package adds to Lightning's checkpoint
KEY = "captioning"
BEST, LAST = "best.ckpt", "last.ckpt"


@dataclass(frozen=True)
class Checkpoint:
    """What captioning needs of a checkpoint.

    Attributes:
        path: the file.
        config: the run's resolved configuration, plain values.
        vocabulary: of the decoder: words of a captioner, characters of a language model.
        weights: of the module, the encoder's included, by name.
    """

    path: Path
    config: Mapping[str, Any]
    vocabulary: Vocabulary | CharacterVocabulary
    weights: Mapping[str, Tensor]

    @property
    def words(self) -> Vocabulary:
        """The vocabulary of a captioner.

        Raises:
            CaptioningError: this is a language model of characters.
        """
        if isinstance(self.vocabulary, Vocabulary):
            return self.vocabulary
        raise CaptioningError(
            f"{self.path}: this is a language model of characters, which looks at no photograph. "
            "Let it write with `captioning sample`, or name a captioner's run or .ckpt file."
        )

    @property
    def characters(self) -> CharacterVocabulary:
        """The vocabulary of a language model of characters.

        Raises:
            CaptioningError: this is a captioner.
        """
        if isinstance(self.vocabulary, CharacterVocabulary):
            return self.vocabulary
        raise CaptioningError(
            f"{self.path}: this is a captioner, which says words of a photograph (`captioning caption`). "
            "Name a run or .ckpt file of a language model of characters, such as experiment=char_rnn trains."
        )


def describe(config: Mapping[str, Any], vocabulary: Vocabulary | CharacterVocabulary) -> dict[str, Any]:
    """What this package adds to Lightning's checkpoint: plain values, so that it loads with ``weights_only=True``."""
    kind = "vocabulary" if isinstance(vocabulary, Vocabulary) else "characters"
    return {"version": VERSION, "config": dict(config), kind: list(vocabulary.words)}


def find_checkpoint(path: str | Path) -> Path:
    """The checkpoint that a user means: a file, or a run's folder (its best one, or else its last).

    Raises:
        CaptioningError: there is none.
    """
    path = Path(path)
    if path.is_dir():
        for candidate in (path / "checkpoints" / BEST, path / "checkpoints" / LAST, path / BEST, path / LAST):
            if candidate.exists():
                return candidate
        raise CaptioningError(f"{path}: there is no checkpoint in this folder. Name a run's folder or a .ckpt file.")
    if not path.exists():
        raise CaptioningError(f"{path}: there is no such checkpoint. Name a run's folder or a .ckpt file.")
    return path


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint, without running anything that it may hold (``weights_only=True``).

    Args:
        path: a file, or a run's folder.

    Raises:
        CaptioningError: it is missing, damaged, of another program, or of a version that this one does not know.
    """
    path = find_checkpoint(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CaptioningError(
            f"{path}: not a checkpoint that can be read ({first}). It may be cut short: copy it again, or train again."
        ) from error
    ours = content.get(KEY) if isinstance(content, dict) else None
    if not isinstance(ours, dict) or "state_dict" not in content:
        raise CaptioningError(
            f"{path}: this is not a checkpoint of `captioning train`. Name a run's folder or .ckpt file."
        )
    if ours.get("version") != VERSION:
        raise CaptioningError(
            f"{path}: this checkpoint has version {ours.get('version')}, and this program reads version {VERSION}. "
            "Install the version of captioning that wrote it, or train again."
        )
    vocabulary = CharacterVocabulary(ours["characters"]) if "characters" in ours else Vocabulary(ours["vocabulary"])
    return Checkpoint(path, ours["config"], vocabulary, content["state_dict"])


def load_weights(module: torch.nn.Module, weights: Mapping[str, Tensor], path: Path) -> None:
    """Load weights into a module of exactly their shapes.

    Raises:
        CaptioningError: names or shapes differ; the first are named.
    """
    own = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    theirs = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    if own != theirs:
        odd = sorted(name for name in own.keys() | theirs.keys() if own.get(name) != theirs.get(name))
        first = ", ".join(
            f"{name} {theirs.get(name, 'missing')} instead of {own.get(name, 'none')}" for name in odd[:3]
        )
        raise CaptioningError(
            f"{path}: {len(odd)} weights of this checkpoint do not fit the captioner ({first}). It was written by "
            "another configuration or another version of the code."
        )
    module.load_state_dict(weights)


def check_resumable(path: Path, module: torch.nn.Module, vocabulary: Vocabulary | CharacterVocabulary) -> None:
    """Check that a run can go on from a checkpoint.

    Args:
        path: the checkpoint.
        module: what is trained.
        vocabulary: of the training captions, or of the text, as they are now.

    Raises:
        CaptioningError: it can't be read, or the vocabulary or what is trained are not those that it was trained with.
    """
    checkpoint = read_checkpoint(path)
    if checkpoint.vocabulary.words != vocabulary.words:
        raise CaptioningError(
            f"{path}: the {vocabulary.of} have changed since ({len(checkpoint.vocabulary)} then, "
            f"{len(vocabulary)} now). Bring them back, or begin anew with resume=false or another name."
        )
    load_weights(module, checkpoint.weights, path)
