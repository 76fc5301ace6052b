"""One layer at one input, as `gradcheck` is asked for it: what is looked at there, and by which checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
import torch

from harness.arguments import checked, dtype_of, not_given
from harness.case import Case
from harness.checks import Check, selected
from harness.domain import BackwardRaised, Refused
from harness.engine import Plan
from harness.examples.prepare import Prepared, constants, parameters, prepared
from harness.examples.sample import name_of
from harness.once import once
from harness.outcome import SpecError
from harness.points import as_given, mode_of, moved, redrawn
from harness.reading.masks import rates_of
from harness.reading.modes import EVAL, TRAIN, present_mode
from harness.request import Request
from harness.subject import Subject
from harness.tensors.arrays import all_finite, dtype_name
from harness.tensors.library import library_of
from harness.tensors.nested import leaves_of
from harness.wanted import cuda_wanted


@dataclass(frozen=True)
class Single:
    """The arguments of `gradcheck`, which says what each is."""

    layer: Any
    inputs: Sequence[Any]
    kwargs: Mapping[str, Any]
    mode: str | None
    reference: Any
    grads: Mapping[str, str | None]
    dtype: Any
    resolution: float | None
    battery: bool
    seed: int

    @once
    def device(self) -> torch.device:
        """Where the first tensor among the inputs lies."""
        tensors = (x for x in leaves_of(self.inputs) if isinstance(x, torch.Tensor))
        return next((x.device for x in tensors), torch.device("cpu"))

    @once
    def present(self) -> str | None:
        """The mode that the layer is in."""
        return present_mode(self.layer, len(self.inputs), self.kwargs)

    @once
    def request(self) -> Request:
        """What the conventions are asked to make a subject of."""
        present = self.present  # before anything is run
        # all modes, and of a layer that is not usually asked for evaluation the one that is asked for here
        every: tuple[str | None, ...] = (TRAIN, EVAL) if self.mode == EVAL else ()
        return Request(
            self.layer,
            tuple(self.inputs),
            dict(self.kwargs),
            grads=dict(self.grads),
            device=self.device,
            within=every if self.battery else (self.mode or present,),
        )

    def case(self, subject: Subject) -> Case:
        """The layer's own parameters and buffers at the input given, in the mode asked for.

        Raises:
            SpecError: the layer has no such mode.
        """
        mode = mode_of(self.present, subject, self.mode)
        case = as_given(subject, mode, self.seed, self.resolution, self.reference)
        return case.at(sizes=rates_of(self.layer)) if self.battery else case

    def plan(self) -> tuple[Plan, dict[str, Any]]:
        """What is to be looked at, and the settings that the report names.

        Raises:
            SpecError: the layer or its inputs can't be used as they are.
            Exception: what the layer's own forward raised on the inputs given.
        """
        __tracebackhide__ = True
        try:
            made = prepared(checked(self.request), dtype_of(self.dtype), self.case)
        except Refused as refusal:
            raise self._own_exception(refusal) from None
        except BackwardRaised as raised:
            return self._broken(raised), {"seed": self.seed}
        dtype = dtype_name(made.dtype)
        return self._of(made, dtype), {"seed": self.seed, "device": str(self.device), "dtype": dtype}

    def _broken(self, raised: BackwardRaised) -> Plan:
        """The point as given, where backward raises: every check is told of it."""
        at_rest = self.mode is None and self.present == EVAL
        said = ["it was asked in eval, its present mode; mode='train' asks in the other"] if at_rest else []
        checks = asked_checks(self.battery)
        return Plan(name_of(self.layer), (self.mode,), [partial(_raise, raised)], checks, said, str(self.device))

    def _of(self, made: Prepared, dtype: str) -> Plan:
        """The point as given, and where constants hide a factor (γ = 1), one with these moved; for the battery with every
        parameter, as a step would: what a backward keeps of them from an earlier call is old there."""
        base = made.trial
        assert base is not None
        names, buffers = (parameters if self.battery else constants)(base.subject), moved(base)
        cases = [lambda _: base] + ([lambda _: redrawn(base, names, buffers)] if names or buffers else [])
        odd = [n for n, t in base.leaves.items() if t.is_floating_point() and not all_finite(t)]
        said = [f"{n} holds values that are infinite or NaN" for n in odd]
        return Plan(
            made.subject.name,
            (base.mode,),
            cases,
            asked_checks(self.battery, "" if self.reference is None else dtype),
            [*said, *made.subject.notes, *made.notes],
            str(self.device),
        )

    def _own_exception(self, refusal: Refused) -> BaseException:
        """What the layer's forward raised on the inputs given, said to be the layer's; the traceback is its own."""
        name, cause = name_of(self.layer), refusal.__cause__
        if cause is None:
            return SpecError(f"{name} can't be checked on these inputs: {refusal}")
        if missing := not_given(cause):
            return SpecError(f"{name} can't be checked on these inputs: {missing}")
        cause.add_note(f"raised by the forward of {name}, which gradcheck called with the inputs given")
        if library_of(self.layer) == "torch" and any(isinstance(x, np.ndarray) for x in leaves_of(self.inputs)):
            cause.add_note("it computes with torch and was given NumPy arrays: give torch.from_numpy(x)")
        if wanted := cuda_wanted(refusal, str(self.device)):
            cause.add_note(wanted)
        return cause


def _raise(error: Exception, mode: str | None) -> Case:
    raise error


@cache
def asked_checks(battery: bool, dtype: str = "") -> tuple[Check, ...]:
    """The checks of one input: what falls out of the gradient's evaluations and that of a dtype, or all."""
    return tuple(c for c in selected() if battery or c.given or c.name == dtype)
