"""Layers that keep their state on an object: what all conventions for them share."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness import recipe
from harness.arrays import Library, to_native, to_tensor
from harness.copies import own_copy
from harness.domain import BackwardRaised
from harness.modes import EVAL, TRAIN, Switch, forward_of, switch_of
from harness.outcome import SpecError
from harness.parts import reset
from harness.request import (
    Request,
    call_arguments,
    gradient,
    input_names,
    outputs_of,
    positional_names,
    required_names,
)
from harness.returned import inputs_of, is_returned
from harness.slots import Slot, share_memory, standing
from harness.sources import Sources
from harness.subject import Evaluation, Leaf, Recipe, Subject

OUTPUTS = ("output", "outputs", "out", "y")
"""Where the outputs stand of a forward that returns nothing."""


def has_backward(layer: Any) -> bool:
    """Whether it is an object with a backward, and a forward or a `__call__`."""
    return not isinstance(layer, type) and callable(getattr(layer, "backward", None)) and forward_of(layer) is not None


@dataclass
class Stateful:
    """A working copy of a layer with the places where its parameters, gradients and buffers stand."""

    layer: Any
    request: Request
    arguments: Mapping[str, Any]
    leaves: dict[str, Leaf]
    sources: Sources
    library: Library
    parameters: dict[str, Slot] = field(default_factory=dict)
    gradients: dict[str, Slot] = field(default_factory=dict)
    buffers: dict[str, Slot] = field(default_factory=dict)
    pulled: dict[str, Slot] = field(default_factory=dict)
    """Where the gradients of inputs stand that backward does not return."""
    given: int = 0
    """How many outputs the last forward gave."""
    begun: str = ""
    """The layer's own method that was run last to begin anew."""
    returned: Any = None
    """What the last backward returned."""
    numbers: dict[str, type] = field(default_factory=dict)
    """The parameters that are plain numbers, with their type."""

    @classmethod
    def of(cls, request: Request) -> Stateful:
        """The layer copied and its inputs named; discovery fills in the rest."""
        layer = own_copy(request.layer, request.dtype, request.device)
        arguments = request.arguments(forward_of(layer) or layer.forward)
        request = request.with_modes()
        return cls(layer, request, arguments, request.leaves(arguments), Sources(layer), request.library)

    @property
    def name(self) -> str:
        """The class's name."""
        return type(self.layer).__name__

    @property
    def inputs(self) -> list[str]:
        """The names of the inputs, in the order of the call."""
        return input_names(self.arguments)

    @property
    def modes(self) -> tuple[str | None, ...]:
        """The modes it can be put into; (None,) if it has none."""
        if self.request.modes:
            return tuple(self.request.modes)
        if self.switch is None:
            return (None,)
        # what is not usual for it is done for who asks
        return (TRAIN, EVAL) if EVAL in self.request.within else self.switch.modes

    @cached_property
    def takes_cotangent(self) -> bool:
        """Whether backward takes one; some losses' take none."""
        return bool(positional_names(self.layer.backward)) or _variadic(self.layer.backward)

    @cached_property
    def asked(self) -> list[str]:
        """What backward can't do without."""
        return required_names(self.layer.backward)

    @cached_property
    def switch(self) -> Switch | None:
        """How the layer is put into a mode; None where it has none, or where the mode is a keyword of forward."""
        return None if self.request.modes else switch_of(self.layer)

    def forward(self, leaves: Mapping[str, Tensor], mode: str | None) -> tuple[Tensor, ...]:
        """One forward with the inputs given."""
        keywords = {**self.request.kwargs, **self.request.modes.get(mode or "", {})}
        self.enter(mode)
        inputs = call_arguments(self.arguments, leaves, self.library)
        result = self.compute(*inputs, **keywords)
        if result is None:  # kept instead of returned
            result = next((y for n in OUTPUTS if (y := getattr(self.layer, n, None)) is not None), None)
        outputs = outputs_of(result, self.name)
        self.given = len(outputs)
        return outputs[: self.most]

    def enter(self, mode: str | None) -> None:
        """Put the layer into a mode by its own switch."""
        if mode is not None and self.switch is not None:
            self.switch.put(mode)

    @cached_property
    def most(self) -> int | None:
        """How many cotangents backward can take: what the forward gives beside as many outputs is not judged."""
        if _variadic(self.layer.backward) or not (names := positional_names(self.layer.backward)):
            return None
        return max(1, len([n for n in names if not isinstance(_default(self.layer.backward, n), bool)]))

    @cached_property
    def compute(self) -> Callable[..., Any]:
        """The layer's forward, or its `__call__`."""
        return forward_of(self.layer) or self.layer.forward

    def backward(self, cotangents: Sequence[Tensor]) -> dict[str, Tensor | None]:
        """One backward: what it returns and what it leaves in the gradients' places."""
        given = [_scalar(to_native(v, self.library)) for v in cotangents] if self.takes_cotangent else []
        if len(self.asked) > len(given):
            raise SpecError(
                f"{self.name}.backward asks for {len(self.asked)} arguments ({', '.join(self.asked)}) "
                f"and the forward has {len(given)} outputs: a backward is called with one cotangent an output"
            )
        try:
            self.returned = self._flat(self.layer.backward(*given))
        except Exception as error:
            if not self.begun or isinstance(error, SpecError):
                raise
            raise BackwardRaised(f"{type(error).__name__}: {error}, after the layer's own {self.begun}()") from error
        found = inputs_of(self.returned, self.leaves, self.inputs, self.name)
        found |= {n: gradient(g, n) for n, g in standing(self.pulled).items() if found.get(n) is None}
        found |= {n: gradient(g, n) for n, g in standing(self.gradients).items()}
        return {n: None if g is None else g.clone() for n, g in found.items()}

    def _flat(self, returned: Any) -> Any:
        """Where an argument is a list of arrays, its gradients may come as a list among the others."""
        if self.inputs == list(self.arguments) or not isinstance(returned, (tuple, list)):
            return returned
        return [g for part in returned for g in (part if isinstance(part, (list, tuple)) else (part,))]

    def begin(self) -> str:
        """Let the layer begin anew in its own way; the name of that way, empty if it has none."""
        self.begun = reset(self.layer)
        return self.begun

    def clear(self) -> None:
        """Zero the gradients, so that what is read afterwards belongs to one backward."""
        self.returned = None
        if self.begin():
            return
        for slot in (*self.gradients.values(), *self.pulled.values()):
            if (g := slot.read()) is None:
                continue
            if any(share_memory(slot.get(), p.get()) for p in self.parameters.values()):
                slot.put(0 * slot.get())  # a backward that answered with the parameter itself
            else:
                slot.write(torch.zeros_like(g))

    def run(
        self, leaves: Mapping[str, Tensor], buffers: Mapping[str, Tensor], mode: str | None, seed: int
    ) -> Evaluation:
        """The subject's `run`."""
        self._load(leaves, buffers)
        self.enter(mode)
        self.clear()
        return self._evaluate(leaves, mode, seed)

    def again(
        self, leaves: Mapping[str, Tensor], buffers: Mapping[str, Tensor], mode: str | None, seed: int
    ) -> Evaluation:
        """The same on top of the gradients that stand there."""
        self._load(leaves, buffers)
        return self._evaluate(leaves, mode, seed)

    def _evaluate(self, leaves: Mapping[str, Tensor], mode: str | None, seed: int) -> Evaluation:
        self.sources.seed(seed)
        outputs = self.forward(leaves, mode)
        return Evaluation(outputs, self.backward, lambda: self.read(self.buffers), lambda: self.read(self.parameters))

    def _load(self, leaves: Mapping[str, Tensor], buffers: Mapping[str, Tensor]) -> None:
        for name, there in standing(self.parameters).items():
            slot, leaf = self.parameters[name], leaves[name]
            if isinstance(there, Tensor) and there.requires_grad:
                there.detach_()  # a trace before this run has tied it to a leaf
            if name in self.numbers:
                slot.put(leaf if leaf.requires_grad else self.numbers[name](leaf.item()))
            elif leaf.requires_grad:
                # in place and recorded: the graph then leads from the layer's own tensor to the leaf
                there.copy_(leaf)
            else:
                slot.replace(there, leaf)
        for name, there in standing(self.buffers).items():
            self.buffers[name].replace(there, buffers[name])

    def read(self, slots: Mapping[str, Slot]) -> dict[str, Tensor]:
        """Copies of what stands in these places."""
        return {n: to_tensor(v, n).detach().clone() for n, v in standing(slots).items() if v is not None}

    def subject(self, **more: Any) -> Subject:
        """The finished subject, once the places are known."""
        leaves = dict(self.leaves)
        self.numbers = {
            n: type(v) for n, s in self.parameters.items() if isinstance(v := s.get(), (float, np.floating))
        }
        for name, value in self.read(self.parameters).items():
            leaves[name] = Leaf(value, "parameter", self.request.grads.get(name, name) is not None)
        return Subject(
            self.name,
            leaves,
            self.read(self.buffers),
            self.run,
            self.modes,
            autograd_is_backward="" if self.library == "torch" else "the layer computes in NumPy",
            takes_cotangent=self.takes_cotangent,
            draws=bool(self.sources),
            kept=tuple(n for n, slot in self.gradients.items() if not is_returned(slot)),
            again=self.again,
            recipe=partial(self._recipe, leaves),
            **more,
        )

    def _recipe(self, leaves: Mapping[str, Leaf]) -> Recipe:
        return recipe.stateful(
            self.layer,
            self.library,
            recipe.passed(self.arguments, self.leaves),
            [n for n in self.inputs if n in leaves and leaves[n].wanted],
            {n: f"layer{slot.code}{_data(slot)}" for n, slot in {**self.parameters, **self.buffers}.items()},
            {
                n: slot.code if is_returned(slot) else "layer" + slot.code
                for n, slot in {**self.pulled, **self.gradients}.items()
            },
            self.switch.line if self.switch else "",
            recipe.keywords_of(self.request.kwargs, self.request.modes),
            self.request.made,
        )

    def probe(self) -> None:
        """One forward in each mode that will be used, to see which global generators it draws from.

        Its inputs are a decoy, other than those that will be judged: whatever a layer keeps of its first forward shows.
        """
        saved = {**self.read(self.parameters), **self.read(self.buffers)}
        for mode in [m for m in self.modes if m in (self.request.within or self.modes)]:
            # a mode that refuses these inputs shows nothing; the case will say so
            with self.sources.watched(), suppress(Exception, SystemExit):
                self.forward({n: decoy(leaf.value) for n, leaf in self.leaves.items()}, mode)
        slots = {**self.parameters, **self.buffers}
        for name, there in standing(slots).items():
            if name in saved:
                slots[name].replace(there, saved[name])


def _data(slot: Slot) -> str:
    """A tensor is assigned to through .data: where `params` is put together anew at each access, it would be lost."""
    return ".data" if isinstance(slot.get(), Tensor) else ""


def decoy(value: Tensor) -> Tensor:
    """Other values of the same kind: the same ones in other places, which no domain can object to."""
    if value.numel() == 1 and value.is_floating_point():
        return 0.75 * value
    return value.flatten().roll(1).reshape(value.shape)


def _default(function: Callable[..., Any], name: str) -> Any:
    return inspect.signature(function).parameters[name].default


def _variadic(function: Callable[..., Any]) -> bool:
    return bool(function.__code__.co_flags & 0x04) if hasattr(function, "__code__") else False


def _scalar(value: Any) -> Any:
    """A 0-dimensional NumPy array as the scalar that NumPy code expects."""
    return value[()] if not isinstance(value, Tensor) and getattr(value, "ndim", 1) == 0 else value
