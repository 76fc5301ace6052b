"""Which cases of tests a commit asks, where it does not ask all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence


def left_out(tests: Sequence[str], parts: int, turn: int) -> set[str]:
    """Of each test over several cases (`file::test[case]`) all but every so manieth, beginning with that of this turn."""
    cases = defaultdict[str, list[str]](list)
    for test in tests:
        cases[test.partition("[")[0]].append(test)
    return {case for those in cases.values() for case in _not_now(those, parts, turn)}


def _not_now(cases: Sequence[str], parts: int, turn: int) -> list[str]:
    """Of fewer cases than parts one is asked, so that each turn has each test."""
    every = min(parts, len(cases))
    return [case for k, case in enumerate(cases) if k % every != turn % every]
