"""The tokenizer of words: accents intact, one form of each word, and scripts without blanks."""

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captioning.core.errors import CaptioningError
from captioning.text.registry import TOKENIZERS, find_scoring_tokenizer, find_tokenizer, told
from captioning.text.tokenizer import tokenize_coco, tokenize_each
from captioning.text.words import tokenize_words, tokenize_words_each


@pytest.mark.parametrize(
    ("caption", "words"),
    [
        ("Zwei Männer schauen sich das Gemälde an.", "zwei männer schauen sich das gemälde an"),
        ("ÜBER die Straße, «schnell» – u. a. (rot)", "über die straße schnell u a rot"),
        ("T-Shirt l'eau 3,5 m² a_b", "t shirt l eau 3 5 m² a b"),
        ("Groß\u00admutter\u200fs", "großmutters"),
        ("一只狗在草地上跑。Two dogs", "一 只 狗 在 草 地 上 跑 two dogs"),
        ("犬が走る、カメラ2台", "犬 が 走 る カ メ ラ 2 台"),
        ("か\u3099く", "が く"),  # NFD
        ("สุนัขวิ่ง", "สุ นั ข วิ่ ง"),
        ("강아지가 뛴다.", "강아지가 뛴다"),
        ("हिन्दी में कुत्ता", "हिन्दी में कुत्ता"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("a❤\ufe0f \u0301b 👨\u200d👩 ok", "a b ok"),
        ("", ""),
        (" … ", ""),
    ],
)
def test_words(caption: str, words: str) -> None:
    assert tokenize_words(caption) == words.split()
    assert tokenize_words_each([caption, "x", caption]) == [words.split(), ["x"], words.split()]


def _of_one_word(caption: str) -> None:
    tokens = tokenize_words(caption)
    assert tokenize_words(" ".join(tokens)) == tokens  # scores tokenize what a captioner says
    assert tokenize_words(unicodedata.normalize("NFD", caption)) == tokens
    assert tokenize_words(unicodedata.normalize("NFC", caption)) == tokens
    for token in tokens:
        assert token.split() == [token] and token[0].isalnum() and unicodedata.is_normalized("NFC", token)


@given(st.text())
def test_any_text_has_words_of_one_form(caption: str) -> None:
    _of_one_word(caption)


@given(
    st.lists(
        st.sampled_from([*"aÅäßΣσİẞ一かガสุ้1²", "\u0301", "\u0308", "\u3099", "\u0345", "\u0327", *"'-_ \u200d\u00ad≠"])
    )
)
def test_letters_and_marks_have_words_of_one_form(characters: list[str]) -> None:
    _of_one_word("".join(characters))


def test_every_character_has_words_of_one_form() -> None:
    of_no_use = {"Cn", "Co", "Cs"}  # code points without a character, for private use, or halves of others
    every = [each for each in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(each) not in of_no_use]
    assert len(every) > 140_000
    for start in range(0, len(every), 4096):
        _of_one_word("".join(f"a{each}b {each}\u0301 " for each in every[start : start + 4096]))


def test_tokenizers_by_name() -> None:
    assert {"treebank": tokenize_each, "words": tokenize_words_each} == TOKENIZERS
    assert find_tokenizer("words") is tokenize_words_each
    with pytest.raises(CaptioningError, match=r"^data\.tokenizer=wor\\x1bds: there is no such .* treebank or words"):
        find_tokenizer("wor\x1bds")
    assert find_scoring_tokenizer("treebank") is tokenize_coco and find_scoring_tokenizer("clean") is tokenize_each
    with pytest.raises(CaptioningError, match=r"^--tokenizer x: there is no such .* treebank or clean or words"):
        find_scoring_tokenizer("x", "--tokenizer ")
    assert told("treebank") == {} and told("words") == {"tokenizer": "words"}
