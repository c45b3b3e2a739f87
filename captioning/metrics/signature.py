"""What a table of scores was made with, in one line, as sacrebleu's signatures are: unlike lines, unlike numbers.

Post, "A Call for Clarity in Reporting BLEU Scores" (WMT 2018).
"""

from importlib.metadata import PackageNotFoundError, version

from captioning.metrics.references import References


def signature(references: References, tokenizer: str, *, of: int, frequencies: bool = False) -> str:
    """Such as ``tokenizer:treebank|images:5000|references:5-7|frequencies:references|captioning:0.2.0``.

    Args:
        references: the references of the scored images.
        tokenizer: the tokenizer's name.
        of: the number of images of the split; fewer scored images are told.
        frequencies: whether CIDEr's document frequencies are those of other captions.
    """
    extremes = [(block.min(), block.max()) for _, block in references.counts.blocks()]
    fewest, most = min(least for least, _ in extremes), max(most for _, most in extremes)
    parts = {
        "tokenizer": tokenizer,
        "images": f"{len(references)}" if len(references) == of else f"{len(references)} of {of}",
        "references": f"{fewest}" if fewest == most else f"{fewest}-{most}",
        "frequencies": "other captions" if frequencies else "references",
        "captioning": _version(),
    }
    return "|".join(f"{name}:{value}" for name, value in parts.items())


def _version() -> str:
    try:
        return version("captioning")
    except PackageNotFoundError:  # a checkout that is not installed
        return "unknown"
