"""Drawing of scenes with integers and Pillow's own rasteriser, so that a seed gives the same pixels everywhere."""

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from captioning.data.scenes.shapes import Thing
from captioning.data.scenes.world import COLOURS, SIDE, Background, Scene, Texture

Pixels = NDArray[np.int64]
FINE = 3  # the scale at which objects are drawn before their reduction, for smooth edges
DETAILS = {"light": (250, 246, 230), "dark": (52, 46, 50)}

Box = tuple[int, int, int, int]  # x, y, width, height


def draw_scene(scene: Scene, rng: np.random.Generator) -> tuple[Image.Image, list[list[Box]]]:
    """Draw a scene.

    Returns:
        The picture, RGB of SIDE × SIDE pixels, and the objects' boxes, in pixels, group by group.
    """
    picture = Image.fromarray(draw_background(scene.background, rng).clip(0, 255).astype(np.uint8))
    boxes: list[list[Box]] = []
    for group in scene.groups:
        boxes.append([])
        for x, y, side in group.places:
            thing, mask = draw_thing(group.thing, COLOURS[group.colour], group.texture, side, rng)
            shadow = mask.point(lambda alpha: alpha * 2 // 7)
            picture.paste((20, 20, 30), (x + 2, y + 3), shadow)
            picture.paste(thing, (x, y), mask)
            left, top, right, bottom = mask.getbbox() or (0, 0, side, side)
            boxes[-1].append((x + left, y + top, right - left, bottom - top))
    return picture, boxes


def draw_thing(
    thing: Thing, colour: tuple[int, int, int], texture: Texture, side: int, rng: np.random.Generator
) -> tuple[Image.Image, Image.Image]:
    """Draw one object.

    Returns:
        The object's colours (RGB) and its filled outline (L), both ``side`` × ``side`` pixels.
    """
    large = side * FINE
    turn = math.radians(int(rng.integers(-14, 15))) if thing.tilts else 0.0
    mirror = -1 if rng.random() < 0.5 else 1
    radius = large / 2 - 2 * FINE
    cosine, sine = math.cos(turn), math.sin(turn)
    body = Image.fromarray(_texture(colour, texture, large, rng))
    edge = tuple(channel * 2 // 5 for channel in colour)
    image, mask = Image.new("RGB", (large, large), edge), Image.new("L", (large, large))
    pen, mask_pen = ImageDraw.Draw(image), ImageDraw.Draw(mask)
    for part in thing.parts:
        corners = [
            (
                round(large / 2 + radius * (cosine * mirror * x - sine * y)),
                round(large / 2 + radius * (sine * mirror * x + cosine * y)),
            )
            for x, y in part.points
        ]
        mask_pen.polygon(corners, fill=255)
        if part.fill == "body":
            stencil = Image.new("L", (large, large))
            ImageDraw.Draw(stencil).polygon(corners, fill=255)
            image.paste(body, (0, 0), stencil)
            outline = [*corners, corners[0], corners[1]]
            pen.line(outline, fill=edge, width=4, joint="curve")
            mask_pen.line(outline, fill=255, width=4, joint="curve")
        else:
            pen.polygon(corners, fill=DETAILS[part.fill])
    return image.reduce(FINE), mask.reduce(FINE)


def _texture(colour: tuple[int, int, int], texture: Texture, side: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A square of a colour, lighter at the top than at the bottom: ``(side, side, 3)``."""
    x = np.arange(side, dtype=np.int32)
    y = x[:, None]
    if texture == "striped":
        across, down = [(1, 0), (0, 1), (1, 1), (1, -1)][int(rng.integers(4))]
        second = (across * x + down * y + side) // (side // 9) % 2
    elif texture == "dotted":
        period = side // 5
        dx, dy = (x + y // period % 2 * (period // 2)) % period - period // 2, y % period - period // 2
        second = (dx * dx + dy * dy < (period * 3 // 10) ** 2).astype(np.int32)
    else:
        second = np.zeros((side, side), dtype=np.int32)
    pair = np.array([colour, [(channel + 3 * 255) // 4 for channel in colour]])  # (2, 3)
    shade = 280 - 70 * x // side  # in 256ths
    rows = (pair * shade[:, None, None] // 256).clip(0, 255).astype(np.uint8)  # (side, 2, 3)
    shaded: NDArray[np.uint8] = rows[y, second]
    return shaded


def draw_background(background: Background, rng: np.random.Generator) -> Pixels:
    """A background of SIDE × SIDE pixels: ``(SIDE, SIDE, 3)``, possibly slightly outside the range from 0 to 255."""
    y, x = np.mgrid[:SIDE, :SIDE]
    horizon = int(rng.integers(70, 115))
    if background == "wall":
        tint = 195 + rng.integers(0, 55, size=3)
        return _fade(tint, tint - 25, SIDE)
    if background == "night":
        pixels = _fade((14, 16, 48), (58, 52, 98), SIDE)
        specks = rng.integers(0, SIDE, size=(2, 45))
        pixels[specks[0], specks[1]] = 205
        return pixels
    if background == "bricks":
        row = y // 16
        joint = (y % 16 < 2) | ((x + row % 2 * 16) % 32 < 2)
        brick = row * 7 + (x + row % 2 * 16) // 32
        tone = rng.integers(-14, 15, size=128)[brick % 128]
        pixels = np.where(joint[..., None], (205, 198, 188), (178, 104, 84) + tone[..., None])
        return _grain(pixels, 8, rng)
    if background == "wood":
        tone = rng.integers(-16, 17, size=8)[y // 20] + rng.integers(-7, 8, size=(SIDE, 1))
        pixels = np.where((y % 20 < 1)[..., None], (120, 88, 58), (206, 170, 126) + tone[..., None])
        return _grain(pixels, 5, rng)
    if background == "cloth":
        square = int(rng.integers(12, 19))
        tint = rng.integers(175, 225, size=3)
        return np.where(((x // square + y // square) % 2 == 0)[..., None], tint, (248, 246, 240))
    if background == "meadow":
        return _ground(horizon, (112, 178, 236), (208, 232, 250), (104, 172, 72), 26, rng)
    if background == "snow":
        return _ground(horizon, (168, 190, 214), (214, 224, 236), (240, 244, 250), 9, rng)
    pixels = _ground(horizon, (136, 200, 242), (228, 240, 248), (236, 214, 160), 14, rng)  # the beach
    sea = slice(horizon - 22, horizon)
    pixels[sea] = _grain(_fade((40, 130, 178), (92, 184, 206), 22), 10, rng)
    return pixels


def _ground(
    horizon: int,
    top: tuple[int, int, int],
    low: tuple[int, int, int],
    ground: tuple[int, int, int],
    grain: int,
    rng: np.random.Generator,
) -> Pixels:
    """A sky that grows lighter towards the horizon, and grainy ground below the horizon."""
    below = _fade(ground, tuple(channel * 9 // 10 for channel in ground), SIDE - horizon)
    return np.concatenate([_fade(top, low, horizon), _grain(below, grain, rng)])


def _fade(top: object, bottom: object, rows: int) -> Pixels:
    """A fade from a top colour to a bottom colour: ``(rows, SIDE, 3)``."""
    first, last = np.asarray(top, dtype=np.int64), np.asarray(bottom, dtype=np.int64)
    weights = np.arange(rows)[:, None, None]
    return np.repeat(first + (last - first) * weights // max(rows - 1, 1), SIDE, axis=1)


def _grain(pixels: Pixels, strength: int, rng: np.random.Generator) -> Pixels:
    """The pixels with added noise, equal on the three channels."""
    return pixels + rng.integers(-strength, strength + 1, size=pixels.shape[:2])[..., None]
