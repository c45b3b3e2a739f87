"""Features of a text that a unit of a recurrent network may follow: one value for each position.

The value of a position belongs to the state after the position's character or word. Rules on characters alone find the
features: they serve as references for units, not as linguistics.
"""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Feature = NDArray[np.float32]

_OPENING, _CLOSING = "([{", ")]}"
# The nouns of captions in Flickr8k, COCO and the scenes, the most frequent first. A tagger would know more nouns, but
# needs an installation; generated captions use mainly frequent nouns. A noun missing here counts as no noun.
_NOUNS = """
    man dog woman boy girl people child person men children group ball water grass shirt dogs player snow field beach
    street front air background bike boys kids hat team women ocean couple wall football bench jacket rock crowd hill
    mountain building girls park picture table cat train bus kitchen room plate bathroom horse car bed clock giraffe
    elephant toilet tennis baseball skateboard phone umbrella pizza food sign truck sheep laptop motorcycle bear zebra
    cow bird kite surfboard board wave skier snowboarder cyclist sand sidewalk road pool tree trees river slide swing
    rope bicycle camera face hand hands head hair mouth stick toy frisbee court soccer basketball uniform helmet
    sunglasses dress coat pants jeans shorts swimsuit lady baby adult guy family friends puppy animal path dirt rocks
    fence yard lake city stairs boat house window door chair cup box circle square triangle star ring cross diamond
    flower sun moon cloud sky ground floor lawn
"""
NOUNS = frozenset(_NOUNS.split())


def text_features(text: str) -> dict[str, Feature]:
    """The features of a text of prose, verse or code, by name; features that are constant in the text are left out.

    ``inside quotes``: between double quotation marks, straight or curled; a blank line ends an open quotation.
    ``position in line``: the number of the line's characters so far. ``position in word``: likewise for the word.
    ``indentation``: the number of the line's leading blanks so far.
    ``inside brackets``: the number of open ``([{``; a blank line closes all of them.
    ``inside a comment``: from ``#`` or ``//`` to the line's end, at a line's beginning or after a blank; or
    ``/* … */``.
    ``word boundary``: the character belongs to no word.
    ``heading``: in a line that ends in a colon, such as a speaker's name (which only the line's end can prove).

    Args:
        text: M characters.

    Returns:
        ``(M,)`` each.
    """
    word = np.array([character.isalnum() or character in "'’" for character in text], dtype=bool)
    return varying(
        {
            "inside quotes": _inside_quotes(text),
            "position in line": _count(np.array([character != "\n" for character in text], dtype=bool)),
            "position in word": _count(word),
            "indentation": _indentation(text),
            "inside brackets": _brackets(text),
            "inside a comment": _spans(text, r"(?:(?<=\s)|^)(?:#|//)[^\n]*|/\*[\s\S]*?(?:\*/|\Z)"),
            "word boundary": (~word).astype(np.float32),
            "heading": _spans(text, r"^[^\n]*:(?=\n|\Z)"),
        }
    )


def caption_features(captions: Sequence[Sequence[str]]) -> dict[str, Feature]:
    """The features of consecutive captions, by name; constant features are left out.

    ``words so far``: the number of words so far. ``after a noun``: 1 from the first of ``NOUNS`` on. ``noun``: 1 if the
    last word is a noun. ``about to end``: 1 if only ``<end>`` follows.

    Args:
        captions: the words of each caption, with ``<start>`` before them.

    Returns:
        ``(M,)`` each, a position for each word and ``<start>``.
    """
    nouns = [np.array([word in NOUNS for word in words], dtype=np.float32) for words in captions]
    return varying(
        {
            "words so far": _join([np.arange(len(words)) for words in captions]),
            "noun": _join(nouns),
            "after a noun": _join([np.maximum.accumulate(noun) for noun in nouns]),
            "about to end": _join([np.arange(len(words)) == len(words) - 1 for words in captions]),
        }
    )


def varying(features: dict[str, Feature]) -> dict[str, Feature]:
    """The features that are not constant."""
    return {name: feature for name, feature in features.items() if len(feature) and np.ptp(feature) > 0}


def _join(parts: "Sequence[NDArray[np.generic]]") -> Feature:
    return np.concatenate([part.astype(np.float32) for part in parts])


def _count(inside: NDArray[np.bool_]) -> Feature:
    """The number of consecutive positions inside, up to and including each position; 0 outside."""
    places = np.arange(1, len(inside) + 1)
    return (places - np.maximum.accumulate(np.where(inside, 0, places))).astype(np.float32)


def _spans(text: str, pattern: str) -> Feature:
    """The mask of a pattern's matches: 1 inside, 0 outside."""
    inside = np.zeros(len(text), dtype=np.float32)
    for match in re.finditer(pattern, text, re.MULTILINE):
        inside[match.start() : match.end()] = 1
    return inside


def _is_blank_line(text: str, place: int) -> bool:
    return place > 0 and text[place] == text[place - 1] == "\n"


def _inside_quotes(text: str) -> Feature:
    """The mask of quotations: 1 from an opening quotation mark (included) to the closing one (excluded)."""
    inside, values = False, np.zeros(len(text), dtype=np.float32)
    for place, character in enumerate(text):
        if character in '"“”':
            inside = character == "“" or (character == '"' and not inside)
        elif _is_blank_line(text, place):
            inside = False
        values[place] = inside
    return values


def _brackets(text: str) -> Feature:
    depth, values = 0, np.zeros(len(text), dtype=np.float32)
    for place, character in enumerate(text):
        if character in _OPENING:
            depth += 1
        elif character in _CLOSING:
            depth = max(0, depth - 1)
        elif _is_blank_line(text, place):
            depth = 0
        values[place] = depth
    return values


def _indentation(text: str) -> Feature:
    blanks, leading, values = 0, True, np.zeros(len(text), dtype=np.float32)
    for place, character in enumerate(text):
        if character == "\n":
            blanks, leading = 0, True
        elif leading and character in " \t":
            blanks += 1
        else:
            leading = False
        values[place] = blanks
    return values
