"""Word vectors from GloVe's text form, and a word for each line that is none."""

from pathlib import Path

import pytest
import torch

from captioning.cells import LSTM
from captioning.core.errors import CaptioningError
from captioning.core.features import FeatureSpec
from captioning.decoders import ShowTell
from captioning.decoders.embeddings import load_glove

WORDS = ["<pad>", "<start>", "<end>", "<unk>", "dog", "zebra", "cat"]


def written(folder: Path, text: str) -> Path:
    path = folder / "glove.txt"
    path.write_text(text, encoding="utf-8")
    return path


def test_takes_the_words_that_the_file_has(tmp_path: Path) -> None:
    path = written(tmp_path, "the 0 0 0\ncat 1 -2.5 3e-1\n. . . 9 9 9\nchâteau 0 0 0\ndog 4 5 6\n")
    numbers, vectors = load_glove(path, WORDS, 3)
    assert numbers.tolist() == [4, 6]
    torch.testing.assert_close(vectors, torch.tensor([[4, 5, 6], [1, -2.5, 0.3]]))


def test_a_decoder_begins_with_them_and_keeps_its_own_for_the_others(tmp_path: Path) -> None:
    decoder = ShowTell(len(WORDS), FeatureSpec(pooled=(2,), grid=(1, 1, 2)), LSTM, embedding_size=3, hidden_size=4)
    before = decoder.embedding.weight.detach().clone()
    assert decoder.load_vectors(written(tmp_path, "zebra 1 2 3\nowl 4 5 6\n"), WORDS) == 1
    assert decoder.embedding.weight[5].tolist() == [1, 2, 3]
    before[5] = torch.tensor([1.0, 2.0, 3.0])
    assert torch.equal(decoder.embedding.weight, before)
    assert decoder.embedding.weight.requires_grad


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("the 1 2 3 4\n", "line 1: not a word and 3 numbers"),
        ("the 1 2 3\ncat 1 2\n", "line 2: not a word and 3 numbers"),
        ("the 1 2 3\ncat 1 two 3\n", "line 2: could not convert"),
        (f"2 {'9' * 5001}\n", "its first line says that its vectors have 9{20} numbers, and"),
    ],
)
def test_names_the_line_that_is_no_vector(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(CaptioningError, match=sentence):
        load_glove(written(tmp_path, text), WORDS, 3)


def test_names_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(CaptioningError, match=r"nowhere\.txt"):
        load_glove(tmp_path / "nowhere.txt", WORDS, 3)
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CaptioningError, match=r"binary\.txt"):
        load_glove(tmp_path / "binary.txt", WORDS, 3)


def test_words_are_compared_in_one_form_of_unicode_and_tabs_are_blanks(tmp_path: Path) -> None:
    path = written(tmp_path, "gro\u0308\u00dfe\t1\t2\t3\nowl\t4\t5\t6\n")
    numbers, vectors = load_glove(path, ["owl", "gr\u00f6\u00dfe"], 3)
    assert numbers.tolist() == [0, 1] and vectors.tolist() == [[4, 5, 6], [1, 2, 3]]
