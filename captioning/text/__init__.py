"""Tokenizers of captions, and words at which captions end."""

TREEBANK = "treebank"  # the tokenizer of coco-caption and of all published scores; that of runs without the setting
