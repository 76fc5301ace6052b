"""How a stateful layer is called: its modes, its forward, its backward, and how it begins anew."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from torch import Tensor

from harness.arrays import Library, to_native
from harness.domain import BackwardRaised
from harness.handed import cache_of, handed_again, unnamed
from harness.history import History
from harness.meaning import Meaning, Question
from harness.modes import EVAL, TRAIN, Switch, forward_of, switch_of
from harness.nested import Arrangement, level
from harness.outcome import SpecError
from harness.parts import Reset, reset, resets_of
from harness.rates import rate_of, rates_on
from harness.recipe import cotangents_of, passed
from harness.request import (
    Request,
    call_arguments,
    input_names,
    is_output,
    outputs_of,
    positional_names,
    required_names,
)
from harness.returned import inputs_of
from harness.signatures import parameters_of
from harness.slots import Slot
from harness.sources import Sources
from harness.subject import Leaf

OUTPUTS = ("output", "outputs", "out", "y")
"""Where the outputs stand of a forward that returns nothing."""


@dataclass
class Calls:
    """A working copy of a layer and what it is called with."""

    layer: Any
    request: Request
    arguments: Mapping[str, Any]
    leaves: dict[str, Leaf]
    sources: Sources
    library: Library
    arranged: Arrangement = field(default_factory=lambda: Arrangement((), is_output), init=False)
    """How the outputs stood in what the last forward gave."""
    output: str = field(default="", init=False)
    """The attribute that holds the outputs, where forward returns nothing."""
    history: History = field(default_factory=History, init=False)
    """What it gathers from forward to forward."""
    begun: str = field(default="", init=False)
    """The layer's own method that was run last to begin anew."""
    bundled: bool | None = field(default=None, init=False)
    """Whether backward takes the cotangents of several outputs as one tuple; None: not asked yet."""
    meaning: Meaning | None = field(default=None, init=False)
    """What the argument of backward is that is `unnamed`; None: not known."""
    cache: Any = field(default=None, init=False)
    """What the last forward returned for backward beside its outputs."""
    returned: Any = field(default=None, init=False)
    """What the last backward returned."""
    called: Mapping[str, Any] = field(default_factory=dict, init=False)
    """What the last forward was called with."""
    stepped: dict[str, Slot] = field(default_factory=dict, init=False)
    """The parameters that backward moves along their gradients, by its learning rate."""
    pace: float = field(default=0.0, init=False)
    """The learning rate of the next backward."""

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

    @property
    def entered(self) -> list[str | None]:
        """The modes that it is to be used in, of those that it has."""
        return [m for m in self.modes if m in (self.request.within or self.modes)]

    @property
    def probed(self) -> list[str | None]:
        """The modes in which it may be called to see what is what."""
        return self.entered if self.request.alone and self.entered else list(self.modes)

    @property
    def takes_cotangent(self) -> bool:
        """Whether backward takes one; some losses' take none."""
        if self.meaning is not None:
            return self.meaning.is_cotangent
        return len(self._names) > len(self.repeated) or _variadic(self.layer.backward)

    @cached_property
    def _names(self) -> list[str]:
        return [n for n in positional_names(self.layer.backward) if n != self.cached]

    @property
    def repeated(self) -> tuple[str, ...]:
        """Inputs that backward asks for again, once a forward has shown how many outputs there are."""
        if self.meaning is not None:
            return tuple(n for n in self.asked if n in self.arguments)
        return handed_again(self.asked, self.arguments, self.given, self._integers) if self.given else ()

    @cached_property
    def _integers(self) -> list[str]:
        return [n for n, leaf in self.leaves.items() if not leaf.value.is_floating_point()]

    @property
    def unnamed(self) -> str:
        """The argument of backward whose name does not tell what it is; empty where there is none."""
        return unnamed(self.asked, self.arguments, self.given)

    @cached_property
    def asked(self) -> list[str]:
        """The cotangents that backward can't do without."""
        return [n for n in required_names(self.layer.backward) if n not in (self.rate, self.cached)]

    @cached_property
    def cached(self) -> str:
        """The argument of backward that forward returns beside its outputs; empty where it asks for none."""
        name = cache_of(required_names(self.layer.backward))
        return "" if name in self.arguments else name

    @cached_property
    def rate(self) -> str:
        """The name of the learning rate that backward asks for; empty where it does not."""
        return rate_of(self.layer.backward)

    @cached_property
    def rates(self) -> list[tuple[Any, str, str]]:
        """The learning rates that stand on the layer where backward asks for none."""
        return [] if self.rate else rates_on(self.layer)

    @cached_property
    def switch(self) -> Switch | None:
        """How the layer is put into a mode; None where it has none, or where the mode is a keyword of forward."""
        return None if self.request.modes else switch_of(self.layer)

    def forward(self, leaves: Mapping[str, Tensor], mode: str | None) -> tuple[Tensor, ...]:
        """One forward with the inputs given."""
        self.history.rewind()
        keywords = {**self.request.kwargs, **self.request.modes.get(mode or "", {})}
        self.enter(mode)
        inputs = call_arguments(self.arguments, leaves, self.library)
        self.called = dict(zip(self.arguments, inputs, strict=True))
        result = self.compute(*inputs, **keywords)
        if result is None:  # kept instead of returned
            self.output = next((n for n in OUTPUTS if getattr(self.layer, n, None) is not None), "")
            result = getattr(self.layer, self.output, None)
        if self.cached:
            result = self._without_cache(result)
        outputs = outputs_of(result, self.name)
        self.arranged = Arrangement(result, is_output)
        most = self.most
        self.arranged.fitted(most)
        if self.bundled is None and self.given > 1:
            self.bundled = most == len(self.asked) == 1 and self._takes_all(outputs)
        if self.meaning is None and self.unnamed:
            self.meaning = self._asked_meaning(outputs)
        if self.meaning is not None and self.meaning.over:
            return (getattr(outputs[0], self.meaning.over)(),)
        if self.bundled or most is None or (most >= len(outputs) and not self.arranged.nested):
            return outputs
        return outputs[: sum(self.arranged.counts[:most])]

    def _without_cache(self, result: Any) -> Any:
        """The outputs of a forward that returns what backward is to be given beside them: `return out, cache`."""
        if not isinstance(result, tuple) or len(result) < 2:
            raise SpecError(
                f"{self.name}.backward asks for {self.cached}, which forward must return last: (out, {self.cached})"
            )
        *outputs, self.cache = result
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def _takes_all(self, outputs: Sequence[Tensor]) -> bool:
        """Whether backward goes through with all cotangents in one tuple, and gives gradients of the inputs' shapes."""
        given = tuple(self.arranged([to_native(y.detach().clone(), self.library) for y in outputs]))
        try:
            returned = copy.deepcopy(self.layer).backward(given, **self.words)
            found = inputs_of(self._flat(returned), self.leaves, self.inputs, self.name)
        except Exception:  # it takes one cotangent
            return False
        parts = returned if isinstance(returned, (tuple, list)) else (returned,)
        if any(part is v for part in parts for v in (given, *given)):
            return False  # it hands on what it was given
        shapes = [g.shape == self.leaves[n].value.shape for n, g in found.items() if g is not None]
        return bool(shapes) and all(shapes)

    def _asked_meaning(self, outputs: Sequence[Tensor]) -> Meaning | None:
        def forward(layer: Any, inputs: Mapping[str, Any]) -> Any:
            return (forward_of(layer) or layer.forward)(*inputs.values(), **self.request.kwargs)

        def backward(layer: Any, inputs: Mapping[str, Any], argument: Any) -> Any:
            given = [inputs[n] if n in inputs else _scalar(argument) for n in self.asked]
            return layer.backward(*given, **self.words)

        question = Question(self.layer, forward, backward, self.called, self.library, OUTPUTS)
        return question.answered([y.detach() for y in outputs])

    @property
    def given(self) -> int:
        """How many outputs the last forward gave, a tuple of several counted as one."""
        return len(self.arranged.parts)

    @property
    def words(self) -> dict[str, Any]:
        """The keywords of backward."""
        cache = {self.cached: self.cache} if self.cached else {}
        return {self.rate: self.pace, **cache} if self.rate else cache

    def enter(self, mode: str | None) -> None:
        """Put the layer into a mode by its own switch."""
        if mode is not None and self.switch is not None:
            self.switch.put(mode)

    @property
    def most(self) -> int | None:
        """How many cotangents backward can take: what the forward gives beside as many outputs is not judged."""
        if _variadic(self.layer.backward) or not self._names:
            return None
        return max(1, len(self._cotangents) - len(self.repeated))

    @cached_property
    def _cotangents(self) -> list[str]:
        beside = (self.rate, self.cached)
        return [n for n in self._names if n not in beside and not isinstance(_default(self.layer.backward, n), bool)]

    @property
    def compute(self) -> Callable[..., Any]:
        """The layer's forward, or its `__call__`."""
        return forward_of(self.layer) or self.layer.forward

    def pull(self, cotangents: Sequence[Tensor]) -> dict[str, Tensor | None]:
        """One backward: the gradients of the inputs that it returns.

        Raises:
            SpecError: it asks for more than one cotangent an output.
            BackwardRaised: it raises after the layer began anew in its own way.
        """
        natives = [_scalar(to_native(v, self.library)) for v in cotangents]
        given: list[Any] = self.arranged(natives) if self.takes_cotangent else []
        given = [tuple(given)] if self.bundled else given
        if repeated := self.repeated:
            cotangents_left = iter(given)
            if self.meaning is not None and not self.meaning.is_cotangent:
                cotangents_left = iter([self.meaning.of(self.layer, self.called)])
            given = [self.called[n] if n in repeated else next(cotangents_left) for n in self.asked]
        if len(self.asked) > len(given):
            raise SpecError(
                f"{self.name}.backward asks for {len(self.asked)} arguments ({', '.join(self.asked)}) "
                f"and the forward has {len(given)} outputs: a backward is called with one cotangent an output, and with the "
                "inputs whose names it asks for; where that is another one, check a closure that calls it: "
                "def run(*inputs): return layer.forward(*inputs), lambda v: layer.backward(...)"
            )
        try:
            with self._paced():
                self.returned = self._flat(self.layer.backward(*given, **self.words))
        except Exception as error:
            if not self.begun or isinstance(error, SpecError):
                raise
            raise BackwardRaised(f"{type(error).__name__}: {error}, after the layer's own {self.begun}()") from error
        return inputs_of(self.returned, self.leaves, self.inputs, self.name)

    @contextmanager
    def _paced(self) -> Iterator[None]:
        """The layer's own learning rates are `pace`, if its backward is known to move parameters by them."""
        own = [(owner, name, getattr(owner, name)) for owner, name, _ in self.rates] if self.stepped else []
        for owner, name, _ in own:
            setattr(owner, name, self.pace)
        try:
            yield
        finally:
            for owner, name, value in own:
                setattr(owner, name, value)

    @property
    def code(self) -> str:
        """What a script gives backward: the cotangents `v`."""
        if repeated := self.repeated:
            cotangents = iter(self.arranged.code("v"))
            given = [p.replace("leaves", "handed") for p in passed(self.arguments, self.leaves)]
            handed = dict(zip(self.arguments, given, strict=True))
            if self.meaning is not None and not self.meaning.is_cotangent:
                cotangents = iter([handed.get(self.meaning.given, f"layer{self.meaning.given}")])
            return ", ".join(handed[n] if n in repeated else next(cotangents) for n in self.asked)
        all_ = cotangents_of(self.arranged, bool(self.bundled))
        words = [f"{self.rate}={float(bool(self.stepped))}"] if self.rate else []
        words += [f"{self.cached}=cache"] if self.cached else []
        return ", ".join([*([all_] if self.takes_cotangent else []), *words])

    def _flat(self, returned: Any) -> Any:
        """Where an argument is a tuple or list of arrays, its gradients may come as one among the others."""
        nested = [n for n in self.arguments if n not in self.inputs]
        return level(returned, nested) if nested else returned

    def begin(self) -> str:
        """Let the layer begin anew in its own way; the name of that way, empty if it has none."""
        self.begun = reset(self.resets)
        return self.begun

    @cached_property
    def resets(self) -> list[Reset]:
        """How it and the layers inside it begin anew."""
        return resets_of(self.layer)


def _default(function: Callable[..., Any], name: str) -> Any:
    return next(p.default for p in parameters_of(function) if p.name == name)


def _variadic(function: Callable[..., Any]) -> bool:
    return bool(function.__code__.co_flags & 0x04) if hasattr(function, "__code__") else False


def _scalar(value: Any) -> Any:
    """A 0-dimensional NumPy array as the scalar that NumPy code expects."""
    return value[()] if not isinstance(value, Tensor) and getattr(value, "ndim", 1) == 0 else value
