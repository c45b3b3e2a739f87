"""Answering: from a question about a photograph to a word."""

from captioning.tasks.answering.task import AnsweringTask

__all__ = ["AnsweringTask"]
