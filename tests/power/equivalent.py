"""Mutants of layers/ that survive: those that compute the same, each with its proof, and those that the harness can't see.

Keys are (module, function, first line of the statement, mutation). One that is killed, or no longer exists, fails the tests.
"""

from __future__ import annotations

Key = tuple[str, str, str, str]

EQUIVALENT: dict[Key, str] = {}
WEAK: dict[Key, str] = {}
