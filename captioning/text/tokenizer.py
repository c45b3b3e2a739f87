"""The tokens that captions are scored and learnt by: coco-caption's, without Java.

coco-caption runs Stanford CoreNLP 3.4.1's ``PTBTokenizer -preserveLines -lowerCase`` over a file of captions, one a
line, and removes a list of punctuation; every published score of a captioner rests on these tokens. ``tokenize`` gives
the same for one caption, and is right where the original is not:

- the original lower-cases the brackets ``-LRB-`` before it looks for ``-LRB-``, and so leaves ``-lrb-`` among the
  words; here the four brackets of its list are removed. (Square brackets are not in the list and stay ``-lsb-``.)
- it takes a carriage return, a vertical tab, a form feed or U+2028 in a caption for the caption's end, which shifts
  every later caption by one; here they are blanks;
- whether the initial in "… Ave S." keeps its full stop depends on the next caption in the file; here it is as if that
  began with "A", as most do;
- it drops the letters and digits that Unicode has gained since 2012 (some 500, all of them rare).

``tokenize_file`` keeps these faults but for the last, for comparison.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import chain

from captioning.text.treebank import NEWLINE, PLAIN_WORD, split

PUNCTUATION = frozenset(
    ["''", "'", "``", "`", "-lrb-", "-rrb-", "-lcb-", "-rcb-", ".", "?", "!", ",", ":", "-", "--", "...", ";"]
)
_BRACKETS = frozenset(["-lrb-", "-rrb-", "-lcb-", "-rcb-"])

_LINE_BREAKS = str.maketrans(dict.fromkeys("\n\r\x0b\x0c\u2028\u2029", " "))
# A word between blanks whose tokens depend on nothing around it, if all its neighbours are such words too.
_INDEPENDENT = re.compile(r"\"?[A-Za-z]+(?:['\-][A-Za-z]+)*(?:(?<=[A-Za-z]{2})\.|[,;:!?])?\"?")
_KNOWN_WORDS = 200_000


def tokenize(caption: str) -> list[str]:
    """The lower-cased Penn Treebank tokens of a caption, coco-caption's punctuation removed.

    Args:
        caption: one caption as written; several lines count as one.

    Returns:
        Tokens without whitespace in them: "1 1/2", one token of the original with a no-break space inside, is two,
        as coco-caption's BLEU and CIDEr count it.
    """
    try:
        return list(chain.from_iterable(map(_words.__getitem__, caption.rstrip("\n").split(" "))))
    except KeyError:
        return _tokenize(caption)


def tokenize_each(captions: Sequence[str]) -> list[list[str]]:
    """``tokenize`` of each caption: what the scores use, and where ``tokenize_file`` can stand instead."""
    return [tokenize(caption) for caption in captions]


def tokenize_file(captions: Sequence[str]) -> list[list[str]]:
    """What coco-caption makes of captions written to a file, its faults included.

    Args:
        captions: in the order of the file.

    Returns:
        As many lists of tokens as captions; after a caption with a line separator other than a line feed in it, each is
        that of an earlier line.
    """
    lines: list[list[str]] = [[]]
    for token in _split("\n".join(caption.replace("\n", " ") for caption in captions)):
        if token == NEWLINE:
            lines.append([])
        else:
            lines[-1] += _parts(token, PUNCTUATION - _BRACKETS)
    return lines[: len(captions)]


def _tokenize(caption: str) -> list[str]:
    """``tokenize`` by the rules alone, whatever is in the caption."""
    tokens: list[str] = []
    for token in _split(caption.translate(_LINE_BREAKS) + "\nA\n"):  # a sentence ends here, and another one follows
        if token == NEWLINE:
            break
        tokens += _parts(token, PUNCTUATION)
    return tokens


def _parts(token: str, removed: frozenset[str]) -> list[str]:
    token = token.lower()
    return [] if token in removed else token.split()


def _split(text: str) -> Iterator[str]:
    """``treebank.split`` of the text as Java sees it: in UTF-16, unpaired surrogates dropped from what comes out."""
    if text.isascii() or max(text) < "\ud800":
        return split(text)
    halves = re.sub("[^\0-\uffff]", lambda beyond: _surrogates(beyond[0]), text)
    return (token.encode("utf-16", "surrogatepass").decode("utf-16", "ignore") for token in split(halves))


def _surrogates(character: str) -> str:
    code = ord(character) - 0x10000
    return chr(0xD800 + (code >> 10)) + chr(0xDC00 + (code & 0x3FF))


class _Words(dict[str, tuple[str, ...]]):
    """The tokens of words met before; no word that must be seen in its caption.

    Captions repeat their words: looking them up is what makes the tokenizer fast.
    """

    def __missing__(self, word: str) -> tuple[str, ...]:
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
