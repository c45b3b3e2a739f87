"""Tasks: kinds of systems behind one protocol, one folder each."""

from captioning.tasks.task import Evaluation, Prepared, Task

__all__ = ["Evaluation", "Prepared", "Task"]
