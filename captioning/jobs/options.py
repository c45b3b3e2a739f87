"""Command-line options common to several commands."""

import argparse
import io
import json
import os
import sys
from collections.abc import Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from captioning.core.errors import CaptioningError
from captioning.jobs.paths import expanded
from captioning.jobs.whole import BEAMS, LENGTH, SEEDS, whole

if TYPE_CHECKING:
    from captioning.predict.captioner import Averaged
    from captioning.search import Search

OF_BEAM = ("max_length", "length_penalty", "block_ngrams")
OF_GROUPS = ("groups", "diversity")
OF_CONSENSUS = ("temperature",)
OF_ANY = ("remove_bad_endings", "must_say")  # beside the settings of one kind of search
OF_SAMPLE = ("max_length", "temperature", "top_k", "top_p", "seed")
STDOUT = Path("-")  # of --json FILE


def parse(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """The options of a command line, in any order; what follows ``--`` are names, also those that begin with a dash.

    In paths, ``~`` is the user's folder.

    argparse itself takes such names for options where names and options mix.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if "--" in arguments:
        place = arguments.index("--")
        names = [f"./{name}" if name.startswith("-") else name for name in arguments[place + 1 :]]
        arguments[place:] = names
    options = parser.parse_intermixed_args(arguments)
    for name, value in vars(options).items():
        if isinstance(value, Path):
            setattr(options, name, Path(expanded(str(value))))
        elif isinstance(value, list) and value and all(isinstance(each, Path) for each in value):
            setattr(options, name, [Path(expanded(str(each))) for each in value])
    return options


def add_search_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the search; by default a setting is as in training, or the search's default."""
    group = parser.add_argument_group("search (default: as in training, else as said)")
    group.add_argument("--beam", type=whole(BEAMS), metavar="K", help="beam search of width K; 1 is greedy")
    group.add_argument(
        "--length-penalty",
        type=float,
        metavar="A",
        help="beam score is log p / length^A (default: 0, of a consensus 0.6)",
    )
    group.add_argument("--block-ngrams", type=whole(), metavar="N", help="no N words in a row twice (default: 0, off)")
    group.add_argument("--groups", type=whole(BEAMS), metavar="G", help="diverse beam search: the beams in G groups")
    group.add_argument("--diversity", type=float, metavar="D", help="of diverse beam search (default: 0.5)")
    group.add_argument(
        "--consensus",
        action="store_true",
        help="of the K (default: 20) captions of beam search the most similar to all",
    )
    group.add_argument(
        "--neighbours",
        metavar="MEMORY",
        help="of the K (default: 20) captions of beam search the most similar to those of similar training "
        "photographs, in the file that captioning memory writes",
    )
    group.add_argument(
        "--must-say",
        action="append",
        metavar="WORD",
        help="a word of every caption, a phrase ('hot dog'), or alternatives ('ball|frisbee'); may be repeated",
    )
    group.add_argument(
        "--remove-bad-endings",
        action=argparse.BooleanOptionalAction,
        help="no end after a, the, of, …; a caption that is cut may still end so (default: off)",
    )
    group.add_argument("--sample", action="store_true", help="draw words at random instead")
    group.add_argument("--temperature", type=float, help="of sampling (default: 1) or of a consensus (0.6)")
    group.add_argument("--top-k", type=whole(), metavar="K", help="sample among the K most likely words (default: all)")
    group.add_argument("--top-p", type=float, metavar="P", help="sample among the likeliest words of total P")
    group.add_argument("--seed", type=whole(SEEDS), help="of sampling (default: 0)")
    group.add_argument("--max-length", type=whole(LENGTH), help="the most words of a caption (default: 20)")


def add_json_option(parser: argparse.ArgumentParser, what: str) -> None:
    """Add ``--json FILE``, which is the same in every command.

    Args:
        parser: the command's parser.
        what: the written content ("the captions").
    """
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help=f"also write {what} to this file; - prints them, and nothing else"
    )


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON to the file that ``--json`` names; ``-`` is the standard output."""
    if path == STDOUT:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8")  # the encoding of files, for any terminal
        json.dump(value, sys.stdout, ensure_ascii=False, indent=1)
        sys.stdout.write("\n")
        return
    from captioning.core.ownership import write_json_output

    write_json_output(path, value)


def add_average_option(parser: argparse.ArgumentParser) -> None:
    """Add the option for the quantity that several checkpoints average."""
    parser.add_argument(
        "--average",
        choices=("probabilities", "log-probabilities", "weights"),
        help="what several checkpoints take the mean of (default: probabilities); of weights, one captioner is made",
    )


def add_weights_option(parser: argparse.ArgumentParser) -> None:
    """Add the option for the weights of several checkpoints in the mean."""
    parser.add_argument(
        "--weights",
        metavar="A,B",
        help="the weights of several checkpoints in the mean, such as 0.7,0.3: late fusion of frames and optical flow",
    )


def weights_of(options: argparse.Namespace, checkpoints: int) -> list[float] | None:
    """The weights of several checkpoints in the mean; None for equal weights.

    Raises:
        CaptioningError: they are no numbers, or not one for each checkpoint.
    """
    if options.weights is None:
        return None
    try:
        weights = [float(each) for each in options.weights.split(",")]
    except ValueError:
        weights = []
    if len(weights) != checkpoints or checkpoints < 2:
        raise CaptioningError(
            f"--weights {options.weights}: give a number for each of several checkpoints, with commas between them."
        )
    return weights


def average_of(options: argparse.Namespace, checkpoints: int) -> "Averaged":
    """The quantity that several checkpoints average.

    Raises:
        CaptioningError: the option is given for one checkpoint.
    """
    if options.average and checkpoints == 1:
        raise CaptioningError("--average has no effect on one checkpoint. Leave it out, or name another checkpoint.")
    average: Averaged = options.average or "probabilities"
    return average


def add_trust_option(parser: argparse.ArgumentParser) -> None:
    """Add the option for the modules and classes that a checkpoint may name."""
    parser.add_argument(
        "--trust",
        action="append",
        default=[],
        metavar="MODULE",
        help="import this module, where the checkpoint names it, which runs its code; may be repeated",
    )


def trusted(modules: Sequence[str], overrides: Sequence[str] = ()) -> list[str]:
    """The modules and classes named on a command line; imports then include the working folder.

    Args:
        modules: the modules of ``--trust``.
        overrides: the overrides, such as ``decoder._target_=my_module.MyDecoder``.
    """
    named = [override.partition("=")[2] for override in overrides if override.partition("=")[0].endswith("._target_")]
    if modules or named:
        import_from_working_folder()
    return [*modules, *named]


def import_from_working_folder() -> None:
    """Add the working folder to the import path, for a user's own classes.

    The folder comes last, so that a ``random.py`` among photographs does not replace the library's module. The folder
    is added only if the user has named a module: a file beside a downloaded checkpoint must not be imported in place
    of, say, an extra that is not installed.
    """
    folder = os.getcwd()  # noqa: PTH109
    if folder not in sys.path:
        sys.path.append(folder)


def search_of(options: argparse.Namespace, config: Mapping[str, Any]) -> "Search":
    """The search of the options; without any option, the search of training.

    If training used beam search, beam search starts from the settings of training, and options change these settings. A
    user's own search takes no options: its settings are those of the configuration.

    Args:
        options: the options of a parser with ``add_search_options``.
        config: the configuration of the trained run.

    Raises:
        CaptioningError: an option has no effect on that search, or a value is out of range.
    """
    from captioning.runs.parts import make_search
    from captioning.search import constrained

    search = _search_of(options, make_search(config))
    if options.remove_bad_endings is not None:
        search.remove_bad_endings = options.remove_bad_endings
    return search if options.must_say is None else constrained(search, options.must_say)


def _search_of(options: argparse.Namespace, search: "Search") -> "Search":
    """The search of the options for one kind of search, from the search of training."""
    from captioning.search import Beam, Consensus, ConstrainedBeam, DiverseBeam, Neighbours, Sample

    ours = type(search).__module__.startswith("captioning.")
    found: type[Search] = type(search)
    known = (Beam, Consensus, ConstrainedBeam, DiverseBeam, Neighbours)
    trained = search if found in known else None  # others: unknown settings
    agreeing: dict[type[Beam], bool] = {Consensus: options.consensus, Neighbours: options.neighbours is not None}
    if all(agreeing.values()):
        raise CaptioningError("--consensus and --neighbours are two searches: take one of them.")
    asked = next((each for each, wanted in agreeing.items() if wanted), None)
    chosen = options.beam is not None or options.groups is not None or asked is not None
    beam = not options.sample and (chosen or trained is not None)
    kind: type[Beam] = found if issubclass(found, Beam) and trained is not None else Beam
    if options.groups is not None or asked is not None:
        kind = asked or DiverseBeam
    given = {n: value for n in {*OF_BEAM, *OF_GROUPS, *OF_SAMPLE} if (value := getattr(options, n)) is not None}
    of_kind = OF_GROUPS if kind is DiverseBeam else OF_CONSENSUS if issubclass(kind, Consensus) else ()
    taken = OF_SAMPLE if options.sample else (*OF_BEAM, *of_kind) if beam else ()
    odd = sorted(f"--{name.replace('_', '-')}" for name in given if name not in taken)
    if options.sample:
        odd += [f"--{name}" for name in ("beam", "consensus", "neighbours") if getattr(options, name)]
    if not ours and options.remove_bad_endings is not None and not (beam or options.sample):
        odd.append("--remove-bad-endings")
    if odd:
        named = "without --beam K or --sample"
        if not ours:
            named = f"on {found.__name__}, the search of this configuration"
        kinds = {DiverseBeam: "in diverse beam search", Consensus: "in a consensus", Neighbours: "with --neighbours"}
        where = "with --sample" if options.sample else kinds.get(kind, "in beam search") if beam else named
        raise CaptioningError(
            f"{', '.join(odd)} has no effect {where}. Leave it out, or choose the search that it is of."
        )
    if options.sample:
        return Sample(**{"seed": 0, **given})
    if found is ConstrainedBeam and kind is not ConstrainedBeam and getattr(search, "must_say", None):
        raise CaptioningError(f"{kind.__name__} can't be made to say the words that this captioner's search must say.")
    if options.beam is not None:
        given["size"] = options.beam
    if options.neighbours is not None:
        given["memory"] = options.neighbours
    if not given and (asked is None or found is asked):
        return search
    other = issubclass(kind, Consensus) != issubclass(found, Consensus)
    own = ("size", "length_penalty") if other else ()  # it has its own
    names = [name for name in signature(kind).parameters if name not in ("n_best", *own) and hasattr(trained, name)]
    return kind(**{name: getattr(trained, name) for name in names} | given)
