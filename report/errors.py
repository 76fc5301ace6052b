"""The one error that the command line turns into a message and exit code 2."""


class UsageError(Exception):
    """Something the caller gave cannot be used; the text says what was found and what to give instead."""
