"""Which cases of tests a commit asks, where it does not ask all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

SEVERAL = 4
"""Over how many cases a test must be for a commit to take a part of them."""


def left_out(tests: Sequence[str], parts: int, turn: int) -> set[str]:
    """Of each test over several cases (`file::test[case]`) all but every so manieth, beginning with that of this turn."""
    cases = defaultdict[str, list[str]](list)
    for test in tests:
        cases[test.partition("[")[0]].append(test)
    several = (those for those in cases.values() if len(those) >= SEVERAL)
    return {case for those in several for k, case in enumerate(those) if k % parts != turn}
