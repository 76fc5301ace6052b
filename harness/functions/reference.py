"""The same function by other means, called with inputs in order and everything else by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor

from harness.functions.held import standing_in, tensors_held
from harness.outcome import SpecError
from harness.reading.modes import forward_of
from harness.reading.naming import short_names
from harness.reading.signatures import parameters_of
from harness.replay.sources import fresh
from harness.request import Request, outputs_of
from harness.state.views import places
from harness.subject import Leaf, Subject
from harness.tensors.arrays import Library, to_native, to_tensor
from harness.tensors.library import library_of
from harness.tensors.nested import grouped

DRAWS = {"generator": torch.Generator(), "rng": np.random.default_rng(0)}
"""The names by which a reference asks for what the layer draws from, and what it is where the layer draws nothing."""


@dataclass(frozen=True)
class Reference:
    """A user's function of inputs, and by name of parameters, buffers, dims, options and mode.

    A parameter `0.W` is named `_0_W`; the names `params` and `buffers` get the whole dicts. Buffers that it moves, in place or by
    putting others into the dict, are what the layer's must have become. `generator` or `rng` is a generator like the layer's own
    (several: a tuple of them) in the state in which its forward found it.
    """

    function: Callable[..., Any]
    named: Mapping[str, Any] = field(default_factory=dict)
    """Dims and options."""
    word: str = "reference"
    """The word under which the user gave it."""

    @property
    def computes_in_torch(self) -> bool:
        """Whether autograd can go through it."""
        return library_of(self.function) != "numpy"

    @cached_property
    def shares_draws(self) -> bool:
        """Whether it draws what the layer draws."""
        try:
            return any(p.name in DRAWS for p in parameters_of(self.function))
        except ValueError:  # a builtin without a signature
            return False

    def outputs(
        self, subject: Subject, leaves: Mapping[str, Tensor], buffers: Mapping[str, Tensor], mode: str | None, seed: int
    ) -> tuple[Tensor, ...]:
        """Its real outputs.

        Raises:
            SpecError: it asks for something that there is not.
        """
        return self.evaluate(subject, leaves, buffers, mode, seed)[0]

    def evaluate(
        self, subject: Subject, leaves: Mapping[str, Tensor], buffers: Mapping[str, Tensor], mode: str | None, seed: int
    ) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
        """Its real outputs, and the buffers as it leaves them: those that it is handed are its own to move in place.

        Raises:
            SpecError: it asks for something that there is not.
        """
        told = library_of(self.function)
        try:
            return self._evaluated(subject, leaves, buffers, mode, seed, told or "torch")
        except TypeError:  # what its code does not name, the functions that it calls may compute with
            if told is not None:
                raise
            with suppress(TypeError):
                return self._evaluated(subject, leaves, buffers, mode, seed, "numpy")
            raise

    def _evaluated(
        self,
        subject: Subject,
        leaves: Mapping[str, Tensor],
        buffers: Mapping[str, Tensor],
        mode: str | None,
        seed: int,
        library: Library,
    ) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
        moved = {n: t.detach().clone() for n, t in buffers.items()}
        native = {n: to_native(t, library) for n, t in {**leaves, **moved}.items()}
        inputs = [n for n, leaf in subject.leaves.items() if leaf.role == "input"]
        params = {n: native[n] for n, leaf in subject.leaves.items() if leaf.role == "parameter"}
        state = {n: native[n] for n in buffers}
        plain = {_identifier(n): v for n, v in {**params, **state}.items()}
        named = {**self.named, **plain, **self._draws(subject, seed), "mode": mode, "params": params, "buffers": state}
        arguments = self._arguments(subject, self._grouped({n: native[n] for n in inputs}, named), named)
        with self._beside(subject, leaves):
            outputs = outputs_of(self.function(*arguments[0], **arguments[1]), "the reference")
        if subject.reduces:
            outputs = tuple(getattr(y, subject.reduces)() for y in outputs)
        return outputs, {n: to_tensor(t, n).detach() for n, t in state.items()}

    def _draws(self, subject: Subject, seed: int) -> dict[str, Any]:
        """What it draws from, under the name that it asks for it by; where the layer draws nothing, a generator all the same."""
        if not self.shares_draws:
            return {}
        found = () if subject.replayed is None else subject.replayed(seed)
        drawn = found[0] if len(found) == 1 else found
        return {n: drawn or fresh(like, seed) for n, like in DRAWS.items()}

    def _beside(self, subject: Subject, leaves: Mapping[str, Tensor]) -> AbstractContextManager[None]:
        """What it holds at the values that the layer has it at, where they hold the same tensors; in the layer's dtype."""
        like = next((t for t in leaves.values() if t.is_floating_point()), None)
        if not subject.held or like is None:
            return nullcontext()
        names = {id(t): n for n, t in subject.held.items() if n in leaves}
        held = tensors_held(self.function)
        own = {n: h.like(like.dtype, like.device) for n, h in held.items()}
        return standing_in(held, own | {n: leaves[names[i]] for n, h in held.items() if (i := id(h.tensor)) in names})

    def takes(self, request: Request, mode: str | None) -> bool:
        """Whether it takes inputs at which the layer's forward raised before its parameters were found.

        Parameters and buffers are what stands in the layer under their names. Where it asks for what does not stand there, no.
        """
        layer = request.layer
        forward = layer[0] if isinstance(layer, tuple) else forward_of(layer) or layer
        inputs = request.leaves(request.arguments(forward))
        slots = {} if isinstance(layer, (tuple, type)) else places(layer)
        held = {n: v for label, n in short_names(list(slots)).items() if (v := slots[label].read()) is not None}
        leaves = {**{n: Leaf(v, "parameter") for n, v in held.items()}, **inputs}
        try:
            outputs = self.outputs(
                Subject("", leaves, {}, _never), {n: x.value for n, x in leaves.items()}, {}, mode, 0
            )
        except Exception:  # the reference refuses it too, or asks for something else
            return False
        return all(bool(y.isfinite().all()) for y in outputs)

    def _grouped(self, inputs: Mapping[str, Any], named: Mapping[str, Any]) -> Mapping[str, Any]:
        """The inputs, those that came in one tuple or list as a tuple again, unless it asks for them one by one."""
        try:
            asked = parameters_of(self.function)
        except ValueError:
            return inputs
        if all(p.name != n.split(".")[0] for p in asked for n in inputs if "." in n) and (
            any(p.kind is p.VAR_POSITIONAL for p in asked) or sum(p.name not in named for p in asked) >= len(inputs)
        ):
            return inputs
        return grouped(inputs)

    def _arguments(
        self, subject: Subject, inputs: Mapping[str, Any], named: Mapping[str, Any]
    ) -> tuple[list[Any], dict[str, Any]]:
        try:
            asked = parameters_of(self.function)
        except ValueError:  # a builtin such as torch.tanh has no signature: it is called with the inputs
            return list(inputs.values()), {}
        waiting, given, by_name = list(inputs), [], {}
        for p in asked:
            if p.kind is p.VAR_POSITIONAL:
                given += [inputs[n] for n in waiting]
                waiting = []
            elif p.kind is p.POSITIONAL_ONLY and (p.name in waiting or (waiting and p.name not in named)):
                given.append(inputs[waiting.pop(waiting.index(p.name) if p.name in waiting else 0)])
            elif p.kind is p.POSITIONAL_ONLY and p.name in named:
                given.append(named[p.name])
            elif p.name in waiting:
                waiting.remove(p.name)
                by_name[p.name] = inputs[p.name]
            elif p.name in named:
                by_name[p.name] = named[p.name]
            elif p.kind is not p.VAR_KEYWORD and waiting and not by_name:
                given.append(inputs[waiting.pop(0)])
            elif p.kind is not p.VAR_KEYWORD and waiting:
                by_name[p.name] = inputs[waiting.pop(0)]
            elif p.default is p.empty and p.kind is not p.VAR_KEYWORD:
                known = ", ".join([*inputs, *(n for n in named if n.isidentifier())])
                raise SpecError(f"the {self.word} of {subject.name} asks for {p.name!r}; there are {known}")
        return given, by_name


def _never(*_: Any) -> NoReturn:
    raise AssertionError("a layer that refuses its inputs is not run")


def _identifier(name: str) -> str:
    return name if name.isidentifier() else "_" + name.replace(".", "_")
