"""Pairs of a parameter and the place of its gradient: by what is declared, by name, by shape, by what backward writes."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from harness.outcome import SpecError
from harness.reading.naming import (
    GRADIENTS,
    gradient_rank,
    is_marked,
    label_ends,
    owners_ends,
    per_example,
    short_names,
)
from harness.state.slots import Slot
from harness.tensors.arrays import is_array, same_bytes
from harness.tensors.within import beginning_inside, position


@dataclass
class Owners:
    """The arrays that may be parameters, and those that may be their gradients."""

    layer: str
    slots: Mapping[str, Slot]
    places: Mapping[str, Slot]
    pulled: set[str]
    """The labels of the places that backward wrote to."""
    values: Mapping[str, Tensor]
    """What stood in the places after backward."""
    declared: Mapping[str, str | None]
    names: Mapping[str, str]
    """{label: what the report calls it}."""
    made: Container[str] = ()
    """The labels of what was not there before the first forward."""
    aliases: dict[str, list[str]] = field(default_factory=dict)
    """{label: every label of the same memory}, the first found stands for all."""
    pairs: dict[str, tuple[Slot, Slot]] = field(default_factory=dict)
    """{name: (the parameter's place, its gradient's)}."""
    findings: dict[str, str] = field(default_factory=dict)
    contested: set[str] = field(default_factory=set)
    """The places that are as good as another for one array, and differ: the findings name them."""
    joined: list[Slot] = field(default_factory=list)
    """The gradients of arrays for which a larger one stands."""
    wholes: set[str] = field(default_factory=set)
    """The names of those larger ones."""
    notes: list[str] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        layer: str,
        slots: Mapping[str, Slot],
        places: Mapping[str, Slot],
        pulled: set[str],
        values: Mapping[str, Tensor],
        declared: Mapping[str, str | None],
        new: Container[str] = (),
    ) -> Owners:
        """Everything paired that can be.

        Raises:
            SpecError: `declared` names what isn't there.
        """
        aliases = _aliases(slots, places)
        made = cls(layer, slots, places, pulled, values, declared, short_names(list(aliases)), new, aliases)
        made._pair()
        made._reorder()
        made._join()
        return made

    def _pair(self) -> None:
        declared = {label: place for name, place in self.declared.items() for label in self._labels(name, place)}
        taken: dict[str, str] = {}
        for label in self.aliases:
            if label in declared:
                found = [] if declared[label] is None else [self._declared(label, str(declared[label]))]
            else:
                found = self._found(label)
            if found:
                self.pairs[self.names[label]] = self.slots[label], self.places[found[0]]
                taken[found[0]] = label
        for label in taken.keys() & self.aliases.keys():  # what is a gradient is no parameter
            self.pairs.pop(self.names[label], None)

    def _labels(self, name: str, place: str | None) -> list[str]:
        """The array of this name; of a dict or list without a gradient, all that are in it."""
        labels = [label for label in self.aliases if name in (self.names[label], *self.aliases[label])][:1]
        if not labels and place is None:
            labels = [label for label in self.aliases if _is_in(self.slots[label], name)]
        if not labels:
            has = ", ".join(self.names.values()) or "none"
            raise SpecError(f"grads names {name!r}, which is no array of {self.layer}: it has {has}")
        return labels

    def declares(self, slot: Slot, name: str) -> bool:
        """Whether `grads` says something of this array, or of the dict or list that it is in."""
        return any(d in (name, slot.label) or (p is None and _is_in(slot, d)) for d, p in self.declared.items())

    def _declared(self, label: str, place: str) -> str:
        owner = label.rpartition(".")[0]
        known = short_names(list(self.places))
        options = [p for p in (place, f"{owner}.{place}") if p in self.places]
        options += [p for p, name in known.items() if name == place]
        if not options:
            raise SpecError(
                f"grads={{{self.names[label]!r}: {place!r}}}: {self.layer} has no array {place!r} after backward"
            )
        return options[0]

    @cached_property
    def _by_end(self) -> dict[str, list[tuple[int, str]]]:
        """{how a label may end: the places, numbered, that may be the gradient of such a one}, of those that backward wrote to or
        that say gradient: of what a loop keeps of every step hardly any."""
        found: dict[str, list[tuple[int, str]]] = {}
        for k, place in enumerate(self.places):
            for end in owners_ends(place) if place in self.pulled or is_marked(place) else ():
                found.setdefault(end, []).append((k, place))
        return found

    def _candidates(self, label: str) -> list[str]:
        """The places that may hold its gradient by how they are called, in order."""
        ends = {end for name in self.aliases[label] for end in label_ends(name)}
        return [place for _, place in sorted({found for end in ends for found in self._by_end.get(end, ())})]

    def _found(self, label: str) -> list[str]:
        """The places of its gradient, best first; none where several are as good and differ."""
        ranked: dict[str, tuple[int, ...]] = {}
        shape = _shape(self.slots[label])
        for place in self._candidates(label):
            fits = place in self.values and self.values[place].shape == shape
            known = fits and place in self.pulled
            ranks = [r for name in self.aliases[label] if (r := gradient_rank(place, name, known)) is not None]
            if ranks and place not in self.aliases[label]:
                ranked[place] = (not fits, place not in self.pulled, min(ranks))
        best = sorted(ranked, key=lambda p: ranked[p])
        equals = [p for p in best if ranked[p] == ranked[best[0]]]
        if len(equals) > 1 and not all(same_bytes(self.values[equals[0]], self.values[p]) for p in equals):
            name = self.names[label]
            self.contested |= {*equals}
            self.findings[name] = (
                f"`{name}` has {len(equals)} gradients that differ, {_listed(equals)}: write "
                f"grads={{{name!r}: {equals[0]!r}}}"
            )
            return []
        return best

    def _reorder(self) -> None:
        """Lists whose shapes say that the gradients stand in another order than the parameters."""
        wrong = [n for n, (slot, place) in self.pairs.items() if _in_list(place) and _shape(slot) != _shape(place)]
        places = {n: self.pairs[n][1] for n in wrong}
        for name in wrong:
            slot = self.pairs[name][0]
            fits = [p for p in places.values() if _shape(p) == _shape(slot)]
            alike = [n for n in wrong if _shape(self.pairs[n][0]) == _shape(slot)]
            if len(fits) == len(alike) == 1:
                self.pairs[name] = slot, fits[0]
                self.notes.append(f"the gradient of {name} was found at {fits[0].label} by its shape, out of order")

    def _join(self) -> None:
        """Of two arrays one of which lies in the other's memory, the larger stands for both: neither can be moved alone. Their
        gradients have to be one too."""
        read = {n: slot.read() for n, (slot, _) in self.pairs.items()}
        found = {n: t for n, t in read.items() if t is not None}
        for name, whole in beginning_inside(found):
            if name not in self.pairs or whole not in self.pairs:
                continue
            if (at := position(found[name], found[whole])) is None:
                continue
            part, all_ = (self.pairs[n][1] for n in (name, whole))
            g, of_all = self.values[part.label], self.values[all_.label]
            if of_all.shape != found[whole].shape or g.shape != at.shape:
                continue
            if torch.allclose(of_all.flatten()[at], g, 1e-6, 0.0, equal_nan=True):
                self.notes.append(f"{name} is part of {whole}, and judged as that")
            else:
                self.findings[name] = (
                    f"`{name}` is part of `{whole}`, and their gradients are two: `{part.label}` is not what stands for it in "
                    f"`{all_.label}`; write grads={{{whole!r}: None}} to have the parts judged, each by its own"
                )
            self.joined.append(self.pairs.pop(name)[1])
            self.wholes.add(whole)

    def strangers(self, gradients: Iterable[Slot]) -> Iterator[str]:
        """Of the gradients that backward wrote and whose owner is not found: they are none of these."""
        taken = {place.label for place in (*gradients, *self.joined)} | self.contested
        for label in self.places:
            if label in taken or label not in self.pulled or label in self.aliases or not _is_gradient(label):
                continue
            # a wrapper may show what an inner layer keeps
            if not any(same_bytes(self.values[label], self.values[t]) for t in taken if t in self.values):
                yield f"`{label}` is written by backward and is the gradient of nothing that was found"

    def rest(self, parameters: Mapping[str, Slot], gradients: Mapping[str, Slot]) -> list[Slot]:
        """The places that are neither."""
        taken = {s.label for s in (*parameters.values(), *gradients.values())}
        return [self.slots[label] for label in self.aliases if label not in taken]

    def may_have(self, slot: Slot, gradients: Mapping[str, Slot]) -> bool:
        """Whether backward wrote a gradient of this shape that is none of these."""
        free = self.pulled - {s.label for s in gradients.values()} - self.aliases.keys()
        return any(_is_gradient(label) and self.values[label].shape == _shape(slot) for label in free)

    def missing(self, slot: Slot, name: str) -> str:
        """What is said of an array that matters and has no gradient, and what to write."""
        short, whole = _written(slot, name)
        taken = {place.label for _, place in self.pairs.values()}
        for place in sorted(self.pulled - taken):
            if per_example(place) and (shape := self.values[place].shape)[1:] == _shape(slot):
                return (
                    f"`{place}` holds one gradient for each of {shape[0]} examples, which is not supported: "
                    f"keep their sum too, which is judged, self.d{short} = ….sum(0)"
                )
        if slot.label in self.made:
            return (
                f"`{name}` was made by forward, changes the output and has no gradient: if it is a constant, such as a table "
                f"or a mask, write grads={{{whole!r}: None}}; if it is a parameter, set self.d{short} in backward"
            )
        if slot.label in self.pulled:
            return (
                f"`{name}` changes the output and has no gradient: set self.d{short} in backward, which moves it, or let the step "
                "be the gradient times a length that has a name, backward(self, ..., lr) or self.lr, and nothing else"
            )
        guess = self._guess(slot, self.pulled - taken - {slot.label})
        return (
            f"`{name}` changes the output and has no gradient: set self.d{short} in backward, or write "
            f"grads={{{name!r}: {guess!r}}}, or None there if it is a constant"
        )

    def _guess(self, slot: Slot, free: Container[str]) -> str:
        """The one place of its shape that backward wrote to, that was not there before, or beside it, or of all."""
        like = [p for p in self.values if p in free and self.values[p].shape == _shape(slot)]
        new = [p for p in like if p not in self.slots]
        beside = [p for p in like if p.rpartition(".")[0] == slot.label.rpartition(".")[0] != ""]
        return next((found[0] for found in (new, beside, like) if len(found) == 1), "its gradient")


def _aliases(slots: Mapping[str, Slot], places: Mapping[str, Slot]) -> dict[str, list[str]]:
    """One label for each array among the slots, with every label that it has, in the places too; the gradient of an array that
    lies in its own memory (`self.dW = self.W`, of half a square) is another."""
    first: dict[tuple[object, ...], str] = {}
    found: dict[str, list[str]] = {}
    for label, slot in {**slots, **places}.items():
        value = slot.read()
        if value is None:
            continue
        key = (value.data_ptr(), *value.shape, *value.stride()) if is_array(slot.get()) and value.numel() else (label,)
        owner = first.setdefault(key, label) if label in slots else first.get(key)
        if owner is not None and gradient_rank(label, owner) is not None:
            owner = label if label in slots else None
        if owner is not None:
            found.setdefault(owner, []).append(label)
    return found


def _shape(slot: Slot) -> torch.Size:
    value = slot.read()
    return torch.Size() if value is None else value.shape


COMMON = ("W", "U", "V", "b", "weight", "weights", "bias", "gamma", "beta")
"""What parameters are called most: `dU` is the gradient of one, `dscores` may be anything on the way."""


def _is_gradient(label: str) -> bool:
    """Whether a place is called the gradient of a parameter: it stands among gradients, or is `db`, `grad_U`."""
    among = bool(set(label.split(".")[:-1]) & set(GRADIENTS))
    return among or any(gradient_rank(label.rpartition(".")[2], name) is not None for name in COMMON)


def _is_in(slot: Slot, name: str) -> bool:
    """Whether this is what the dict or list is called that the array is in, at whatever depth."""
    above = slot.above
    return above is not None and (above.label == name or _is_in(above, name))


def _written(slot: Slot, name: str) -> tuple[str, str]:
    """What a script calls the array beside `self.`, and what `grads` calls it: of an entry the dict or list it is in."""
    if slot.above is None or str(slot.key).isidentifier():
        return name.rpartition(".")[2], name
    return f"{slot.above.label.rpartition('.')[2]}[{slot.key!r}]", slot.above.label


def _in_list(slot: Slot) -> bool:
    return isinstance(slot.key, int)


def _listed(labels: Iterable[str]) -> str:
    return " and ".join(f"`{label}`" for label in labels)
