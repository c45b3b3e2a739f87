"""Reading of moving scenes, which are drawn once into a folder in COCO's format: each clip an animated PNG."""

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from captioning.core.files import read_json
from captioning.core.progress import progress
from captioning.data.coco import read_coco
from captioning.data.drawings import Drawing
from captioning.data.moving_scenes.describe import describe
from captioning.data.moving_scenes.plan import FRAMES, Actor, MovingScene, plan
from captioning.data.photos import SPLITS, CaptionedPhotos
from captioning.data.scenes.draw import draw_background, draw_thing
from captioning.data.scenes.world import COLOURS

VERSION = 1  # raise with any change of clips or captions: folders of an earlier version are then refused
SMALLER = 2  # the fraction of a scene's width and height that a frame has
MILLISECONDS = 200  # of a frame


def read_moving_scenes(
    root: str | os.PathLike[str] = "data/moving_scenes", count: int = 1560, seed: int = 0
) -> CaptionedPhotos:
    """Read the moving scenes, after drawing them if the folder is empty or missing.

    Nine in twelve clips are for training, one for validation and two for the test. A clip has ``FRAMES`` frames of
    80 × 80 pixels, five captions, and a label for each frame.

    Args:
        root: the folder, whose files are never replaced, neither foreign files nor other clips.
        count: the number of clips, 12 or more.
        seed: the seed; equal seeds give equal frames.

    Returns:
        The clips, with the frames' labels.

    Raises:
        CaptioningError: the folder holds something else or other clips, or can't be written.
    """
    root = Path(root)
    drawing = Drawing("moving scenes", VERSION, count, seed)
    drawing.ensure(root, lambda folder: _draw_all(folder, count, seed))
    photos = read_coco(root, {split: split for split in SPLITS}, holdout={}, name="moving_scenes")
    for split in SPLITS:
        labels = read_json(root / f"labels_{split}.json", "labels of moving scenes")
        photos.splits[split] = [replace(photo, labels=tuple(labels[str(photo.id)])) for photo in photos.splits[split]]
    return photos


def draw_frames(scene: MovingScene, rng: np.random.Generator) -> list[Image.Image]:
    """The frames of a clip, RGB; an object looks the same in all of them but for its colour."""
    picture = Image.fromarray(draw_background(scene.background, rng).clip(0, 255).astype(np.uint8))
    seeds = [int(each) for each in rng.integers(0, 2**31, size=len(scene.actors))]
    looks = [_looks(actor, seed) for actor, seed in zip(scene.actors, seeds, strict=True)]
    frames = []
    for frame in range(FRAMES):
        image = picture.copy()
        for actor, look in reversed(list(zip(scene.actors, looks, strict=True))):  # the first is in front
            place = actor.places[frame]
            if place is not None:
                thing, mask = look[actor.colours[frame]]
                image.paste(thing, place, mask)
        frames.append(image.reduce(SMALLER))
    return frames


def write_clip(frames: Sequence[Image.Image], path: Path) -> None:
    """Write frames as an animated PNG, also those that equal the frame before."""
    blend = [frame % 2 for frame in range(len(frames))]  # Pillow would join equal frames whose ways to blend are equal
    first, *others = frames
    first.save(
        path, "PNG", save_all=True, append_images=others, duration=MILLISECONDS, blend=blend, compress_level=3, loop=0
    )


def _looks(actor: Actor, seed: int) -> dict[str, tuple[Image.Image, Image.Image]]:
    return {
        colour: draw_thing(
            actor.thing, COLOURS[colour], "plain", actor.side, np.random.Generator(np.random.PCG64(seed))
        )
        for colour in set(actor.colours)
    }


def _draw_all(folder: Path, count: int, seed: int) -> None:
    sizes = {"train": count - 3 * (count // 12), "val": count // 12, "test": 2 * (count // 12)}
    found: dict[str, dict[str, Any]] = {split: {"images": [], "annotations": [], "labels": {}} for split in SPLITS}
    for split in SPLITS:
        (folder / split).mkdir(exist_ok=True)
    clips = [(split, number) for split in SPLITS for number in range(sizes[split])]
    for image_id, (split, number) in enumerate(progress(clips, "drawing moving scenes", unit="clips"), start=1):
        rng = np.random.Generator(np.random.PCG64([seed, SPLITS.index(split), number]))
        scene = plan(rng, number)
        first, *others = draw_frames(scene, rng)
        name = f"{image_id:06d}.png"
        write_clip([first, *others], folder / split / name)
        found[split]["images"].append(
            {"id": image_id, "file_name": name, "width": first.width, "height": first.height, "event": scene.event}
        )
        found[split]["annotations"] += [
            {"id": 10 * image_id + place, "image_id": image_id, "caption": caption}
            for place, caption in enumerate(describe(scene, rng))
        ]
        found[split]["labels"][image_id] = scene.labels
    for split in SPLITS:
        dataset = {name: found[split][name] for name in ("images", "annotations")}
        dataset["info"] = {"description": f"captioning's moving scenes, {split}", "version": str(VERSION)}
        (folder / f"captions_{split}.json").write_text(json.dumps(dataset), encoding="utf-8")
        (folder / f"labels_{split}.json").write_text(json.dumps(found[split]["labels"]), encoding="utf-8")
