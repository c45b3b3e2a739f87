"""MSVD (YouTube2Text): clips of YouTube with about forty English sentences each (Chen & Dolan, ACL 2011).

The captions are read in the text files of the usual split (1,200 clips for training, 100 for validation, 670 for the
test; Venugopalan et al., NAACL 2015), lower case without punctuation: ``vid1301 <tab> a boy playing with dog``. A file
of names says which clip that is: ``klteYv1Uv9A_27_33 vid1301``, of the clip ``klteYv1Uv9A_27_33.avi``.
"""

import logging
import os
from pathlib import Path

from captioning.core.errors import CaptioningError
from captioning.core.texts import lines_of, read_text
from captioning.data.assemble import assemble, first_ten
from captioning.data.photos import CaptionedPhotos, Photo

log = logging.getLogger(__name__)

CAPTIONS = {split: f"sents_{split}_lc_nopunc.txt" for split in ("train", "val", "test")}
NAMES = "youtube_mapping.txt"
ENDINGS = (".avi", ".mp4", ".mkv", ".webm", ".mov")
REMEDY = "Set data.root to the folder of the text files, and data.images to that of the clips."


def read_msvd(root: str | os.PathLike[str], images: str | os.PathLike[str]) -> CaptionedPhotos:
    """Read MSVD; clips that are not there are left out, with a warning that counts them.

    Args:
        root: the folder of the text files.
        images: the folder of the clips.

    Returns:
        The clips, with their names as ids; of the splits those with clips.

    Raises:
        CaptioningError: a file or folder is missing, a line is no clip's, a caption's clip has no name, or no clip is
            there.
    """
    root, images = Path(root), Path(images)
    names = {number: clip for clip, number in _pairs(root / NAMES, " ")}
    if not images.is_dir():
        raise CaptioningError(f"{images}: there is no such folder. {REMEDY}")
    files = {path.stem: path for path in sorted(images.iterdir()) if path.suffix.lower() in ENDINGS}
    splits: dict[str, list[Photo]] = {}
    missing: list[str] = []
    for split, name in CAPTIONS.items():
        captions: dict[str, list[str]] = {}
        for number, caption in _pairs(root / name, "\t"):
            if number not in names:
                raise CaptioningError(f"{root / name}: {number} has captions and no name in {NAMES}. Fetch both anew.")
            captions.setdefault(names[number], []).append(caption)
        splits[split] = [Photo(clip, files[clip], tuple(texts)) for clip, texts in captions.items() if clip in files]
        missing += [clip for clip in captions if clip not in files]
    if not any(splits.values()):
        raise CaptioningError(
            f"{images}: none of MSVD's clips is here, such as {first_ten(missing[:2])} with one of the endings "
            f"{', '.join(ENDINGS)}. {REMEDY}"
        )
    if missing:
        log.warning("%s: %d clips are not here and are left out, with their captions.", images, len(missing))
    return assemble("msvd", {split: clips for split, clips in splits.items() if clips}, root)


def _pairs(path: Path, between: str) -> list[tuple[str, str]]:
    """The two parts of each line of a text file."""
    if not path.is_file():
        raise CaptioningError(f"{path}: there is no such file. {REMEDY}")
    pairs = []
    for number, line in enumerate(lines_of(read_text(path)), start=1):
        if line.strip():
            first, found, second = line.strip().partition(between)
            if not found:
                raise CaptioningError(f"{path}, line {number}: {line!r:.60} is no pair, with {between!r} between.")
            pairs.append((first.strip(), second.strip()))
    return pairs
