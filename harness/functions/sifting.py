"""Which of the tensors that a function holds are judged, and which change its outputs without a gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from harness.draws import parameter_like, rng_of
from harness.functions.graph import reached
from harness.functions.held import Held, arrays_held, standing_in, tensors_held
from harness.functions.stateless import Stateless
from harness.outcome import SpecError
from harness.replay.sources import Sources
from harness.request import Request, call_arguments
from harness.spelling import no_tensor
from harness.subject import Evaluation, Subject
from harness.tensors.arrays import to_native
from harness.tensors.nested import leaves_of


@dataclass
class Sifting:
    """A function of tensors, called with its inputs and with others in the places of what it holds."""

    request: Request
    arguments: Mapping[str, Any]
    held: Mapping[str, Held]

    @cached_property
    def sources(self) -> Sources:
        """The generators that it draws from."""
        return Sources(self.request.layer)

    @property
    def own(self) -> dict[str, Tensor]:
        """What it holds, in the working dtype and in memory of its own."""
        return {n: h.like(self.request.dtype, self.request.device) for n, h in self.held.items()}

    def called(self, values: Mapping[str, Tensor]) -> Any:
        """What it returns with these tensors in place of those that it holds, in the first of its modes."""
        request = self.request
        inputs = {n: leaf.value.clone() for n, leaf in request.leaves(self.arguments).items()}
        with standing_in(self.held, values):
            return request.layer(*call_arguments(self.arguments, inputs, request.library), **request.keywords)

    def judged(self, result: Any, live: Mapping[str, Tensor], name: str) -> list[str]:
        """What autograd reaches and `grads` does not declare a constant.

        Raises:
            SpecError: `grads` names what it does not hold.
        """
        if strangers := [n for n in self.request.grads if n not in self.held]:
            held = ", ".join(self.held) or "no tensor"
            raise SpecError(f"grads names {strangers[0]!r}, which {name} does not hold: it holds {held}")
        there = reached(y for y in leaves_of(result) if isinstance(y, Tensor))
        return [n for n in self._asked() if id(live[n]) in there]

    def others(self, live: Mapping[str, Tensor], judged: Iterable[str]) -> list[str]:
        """What autograd does not reach and changes the outputs, as another value of it shows."""
        rest = [n for n in self._asked() if n not in judged and not self.held[n].is_buffer]
        return moving(self._outputs, live, rest)

    def told(self, others: Iterable[str], name: str) -> tuple[list[str], dict[str, str]]:
        """What is said of `others`: of constants that they are not judged, of what requires a gradient that it has none."""
        others = list(others)
        aside = [n for n in others if not self.held[n].tensor.requires_grad]
        named = ", ".join(f"`{n}`" for n in aside)
        said = [f"{named}: held by {name}, requires no gradient, not judged"] if aside else []
        return said, {n: _UNCLAIMED.format(n) for n in others if n not in aside}

    def _asked(self) -> list[str]:
        return [n for n, h in self.held.items() if h.tensor.is_floating_point() and self.request.grads.get(n, n)]

    def _outputs(self, live: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        self.sources.seed(0)
        found = self.called({n: t.detach().clone() for n, t in live.items()})
        return tuple(y for y in leaves_of(found) if isinstance(y, Tensor))


def beside(stateless: Stateless, forward: Any, subject: Subject) -> Subject:
    """The subject of a function that returns its pullback or a cache, with what is said of the arrays that change its outputs
    and that it is not handed, so that nothing gives their gradients.

    Raises:
        SpecError: `grads` names what it neither is handed nor holds.
    """
    request, numpy = stateless.request, stateless.library == "numpy"
    subject = _handed_in_vain(stateless, subject)
    held = (arrays_held if numpy else tensors_held)(forward, stateless.arguments)
    known = [*subject.leaves, *held]
    if strangers := [n for n in request.grads if n not in known]:
        raise SpecError(no_tensor(strangers[0], subject.name, known))
    held = {n: h for n, h in held.items() if h.tensor.is_floating_point() and request.grads.get(n, n)}
    mode = subject.modes[0]

    def outputs(values: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        leaves = {n: leaf.value.clone() for n, leaf in subject.leaves.items()}
        given = {n: t.detach().clone() for n, t in values.items()}
        with standing_in(held, {n: to_native(t, "numpy") for n, t in given.items()} if numpy else given):
            return tuple(y.clone() for y in subject.run(leaves, {}, mode, 0).outputs)

    others = moving(outputs, {n: h.like(request.dtype, request.device) for n, h in held.items()}, list(held))
    asking = [n for n in others if held[n].tensor.requires_grad]
    said = [_BESIDE.format(n, subject.name) for n in others if n not in asking]
    return replace(subject, notes=(*subject.notes, *said), unclaimed={n: _UNHANDED.format(n) for n in asking})


def _handed_in_vain(stateless: Stateless, subject: Subject) -> Subject:
    """The same without the entries of a dict of parameters that no output goes by and that backward has no gradient of: the cell of
    a network is handed those of its other layers too."""
    dicts = tuple(f"{n}." for n, value in stateless.arguments.items() if isinstance(value, Mapping))
    names = [n for n, leaf in subject.leaves.items() if leaf.wanted and n.startswith(dicts)] if dicts else []
    leaves = {n: leaf.value for n, leaf in subject.leaves.items()}

    def called(own: Mapping[str, Tensor], mode: str | None) -> Evaluation:
        return subject.run({n: t.clone() for n, t in {**leaves, **own}.items()}, {}, mode, 0)

    for mode in subject.modes if names else ():
        with suppress(Exception):  # what a backward raises is told where it is judged
            found = called({}, mode)
            given = found.pullback([torch.ones_like(y) for y in found.outputs])
            names = [n for n in names if given.get(n) is None]
        own = {n: leaves[n] for n in names}
        moved = moving(lambda own, mode=mode: tuple(y.clone() for y in called(own, mode).outputs), own, names)  # type: ignore[misc]
        names = [n for n in names if n not in moved]
    if not names:
        return subject
    constant = {n: replace(leaf, wanted=leaf.wanted and n not in names) for n, leaf in subject.leaves.items()}
    said = f"{', '.join(f'`{n}`' for n in names)}: no output goes by it, and backward returns no gradient of it; not judged"
    return replace(subject, leaves=constant, notes=(*subject.notes, said))


_BESIDE = (
    "`{0}` changes the output and has no gradient: held by {1}, not judged; where it is a parameter, make it an input"
)
_UNHANDED = (
    "`{0}` changes the output and has no gradient: make it an input, so that backward returns one; if it is a constant, write "
    'grads={{"{0}": None}}'
)


def moving(
    outputs: Callable[[Mapping[str, Tensor]], Sequence[Tensor]], own: Mapping[str, Tensor], names: Sequence[str]
) -> list[str]:
    """Which of these tensors change the outputs by another value: asked of all at once first, for most often none does."""
    if not names:
        return []
    base = outputs(own)

    def moves(some: Sequence[str]) -> bool:
        others = {n: parameter_like(own[n].detach(), rng_of(0, k)) for k, n in enumerate(some)}
        try:
            found = outputs({**own, **others})
        except Exception:  # it asks something of the values, so that they matter
            return True
        return len(found) != len(base) or not all(map(torch.equal, found, base))

    return [n for n in names if moves([n])] if moves(names) else []


_UNCLAIMED = (
    "`{0}` changes the output and has no gradient: autograd does not reach it (detach, no_grad, .data, or a Function that is not "
    'handed it); if that is meant, write grads={{"{0}": None}}'
)
