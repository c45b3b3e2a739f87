"""Language models of characters: a text in, the next character out."""

from captioning.tasks.language.task import LanguageTask

__all__ = ["LanguageTask"]
