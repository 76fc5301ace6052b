"""What a layer does with an example that is not for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from harness.outcome import SpecError


class Refused(Exception):  # noqa: N818  (an example outside the layer's domain is no error)
    """The forward raised, or its outputs are not finite: this example says nothing."""


class BackwardRaised(Exception):  # noqa: N818
    """The forward went through and its backward raised."""


@contextmanager
def forward_may_refuse() -> Iterator[None]:
    """Whatever a forward raises inside is a refusal."""
    with _raising(Refused):
        yield


@contextmanager
def backward_may_raise() -> Iterator[None]:
    """Whatever a backward raises inside is its fault."""
    with _raising(BackwardRaised):
        yield


@contextmanager
def _raising(kind: type[Exception]) -> Iterator[None]:
    try:
        yield
    except (SpecError, Refused, BackwardRaised):
        raise
    except (Exception, SystemExit) as error:
        raise kind(f"{type(error).__name__}: {error}") from error
