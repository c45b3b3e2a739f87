"""MSR-VTT: 10,000 clips with 20 English sentences each (Xu, Mei, Yao & Rui, CVPR 2016), in its JSON."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from captioning.core.errors import CaptioningError
from captioning.core.files import read_json
from captioning.core.ids import heading
from captioning.data.assemble import assemble, first_ten
from captioning.data.msvd import ENDINGS
from captioning.data.photos import CaptionedPhotos, Photo

log = logging.getLogger(__name__)

SPLITS = {"train": "train", "validate": "val", "val": "val", "test": "test"}


def read_msr_vtt(root: str | os.PathLike[str], files: Sequence[str], images: str | os.PathLike[str]) -> CaptionedPhotos:
    """Read MSR-VTT; clips that are not there are left out, with a warning that counts them.

    Args:
        root: the folder of the JSON files.
        files: the names of one or more JSON files, such as ``train_val_videodatainfo.json`` and
            ``test_videodatainfo.json``. A file has ``videos`` (``video_id``, ``split``) and ``sentences``
            (``video_id``, ``caption``).
        images: the folder of the clips (``video0.mp4``).

    Returns:
        The clips, with their names as ids; of the splits those with clips.

    Raises:
        CaptioningError: a file or folder is missing, a file is in another format, or no clip is there.
    """
    folder = Path(images)
    if not folder.is_dir():
        raise CaptioningError(f"{folder}: there is no such folder. Set data.images to the folder of the clips.")
    there = {path.stem: path for path in sorted(folder.iterdir()) if path.suffix.lower() in ENDINGS}
    split_of: dict[str, str] = {}
    captions: dict[str, list[str]] = {}
    for name in files:
        path = Path(root) / name
        content = read_json(path, "MSR-VTT file")
        try:
            for video in content["videos"]:
                split_of[_text(video["video_id"])] = SPLITS[heading(video["split"])]
            for sentence in content["sentences"]:
                captions.setdefault(_text(sentence["video_id"]), []).append(_text(sentence["caption"]))
        except (KeyError, TypeError) as error:
            raise CaptioningError(
                f"{path}: this is not one of MSR-VTT's files, with lists of videos (video_id, split) and sentences "
                f"(video_id, caption): {type(error).__name__}: {error}."
            ) from None
    missing = [clip for clip in split_of if clip not in there]
    splits = {
        split: [
            Photo(clip, there[clip], tuple(captions[clip]))
            for clip, of in split_of.items()
            if of == split and clip in there and clip in captions
        ]
        for split in ("train", "val", "test")
    }
    if not any(splits.values()):
        raise CaptioningError(
            f"{folder}: none of the clips of {', '.join(files)} is here, such as {first_ten(missing[:2])}. Set "
            "data.images to the folder of the clips."
        )
    if missing:
        log.warning("%s: %d clips are not here and are left out, with their captions.", folder, len(missing))
    return assemble("msr_vtt", {split: clips for split, clips in splits.items() if clips}, folder)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.40} is no text")
    return value
