"""The Penn Treebank tokenization of coco-caption, in Python.

coco-caption runs Stanford CoreNLP 3.4.1's ``PTBTokenizer -preserveLines -lowerCase`` and removes a list of
punctuation; every published score of a captioner rests on these tokens.
"""

import re

PUNCTUATION = frozenset(
    ["''", "'", "``", "`", "-lrb-", "-rrb-", "-lcb-", "-rcb-", ".", "?", "!", ",", ":", "-", "--", "...", ";"]
)

_TOKEN = re.compile(
    r"(?:can)(?=not\b)"
    r"|[^\W\d_]+(?=n['’]t\b)|n['’]t\b"
    r"|['’](?:s|m|d|re|ve|ll)\b"
    r"|\d+(?:[.,:/]\d+)*(?:st|nd|rd|th)?\b"
    r"|\w+(?:-\w+)*"
    r"|\.{2,}|-+|\S"
)


def tokenize(caption: str) -> list[str]:
    """The lower-cased Penn Treebank tokens of a caption, coco-caption's punctuation removed.

    Args:
        caption: one caption as written.
    """
    return [token for token in _TOKEN.findall(caption.lower()) if token not in PUNCTUATION]
