"""One layer of a spec: its name, its modes, and whether it can be built at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from harness.examples.cases import build
from harness.examples.design import examples
from harness.outcome import SpecError
from harness.reading.modes import usual_modes
from harness.replay.sources import globals_preserved
from harness.spec import LayerSpec


def modes_of(spec: LayerSpec) -> tuple[str | None, ...]:
    """The modes that the spec names, else those that its layer has."""
    layer = _sample(spec)
    usual = usual_modes(layer, len(spec.kinds))
    told = isinstance(layer, (torch.nn.Module, Exception)) or usual
    if spec.modes is not None:
        if spec.modes and not (told or isinstance(spec.modes, Mapping) or "mode" in spec.build_arguments()):
            raise SpecError(
                f"{name_of(layer)} can't be told its mode: give it train() and eval() or an attribute `training`, or name "
                'forward\'s keyword with modes={"train": {"training": True}, "eval": {"training": False}}'
            )
        return tuple(spec.modes) or (None,)
    if isinstance(layer, torch.nn.Module):
        return ("train", "eval")
    return usual or (None,)


def layer_name(spec: LayerSpec) -> str:
    """The spec's name, else that of what it builds, else that of what builds it."""
    if spec.name is not None:
        return spec.name
    made = _sample(spec)
    return name_of(spec.build if isinstance(made, BaseException) else made)


def buildable(spec: LayerSpec) -> str:
    """Why the spec builds no layer; empty where it does."""
    made = _sample(spec)
    return f"{type(made).__name__}: {made}" if isinstance(made, BaseException) else ""


def _sample(spec: LayerSpec) -> Any:
    """One layer of the spec, or what building it raised."""
    raised: Any = None
    with globals_preserved():
        for example in examples(spec, 3, 0):
            try:
                return build(spec, example, "train", torch.device("cpu"))
            except (Exception, SystemExit) as error:  # a layer that leaves the program is one that can't be built
                raised = error
    return raised


def name_of(layer: Any) -> str:
    """What a layer, a function or the first of a pair is called."""
    thing = layer[0] if isinstance(layer, tuple) and layer else layer
    plain = getattr(thing, "_name", None) if hasattr(thing, "_opoverload") else None  # a custom operator
    return str(plain or getattr(thing, "__name__", type(thing).__name__)).removesuffix("_forward")
