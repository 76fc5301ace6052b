"""`gradcheck` and `check`: the two ways in."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from difflib import get_close_matches
from functools import cache, partial
from types import FunctionType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness import engine
from harness.arrays import all_finite
from harness.case import Case
from harness.checks import Check, selected
from harness.checks.randomness import RATES
from harness.design import Example
from harness.design import examples as design
from harness.domain import BackwardRaised, Refused
from harness.draws import constant_like, directions_like
from harness.engine import MakeCase, Plan
from harness.events import Event, Finished, Noted
from harness.events import Refused as RefusedEvent
from harness.modes import EVAL, TRAIN, present_mode
from harness.nested import leaves_of
from harness.options import usable_device
from harness.outcome import Outcome, SpecError
from harness.prepare import DTYPES, case_of, constants, is_constant, prepared
from harness.reference import Reference
from harness.report import Report, Result
from harness.request import Request, holds_tensors
from harness.sample import layer_name, modes_of, name_of
from harness.sources import globals_preserved
from harness.spec import LayerSpec
from harness.subject import Subject

_FORWARD = "derivatives in forward mode are not supported yet; backward is what is judged"
_TORCH_WORDS = {
    "eps": "the step is chosen by a ladder from each tensor's own spread",
    "atol": "the bound is computed from the forward's measured rounding; ask for a finer one with resolution=1e-8",
    "rtol": "the bound is computed from the forward's measured rounding; ask for a finer one with resolution=1e-8",
    "fast_mode": "one random cotangent and direction always come first, and what they can't settle is looked at in full",
    "nondet_tol": "every forward replays the random generators; what still differs is measured as noise",
    "check_forward_ad": _FORWARD,
    "check_batched_forward_grad": _FORWARD,
    "check_backward_ad": "backward is always judged",
    "check_undefined_grad": "every output gets a cotangent; missing ones are not supported yet",
    "check_batched_grad": "a backward under vmap is not supported yet",
    "check_grad_dtypes": "the check `dtypes` always asks for the gradients' dtypes",
    "masked": "sparse tensors are not supported yet",
    "create_graph": "second derivatives are not supported yet",
}


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

    Every tensor is judged as given, and once more with constant parameters (γ = 1, β = 0) redrawn.

    Args:
        layer: an object with forward and backward, a pair (forward, backward) of functions, a torch.autograd.Function,
            a torch.nn.Module, a callable of tensors, or a closure run(*inputs) -> (outputs, pullback).
        inputs: what forward is called with; one tuple is the same as its members. `const(x)` has no gradient.
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
    """
    for word in unknown:
        raise TypeError(_unknown_word(word))
    if len(inputs) == 1 and isinstance(inputs[0], tuple):
        inputs = inputs[0]
    _not_split(layer, inputs)
    if resolution is not None and not (isinstance(resolution, (int, float)) and 0 < resolution < 1):
        raise SpecError(f"resolution={resolution!r}: write the relative error that must be seen, such as 1e-6")
    where_given = next((x.device for x in leaves_of(inputs) if isinstance(x, torch.Tensor)), torch.device("cpu"))
    present = present_mode(layer, len(inputs), kwargs or {})
    given = Request(
        layer,
        tuple(inputs),
        dict(kwargs or {}),
        grads=dict(grads or {}),
        device=where_given,
        # all modes, and of a layer that is not usually asked for evaluation the one that is asked for here
        within=((TRAIN, EVAL) if mode == EVAL else ()) if battery else (mode or present,),
    )

    def point(subject: Subject) -> Case:
        case = _present(subject, _mode(present, subject, mode), seed, resolution, reference)
        return case.at(sizes=_rates(layer)) if battery else case

    checks = _asked(battery)
    with undisturbed():
        try:
            made = prepared(_checked(given), _dtype(dtype), point)
        except Refused as refusal:
            raise _own_exception(name_of(layer), refusal) from None
        except BackwardRaised as raised:
            plan = Plan(name_of(layer), (mode,), [partial(_raise, raised)], checks)
            report = collect(plan.layer, engine.events(plan), {"seed": seed})
        else:
            base = made.trial
            assert base is not None
            names, buffers = constants(base.subject), _moved(base)
            cases = [lambda _: base] + ([lambda _: _redrawn(base, names, buffers)] if names or buffers else [])
            name = str(made.dtype).removeprefix("torch.")
            checks = checks if reference is None else _asked(battery, name)
            odd = [n for n, t in base.leaves.items() if t.is_floating_point() and not all_finite(t)]
            said = [f"{n} holds values that are infinite or NaN" for n in odd]
            plan = Plan(made.subject.name, (base.mode,), cases, checks, [*said, *made.subject.notes, *made.notes])
            settings = {"seed": seed, "device": str(where_given), "dtype": name}
            report = collect(plan.layer, engine.events(plan), settings)
    if raise_exception:
        report.raise_for_failures()
    return report


@cache
def _asked(battery: bool, dtype: str = "") -> tuple[Check, ...]:
    """The checks of one input: what falls out of the gradient's evaluations and that of a dtype, or all."""
    return tuple(c for c in selected() if battery or c.given or c.name == dtype)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Leave random generators and autograd's modes as they were found, and work where gradients are recorded."""
    # what overflows or divides by zero beside the point is looked for there, and no warning of the user's layer
    with globals_preserved(), torch.inference_mode(False), torch.enable_grad(), np.errstate(all="ignore"):
        yield


def _own_exception(name: str, refusal: Refused) -> BaseException:
    """What the layer's forward raised on the inputs given, said to be the layer's; the traceback is its own."""
    if refusal.__cause__ is None:
        return SpecError(f"{name} can't be checked on these inputs: {refusal}")
    refusal.__cause__.add_note(f"raised by the forward of {name}, which gradcheck called with the inputs given")
    return refusal.__cause__


def _raise(error: Exception, mode: str | None) -> Case:
    raise error


def _not_split(layer: Any, inputs: Sequence[Any]) -> None:
    """Two functions side by side, as `gradcheck(forward, backward, x)`, where the first does not take the second.

    Raises:
        SpecError: it is so.
    """
    if len(inputs) < 2 or not (isinstance(layer, FunctionType) and isinstance(inputs[0], FunctionType)):
        return
    try:
        inspect.signature(layer).bind(*inputs)
    except TypeError:
        pair = f"({layer.__name__}, {inputs[0].__name__})"
        raise SpecError(f"a forward and its backward are one argument, a pair: gradcheck({pair}, ...)") from None


def _unknown_word(word: str) -> str:
    if word in _TORCH_WORDS:
        return f"gradcheck() takes no {word}=: {_TORCH_WORDS[word]}"
    if close := get_close_matches(word, inspect.signature(gradcheck).parameters, 1):
        return f"gradcheck() got an unexpected keyword {word!r}: did you mean {close[0]}=?"
    return f"gradcheck() got an unexpected keyword {word!r}; keywords of the layer's forward go into kwargs={{{word!r}: ...}}"


def _checked(request: Request) -> Request:
    if isinstance(request.layer, type) and not issubclass(request.layer, torch.autograd.Function):
        raise SpecError(f"{request.layer.__name__} is a class: pass a layer, such as {request.layer.__name__}(...)")
    if isinstance(request.layer, torch.autograd.Function):
        kind = type(request.layer).__name__
        raise SpecError(f"this is an instance of the torch.autograd.Function {kind}: pass the class itself, {kind}")
    if isinstance(request.layer, LayerSpec):
        raise SpecError("gradcheck() takes a layer and its inputs; a LayerSpec draws its own: check(spec)")
    if any(isinstance(x, list) and not holds_tensors(x) for x in request.inputs):
        raise SpecError(
            "an input is a list of something else than arrays: give tensors or arrays, several of them as arguments or as one tuple"
        )
    if not holds_tensors(request.inputs):
        raise SpecError(
            f"gradcheck({type(request.layer).__name__}, ...) needs the inputs to call it with: tensors or arrays, as in "
            "gradcheck(layer, torch.randn(4, 8))"
        )
    return request


def _dtype(dtype: Any) -> torch.dtype | None:
    if dtype is None or isinstance(dtype, torch.dtype):
        return dtype
    if str(dtype) not in DTYPES:
        raise SpecError(f"dtype={dtype!r} is not one of {', '.join(DTYPES)}")
    return DTYPES[str(dtype)]


def _mode(present: str | None, subject: Subject, mode: str | None) -> str | None:
    """The mode asked for, else the one that the layer is in."""
    modes = subject.modes
    if mode is not None:
        if mode not in modes:
            has = " and ".join(repr(m) for m in modes if m) or "none"
            raise SpecError(f"{subject.name} has no mode {mode!r}; its modes: {has}")
        return mode
    if modes == (None,):
        return None
    return present if present in modes else modes[0]


def _present(subject: Subject, mode: str | None, seed: int, resolution: float | None, reference: Any) -> Case:
    by_other_means = None if reference is None else Reference(reference)
    return Case(
        subject, subject.values(), subject.buffers, mode, seed, resolution, "the input as given", {}, by_other_means
    )


def _rates(layer: Any) -> dict[str, float]:
    """What a layer says of the probability of its own mask, by a number such as `p`."""
    return {n: v for n in RATES if isinstance(v := getattr(layer, n, None), float)}


def _redrawn(case: Case, names: Sequence[str], buffers: Mapping[str, Tensor] | None) -> Case:
    """The same inputs beside other values of these parameters, and with these buffers."""
    moved = directions_like([case.leaves[n] for n in names], case.seed, 4)
    leaves = {**case.leaves, **{n: constant_like(case.leaves[n], d) for n, d in zip(names, moved, strict=True)}}
    done = (["constant parameters redrawn"] if names else []) + (["running statistics moved"] if buffers else [])
    label = ", ".join(["the input as given", *done])
    return case.at(leaves=leaves, buffers=buffers or case.buffers, label=label, seed=case.seed + 1, echo=True)


def _moved(case: Case) -> Mapping[str, Tensor] | None:
    """For evaluation with constant statistics (a variance of one hides that nothing is divided by it): where a few train
    forwards bring them; None where there are none, or train refuses the input."""
    if case.mode != EVAL or TRAIN not in case.subject.modes or not any(map(is_constant, case.buffers.values())):
        return None
    train = case.at(mode=TRAIN)
    try:
        for _ in range(MOVES):
            train = train.at(buffers=train.fresh().buffers())
    except Refused:
        return None
    return train.buffers if all(map(all_finite, train.buffers.values())) else None


MOVES = 3
"""How many train forwards move running statistics off the values that a layer begins with."""


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
        spec: the layer and its inputs.
        examples: how many, in each mode.
        seed: of everything drawn; the same seed gives the same report.
        device: a torch device.
        only: check or group names to run; default all.
        skip: check or group names to leave out.
        gaps: whether the spec's known gaps are taken off: what fails there does not apply, what passes there fails.

    Raises:
        SpecError: the spec or an argument can't be used as it is.
    """
    if not isinstance(spec, LayerSpec):
        raise SpecError(
            f"check() takes a LayerSpec, not {getattr(spec, '__name__', type(spec).__name__)}; for one layer and input "
            "use gradcheck(layer, x)"
        )
    only, skip = ((words,) if isinstance(words, str) else words for words in (only, skip))
    with undisturbed():
        name = layer_name(spec)
        settings = {"seed": seed, "device": device, "examples": examples}
        report = collect(name, spec_events(spec, examples, seed, device, only, skip), settings)
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
    plan = Plan(layer_name(spec), modes_of(spec), makers, selected(only, skip), notes)
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
