"""Random changes of training photographs: within bounds, in training alone, the same after an interruption."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from captioning.core.errors import CaptioningError
from captioning.core.images import ImageTransform
from captioning.data.augmentation import Augmentation
from captioning.data.captions import build_vocabulary
from captioning.data.module import CaptionData
from captioning.encoders.resnet import ResNet
from captioning.encoders.several import Several
from captioning.jobs.config import compose
from captioning.runs import parts
from captioning.tasks import photographs

Overrides = Callable[..., list[str]]
PLAIN = {"smallest": 1, "stretch": 1, "mirror": 0, "brightness": 0, "contrast": 0, "saturation": 0}
TRANSFORM = ImageTransform((24, 32))


def photograph(width: int = 64, height: int = 48) -> Image.Image:
    """Red grows to the right, green downwards, so that a pixel's colour tells its place."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0] = np.linspace(0, 255, width)[None, :]
    pixels[..., 1] = np.linspace(0, 255, height)[:, None]
    pixels[..., 2] = 100
    return Image.fromarray(pixels)


def test_without_changes_it_is_the_transform() -> None:
    plain = Augmentation(**PLAIN)
    for seed in range(5):
        assert torch.equal(plain(photograph(), ["left"], TRANSFORM, (seed,)), TRANSFORM(photograph()))


def test_a_mirror_image_is_one_and_comes_as_often_as_is_set() -> None:
    always, never, half = (Augmentation(**{**PLAIN, "mirror": share}) for share in (1, 0, 0.25))
    mirrored = TRANSFORM(photograph()).flip(2)
    assert torch.equal(always(photograph(), [], TRANSFORM, (0,)), mirrored)
    assert torch.equal(never(photograph(), [], TRANSFORM, (0,)), TRANSFORM(photograph()))
    found = [torch.equal(half(photograph(), [], TRANSFORM, (1, seed)), mirrored) for seed in range(400)]
    assert 0.18 < sum(found) / 400 < 0.32


@pytest.mark.parametrize(
    ("caption", "mirrored"),
    [
        ("A dog on the left .", False),
        ("Left: a dog", False),
        ("his right-hand glove", False),
        ("a bright leftover", True),
        ("a dog", True),
    ],
)
def test_no_caption_that_names_a_side_becomes_false(caption: str, mirrored: bool) -> None:
    change = Augmentation(**{**PLAIN, "mirror": 1})
    picture = change(photograph(), ["a dog runs", caption], TRANSFORM, (0,))
    assert torch.equal(picture, TRANSFORM(photograph()).flip(2) if mirrored else TRANSFORM(photograph()))
    other = Augmentation(**{**PLAIN, "mirror": 1}, sides=["dog"])
    assert other.names_a_side([caption]) == ("dog" in caption)


def test_a_part_has_its_area_its_shape_and_any_place() -> None:
    change, random, size = Augmentation(smallest=0.4, stretch=1.5), np.random.default_rng(0), (640, 480)
    parts = np.array([change.part(size, random) for _ in range(3000)])
    width, height = parts[:, 2] - parts[:, 0], parts[:, 3] - parts[:, 1]
    assert parts.min() >= 0 and (parts[:, 2] <= 640).all() and (parts[:, 3] <= 480).all()
    area, stretch = width * height / (640 * 480), (width / height) / (640 / 480)
    assert 0.36 < area.min() < 0.42 and area.max() > 0.9
    assert 0.65 < stretch.min() < 0.7 and 1.45 < stretch.max() < 1.52
    assert np.median(stretch) == pytest.approx(1, abs=0.03)
    place = parts[:, 0] / np.maximum(640 - width, 1)
    assert np.quantile(place[width < 600], [0.05, 0.5, 0.95]) == pytest.approx([0.05, 0.5, 0.95], abs=0.04)
    whole = Augmentation(smallest=1, stretch=1).part(size, random)
    assert whole == (0, 0, 640, 480)
    assert Augmentation(smallest=0.01).part((1, 1), random) == (0, 0, 1, 1)


def test_the_part_is_what_the_encoder_sees() -> None:
    change = Augmentation(**{**PLAIN, "smallest": 0.5})
    random = np.random.default_rng([3, 1])  # the seed's, and the stream
    seen = photograph().crop(change.part((64, 48), random))
    assert torch.equal(change(photograph(), [], TRANSFORM, (3,)), TRANSFORM(seen))


@pytest.mark.parametrize("what", ["brightness", "contrast", "saturation"])
def test_colours_change_within_their_bounds_and_hues_stay(what: str) -> None:
    grey = Image.new("RGB", (8, 8), (80, 120, 100))
    grey.paste((160, 140, 120), (0, 0, 4, 8))
    change, plain = Augmentation(**{**PLAIN, what: 0.3}), ImageTransform((8, 8))(grey).float()
    pictures = [change(grey, [], ImageTransform((8, 8)), (seed,)).float() for seed in range(60)]
    means = torch.tensor([picture.mean() for picture in pictures]) / plain.mean()
    spreads = torch.stack([picture.mean((1, 2)).std() for picture in pictures]) / plain.mean((1, 2)).std()
    if what == "brightness":
        assert 0.68 < means.min() < 0.75 and 1.25 < means.max() < 1.32
    else:
        assert (means - 1).abs().max() < 0.05
        assert (spreads.min() < 0.8 and spreads.max() > 1.2) or what == "contrast"
    assert all(picture[1, 0, 7] >= picture[2, 0, 7] >= picture[0, 0, 7] for picture in pictures)
    assert len({tuple(picture[:, 0, 0].tolist()) for picture in pictures}) > 20


def test_the_seed_alone_decides() -> None:
    change = Augmentation()
    one, again, other = (change(photograph(), [], TRANSFORM, seed) for seed in ((1, 2, 3), (1, 2, 3), (1, 2, 4)))
    assert torch.equal(one, again) and not torch.equal(one, other)
    assert one.shape == (3, 24, 32) and one.dtype == torch.uint8


def test_encoders_beside_each_other_see_the_same_part() -> None:
    both = Several({"a": ResNet("resnet18", None, 32), "b": ResNet("resnet18", None, 64)}).transform
    pixels = Augmentation(brightness=0, contrast=0, saturation=0)(photograph(), [], both, (5,))
    small, large = pixels.split([32 * 32, 64 * 64], dim=2)
    shrunk = torch.nn.functional.interpolate(large.reshape(1, 3, 64, 64).float(), 32, mode="area")
    assert (shrunk[0] - small.reshape(3, 32, 32)).abs().max() < 12


def test_wrong_strengths_are_a_sentence() -> None:
    for name, value in {"smallest": 0, "stretch": 0.5, "mirror": 2, "contrast": -1}.items():
        with pytest.raises(CaptioningError, match=rf"augmentation\.{name}={value}: take a number from"):
            Augmentation(**{name: value})


# --- in training ----------------------------------------------------------------------------------------------------

TUNED = ("encoder.finetune_from=layer1", "augmentation=standard")


@pytest.fixture
def data(tiny: Overrides) -> Callable[..., CaptionData]:
    def make(*overrides: str) -> CaptionData:
        config = compose(tiny("data.batch_size=4", *overrides))
        photos = photographs.read_photos(config)
        encoder = parts.make_encoder(config)
        vocabulary = build_vocabulary(photos["train"], 1)
        return photographs.make_data(config, photos, vocabulary, encoder, ("pooled",), torch.device("cpu"))

    return make


def pictures(made: CaptionData, split: str, epoch: int = 0, done: int = 0) -> dict[int, torch.Tensor]:
    """The pictures of an epoch by photograph; in training from an interruption on."""
    made.resumed = (epoch, done)
    found = {}
    for batch in made.loader(split, shuffle=split == "train"):
        assert batch.images is not None and batch.features is None
        found |= dict(zip(batch.photos.tolist(), batch.images, strict=True))
    return found


def same(one: dict[int, torch.Tensor], other: dict[int, torch.Tensor]) -> list[bool]:
    return [torch.equal(one[photo], other[photo]) for photo in one.keys() & other.keys()]


def test_training_photographs_change_in_each_epoch_and_others_never(data) -> None:
    augmented, plain = data(*TUNED), data(TUNED[0])
    first, second = (pictures(augmented, "train", epoch) for epoch in (0, 1))
    assert first.keys() == second.keys() == set(range(10))
    assert not any(same(first, second)) and not any(same(first, pictures(plain, "train")))
    for split in ("val", "test"):
        assert all(same(pictures(augmented, split), pictures(plain, split)))


def test_neither_workers_nor_an_interruption_nor_the_batch_change_the_pictures(data) -> None:
    whole = pictures(data(*TUNED), "train", 3)
    later = pictures(data(*TUNED), "train", 3, done=1)
    assert len(later) == 6 and all(same(whole, later))
    assert all(same(whole, pictures(data(*TUNED, "data.workers=1"), "train", 3)))
    assert all(same(whole, pictures(data(*TUNED, "data.batch_size=3"), "train", 3)))
    assert not any(same(whole, pictures(data(*TUNED, "seed=2"), "train", 3)))


def test_stored_features_can_not_change(data) -> None:
    with pytest.raises(CaptioningError, match=r"augmentation changes .*\(encoder\.finetune_from=STAGE\)"):
        data("augmentation=standard")


def test_the_part_of_a_file_is_read_as_ever(tmp_path: Path) -> None:
    """Its orientation and colours too: the change begins with the same picture as the transform."""
    Image.new("RGBA", (30, 20), (0, 0, 255, 0)).save(tmp_path / "a.png")
    photo = photographs.Photo(0, tmp_path / "a.png", ("a dog",))
    change = Augmentation(**PLAIN)
    assert torch.equal(photographs._change_photo(TRANSFORM, change, photo, (0,)), TRANSFORM.read(tmp_path / "a.png"))
