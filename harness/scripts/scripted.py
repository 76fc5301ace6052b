"""How a standalone script calls an object that keeps its state, with forward and backward."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.reading.modes import forward_of
from harness.scripts.recipe import assembled, by_name, making
from harness.subject import Recipe
from harness.tensors.arrays import Library


@dataclass(frozen=True)
class Scripted:
    """What the script says of the object. All codes are expressions of the script such as `layer.params['W']`."""

    layer: Any
    made: Mapping[str, Any] | None
    """What its constructor was called with; None: not known."""
    library: Library
    arguments: Sequence[str]
    """What forward is called with."""
    wanted: Sequence[str]
    """The inputs, in the order in which backward returns their gradients."""
    places: Mapping[str, str]
    """{parameter or buffer: the code of its place}."""
    gradients: Mapping[str, str]
    """{tensor: the code of its gradient after backward}."""
    moving: Mapping[str, str]
    """{parameter that backward moves itself: the code of its place}."""
    before: Sequence[str]
    """The lines that come before forward."""
    output: str
    """The attribute that holds the outputs, where forward returns nothing."""
    over: str
    """The reduction that is taken of the outputs, where they are losses one by one."""
    cached: bool
    """Whether forward returns a cache beside its outputs."""
    given: str
    """What backward is called with."""
    form: str
    """How what it returns is taken for gradients one by one: a format of the call."""

    def recipe(self) -> Recipe:
        """The script's part that makes the object and runs it."""
        imports, make = making(self.layer, self.made)
        return assembled(self.library, imports, [make], [*self._forward(), "", "", *self._backward()])

    def _forward(self) -> list[str]:
        call = "" if forward_of(self.layer) is self.layer else ".forward"
        return [
            "def forward(leaves, buffers, mode, seed):",
            "    replay(seed)",
            *(f"    {line}" for line in self.before),
            *(f"    {place} = give({{**leaves, **buffers}}[{n!r}])" for n, place in self.places.items()),
            f"    y = layer{call}({', '.join(self.arguments)})",
            *([f"    y = layer.{self.output}"] if self.output else []),
            *([f"    y = y.{self.over}()"] if self.over else []),
            *(["    *y, cache = y"] if self.cached else []),
            "    return [torch.as_tensor(t) for t in flat(y)]",
        ]

    def _backward(self) -> list[str]:
        before = ", ".join(f"{n!r}: torch.as_tensor({code}).clone()" for n, code in self.moving.items())
        gradients = ", ".join(f"{n!r}: torch.as_tensor({code})" for n, code in self.gradients.items())
        return [
            "def backward(v):",
            *(["    layer.zero_grad()"] if callable(getattr(self.layer, "zero_grad", None)) else []),
            *([f"    before = {{{before}}}"] if before else []),
            f"    d = returned = {self.form.format(f'layer.backward({self.given})')}",
            *by_name(self.wanted),
            "    d = flat(d)",
            f"    found = {{n: torch.as_tensor(t) for n, t in zip({list(self.wanted)!r}, d) if t is not None}}",
            f"    parameters = {{{gradients}}}",
            "    return {**found, **parameters}",
        ]
