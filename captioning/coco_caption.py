"""pycocoevalcap's classes with the same numbers, without Java but for SPICE: another framework changes one import.

    from captioning.coco_caption import COCOEvalCap  # from pycocoevalcap.eval import COCOEvalCap

    evaluation = COCOEvalCap(coco, coco.loadRes("results.json"))
    evaluation.evaluate()
    evaluation.eval["CIDEr"]

``PTBTokenizer``, ``Bleu``, ``Meteor``, ``Rouge``, ``Cider`` and ``Spice`` take and give what pycocoevalcap's do:
dictionaries from image ids to lists of captions. METEOR needs the tables of ``captioning[java]``; ``COCOEvalCap``
leaves out METEOR and SPICE where they are unavailable, and says so. A caption with a carriage return or another line
separator stays at its image, where pycocoevalcap would give later images other captions.

Dimensions: N images.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from captioning.core.errors import CaptioningError
from captioning.metrics import bleu, cider, meteor, rouge, spice
from captioning.metrics.metric import Metric, Pairs, UnavailableError
from captioning.metrics.ngrams import ORDERS, Floats
from captioning.metrics.references import References
from captioning.metrics.scores import Scores
from captioning.text.tokenizer import tokenize_coco

Captions = Mapping[Any, Sequence[str]]  # by image


class PTBTokenizer:
    """coco-caption's tokenizer."""

    def tokenize(self, captions_for_image: Mapping[Any, Sequence[Mapping[str, str]]]) -> dict[Any, list[str]]:
        """Tokenize ``{image: [{"caption": …}, …]}`` into ``{image: ["token token …", …]}``."""
        texts = [each["caption"] for captions in captions_for_image.values() for each in captions]
        tokens = map(" ".join, tokenize_coco(texts))
        return {image: [next(tokens) for _ in captions] for image, captions in captions_for_image.items() if captions}


class _Scorer:
    """A score of tokenized captions."""

    def _metric(self) -> Metric:
        raise NotImplementedError

    def method(self) -> str:
        """The score's name in progress messages."""
        raise NotImplementedError

    def compute_score(self, gts: Captions, res: Captions) -> tuple[Any, Any]:
        """The score of the corpus, and those of the images.

        Args:
            gts: the references of each image, as tokens joined by blanks.
            res: one caption of each of the same images, in a list.

        Raises:
            CaptioningError: an image has no reference, or not one caption.
        """
        return self.of(pairs_of(gts, res))

    def of(self, pairs: Pairs) -> tuple[Any, Any]:
        """The same of captions with counted n-grams."""
        ((_, corpus, images),) = _scores(self._metric(), pairs)
        return np.float64(corpus), images


class Bleu(_Scorer):
    """BLEU-1 to -n."""

    def __init__(self, n: int = ORDERS) -> None:
        """Take the longest n-grams' number of words, 1 to 4."""
        if not 1 <= n <= ORDERS:
            raise CaptioningError(f"Bleu({n}): n-grams have 1 to {ORDERS} words. Take Bleu({ORDERS}).")
        self._n = n

    def method(self) -> str:
        """``Bleu``."""
        return "Bleu"

    def compute_score(self, gts: Captions, res: Captions, verbose: int = 1) -> tuple[list[float], list[list[float]]]:
        """The n scores of the corpus, and a list of the images' scores for each; ``verbose`` prints the counts."""
        return self.of(pairs_of(gts, res), verbose)

    def of(self, pairs: Pairs, verbose: int = 1) -> tuple[list[float], list[list[float]]]:
        """The same of captions with counted n-grams."""
        metric = bleu.Bleu()
        scores = Scores.of([metric], pairs)
        if verbose > 0:
            *counts, length, reference = np.asarray(scores.statistics[0]).sum(0).astype(int).tolist()
            guess, correct = counts[ORDERS : ORDERS + self._n], counts[: self._n]
            print({"testlen": length, "reflen": reference, "guess": guess, "correct": correct})
            print("ratio:", (length + 1e-15) / (reference + 1e-9))
        return list(scores.corpus().values())[: self._n], [each.tolist() for each in scores.images().values()][
            : self._n
        ]


class Meteor(_Scorer):
    """METEOR 1.5."""

    def __init__(self) -> None:
        """Check that the tables are there.

        Raises:
            UnavailableError: ``captioning[java]`` is not installed.
        """
        meteor.tables.tables()

    def method(self) -> str:
        """``METEOR``."""
        return "METEOR"

    def of(self, pairs: Pairs) -> tuple[float, list[float]]:
        """The score of the corpus, and a list of those of the images."""
        corpus, images = super().of(pairs)
        return float(corpus), images.tolist()

    def _metric(self) -> Metric:
        return meteor.Meteor()


class Rouge(_Scorer):
    """ROUGE-L."""

    beta = rouge.BETA

    def method(self) -> str:
        """``Rouge``."""
        return "Rouge"

    def calc_score(self, candidate: Sequence[str], refs: Sequence[str]) -> float:
        """The score of one image: a list of one caption against the references."""
        return rouge.rouge_l(candidate[0].split(" "), [each.split(" ") for each in refs])

    def _metric(self) -> Metric:
        return rouge.RougeL()


class Cider(_Scorer):
    """CIDEr-D, whose document frequencies are those of the references."""

    def __init__(self, test: object = None, refs: object = None, n: int = ORDERS, sigma: float = cider.SIGMA) -> None:
        """Take pycocoevalcap's parameters; the original ignores the first two.

        Raises:
            CaptioningError: ``n`` or ``sigma`` are others than those of the published scores.
        """
        if (n, sigma) != (ORDERS, cider.SIGMA):
            raise CaptioningError(f"Cider(n={n}, sigma={sigma}): here n is {ORDERS} and sigma {cider.SIGMA:g}.")

    def method(self) -> str:
        """``CIDEr``."""
        return "CIDEr"

    def _metric(self) -> Metric:
        return cider.Cider()


class Spice(_Scorer):
    """SPICE, by the authors' Java program."""

    def method(self) -> str:
        """``SPICE``."""
        return "SPICE"

    def of(self, pairs: Pairs) -> tuple[np.float64, list[dict[str, dict[str, float]]]]:
        """The mean of the images' F-scores, and for each image the scores of each category."""
        answers = spice.Spice().answers(pairs)
        images = [
            {category: {name: _number(value) for name, value in each.items()} for category, each in answer.items()}
            for answer in answers
        ]
        return np.float64(np.mean([each["All"]["f"] for each in images])), images


class COCO(Protocol):
    """What is used of ``pycocotools.coco.COCO``: ids and annotations, each with a ``caption``."""

    imgToAnns: Any  # noqa: N815  # pycocotools' name

    def getImgIds(self) -> list[Any]:
        """The ids of the images."""


class COCOEvalCap:
    """The scores of a results file.

    Attributes:
        eval: the score of the corpus by name: ``Bleu_1`` to ``Bleu_4``, ``METEOR``, ``ROUGE_L``, ``CIDEr``, ``SPICE``.
        imgToEval: the scores of each image.
        evalImgs: the same as a list.
        params: ``image_id``, the images to score; by default all of ``coco``.
    """

    def __init__(self, coco: COCO, cocoRes: COCO) -> None:
        """Take annotations, and the results that ``coco.loadRes(…)`` gives."""
        self.evalImgs: list[dict[str, Any]] = []
        self.eval: dict[str, Any] = {}
        self.imgToEval: dict[Any, dict[str, Any]] = {}
        self.coco, self.cocoRes = coco, cocoRes
        self.params = {"image_id": coco.getImgIds()}

    def evaluate(self) -> None:
        """Tokenize the captions and compute the scores.

        Raises:
            CaptioningError: an image has no reference, or not one caption.
        """
        images = self.params["image_id"]
        print("tokenization...")
        gts = PTBTokenizer().tokenize({image: self.coco.imgToAnns[image] for image in images})
        res = PTBTokenizer().tokenize({image: self.cocoRes.imgToAnns[image] for image in images})
        print("setting up scorers...")
        pairs = pairs_of(gts, res)
        for kind, name in ((Bleu, "Bleu"), (Meteor, "METEOR"), (Rouge, "ROUGE_L"), (Cider, "CIDEr"), (Spice, "SPICE")):
            try:
                scorer: Any = kind()
                print(f"computing {scorer.method()} score...")
                score, scores = scorer.of(pairs)
            except UnavailableError as error:
                print(f"{name} is left out. {error}")
                continue
            several = zip(score, scores, strict=True) if kind is Bleu else [(score, scores)]
            for n, (value, each) in enumerate(several, start=1):
                full = f"{name}_{n}" if kind is Bleu else name
                self.setEval(value, full)
                self.setImgToEvalImgs(each, gts.keys(), full)
                print(f"{full}: {value:0.3f}")
        self.setEvalImgs()

    def setEval(self, score: Any, method: str) -> None:
        """Keep a score of the corpus."""
        self.eval[method] = score

    def setImgToEvalImgs(self, scores: Any, imgIds: Any, method: str) -> None:
        """Keep the scores of the images."""
        for image, score in zip(imgIds, scores, strict=True):
            self.imgToEval.setdefault(image, {"image_id": image})[method] = score

    def setEvalImgs(self) -> None:
        """Make the list of the images' scores."""
        self.evalImgs = list(self.imgToEval.values())


def pairs_of(gts: Captions, res: Captions) -> Pairs:
    """Tokenized captions and references, for several scorers.

    Raises:
        CaptioningError: the images of captions and references differ, or an image has no reference or not one caption.
    """
    if gts.keys() != res.keys():
        some = sorted(map(repr, gts.keys() ^ res.keys()))
        raise CaptioningError(
            f"{len(some)} images have captions or references alone: {', '.join(some[:10])}. Score the same images, as "
            "by params['image_id'] = coco_results.getImgIds()."
        )
    for image, captions in res.items():
        if len(captions) != 1 or isinstance(captions, str):
            raise CaptioningError(f"Image {image!r} has {len(captions)} captions to score: give one, in a list.")
    return Pairs(References([list(each) for each in gts.values()], _split), [res[image][0] for image in gts])


def _split(captions: Sequence[str]) -> list[list[str]]:
    return [caption.split(" ") if caption else [] for caption in captions]


def _scores(metric: Metric, pairs: Pairs) -> list[tuple[str, float, Floats]]:
    """Each measure of a metric with the score of the corpus and ``(N,)`` those of the images."""
    scores = Scores.of([metric], pairs)
    return [(name, value, scores.images()[name]) for name, value in scores.corpus().items()]


def _number(value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return float("nan")
