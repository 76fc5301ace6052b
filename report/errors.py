"""The errors that the command line turns into a message and an exit code."""


class UsageError(Exception):
    """Something the caller gave cannot be used; the text says what was found and what to give instead. Exit code 2."""


class LedgerError(Exception):
    """The ledger of finished runs cannot be read or written; the text says why and what is kept. Exit code 1."""
