"""``captioning ask``: answers to a question about a photograph, or the class of a sentence."""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from captioning.core.errors import UsageError
from captioning.core.ownership import require_output
from captioning.core.terminal import printable, show_log
from captioning.jobs.options import STDOUT, add_json_option, add_trust_option, parse, trusted, write_json
from captioning.jobs.paths import named_picture
from captioning.jobs.whole import whole

log = logging.getLogger(__name__)

AVERAGES = ("probabilities", "log-probabilities")


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="captioning ask",
        description="Answer a question about a photograph, or classify a sentence, such as a review. Prints the best "
        "answers, one a line: the probability, a tab and the answer. Several checkpoints are averaged.",
    )
    parser.add_argument(
        "what", nargs="+", metavar="PHOTO QUESTION", help="a photograph, and a question in quotes; or a sentence alone"
    )
    parser.add_argument(
        "--checkpoint",
        type=Path,
        required=True,
        action="append",
        help="a run's folder, or a .ckpt file; may be repeated",
    )
    parser.add_argument("--average", choices=AVERAGES, default=AVERAGES[0], help="what several checkpoints average")
    parser.add_argument("--best", type=whole(), default=5, metavar="N", help="the N best answers (default: 5)")
    parser.add_argument("--attention", type=Path, metavar="PNG", help="draw where the model looked, or at which words")
    add_json_option(parser, "the answers and their probabilities")
    parser.add_argument("--device", default="auto", help="cpu, cuda, … (default: the GPU where there is one)")
    add_trust_option(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = parse(parser(), argv)
    show_log(logging.WARNING)
    if len(options.what) > 2:
        raise UsageError('A photograph and a question are asked for. Put the question in quotes: "how many dogs?".')
    photo = Path(named_picture(options.what[0])) if len(options.what) == 2 else None
    question = options.what[-1]
    for path in filter(None, (None if options.json == STDOUT else options.json, options.attention)):
        require_output(path)
    from captioning.predict.answerer import Answerer

    answerer = Answerer.load(options.checkpoint, options.device, trusted(options.trust), options.average)
    if photo is not None and answerer.encoder is None:
        log.warning("%s: this model reads the question alone, and does not look at the photograph.", photo)
    reply = answerer.ask(photo, question, options.best, attention=options.attention is not None)
    if options.json != STDOUT:
        for answer in reply.answers:
            print(f"{answer.probability:.4f}\t{printable(answer.text)}")
    if options.json:
        answers = [{"answer": answer.text, "probability": answer.probability} for answer in reply.answers]
        write_json(options.json, {"image": photo and str(photo), "question": question, "answers": answers})
    if reply.attention is not None and photo is not None and answerer.encoder is not None:
        from captioning.core.images import read_image
        from captioning.report.attention import draw_attention

        image = read_image(photo)
        looks = " ".join(f"look_{number}" for number in range(1, len(reply.attention) + 1))
        draw_attention(image, looks, reply.attention, options.attention, answerer.encoder.transform.seen(image.size))
    elif reply.attention is not None:
        from captioning.report.coloured_text import draw_text

        draw_text(question, [f"{word} " for word in reply.words], reply.attention[0, 0], options.attention)
    return 0
