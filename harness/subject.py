"""The one type that every convention is turned into: leaves, buffers and `run`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

Gradients = Mapping[str, "Tensor | None"]
"""{leaf: the gradient that backward gave it, None where it gave none}."""


@dataclass(frozen=True)
class Leaf:
    """A named tensor that the function depends on, input or parameter alike."""

    value: Tensor
    role: Literal["input", "parameter"] = "input"
    wanted: bool = True
    """Whether a gradient is claimed for it; integers and declared constants have none."""


Place = tuple[Literal["gradient", "parameter"], str]
"""What lies there, and the leaf's name."""


@dataclass(frozen=True)
class Evaluation:
    """One forward: its outputs, the pullback that belongs to it, and the buffers after it.

    Example:
        >>> x = torch.tensor([1.0, 2.0])
        >>> square = Evaluation((x**2,), lambda v: {"x": 2 * x * v[0]})
        >>> square.pullback([torch.ones(2)])
        {'x': tensor([2., 4.])}
    """

    outputs: tuple[Tensor, ...]
    pullback: Callable[[Sequence[Tensor]], Gradients]
    """Cotangents of the outputs → gradients of the leaves. It may be called once."""
    buffers: Callable[[], Mapping[str, Tensor]] = dict
    """The buffers at the time of the call."""
    now: Callable[[], Mapping[str, Tensor]] = dict
    """The leaves as they are in the layer at the time of the call: what forward and backward have left of them."""
    mode: Callable[[], str] = str
    """The mode that the layer says it is in at the time of the call; empty where it says none."""
    memory: Callable[[], Mapping[Place, Tensor]] | None = None
    """The last pullback's gradients and the parameters on the layer's own memory; None where that can't be seen."""


def looked_at(
    pull: Callable[[Sequence[Tensor]], Gradients],
) -> tuple[Callable[[Sequence[Tensor]], Gradients], Callable[[], Mapping[Place, Tensor]]]:
    """A pullback whose gradients are copied, and where the last ones lie: a later run of the layer may write there."""
    laid: dict[Place, Tensor] = {}

    def copied(cotangents: Sequence[Tensor]) -> Gradients:
        found = pull(cotangents)
        laid.update({("gradient", n): g for n, g in found.items() if g is not None})
        return {n: None if g is None else g.clone() for n, g in found.items()}

    return copied, lambda: laid


@dataclass(frozen=True)
class Recipe:
    """How a standalone script calls the layer: it defines `forward(leaves, buffers, mode, seed)` and `backward(v)`."""

    imports: tuple[str, ...]
    setup: tuple[str, ...]
    """Lines that make `layer`; one of them may be left to fill in."""
    functions: str


class Run(Protocol):
    """The function under test: from leaves, buffers, mode and seed to one evaluation.

    It hands the very tensors of `leaves` to the layer, so that a write to them can be seen. Under the same `seed` it
    draws the same random numbers. Where a leaf requires grad and the layer computes in torch, the outputs carry the graph.
    """

    def __call__(
        self, leaves: Mapping[str, Tensor], buffers: Mapping[str, Tensor], mode: str | None, seed: int, /
    ) -> Evaluation:
        """The outputs at `leaves`, and the pullback that belongs to them."""


class Partially(Protocol):
    """`run` where some leaves alone require gradients, and cotangents come for some outputs alone, the others' being None."""

    def __call__(self, wanted: Collection[str], outputs: Collection[int] | None = None, /) -> Run:
        """A `run` whose pullback leaves out what autograd does not reach, and keeps None where a backward returned none.

        Args:
            wanted: the leaves that require gradients.
            outputs: those whose cotangent is taken; None: all.
        """


class Recast(Protocol):
    """The layer made again: in a dtype, tried in some of its modes alone, or first on another batch."""

    def __call__(
        self, dtype: torch.dtype, within: tuple[str | None, ...] | None = None, doubled: bool = False, /
    ) -> Subject:
        """A subject that shares nothing with the first; `within`: the only modes that it is put into, None: as the first;
        `doubled`: whether all that it is handed until it is run has twice as many rows."""


@dataclass(frozen=True)
class Earliest:
    """What the first backward of a new layer gave for cotangents of ones, at the subject's own values and buffers."""

    mode: str | None
    outputs: tuple[Tensor, ...]
    gradients: Gradients


@dataclass(frozen=True)
class Subject:
    """A layer as the engine sees it.

    Example:
        >>> def run(leaves, buffers, mode, seed):
        ...     x = leaves["x"]
        ...     return Evaluation((x**2,), lambda v: {"x": 2 * x * v[0]})
        >>> Subject("square", {"x": Leaf(torch.ones(3))}, {}, run).wanted()
        ['x']
    """

    name: str
    leaves: Mapping[str, Leaf]
    """The inputs and parameters by name, in the shapes in which forward takes them."""
    buffers: Mapping[str, Tensor]
    """What else the outputs depend on and a forward may move, such as running statistics."""
    run: Run
    modes: tuple[str | None, ...] = (None,)
    """Those that it can be put into, "train" and "eval"; (None,) where it has none."""
    autograd_is_backward: str = ""
    """Why autograd through the forward is no second opinion (an autograd.Function, NumPy); empty where it is one."""
    takes_cotangent: bool = True
    """False for a loss whose backward takes no argument: the cotangent is one."""
    draws: bool = False
    """Whether it holds a random generator, or was seen to move a global one."""
    strays: str = ""
    """The global generator that it was seen to draw from instead of the one that it holds; empty: none."""
    reseeds: Mapping[str, Collection[str | None]] = field(default_factory=dict)
    """{global generator that its forward was seen to seed: the modes in which it did, None where it was in any}."""
    reseeds_backward: Mapping[str | None, Collection[str]] = field(default_factory=dict)
    """{mode: the global generators that its backward was seen to seed in it}, of those in which `pulled` has looked."""
    pulled: Callable[[str | None, Callable[[], Gradients]], Gradients] = lambda _, pull: pull()
    """What a backward in this mode gives: the first in each is watched for what it seeds."""
    replayed: Callable[[int], tuple[Any, ...]] | None = None
    """seed → generators like those that it draws from, in the states in which a run of that seed begins; None: unknown."""
    unclaimed: Mapping[str, str] = field(default_factory=dict)
    """{tensor: finding} for what the forward depends on and no gradient is found for."""
    notes: tuple[str, ...] = ()
    """What the report says of how it was taken."""
    kept: tuple[str, ...] = ()
    """The parameters whose gradients the layer keeps on itself, where a backward may add to what stands there."""
    again: Run | None = None
    """`run` without clearing those gradients first."""
    partially: Partially | None = None
    """`run` for a part of the gradients; None where backward always computes all of them."""
    held: Mapping[str, Tensor] = field(default_factory=dict)
    """The tensors that a function computes with beside its arguments, by the names of their leaves: a reference may hold the same."""
    reduces: str = ""
    """What its losses, one an example, are taken over where backward takes no cotangent of each: "mean" or "sum"; empty: nothing."""
    carries: bool = False
    """Whether it keeps something else than arrays that a forward moves and the next one reads: a mode that moves none of it shows
    none of it."""
    recast: Recast | None = None
    """The same layer made again, in another dtype or the same."""
    copied: bool = False
    """Whether `recast` makes another layer of the class: a function is always the same one."""
    recipe: Callable[[], Recipe] | None = None
    """How a script calls it, put together where one is written."""
    earliest: Earliest | None = None
    """Where a backward had to be run to find out whose gradient is whose."""

    def wanted(self, role: str | None = None) -> list[str]:
        """The names of the leaves whose gradient is claimed, of one role or of both."""
        return [n for n, leaf in self.leaves.items() if leaf.wanted and role in (None, leaf.role)]

    def real_inputs(self) -> list[str]:
        """The names of the inputs that are no integers, whether their gradient is claimed or not."""
        return [n for n, leaf in self.leaves.items() if leaf.role == "input" and leaf.value.is_floating_point()]

    def values(self) -> dict[str, Tensor]:
        """The leaves' values, copied."""
        return {name: leaf.value.clone() for name, leaf in self.leaves.items()}
