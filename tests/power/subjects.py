"""The layers that faults are put into, built in float64, and what each has for a fault to act on."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any

import torch
from specs import SPECS

from harness import LayerSpec
from harness.faults import Fault, Faulty
from harness.sample import layer_name

SPEC = {layer_name(spec): spec for spec in SPECS}
HAS = {
    "Linear": {"input", "parameter", "cotangent", "matrix"},
    "InstanceNorm": {"input", "parameter", "cotangent"},
    "BatchNorm": {"input", "parameter", "cotangent", "buffers"},
    "Tanh": {"input", "cotangent"},
    "Dropout": {"random"},
    "SoftmaxCrossEntropy": {"input"},
}


def spec_with(name: str, fault: Fault | None) -> LayerSpec:
    """The layer's spec with a fault in what it builds; None: the right twin."""
    spec = SPEC[name]

    def build(**sizes: Any) -> Any:
        layer = spec.build(**sizes).to(dtype=torch.float64)
        return layer if fault is None else Faulty(layer, fault)

    asked = [inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY) for n in spec.build_arguments()]
    build.__signature__ = inspect.Signature(asked)  # type: ignore[attr-defined]
    return replace(spec, build=build, name=name)


def spec_of(layer: type[Any]) -> LayerSpec:
    """The spec of the layer that a class derives from, building that class."""
    base = next(n for n in SPEC if any(c.__name__ == n for c in layer.__mro__))
    return replace(SPEC[base], build=layer, name=layer.__name__)
