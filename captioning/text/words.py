"""The tokenizer of captions in any language: lower-cased words of Unicode, without punctuation.

The rule, in four steps:

1. The caption is normalised to NFC and lower-cased: "ä" of one code point and of two are one letter.
2. Letters, digits, the marks on them, and the two joiners of Persian and Indic scripts are of words. All other
   characters, such as punctuation, symbols and underscores, separate words; of the invisible ones, the soft hyphen and
   the marks of the reading direction are left out.
3. A word is a longest sequence of such characters, from a letter or a digit on.
4. Scripts that are written without blanks between words (Chinese characters, kana, Thai, Lao, Burmese, Khmer) have no
   words to be seen: each of their letters, with the marks on it, is a token of its own.

Apart from these scripts, the words are those of Unicode's default word boundaries (Unicode Standard Annex 29, section
4) with one difference: an apostrophe, a full stop or a comma separates two words, also between letters or digits
("l'eau" has two words, and so has "3,5").
"""

import re
import unicodedata
from collections.abc import Sequence

_SPACELESS = (
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f\uaa60-\uaa7f\ua9e0-\ua9ff"  # Burmese
    "\u1780-\u17ff"  # Khmer
    "\u3005-\u3007\u3031-\u3035\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f"  # kana, and the signs of repetition
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Chinese characters
)
_TOKEN = re.compile(rf"(?=\w)(?:[{_SPACELESS}][^\w ]*|[^{_SPACELESS} ]+)")  # beside \w and blanks, marks are left
_JOINERS = "\u200c\u200d"
_ZERO_WIDTH_SPACE = "\u200b"


class _Translation(dict[int, str]):
    """A table of ``str.translate``: characters of words as they are, others as a blank or as nothing."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        category = unicodedata.category(character)
        if character.isalnum() or category[0] == "M" or character in _JOINERS:
            self[code] = character
        else:
            self[code] = "" if category == "Cf" and character != _ZERO_WIDTH_SPACE else " "
        return self[code]


_translation = _Translation()


def tokenize_words(caption: str) -> list[str]:
    """The words of a caption, see this module's rule; a caption's words joined by blanks have the same tokens."""
    lower = unicodedata.normalize("NFC", caption).lower()
    found: list[str] = _TOKEN.findall(unicodedata.normalize("NFC", lower.translate(_translation)))
    return found


def tokenize_words_each(captions: Sequence[str]) -> list[list[str]]:
    """The ``tokenize_words`` tokens of each caption."""
    return [tokenize_words(caption) for caption in captions]


def are_without_blanks(captions: Sequence[str]) -> bool:
    """True if most letters of some captions are of scripts that are written without blanks between words."""
    letters = [character for caption in captions for character in caption if character.isalpha()]
    return 2 * len(re.findall(f"[{_SPACELESS}]", "".join(letters))) > len(letters)
