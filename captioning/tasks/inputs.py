"""What a run reads, by digest: a run goes on, or is finished, only with the photographs, captions and text it had."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from captioning.data import CaptionedPhotos, Text
from captioning.data.digests import digest_of, digests
from captioning.data.text import MAPPED


def inputs_of(config: Mapping[str, Any], source: CaptionedPhotos | Text) -> dict[str, str]:
    """What a run reads, to a digest of its content; where it lies and what the files are called does not matter.

    Args:
        config: of the run.
        source: what ``data.source`` has read.

    Returns:
        Of captioned photographs ``photographs``, ``captions`` and ``splits``, of a text ``characters of the text``;
        and, where settings name a file, ``word vectors`` and ``weights of the encoder``.

    Raises:
        CaptioningError: a photograph can't be read.
    """
    read = _of_text(source, config) if isinstance(source, Text) else _of_photos(source, config)
    files = {"word vectors": config["word_vectors"], "weights of the encoder": config.get("encoder", {}).get("weights")}
    for name, path in files.items():
        if isinstance(path, str) and Path(path).is_file():
            read[name] = digest_of(Path(path)).hex()
    return read


def _of_photos(photos: CaptionedPhotos, config: Mapping[str, Any]) -> dict[str, str]:
    """Photographs as a set, which split each is in, and what is said of each."""
    paths = [photo.path for photo in photos]
    found = [each.tobytes() for each in digests(paths, Path(config["data"]["features_root"]) / "digests")]
    captions = (text for photo in photos for text in (str(len(photo.captions)), *photo.captions))
    sizes = [f"{split} {len(members)}".encode() for split, members in photos.splits.items()]
    return {
        "photographs": _hash(sorted(found)),
        "captions": _hash(caption.encode("utf-8", "surrogatepass") for caption in captions),
        "splits": _hash([*sizes, *found]),
    }


def _of_text(text: Text, config: Mapping[str, Any]) -> dict[str, str]:
    if text.path.stat().st_size <= MAPPED:
        digest = digest_of(text.path)
    else:
        cache = Path(config["data"].get("cache") or text.path.parent)
        digest = digests([text.path], cache, doing="reading the text")[0].tobytes()
    return {"characters of the text": digest.hex()}


def _hash(parts: Iterable[bytes]) -> str:
    """One digest of many parts, each with its length."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()
