"""Checkpoints: one file suffices to caption a photograph, to write a text, or to resume training."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from captioning.core.archives import verify_archive
from captioning.core.errors import CaptioningError
from captioning.core.questions import AnswerSet, QuestionVocabulary
from captioning.core.regular import require_regular
from captioning.core.sentences import SourceVocabulary
from captioning.core.terminal import printable
from captioning.core.vocabulary import CharacterVocabulary, Vocabulary
from captioning.encoders import Encoder
from captioning.runs.earlier import upgraded
from captioning.runs.places import WEIGHTS, find_checkpoint
from captioning.runs.published import read_published
from captioning.runs.trust import acted_on, of_this_package, shown, targets_of

LONGEST_WORD = 1000  # the maximum characters of a word in a vocabulary
VERSION = 2  # the version of this package's part of a checkpoint; version 1 had no tasks
KEY = "captioning"
SIGNATURE = "signature"  # the name of an objective's signature among the contents
OBJECTIVE = "objective"  # the name of the objective among the parts of what is trained
VOCABULARIES: dict[
    str, type[Vocabulary] | type[CharacterVocabulary] | type[AnswerSet]
] = {  # kinds of a task's vocabulary, by name
    "vocabulary": Vocabulary,
    "characters": CharacterVocabulary,
    "questions": QuestionVocabulary,
    "answers": AnswerSet,
    "sources": SourceVocabulary,
    "targets": Vocabulary,
}


@dataclass(frozen=True)
class Checkpoint:
    """The content of a checkpoint.

    Attributes:
        path: the file.
        config: the part of the run's configuration that is safe to use, see ``captioning.runs.trust``.
        contents: the plain values that the task keeps beside the weights, such as the words of a vocabulary or the
            characters of a language model.
        weights: the weights of the module with its encoder, by name.
        trained: the epoch, from 1, in which training resumes or which it has completed; None if training can't resume.
        unresolved: the run's configuration as composed, with interpolations; None in version 1.
    """

    path: Path
    config: Mapping[str, Any]
    contents: Mapping[str, Any]
    weights: Mapping[str, Tensor]
    trained: int | None = None
    unresolved: Mapping[str, Any] | None = None

    @property
    def vocabulary(self) -> Vocabulary | CharacterVocabulary | None:
        """The words of a captioner, or the characters of a language model; None for a model without a vocabulary."""
        words, characters = self.contents.get("vocabulary"), self.contents.get("characters")
        return CharacterVocabulary(characters) if characters else Vocabulary(words) if words else None

    @property
    def signature(self) -> str:
        """The signature of the objective that has trained the weights; empty if it has none."""
        signature = self.contents.get(SIGNATURE)
        return shown(signature) if isinstance(signature, str) else ""

    @property
    def words(self) -> Vocabulary:
        """The vocabulary of a captioner.

        Raises:
            CaptioningError: the checkpoint is a language model of characters, or its task has no vocabulary.
        """
        vocabulary = self.vocabulary
        if isinstance(vocabulary, Vocabulary):
            return vocabulary
        if vocabulary is None:
            other = ", but answers questions (`captioning ask`)" if self.contents.get("answers") else ""
            other = ", but translates (`captioning translate`)" if self.contents.get("sources") else other
            raise CaptioningError(
                f"{self.path}: this has no vocabulary, so it says no captions{other}. Name a captioner's run."
            )
        raise CaptioningError(
            f"{self.path}: this is a language model of characters, which looks at no photograph. "
            "Let it write with `captioning sample`, or name a captioner's run or .ckpt file."
        )

    @property
    def asked(self) -> tuple[QuestionVocabulary, AnswerSet]:
        """The words of questions and the answers of a model of answers.

        Raises:
            CaptioningError: the checkpoint is of another task.
        """
        words, answers = self.contents.get("questions"), self.contents.get("answers")
        if not words or not answers:
            raise CaptioningError(
                f"{self.path}: this answers no questions. Name a run or .ckpt file of task=answering, such as "
                "experiment=coco_qa_bow trains."
            )
        return QuestionVocabulary(words), AnswerSet(answers)

    @property
    def translated(self) -> tuple[SourceVocabulary, Vocabulary]:
        """The words that a translator reads, and those that it writes.

        Raises:
            CaptioningError: the checkpoint is of another task.
        """
        sources, targets = self.contents.get("sources"), self.contents.get("targets")
        if not sources or not targets:
            raise CaptioningError(
                f"{self.path}: this translates nothing. Name a run or .ckpt file of task=translation, such as "
                "experiment=multi30k_translation trains."
            )
        return SourceVocabulary(sources), Vocabulary(targets)

    @property
    def characters(self) -> CharacterVocabulary:
        """The vocabulary of a language model of characters.

        Raises:
            CaptioningError: the checkpoint is no language model of characters.
        """
        vocabulary = self.vocabulary
        if isinstance(vocabulary, CharacterVocabulary):
            return vocabulary
        raise CaptioningError(
            f"{self.path}: this is a captioner, which says words of a photograph (`captioning caption`). "
            "Name a run or .ckpt file of a language model of characters, such as experiment=char_rnn trains."
        )


def own_part(
    config: Mapping[str, Any], contents: Mapping[str, Any], unresolved: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The part that this package adds to Lightning's checkpoint: plain values, loadable with ``weights_only=True``.

    Args:
        config: the run's configuration, resolved.
        contents: the plain values of the task, such as the lists of words ``vocabulary`` or ``characters``.
        unresolved: the configuration with its interpolations.
    """
    return {
        "version": VERSION,
        "config": dict(config),
        "unresolved": None if unresolved is None else dict(unresolved),
        "contents": dict(contents),
    }


def contents_of(vocabulary: Vocabulary | CharacterVocabulary) -> dict[str, list[str]]:
    """The contents in which tasks with a vocabulary keep its words."""
    return {"characters" if isinstance(vocabulary, CharacterVocabulary) else "vocabulary": list(vocabulary.words)}


def read_checkpoint(path: str | Path, trust: Collection[str] = ()) -> Checkpoint:
    """Read a checkpoint without running any code in the file or named by it (``weights_only=True``).

    Args:
        path: a checkpoint file, a run's folder, or a folder of a published captioner.
        trust: modules or classes outside this package that the checkpoint may name.

    Raises:
        CaptioningError: the checkpoint is missing, damaged, of another program, or of an unknown version; a weight is
            no number; or the checkpoint names a class that is neither this package's nor trusted.
    """
    path = find_checkpoint(path)
    published = path.name == WEIGHTS
    if published:
        require_regular(path, "checkpoint")
    else:
        verify_archive(path)
    try:
        content = read_published(path) if published else torch.load(path, map_location="cpu", weights_only=True)
    except CaptioningError:
        raise
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
    if ours.get("version") not in (1, VERSION):
        raise CaptioningError(
            f"{path}: this checkpoint has version {shown(ours.get('version'))}, and this program reads versions 1 to "
            f"{VERSION}. Install the version of captioning that wrote it, or train again."
        )
    config, unresolved = ours.get("config"), ours.get("unresolved")
    return Checkpoint(
        path,
        acted_on(upgraded(config) if isinstance(config, Mapping) else config, path, trust),
        _contents_of(ours, path),
        _checked(content["state_dict"], path),
        _trained(content),
        unresolved if isinstance(unresolved, Mapping) else None,
    )


def _contents_of(ours: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
    """The contents of a task; for version 1 the vocabulary or the characters."""
    contents = ours.get("contents")
    if ours["version"] == 1:
        kind = "characters" if "characters" in ours else "vocabulary"
        contents = {kind: ours.get(kind)}
    if not isinstance(contents, Mapping) or not all(isinstance(key, str) for key in contents):
        raise CaptioningError(f"{path}: this checkpoint does not say what was trained. Copy it again, or train again.")
    return {key: _words(key, value, path) if key in VOCABULARIES else value for key, value in contents.items()}


def _words(kind: str, words: Any, path: Path) -> list[str]:
    """The words of a vocabulary.

    Raises:
        CaptioningError: the value is no list of words, or not a vocabulary's words.
    """
    try:
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise CaptioningError("A vocabulary is a list of words.")
        longest = 1 if kind == "characters" else LONGEST_WORD
        if not all(0 < len(word) <= longest and _is_text(word) for word in words):
            raise CaptioningError(f"Its words have 1 to {longest} characters of Unicode.")
        VOCABULARIES[kind](words)
        return words
    except CaptioningError as error:
        raise CaptioningError(f"{path}: its vocabulary is damaged. {printable(str(error))}") from error


def _is_text(word: str) -> bool:
    """True if a word can be written in UTF-8: lone surrogates can't."""
    return not any("\ud800" <= character <= "\udfff" for character in word)


def _checked(weights: Any, path: Path) -> Mapping[str, Tensor]:
    """The weights, checked for complete storage: in a file, one number can stand for a tensor of any size."""
    if not isinstance(weights, Mapping):
        raise CaptioningError(f"{path}: this checkpoint has no weights by name. Copy it again.")
    whole = {name: torch.Tensor.detach(tensor) for name, tensor in weights.items() if _is_whole(name, tensor)}
    odd = next((name for name in weights if name not in whole), None)
    if odd is not None or len(whole) != len(weights):
        raise CaptioningError(f"{path}: its weight {shown(odd)} is not whole, or of no real numbers. Copy it again.")
    odd = next((name for name, tensor in whole.items() if not _is_finite(tensor)), None)
    if odd is not None:
        raise CaptioningError(
            f"{path}: its weight {shown(odd)} has values that are no numbers (NaN or infinity): training diverged, or "
            "something else has written the file. Take another checkpoint, or train again with a lower optimizer.lr."
        )
    return whole


def _is_finite(tensor: Tensor) -> bool:
    """True if a tensor has neither NaN nor infinity: both reach the sum, which is faster than a look at each value."""
    if not tensor.is_floating_point():
        return True
    return bool(tensor.sum(dtype=torch.float32).isfinite()) or bool(tensor.isfinite().all())


def _is_whole(name: Any, tensor: Any) -> bool:
    """True if the file holds a separate number for each element of a tensor."""
    if not isinstance(name, str) or type(tensor) not in (Tensor, torch.nn.Parameter):
        return False
    tensor = torch.Tensor.detach(tensor)  # drops attributes, which a file can add to a tensor
    if tensor.layout != torch.strided or tensor.is_nested or tensor.is_quantized or tensor.is_complex():
        return False
    if tensor.device.type != "cpu":
        return False
    return bool(tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes())


def make_with_weights(make: Callable[[], torch.nn.Module], checkpoint: Checkpoint) -> torch.nn.Module:
    """Make a network with a checkpoint's weights.

    The network's sizes are compared with the weights before any allocation: a configuration can ask for any amount of
    memory.

    Args:
        make: a function that makes the network from the checkpoint's configuration.
        checkpoint: the checkpoint with the weights.

    Raises:
        CaptioningError: the configuration's network can't be made, or does not fit the weights.
    """
    for group in ("decoder", "answerer"):
        for setting in ("depth", "looks"):  # each layer and each look has its own weights
            depth = checkpoint.config.get(group, {}).get(setting, 1)
            if isinstance(depth, int) and depth > len(checkpoint.weights):
                raise CaptioningError(
                    f"{checkpoint.path}: its {group} has a {setting} of {depth}, more than there are weights."
                )
    ours = of_this_package(checkpoint.config)
    try:
        with torch.device("meta"):
            network = make()
    except CaptioningError as error:
        raise _of_the_file(checkpoint, error) from error
    except Exception as error:
        if ours and not any(target.endswith(".Timm") for target in targets_of(checkpoint.config)):
            raise _unbuildable(checkpoint, error) from error
        network = None  # a user's class may have code that fails on the meta device
    if network is not None:
        weights = check_weights(network, checkpoint.weights, checkpoint.path)
        if ours:
            own = network.state_dict()
            network.load_state_dict({name: tensor.to(own[name].dtype) for name, tensor in weights.items()}, assign=True)
            if not any(part.is_meta for part in (*network.parameters(), *network.buffers())):
                return network
    try:
        network = make()
    except CaptioningError as error:
        raise _of_the_file(checkpoint, error) from error
    except Exception as error:
        raise _unbuildable(checkpoint, error) from error
    load_weights(network, checkpoint.weights, checkpoint.path)
    return network


def _of_the_file(checkpoint: Checkpoint, error: CaptioningError) -> CaptioningError:
    """The same error, with the checkpoint's file in the message."""
    named = str(error).startswith(f"{checkpoint.path}: ")
    return error if named else CaptioningError(f"{checkpoint.path}: {printable(str(error))}")


def _unbuildable(checkpoint: Checkpoint, error: Exception) -> CaptioningError:
    reason = (str(error).splitlines() or [""])[0][:200]
    return CaptioningError(
        f"{checkpoint.path}: its configuration makes no network ({type(error).__name__}: {printable(reason)}). It is "
        "damaged, or of another version of the code."
    )


def load_weights(module: torch.nn.Module, weights: Mapping[str, Tensor], path: Path) -> None:
    """Load weights into a module of exactly their shapes.

    Raises:
        CaptioningError: names or shapes differ; the message names the first ones.
    """
    module.load_state_dict(check_weights(module, weights, path))


def check_weights(module: torch.nn.Module, weights: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Check that names and shapes of weights are those of a module.

    Returns:
        The weights under the names of this version, see ``Encoder.renamed``.

    Raises:
        CaptioningError: names or shapes differ; the message names the first ones.
    """
    parts = dict(module.named_children())
    if OBJECTIVE not in parts:  # of use in training alone
        weights = {name: tensor for name, tensor in weights.items() if not name.startswith(f"{OBJECTIVE}.")}
    for name, part in parts.items():
        if isinstance(part, Encoder):
            weights = part.renamed(weights, prefix=f"{name}.")
    own = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    theirs = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    if own != theirs:
        odd = sorted(name for name in own.keys() | theirs.keys() if own.get(name) != theirs.get(name))
        first = ", ".join(
            f"{printable(name)} {theirs.get(name, 'missing')} instead of {own.get(name, 'none')}" for name in odd[:3]
        )
        raise CaptioningError(
            f"{path}: {len(odd)} weights of this checkpoint do not fit the captioner ({first}). It was written by "
            "another configuration or another version of the code."
        )
    return dict(weights)


def position_in(checkpoint: Mapping[str, Any]) -> tuple[int, int]:
    """The epoch in which a run resumes from a Lightning checkpoint, and the number of the epoch's batches done."""
    loop = checkpoint["loops"]["fit_loop"]
    batches = loop["epoch_loop.batch_progress"]
    done = 0 if batches["is_last_batch"] else batches["current"]["processed"]
    return loop["epoch_progress"]["current"]["processed"], done


def _trained(content: Mapping[str, Any]) -> int | None:
    """The epoch, from 1, in which a checkpoint resumes or which it has completed; None if it can't resume."""
    try:
        epoch, done = position_in(content)
        whole = isinstance(content["optimizer_states"], list) and isinstance(content["callbacks"], dict)
        return epoch + (done > 0) if whole else None
    except (KeyError, TypeError, AttributeError):
        return None
