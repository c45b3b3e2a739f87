"""Errors whose messages address the user."""


class CaptioningError(Exception):
    """An error that the user can correct.

    The message names the file (or the setting) and the remedy in a sentence or two. The command line prints the message
    without a traceback and exits with ``status``.
    """

    status = 1

    def __init__(self, message: str) -> None:
        """Take the message.

        If a worker process of a ``DataLoader`` raises the error, torch makes the error anew in the main process from
        the text of the worker's traceback; the end of that text is the message.
        """
        if message.startswith("Caught ") and "\nOriginal Traceback" in message:
            message = message.rpartition(f"{type(self).__name__}: ")[2].rstrip()
        super().__init__(message)


class UsageError(CaptioningError):
    """An invalid command line, whatever the files contain."""

    status = 2
