"""What a layer does with an example that is not for it."""

from __future__ import annotations

import traceback
from contextlib import AbstractContextManager
from pathlib import Path, PurePath

import numpy as np
import torch

from harness.outcome import SpecError

OTHERS = ("<frozen", *(str(Path(str(module)).parent) for module in (__file__, np.__file__, torch.__file__)))
"""Where lines stand that are no layer's."""


class Refused(Exception):  # noqa: N818  (an example outside the layer's domain is no error)
    """The forward raised, or its outputs are not finite: this example says nothing."""


class Contested(Refused):
    """The forward raised on an example that the reference takes."""

    def __init__(self, why: str, example: str) -> None:
        super().__init__(why)
        self.example = example


class BackwardRaised(Exception):  # noqa: N818
    """The forward went through and its backward raised."""

    example = ""
    """At which, where a spec has several."""

    def told(self) -> str:
        """What was raised, in which line of the layer's, at which example."""
        what = (f"the forward went through and backward raised {self}", self._line(), self.example)
        return ", at ".join(part for part in what if part)

    def _line(self) -> str:
        frames = traceback.extract_tb(self.__cause__.__traceback__ if self.__cause__ else None)
        own = [f for f in frames if not f.filename.startswith(OTHERS) and f.lineno]
        return f"line {own[-1].lineno} of {PurePath(own[-1].filename).name}" if own else ""


class _Raising:
    """Whatever is raised inside is raised again as another kind; a class, since it is entered at every evaluation."""

    def __init__(self, kind: type[Exception], what: str = "") -> None:
        self.kind, self.what = kind, what

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, (Exception, SystemExit)) and not isinstance(error, (SpecError, Refused, BackwardRaised)):
            raise self.kind(f"{self.what}{type(error).__name__}: {error}".removesuffix(": ")) from error


def forward_may_refuse() -> AbstractContextManager[None]:
    """Whatever a forward raises inside is a refusal."""
    return _FORWARD


def build_may_refuse() -> AbstractContextManager[None]:
    """Whatever a spec's build raises inside is a refusal, and says that it is no forward's."""
    return _BUILD


def backward_may_raise() -> AbstractContextManager[None]:
    """Whatever a backward raises inside is its fault."""
    return _BACKWARD


_FORWARD, _BACKWARD = _Raising(Refused), _Raising(BackwardRaised)
_BUILD = _Raising(Refused, "building it raises ")
