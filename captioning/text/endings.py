"""Words at which a caption does not end well, such as "a man on a".

The list is that of ``bad_endings`` in ruotianluo's ImageCaptioning.pytorch (``captioning/utils/eval_utils.py``), whose
captioners end so after self-critical training with rewards that leave ``<end>`` out.
"""

from collections.abc import Sequence

BAD_ENDINGS = (
    *("a", "an", "the"),
    *("in", "for", "at", "of", "with", "before", "after", "on", "upon", "near", "to"),
    *("is", "are", "am"),
)


def ends_badly(tokens: Sequence[str]) -> bool:
    """True if the last word of a tokenized caption is one of ``BAD_ENDINGS``."""
    return bool(tokens) and tokens[-1] in BAD_ENDINGS
