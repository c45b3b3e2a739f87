"""The tokenizers of captions by name, as ``data.tokenizer`` and ``captioning score --tokenizer`` choose them."""

from collections.abc import Callable, Sequence

from captioning.core.errors import CaptioningError
from captioning.core.terminal import printable
from captioning.text import TREEBANK
from captioning.text.tokenizer import tokenize_each, tokenize_file
from captioning.text.words import are_without_blanks, tokenize_words_each

Tokenizer = Callable[[Sequence[str]], list[list[str]]]  # from captions to the tokens of each

TOKENIZERS: dict[str, Tokenizer] = {TREEBANK: tokenize_each, "words": tokenize_words_each}
OF_ENGLISH = (tokenize_each, tokenize_file)


def find_tokenizer(name: str, setting: str = "data.tokenizer=") -> Tokenizer:
    """The tokenizer of a name.

    Args:
        name: a name of ``TOKENIZERS``.
        setting: the setting or option that has the name, for the error.

    Raises:
        CaptioningError: there is no tokenizer of this name.
    """
    if name not in TOKENIZERS:
        raise CaptioningError(
            f"{setting}{printable(str(name)[:100])}: there is no such tokenizer. Take {' or '.join(TOKENIZERS)}: "
            "treebank is coco-caption's, for English; words is for any language."
        )
    return TOKENIZERS[name]


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
