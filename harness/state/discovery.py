"""Which array of a stateful layer is a parameter, which its gradient, which a buffer, which a cache.

By name and shape, then by probes: a backward shows where gradients are written, a forward on other inputs what is a cache,
a changed array whether the output depends on it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.domain import BackwardRaised, Refused, backward_may_raise, forward_may_refuse
from harness.outcome import SpecError
from harness.reading.lengths import lengths_in, told
from harness.reading.naming import GRADIENTS, VECTORS, gradient_rank
from harness.reading.rates import is_sure
from harness.state.counted import give_back, moved_since, numbers_in
from harness.state.dependence import depends, is_alias, known_arrays, matters
from harness.state.idle import idle, stirred
from harness.state.orders import in_another_order
from harness.state.owners import Owners
from harness.state.returned import beside, in_order
from harness.state.slots import Slot, share_memory
from harness.state.stateful import Stateful
from harness.state.steps import Steps, Unmeasured, ignores_rate, is_read_from_afar, steps_of, unmeasured
from harness.state.watched import decoy
from harness.subject import Earliest, Gradients, Subject
from harness.tensors.arrays import is_array, same_bytes

STATISTICS = ("running", "moving")
"""How names of running statistics begin; where only one mode can be tried, nothing but the name tells them from parameters."""


def discovered(state: Stateful) -> Subject:
    """The layer with everything that it holds sorted. If its backward raises after its own reset, it is done without.

    Raises:
        SpecError: `grads` names a parameter or gradient that isn't there.
        Refused: the forward refuses the inputs.
        BackwardRaised: the backward raised.
    """
    try:
        return _discovered(state)
    except BackwardRaised as raised:
        if not (broken := state.begun):
            raise
        spared = Stateful.of(state.request)
        spared.resets = []
        subject = _discovered(spared)
        return replace(
            subject, notes=(*subject.notes, f"its {broken}() is not called: after it backward raised {raised}")
        )


def _discovered(state: Stateful) -> Subject:
    """Sorted by one forward and one backward, and probes of what is in doubt after them. Raises what `discovered` does."""
    first = state.places()
    initial, homes = state.read(first), {n: s.get() for n, s in first.items()}
    numbers = numbers_in(state.layer)
    state.probe()  # what is built at the first forward is there now
    mode, outputs = _first_forward(state)
    numbers = moved_since(state, numbers)
    candidates = {n: s for n, s in state.places().items() if not state.history.holds(n)}
    start, answer = state.read(candidates), tuple(y.detach().clone() for y in outputs)
    with backward_may_raise():
        given = state.backward([torch.ones_like(y) for y in outputs])
    state.earliest = Earliest(mode, answer, dict(given))
    still = idle(candidates, start)
    given, written_to = stirred(state, mode, outputs, still) if still else (given, set())
    after = state.places() | {s.label: s for s in beside(state, state.leaves, state.inputs)}
    found = state.read(after)
    pulled = written_to | {n for n, t in found.items() if n not in start or not same_bytes(t, start[n])}
    stood = {n: s.get() for n, s in candidates.items()}  # by which what forward makes anew shows
    written = _written(state, candidates, {n: found.get(n, t) for n, t in start.items()})
    rebound = {n for n, s in candidates.items() if is_array(s.get()) and not share_memory(s.get(), stood[n])}
    _bring_back(candidates, {**start, **initial}, homes)
    carried = give_back(state, numbers)
    own = {n: s for n, s in candidates.items() if n not in state.leaves}
    made = own.keys() - first.keys()
    owners = Owners.of(state.name, own, after, pulled, found, state.request.grads, made)
    _adopt(state, owners, written, rebound)
    _unnamed(state, owners)
    _of_vector(state, owners, given)
    state.pulled = _of_inputs(state, given, after, pulled, found)
    rates = _by_steps(state, owners, pulled, written, outputs)
    findings = {**owners.findings, **sorted_out(state, owners, written | _moved(initial, start))}
    said, findings = state.outside.told(state.buffers, lambda s: owners.may_have(s, state.gradients), findings)
    strangers = owners.strangers(state.gradients.values())
    notes = (
        *carried,
        *owners.notes,
        *strangers,
        *said,
        *_left_out(state, outputs),
        *in_another_order(state, found),
        *rates,
    )
    state.homes = {n: homes[s.label] for n, s in state.buffers.items() if s.label in homes}
    _bring_back(candidates, initial, homes)  # the probes have left their values
    return state.subject(unclaimed=findings, notes=notes)


def _adopt(state: Stateful, owners: Owners, written: Iterable[str], rebound: Container[str]) -> None:
    """Take the pairs of a parameter and its gradient over, but those whose first is none."""
    state.parameters, state.gradients, state.wholes = {}, {}, owners.wholes
    outside = state.outside.places().keys()
    claims = Counter(place.label for _, place in owners.pairs.values())
    for name, (slot, place) in owners.pairs.items():
        # what forward writes itself is state, even where the next forward reads it; and of `W` and `w = W/2`, which a forward
        # writes alike on any inputs, one is no owner of `dW`; nor is a global that some other method computes with
        # and zeros that each forward makes anew, as a first hidden state, only look as if they were kept
        alone = claims[place.label] == 1 and slot.label not in outside and slot.label not in rebound
        if slot.label not in written and (alone or matters(state, slot)):
            state.parameters[name], state.gradients[name] = slot, place


def _first_forward(state: Stateful) -> tuple[str | None, tuple[Tensor, ...]]:
    """With its mode: in the first mode that takes the inputs: a batch norm refuses a batch of one in training alone.

    Raises:
        Refused: by the first mode, where none does.
    """
    refused: Refused | None = None
    for mode in state.probed:
        leaves = {n: leaf.value.clone() for n, leaf in state.leaves.items()}
        state.enter(mode)
        state.begin()
        try:
            with forward_may_refuse():
                return mode, state.forward(leaves, mode)
        except Refused as refusal:
            refused = refused or refusal
    assert refused is not None
    raise refused


def _by_steps(
    state: Stateful, owners: Owners, pulled: set[str], written: Iterable[str], outputs: Sequence[Tensor]
) -> list[str]:
    """Parameters that backward moves itself, and what is said of it."""
    rest = owners.rest(state.parameters, state.gradients)
    own = {
        owners.names[s.label]: s for s in rest if is_array(s.get()) and s.label not in {*written, *state.request.grads}
    }
    slots = {**state.parameters, **own}
    moving = {n: s for n, s in slots.items() if s.label in pulled}
    if not state.rate and not moving:
        return []
    said = _by_rate(state, slots, outputs)
    # what a forward keeps for its backward to take off a stack is no parameter
    stood = {n: s for n, s in moving.items() if n not in state.parameters and s.label not in owners.made}
    return said + _by_lengths(state, {n: s for n, s in stood.items() if matters(state, s)}, outputs)


def _by_rate(state: Stateful, slots: Mapping[str, Slot], outputs: Sequence[Tensor]) -> list[str]:
    """Those among `slots` that backward moves by its learning rate.

    Raises:
        SpecError: what may be the learning rate changes nothing.
    """
    steps = steps_of(state, slots, outputs) if state.rate or state.rates else Steps({})
    if state.rate and not is_sure(state.rate) and not steps.slots and not ignores_rate(state, outputs):
        raise SpecError(state.asks_for_more([*state.asked, state.rate]))
    read = [n for n in steps.slots if n not in state.parameters and matters(state, slots[n])]  # no velocity
    state.parameters |= {n: slots[n] for n in read}
    said = []
    if steps.early:
        said.append(
            f"the gradient of {', '.join(steps.early)} changes with the learning rate: parameters are moved before use"
        )
    if read:
        said.append(
            f"backward takes a step itself: the gradient of {', '.join(read)} is read off it, and the step undone"
        )
    if state.rate and slots and not steps.slots:
        said.append(f"backward is called with {state.rate}=0: a gradient that it keeps nowhere is not judged")
    return said


def _by_lengths(state: Stateful, unread: Mapping[str, Slot], outputs: Sequence[Tensor]) -> list[str]:
    """Those that it moves by steps whose length has no name; where it is a number in the code, the gradient is read off the step."""
    others = unmeasured(state, unread, outputs) if unread else Unmeasured({})
    state.moved = dict(others.slots)
    state.lengths, updates = lengths_in(state.layer, {n: f"layer{state.moved[n].code}" for n in others.plain})
    if state.lengths and not is_read_from_afar(state, outputs):
        state.lengths = {}
    state.parameters |= {n: s for n, s in state.moved.items() if n in state.lengths}
    return told(state.moved, state.lengths, updates)


def _bring_back(slots: Mapping[str, Slot], values: Mapping[str, Tensor], homes: Mapping[str, Any]) -> None:
    """Write values into their places: into the arrays that stood there at first, which a forward may have bound to other
    names or left for others, and into none of these for what a forward has made."""
    for name, value in values.items():
        if name not in slots or name in homes:
            continue
        there = slots[name].get()
        if any(share_memory(there, home) for home in homes.values()):
            slots[name].put(value.clone().numpy() if isinstance(there, np.ndarray) else value.clone())
        else:
            slots[name].replace(there, value)
    for name, home in homes.items():
        if name in slots and name in values:
            slots[name].settle(home, values[name])


def _left_out(state: Stateful, outputs: Sequence[Tensor]) -> list[str]:
    if state.bundled:
        return [f"backward is given the cotangents of the {len(outputs)} outputs as one tuple"]
    if (most := state.demand.most) is None or state.given <= most:
        return []
    return [
        f"backward takes {most} cotangent{'s' if most > 1 else ''} and the forward gives {state.given} "
        "outputs; the others are not judged"
    ]


def _unnamed(state: Stateful, owners: Owners) -> None:
    """Gradients that backward returns by position alone, given to the parameters that have none."""
    taken = {s.label for s in state.gradients.values()}
    unnamed = [s for label, s in owners.places.items() if label.startswith("returned.") and label not in taken]
    if unnamed := [s for s in unnamed if isinstance(s.key, int)]:
        rest = [s for s in owners.rest(state.parameters, state.gradients) if is_array(s.get())]
        slots = {owners.names[s.label]: s for s in rest if matters(state, s)}
        for name, place in in_order(slots, unnamed).items():
            state.parameters[name], state.gradients[name] = slots[name], place


def _of_vector(state: Stateful, owners: Owners, given: Gradients) -> None:
    """The one gradient that has no more of a name (`self.grad`), given to the one vector that all parameters are in (`self.theta`)."""
    rest = [s for s in owners.rest(state.parameters, state.gradients) if s.label in VECTORS and is_array(s.get())]
    places = [s for label, s in owners.places.items() if label in owners.pulled and label in GRADIENTS]
    if state.parameters or len(rest) != 1 or len(places) != 1:
        return
    vector, g, there = rest[0], owners.values[places[0].label], rest[0].read()
    of_input = any(x is not None and same_bytes(x, g) for x in given.values())
    if there is not None and there.dim() == 1 and there.shape == g.shape and not of_input and matters(state, vector):
        state.parameters[vector.label], state.gradients[vector.label] = vector, places[0]


def _of_inputs(
    state: Stateful, given: Gradients, after: Mapping[str, Slot], pulled: set[str], found: Mapping[str, Tensor]
) -> dict[str, Slot]:
    """Attributes such as `dinputs`, of an input whose gradient backward does not return."""
    taken = {s.label for s in state.gradients.values()}
    missing = [n for n, leaf in state.leaves.items() if leaf.wanted and given.get(n) is None]
    places: dict[str, Slot] = {}
    for name in missing:
        fitting: list[str] = []
        called = [name, *(["inputs"] if name == state.inputs[0] else [])]  # `dinputs`, whatever its name
        while called and not fitting:
            word = called.pop(0)
            shaped = [p for p in found if p in pulled - taken and found[p].shape == state.leaves[name].value.shape]
            ranked = {p: r for p in shaped if (r := gradient_rank(p, word, weak=True)) is not None}
            fitting = [*ranked]
        if fitting:
            places[name] = after[min(fitting, key=lambda p: ranked[p])]
    return places


def _written(state: Stateful, slots: Mapping[str, Slot], start: Mapping[str, Tensor]) -> set[str]:
    """The slots that a forward on other inputs writes to: caches and statistics."""
    with suppress(Exception):  # a decoy that is refused shows nothing
        state.forward({n: decoy(leaf.value) for n, leaf in state.leaves.items()}, state.probed[0])
    after = state.read(slots)
    return {n for n, t in start.items() if n not in after or not same_bytes(t, after[n])}


def _moved(initial: Mapping[str, Tensor], start: Mapping[str, Tensor]) -> set[str]:
    """What forwards have moved since the beginning: a mean of all batches so far stays where one has put it that another batch
    gives too."""
    return {n for n, t in start.items() if n in initial and not same_bytes(t, initial[n])}


def sorted_out(state: Stateful, owners: Owners, written: Iterable[str] = ()) -> dict[str, str]:
    """What remains, by what a probe shows: buffers, caches, and parameters without a gradient."""
    findings: dict[str, str] = {}
    known = known_arrays(state)
    rest = [s for s in owners.rest(state.parameters, state.gradients) if is_array(s.get()) and not is_alias(s, known)]
    shown = [s for s in rest if owners.names[s.label] in state.request.buffers]
    if not rest or not (shown or any(depends(state, rest, mode) for mode in state.probed)):
        return findings  # caches alone: forward writes them before it reads them
    for slot in rest:
        if is_alias(slot, known_arrays(state)) or not (slot in shown or matters(state, slot, rest)):
            continue
        name = owners.names[slot.label]
        state.buffers[name] = slot
        short = name.rpartition(".")[2]
        told = {name, slot.label} & {*written} or owners.declares(slot, name) or name in owners.findings
        if not told and not short.startswith(STATISTICS):
            findings[name] = owners.missing(slot, name)
    return findings
