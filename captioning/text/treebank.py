r"""The rules of the Penn Treebank tokenizer behind coco-caption's scores (Stanford CoreNLP 3.4.1).

The original is a lexer: at every position, the rule with the longest match (including the required context after the
token) wins, and among equal lengths the first rule. ``split`` works in the same way: one regular expression tries all
rules, each as a group. ``tests/text/test_tokenizer.py`` compares the tokens with the Java program, but only after the
removal of coco-caption's punctuation list: the direction of a quotation mark, or a full stop that ends both an
abbreviation and the sentence, leaves no trace.
"""

import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from operator import itemgetter

NEWLINE = "\n"
LONGEST = 500  # characters of a token with its context

_SPACE = r"[ \t\xa0\u2000-\u200a\u3000]"
_ANY_SPACE = r"[ \t\xa0\u2000-\u200a\u3000\n\x0b\x0c\r\x85\u2028\u2029]"
_APOSTROPHE = r"(?:['\x92\u2019]|(?i:&apos;))"
_ANY_APOSTROPHE = r"(?:['`\x91\x92\u2018\u2019\u201b]|(?i:&apos;))"
_HYPHEN = r"[-_\u058a\u2010\u2011]"

_NUMERAL = (  # what \w takes for a letter and Unicode for a number: ½, ², ⅷ
    r"\xb2\xb3\xb9\xbc-\xbe\u09f4-\u09f9\u0b72-\u0b77\u0bf0-\u0bf2\u0c78-\u0c7e\u0d58-\u0d5e\u0d70-\u0d78\u0f2a-\u0f33"
    r"\u1369-\u137c\u16ee-\u16f0\u17f0-\u17f9\u19da\u2070\u2074-\u2079\u2080-\u2089\u2150-\u2182\u2185-\u2189"
    r"\u2460-\u249b\u24ea-\u24ff\u2776-\u2793\u2cfd\u3007\u3021-\u3029\u3038-\u303a\u3192-\u3195\u3220-\u3229"
    r"\u3248-\u324f\u3251-\u325f\u3280-\u3289\u32b1-\u32bf\ua6e6-\ua6ef\ua830-\ua835"
)
_LETTER = rf"[^\W\d_{_NUMERAL}]"
_ALNUM = rf"[^\W_{_NUMERAL}]"
# Further letters of the original: the soft hyphen, combining marks, and accents in SGML notation.
_MARK = (
    r"[\xad\u02c2-\u02c5\u02d2-\u02df\u02e5-\u02eb\u02ed\u02ef-\u036f\u0375\u0378\u0379\u0384\u0385\u03f6\u0483-\u0487"
    r"\u055a-\u055f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0615-\u061a\u064b-\u065e\u0670\u06d6-\u06e4"
    r"\u06e7-\u06ed\u06fd\u06fe\u070f\u0711\u0730-\u074c\u07a6-\u07b0\u07eb-\u07f3\u0900-\u0903\u093c\u093e-\u094e"
    r"\u0951-\u0955\u0962\u0963\u0981-\u0983\u09bc\u09be-\u09c4\u09c7\u09c8\u09cb-\u09cd\u09d7\u09e2\u09e3"
    r"\u0a01-\u0a03\u0a3c\u0a3e-\u0a4f\u0a81-\u0a83\u0abc\u0abe-\u0acf\u0b82\u0bbe-\u0bc2\u0bc6-\u0bc8\u0bca-\u0bcd"
    r"\u0c01-\u0c03\u0c3e-\u0c56\u0d3e-\u0d44\u0d46-\u0d48\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc"
    r"\u0ec8-\u0ecd\u1885\u1886]|&[aeiouAEIOU](?i:acute|grave|uml);"
)
_PART = rf"(?:{_LETTER}|{_MARK})(?:{_ALNUM}|{_MARK})*"
_WORD = rf"{_PART}(?:[.!?]{_PART})*"  # file.jpg and stop!go are one word
_CLITIC = rf"{_APOSTROPHE}(?:[msdMSD]|(?i:re|ve|ll))"
_NOT = rf"(?i:n){_ANY_APOSTROPHE}(?i:t)"

_NUMBER = r"[\-+]?(?:\d*(?:[.:,\xad\u066b\u066c]\d+)+|\d+)"
_FRACTION = r"(?:\d{1,4}[- \xa0])?\d{1,4}(?:\\?/|\u2044)\d{1,4}"

# Abbreviations keep their full stop. A capital in brackets is required: "Miss." is a title, "miss." ends a sentence.
_TITLES = (
    "adj|adm|adv|alex|ass(?:oc|t)|attys?|ave|brig|capt|cf|cie|co?mdr|col|cpl|dept|det|drs?|elec|ens|ft|gen|govs?|hon"
    "|insp|invt|jos|lieut|lt|maj|messrs|mlle|mme|mrs?|ms|msgr|mt|natl|pfc|ph|pres|profs?|pvt|reps?|rev|sens?|sfc|sgt"
    "|spc|ste?|supts?|treas|vs|wm|m(?-i:[ft])g"
)
_OTHERS = (
    "al|apr|assn|aug|bancorp|bhd|bldg|blvd|bros|corp|cos?|dec|esq|est|etc|ext|feb|fri|inc|intl|jan|jr|jul|jun|ltd|mar"
    "|mon|nov|oct|plc|rd|rt|sept?|seq|sq|sr|sys|tel|thu|thurs|tues?|univ|wed|p?p(?-i:t)[ye]s?|(?:ed|ph)\\.d"
)
_STATES = (
    "ala|ariz|(?-i:A)z|(?-i:A)rk|calif|colo|conn|ct|dak|(?-i:D)el|fla|ga|(?-i:I)ll|ind|kans?|ky|(?-i:L)a|(?-i:M)ass|md"
    "|mich|minn|(?-i:M)iss|mo|mont|neb|nev|okla|(?-i:O)re|(?-i:P)a|penn|tenn|(?-i:T)ex|va|vt|(?-i:W)ash|wisc?|wyo"
)
_OPENERS = (  # words that begin a sentence: an "I." before them is a word and a full stop
    r"A(?i:bout|ccording|dditionally|fter|n|s|t|)|B(?i:ut)|E(?i:arlier)|H(?i:e|er|ere|owever)|I(?i:[fnt])|L(?i:ast)"
    r"|M(?i:any|ore|[rs]\.)|N(?i:ow)|O(?i:nce|ne|ther|ur)|S(?i:he|ince|o|ome|uch)|T(?i:hat|he|hen|here|hese|hey|his)"
    r"|W(?i:e|hat|hen|hile)|Y(?i:et|ou)"
)
_BEFORE_NUMBER = "ca|figs?|prop|nos?|art|bldg|pp|op"
_COUNTRIES = r"(?:(?:canada|sino|korean|eu|japan|non)-u\.s|u\.s\.-(?:u\.k|u\.s\.s\.r))"
_INITIALS = rf"(?:[A-Za-z](?:\.[A-Za-z])+|(?i:{_COUNTRIES}))"

_HYPHENATED = rf"[A-Za-z0-9][A-Za-z0-9.,\xad]*(?:-(?:{_INITIALS}\.|[A-Za-z0-9\xad]+))+"
_FOREIGN = rf"(?:[dDoOlL]{_ANY_APOSTROPHE}{_ALNUM})?"  # d'Avignon
_THING = rf"{_FOREIGN}{_ALNUM}+(?:{_HYPHEN}{_FOREIGN}{_ALNUM}+)*"
_CAPITALS = r"[A-Z]+(?:(?:[+&]|(?i:&amp;))[A-Z]+)+"
_SLASHED_PART = r"[A-Za-z0-9]+(?:-[A-Za-z]+){0,2}"
_EXTENSION = (
    "bat|bmp|c|cgi|class|cpp|dll|docx?|exe|gif|gz|h|html?|jar|java|jpe?g|mov|mp3|pdf|php|pl|png|ppt|ps|py|sql|tar|txt"
    "|wav|x|xml|zip"
)
_TAG_NAME = r"[A-Za-z][A-Za-z0-9_:.\-]*"
_TAG = (
    rf"<(?:[!?][A-Za-z\-][^>\r\n]*|/{_TAG_NAME}"
    rf"|{_TAG_NAME}(?: +{_TAG_NAME}(?: *= *(?:'[^']*'|\"[^\"]*\"))?)* *(?:/ *)?) *>"
)
_URL = r'(?i:https?)://[^ \t\n\f\r"<>|(){}]+[^ \t\n\f\r"<>|.!?(){},\-]'
_HOST = (  # a host of the second kind does not begin with a character from the comma to the underscore
    r'(?:(?i:www)\.(?:[^ \t\n\f\r"<>|.!?(){},]+\.)+[a-zA-Z]{2,4}'
    r"|(?:[^ \t\n\f\r\"`'<>|.!?(){},-_$]+\.)+(?i:com|net|org|edu))"
)
_HOST_AND_PATH = rf'{_HOST}(?:/[^ \t\n\f\r"<>|()]+[^ \t\n\f\r"<>|.!?(){{}},\-])?'
_EMAIL = (
    r'(?:<|(?i:&lt;))?[a-zA-Z0-9][^ \t\n\f\r"<>|()\xa0{}]*@(?:[^ \t\n\f\r"<>|(){}.\xa0]+\.)*[^ \t\n\f\r"<>|(){}.\xa0]+'
    r"(?:>|(?i:&gt;))?"
)
_GAP = r"[\- \xa0]"
_PHONE = (
    rf"(?:\([0-9]{{2,3}}\)[ \xa0]?|\+{{0,2}}(?:[0-9]{{2,4}}{_GAP}){{1,2}})[0-9]{{3,4}}{_GAP}?[0-9]{{3,5}}"
    r"|(?:\+{0,2}[0-9]{2,4}\.)?[0-9]{2,4}\.[0-9]{3,4}\.[0-9]{3,5}"
)
_KEPT_APOSTROPHE = [  # words with an apostrophe that are one token: 'n', o'clock, O'Neil, ma'am
    rf"{_APOSTROPHE}(?:[nN]{_APOSTROPHE}?|(?i:em|till?|cause)|[2-9]0[sS\u017f])",
    rf"(?:[lLdDjJ]|(?i:dunkin|somethin|ol)){_APOSTROPHE}",
    rf"[A-HJ-XZn]{_ANY_APOSTROPHE}{_LETTER}{{2,}}",
    rf"{_LETTER}+[aeiouyAEIOUY]{_ANY_APOSTROPHE}[aeiouA-Z]{_LETTER}*",
    r"(?i:cont'd\.?|nor'easter|c'mon|e'er|s'mores|ev'ry|li'l|nat'l)",
    rf"(?i:o{_ANY_APOSTROPHE}o)",
]
_SMILEY = r"[<>]?[:;=][\-o*']?[()DPdpO\\{@|\[\]]"
_SMILEY_ASIAN = (
    r"[\^x=~<>]\.\[\^x=~<>]|[\-^x=~<>']_[\-^x=~<>']|\([\-^x=~<>'][_.]?[\-^x=~<>']\)|\([\^x=~<>']-[\^x=~<>'`]\)"
)
_SYMBOL = (  # separate tokens: punctuation, mathematical and currency signs, arrows, dingbats
    r"[%&+,.:;=~^|/\\\xa1\xa6-\xa9\xac\xae-\xb4\xb6-\xb9\xbf\xd7\xf7\u037e\u0387\u0589\u05be\u05c0\u05c3\u05c6\u05f3\u05f4"
    r"\u0600-\u0603\u0606-\u060a\u060c\u0614\u061b\u061e\u061f\u066a\u066d\u06d4\u0700-\u070d\u07f6-\u07f8\u0964\u0965"
    r"\u0e4f\u1fbd\u2016\u2017\u2020-\u2023\u2030-\u2038\u203b\u203e-\u2042\u2044\u207a-\u207e\u208a-\u208e\u2100-\u214f"
    r"\u2190-\u2bff\u3001\u3002\u3012\u30fb\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65]"
)


def _keep(token: str) -> str:
    return token


def _without_soft_hyphens(token: str) -> str:
    return token.replace("\xad", "")


def _with_entity(token: str) -> str:
    return re.sub("&amp;", "&", token, flags=re.IGNORECASE)


def _unbroken(token: str) -> str:
    return token.replace(" ", "\xa0")


def _without_brackets(token: str) -> str:
    return token.replace(" ", "\xa0").replace("(", "-LRB-").replace(")", "-RRB-")


_QUOTES = str.maketrans(
    dict.fromkeys("\x91\u2018\u201b\u2039", "`")
    | dict.fromkeys("\x92\u2019\u203a", "'")
    | dict.fromkeys("\x93\u201c\xab", "``")
    | dict.fromkeys('\x94\u201d\xbb"', "''")
)


def _quote(token: str) -> str:
    return token.replace("&quot;", "''").replace("&apos;", "'").translate(_QUOTES)


_CURRENCIES = str.maketrans({"\xa2": "cents"} | {"\xa3": "#"} | dict.fromkeys("\xa4\x80\u20a0\u20ac", "$"))
_FRACTIONS = str.maketrans({"\xbc": "1/4", "\xbd": "1/2", "\xbe": "3/4", "\u2153": "1/3", "\u2154": "2/3"})
_BRACKETS = {"(": "-LRB-", ")": "-RRB-", "[": "-LSB-", "]": "-RSB-", "{": "-LCB-", "}": "-RCB-"}


def _dashes(token: str) -> str:
    return "--" if 3 <= len(token) <= 4 else token


def _constant(token: str) -> Callable[[str], str]:
    return lambda _: token


# Patterns and their replacements, in the original's order. If a context must follow the token, or if the token is cut
# in two, the token is the first group.
_RULES: list[tuple[str, Callable[[str], str]]] = [
    (r"(?i:c\+\+|[cf]#)", _keep),
    (r"(?i:(can)not|('t)was)", _keep),
    (r"(?i:('t)is|(gon)na|(got)ta|(lem)me|(gim)me|(wan)na)", _keep),
    (_TAG, _unbroken),
    (r"(?i:&(?:md|mdash|ndash);)|[\x96\x97\u2013-\u2015]", _constant("--")),
    (r"(?i:&amp;)", _constant("&")),
    (r"(?i:&(?:ht|tl|ur|lr|qc|ql|qr|odq|cdq|#[0-9]+);)", _keep),
    (rf"({_WORD}){_CLITIC}", _without_soft_hyphens),
    (rf"([A-Za-z\xad]*[A-MO-Za-mo-z]\xad*){_NOT}", _without_soft_hyphens),
    (_WORD, _without_soft_hyphens),
    *((pattern, _keep) for pattern in _KEPT_APOSTROPHE),
    (rf"([yY]{_APOSTROPHE}){_LETTER}", _keep),
    (_URL, _keep),
    (_HOST, _keep),
    (_HOST_AND_PATH, _keep),
    (_EMAIL, _keep),
    (rf"@[a-zA-Z_][a-zA-Z_0-9]*|#(?:{_LETTER}|{_MARK})+", _keep),
    (rf"({_CLITIC})[^A-Za-z]", _quote),
    (_NOT, _quote),
    (r"\d{1,2}[\-/]\d{1,2}[\-/]\d{2,4}", _keep),
    (_NUMBER, _without_soft_hyphens),
    (r"[\u207a\u207b\u208a\u208b]?(?:[\u2070\xb9\xb2\xb3\u2074-\u2079]+|[\u2080-\u2089]+)", _keep),
    (_FRACTION, _unbroken),
    (r"[\xbc-\xbe\u2153-\u215e]", lambda token: token.translate(_FRACTIONS)),
    (
        rf"(?i:-[rl][rcs]b-|pro-|anti-|s(?:&|&amp;)p-500|s(?:&|&amp;)ls|cap{_APOSTROPHE}n|c{_APOSTROPHE}est)",
        _with_entity,
    ),
    (rf"{_SLASHED_PART}(?:\\?/{_SLASHED_PART}){{1,2}}", _keep),
    (r"[A-Z]*\$|#", _keep),
    (
        r"[\x80\xa2-\xa5\u060b\u0e3f\u20a0\u20a4\u20ac\uffe0\uffe1\uffe5\uffe6]",
        lambda token: token.translate(_CURRENCIES),
    ),
    (rf"((?i:{_OTHERS}|{_STATES})\.)(?:[\s\S]{{2}})?", _keep),
    (rf"([A-Za-z])\.{_ANY_SPACE}+(?:{_OPENERS}|{_TAG}){_ANY_SPACE}", _keep),
    (rf"{_INITIALS}\.", _keep),
    (rf"(?:[A-Za-z]|(?i:{_TITLES}))\.", _keep),
    (rf"((?i:{_COUNTRIES})){_ANY_SPACE}", _keep),
    (rf"((?i:{_BEFORE_NUMBER})\.){_ANY_SPACE}?\d", _keep),
    (rf"({_APOSTROPHE}[0-9][0-9]){_ANY_SPACE}", _keep),
    (rf"({_WORD}\.)[,;:\u3001]", _without_soft_hyphens),
    (_PHONE, _without_brackets),
    (r"\"|(?i:&quot;)", _quote),
    (r"<|(?i:&lt;)", _constant("<")),
    (r">|(?i:&gt;)", _constant(">")),
    (rf"({_SMILEY})[^A-Za-z0-9]", _without_brackets),
    (_SMILEY_ASIAN, _without_brackets),
    (r"[\[\](){}]", lambda token: _BRACKETS[token]),
    (r"-+", _dashes),
    (r"\.{3,5}|(?:\.[ \xa0]){2,4}\.|[\x85\u2026]", _constant("...")),
    (r"@+|#+|_+|\*+|(?:\\\*){1,3}|[?!]+|<<|>>", _keep),
    (_SYMBOL, _keep),
    (rf"({_HYPHENATED}\.)[,;:\u3001]", _without_soft_hyphens),
    (_HYPHENATED, _without_soft_hyphens),
    (rf"({_THING}\.)[,;:\u3001]", _keep),
    (_THING, _keep),
    (rf"({_CAPITALS}\.)[,;:\u3001]", _with_entity),
    (_CAPITALS, _with_entity),
    (r"(')[A-Za-z][^ \t\n\r\xa0]", _quote),
    (_CLITIC, _quote),
    (r"[`\x91-\x94\xab\xbb\u2018-\u201f\u2039\u203a]{1,2}", _quote),
    (rf"''|{_APOSTROPHE}", _quote),
    (rf"((?:{_ALNUM}|{_MARK})+(?:\.(?:{_ALNUM}|{_MARK})+)*\.(?i:{_EXTENSION}))(?:{_ANY_SPACE}|[.?!,])", _keep),
    (rf"{_SPACE}+|[\x00\u200b\u200e\u200f\ufeff]|(?i:&nbsp;)", _constant("")),
    (r"\r\n|[\n\x0b\x0c\r\u2028\u2029]", _constant(NEWLINE)),
]
# The majority of a caption: a word, perhaps with a comma or full stop, and a blank, which no rule changes.
_PLAIN_WORD = re.compile(r"([A-Za-z]+(?:-[A-Za-z]+)*)([.,]?)(?: |(?=\n)|\Z)")
_SPLIT_WORDS = frozenset(["cannot", "gonna", "gotta", "lemme", "gimme", "wanna"])
_ABBREVIATION = re.compile(rf"(?i:[a-z]|{_TITLES}|{_OTHERS}|{_STATES}|{_BEFORE_NUMBER})\.")


def is_plain(written: str, word: str) -> bool:
    """True if no rule but the one of words is for a word of letters and hyphens, perhaps with a comma or full stop.

    Args:
        written: the word as written.
        word: the word without the comma or full stop.
    """
    if (word.partition("-")[0] if "-" in word else word).lower() in _SPLIT_WORDS:
        return False
    # No abbreviation is longer than bancorp.
    return not (written[-1] == "." and len(written) < 9 and "-" not in word and _ABBREVIATION.fullmatch(written))


_BLANKS = re.compile(rf" {_SPACE}*")
# One pattern tries all rules at a place, which is faster than a call for each: it always matches, and has a group for
# each rule, unset where the rule does not match, which the rule's own groups follow.
_ALL = re.compile("".join(f"(?=(?P<r{number}>{pattern})|)" for number, (pattern, _) in enumerate(_RULES)))
_GROUPS = [*_ALL.groupindex.values()]
_OWN_GROUPS = [range(group + 1, after) for group, after in pairwise([*_GROUPS, _ALL.groups + 1])]
_spans_of_rules = itemgetter(*_GROUPS)


def split(text: str) -> Iterator[str]:
    """The tokens of a text, in the case of the text; a line's end is the token ``NEWLINE``.

    Characters without a rule are skipped, also characters beyond the Basic Multilingual Plane (most emoji): the
    original sees the halves of a surrogate pair, and ``text`` must contain such halves, too.

    A rule looks at ``LONGEST`` characters from its place on, so that the time grows with the text's length and not with
    its square; the original would give a longer token whole.
    """
    place = 0
    while place < len(text):
        limit = min(len(text), place + LONGEST)
        plain = _PLAIN_WORD.match(text, place, limit)
        if plain is not None and is_plain(plain[1] + plain[2], plain[1]):
            yield plain[1]
            place = plain.end()
            continue
        blanks = _BLANKS.match(text, place, limit)
        if blanks is not None:
            place = blanks.end()
            continue
        if text[place] == NEWLINE:
            yield NEWLINE
            place += 1
            continue
        found = _ALL.match(text, place, limit)
        assert found is not None
        ends = [end for _, end in _spans_of_rules(found.regs)]
        rule = ends.index(max(ends))  # the first of the longest
        if ends[rule] <= place:
            place += 1
            continue
        group = next((own for own in _OWN_GROUPS[rule] if found.regs[own][1] >= 0), _GROUPS[rule])
        token = _RULES[rule][1](found[group])
        place = found.regs[group][1]
        if token:
            yield token
