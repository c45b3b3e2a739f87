"""Captions in flat arrays against plain lists."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from captioning.core.errors import CaptioningError
from captioning.core.vocabulary import PAD, SPECIAL, UNK, Vocabulary
from captioning.data.captions import TokenizedCaptions, build_vocabulary
from captioning.data.photos import Photo
from captioning.text.tokenizer import tokenize

VOCABULARY = Vocabulary([*SPECIAL, "a", "dog", "runs"])
texts = st.lists(st.sampled_from(["a", "dog", "runs", "axolotl", "!"]), max_size=7).map(" ".join)


def photos_of(captions: list[list[str]]) -> list[Photo]:
    return [Photo(number, Path(f"{number}.jpg"), tuple(each)) for number, each in enumerate(captions)]


@given(st.lists(st.lists(texts, max_size=4), min_size=1, max_size=6), st.integers(1, 5))
def test_the_same_as_lists(captions: list[list[str]], max_words: int) -> None:
    expected = []  # of each photograph, its numbered captions
    for each in captions:
        encoded = [VOCABULARY.encode(tokenize(caption)[:max_words]) for caption in each]
        expected.append([numbers for numbers in encoded if set(numbers[1:-1]) - {UNK}])
    if not any(expected):
        with pytest.raises(CaptioningError, match="captions are empty or made of words outside"):
            TokenizedCaptions.of(photos_of(captions), VOCABULARY, max_words)
        return
    tokenized = TokenizedCaptions.of(photos_of(captions), VOCABULARY, max_words)
    assert len(tokenized) == sum(map(len, expected))
    found = [[tokenized[caption].tolist() for caption in tokenized.of_photo(n)] for n in range(len(captions))]
    assert found == expected
    padded = tokenized.padded([tokenized.of_photo(n) for n in range(len(captions))])
    assert padded.shape == (
        len(captions),
        max(map(len, expected)),
        max(len(numbers) for each in expected for numbers in each),
    )
    unpadded = [[row[row != PAD].tolist() for row in image if row.any()] for image in padded]
    assert unpadded == expected
    ended = (padded == PAD).to(torch.int8).diff(dim=-1)
    assert (ended >= 0).all()  # <pad> is never followed by a word


def test_captions_without_a_known_word_are_left_out_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    photos = photos_of([["a dog", "", "axolotl"], ["!", "..."], ["runs axolotl"]])
    with caplog.at_level(logging.WARNING):
        tokenized = TokenizedCaptions.of(photos, VOCABULARY, 20)
    assert [len(tokenized.of_photo(n)) for n in range(3)] == [1, 0, 1]
    assert "4 captions are empty or made of rare words alone" in caplog.text
    assert tokenized[1].tolist() == VOCABULARY.encode(["runs", "axolotl"])


def test_none_left_is_a_sentence() -> None:
    with pytest.raises(CaptioningError, match=r"All 2 captions.*\(3 words\).*lower data\.minimum_count"):
        TokenizedCaptions.of(photos_of([["axolotl"], [""]]), VOCABULARY, 20)


def test_a_few_bytes_a_word() -> None:
    tokenized = TokenizedCaptions.of(photos_of([["a dog runs"] * 5] * 100), VOCABULARY, 20)
    arrays = (tokenized.tokens, tokenized.ends, tokenized.last)
    assert sum(array.nbytes for array in arrays) <= 500 * (5 * 4 + 8) + 100 * 8
    assert all(isinstance(array, np.ndarray) for array in arrays)


def test_the_vocabulary_counts_tokens_of_the_photographs_given() -> None:
    photos = photos_of([["A dog.", "a DOG runs"], ["the dog"]])
    assert build_vocabulary(photos, 2).words == [*SPECIAL, "dog", "a"]
    assert build_vocabulary(photos[:1], 1).words == [*SPECIAL, "a", "dog", "runs"]
