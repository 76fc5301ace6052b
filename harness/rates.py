"""A learning rate that a backward asks for beside its cotangents: it updates its own parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.signatures import parameters_of

RATES = ("lr", "learning_rate", "learn_rate", "learningrate", "lrate", "step_size", "stepsize", "eta")
"""What it is called, but for case; the first argument is a cotangent whatever its name. `alpha` may be a slope."""


def rate_of(backward: Callable[..., Any]) -> str:
    """The name of that argument; empty where there is none."""
    try:
        names = [p.name for p in parameters_of(backward) if p.kind is not p.POSITIONAL_ONLY]
    except (TypeError, ValueError):
        return ""
    return next((n for n in names[1:] if n.lower() in RATES), "")
