"""Sets of captions of an image, and objects that are not there."""

from pathlib import Path

import numpy as np
import pytest
from nltk.translate.bleu_score import sentence_bleu

from captioning.core.errors import CaptioningError
from captioning.data import read_scenes
from captioning.metrics import References, Scorer, coco_metrics
from captioning.metrics.chair import Objects, chair, objects_of
from captioning.metrics.sets import oracle, self_cider, set_diversity
from captioning.text.tokenizer import tokenize

CATEGORIES = ["person", "dog", "hot dog", "bus", "mouse", "dining table"]


def test_equal_and_unlike_captions_are_the_ends_of_diversity() -> None:
    same = set_diversity([["a dog runs in a park"] * 3, ["two men ride a bus"] * 3])
    assert same.self_cider == pytest.approx(0, abs=1e-7) and same.mbleu_4 == pytest.approx(1)
    assert same.div_1 == pytest.approx((5 / 18 + 5 / 15) / 2)
    assert same.div_2 == pytest.approx((5 / 18 + 4 / 15) / 2)
    unlike = set_diversity([["a b c d e", "f g h i j"], ["k l m n o", "p q r s t"]])
    assert unlike.self_cider == pytest.approx(1) and unlike.mbleu_4 < 1e-3 and unlike.div_1 == 1
    between = set_diversity([["a dog runs in a park", "a dog runs in the snow"], ["two men", "a red bus"]])
    assert 0 < between.self_cider < 1


@pytest.mark.filterwarnings("ignore")  # nltk's, on orders without a match
def test_mbleu_is_nltk_s_bleu_of_each_caption_against_the_others() -> None:
    sets = [
        ["a dog runs in a park", "a dog runs in the park", "a dog runs in a park today"],
        ["two men ride a red bus", "two men ride a bus in town", "two men ride a red bus in town"],
    ]
    expected = [
        sentence_bleu([each.split() for each in captions if each is not own], own.split())
        for captions in sets
        for own in captions
    ]
    assert set_diversity(sets).mbleu_4 == pytest.approx(np.mean(expected), abs=1e-6) and 0.1 < np.mean(expected) < 0.9


def test_self_cider_by_its_equation() -> None:
    sets = References([["a dog runs", "a dog sits", "the cat"], ["two men walk", "two men", "a bus stops"]])
    found = self_cider(sets)
    for image, captions in enumerate(sets.texts):
        scores = [[_cider(a, b, sets) / 10 for b in captions] for a in captions]
        root = np.linalg.svd(np.array(scores), compute_uv=False) ** 0.5
        assert found[image] == pytest.approx(-np.log(root.max() / root.sum()) / np.log(3))


def _cider(candidate: str, reference: str, frequencies: References) -> float:
    scores = Scorer(coco_metrics(frequencies.frequencies), [[reference]]).score([candidate])
    return float(scores.images()["CIDEr"][0])


def test_the_oracle_chooses_for_each_measure() -> None:
    references = [["a dog runs in a park"], ["two men ride a bus"]]
    sets = [["a cat", "a dog runs in a park"], ["two men ride a bus", "a", "a bus"]]
    best = oracle(coco_metrics(), sets, references)
    assert best["ROUGE-L"] == pytest.approx(1) and best["CIDEr"] == pytest.approx(10)
    with pytest.raises(CaptioningError, match="1 of 2 images have fewer than 1 captions"):
        oracle(coco_metrics(), [["a"], []], references)
    with pytest.raises(CaptioningError, match="sets of captions of 1 images"):
        oracle(coco_metrics(), [["a"]], references)
    with pytest.raises(CaptioningError, match="fewer than 2 captions"):
        set_diversity([["a", "b"], ["a"]])


def test_objects_that_captions_name() -> None:
    objects = Objects(CATEGORIES)
    assert objects.of("Two men with hot dogs, a puppy and mice (on tables)") == [
        *("person", "hot dog", "dog", "mouse", "dining table")
    ]
    assert objects.of("buses and a BUS") == ["bus", "bus"]
    assert objects.of("") == []


def test_chair() -> None:
    captions = ["a dog and a cat on a bus", "a man with a dog", "nothing at all"]
    found = chair(captions, [{"dog"}, {"person"}, set()], [[], ["a puppy"], []], categories=CATEGORIES)
    assert found.hallucinated == [["bus"], [], []]
    assert (found.instances, found.sentences) == (1 / 4, 1 / 3)
    assert chair(captions, [{"dog"}, {"person"}, set()], categories=CATEGORIES).instances == 2 / 4
    assert chair(["nothing"], [set()], categories=CATEGORIES).instances == 0
    with pytest.raises(CaptioningError, match="3 captions and the objects of 1 images"):
        chair(captions, [set()], categories=CATEGORIES)


def test_objects_of_drawn_scenes_by_their_boxes(tmp_path: Path) -> None:
    """Scenes' captions are true, and those of the scene before say things that are not there."""
    photos = read_scenes(tmp_path, count=120)["train"]
    words = {box.words[0]: box.words for photo in photos for box in photo.boxes}
    there = [{box.words[0] for box in photo.boxes} for photo in photos]
    captions = [photo.captions[0] for photo in photos]
    assert chair(captions, there, categories=words, synonyms=words).instances == 0
    captions = captions[-1:] + captions[:-1]
    named = [{name for name, names in words.items() if {*names} & {*tokenize(caption)}} for caption in captions]
    assert len(words) == 8 and all(named)
    found = chair(captions, there, categories=words, synonyms=words)
    assert found.sentences == np.mean([bool(said - seen) for said, seen in zip(named, there, strict=True)]) > 0.2


def test_cocos_instances() -> None:
    content = {
        "images": [{"id": 1}, {"id": 2}],
        "categories": [{"id": 18, "name": "dog"}, {"id": 1, "name": "person"}],
        "annotations": [{"image_id": 1, "category_id": 18}, {"image_id": 1, "category_id": 1}],
    }
    assert objects_of(content) == {1: {"dog", "person"}, 2: set()}
    with pytest.raises(CaptioningError, match="no instances in COCO's format"):
        objects_of({"annotations": [{"image_id": 1}]})
