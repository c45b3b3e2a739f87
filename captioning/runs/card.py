"""What is known of a captioner's training, from the files of its run, and the model card that says it."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from captioning.core.terminal import printable
from captioning.runs.places import WEIGHTS, run_of
from captioning.runs.published import read_settings
from captioning.runs.results import is_told
from captioning.runs.told import overrides_of, read_scores, read_summary

DATA = {  # what a reader must know of the data that a captioner was trained on
    "flickr8k": "Flickr8k (Hodosh, Young & Hockenmaier 2013): 6,000 photographs of people and dogs doing something, "
    "with five captions each. Its photographs are Flickr users'; the data set is for non-commercial research and "
    "education alone, and so is what is trained on it.",
    "flickr30k": "Flickr30k (Young et al. 2014): photographs of Flickr users, for non-commercial research and "
    "education alone, and so is what is trained on it.",
    "coco": "COCO (Lin et al. 2014, Chen et al. 2015): captions under CC BY 4.0, photographs of Flickr users under the "
    "licences that they chose.",
    "scenes": "Scenes of simple things, drawn by `captioning prepare data=scenes`.",
}
DATA |= {"flickr8k_karpathy": DATA["flickr8k"], "coco2014": DATA["coco"], "coco_karpathy": DATA["coco"]}
SHARES = {  # what evaluation tells of the captions beside their scores
    "different": "different captions, %",
    "novel": "captions not in training, %",
    "bad_endings": "captions that end in a function word, %",
}
TOLD = ("decoder", "cell", "encoder", "data", "search")


def about(checkpoint: Path) -> dict[str, Any]:
    """What is known of a captioner's training, as plain values.

    Args:
        checkpoint: the captioner's file: in a run's folder, or in a published one, which repeats what it knows.

    Returns:
        ``run`` (a name), ``command``, ``summary`` and ``scores`` of the test split, each if it is known.

    Raises:
        CaptioningError: a file of the run is damaged.
    """
    if checkpoint.name == WEIGHTS:
        known = read_settings(checkpoint.parent).get("about")
        return dict(known) if isinstance(known, Mapping) else {}
    run = run_of(checkpoint)
    found: dict[str, Any] = {"run": run.name}
    if (run / ".hydra" / "overrides.yaml").exists():
        told = [each for each in overrides_of(run) if is_told(each)]
        found["command"] = shlex.join(["captioning", "train", *told])
    if (run / "summary.json").exists():
        found["summary"] = read_summary(run)
    if (run / "scores_test.json").exists():
        found["scores"] = read_scores(run / "scores_test.json")
    return found


def model_card(
    config: Mapping[str, Any], known: Mapping[str, Any], size: int, storage: str, notes: str = "", name: str = ""
) -> str:
    """The model card of a published captioner, in Markdown with the hub's header.

    Args:
        config: the captioner's configuration.
        known: what is known of the training, see ``about``; with ``intervals`` of the scores if they are known.
        size: the bytes of the weights.
        storage: the precision of the decoder's matrices.
        notes: further Markdown, such as what the captioner gets wrong.
        name: the captioner's name; by default the run's.
    """
    name = name or str(known.get("run") or "captioner")
    choices = {key: value for key, value in (config.get("choices") or {}).items() if key in TOLD}
    data = str(choices.get("data", ""))
    lines = ["---", "library_name: captioning", "pipeline_tag: image-to-text", "tags: [image-captioning]", "---", ""]
    lines += [f"# {printable(name)}", "", "A captioner of photographs, by the Python package `captioning`."]
    lines += ["", "```python", "from captioning import Captioner", ""]
    lines += ['captioner = Captioner.from_pretrained("this folder or its name on the hub")']
    lines += ['print(captioner(["photo.jpg"]))', "```", "", "## What it is", ""]
    lines += [f"- {key}: `{printable(str(value))}`" for key, value in choices.items()]
    summary = known.get("summary") or {}
    if isinstance(summary.get("parameters"), int):
        lines.append(f"- trained parameters: {summary['parameters'] / 1e6:.1f} M")
    matrices = {"int8": ", the decoder's matrices in 8 bits", "float16": ", matrices in half precision"}
    lines.append(f"- size: {size / 1e6:.1f} MB{matrices.get(storage, '')}")
    lines += ["", "## Training", ""]
    lines.append(DATA.get(data, f"Trained on the data set `{printable(data or 'unknown')}`."))
    if isinstance(known.get("command"), str):
        lines += ["", "The commands that make it again, where the data are at their default place:", ""]
        lines += ["```bash", printable(known["command"])]
        export = ["captioning", "export", f"runs/{known.get('run', 'NAME')}", "--pretrained", "FOLDER"]
        lines += [printable(shlex.join([*export, *(["--storage", storage] if storage != "float32" else [])])), "```"]
    lines += ["", *_scores(known), *([notes.strip(), ""] if notes.strip() else [])]
    return "\n".join(lines)


def _scores(known: Mapping[str, Any]) -> list[str]:
    scores = known.get("scores") or {}
    values = scores.get("scores")
    if not isinstance(values, Mapping):
        return []
    intervals = known.get("intervals") or {}
    said = f"Of generated captions of the {scores.get('split', 'test')} split ({scores.get('images', '?')} photographs"
    lines = ["## Scores", "", f"{said}; {printable(str(scores.get('search', '')))}), × 100:", ""]
    lines += ["| score | value | 95 % interval |", "| --- | --- | --- |"] if intervals else ["| score | value |"]
    lines += [] if intervals else ["| --- | --- |"]
    for name, value in values.items():
        if isinstance(value, int | float):
            interval = _interval(intervals.get(name))
            lines.append(
                f"| {SHARES.get(name, printable(str(name)))} | {100 * value:.1f} |"
                + (f" {interval} |" if intervals else "")
            )
    return [*lines, ""]


def _interval(ends: Sequence[float] | None) -> str:
    return "–" if ends is None else f"{100 * ends[0]:.1f} – {100 * ends[1]:.1f}"
