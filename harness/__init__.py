"""Decides whether a hand-written backward pass is right: PASS, FAIL or INCONCLUSIVE, with a computed bound."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.api import check, gradcheck
    from harness.items import parametrize
    from harness.kinds import const, floats, ints
    from harness.models import chain, value_and_grad
    from harness.outcome import GradientError, NotVerified, Outcome, SpecError
    from harness.report import Finding, Report, Result
    from harness.spec import LayerSpec
    from harness.subject import Evaluation, Subject

__version__ = "0.1.0"

# PEP 562: each name is imported when it is first used, so that `import harness` and pytest's start load no torch.
_HOME = {
    "gradcheck": "api",
    "check": "api",
    "parametrize": "items",
    "value_and_grad": "models",
    "chain": "models",
    "LayerSpec": "spec",
    "ints": "kinds",
    "floats": "kinds",
    "const": "kinds",
    "Report": "report",
    "Result": "report",
    "Finding": "report",
    "Outcome": "outcome",
    "GradientError": "outcome",
    "NotVerified": "outcome",
    "SpecError": "outcome",
    "Subject": "subject",
    "Evaluation": "subject",
}

__all__ = [
    "Evaluation",
    "Finding",
    "GradientError",
    "LayerSpec",
    "NotVerified",
    "Outcome",
    "Report",
    "Result",
    "SpecError",
    "Subject",
    "chain",
    "check",
    "const",
    "floats",
    "gradcheck",
    "ints",
    "parametrize",
    "value_and_grad",
]


def __getattr__(name: str) -> Any:
    if name in ("gradgradcheck", "gradgradgradcheck"):
        raise AttributeError(
            f"harness has no {name}: second derivatives are not supported yet; gradcheck judges the first"
        )
    if name not in _HOME:
        raise AttributeError(f"module 'harness' has no attribute {name!r}")
    value = getattr(import_module(f"harness.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__", "__doc__", "__file__", "__name__", "__path__"])
