"""Translation: from a sentence to a sentence of another language."""

from captioning.tasks.translation.task import TranslationTask

__all__ = ["TranslationTask"]
