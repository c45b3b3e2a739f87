"""Digests of a run's inputs: a run resumes or finishes only with its own photographs, captions and text."""

import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from captioning.data import CaptionedPhotos, ParallelText, QuestionSet, Text
from captioning.data.digests import digest_of, digests
from captioning.data.text import MAPPED
from captioning.runs.settings import encoders_of

log = logging.getLogger(__name__)


def inputs_of_photographs(config: Mapping[str, Any], photos: CaptionedPhotos) -> dict[str, str]:
    """Digests of the photographs as a set, of their splits, and of their captions.

    The path and the name of a photograph's file do not count.

    Args:
        config: the run's configuration.
        photos: the photographs that ``data.source`` has read.

    Returns:
        Digests of the ``photographs``, ``captions`` and ``splits``.

    Raises:
        CaptioningError: a photograph can't be read.
    """
    paths = [photo.path for photo in photos]
    found = [each.tobytes() for each in digests(paths, Path(config["data"]["features_root"]) / "digests")]
    _tell_repeated(photos, found)
    captions = (text for photo in photos for text in (str(len(photo.captions)), *photo.captions))
    sizes = [f"{split} {len(members)}".encode() for split, members in photos.splits.items()]
    return {
        "photographs": _hash(sorted(found)),
        "captions": _hash(caption.encode("utf-8", "surrogatepass") for caption in captions),
        "splits": _hash([*sizes, *found]),
    }


def inputs_of_questions(config: Mapping[str, Any], source: QuestionSet) -> dict[str, str]:
    """Digests of questions with their answers and kinds, and of their photographs, if there are any."""
    parts = (
        part
        for split, questions in source.splits.items()
        for question in questions
        for part in (split, question.text, question.kind, str(question.image), *question.answers)
    )
    found = {"questions": _hash(part.encode("utf-8", "surrogatepass") for part in parts)}
    if source.photos is not None:
        photographs = inputs_of_photographs(config, source.photos)
        found |= {name: digest for name, digest in photographs.items() if name != "captions"}
    return found


def inputs_of_translation(source: ParallelText) -> dict[str, str]:
    """The digest of sentences with their translations and splits."""
    parts = (
        part for split, pairs in source.splits.items() for pair in pairs for part in (split, pair.source, pair.target)
    )
    return {"sentences": _hash(part.encode("utf-8", "surrogatepass") for part in parts)}


def _tell_repeated(photos: CaptionedPhotos, digests: Sequence[bytes]) -> None:
    """Say if a photograph is in two splits under two names: its score would be of what was trained on."""
    first: dict[bytes, tuple[str, Path]] = {}
    places = [(split, photo.path) for split, members in photos.splits.items() for photo in members]
    repeated = []
    for (split, path), digest in zip(places, digests, strict=True):
        before, other = first.setdefault(digest, (split, path))
        if before != split:
            repeated.append(f"{other} ({before}) and {path} ({split})")
    if repeated:
        log.warning(
            "%s: %d photographs are in two splits, the same file under two names, such as %s. Scores on what was "
            "trained on say little: take them out of one of the splits.",
            *(photos.name, len(repeated), repeated[0]),
        )


def inputs_of_text(config: Mapping[str, Any], text: Text) -> dict[str, str]:
    """The digest of the text's characters, by the name ``characters of the text``."""
    if text.path.stat().st_size <= MAPPED:
        digest = digest_of(text.path)
    else:
        cache = Path(config["data"].get("cache") or text.path.parent)
        digest = digests([text.path], cache, doing="reading the text")[0].tobytes()
    return {"characters of the text": digest.hex()}


def inputs_of_settings(config: Mapping[str, Any], initial: Path | None) -> dict[str, str]:
    """The digests of files named in settings: word vectors, encoder weights, and initial weights.

    Args:
        config: the run's configuration.
        initial: the checkpoint that ``init_from`` names.
    """
    files = {
        "word vectors": config.get("word_vectors"),
        **{
            " ".join(["weights of the encoder", *filter(None, [name])]): encoder.get("weights")
            for name, encoder in encoders_of(config.get("encoder", {})).items()
        },
        "weights that it began with": initial and str(initial),
    }
    return {
        name: digest_of(Path(path)).hex()
        for name, path in files.items()
        if isinstance(path, str) and Path(path).is_file()
    }


def _hash(parts: Iterable[bytes]) -> str:
    """One digest of many parts, each with its length."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()
