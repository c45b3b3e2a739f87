"""A reader: a text file of lines ``split <tab> picture <tab> caption``.

captioning train data=own data.source._target_=tab_reader.read_tabs data.root=captions.tsv
"""

from pathlib import Path

from captioning import CaptioningError
from captioning.data import CaptionedPhotos, Photo
from captioning.data.assemble import assemble


def read_tabs(root: str) -> CaptionedPhotos:
    """Read the file; pictures lie beside it."""
    file = Path(root)
    captions: dict[tuple[str, str], list[str]] = {}
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            split, picture, caption = line.split("\t")
        except ValueError:
            raise CaptioningError(f"{file}, line {number}: not a split, a picture and a caption with tabs.") from None
        captions.setdefault((split, picture), []).append(caption)
    splits: dict[str, list[Photo]] = {"train": [], "val": [], "test": []}
    for (split, picture), texts in captions.items():
        splits[split].append(Photo(picture, file.parent / picture, tuple(texts)))
    return assemble("tabs", {split: photos for split, photos in splits.items() if photos}, file)
