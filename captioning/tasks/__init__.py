"""Tasks: kinds of systems, one folder each, behind one protocol."""

from captioning.tasks.task import Evaluation, Prepared, Task

__all__ = ["Evaluation", "Prepared", "Task"]
