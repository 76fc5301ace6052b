"""`gradcheck` and `check`: the two ways in."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from harness import engine
from harness.arguments import not_split, unknown_word, usable, whole
from harness.case import Case
from harness.checks import selected
from harness.engine import MakeCase, Plan
from harness.events import Event, Finished, Noted
from harness.events import Refused as RefusedEvent
from harness.examples.cases import case_of
from harness.examples.columns import columns
from harness.examples.design import Example
from harness.examples.design import examples as design
from harness.examples.sample import layer_name, modes_of
from harness.options import usable_device
from harness.outcome import Outcome, SpecError
from harness.reading.signatures import spelt
from harness.replay.settings import settings_kept
from harness.replay.sources import globals_preserved
from harness.report import Report, Result
from harness.single import Single
from harness.spec import LayerSpec, resolvable


def gradcheck(
    layer: Any,
    *inputs: Any,
    kwargs: Mapping[str, Any] | None = None,
    mode: str | None = None,
    reference: Any = None,
    grads: Mapping[str, str | None] | None = None,
    dtype: Any = None,
    resolution: float | None = None,
    battery: bool = False,
    seed: int = 0,
    raise_exception: bool = True,
    **unknown: Any,
) -> Report:
    """Verify the backward pass of one layer at one input. Takes the place of `torch.autograd.gradcheck`.

    Every tensor is judged as given, and once more with constant parameters (γ = 1, β = 0) redrawn,
    by the battery with all of them moved.

    Args:
        layer: an object with forward and backward, a pair (forward, backward) of functions, a torch.autograd.Function,
            a torch.nn.Module, a callable of tensors, or a closure run(*inputs) -> (outputs, pullback).
        inputs: what forward is called with: arrays of any shapes, torch's or NumPy's, nests of them and other values; one tuple
            is the same as its members. `const(x)` has no gradient.
        kwargs: keywords of forward.
        mode: "train" or "eval"; None: the layer's present mode.
        reference: the same function by other means; called with the inputs, and by name with parameters and buffers.
        grads: {parameter: name of its gradient}, only where discovery needs help; None: it has no gradient.
        dtype: "float64", "float32", ... or a torch.dtype; None: float64 where the layer accepts it.
        resolution: the relative error that must be seen; default 1e-6 in float64.
        battery: also run every other check that needs no new shape.
        seed: of everything drawn; the same seed gives the same report.
        raise_exception: raise unless verified; False: return the report whatever it says.

    Returns:
        The report; `report.ok` is True if it came without exception.

    Raises:
        GradientError: something is wrong.
        NotVerified: nothing is wrong, but something was not verified (a GradientError too).
        SpecError: the layer or its inputs can't be used as they are.
        TypeError: a keyword of torch.autograd.gradcheck that has no meaning here.
        Exception: what the layer's own forward raised on the inputs.

    Example:
        >>> import torch
        >>> class Square:
        ...     def forward(self, x):
        ...         self.x = x
        ...         return x**2
        ...
        ...     def backward(self, dy):
        ...         return 2 * self.x * dy
        >>> gradcheck(Square(), torch.randn(4, 3)).ok
        True
    """
    __tracebackhide__ = True
    for word in unknown:
        raise TypeError(unknown_word(word, inspect.signature(gradcheck).parameters))
    if len(inputs) == 1 and isinstance(inputs[0], tuple):
        inputs = inputs[0]
    not_split(layer, inputs)
    usable(reference, {"kwargs": kwargs, "grads": grads})
    seed = whole(seed)
    resolvable(resolution)
    asked = Single(layer, inputs, kwargs or {}, mode, reference, grads or {}, dtype, resolution, battery, seed)
    with undisturbed():
        plan, settings = asked.plan()
        report = collect(plan.layer, engine.events(plan), settings)
    if raise_exception:
        report.raise_for_failures()
    return report


@contextmanager
def undisturbed() -> Iterator[None]:
    """Leave random generators and autograd's modes as they were found, and work where gradients are recorded."""
    # what overflows, divides by zero or has no examples beside the point is looked for there, and no warning of the user's layer
    with (
        globals_preserved(),
        torch.inference_mode(False) if torch.is_inference_mode_enabled() else nullcontext(),
        nullcontext() if torch.is_grad_enabled() else torch.enable_grad(),
        settings_kept(),
        np.errstate(all="ignore"),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", PROVOKED)
        yield


PROVOKED = "|".join(
    (
        r"Mean of empty slice",
        r"Degrees of freedom <= 0",
        r"\w+\(\): degrees of freedom is <= 0",
        r".* encountered in \w+$",
    )
)
"""What NumPy and torch warn of where there are too few examples, or numbers go beyond those of a dtype."""


@spelt
def check(
    spec: LayerSpec,
    examples: int = 25,
    seed: int = 0,
    device: str = "cpu",
    only: Sequence[str] = (),
    skip: Sequence[str] = (),
    gaps: bool = True,
) -> Report:
    """Verify a layer over random shapes, values, parameters, cotangents and modes; never raises for a verdict.

    Args:
        spec: the layer and the shapes and kinds of its inputs.
        examples: how many, in each mode.
        seed: of everything drawn; the same seed gives the same report.
        device: a torch device.
        only: check or group names to run; default all.
        skip: check or group names to leave out.
        gaps: whether the spec's known gaps are taken off: what fails there does not apply, what passes there fails.

    Returns:
        The report, one result for each check and mode.

    Raises:
        SpecError: the spec or an argument can't be used as it is.

    Example:
        >>> from harness import LayerSpec
        >>> class Square:
        ...     def forward(self, x):
        ...         self.x = x
        ...         return x**2
        ...
        ...     def backward(self, dy):
        ...         return 2 * self.x * dy
        >>> report = check(LayerSpec(build=Square, inputs="B D"), examples=5, only=["gradient"])
        >>> [result.check for result in report.failures]
        []
    """
    if not isinstance(spec, LayerSpec):
        raise SpecError(
            f"check() takes a LayerSpec, not {getattr(spec, '__name__', type(spec).__name__)}; for one layer and input "
            "use gradcheck(layer, x)"
        )
    only, skip = ((words,) if isinstance(words, str) else words for words in (only, skip))
    seed = whole(seed)
    with undisturbed():
        name = layer_name(spec)
        settings = {"seed": seed, "device": device, "examples": examples}
        report = collect(name, spec_events(spec, examples, seed, device, only, skip), settings)
        if {r.outcome for r in report.results} & {Outcome.FAIL, Outcome.ERROR} and (
            note := columns(spec, torch.device(device))
        ):
            report = replace(report, notes=(note, *report.notes))
    return _without_gaps(report, spec.gaps) if gaps and spec.gaps else report


def _without_gaps(report: Report, gaps: Mapping[str, str]) -> Report:
    def judged(r: Result) -> Result:
        if r.check not in gaps or r.outcome is Outcome.SKIP:
            return r
        if r.outcome is Outcome.PASS:
            why = f"listed as a known gap ({gaps[r.check]}) and no longer one: take it out of gaps"
            return replace(r, outcome=Outcome.FAIL, reason=why, finding=None)
        return replace(r, outcome=Outcome.SKIP, reason=f"known gap: {gaps[r.check]} ({r.reason})", finding=None)

    return replace(report, results=tuple(judged(r) for r in report.results))


def spec_events(
    spec: LayerSpec, examples: int, seed: int, device: str, only: Sequence[str], skip: Sequence[str]
) -> Iterator[Event]:
    """The events of `check`, for listeners that want them as they come."""
    if not isinstance(examples, int) or examples < 1:
        raise SpecError(f"examples={examples!r}: write how many, at least 1")
    if spec.gaps:
        selected(only=tuple(spec.gaps))
    where = torch.device(usable_device(device))
    notes: list[str] = []
    makers = [_maker(spec, example, where, notes) for example in design(spec, examples, seed)]
    plan = Plan(layer_name(spec), modes_of(spec), makers, selected(only, skip), notes, device)
    return engine.events(plan)


def _maker(spec: LayerSpec, example: Example, device: torch.device, notes: list[str]) -> MakeCase:
    dtype = spec.dtypes[0] if spec.dtypes else None

    def make(mode: str | None) -> Case:
        case, made = case_of(spec, example, mode, device, dtype)
        notes.extend(n for n in (*made.subject.notes, *made.notes) if n not in notes)
        return case

    return make


def collect(layer: str, stream: Iterator[Event], settings: dict[str, Any]) -> Report:
    """The report of a run."""
    results: list[Result] = []
    notes: list[str] = []
    refused: dict[str, int] = {}
    for event in stream:
        if isinstance(event, Finished):
            results.append(event.result)
        elif isinstance(event, RefusedEvent):
            refused[event.why] = refused.get(event.why, 0) + 1
        elif isinstance(event, Noted):
            notes.append(event.note)
    notes += [f"refused {count} examples: {why}" for why, count in refused.items()]
    return Report(layer, tuple(results), settings, tuple(notes))
