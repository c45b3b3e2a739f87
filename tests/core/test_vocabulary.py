"""Words and their numbers."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captioning.core.errors import CaptioningError
from captioning.core.vocabulary import END, PAD, SPECIAL, START, UNK, CharacterVocabulary, Vocabulary

words = st.text("abcé-'", min_size=1, max_size=3)
captions = st.lists(st.lists(words, max_size=6), min_size=1, max_size=12)


def test_by_falling_count_ties_in_alphabetical_order() -> None:
    vocabulary = Vocabulary.build([["b", "a", "z"], ["z", "b", "a", "z"], ["rare"]], minimum_count=2)
    assert vocabulary.words == [*SPECIAL, "z", "a", "b"]
    assert len(vocabulary) == 7


@given(captions, st.integers(1, 3), st.randoms())
def test_depends_on_the_counts_alone(captions: list[list[str]], minimum: int, random) -> None:
    counts = Counter(word for caption in captions for word in caption)
    frequent = {word for word, count in counts.items() if count >= minimum}
    if not frequent:
        with pytest.raises(CaptioningError, match=r"lower data\.minimum_count"):
            Vocabulary.build(captions, minimum)
        return
    built = Vocabulary.build(captions, minimum).words
    assert set(built) == {*SPECIAL, *frequent}
    pairs = [(-counts[word], word) for word in built[len(SPECIAL) :]]
    assert pairs == sorted(pairs)
    shuffled = [random.sample(caption, len(caption)) for caption in random.sample(captions, len(captions))]
    assert Vocabulary.build(shuffled, minimum).words == built


@given(st.lists(st.sampled_from(["a", "b", "dog", "unheard"]), max_size=8))
def test_there_and_back(caption: list[str]) -> None:
    vocabulary = Vocabulary([*SPECIAL, "a", "b", "dog"])
    numbers = vocabulary.encode(caption)
    assert (numbers[0], numbers[-1]) == (START, END)
    expected = " ".join("<unk>" if word == "unheard" else word for word in caption)
    assert vocabulary.decode(numbers) == expected
    assert vocabulary.decode([*numbers, vocabulary.numbers["dog"], PAD]) == expected  # what follows the end is not said


def test_special_words_in_a_caption_are_no_signals() -> None:
    """A caption that says "<end>" or "<pad>" must neither end there nor be taken for padding."""
    vocabulary = Vocabulary.build([["a", "<end>", "<pad>", "dog", "<start>", "<unk>"]], 1)
    assert vocabulary.words == [*SPECIAL, "a", "dog"]
    assert vocabulary.encode(["a", "<pad>", "<end>", "<start>", "dog"]) == [START, 4, UNK, UNK, UNK, 5, END]


def test_lists_that_are_no_vocabulary_are_refused() -> None:
    with pytest.raises(CaptioningError, match="begins with <pad> <start> <end> <unk>"):
        Vocabulary(["a", "b"])
    with pytest.raises(CaptioningError, match=r"occur twice: \['a'\]"):
        Vocabulary([*SPECIAL, "a", "b", "a"])


def test_characters_are_numbered_from_0_and_unknown_ones_named() -> None:
    vocabulary = CharacterVocabulary("\n eé☃")
    assert len(vocabulary) == 5
    assert vocabulary.encode("é e\n") == [3, 1, 2, 0]
    assert vocabulary.decode([4, 0, 2]) == "☃\ne"
    with pytest.raises(CaptioningError, match=r"^'x' \(U\+0078\), '你' \(U\+4F60\): not in the text .* 5 characters"):
        vocabulary.encode("xé你x")
    with pytest.raises(CaptioningError, match=r"'9' \(U\+0039\), …: not in"):
        vocabulary.encode("0123456789abc")


@pytest.mark.parametrize("characters", ["", "a", "aba"])
def test_a_vocabulary_of_characters_has_two_or_more_each_once(characters: str) -> None:
    with pytest.raises(CaptioningError, match="two different characters"):
        CharacterVocabulary(characters)
