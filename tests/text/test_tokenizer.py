"""The tokenizer against coco-caption's own, and what it must be without it."""

import csv
import json
import random
import shutil
import time
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captioning.text import tokenizer
from captioning.text.tokenizer import (
    PUNCTUATION,
    count_misread,
    tokenize,
    tokenize_coco,
    tokenize_each,
    tokenize_file,
)

Oracle = Callable[[Sequence[str]], list[str]]

NASTY = {
    "A man's dog can't run, he's o'clock!": "a man 's dog ca n't run he 's o'clock",
    "the dogs' bowls aren't the boys'": "the dogs bowls are n't the boys",
    "They cannot go; I'm gonna say 'tis y'all's": "they can not go i 'm gon na say 't is y' all 's",
    "rock 'n' roll in the '80s, the 1980's and '99": "rock 'n' roll in the '80s the 1980 's and '99",
    "Mr. O'Neil of St. Paul's, Ave. No. 5, etc.": "mr. o'neil of st. paul 's ave. no. 5 etc.",
    "He came to the U.S. The e.g. of i.e. at 5 p.m.": "he came to the u.s. the e.g. of i.e. at 5 p.m.",
    "It is I. A dog": "it is i a dog",
    "$5.00, US$5, £5, €5 and 5¢": "$ 5.00 us$ 5 # 5 $ 5 and 5 cents",
    "1,000.50 at 12:30pm is 3/4, 1 1/2 or ½": "1,000.50 at 12:30 pm is 3/4 1 1/2 or 1/2",
    "call (555) 555-1234 or 555.123.4567": "call -lrb-555-rrb- 555-1234 or 555.123.4567",
    "a half-pipe, a 20-year-old's T-shirt - or--a -5": "a half-pipe a 20-year-old 's t-shirt or a -5",
    "his/her and/or a/b/c/d": "his/her and/or a/b/c / d",
    "(red) [white] {blue} <b>bold</b> < 3": "red -lsb- white -rsb- blue <b> bold </b> < 3",
    "\"stop\" ``so'' “they” ‘say’ «oui» ’tis": "stop so they say oui tis",
    "well... so . . . it….": "well so it",
    "foo@bar.com; http://x.org/a?b=c or www.foo.com.": "foo@bar.com; http://x.org/a?b=c or www.foo.com",
    "photo.jpg @name #tag a_b AT&T R&B &amp; C++": "photo.jpg @name #tag a_b at&t r&b & c++",
    "😀 a😀b ❤️ :) ★ ™": "a b ❤ :-rrb- ★ ™",
    "Café naïve Straße İstanbul 日本語 привет": "café naïve straße i̇stanbul 日本語 привет",
    "wow!! really?! what?": "wow !! really ?! what",
    "stop.Go now,please": "stop.go now please",
    "a\tb\xa0c\u3000d\u200be\xadf\x00g\x7fh": "a b c d ef g h",
    "one\ntwo\r\nthree\x0bfour\u2028five": "one two three four five",
    "": "",
    "...": "",
}


@pytest.mark.parametrize(("caption", "expected"), NASTY.items())
def test_nasty_captions(caption: str, expected: str) -> None:
    assert tokenize(caption) == expected.split(" " if expected else None)


TEXT = (
    "a b A x I Mr St U.S etc No fig U.S. etc. No. Miss miss. 5 10 1,000 5.5 1/2 ½ - -- --- ----- _ ' \" ’ ` ‘ “ ” '' "
    "`` . .. ... … , ; : ! ? / \\ * # @ $ £ € ¢ % & &amp; &lt; &gt; &nbsp; &eacute; ( ) [ ] { } <b> </b> <br/> n't 's "
    "'ll 're 'd 'm can't won't dog's dogs' o'clock y'all 'em 'til 'tis cannot gonna wanna é ü ñ 日本 Ω ß İ ı ſ Ⅷ ② ² ™ "
    "° → ★ 😀 👍🏽 ❤️ \u200d \u200b \xad \xa0 \t \x00 \x1f \x7f www. .com .jpg http:// foo@bar.com @me #tag :) :-( ;D "
    "^_^ 555-1234 (555) 12:30 pm 80s '80s 90's T-shirt half-pipe 2-3 d' O' l' non-U.S. A&B AT&T a.m. p.m. co. Ltd. dog"
)
PIECES = TEXT.split(" ")
ENDS = [  # captions whose tokens depend on the next one, and such next ones
    *(
        "yes or no.",
        "fig.",
        "Ave S.",
        "it is I.",
        "U.S.",
        "at 5 p.m.",
        "etc.",
        "in the '99",
        "canada-u.s",
        "1 1/2",
        " ",
    ),
    *("a dog", "", "The dog", "5 dogs", "2", "<b> x", "A man", "I. A", "(a) [b] {c}", "<!a b c>", "(555) 555-1234"),
]


def scrambled(count: int, seed: int) -> list[str]:
    """Captions made of the worst pieces, run together at random."""
    choose = random.Random(seed)
    return [
        "".join(choose.choice(PIECES) + choose.choice(["", "", " "]) for _ in range(choose.randint(1, 9)))
        for _ in range(count)
    ]


@given(st.text(max_size=60) | st.lists(st.sampled_from(PIECES), max_size=8).map(" ".join))
def test_tokens_are_lower_case_words_and_the_short_cut_changes_none(caption: str) -> None:
    tokens = tokenize(caption)
    assert tokens == tokenizer._tokenize(caption)
    assert not PUNCTUATION & set(tokens)
    for token in tokens:
        assert token == token.lower()
        assert token.split() == [token]


def test_words_met_before_are_remembered_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizer, "_KNOWN_WORDS", 5)
    words = tokenizer._Words()
    for number in range(50):
        assert words["x" * (number + 1)] == ("x" * (number + 1),)
        assert len(words) <= 5


def test_the_faults_of_the_original_are_kept_on_request() -> None:
    captions = ["A (red)\rcar", "two", "three"]
    assert tokenize_each(captions) == [["a", "red", "car"], ["two"], ["three"]]
    assert tokenize_file(captions) == [["a", "-lrb-", "red", "-rrb-"], ["car"], ["two"]]
    assert tokenize_coco(captions) == [["a", "-lrb-", "red", "-rrb-", "car"], ["two"], ["three"]]
    assert count_misread(captions) == 3
    assert count_misread(["a\nb (c)", "1 1/2"]) == 0
    assert count_misread([]) == 0


def test_misread_captions_are_counted_in_the_memory_of_their_text() -> None:
    captions = ["a man\ron a bike", *(f"a man on bike number {number}" for number in range(10_000))]
    count_misread(captions[:100])
    tracemalloc.start()
    try:
        assert count_misread(captions) == len(captions)
        assert tracemalloc.get_traced_memory()[1] < 400 * len(captions)  # bytes; the tokens of all take 1,100
    finally:
        tracemalloc.stop()


def test_what_follows_in_the_file_and_words_in_a_token() -> None:
    assert tokenize_coco(["Ave S.", "", "A dog", "no.", "5 cats", "Ave S."]) == [
        *(["ave", "s"], [], ["a", "dog"], ["no."], ["5", "cats"], ["ave", "s."])
    ]
    assert tokenize_coco(["a 1 1/2 (555) 555"]) == [["a", "1\xa01/2", "-lrb-", "555", "-rrb-", "555"]]
    assert tokenize_coco(["a \ua7d0b"]) == [["a", "b"]]  # a letter since 2021


@pytest.fixture(scope="session")
def ptb() -> Oracle:
    """coco-caption's tokenizer on captions, in one file."""
    if shutil.which("java") is None:
        pytest.skip("needs java")
    module = pytest.importorskip("pycocoevalcap.tokenizer.ptbtokenizer")

    def run(captions: Sequence[str]) -> list[str]:
        tokens = module.PTBTokenizer().tokenize({n: [{"caption": caption}] for n, caption in enumerate(captions)})
        return [tokens[n][0] for n in range(len(captions))]

    return run


def coco(shared: Path) -> list[str]:
    content = json.loads((shared / "coco_mini" / "captions_val2017.json").read_text(encoding="utf-8"))
    return [annotation["caption"] for annotation in content["annotations"]]


def flickr8k(shared: Path) -> list[str]:
    with (shared / "flickr8k" / "captions.txt").open(encoding="utf-8", newline="") as file:
        return [row["caption"] for row in csv.DictReader(file)]


@pytest.mark.java
@pytest.mark.shared
@pytest.mark.parametrize(("captions_of", "count"), [(coco, 25_014), (flickr8k, 40_455)])
def test_same_tokens_as_the_original_on_all_captions(
    ptb: Oracle, shared: Path, captions_of: Callable[[Path], list[str]], count: int
) -> None:
    captions = captions_of(shared)
    assert len(captions) == count
    original = ptb(captions)
    assert_same(captions, original, tokenize_coco(captions))
    assert tokenize_file(captions) == tokenize_coco(captions)
    without = [line.replace("-lrb-", "").replace("-rrb-", "").split() for line in original]
    assert tokenize_each(captions) == without


def assert_same(captions: Sequence[str], original: Sequence[str], ours: Sequence[Sequence[str]]) -> None:
    differ = [each for each in zip(captions, original, map(" ".join, ours), strict=True) if each[1] != each[2]]
    print(f"\n{len(captions)} captions compared, {len(differ)} differ")
    assert differ == []


@pytest.mark.java
def test_same_tokens_as_the_original_on_nasty_captions(ptb: Oracle) -> None:
    """On scrambled ones, at the ends of captions, and around every third character."""
    captions = [caption.translate(tokenizer._LINE_BREAKS) for caption in [*NASTY, *scrambled(10_000, seed=0)]]
    draw = random.Random(0)
    for _ in range(4_000):
        captions.insert(draw.randrange(len(captions)), draw.choice(ENDS))
    everything = [chr(code) for code in range(0x10000) if not 0xD800 <= code < 0xE000]
    some = [c for c in everything if ord(c) < 0x500 or ord(c) % 3 == 0 or tokenizer._NEWER.match(c)]
    captions += [f"a {character} dog" for character in some if ord(character) not in tokenizer._LINE_BREAKS]
    assert_same(captions, ptb(captions), tokenize_coco(captions))


@pytest.mark.java
def test_same_faults_as_the_original(ptb: Oracle) -> None:
    captions = scrambled(3_000, seed=1)
    for place, separator in zip(range(100, 3_000, 100), "\r\x0b\x0c\u2028\u2029" * 6, strict=False):
        captions[place] += separator + "(and) so on"
    assert_same(captions, ptb(captions), tokenize_file(captions))


@pytest.mark.parametrize("unit", ["😀", "'a"])
def test_the_time_grows_with_the_length(unit: str) -> None:
    """Of a caption of as many characters as are read."""
    began = time.process_time()
    tokenize(unit * (10_000 // len(unit)))
    assert time.process_time() - began < 5  # a minute without the limit


def test_a_longer_word_is_cut() -> None:
    assert tokenize("b" * 1200) == tokenize("(" + "b" * 1200) == ["b" * 500, "b" * 500, "b" * 200]
    assert tokenize("b" * 500) == ["b" * 500]
