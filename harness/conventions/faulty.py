"""A layer wrapped in `harness.faults.Faulty`: the layer's own convention, then the fault."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from harness.conventions import subject_of
from harness.faults import Faulty
from harness.request import Request
from harness.subject import Subject

ORDER = -10


def recognises(layer: Any) -> bool:
    """Whether a fault was put into it."""
    return isinstance(layer, Faulty)


def subject(request: Request) -> Subject:
    """The right subject, transformed."""
    right = subject_of(replace(request, layer=request.layer.layer))
    wrong: Subject = request.layer.fault.apply(right)
    # where the fault is in `run` alone, what has no fault must not stand beside it
    return replace(
        wrong,
        again=None if wrong.again is right.again else wrong.again,
        partially=None if wrong.partially is right.partially else wrong.partially,
    )
