"""Parallel text: Multi30k's task 1, folders and tables of one's own, and a sentence for what is wrong."""

import gzip
import logging
from pathlib import Path

import pytest

from captioning.core.errors import CaptioningError
from captioning.core.sentences import Sentences, SourceVocabulary
from captioning.core.vocabulary import END, SPECIAL, UNK, Vocabulary
from captioning.data import ParallelText, read_multi30k_translation, read_own_translation
from captioning.data.parallel import SentencePair
from captioning.data.sentence_batches import SentenceData

FILES = {
    "train.en": "A dog runs.\nA cat  sits.\n",
    "train.de": "Ein Hund läuft.\nEine Katze sitzt.\n",
    "val.en": "A dog sits.\n",
    "val.de": "Ein Hund sitzt.\n",
}


def write(folder: Path, files: dict[str, str] = FILES) -> Path:
    folder.mkdir(exist_ok=True, parents=True)
    for name, text in files.items():
        (folder / name).write_bytes(text.encode())
    return folder


def read(folder: Path) -> ParallelText:
    return read_own_translation(folder, "en", "de")


def test_a_folder_has_two_files_for_each_split(tmp_path: Path) -> None:
    found = read(write(tmp_path))
    assert found.languages == ("en", "de") and found["train"][1] == SentencePair("A cat sits.", "Eine Katze sitzt.")
    assert {split: len(pairs) for split, pairs in found.splits.items()} == {"train": 2, "val": 1}
    with pytest.raises(CaptioningError, match=r"the split 'test' is empty. Splits with sentences: train \(2\), val"):
        found["test"]
    with gzip.open(tmp_path / "test.en.gz", "wt") as file:
        file.write("A man.\n")
    (tmp_path / "test.de").write_text("Ein Mann.\n")
    assert read(tmp_path)["test"] == [SentencePair("A man.", "Ein Mann.")]


@pytest.mark.parametrize("ending", [".csv", ".tsv"])
def test_a_table_names_source_target_and_split(ending: str, tmp_path: Path) -> None:
    mark = "," if ending == ".csv" else "\t"
    rows = [("split", "source", "target"), ("train", '"A dog, a cat."', "Hund"), ("val", "a", "b"), ("dev", "c", "d")]
    path = tmp_path / f"pairs{ending}"
    path.write_text("\n".join(mark.join(row) for row in rows) + "\n")
    found = read_own_translation(path)
    assert found["train"] == [SentencePair("A dog, a cat.", "Hund")] and len(found["val"]) == 2
    path.write_text(path.read_text().replace("val", "other"))
    with pytest.raises(CaptioningError, match=r"line 3: 'other' is not a split. Say train, val or test"):
        read_own_translation(path)
    path.write_text(mark.join(rows[0]) + f"\ntrain{mark}{mark}b\n")
    with pytest.raises(CaptioningError, match="line 2: the source is empty"):
        read_own_translation(path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"train.de": "Ein Hund läuft.\n"}, r"train.en has 2 lines and \S*train.de has 1: a sentence and its"),
        ({"train.de": "Ein Hund läuft.\n\n"}, r"train.de, line 2: the line is empty, and that of the other"),
        ({"val.en": "\n"}, r"val.en, line 1: the line is empty"),
        ({"val.en": "\n", "val.de": "\n"}, r"the split 'val' has no sentences"),
        ({"test.en": "A man.\n"}, r"there is no test.de or test.de.gz here. Sentences of a split are in two files"),
        ({"train.en": "A dog runs.\nA " + 10_001 * "x"}, r"the sentence 2 of train has 10,003 characters"),
    ],
)
def test_what_is_wrong_in_two_files_gets_a_sentence(change: dict[str, str], says: str, tmp_path: Path) -> None:
    write(tmp_path, {**FILES, **change})
    with pytest.raises(CaptioningError, match=says):
        read(tmp_path)


def test_other_faults_get_a_sentence_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(CaptioningError, match=r"there is no such folder, and it is no .csv, .tsv or .jsonl file"):
        read(tmp_path / "nowhere")
    write(tmp_path)
    with pytest.raises(CaptioningError, match=r"there is no train.fr or train.fr.gz here"):
        read_own_translation(tmp_path, "en", "fr")
    with pytest.raises(CaptioningError, match=r"are both en. Take two languages"):
        read_own_translation(tmp_path, "en", "en")
    (tmp_path / "train.de").write_bytes("Ein Hund läuft.\nEine Katze sitzt.\n".encode("latin-1"))
    with pytest.raises(CaptioningError, match=r"train.de, line 1: this is not UTF-8 text; it may be Latin-1"):
        read(tmp_path)
    write(tmp_path, {"train.en": "A dog runs.\n\nA cat sits.\n", "train.de": "Ein Hund läuft.\n\nEine Katze sitzt."})
    with caplog.at_level(logging.WARNING):
        assert len(read(tmp_path)["train"]) == 2
    assert "lines without a sentence were left out: 2." in caplog.text


def test_multi30k_is_found_in_its_repository(tmp_path: Path) -> None:
    with pytest.raises(CaptioningError, match=r"no such folder. Clone https://github.com/multi30k/dataset"):
        read_multi30k_translation(tmp_path / "nowhere")
    with pytest.raises(CaptioningError, match=r"there is no train.en or train.en.gz here, nor in task1"):
        read_multi30k_translation(tmp_path)
    with pytest.raises(CaptioningError, match=r"data.target_language=nl: Multi30k's task 1 has en, de, fr, cs"):
        read_multi30k_translation(tmp_path, "en", "nl")
    files = {name.replace("val", "test_2016_flickr"): text for name, text in FILES.items()}
    write(tmp_path / "data" / "task1" / "raw", {**FILES, **files})
    assert len(read_multi30k_translation(tmp_path)["test"]) == 1
    assert read_multi30k_translation(tmp_path, "de", "en")["test"][0].source == "Ein Hund sitzt."


@pytest.mark.shared
def test_multi30k_has_its_published_sizes(shared: Path) -> None:
    found = read_multi30k_translation(shared / "sequences" / "multi30k")
    assert {split: len(pairs) for split, pairs in found.splits.items()} == {"train": 29000, "val": 1014, "test": 1000}


def test_batches_hold_sentences_and_translations_side_by_side(tmp_path: Path) -> None:
    source = read(write(tmp_path))
    words = SourceVocabulary([*SPECIAL, "A", "dog", "runs."]), Vocabulary([*SPECIAL, "Ein", "Hund"])
    data = SentenceData(
        source, words, split_source=str.split, split_target=str.split, max_words=2, batch_size=2, workers=0, seed=0
    )
    _, places = data.dataset("train", shuffle=True)
    assert list(places) == [0]  # the other translation has no known word
    (batch,) = data.loader("train", shuffle=True)
    assert batch.sources.words.tolist() == [[4, 5, END]] and batch.targets.tolist() == [4, 5, END]  # cut at two words
    assert "the sentences 1 of the training split" in data.describe_batch(batch)
    (whole,) = data.loader("val")
    assert whole.sources.words.tolist() == [[4, 5, UNK, END]] and whole.photos.tolist() == [0]
    assert Sentences.of([[], [5, 6]]).words.tolist() == [[UNK, 0], [5, 6]]


def test_line_ends_of_any_system_end_a_line(tmp_path: Path) -> None:
    expected = read(write(tmp_path / "plain")).splits
    for name, end in (("windows", "\r\n"), ("old", "\r")):
        files = {key: text.replace("\n", end) for key, text in FILES.items()}
        assert read(write(tmp_path / name, files)).splits == expected
    mixed = {**FILES, "train.en": "A dog\rruns.\nA cat sits.\n"}  # a stray one within a line ends none
    assert read(write(tmp_path / "mixed", mixed))["train"][0].source == "A dog runs."
