"""Language models of characters: from a text to its next character."""

from captioning.tasks.language.task import LanguageTask

__all__ = ["LanguageTask"]
