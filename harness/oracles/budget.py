"""Forwards that may be spent where two independent answers agree already."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from torch import Tensor

from harness.case import Case
from harness.subject import Evaluation


class Spent(BaseException):
    """A budget's end: no exception of the layer's, so that nothing on the way takes it for a refusal."""


class Budget:
    """So many forwards, over several cases; they end where it is `enough`."""

    def __init__(self, forwards: int) -> None:
        self.left = forwards
        self.kept = 0
        """How many of them are for later cases."""
        self.enough: Callable[[], bool | None] = lambda: None
        """None where it is too early to tell."""
        self.asked = False
        """Whether it has been asked of this case: the answer takes a few forwards itself."""

    def of(self, case: Case) -> Case:
        """The case, each of whose forwards is counted.

        Raises:
            Spent: from a forward, where none is left and what is known is enough.
        """
        run, self.enough, self.asked = case.subject.run, lambda: None, False

        def counted(
            leaves: Mapping[str, Tensor], buffers: Mapping[str, Tensor], mode: str | None, seed: int
        ) -> Evaluation:
            if self.left <= self.kept and not self.asked:
                self.asked = True
                if found := self.enough():
                    raise Spent
                self.asked = found is not None
            self.left -= 1
            return run(leaves, buffers, mode, seed)

        return case.at(subject=replace(case.subject, run=counted))
