"""Pictures for a captioner: decoded ahead of it, batch after batch, each error beside its picture."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count, islice

from PIL import Image
from torch import Tensor

from captioning.core.errors import CaptioningError
from captioning.core.images import ImageTransform, to_rgb, usable


@dataclass(frozen=True)
class Encoded:
    """A picture as the bytes of an image file (JPEG, PNG, …), for pictures that lie in an archive or a table.

    Attributes:
        name: the picture's name, for messages.
        content: the bytes of the file.
    """

    name: str
    content: bytes


Picture = str | os.PathLike[str] | Image.Image | Encoded
Unusable = Callable[[int, CaptioningError], None]  # takes the place and the error of an image that can't be read


@dataclass(frozen=True)
class PictureBatch:
    """Some of the given images.

    Attributes:
        images: the encoder's inputs ``(3, height, width)``, by the images' places among those given, from 0.
        problems: the errors of images that can't be read, by their places.
    """

    images: dict[int, Tensor]
    problems: dict[int, CaptioningError]

    def __len__(self) -> int:
        """The number of given images."""
        return len(self.images) + len(self.problems)

    def until_first_problem(self) -> dict[int, Tensor]:
        """The encoder's inputs of the images before the first one that can't be read."""
        end = min(self.problems, default=None)
        return {place: image for place, image in self.images.items() if end is None or place < end}


def read_ahead(pictures: Iterator[Picture], transform: ImageTransform, batch_size: int) -> Iterator[PictureBatch]:
    """Batches of images; while one batch is captioned, a thread decodes and resizes the next.

    Args:
        pictures: paths, PIL images, or files' bytes.
        transform: the encoder's transform.
        batch_size: the number of images per batch.
    """
    places = count()

    def read() -> PictureBatch:
        batch = PictureBatch({}, {})
        for picture in islice(pictures, batch_size):
            place = next(places)
            try:
                batch.images[place] = read_picture(picture, place, transform)
            except CaptioningError as error:
                batch.problems[place] = error
        return batch

    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="pictures") as reader:
        batch = reader.submit(read).result()
        while len(batch):
            following = reader.submit(read)
            yield batch
            batch = following.result()


def read_picture(picture: Picture, place: int, transform: ImageTransform) -> Tensor:
    """The encoder's input ``(3, height, width)`` of an image, which is ``place`` among those given, from 0.

    Raises:
        CaptioningError: the image can't be read.
    """
    if isinstance(picture, Encoded):
        return transform.read(picture.name, picture.content)
    if not isinstance(picture, Image.Image):
        return transform.read(picture)
    name = getattr(picture, "filename", "") or f"picture {place + 1} of those given"
    with usable(name):
        return transform(to_rgb(picture, name))
