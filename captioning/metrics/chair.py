"""CHAIR: the share of objects that captions name and that are not in the photograph.

Rohrbach et al., "Object Hallucination in Image Captioning" (EMNLP 2018). An object is in an image if an annotated
instance of its category is there, or a reference names it, as in the authors' program. An object is named by its
category's name, by one of its synonyms, or by their plural; of two names that overlap, the longer one counts
("hot dog" is no dog).

The synonyms are arguments: ``SYNONYMS`` has some for COCO's 80 categories, but not all of the authors' list, so that
numbers compare with each other and not with published ones; give the authors' list for those.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from captioning.core.errors import CaptioningError
from captioning.text.tokenizer import tokenize_each

SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "person": ("man", "men", "woman", "women", "boy", "girl", "child", "children", "people", "guy", "lady", "player"),
    "bicycle": ("bike",),
    "car": ("automobile", "suv", "taxi"),
    "motorcycle": ("motorbike", "motor bike", "scooter"),
    "airplane": ("plane", "jet", "aircraft"),
    "traffic light": ("stop light", "stoplight"),
    "dog": ("puppy",),
    "cat": ("kitten", "kitty"),
    "horse": ("pony",),
    "cow": ("cattle", "calf", "bull"),
    "sheep": ("lamb",),
    "handbag": ("purse",),
    "suitcase": ("luggage",),
    "skateboard": ("skate board",),
    "surfboard": ("surf board",),
    "couch": ("sofa",),
    "dining table": ("table", "desk"),
    "tv": ("television", "t.v."),
    "cell phone": ("phone", "cellphone", "mobile phone"),
    "donut": ("doughnut",),
    "refrigerator": ("fridge",),
    "teddy bear": ("teddy", "stuffed bear"),
    "hair drier": ("hair dryer", "hairdryer"),
}
_PLURALS = {"man": "men", "woman": "women", "child": "children", "mouse": "mice", "knife": "knives", "calf": "calves"}


@dataclass(frozen=True)
class Chair:
    """The shares of hallucinated objects, 0 to 1; lower is better.

    Attributes:
        instances: CHAIRi, hallucinated objects over all objects that captions name.
        sentences: CHAIRs, captions with a hallucinated object over all captions.
        hallucinated: the hallucinated categories of each caption.
    """

    instances: float
    sentences: float
    hallucinated: list[list[str]]


class Objects:
    """Finds the categories that captions name."""

    def __init__(self, categories: Collection[str], synonyms: Mapping[str, Sequence[str]] = SYNONYMS) -> None:
        """Take the categories' names, and other names of each.

        Raises:
            CaptioningError: there is no category.
        """
        if not categories:
            raise CaptioningError("There are no categories of objects to look for. Give some, such as COCO's 80.")
        self._category: dict[tuple[str, ...], str] = {}
        for category in categories:
            for name in (category, *synonyms.get(category, ())):
                words = tuple(name.lower().split())
                self._category.setdefault(words, category)
                for plural in _plurals(words[-1]):
                    self._category.setdefault((*words[:-1], plural), category)
        self._longest = max(map(len, self._category))

    def of(self, caption: str) -> list[str]:
        """The categories that a caption names, in the caption's order, each as often as it is named."""
        (tokens,) = tokenize_each([caption])
        found, place = [], 0
        while place < len(tokens):
            for length in range(min(self._longest, len(tokens) - place), 0, -1):
                category = self._category.get(tuple(tokens[place : place + length]))
                if category is not None:
                    found.append(category)
                    place += length
                    break
            else:
                place += 1
        return found


def chair(
    captions: Sequence[str],
    objects: Sequence[Collection[str]],
    references: Sequence[Sequence[str]] | None = None,
    *,
    categories: Collection[str],
    synonyms: Mapping[str, Sequence[str]] = SYNONYMS,
) -> Chair:
    """Compute CHAIR.

    Args:
        captions: one caption of each of N images.
        objects: the categories that are in each image, such as those of ``objects_of`` or of a drawn scene's boxes.
        references: the references of each image, whose objects are there, too; by default none.
        categories: the names of all categories.
        synonyms: other names of each category.

    Raises:
        CaptioningError: the numbers of images differ, there is no image, or there is no category.
    """
    if not captions or len(objects) != len(captions) or (references is not None and len(references) != len(captions)):
        raise CaptioningError(
            f"CHAIR needs the objects of each captioned image: there are {len(captions)} captions and the objects of "
            f"{len(objects)} images" + ("." if references is None else f", and references of {len(references)}.")
        )
    finder = Objects(categories, synonyms)
    named = [finder.of(caption) for caption in captions]
    wrong = []
    for place, said in enumerate(named):
        there = set(objects[place])
        for reference in references[place] if references is not None else ():
            there.update(finder.of(reference))
        wrong.append([category for category in said if category not in there])
    return Chair(
        instances=sum(map(len, wrong)) / max(sum(map(len, named)), 1),
        sentences=sum(map(bool, wrong)) / len(captions),
        hallucinated=wrong,
    )


def objects_of(instances: Mapping[str, Sequence[Mapping[str, object]]]) -> dict[object, set[str]]:
    """The categories in each image, of COCO's ``instances_val2017.json`` as read: ``categories`` and ``annotations``.

    Raises:
        CaptioningError: the content has another form.
    """
    try:
        names = {category["id"]: str(category["name"]) for category in instances["categories"]}
        found: dict[object, set[str]] = {image["id"]: set() for image in instances.get("images", ())}
        for annotation in instances["annotations"]:
            found.setdefault(annotation["image_id"], set()).add(names[annotation["category_id"]])
    except (KeyError, TypeError) as error:
        raise CaptioningError(
            f"These are no instances in COCO's format ({error!r}): categories, and annotations with an image_id and a "
            "category_id. Give a file such as instances_val2017.json."
        ) from error
    return found


def _plurals(word: str) -> list[str]:
    if word in _PLURALS:
        return [_PLURALS[word]]
    if word.endswith(("s", "x", "ch", "sh")):
        return [f"{word}es"]
    return [f"{word[:-1]}ies"] if word.endswith("y") and word[-2:-1] not in tuple("aeiou") else [f"{word}s"]
