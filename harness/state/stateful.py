"""Layers that keep their state on an object: what all conventions for them share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.reading.handed import predicted_first
from harness.reading.modes import forward_of
from harness.reading.rates import far_step
from harness.replay.sources import Sources
from harness.request import Request, gradient
from harness.scripts import recipe
from harness.scripts.routes import seedings
from harness.scripts.scripted import Scripted
from harness.state.copies import own_copy
from harness.state.outside import Outside
from harness.state.returned import is_returned
from harness.state.slots import Slot, share_memory, standing
from harness.state.views import places
from harness.state.watched import Watched
from harness.subject import Earliest, Evaluation, Leaf, Place, Recipe, Subject
from harness.tensors.arrays import is_array, to_tensor


def has_backward(layer: Any) -> bool:
    """Whether it is an object with a backward, and a forward or a `__call__`."""
    return not isinstance(layer, type) and callable(getattr(layer, "backward", None)) and forward_of(layer) is not None


@dataclass
class Stateful(Watched):
    """A working copy of a layer with the places where its parameters, gradients and buffers stand, run from there."""

    gradients: dict[str, Slot] = field(default_factory=dict)
    pulled: dict[str, Slot] = field(default_factory=dict)
    """Where the gradients of inputs stand that backward does not return."""
    laid: dict[str, Tensor | None] = field(default_factory=dict, init=False)
    """The last backward's gradients on the layer's own memory."""
    written: bool = field(default=True, init=False)
    """Whether a backward has run since the gradients were zeroed last."""
    numbers: dict[str, type] = field(default_factory=dict)
    """The parameters that are plain numbers, with their type."""
    homes: dict[str, Any] = field(default_factory=dict, init=False)
    """{buffer: the array that stood there at first}: a forward may bind its name to an output, or to another buffer's array,
    and writing there would change what is theirs."""
    wholes: set[str] = field(default_factory=set, init=False)
    """The parameters in whose memory others lie: a script writes into them, and binds nothing else to their names."""
    outside: Outside = field(default_factory=Outside)
    """What its methods compute with that stands outside it."""
    carried: list[tuple[Slot, Any]] = field(default_factory=list, init=False)
    """Numbers that a forward moves and the next one reads, with what they are before each run."""
    earliest: Earliest | None = field(default=None, init=False)
    """What its first backward gave."""

    @classmethod
    def of(cls, request: Request) -> Stateful:
        """The layer copied and its inputs named; discovery fills in the rest."""
        layer = own_copy(request.layer, request.dtype, request.device)
        arguments = request.arguments(forward_of(layer) or layer.forward)
        request = request.with_modes()
        state = cls(layer, request, arguments, request.leaves(arguments), Sources(layer), request.library)
        state.outside = Outside.of(layer, request.dtype, request.device)
        return state

    def places(self) -> dict[str, Slot]:
        """Every place in it, and outside it where its methods look, in which a real array or number stands or is shown."""
        return {**self.outside.places(), **places(self.layer)}

    def backward(self, cotangents: Sequence[Tensor]) -> dict[str, Tensor | None]:
        """One backward: what it returns, what it leaves in the gradients' places, and the step that it takes, undone."""
        self.outside.enter()
        self.written = True
        before = self.read({**self.stepped, **self.moved}) if self.stepped or self.moved else {}
        written = self.of_written_length(cotangents)
        self.pace = far_step(cotangents) if self.stepped else 0.0
        found = self.pull(cotangents)
        if self.pulled:
            found |= {n: gradient(g, n) for n, g in standing(self.pulled).items() if found.get(n) is None}
            if self.returned is None:  # it leaves gradients of inputs in places: of the others it says nothing
                found = {n: g for n, g in found.items() if g is not None}
        found |= {n: gradient(g, n) for n, g in standing(self.gradients).items()}
        self.laid = found
        own = {n: None if g is None else g.clone() for n, g in found.items()}
        return own | self._undone(before) | written if before else own

    def of_written_length(self, cotangents: Sequence[Tensor]) -> dict[str, Tensor | None]:
        """The gradients along which backward takes steps whose length is a number in its code: a copy takes one from cotangents
        that are so much larger that its last digits are those of the gradient."""
        if not self.lengths:
            return {}
        far, own = far_step(cotangents), self.layer
        self.layer = own_copy(own, self.request.dtype, self.request.device)
        try:
            labels = {self.moved[n].label for n in self.lengths}
            slots = {label: s for label, s in places(self.layer).items() if label in labels}
            before = self.read(slots)
            self.pull([far * v for v in cotangents])
            after = self.read(slots)
        finally:
            self.layer = own
        steps = {n: (before[label], after[label]) for n in self.lengths if (label := self.moved[n].label) in slots}
        return {n: gradient((start - end) / (far * self.lengths[n]), n) for n, (start, end) in steps.items()}

    def _undone(self, before: Mapping[str, Tensor]) -> dict[str, Tensor | None]:
        """The gradients that stand nowhere, read off the step that backward has taken; the parameters as before it."""
        after = self.read(self.stepped)
        self.restore({**self.stepped, **self.moved}, before)
        unread = [n for n in self.stepped if n in self.parameters and n not in self.gradients]
        return {n: gradient((before[n] - after[n]) / self.pace, n) for n in unread}

    def clear(self) -> None:
        """Zero the gradients, so that what is read afterwards belongs to one backward."""
        self.returned = None
        if self.begin() or not self.written:
            return
        self.written = False
        parameters = list(standing(self.parameters).values())
        for slot in (*self.gradients.values(), *self.pulled.values()):
            if (there := slot.get()) is None:
                continue
            if any(share_memory(there, p) for p in parameters):
                slot.put(0 * there)  # a backward that answered with the parameter itself
            else:
                slot.replace(there, torch.zeros_like(to_tensor(there, slot.label).detach()))

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
        return Evaluation(
            outputs,
            self.backward,
            lambda: self.read(self.buffers),
            lambda: self.read(self.parameters),
            lambda: self.said,
            self.memory,
        )

    def recall(self) -> None:
        """Give back the numbers that a forward moves."""
        for slot, value in self.carried:
            slot.put(value)

    def memory(self) -> dict[Place, Tensor]:
        """Where the last backward's gradients and the parameters lie."""
        parameters = {n: s.read() for n, s in self.parameters.items() if n not in self.numbers}
        found: dict[Place, Tensor] = {("gradient", n): g for n, g in self.laid.items() if g is not None}
        return found | {("parameter", n): t for n, t in parameters.items() if t is not None}

    def _load(self, leaves: Mapping[str, Tensor], buffers: Mapping[str, Tensor]) -> None:
        self.outside.enter()
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
            slot, home = self.buffers[name], self.homes.get(name)
            slot.replace(there, buffers[name]) if there is home else slot.settle(home, buffers[name])

    def subject(self, **more: Any) -> Subject:
        """The finished subject, once the places are known."""
        leaves = dict(self.leaves)
        self.numbers = {
            n: type(v) for n, s in self.parameters.items() if isinstance(v := s.get(), (float, np.floating))
        }
        for name, there in standing(self.buffers).items():
            if isinstance(there, (Tensor, np.ndarray)):  # made by a forward, which may have handed it out
                self.homes.setdefault(name, there.clone() if isinstance(there, Tensor) else there.copy())
        for name, value in self.read(self.parameters).items():
            leaves[name] = Leaf(value, "parameter", self.request.grads.get(name, name) is not None)
        return Subject(
            self.name,
            leaves,
            self.read(self.buffers),
            self.run,
            self.modes,
            autograd_is_backward="" if self.library == "torch" else "the layer computes in NumPy",
            takes_cotangent=self.demand.takes_cotangent,
            reduces=self.meaning.over if self.meaning is not None else "",
            **self.sources.told(),
            carries=bool(self.carried) or not all(map(is_array, standing(self.buffers).values())),
            kept=tuple(n for n, slot in self.gradients.items() if not is_returned(slot)),
            again=self.again,
            copied=True,
            earliest=self.earliest,
            recipe=partial(self._recipe, leaves),
            notes=(*self.history.notes, *self._said(), *more.pop("notes", ())),
            **more,
        )

    def _said(self) -> list[str]:
        note = self.meaning.note(self.demand.unnamed) if self.meaning is not None else ""
        meant = [f"{'the input ' + m if m in self.arguments else 'the output'} as {n}" for n, m in self.meant.items()]
        return [note] if note else [f"backward is given {' and '.join(meant)}"] if meant else []

    def _pulled_to(self, wanted: list[str]) -> list[str]:
        """The inputs in the order of what backward returns."""
        alone = not isinstance(self.returned, (tuple, list, Mapping))
        return predicted_first(wanted) if alone else wanted

    def _recipe(self, leaves: Mapping[str, Leaf]) -> Recipe:
        """How a script makes the layer and calls it."""
        keywords = recipe.keywords_of(self.request.kwargs, self.request.modes)
        moving = {n: s for n, s in {**self.stepped, **self.moved}.items() if n in self.parameters}
        plain = Scripted(
            self.layer,
            self.request.made,
            self.library,
            [*recipe.passed(self.arguments, self.leaves), *([keywords] if keywords else [])],
            self._pulled_to([n for n in self.inputs if n in leaves and leaves[n].wanted]),
            {n: self._assigned(n, slot) for n, slot in {**self.parameters, **self.buffers}.items()},
            self._gradient_codes(),
            {n: f"layer{slot.code}" for n, slot in moving.items()},
            self._lines_before(),
            self.output,
            self.meaning.over if self.meaning is not None else "",
            bool(self.cached),
            self.code,
            self.form,
        ).recipe()
        return recipe.seeded(plain, seedings(self.sources.drawn, {"layer": self.layer}))

    def _assigned(self, name: str, slot: Slot) -> str:
        """Where a script puts the value of a parameter or buffer. A tensor is assigned to through .data: where `params` is put
        together anew at each access, it would be lost."""
        data = ".data" if isinstance(slot.get(), Tensor) else ""
        return f"layer{slot.code}{data}{'[...]' if name in self.wholes else ''}"

    def _gradient_codes(self) -> dict[str, str]:
        """{tensor: where its gradient stands after backward, or how it is read off the step that backward has taken}."""
        steps = {n: s for n, s in self.stepped.items() if n in self.parameters}
        read = {n: f"before[{n!r}] - torch.as_tensor(layer{s.code})" for n, s in steps.items()}
        for n, length in self.lengths.items():
            read[n] = f"(before[{n!r}] - torch.as_tensor(layer{self.moved[n].code})) / {length}"
        kept = {**self.pulled, **self.gradients}
        return read | {n: s.code if is_returned(s) else f"layer{s.code}" for n, s in kept.items()}

    def _lines_before(self) -> list[str]:
        """The lines of a script's forward that come before anything else: globals for its backward, the mode, learning rates of 1."""
        return [
            *(["global cache"] if self.cached else []),
            *(["global handed", "handed = leaves"] if self.demand.repeated else []),
            *(["global y"] if self.output_again else []),
            *([self.switch.line] if self.switch else []),
            *(f"{code} = 1.0" for _, _, code in (self.rates if self.stepped else [])),
            *self.history.lines(),
            *(f"layer{s.code} = {v!r}" for s, v in self.carried),
        ]
