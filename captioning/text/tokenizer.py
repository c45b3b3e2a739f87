"""The tokenizer of captions, for scores and training: coco-caption's, without Java.

coco-caption runs Stanford CoreNLP 3.4.1's ``PTBTokenizer -preserveLines -lowerCase`` over a file with one caption per
line, and removes a list of punctuation; all published scores of captioners are based on these tokens. ``tokenize``
gives the same tokens for one caption, except where the original has a fault:

- The original lower-cases the brackets ``-LRB-`` before its search for ``-LRB-``, and so leaves ``-lrb-`` among the
  words; ``tokenize`` removes the four brackets of the list. (Square brackets are not in the list and stay ``-lsb-``.)
- The original takes a carriage return, a vertical tab, a form feed or U+2028 in a caption for the caption's end, which
  shifts every later caption by one; ``tokenize`` treats these characters as blanks.
- In the original, the initial in "… Ave S." keeps its full stop depending on the next caption in the file; ``tokenize``
  assumes that the next caption begins with "A", as most captions do.
- The original drops the letters and digits added to Unicode since 2012 (some 500, all of them rare).

``tokenize_file`` keeps these faults except the last one, for comparison.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import chain

from captioning.text.treebank import LONGEST, NEWLINE, PLAIN_WORD, split

PUNCTUATION = frozenset(
    ["''", "'", "``", "`", "-lrb-", "-rrb-", "-lcb-", "-rcb-", ".", "?", "!", ",", ":", "-", "--", "...", ";"]
)
_BRACKETS = frozenset(["-lrb-", "-rrb-", "-lcb-", "-rcb-"])

_LINE_BREAKS = str.maketrans(dict.fromkeys("\n\r\x0b\x0c\u2028\u2029", " "))
# A word between blanks whose tokens do not depend on the context, if all its neighbours are such words, too.
_INDEPENDENT = re.compile(r"\"?[A-Za-z]+(?:['\-][A-Za-z]+)*(?:(?<=[A-Za-z]{2})\.|[,;:!?])?\"?")
_KNOWN_WORDS = 200_000


def tokenize(caption: str) -> list[str]:
    """The lower-cased Penn Treebank tokens of a caption, coco-caption's punctuation removed.

    Args:
        caption: one caption as written; several lines count as one caption.

    Returns:
        Tokens without whitespace: "1 1/2", one token with a no-break space in the original, becomes two, as
        coco-caption's BLEU and CIDEr count.
    """
    try:
        return list(chain.from_iterable(map(_words.__getitem__, caption.rstrip("\n").split(" "))))
    except KeyError:
        return _tokenize(caption)


def tokenize_each(captions: Sequence[str]) -> list[list[str]]:
    """The ``tokenize`` tokens of each caption: the default in scores, and an alternative to ``tokenize_file``."""
    return [tokenize(caption) for caption in captions]


def tokenize_file(captions: Sequence[str]) -> list[list[str]]:
    """The tokens of coco-caption for captions written to a file, with coco-caption's faults.

    Args:
        captions: the captions in the order of the file.

    Returns:
        As many lists of tokens as captions; after a caption that contains a line separator other than a line feed, each
        list belongs to an earlier line.
    """
    lines: list[list[str]] = [[]]
    for token in _split("\n".join(caption.replace("\n", " ") for caption in captions)):
        if token == NEWLINE:
            lines.append([])
        else:
            lines[-1] += _parts(token, PUNCTUATION - _BRACKETS)
    return lines[: len(captions)]


def _tokenize(caption: str) -> list[str]:
    """The ``tokenize`` tokens of any caption, by the rules alone."""
    tokens: list[str] = []
    for token in _split(caption.translate(_LINE_BREAKS) + "\nA\n"):  # another sentence follows the caption
        if token == NEWLINE:
            break
        tokens += _parts(token, PUNCTUATION)
    return tokens


def _parts(token: str, removed: frozenset[str]) -> list[str]:
    token = token.lower()
    return [] if token in removed else token.split()


def _split(text: str) -> Iterator[str]:
    """The tokens of ``treebank.split`` for the text as Java sees it, in UTF-16, without unpaired surrogates."""
    if text.isascii() or max(text) < "\ud800":
        return split(text)
    halves = re.sub("[^\0-\uffff]", lambda beyond: _surrogates(beyond[0]), text)
    return (token.encode("utf-16", "surrogatepass").decode("utf-16", "ignore") for token in split(halves))


def _surrogates(character: str) -> str:
    code = ord(character) - 0x10000
    return chr(0xD800 + (code >> 10)) + chr(0xDC00 + (code & 0x3FF))


class _Words(dict[str, tuple[str, ...]]):
    """A cache of the tokens of words that do not depend on their caption.

    Captions repeat their words: the cache is what makes the tokenizer fast.
    """

    def __missing__(self, word: str) -> tuple[str, ...]:
        if len(word) > LONGEST:
            raise KeyError(word)
        plain = PLAIN_WORD.fullmatch(word)
        if plain is not None:
            tokens: tuple[str, ...] = (plain[1].lower(),)
        elif word in ("", ".", ",") or _INDEPENDENT.fullmatch(word):
            tokens = tuple(_tokenize(word))
        else:
            raise KeyError(word)
        if len(self) >= _KNOWN_WORDS:
            self.clear()
        self[word] = tokens
        return tokens


_words = _Words()
