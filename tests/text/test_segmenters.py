"""Words and subwords of translation: the text comes back from its tokens."""

from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captioning.core.errors import CaptioningError
from captioning.text.reversible import MARK, join_words, split_words
from captioning.text.segmenters import Segmenter
from captioning.text.subwords import Subwords

SENTENCES = [f"{who} {does} {how}." for who in ("A dog", "Zwei Männer", "the cat") for does in ("sits", "läuft")
             for how in ("on a mat", "im Park", "fast")]  # fmt: skip


def test_words_are_split_by_the_rule() -> None:
    said = "A dog's bone, isn't (it) 3,5? \"So\" 3rd T-Shirts"
    tokens = split_words(said)
    assert tokens == [
        *("A", "dog", "￭'s", "bone", "￭,", "isn", "￭'t", "(￭", "it", "￭)", "3,5", "￭?", '"￭', "So", '￭"', "3"),
        *("￭rd", "T-Shirts"),
    ]
    assert join_words(tokens) == said
    assert split_words(f"a{MARK}b") == ["ab"] and split_words("") == [] and join_words([]) == ""


@given(st.text(alphabet="abÄé3 .,'’\"-_()￮₂ ", max_size=30))
def test_a_text_comes_back_but_for_its_blanks(text: str) -> None:
    import unicodedata

    assert join_words(split_words(text)) == " ".join(unicodedata.normalize("NFC", text).split())


@pytest.mark.shared
@pytest.mark.parametrize("language", ["en", "de", "fr", "cs"])
def test_sentences_of_multi30k_come_back(language: str, shared: Path) -> None:
    with (shared / "sequences" / "multi30k" / "task1" / f"val.{language}").open(encoding="utf-8") as file:
        for line in islice(file, 300):
            assert join_words(split_words(line)) == " ".join(line.split())


def test_subwords_are_pieces_whose_text_comes_back() -> None:
    pytest.importorskip("sentencepiece")
    trained = Segmenter.train("subwords", True, SENTENCES, 60)
    again = Segmenter.of(trained.to_json())
    for sentence in SENTENCES:
        pieces = again.split(sentence)
        assert pieces == trained.split(sentence) and again.join(pieces) == sentence.lower()
    assert len(again.split("Männermatte")) > 2


def test_what_is_no_segmenter_gets_a_sentence() -> None:
    with pytest.raises(CaptioningError, match=r"data.tokenizer=treebank: translation has no such tokenizer"):
        Segmenter.train("treebank", False, SENTENCES, 60)
    with pytest.raises(CaptioningError, match="does not say how its sentences are split"):
        Segmenter.of([])
    pytest.importorskip("sentencepiece")
    with pytest.raises(CaptioningError, match="The model of subwords is damaged"):
        Subwords("no base 64")
    with pytest.raises(CaptioningError, match=r"data.subwords=3: sentencepiece can't make so many"):
        Subwords.train(SENTENCES, 3)
