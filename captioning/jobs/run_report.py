"""The report on runs, gathered from their folders."""

import logging
import re
import shlex
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from captioning.core.errors import CaptioningError
from captioning.core.terminal import nearby, printable

if TYPE_CHECKING:
    from captioning.report.page import Looked, RunRecord

log = logging.getLogger(__name__)

REPORT = "report.html"
ANSWERS = "answers_test.json"
LOOKED = 3  # photographs with where the captioner looked
UNTOLD = ("choices.", "out", "sweep", "resume", "name", "hydra")  # settings that say nothing of what was trained

Photos = Mapping[int | str, Path]


def write_report(
    folders: Sequence[Path], out: Path, settings: Sequence[str], trust: Collection[str] = (), resamples: int = 1000
) -> Path:
    """Write the report on some runs.

    Args:
        folders: the folders of the runs; the others are compared with the first.
        out: the file to write.
        settings: settings of the data, such as ``data.root=…``, see ``captioning.jobs.evaluated``.
        trust: modules or classes outside this package that the checkpoints may name.
        resamples: the number of resamples of the bootstrap.

    Returns:
        The file.

    Raises:
        CaptioningError: a folder is not a run's, or a file in it is damaged.
    """
    from captioning.core.ownership import output, require_output
    from captioning.jobs.score import short_names
    from captioning.report.page import report_html
    from captioning.text.registry import find_tokenizer

    require_output(out)
    notes: list[str] = []
    photos: Photos = {}
    try:
        photos = find_photos(folders[0], settings, trust)
    except CaptioningError as error:
        notes.append(f"Photographs are left out: {printable(str(error))}")
        print(f"captioning: photographs are left out: {printable(str(error))}", file=sys.stderr)
    names = short_names([str(folder.resolve()) for folder in folders])
    called = [folders[0].resolve().name] if len(folders) == 1 else [names[str(each.resolve())] for each in folders]
    records = [
        record_of(folder, name, photos, trust, thorough=True) for folder, name in zip(folders, called, strict=True)
    ]
    tokenizer = find_tokenizer(str(records[0].settings.get("data.tokenizer") or "treebank"))
    title = called[0] if len(called) == 1 else f"{called[0]} and {', '.join(called[1:])}"
    page = report_html(title, records, tokenizer=tokenizer, resamples=resamples, notes=notes)
    with output(out) as file:
        file.write(page)
    return out


def write_at_the_end(folder: Path, source: Any, tokenizer: Any = None) -> None:
    """Write a run's report at its end; whatever fails is a warning, for the run itself is finished.

    Args:
        folder: the run's folder.
        source: the data that the task has read.
        tokenizer: the tokenizer of the captions; None for coco-caption's.
    """
    try:
        from captioning.core.ownership import output
        from captioning.report.page import report_html

        record = record_of(folder, folder.name, _photos_of(source))
        with output(folder / REPORT) as file:
            file.write(report_html(folder.name, [record], tokenizer=tokenizer))
        log.info("wrote %s", nearby(folder / REPORT))
    except Exception as error:
        log.warning("%s: no report was written (%s).", folder, error)


def find_photos(run: Path, settings: Sequence[str], trust: Collection[str]) -> dict[int | str, Path]:
    """The files of a run's test photographs by id; none for a run without captions.

    Raises:
        CaptioningError: the data are not at the place where this program looks for them, or can't be read.
    """
    if not ((run / "captions_test.json").exists() or (run / ANSWERS).exists()):
        return {}
    from captioning.core.build import build
    from captioning.jobs.evaluated import evaluated
    from captioning.runs.checkpoint import read_checkpoint
    from captioning.runs.trust import check_task
    from captioning.tasks import Task

    checkpoint = read_checkpoint(run, trust)
    check_task(checkpoint.config, checkpoint.path, trust)
    unused = "data.features_root=features"  # no features are read: the place needs no saying
    config = evaluated(checkpoint, [unused, *settings], trust)
    return _photos_of(build(config["task"], Task, config=config).source_of("test"))


def _photos_of(source: Any) -> dict[int | str, Path]:
    """The files of the test split's photographs by id: of captions, or of questions about photographs."""
    photos = getattr(source, "photos", None) or source  # of questions
    splits = getattr(photos, "splits", None)
    test = splits.get("test") or () if isinstance(splits, Mapping) else ()
    return {photo.id: photo.path for photo in test if hasattr(photo, "path")}


def record_of(
    folder: Path, name: str, photos: Photos, trust: Collection[str] = (), thorough: bool = False
) -> "RunRecord":
    """What a run's folder tells.

    Args:
        folder: the run's folder.
        name: the run's name on the page.
        photos: the files of the test photographs that are known, by id.
        trust: modules or classes outside this package that the checkpoint may name.
        thorough: whether to look for units of a language model that follow something in its text.

    Raises:
        CaptioningError: the folder is not a run's, or a file in it is damaged.
    """
    from captioning.core.measure import Measure
    from captioning.core.texts import read_text
    from captioning.metrics.results import read_references, read_results, with_ids_of
    from captioning.report.page import RunRecord
    from captioning.runs.metrics_file import read_metrics
    from captioning.runs.monitor import LOSSES
    from captioning.runs.told import read_answers, read_scores, read_summary

    settings = read_settings(folder)
    rows = read_metrics(folder / "metrics.csv")
    logged = dict.fromkeys(key.removeprefix("val/") for row in rows for key in row if key.startswith("val/"))
    captions: dict[int | str, str] = {}
    references: Mapping[int | str, Sequence[str]] = {}
    if (folder / "captions_test.json").exists() and (folder / "references_test.json").exists():
        references = read_references(folder / "references_test.json", [])
        results = with_ids_of(
            folder / "captions_test.json", read_results(folder / "captions_test.json"), references.keys()
        )
        captions = {each: results[each] for each in references if each in results}
    files = [folder / f"scores_{split}.json" for split in ("test", "val")]
    scores: dict[str, Any] = next((read_scores(file) for file in files if file.exists()), {})
    answers = read_answers(folder / ANSWERS) if (folder / ANSWERS).exists() else []
    samples = folder / "samples.txt"
    return RunRecord(
        name=name,
        settings={key: value for key, value in settings.items() if not key.startswith(UNTOLD)},
        rows=rows,
        summary=read_summary(folder) if (folder / "summary.json").exists() else {},
        measures={key: Measure(key, higher_is_better=key not in LOSSES) for key in logged},
        captions=captions,
        references=references,
        search=scores.get("search") or "",
        commands=list(_commands(folder, bool(captions or answers))),
        photos=photos,
        coloured=_coloured(folder, trust) if thorough and samples.exists() else (),
        looked=_looked(folder, photos, trust) if photos and captions and "decoder.attends" in settings else (),
        told=scores,
        answers=answers,
        samples=read_text(samples, "samples")[-1500:] if samples.exists() else "",
    )


def read_settings(folder: Path) -> dict[str, Any]:
    """The settings of a run by dotted names.

    Raises:
        CaptioningError: the folder is not a run's, or its configuration is empty or cut short.
    """
    from omegaconf import OmegaConf

    from captioning.jobs.evaluated import flat
    from captioning.runs.earlier import upgraded
    from captioning.runs.settings import essence

    try:
        config: Any = OmegaConf.to_container(OmegaConf.load(folder / "config.yaml"))
        essence(upgraded(config))  # what a run has, the file has
        return {key.removeprefix("."): value for key, value in flat(config, "").items()}
    except Exception as error:
        raise CaptioningError(
            f"{folder / 'config.yaml'}: this is not the configuration of a run. Name the folder of a run or a sweep."
        ) from error


def _commands(folder: Path, scored: bool) -> Iterator[str]:
    from captioning.runs.told import overrides_of

    yield shlex.join(["captioning", "train", *overrides_of(folder)])
    if scored:
        yield shlex.join(["captioning", "evaluate", str(nearby(folder)), "--split", "test"])


def _coloured(folder: Path, trust: Collection[str]) -> list[tuple[str, str]]:
    """What a language model wrote, coloured by the units that follow something in it most closely."""
    from captioning.core.texts import read_text
    from captioning.jobs.cells import watch_text
    from captioning.report.coloured_text import coloured_html

    written = re.split(r"^---- step .*\n", read_text(folder / "samples.txt", "samples"), flags=re.MULTILINE)
    try:
        with TemporaryDirectory() as place:
            (Path(place) / "sample.txt").write_text(written[-1], "utf-8")
            watched = watch_text(folder, [f"{place}/sample.txt"], 2000, list(trust))
        candidates = sorted(watched.candidates(), key=lambda one: -abs(one.held_out))[:3]
    except CaptioningError:  # too little was written, or with other characters than the text's
        return []
    part = slice(watched.recording.middle, watched.recording.middle + 600)
    return [
        (
            f"{one.feature}: {one.unit}, r = {one.held_out:.2f}",
            coloured_html(watched.pieces[part], watched.recording.of(one.unit)[part]),
        )
        for one in candidates
    ]


def _looked(folder: Path, photos: Photos, trust: Collection[str]) -> "list[Looked]":
    """Some photographs with where the run's captioner looked at each word."""
    from PIL import Image

    from captioning.core.clips import beside
    from captioning.core.images import read_image
    from captioning.encoders.frames import ClipTransform
    from captioning.predict.captioner import Captioner
    from captioning.report.attention import lay_over
    from captioning.report.page import SIDE, Looked

    captioner = Captioner.load(folder, "cpu", trust)
    paths = list(photos.values())
    chosen = paths[:: max(1, len(paths) // LOOKED)][:LOOKED]
    found = []
    for path, caption in zip(chosen, captioner.caption(chosen, attention=True), strict=True):
        transform = captioner.encoder.transform
        is_clip = isinstance(transform, ClipTransform)
        image = beside(transform.frames_of(path), 0) if is_clip else read_image(path)
        scale = SIDE / 2 / max(image.size)
        small = image.resize([max(1, round(scale * side)) for side in image.size], Image.Resampling.LANCZOS)
        left, top, right, bottom = (scale * edge for edge in transform.seen(image.size))
        assert caption.attention is not None
        words = caption.text.split()
        pictures = [lay_over(small, weights, (left, top, right, bottom)) for weights in caption.attention]
        found.append(Looked(["", *words], [small, *pictures]))
    return found
