"""A class with `forward` and `backward` that keeps its parameters and gradients on itself."""

from __future__ import annotations

from typing import Any

from harness.discovery import discovered
from harness.outcome import SpecError
from harness.request import Request
from harness.stateful import Stateful, has_backward
from harness.subject import Subject
from harness.whole import unbound

ORDER = 40


def recognises(layer: Any) -> bool:
    """Whether it is an object with forward and backward."""
    return has_backward(layer)


def subject(request: Request) -> Subject:
    """The layer as a subject.

    Raises:
        SpecError: `grads` names a parameter or gradient that isn't there, or it is a whole model that goes back from targets.
        Refused: the forward refuses the inputs.
        BackwardRaised: the backward raised.
    """
    if said := unbound(request.layer, request.inputs):
        raise SpecError(said)
    return discovered(Stateful.of(request))
