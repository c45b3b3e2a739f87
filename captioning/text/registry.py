"""The tokenizers of captions by name, as ``data.tokenizer`` and ``captioning score --tokenizer`` choose them.

``treebank`` names two functions: ``tokenize_each`` for vocabularies and training, and ``tokenize_coco``, whose tokens
are coco-caption's to the last bracket, for scores.
"""

from collections.abc import Callable, Mapping, Sequence

from captioning.core.errors import CaptioningError
from captioning.core.terminal import printable
from captioning.text import TREEBANK
from captioning.text.token_numbers import TokenNumbers
from captioning.text.tokenizer import number_coco, tokenize_coco, tokenize_each, tokenize_file
from captioning.text.words import are_without_blanks, tokenize_words_each

Tokenizer = Callable[[Sequence[str]], list[list[str]]]  # from captions to the tokens of each

CLEAN = "clean"  # the treebank tokenizer without coco-caption's faults
TOKENIZERS: dict[str, Tokenizer] = {TREEBANK: tokenize_each, "words": tokenize_words_each}
SCORING: dict[str, Tokenizer] = {TREEBANK: tokenize_coco, CLEAN: tokenize_each, "words": tokenize_words_each}
OF_ENGLISH = (tokenize_coco, tokenize_each, tokenize_file)
_ABOUT = {
    TREEBANK: "treebank is coco-caption's, for English",
    CLEAN: "clean the same without brackets and faults",
    "words": "words is for any language",
}


def find_tokenizer(name: str, setting: str = "data.tokenizer=") -> Tokenizer:
    """The tokenizer of vocabularies and training of a name.

    Args:
        name: a name of ``TOKENIZERS``.
        setting: the setting or option that has the name, for the error.

    Raises:
        CaptioningError: there is no tokenizer of this name.
    """
    return _find(TOKENIZERS, name, setting)


def find_scoring_tokenizer(name: str, setting: str = "data.tokenizer=") -> Tokenizer:
    """The tokenizer of scores of a name of ``SCORING``, see ``find_tokenizer``."""
    return _find(SCORING, name, setting)


def number_tokens(
    tokenizer: Tokenizer, captions: Sequence[str], begin: int = 0, end: int | None = None
) -> TokenNumbers:
    """The tokens of captions, or of those from ``begin`` to ``end``, as numbers."""
    if tokenizer is tokenize_coco:  # looks at the captions after a caption, too
        return number_coco(captions, begin, end)
    return TokenNumbers.of(tokenizer(captions if end is None else captions[begin:end]))


def without_faults(tokenizer: Tokenizer) -> Tokenizer:
    """The tokenizer of statements about words, for which brackets are none."""
    return tokenize_each if tokenizer is tokenize_coco else tokenizer


def _find(tokenizers: Mapping[str, Tokenizer], name: str, setting: str) -> Tokenizer:
    if name not in tokenizers:
        raise CaptioningError(
            f"{setting}{printable(str(name)[:100])}: there is no such tokenizer. Take {' or '.join(tokenizers)}: "
            f"{'; '.join(map(_ABOUT.__getitem__, tokenizers))}."
        )
    return tokenizers[name]


def say_blanks(tokenizer: Tokenizer, captions: Sequence[str], setting: str = "data.tokenizer=") -> str:
    """The sentence on captions whose words the tokenizer can't tell apart; empty where it can.

    Args:
        tokenizer: the tokenizer.
        captions: some of the captions.
        setting: the setting or option that chooses another tokenizer.
    """
    if tokenizer not in OF_ENGLISH or not are_without_blanks(captions):
        return ""
    return (
        f"The captions have no blanks between their words (such as {printable(captions[0][:20])}), so that each is one "
        f"word or a few: say {setting}words, which takes each character of such scripts as a word."
    )


def told(name: str) -> dict[str, str]:
    """The tokenizer in a file of scores: scores of other tokens than coco-caption's do not compare with published ones.

    Returns:
        ``{"tokenizer": name}``, or nothing for ``treebank``.
    """
    return {} if name == TREEBANK else {"tokenizer": name}
