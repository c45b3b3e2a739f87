"""The tokenizer of captions, for scores and training: coco-caption's, without Java.

coco-caption runs Stanford CoreNLP 3.4.1's ``PTBTokenizer -preserveLines -lowerCase`` over a file with one caption per
line, and removes a list of punctuation; all published scores of captioners are based on these tokens. There are three
functions, since the original has faults:

- The original lower-cases the brackets ``-LRB-`` before its search for ``-LRB-``, and so leaves ``-lrb-`` among the
  words.
- The initial in "… Ave S." keeps its full stop depending on the next caption in the file.
- The original drops the letters and digits added to Unicode since 2012 (some 500, all of them rare).
- "1 1/2" is one token with a no-break space, which BLEU and CIDEr take for two words, and ROUGE-L for one.
- The original takes a carriage return, a vertical tab, a form feed or U+2028 in a caption for the caption's end, and
  so gives every later image of the file captions of other images.

``tokenize_coco``, the tokenizer of scores, gives the original's tokens except for the last fault: it treats these
characters as blanks. ``tokenize_file`` has all faults. ``tokenize`` has none of them and looks at one caption alone: it
is the tokenizer of vocabularies and training, and of scores on request.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import chain, islice

import numpy as np

from captioning.text.forms import number_forms
from captioning.text.token_numbers import TokenNumbers, numbering
from captioning.text.treebank import LONGEST, NEWLINE, is_plain, split

PUNCTUATION = frozenset(
    ["''", "'", "``", "`", "-lrb-", "-rrb-", "-lcb-", "-rcb-", ".", "?", "!", ",", ":", "-", "--", "...", ";"]
)
_REMOVED = PUNCTUATION - {"-lrb-", "-rrb-", "-lcb-", "-rcb-"}  # by the original

_NEWER = re.compile(  # letters and digits that Unicode has got since 2012, without those beyond U+FFFF
    r"[\u037f\u0528-\u052f\u0560\u0588\u05ef\u0860-\u086a\u0870-\u0887\u0889-\u088e\u08a1\u08ad-\u08c9\u0978\u0980"
    r"\u09fc\u0af9\u0c34\u0c5a\u0c5d\u0c80\u0cdd\u0d04\u0d54-\u0d56\u0d5f\u0de6-\u0def\u0e86\u0e89\u0e8c\u0e8e-\u0e93"
    r"\u0e98\u0ea0\u0ea8\u0ea9\u0eac\u13f5\u13f8-\u13fd\u16f1-\u16f8\u170d\u171f\u1878\u191d\u191e\u19b0-\u19c0\u19c8"
    r"\u19c9\u1b4c\u1c80-\u1c88\u1c90-\u1cba\u1cbd-\u1cbf\u1cf2\u1cf3\u1cfa\u2c2f\u2c5f\u312e\u312f\u31bb-\u31bf"
    r"\u4db6-\u4dbf\u9fcd-\u9fff\ua698-\ua69d\ua78f\ua794-\ua79f\ua7ab-\ua7ca\ua7d0\ua7d1\ua7d3\ua7d5-\ua7d9"
    r"\ua7f2-\ua7f7\ua8fd\ua8fe\ua9e0-\ua9e4\ua9e6-\ua9fe\uaa7e\uaa7f\uab30-\uab5a\uab5c-\uab69\uab70-\uabbf]"
)
_UNKNOWN = "\ue000"  # a character without a rule
_BREAK = re.compile("[\r\x0b\x0c\u2028\u2029]")
_LINE_BREAKS = str.maketrans(dict.fromkeys("\n\r\x0b\x0c\u2028\u2029", " "))
# A word between blanks whose tokens do not depend on the context, if all its neighbours are such words, too.
_INDEPENDENT = re.compile(
    r"[0-9]{1,2}"  # too short for a part of a telephone number, and with no slash beside it
    r"|(?!(?i:ca|figs?|prop|nos?|art|bldg|pp|op)\.)"  # a number may follow, even in the next caption
    r"\"?[A-Za-z]+(?:['\-][A-Za-z]+)*(?:(?<=[A-Za-z]{2})\.|[,;:!?])?\"?"
)
# Such a word of letters and hyphens, perhaps with "'s", and punctuation that is removed.
_PARTS = re.compile(r"\"?([A-Za-z]{2,}(?:-[A-Za-z]+)*)('s)?([.,;:!?])?\"?")
_KNOWN_WORDS = 200_000
_AT_ONCE = 50_000  # captions whose words are in memory at the same time
_COMPARED = 1_000  # captions whose tokens are


def tokenize(caption: str) -> list[str]:
    """The lower-cased Penn Treebank tokens of a caption, coco-caption's punctuation removed.

    Args:
        caption: one caption as written; several lines count as one caption.

    Returns:
        Tokens without whitespace: "1 1/2", one token with a no-break space in the original, becomes two, as
        coco-caption's BLEU and CIDEr count.
    """
    found = [*map(_words.__getitem__, caption.rstrip("\n").split(" "))]
    return _tokenize(caption) if None in found else list(chain.from_iterable(filter(None, found)))


def tokenize_each(captions: Sequence[str]) -> list[list[str]]:
    """The ``tokenize`` tokens of each caption: the default in scores, and an alternative to ``tokenize_file``."""
    return [tokenize(caption) for caption in captions]


def tokenize_coco(captions: Sequence[str]) -> list[list[str]]:
    """The tokens that coco-caption's scores are made of, those of each caption at the caption's own place.

    Args:
        captions: the captions in the order of the original's file.

    Returns:
        As many lists of tokens as captions. A token of several words ("1 1/2") has no-break spaces in it.
    """
    return number_coco(captions).lists()


def number_coco(captions: Sequence[str], begin: int = 0, end: int | None = None) -> TokenNumbers:
    """The ``tokenize_coco`` tokens of captions as numbers; the words of all captions are looked up at once.

    Args:
        captions: the captions in the order of the original's file.
        begin: the first of the captions to tokenize.
        end: one after the last one; by default all, and as many as ``captions``.
    """
    end = len(captions) if end is None else end
    numbers = numbering()
    codes, counts = [], []
    for start in range(begin, end, _AT_ONCE):
        block = captions[start : min(start + _AT_ONCE, end)]
        text = "\n".join(block)
        if text.count("\n") >= len(block):
            text = "\n".join([each.replace("\n", " ") if "\n" in each else each for each in block])
        forms, code, per_caption = number_forms(text)
        codes.append(np.fromiter(map(numbers.__getitem__, forms), np.int64, len(forms))[code])
        counts.append(per_caption)
    code, count = (np.concatenate(each) if each else np.zeros(0, np.int64) for each in (codes, counts))
    caption = np.repeat(np.arange(len(count)), count)
    tokens: list[Sequence[str] | None] = [*map(_words.__getitem__, numbers)]
    known = np.fromiter((each is not None for each in tokens), np.bool_, len(tokens))
    if not known.all():
        tokens.append(())
        ends = np.cumsum(count)
        for place in np.unique(caption[~known[code]]).tolist():
            # The caption's first word stands for all of its tokens, and its other words for none.
            first = int(ends[place] - count[place])
            code[first : ends[place]] = len(known)
            code[first] = len(tokens)
            tokens.append(_tokenize_in_file(captions, begin + place))
    return TokenNumbers.of_forms([each or () for each in tokens], code, caption, len(count))


def tokenize_file(captions: Sequence[str]) -> list[list[str]]:
    """The tokens of coco-caption for captions written to a file, with all of coco-caption's faults.

    Args:
        captions: the captions in the order of the file.

    Returns:
        As many lists of tokens as captions; after a caption that contains a line separator other than a line feed, each
        list belongs to an earlier line.
    """
    return [*islice(_lines_of(captions), len(captions))]


def _lines_of(captions: Sequence[str]) -> Iterator[list[str]]:
    """The tokens of the lines of a file of captions, one line after the other."""
    line: list[str] = []
    for token in _split(_known("\n".join(caption.replace("\n", " ") for caption in captions))):
        if token == NEWLINE:
            yield _without_punctuation(line)
            line = []
        else:
            line.append(token.lower())
    yield _without_punctuation(line)


def count_misread(captions: Sequence[str]) -> int:
    """The number of captions for which coco-caption takes another line of its file."""
    if not any(map(_BREAK.search, captions)):
        return 0
    blocks = range(0, len(captions), _COMPARED)
    ours = chain.from_iterable(
        number_coco(captions, begin, min(begin + _COMPARED, len(captions))).lists() for begin in blocks
    )
    return sum(mine != theirs for mine, theirs in zip(ours, _lines_of(captions), strict=False))


def _tokenize(caption: str) -> list[str]:
    """The ``tokenize`` tokens of any caption, by the rules alone."""
    tokens: list[str] = []
    for token in _split(caption.translate(_LINE_BREAKS) + "\nA\n"):  # another sentence follows the caption
        if token == NEWLINE:
            break
        tokens += [] if token.lower() in PUNCTUATION else token.lower().split()
    return tokens


def _tokenize_in_file(captions: Sequence[str], place: int) -> list[str]:
    """The ``tokenize_coco`` tokens of any caption of a file, by the rules alone: some look at the next caption, too."""
    lines = [captions[place]]
    for following in range(place + 1, len(captions)):
        lines.append(captions[following])
        if lines[-2].strip() and len(lines) > 2:  # the next caption that says something, and the end of its line
            break
    tokens = []
    for token in _split(_known("\n".join(line.translate(_LINE_BREAKS) for line in lines))):
        if token == NEWLINE:
            break
        tokens.append(token.lower())
    return _without_punctuation(tokens)


def _known(text: str) -> str:
    """A text as the original knows it: newer letters are characters without a rule."""
    return text if text.isascii() else _NEWER.sub(_UNKNOWN, text)


def _without_punctuation(tokens: Sequence[str]) -> list[str]:
    """The tokens of a line that coco-caption keeps; the original strips the blanks at the end of the line."""
    line = " ".join(tokens).rstrip()
    return [token for token in line.split(" ") if token not in _REMOVED] if line else []


def _split(text: str) -> Iterator[str]:
    """The tokens of ``treebank.split`` for the text as Java sees it, in UTF-16, without unpaired surrogates."""
    if text.isascii() or max(text) < "\ud800":
        return split(text)
    halves = re.sub("[^\0-\uffff]", lambda beyond: _surrogates(beyond[0]), text)
    return (token.encode("utf-16", "surrogatepass").decode("utf-16", "ignore") for token in split(halves))


def _surrogates(character: str) -> str:
    code = ord(character) - 0x10000
    return chr(0xD800 + (code >> 10)) + chr(0xDC00 + (code & 0x3FF))


class _Words(dict[str, tuple[str, ...] | None]):
    """A cache of the tokens of words that do not depend on their caption; None for the other words.

    Captions repeat their words: the cache is what makes the tokenizer fast.
    """

    def __missing__(self, word: str) -> tuple[str, ...] | None:
        letters = word[:-1] if word[-1:] in (".", ",") else word
        if letters.isalpha() and letters.isascii() and len(word) <= LONGEST and is_plain(word, letters):
            tokens: tuple[str, ...] | None = (letters.lower(),)
        elif word in ("", ".", ","):
            tokens = ()
        elif len(word) <= LONGEST and _INDEPENDENT.fullmatch(word):
            parts = _PARTS.fullmatch(word)
            known = parts is not None and is_plain(parts[1] + (parts[3] or ""), parts[1])
            tokens = (parts[1].lower(), *filter(None, [parts[2]])) if parts and known else tuple(_tokenize(word))
        else:
            tokens = None
        if len(self) >= _KNOWN_WORDS:
            self.clear()
        self[word] = tokens
        return tokens


_words = _Words()
