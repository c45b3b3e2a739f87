"""Five differently worded and true captions of a scene, from a small grammar."""

import numpy as np

from captioning.data.scenes.world import Background, Group, Relation, Scene, pick

PLACES: dict[Background, tuple[str, ...]] = {
    "wall": ("in front of a plain wall", "on a plain background", "against a plain wall"),
    "meadow": ("on the grass", "in a green meadow", "in a meadow under a blue sky"),
    "beach": ("on the beach", "on a sandy beach", "on the sand by the sea"),
    "night": ("at night", "in the dark", "against the night sky"),
    "snow": ("in the snow", "on a snowy field", "on white snow"),
    "bricks": ("in front of a brick wall", "against a wall of bricks", "by a brick wall"),
    "wood": ("on a wooden table", "on wooden boards", "on a table made of wood"),
    "cloth": ("on a checkered cloth", "on a checkered tablecloth", "on a cloth with squares"),
}
COUNTS: dict[int, tuple[str, ...]] = {2: ("two", "two", "a pair of"), 3: ("three",), 4: ("four",)}
SIZE_WORDS = {"small": ("small", "little"), "big": ("big", "large")}
TEXTURE_WORDS = {"striped": ("striped",), "dotted": ("dotted", "spotted")}
WITH_TEXTURE = {"striped": ("with stripes",), "dotted": ("with dots", "with spots")}
INVERSE: dict[Relation, Relation] = {"left": "right", "right": "left", "above": "below", "below": "above"}
PREPOSITIONS: dict[Relation, tuple[str, ...]] = {
    "left": ("left of", "to the left of", "on the left of"),
    "right": ("right of", "to the right of", "on the right of"),
    "above": ("above", "over"),
    "below": ("below", "under", "underneath"),
}
SIDES: dict[Relation, str] = {
    "left": "on the left",
    "right": "on the right",
    "above": "at the top",
    "below": "at the bottom",
}

ALONE = (
    "{a} {place}",
    "there {is_a} {a} {place}",
    "{place} there {is_a} {a}",
    "a picture of {a} {place}",
    "{a} can be seen {place}",
    "a drawing that shows {a}",
    "we see {a} {place}",
    "{a} and nothing else {place}",
)
TOGETHER = (
    "{a} {rel} {b}",
    "{b} {inverse} {a} {place}",
    "there {is_a} {a} {rel} {b}",
    "{a} {is_a} {rel} {b} {place}",
    "{rel} {b} there {is_a} {a}",
    "{a} {side} and {b} {other_side}",
    "{place} there {is_b} {b} {inverse} {a}",
    "a picture of {a} and {b} {place}",
    "{b} and {a} {place}",
    "{b} can be seen {inverse} {a}",
)


def describe(scene: Scene, rng: np.random.Generator, count: int = 5) -> list[str]:
    """Captions of a scene, each from another pattern; every caption names all groups of objects."""
    patterns = TOGETHER if scene.relation else ALONE
    order = rng.permutation(len(patterns))[:count]
    return [_sentence(patterns[number], scene, rng) for number in order]


def _sentence(pattern: str, scene: Scene, rng: np.random.Generator) -> str:
    fields = {"place": pick(rng, PLACES[scene.background])}
    for letter, group in zip("ab", scene.groups, strict=False):
        fields[letter] = phrase = _noun_phrase(group, rng)
        fields[f"is_{letter}"] = "is" if phrase.startswith("a") else "are"  # "a pair of" is singular
    if scene.relation:
        inverse = INVERSE[scene.relation]
        fields["rel"], fields["inverse"] = pick(rng, PREPOSITIONS[scene.relation]), pick(rng, PREPOSITIONS[inverse])
        fields["side"], fields["other_side"] = SIDES[scene.relation], SIDES[inverse]
    sentence = pattern.format(**fields)
    return sentence[0].upper() + sentence[1:] + "."


def _noun_phrase(group: Group, rng: np.random.Generator) -> str:
    """A noun phrase for a group: count, colour and name always; size and texture in most cases, as people do."""
    names = group.thing.singular if group.count == 1 else group.thing.plural
    words = [group.colour]
    tail = ""
    if group.texture != "plain" and rng.random() < 0.75:
        if rng.random() < 0.35:
            tail = " " + pick(rng, WITH_TEXTURE[group.texture])
        else:
            words.insert(int(rng.integers(2)), pick(rng, TEXTURE_WORDS[group.texture]))
    if rng.random() < 0.6:
        words.insert(0, pick(rng, SIZE_WORDS[group.size]))
    words.append(names[0] if rng.random() < 0.7 else pick(rng, names))
    singular = "an" if words[0][0] in "aeiou" else "a"
    article = singular if group.count == 1 else pick(rng, COUNTS[group.count])
    return f"{article} {' '.join(words)}{tail}"
