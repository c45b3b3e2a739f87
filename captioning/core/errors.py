"""The one error that a user is meant to read."""


class CaptioningError(Exception):
    """Something that the user can mend.

    The message is a sentence or two that name the file (or the setting) and the remedy; the command line prints
    it without a traceback and exits with status 1.
    """
