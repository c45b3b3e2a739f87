"""Reading of scenes, which are drawn once into a folder in COCO's format."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from captioning.core.files import read_json
from captioning.core.progress import progress
from captioning.data.coco import read_coco
from captioning.data.drawings import Drawing
from captioning.data.photos import SPLITS, Box, CaptionedPhotos
from captioning.data.scenes.describe import describe
from captioning.data.scenes.draw import draw_scene
from captioning.data.scenes.shapes import THINGS
from captioning.data.scenes.world import HELD_OUT, SIDE, plan_scene

VERSION = 2  # raise with any change of pictures or captions: folders of an earlier version are then refused


def read_scenes(root: str | os.PathLike[str] = "data/scenes", count: int = 2400, seed: int = 0) -> CaptionedPhotos:
    """Read the scenes, after drawing them if the folder is empty or missing.

    Five in six scenes are for training, the others for validation and test. Eight combinations of a colour and a
    thing, one for each thing and each colour, are in half of the test scenes and nowhere else (``HELD_OUT``).

    The folder is in COCO's format: ``captions_<split>.json`` and ``instances_<split>.json`` beside the pictures'
    folders ``train``, ``val`` and ``test``. A category of the instances has one more key than COCO's: ``words``, all
    words that name the category in captions.

    Args:
        root: the folder, whose files are never replaced, neither foreign files nor other scenes.
        count: the number of pictures, 12 or more.
        seed: the seed; equal seeds give equal bytes.

    Returns:
        The scenes with the boxes of all objects, in pixels.

    Raises:
        CaptioningError: the folder holds something else or other scenes, or can't be written.
    """
    root = Path(root)
    Drawing("scenes", VERSION, count, seed).ensure(root, lambda folder: _draw_all(folder, count, seed))
    photos = read_coco(root, {split: split for split in SPLITS}, holdout={}, name="scenes")
    for split in SPLITS:
        boxes = _read_boxes(root / f"instances_{split}.json")
        photos.splits[split] = [replace(photo, boxes=boxes[photo.id]) for photo in photos.splits[split]]
    return photos


def _draw_all(folder: Path, count: int, seed: int) -> None:
    sizes = {"train": count - 2 * (count // 12), "val": count // 12, "test": count // 12}
    images: dict[str, list[dict[str, Any]]] = {split: [] for split in SPLITS}
    captions: dict[str, list[dict[str, Any]]] = {split: [] for split in SPLITS}
    instances: dict[str, list[dict[str, Any]]] = {split: [] for split in SPLITS}
    for split in SPLITS:
        (folder / split).mkdir(exist_ok=True)
    scenes = [(split, number) for split in SPLITS for number in range(sizes[split])]
    for image_id, (split, number) in enumerate(progress(scenes, "drawing scenes", unit="scenes"), start=1):
        rng = np.random.Generator(np.random.PCG64([seed, SPLITS.index(split), number]))
        scene = plan_scene(rng, number, test=split == "test")
        picture, boxes = draw_scene(scene, rng)
        file_name = f"{image_id:06d}.png"
        picture.save(folder / split / file_name, compress_level=3)
        images[split].append({"id": image_id, "file_name": file_name, "width": SIDE, "height": SIDE})
        captions[split] += [
            {"id": 10 * image_id + place, "image_id": image_id, "caption": caption}
            for place, caption in enumerate(describe(scene, rng))
        ]
        things = [
            (1 + THINGS.index(group.thing), box)
            for group, of_group in zip(scene.groups, boxes, strict=True)
            for box in of_group
        ]
        instances[split] += [
            {
                "id": 10 * image_id + place,
                "image_id": image_id,
                "category_id": category,
                "bbox": box,
                "area": box[2] * box[3],
                "iscrowd": 0,
            }
            for place, (category, box) in enumerate(things)
        ]
    categories = [
        {"id": number, "name": thing.name, "supercategory": "thing", "words": thing.words}
        for number, thing in enumerate(THINGS, start=1)
    ]
    held_out = [f"{colour} {thing.name}" for colour, thing in HELD_OUT]
    for split in SPLITS:
        info = {"description": f"captioning's scenes, {split}", "version": str(VERSION), "in_test_alone": held_out}
        dataset = {"info": info, "images": images[split]}
        _write(folder / f"captions_{split}.json", dataset | {"annotations": captions[split]})
        _write(
            folder / f"instances_{split}.json", dataset | {"annotations": instances[split], "categories": categories}
        )


def _write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


def _read_boxes(path: Path) -> dict[int | str, tuple[Box, ...]]:
    dataset = read_json(path, "COCO instances file")
    words = {category["id"]: tuple(category["words"]) for category in dataset["categories"]}
    boxes: dict[int | str, list[Box]] = {image["id"]: [] for image in dataset["images"]}
    for entry in dataset["annotations"]:
        boxes[entry["image_id"]].append(Box(words[entry["category_id"]], *entry["bbox"]))
    return {image_id: tuple(found) for image_id, found in boxes.items()}
