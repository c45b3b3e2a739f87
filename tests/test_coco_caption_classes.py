"""``captioning.coco_caption`` against pycocoevalcap: the same classes, calls, output and numbers."""

import contextlib
import importlib
import io
import json
import random
import re
import shutil
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO

from captioning import coco_caption, metrics
from captioning.core.errors import CaptioningError
from captioning.metrics import UnavailableError
from captioning.metrics.meteor.metric import count_matches
from captioning.metrics.meteor.normaliser import normalise
from captioning.metrics.meteor.tables import installed, tables
from captioning.text.tokenizer import tokenize

TEXT = (
    "a A the dog dogs cat on in of is I. S. U.S. no. fig. etc. 5 10 1,000 1/2 ½ (red) [it] {x} <b> </b> : ; ! ? ... - "
    "-- don't it's dogs' T-shirt & &amp; $5 € 😀 é 日本 \ua7d0 ② http://x.org/a a@b.com (555) 555-1234 :-( '' ` 's , ."
)
NASTY = [*TEXT.split(" "), "1 1/2"]
FEW = "a the of on in on top dog dogs puppy man men people sitting sit seated street road next to beside"
WORSE = (
    "u.s. u.s e.g. st. 1,000 5'6 's '' ` .. ... .... - -- a-b o'neil 1\xa01/2 é ß 日本 :) $5 & #a , ' vs. no. 5 k5 is"
)


class NoSpice(coco_caption.Spice):
    """The program needs models that no package has."""

    def of(self, pairs: Any) -> Any:
        raise UnavailableError("no models")

    def compute_score(self, gts: Any, res: Any) -> Any:
        return 0.0, [0.0 for _ in gts]


def nasty(draw: random.Random) -> str:
    return draw.choice(["", " ", " "]).join(draw.choices(NASTY, k=draw.randint(0, 12)))


@pytest.fixture(scope="module")
def meteor() -> Any:
    """The original's METEOR; its program reads its tables for some eight seconds, here once."""
    original = pytest.importorskip("pycocoevalcap.meteor.meteor")
    if shutil.which("java") is None:
        pytest.skip("needs java")
    return original.Meteor()


@pytest.fixture
def original(meteor: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The original's module, and ours, without SPICE, whose models can't be installed as a package."""
    module = importlib.import_module("pycocoevalcap.eval")
    monkeypatch.setattr(module, "Meteor", lambda: meteor)
    for each in (module, coco_caption):
        monkeypatch.setattr(each, "Spice", NoSpice)
    return module


@pytest.fixture
def coco(tmp_path: Path) -> Callable[[list[str], list[list[str]]], tuple[COCO, COCO]]:
    """A function from captions and references to pycocotools' objects."""

    def make(candidates: list[str], references: list[list[str]]) -> tuple[COCO, COCO]:
        images = [{"id": 7 * number} for number in range(len(references))]
        given = [
            {"image_id": 7 * n, "caption": caption} for n, captions in enumerate(references) for caption in captions
        ]
        said = [{"image_id": 7 * number, "caption": caption} for number, caption in enumerate(candidates)]
        content = {"images": images, "annotations": [{**each, "id": n} for n, each in enumerate(given)]}
        (tmp_path / "given.json").write_text(json.dumps({**content, "info": {}, "type": "captions"}))
        (tmp_path / "said.json").write_text(json.dumps(said))
        with contextlib.redirect_stdout(io.StringIO()):
            annotations = COCO(str(tmp_path / "given.json"))
            return annotations, annotations.loadRes(str(tmp_path / "said.json"))

    return make


def evaluate(evaluation: Any) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        evaluation.evaluate()
    return printed.getvalue()


@pytest.mark.java
def test_a_thousand_nasty_images_have_the_originals_numbers(
    coco: Callable[..., tuple[COCO, COCO]], original: Any
) -> None:
    draw = random.Random(1)
    references = [[nasty(draw) for _ in range(draw.randint(1, 3))] for _ in range(1000)]
    candidates = [nasty(draw) if draw.random() < 0.5 else draw.choice(each) + " " + nasty(draw) for each in references]
    theirs, ours = (module.COCOEvalCap(*coco(candidates, references)) for module in (original, coco_caption))
    expected, printed = evaluate(theirs), evaluate(ours)
    assert printed.replace("SPICE is left out. no models\n", "") == expected.replace("SPICE: 0.000\n", "")
    assert {**ours.eval, "SPICE": 0.0} == pytest.approx(theirs.eval, abs=1e-9)
    assert ours.imgToEval.keys() == theirs.imgToEval.keys() and len(ours.evalImgs) == 1000
    for image, scores in theirs.imgToEval.items():
        assert {**ours.imgToEval[image], "SPICE": 0.0} == pytest.approx(scores, abs=1e-9)


def samples(shared: Path) -> list[tuple[str, list[str]]]:
    """Captions against others: of people, of a model that repeats itself, of few words, and worse ones."""
    draw, captions = random.Random(3), defaultdict(list)
    for each in json.loads((shared / "coco_mini" / "captions_val2017.json").read_text())["annotations"]:
        captions[each["image_id"]].append(" ".join(tokenize(each["caption"])))
    some = draw.sample(list(captions.values()), 400)
    images = [(first, rest) for first, *rest in some[:200]]
    images += [(f"{first} {first[-12:]}".strip(), rest) for first, *rest in some[200:300]]
    images += [(draw.choice(some)[0], rest) for rest in some[300:]]
    few = FEW.split()
    salad = [
        (" ".join(draw.choices(few, k=draw.randint(0, 25))), " ".join(draw.choices(few, k=12))) for _ in range(300)
    ]
    worse = WORSE.split(" ")
    salad += [(" ".join(draw.choices(worse, k=9)), " ".join(draw.choices(worse, k=9))) for _ in range(500)]
    return [*images, *((candidate, [reference]) for candidate, reference in salad)]


@pytest.mark.skipif(not installed(), reason="needs captioning[java]: METEOR's tables")
@pytest.mark.java
@pytest.mark.shared
def test_meteor_of_real_captions_and_worse_ones(shared: Path, meteor: Any) -> None:
    images = samples(shared)
    corpus, each = meteor.compute_score(
        {n: refs for n, (_, refs) in enumerate(images)}, {n: [c] for n, (c, _) in enumerate(images)}
    )
    known = tables()
    shortened = known.abbreviations()
    counts = count_matches(
        [normalise(candidate, shortened) for candidate, _ in images],
        [[normalise(reference, shortened) for reference in references] for _, references in images],
        known,
    )
    found = metrics.Meteor().score(counts, np.ones(len(images)))[:, 0]
    wrong = [image for image, ours, theirs in zip(images, found, each, strict=True) if abs(ours - theirs) > 1e-9]
    assert not wrong
    assert metrics.Meteor().score(counts.sum(0), np.array(len(images)))[0] == pytest.approx(corpus, abs=1e-9)


@pytest.mark.java
@pytest.mark.shared
def test_the_original_s_own_example_prints_the_same(
    shared: Path, tmp_path: Path, original: Any, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """The file that pycocoevalcap ships, as it is and with one import changed; ``pytest -s`` shows both outputs.

    Its two files are val2017's annotations and the first caption of each image; with ``-s`` all images, else 500.
    """
    content = json.loads((shared / "coco_mini" / "captions_val2017.json").read_text(encoding="utf-8"))
    everything = request.config.getoption("capture") == "no"
    if not everything:
        few = {image["id"] for image in content["images"][:500]}
        content["annotations"] = [each for each in content["annotations"] if each["image_id"] in few]
    first: dict[int, dict[str, Any]] = {}
    rest = [each for each in content["annotations"] if first.setdefault(each["image_id"], each) is not each]
    said = [{"image_id": image, "caption": each["caption"]} for image, each in first.items()]
    (tmp_path / "captions_val2014.json").write_text(json.dumps({**content, "annotations": rest}))
    (tmp_path / "captions_val2014_fakecap_results.json").write_text(json.dumps(said))
    monkeypatch.chdir(tmp_path)
    example = (Path(original.__file__).parent / "example" / "coco_eval_example.py").read_text()
    changed = example.replace("from pycocoevalcap.eval import", "from captioning.coco_caption import")
    assert changed != example
    outputs = []
    for program in (example, changed):
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(program, {})
        lines = re.sub(r"t=[\d.]+s", "t=…s", printed.getvalue()).splitlines()
        outputs.append([line for line in lines if "SPICE" not in line])
    print("", "pycocoevalcap", *outputs[0], "", "captioning.coco_caption", *outputs[1], sep="\n")
    assert outputs[0] == outputs[1]
    assert any(line.startswith("METEOR: 0.") for line in outputs[0])
    if everything:
        assert outputs[0][-7:-5] == ["Bleu_1: 0.634", "Bleu_2: 0.437"]


def test_classes_give_what_pycocoevalcap_s_give() -> None:
    bleu, rouge, cider = (
        getattr(pytest.importorskip(f"pycocoevalcap.{name.lower()}.{name.lower()}"), name)
        for name in ("Bleu", "Rouge", "Cider")
    )
    gts = {3: ["a dog runs", "the dog runs fast"], "x": ["a cat  on a bed"], 1: ["1\xa01/2 dogs", ""]}
    res = {3: ["a dog runs fast"], "x": ["a cat on"], 1: ["1\xa01/2 dogs"]}
    for mine, theirs in (
        (coco_caption.Bleu(3), bleu(3)),
        (coco_caption.Rouge(), rouge()),
        (coco_caption.Cider(), cider()),
    ):
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            corpus, images = mine.compute_score(gts, res)
        with contextlib.redirect_stdout(io.StringIO()) as expected:
            corpus_of_theirs, images_of_theirs = theirs.compute_score(gts, res)
        assert type(corpus) is type(corpus_of_theirs) and type(images) is type(images_of_theirs)
        assert corpus == pytest.approx(corpus_of_theirs)
        np.testing.assert_allclose(images, images_of_theirs, atol=1e-12)
        assert printed.getvalue() == expected.getvalue() and mine.method() == theirs.method()
    assert coco_caption.Rouge().calc_score(["a b"], ["a c", "b"]) == rouge().calc_score(["a b"], ["a c", "b"])


def test_a_subset_of_images_and_what_is_missing(coco: Callable[..., tuple[COCO, COCO]], monkeypatch: Any) -> None:
    annotations, said = coco(["a (red) dog", "a cat"], [["a (red) dog"], ["a cat", "the cat"], ["no caption"]])
    monkeypatch.setattr(coco_caption.Meteor, "__init__", lambda self: (_ for _ in ()).throw(UnavailableError("gone")))
    evaluation = coco_caption.COCOEvalCap(annotations, said)
    with pytest.raises(CaptioningError, match="1 images have captions or references alone: 14"):
        evaluate(evaluation)
    evaluation.params["image_id"] = said.getImgIds()
    printed = evaluate(evaluation)
    assert "METEOR is left out. gone" in printed and "SPICE is left out." in printed
    assert list(evaluation.eval) == ["Bleu_1", "Bleu_2", "Bleu_3", "Bleu_4", "ROUGE_L", "CIDEr"]
    assert evaluation.imgToEval[7]["ROUGE_L"] == 1
    assert coco_caption.PTBTokenizer().tokenize({1: [{"caption": "A (red)\rdog."}], 2: []}) == {
        1: ["a -lrb- red -rrb- dog"]
    }


@pytest.mark.skipif(not installed(), reason="needs captioning[java]: METEOR's tables")
def test_meteor() -> None:
    score, scores = coco_caption.Meteor().compute_score({1: ["a man riding a bicycle"]}, {1: ["a man rides a bike"]})
    assert scores == [pytest.approx(score)] and type(score) is float
    assert score == pytest.approx(0.8363636363636364)


def test_spice_by_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = {"All": {"f": 0.5, "pr": 1.0}, "Color": {"f": None, "pr": None}}
    monkeypatch.setattr(coco_caption.spice.Spice, "answers", lambda self, pairs: [answer] * len(pairs))
    score, scores = coco_caption.Spice().compute_score({1: ["a"], 2: ["b"]}, {1: ["a"], 2: ["b"]})
    assert score == 0.5 and scores[1]["All"] == {"f": 0.5, "pr": 1.0} and np.isnan(scores[0]["Color"]["f"])


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: coco_caption.Bleu(5), "1 to 4"),
        (lambda: coco_caption.Cider(sigma=1.0), "sigma 6"),
        (lambda: coco_caption.Rouge().compute_score({1: ["a"]}, {1: ["a", "b"]}), "Image 1 has 2 captions"),
        (lambda: coco_caption.Rouge().compute_score({1: ["a"]}, {2: ["a"]}), "2 images"),
        (lambda: coco_caption.Rouge().compute_score({1: []}, {1: ["a"]}), "no reference"),
    ],
)
def test_what_the_original_asserts_is_a_sentence(call: Callable[[], object], told: str) -> None:
    with pytest.raises(CaptioningError, match=told):
        call()
