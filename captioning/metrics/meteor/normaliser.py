"""METEOR's own tokenization of English (``-norm``), which follows coco-caption's: "t-shirt" becomes two words.

The rules work on a line between blanks, one after the other, and each on what the one before has left.
"""

import re
from collections.abc import Callable, Mapping

_LETTERS = (
    "A-Za-z\u0160\u017d\u0161\u017e\u0178\xc0-\xd6\xd8-\xf6\xf8-\u017e\u0400-\u04ff\u0500-\u0527\ua640-\ua66e"
    "\ua67e-\ua697\u1d00-\u1d7f"
)
_PLAIN = re.compile("[a-z0-9 ]*")  # a line that no rule changes

_RULES: list[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]] = [
    (re.compile(rf"([^0-9{_LETTERS} \t\n\x0b\f\r.'`,\-\u2018\u2019])"), r" \1 "),  # other characters stand alone
    (re.compile(r"\.\.+"), lambda stops: f" {'DOT' * len(stops[0])}MULTI "),  # and so do several full stops
    *((re.compile(pattern), r"\1 , \2") for pattern in ("([^0-9]),([^0-9])", "([0-9]),([^0-9])", "([^0-9]),([0-9])")),
    (re.compile("[`\u2018\u2019]"), "'"),
    (re.compile("[\u201c\u201d]|''"), ' " '),
    (re.compile("\u2013|--"), "-"),
    (re.compile(rf"([0-9{_LETTERS}.])-([0-9{_LETTERS}])"), r"\1 \2"),
    (re.compile(f"([^{_LETTERS}])'([^{_LETTERS}])"), r"\1 ' \2"),
    (re.compile(f"([^{_LETTERS}0-9])'([{_LETTERS}])"), r"\1 ' \2"),
    (re.compile(f"([{_LETTERS}])'([^{_LETTERS}])"), r"\1 ' \2"),
    (re.compile(f"([{_LETTERS}])'([{_LETTERS}])"), r"\1 '\2"),
    (re.compile("([0-9])'(s)"), r"\1 '\2"),
]
_BLANKS = re.compile("[ \u2000-\u200a\u202f\u205f\u3000\xa0]+")
_SEPARATORS = re.compile("[ \t\n\r\f]+")
_TRIMMED = "".join(map(chr, range(33)))
_STOPS = re.compile("((?:DOT)+)MULTI")
_LETTER = re.compile(f"[{_LETTERS}]")


def normalise(line: str, abbreviations: Mapping[str, bool]) -> list[str]:
    """The lower-cased words of a line.

    Args:
        line: tokens joined by blanks.
        abbreviations: see ``Tables.abbreviations``.
    """
    if _PLAIN.fullmatch(line):
        return line.split()
    line = f" {line.strip(_TRIMMED)} "
    for pattern, replacement in _RULES:
        line = pattern.sub(replacement, line)
    words = _split(line)
    line = " ".join(
        _without_stop(word, words[place + 1] if place + 1 < len(words) else None, abbreviations)
        for place, word in enumerate(words)
    )
    line = _STOPS.sub(lambda stops: "." * (len(stops[1]) // 3), line)
    return _split(_BLANKS.sub(" ", line).strip(_TRIMMED).lower())


def _split(line: str) -> list[str]:
    return [word for word in _SEPARATORS.split(line) if word]


def _without_stop(word: str, following: str | None, abbreviations: Mapping[str, bool]) -> str:
    """A word without its full stop, which may become a word of its own or vanish.

    Args:
        word: a word.
        following: the word after it.
        abbreviations: see ``Tables.abbreviations``.
    """
    if len(word) < 2 or not word.endswith("."):
        return word
    before = word[:-1]
    if "." in before and _LETTER.search(before):
        return word.replace(".", "")  # u.s.
    before_number_alone = abbreviations.get(before)
    if before_number_alone is False or (following and "a" <= following[0] <= "z"):
        return word
    if before_number_alone and following and "0" <= following[0] <= "9":
        return word
    return f"{before} ."
