"""Words and punctuation from which the text can be put together again, for any language that writes blanks.

A token is a word with its inner hyphens ("T-Shirt"), an apostrophe with the letters behind it ("'s"), a number
("3,5"), or one other character. Where two tokens have no blank between them, the one that is no word bears the mark
``￭`` on the side of the other, as in OpenNMT's tokenizer: ``"A dog's bone, isn't it?"`` becomes ``A dog ￭'s bone ￭,
isn ￭'t it ￭?``. ``join_words`` removes a mark with the blank beside it, so that ``join_words(split_words(text))`` is
``text``, but for further blanks: a score of words needs no other program to undo the tokens.
"""

import re
import unicodedata
from collections.abc import Sequence

MARK = "￭"
_TOKEN = re.compile(r"['’][^\W\d_]+|\d+(?:[.,]\d+)*|[^\W\d_]+(?:-[^\W\d_]+)*|\S")
_WORD = re.compile(r"\w")


def split_words(text: str) -> list[str]:
    """The tokens of a text, see this module's rule; a mark that the text itself has is left out."""
    tokens: list[str] = []
    end = -1  # of the token before
    word = False  # whether the token before is a word
    text = unicodedata.normalize("NFC", text).replace(MARK, "")
    for found in _TOKEN.finditer(text):
        token = found.group()
        is_word = _WORD.match(token) is not None
        if found.start() == end:
            if word and is_word:  # 3rd: a number, and letters
                token = MARK + token
            elif is_word:
                tokens[-1] += MARK
            else:
                token = MARK + token
        tokens.append(token)
        end, word = found.end(), is_word
    return tokens


def join_words(tokens: Sequence[str]) -> str:
    """The text of tokens: a blank between two of them, and none beside a mark."""
    return re.sub(f" ?{MARK} ?", "", " ".join(tokens)).strip()
