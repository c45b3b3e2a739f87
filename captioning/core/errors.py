"""The one error that a user is meant to read."""


class CaptioningError(Exception):
    """Something that the user can mend.

    The message is a sentence or two that name the file (or the setting) and the remedy; the command line prints
    it without a traceback and exits with ``status``.
    """

    status = 1

    def __init__(self, message: str) -> None:
        """Take the message.

        Where it was raised in a worker process of a ``DataLoader``, torch makes it anew in the main process from the
        text of the worker's traceback: what that text ends in is the message.
        """
        if message.startswith("Caught ") and "\nOriginal Traceback" in message:
            message = message.rpartition(f"{type(self).__name__}: ")[2].rstrip()
        super().__init__(message)


class UsageError(CaptioningError):
    """A command line that is wrong, whatever the files hold."""

    status = 2
