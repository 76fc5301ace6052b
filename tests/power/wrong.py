"""Whether a wrong layer is found: by `check` over a spec's examples, by `gradcheck` on an input where it shows."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any
from unittest.mock import patch

import torch
from subjects import SPEC

from harness import LayerSpec, Outcome, gradcheck
from harness.api import undisturbed
from harness.checks import all_checks, selected
from harness.checks.contract import exact
from harness.domain import BackwardRaised, Refused
from harness.engine import observe
from harness.examples.cases import case_of, request_of
from harness.examples.design import Example, examples
from harness.examples.sample import modes_of
from harness.fault.regions import PRECISIONS
from harness.faults import Fault, Faulty
from harness.session import Session

EXAMPLES = 25
CPU = torch.device("cpu")


_drawn: dict[tuple[str | None, str, int], tuple[Example, ...]] = {}


def drawn(spec: LayerSpec, seed: int) -> tuple[Example, ...]:
    """The examples, which are the same for every fault that is put into a layer."""
    key = (spec.name, f"{spec.inputs} {spec.dims}", seed)
    if key not in _drawn:
        _drawn[key] = tuple(examples(spec, EXAMPLES, seed))
    return _drawn[key]


def found_by_check(spec: LayerSpec, name: str, seed: int, most: int = EXAMPLES) -> bool:
    """Whether the check fails the spec at 25 examples, or so many: one failing example fails a result, so the first one settles it."""
    (chosen,) = selected((name,))
    with undisturbed():
        for example in drawn(spec, seed)[:most]:
            for mode in modes_of(spec):
                try:
                    case, _ = case_of(spec, example, mode, CPU, None)
                    _ = case.base
                except BackwardRaised:
                    return True
                except Refused:
                    continue
                if observe(chosen, Session(case)).outcome is Outcome.FAIL:
                    return True
    return False


def shown(layer: str, fault: Fault, seed: int) -> Example:
    """An example of the layer's spec on which the fault shows: sizes and stratum by the region that it acts in."""
    names = list(SPEC[layer].sizes)
    sizes = {n: 4 + 2 * k for k, n in enumerate(names)}
    if fault.where == "in_a_batch_of_one":
        sizes["B"] = 1
    elif fault.where == "in_one_column":
        sizes[names[1]] = 1
    elif fault.where.endswith("beyond_a_block"):
        sizes = {n: 34 + k for k, n in enumerate(names)}
    elif fault.where == "where_sizes_are_square" or fault.needs == "matrix":
        sizes = dict.fromkeys(names, 5)
    elif fault.where in ("beyond_30", "below_minus_8"):
        sizes = {n: 8 + 2 * k for k, n in enumerate(names)}
    options = {n: values[-1] for n, values in SPEC[layer].options.items()}
    wide = fault.where in ("beyond_30", "below_minus_8")
    return Example(sizes, options, "wide" if wide else "unit", seed)


def planted(fault: Fault, x: Any) -> Any:
    """The input with the zeros, ties, ones or equal indices that the fault acts at."""
    if fault.where == "at_equal_indices" and isinstance(x, torch.Tensor):
        return torch.cat([x[:1], x[:-1]])
    if not isinstance(x, torch.Tensor) or not x.is_floating_point() or x.ndim < 2:
        return x
    x = x.clone()
    if fault.where == "at_zero":
        x[0, ::2] = 0.0
    if fault.where == "at_a_threshold":
        x[0, ::2] = 1.0
    if fault.where == "at_ties":
        x[0, :2] = x[0, 0]
    return x


def inputs_where_it_shows(layer: str, fault: Fault, mode: str | None, seed: int) -> tuple[Any, tuple[Any, ...]]:
    """The faulty layer and its inputs; in the precision that the fault acts in."""
    request = request_of(SPEC[layer], shown(layer, fault, seed), mode, CPU)
    dtype = torch.float32 if fault.where == "in_float32" else torch.float64
    inputs = tuple(x.to(dtype) if isinstance(x, torch.Tensor) and x.is_floating_point() else x for x in request.inputs)
    return Faulty(request.layer.to(dtype=dtype), fault), tuple(planted(fault, x) for x in inputs)


SPEC_ONLY = ("empty_batch",)
"""Checks that ask for what a spec alone says: which axis is the batch."""


PROMISED = (
    "overwrites_where_it_promises_to_add",
    "input_scaled_out_of_range",
    "input_guarded_by_what_float16_has_not",
    "parameter_guarded_by_what_float16_has_not",
)
"""Faults that break what a spec promises, and nothing else: without `stable` a product below float16's range is SKIP."""


def shows_at_an_input(fault: Fault) -> bool:
    """Whether a layer alone at one input can show it."""
    return fault.check not in SPEC_ONLY and fault.name not in PROMISED


BY_REFERENCE = ("reference", "state")
"""Checks that hold a layer to a reference."""


def without_evidence() -> AbstractContextManager[Any]:
    """What explains a failure takes longer than finding it, and changes no verdict."""
    return patch("harness.engine.finding_of", lambda session, name, *more: exact(name, "", ""))


def the_check_alone(name: str) -> AbstractContextManager[Any]:
    """The battery without the checks that are not asked about, which would take nearly all of the time."""
    return patch("harness.single.asked_checks", lambda *_: selected((name,)))


def found_at_an_input(layer: str, fault: Fault, seed: int) -> bool:
    """Whether `gradcheck` fails it on an input where it shows, in one of the layer's modes."""
    if not shows_at_an_input(fault):
        raise ValueError(f"{fault.name} shows at no input that a layer alone is called with")
    given = next((c.given for c in all_checks() if c.name == fault.check), True)
    keywords = {"dtype": "float32"} if fault.where == "in_float32" else {}
    for mode in modes_of(SPEC[layer]):
        faulty, inputs = inputs_where_it_shows(layer, fault, mode, seed)
        if fault.where and (fault.where not in PRECISIONS or keywords):
            given = True  # on an input where it shows the gradient's own checks see it
        with without_evidence(), nullcontext() if given else the_check_alone(fault.check):
            report = gradcheck(
                faulty, *inputs, mode=mode, reference=SPEC[layer].reference if fault.check in BY_REFERENCE else None,
                battery=not given, seed=seed, raise_exception=False, **keywords,
            )  # fmt: skip
        if report.failures:
            return True
    return False
