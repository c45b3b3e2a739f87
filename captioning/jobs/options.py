"""Options that several commands share."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from captioning.search import Search


def add_search_options(parser: argparse.ArgumentParser) -> None:
    """How captions are searched for."""
    group = parser.add_argument_group("search (default: the one that the captioner was trained with)")
    group.add_argument("--beam", type=int, metavar="K", help="beam search of width K; 1 is greedy")
    group.add_argument("--length-penalty", type=float, default=0.0, metavar="A", help="beam score is log p / length^A")
    group.add_argument("--block-ngrams", type=int, default=0, metavar="N", help="no N words in a row twice; 0: off")
    group.add_argument("--sample", action="store_true", help="draw words at random instead")
    group.add_argument("--temperature", type=float, default=1.0, help="of sampling (default: 1)")
    group.add_argument("--top-k", type=int, default=0, help="sample among the K most likely words; 0: all")
    group.add_argument("--top-p", type=float, default=1.0, help="sample among the likeliest words of total P")
    group.add_argument("--seed", type=int, default=0, help="of sampling")
    group.add_argument("--max-length", type=int, default=20, help="the most words of a caption (default: 20)")


def search_of(options: argparse.Namespace) -> "Search | None":
    """The search that the options ask for, or None."""
    from captioning.search import Beam, Sample

    if options.sample:
        return Sample(
            options.max_length,
            temperature=options.temperature,
            top_k=options.top_k,
            top_p=options.top_p,
            seed=options.seed,
        )
    if options.beam is not None:
        return Beam(options.beam, options.max_length, options.length_penalty, options.block_ngrams)
    return None
