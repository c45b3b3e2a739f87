"""Publishing of captioners: to a folder, and to a model hub.

The format is that of ``captioning.runs.published``: ``model.safetensors``, ``config.json`` and a model card.
"""

import importlib
import os
from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any, Self

from torch import nn

from captioning.core.errors import CaptioningError
from captioning.core.ownership import output
from captioning.core.terminal import printable
from captioning.core.vocabulary import Vocabulary
from captioning.runs.checkpoint import contents_of
from captioning.runs.published import CARD, PUBLISHED, Storage, size_of, write_published


class Publishing:
    """The part of a captioner that publishes it, and reads a published one."""

    encoder: Any
    decoder: Any
    vocabulary: Vocabulary
    config: Mapping[str, Any]
    path: Path | None = None  # the file of a captioner that was loaded

    @classmethod
    @abstractmethod
    def load(
        cls, path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], device: str, trust: Collection[str]
    ) -> Self:
        """See ``Captioner.load``."""

    def save_pretrained(
        self,
        folder: str | os.PathLike[str],
        storage: Storage = "float32",
        encoder: bool = True,
        notes: str = "",
        known: Mapping[str, Any] | None = None,
    ) -> Path:
        """Write the captioner to a folder: ``model.safetensors``, ``config.json`` (no code) and ``README.md``, a card.

        ``Captioner.load`` and every command read the folder as they read a run's. In single precision no caption
        changes; in 8 bits the weights are rounded, so score the folder (``captioning evaluate FOLDER``).

        Args:
            folder: the folder, which is made if it is missing.
            storage: the precision of the decoder's matrices: ``"float32"``, ``"float16"`` or ``"int8"``; the encoder's
                are in half precision at least.
            encoder: False to leave out the weights of an encoder that comes as a package; a reader needs the package.
            notes: Markdown for the end of the card, such as what the captioner gets wrong.
            known: what the card says of the training; by default what the captioner's run says.

        Returns:
            The folder.

        Raises:
            CaptioningError: the captioner is an ensemble; the encoder's weights are of no package; the folder can't be
                written to.
        """
        from captioning.runs.card import about, model_card

        folder = Path(folder)
        if not hasattr(self.decoder, "word_layer"):
            raise CaptioningError("An ensemble is published by its members: save each of them, or their mean weights.")
        if known is None:
            known = about(self.path) if self.path else {}
        weights = nn.ModuleDict({"encoder": self.encoder, "decoder": self.decoder}).state_dict()
        contents = contents_of(self.vocabulary)
        write_published(folder, weights, self.config, contents, known, storage, encoder)
        with output(folder / CARD) as file:
            file.write(model_card(self.config, known, size_of(folder), storage, notes))
        return folder

    @classmethod
    def from_pretrained(
        cls,
        name: str | os.PathLike[str],
        device: str = "auto",
        trust: Collection[str] = (),
        revision: str | None = None,
    ) -> Self:
        """Read a published captioner, also a stranger's: no code that it holds or names is run (docs/security.md).

        Args:
            name: a folder, or a name on the Hugging Face hub (``"someone/captioner"``), which is downloaded.
            device: the device; ``"auto"`` is the GPU if there is one, else the CPU.
            trust: modules or classes outside of this package that the captioner may name.
            revision: the branch, tag or commit on the hub.

        Raises:
            CaptioningError: there is no such folder and no such captioner on the hub, or see ``Captioner.load``.
        """
        folder = Path(name)
        if not folder.exists():
            hub = _hub()
            found: str = _of_the_hub(
                str(name), lambda: hub.snapshot_download(str(name), revision=revision, allow_patterns=list(PUBLISHED))
            )
            folder = Path(found)
        return cls.load(folder, device, trust)

    def push_to_hub(
        self, name: str, private: bool = False, storage: Storage = "float32", notes: str = "", token: str | None = None
    ) -> str:
        """Upload the captioner to the Hugging Face hub; needs ``captioning[hub]``.

        Args:
            name: the name on the hub, ``"someone/captioner"``; it is made if it is missing.
            private: whether a new captioner on the hub is private.
            storage: see ``save_pretrained``.
            notes: see ``save_pretrained``.
            token: the hub's token; None for that of ``hf auth login``.

        Returns:
            The address of the upload.

        Raises:
            CaptioningError: the hub refuses the upload, or see ``save_pretrained``.
        """
        hub = _hub()
        with TemporaryDirectory() as folder:
            self.save_pretrained(folder, storage, notes=notes)

            def upload() -> str:
                hub.create_repo(name, private=private, exist_ok=True, token=token)
                return str(
                    hub.upload_folder(repo_id=name, folder_path=folder, allow_patterns=list(PUBLISHED), token=token)
                )

            return _of_the_hub(name, upload)


def _hub() -> ModuleType:
    try:
        return importlib.import_module("huggingface_hub")
    except ImportError:
        raise CaptioningError(
            'The hub needs the library huggingface_hub: pip install "captioning[hub]". A folder needs nothing.'
        ) from None


def _of_the_hub(name: str, action: Callable[[], str]) -> str:
    """The result of an action of the hub's library, whose errors are of many kinds."""
    try:
        return action()
    except Exception as error:
        reason = printable(" ".join(str(error).split()))[:200] or type(error).__name__
        raise CaptioningError(
            f"{name}: there is no such folder, and the hub can't serve it ({type(error).__name__}: {reason}). Check "
            "the name, the network, and who may use it."
        ) from error
