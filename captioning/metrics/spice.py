"""SPICE: the agreement of a caption with its references on objects, attributes and relations (F-score).

Anderson et al., "SPICE: Semantic Propositional Image Caption Evaluation" (arXiv:1607.08822). The authors' program
computes SPICE and needs Java 8 or 11, Stanford CoreNLP and ``captioning[java]``.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from captioning.core.measure import Measure
from captioning.metrics.cider import Cider
from captioning.metrics.java import ADVICE, TIMEOUT, package, require, run, sentence
from captioning.metrics.metric import Metric, Pairs, UnavailableError
from captioning.metrics.ngrams import Floats


class Spice(Metric):
    """SPICE, 0 to 1: the mean of the images' SPICE; on request SPIDEr too, 0 to 5.5: its mean with CIDEr.

    SPIDEr: Liu et al., "Improved Image Captioning via Policy Gradient Optimization of SPIDEr" (ICCV 2017).
    """

    name = "SPICE"

    def __init__(self, timeout: float = TIMEOUT, spider: bool = False, cider: Cider | None = None) -> None:
        """Take the settings.

        Args:
            timeout: the seconds after which the program is killed.
            spider: whether SPIDEr is a second measure.
            cider: the CIDEr of SPIDEr; by default coco-caption's.
        """
        self.timeout, self.spider, self.cider = timeout, spider, cider or Cider()

    @property
    def measures(self) -> tuple[Measure, ...]:
        """SPICE, and SPIDEr on request."""
        names = ("SPICE", "SPIDEr") if self.spider else ("SPICE",)
        return tuple(Measure(name, higher_is_better=True, scale=100) for name in names)

    def statistics(self, pairs: Pairs) -> Floats:
        """``(N, 1 or 2)``: the SPICE of each image, and its SPIDEr on request.

        Raises:
            UnavailableError: Java or the program is missing, died, hung or answered nonsense.
        """
        try:
            spice = np.array([[float(answer["All"]["f"])] for answer in self.answers(pairs)])
        except (ValueError, KeyError, TypeError) as error:
            raise _unreadable(error) from error
        return np.hstack([spice, (spice + self.cider.statistics(pairs)) / 2]) if self.spider else spice

    def answers(self, pairs: Pairs) -> list[dict[str, Any]]:
        """The program's scores of each image: precision, recall and F-score for each category, such as ``All``.

        Raises:
            UnavailableError: Java or the program is missing, died, hung or answered nonsense.
        """
        folder = package(self.name) / "spice"
        require(self.name, folder / "spice-1.0.jar")
        models = [folder / "lib" / f"stanford-corenlp-3.6.0{part}.jar" for part in ("", "-models")]
        if not all(path.is_file() for path in models):
            raise UnavailableError(
                f"SPICE needs Stanford CoreNLP 3.6.0 in {models[0].parent}, which pycocoevalcap does not ship. Fetch "
                "it once, with a network: python -m pycocoevalcap.spice.get_stanford_models"
            )
        both = zip(pairs.candidate_tokens, pairs.reference_tokens, strict=True)
        entries = [
            {"image_id": number, "test": sentence(candidate), "refs": [*map(sentence, captions)]}
            for number, (candidate, captions) in enumerate(both)
        ]
        with tempfile.TemporaryDirectory() as temporary:
            asked, answered = Path(temporary, "asked.json"), Path(temporary, "answered.json")
            asked.write_text(json.dumps(entries), encoding="utf-8")
            command = ["-Xmx8G", "-jar", "spice-1.0.jar", str(asked), "-out", str(answered), "-subset", "-silent"]
            run(self.name, command, folder, self.timeout)
            try:
                answers = json.loads(answered.read_text(encoding="utf-8"))
                by_image = {entry["image_id"]: entry["scores"] for entry in answers}
                return [by_image[number] for number in range(len(entries))]
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise _unreadable(error) from error


def _unreadable(error: Exception) -> UnavailableError:
    return UnavailableError(f"SPICE gave no readable answer ({error!r}); {ADVICE}")
