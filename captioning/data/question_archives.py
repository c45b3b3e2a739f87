"""Download of questions about COCO's photographs: COCO-QA and VQA version 2, in the layout that their readers read.

The photographs are COCO's of 2014: ``prepare_coco(root, 2014)``.
"""

import hashlib
import logging
import os
from pathlib import Path

from captioning.core.errors import CaptioningError
from captioning.data.coco_archives import Archive, prepare_archives

log = logging.getLogger(__name__)

# No checksum of the zip file is published. Instead the unpacked files are compared with COCO-QA's counts, and with the
# copy that this project's results are of.
COCO_QA = Archive("~mren/imageqa/data/cocoqa/cocoqa-2015-05-17.zip", None, None, ("train", "test"))
COCO_QA_LINES = {"train": 78_736, "test": 38_948}
COCO_QA_SHA256 = {
    "train/questions.txt": "5d890089f19668bafab86538ad4b709d694478e442631fbf8f98cb4f3319920a",
    "train/answers.txt": "0aec6dc50a406abf7a0c0a8f7e527d2727bbc072d2e8f14dd28e681f65a3791c",
    "train/img_ids.txt": "3b60fb7ec05f9910710b818edd2219c8051ababef7bf92bbd9686deed2883cb2",
    "train/types.txt": "5dc9dc6453c9732717d60054b38ef0f507919a2c415bba3b89b16af37b7b8a6d",
    "test/questions.txt": "fe90129f670f9926c699447d6bdfd5a3c95be66520e6451010677fc5baf2086d",
    "test/answers.txt": "7d8457235474f2178d73739975b6d3901d5fe5c8e34203cb1c1592315a508262",
    "test/img_ids.txt": "4dcb595643e227e7250fd56016ee839a1aebc5e811396cdfcabfa7194b264a98",
    "test/types.txt": "dc25163a4d7359242ceddb289f5f3532a2a23458b08ac1c3b78b2bb5c50e32b0",
}

# VQA publishes no checksums: these are those that ParlAI records (``parlai/tasks/vqa_v2/build.py``).
VQA2 = (
    Archive(
        "v2_Questions_Train_mscoco.zip",
        7239401,
        "05a64b6e2582d06d7585f5429674a9a33851878be1bff9f8668cdcf792df611e",
        ("v2_OpenEnded_mscoco_train2014_questions.json",),
    ),
    Archive(
        "v2_Questions_Val_mscoco.zip",
        3494929,
        "e71f6c5c3e97a51d050f28243e262b28cd0c48d11a6b4632d769d30d3f93222a",
        ("v2_OpenEnded_mscoco_val2014_questions.json",),
    ),
    Archive(
        "v2_Annotations_Train_mscoco.zip",
        21708861,
        "fb101bcefe91422c543c2bb6d70af11eb3119d0ff745ae283d09acdf66250853",
        ("v2_mscoco_train2014_annotations.json",),
    ),
    Archive(
        "v2_Annotations_Val_mscoco.zip",
        10518930,
        "0caae7c8d1dafd852727f5ac046bc1efca9b72026bd6ffa34fc489f3a7b3291e",
        ("v2_mscoco_val2014_annotations.json",),
    ),
)


def prepare_coco_qa(root: str | os.PathLike[str], server: str = "http://www.cs.toronto.edu") -> None:
    """Download COCO-QA if it is missing, unpack it, and check it.

    An interrupted call continues, see ``prepare_coco``. The zip's CRC values and the numbers of lines are checked. A
    warning names files that differ from the copy of this project's results.

    Args:
        root: the data set's folder.
        server: the base address of the archive's path.

    Raises:
        CaptioningError: see ``prepare_coco``; or a file has another number of lines than COCO-QA's.
    """
    root = Path(root)
    prepare_archives(root, [COCO_QA], server, "COCO-QA")
    others = []
    for name, expected in COCO_QA_SHA256.items():
        path = root / name
        if not path.is_file():
            continue  # the reader says it
        content = path.read_bytes()
        lines, wanted = content.rstrip(b"\n").count(b"\n") + 1, COCO_QA_LINES[Path(name).parts[0]]
        if lines != wanted:
            raise CaptioningError(f"{path}: it has {lines} lines, not COCO-QA's {wanted}. Delete it and run again.")
        if hashlib.sha256(content).hexdigest() != expected:
            others.append(name)
    if others:
        log.warning("%s: %s differ from the copy that docs/questions.md's results are of.", root, ", ".join(others))


def prepare_vqa2(root: str | os.PathLike[str], server: str = "https://s3.amazonaws.com/cvmlp/vqa/mscoco/vqa") -> None:
    """Download VQA version 2's questions and annotations of COCO's train2014 and val2014, and unpack them.

    An interrupted call continues, see ``prepare_coco``; sizes, SHA-256 and CRC values are checked.

    Args:
        root: the data set's folder.
        server: the base address of the archives' paths.

    Raises:
        CaptioningError: see ``prepare_coco``.
    """
    prepare_archives(Path(root), VQA2, server, "VQA")
