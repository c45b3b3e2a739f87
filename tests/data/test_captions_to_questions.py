"""Questions from captions: the rules on captions of each form, what is not asked, and the thinning."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from captioning.__main__ import main
from captioning.data import read_own_questions
from captioning.data.captions_to_questions import Asked, agreed, questions_of, thinned
from captioning.text.wordnet import base_form, wordnet

ASKED = {
    "Two dogs are running on the grass.": [("how many dogs are running on the grass", "two", "number")],
    "A man looks at 3 boats on a lake": [("how many boats are there", "three", "number")],
    "A red car stands on the street": [("what is the color of the car", "red", "colour")],
    "A dog is running through the snow": [("what is running through the snow", "dog", "object")],
    "A man riding a horse on the beach": [("what is the man riding on the beach", "horse", "object")],
    "The cat sleeps in a bathtub": [("where is the cat", "bathtub", "location")],
    "A group of people are sitting on a bench.": [("what are the people sitting on", "bench", "object")],
    "Two men in red helmets ride a raft in the river": [
        ("what do the two men ride in the river", "raft", "object"),
        ("what are the two men wearing", "helmets", "object"),
        ("what is the color of the helmets", "red", "colour"),
    ],
    "A brown dog jumps over a log, and a man watches": [
        ("what does the brown dog jump over", "log", "object"),
        ("what jumps over a log", "dog", "object"),
    ],
    "Four men wearing turbans wait in the street": [("how many men are there", "four", "number")],
    "Three women wearing scarves standing together": [("how many women are there", "three", "number")],
    "A woman in a white coat skis down a hill": [("what is the color of the coat", "white", "colour")],
    "A man piloting a boat with goods in the back": [("what is the man piloting", "boat", "object")],
}
SILENT = (
    "A black and white dog on the street",  # of two colours
    "A two year old boy on the street",  # an age
    "Dog runs",  # too short
    "The man in a red and blue shirt in the street stands",
    "A horse rides a horse on the horse",  # the answer stands in the question
    "Two dogs and a black dog in the air",  # three dogs, two of them of no colour
    "A man and a woman hold a ball and a bat",  # of two subjects, and of two things
    "A man holds a ball and a bat",
    "Men play and are covered in mud",  # not where they are
)


@pytest.fixture(scope="module", autouse=True)
def words(shared: Path) -> Iterator[None]:
    """WordNet from the folder of real data."""
    import nltk

    nltk.data.path.insert(0, str(shared / "nltk_data"))
    wordnet.cache_clear()
    yield
    nltk.data.path.pop(0)


def test_each_form_of_caption_is_asked_about() -> None:
    for caption, expected in ASKED.items():
        found = [(each.text, each.answer, each.kind) for each in questions_of(caption)]
        assert set(expected) <= set(found), (caption, found)


def test_what_leaves_a_doubt_is_not_asked() -> None:
    for caption in SILENT:
        assert questions_of(caption) == [], caption
    far = questions_of("A man looks over a railing at the boats and a woman in the water")  # who is in the water?
    assert [(each.text, each.answer) for each in far] == [("what does the man look over", "railing")]
    two_verbs = questions_of("A brown dog wearing a collar is running through some water")
    assert [(each.text, each.answer) for each in two_verbs] == [
        ("what is the color of the dog", "brown"),
        ("what is running through some water", "dog"),
        ("what is the brown dog running through", "water"),
    ]


def test_captions_that_dispute_a_number_or_a_colour_ask_neither() -> None:
    asked = [
        *(Asked("how many dogs are there", answer, "number") for answer in ("two", "three")),
        *(Asked("what is the color of the dog", answer, "colour") for answer in ("brown", "brown")),
        *(Asked("what is the man holding", answer, "object") for answer in ("ball", "bat")),
    ]
    assert agreed(asked) == [asked[2], asked[4]]


def test_frequent_answers_are_thinned_and_rare_ones_stay() -> None:
    many = [(number, Asked("what", "dog", "object")) for number in range(1000)]
    few = [(number, Asked("what", "cat", "object")) for number in range(90)]
    found = list(thinned([*many, *few]))
    dogs = [place for place, each in found if each.answer == "dog"]
    assert dogs[:100] == list(range(100)) and 200 < len(dogs) < 600
    assert len(found) - len(dogs) == 90 and found == list(thinned([*many, *few]))


def test_without_wordnet_there_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from nltk.corpus import wordnet as of_nltk

    def missing() -> None:
        raise LookupError

    images, captions = [{"id": 1, "file_name": "1.jpg"}], [{"id": 1, "image_id": 1, "caption": "A dog eats a bone"}]
    (tmp_path / "c.json").write_text(json.dumps({"images": images, "annotations": captions}))
    monkeypatch.setattr(of_nltk, "ensure_loaded", missing, raising=False)
    for cached in (wordnet, base_form):
        cached.cache_clear()
    assert main(["questions", str(tmp_path / "c.json"), "--out", str(tmp_path / "q.jsonl")]) == 1
    assert "python -m nltk.downloader wordnet" in capsys.readouterr().err
    assert not (tmp_path / "q.jsonl").exists()
    wordnet.cache_clear()


def test_the_command_makes_own_questions(
    tmp_path: Path, shared: Path, in_child: "Callable[..., subprocess.CompletedProcess[str]]"
) -> None:
    captions = [{"id": number, "image_id": number, "caption": caption} for number, caption in enumerate(ASKED)]
    images = [{"id": number, "file_name": f"{number}.jpg"} for number in range(len(ASKED))]
    (tmp_path / "captions.json").write_text(json.dumps({"images": images, "annotations": captions}))
    (tmp_path / "photos").mkdir()
    for number in range(len(ASKED)):
        (tmp_path / "photos" / f"{number}.jpg").touch()
    done = in_child(["questions", "captions.json", "--images", "photos", "--out", "q.jsonl"], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = read_own_questions(tmp_path / "q.jsonl", validation=1)
    asked = [each for split in found.splits.values() for each in split]
    assert {(each.text, each.answer, each.kind) for each in asked} >= {one for each in ASKED.values() for one in each}
    assert in_child(["questions", "captions.json", "data=scenes"], cwd=tmp_path).returncode == 2


def test_the_command_overwrites_nothing_of_somebody_else(
    tmp_path: Path, shared: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    images, captions = [{"id": 1, "file_name": "1.jpg"}], [{"id": 1, "image_id": 1, "caption": "A dog eats a bone"}]
    content = json.dumps({"images": images, "annotations": captions})
    path = tmp_path / "a=b.json"  # the name of a file that is there is no setting
    path.write_text(content)
    monkeypatch.chdir(tmp_path)
    assert main(["questions", "a=b.json", "--out", "a=b.json"]) == 0
    assert (tmp_path / "a=b.json.~1~").read_text() == content
    captions[0]["caption"] = "dog " * 5000
    path.write_text(json.dumps({"images": images, "annotations": captions}))
    assert main(["questions", "a=b.json"]) == 1
    assert "a caption of image 1 has 20,000 characters" in capsys.readouterr().err
