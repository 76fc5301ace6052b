"""How a stateful layer is called: its modes, its forward, its backward, and how it begins anew."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from torch import Tensor

from harness.domain import BackwardRaised
from harness.outcome import ElsewhereError, SpecError
from harness.reading.handed import memory_of
from harness.reading.modes import EVAL, TRAIN, Switch, forward_of, said_mode, switch_of
from harness.reading.parts import Reset, reset, resets_of
from harness.reading.rates import rate, set_rate
from harness.replay.sources import Sources
from harness.request import call_arguments, is_dense, is_output, outputs_of
from harness.scripts.recipe import cotangents_of, passed
from harness.state.asking import Asking
from harness.state.earlier import Earlier, as_scalar
from harness.state.history import History
from harness.state.meaning import COTANGENT, Meaning, Question
from harness.state.returned import form_of, inputs_of, levelled
from harness.state.slots import Slot
from harness.state.whole import advice, targets_of
from harness.tensors.arrays import Library, to_native
from harness.tensors.nested import ONE, Arrangement

OUTPUTS = ("output", "outputs", "out", "y")
"""Where the outputs stand of a forward that returns nothing."""


@dataclass
class Calls(Asking):
    """A working copy of a layer and what it is called with."""

    sources: Sources
    library: Library
    output: str = field(default="", init=False)
    """The attribute that holds the outputs, where forward returns nothing."""
    history: History = field(default_factory=History, init=False)
    """What it gathers from forward to forward."""
    begun: str = field(default="", init=False)
    """The layer's own method that was run last to begin anew."""
    bundled: bool | None = field(default=None, init=False)
    """Whether backward takes the cotangents of several outputs as one tuple; None: not asked yet."""
    cache: Any = field(default=None, init=False)
    """What the last forward returned for backward beside its outputs."""
    returned: Any = field(default=None, init=False)
    """What the last backward returned, gradients one by one."""
    form: str = field(default="{}", init=False)
    """How a script takes that for gradients one by one."""
    result: Any = field(default=None, init=False)
    """What the last forward returned of outputs."""
    called: Mapping[str, Any] = field(default_factory=dict, init=False)
    """What the last forward was called with."""
    mode: str | None = field(default=None, init=False)
    """The mode in which that was."""
    stepped: dict[str, Slot] = field(default_factory=dict, init=False)
    """The parameters that backward moves along their gradients, by its learning rate."""
    moved: dict[str, Slot] = field(default_factory=dict, init=False)
    """Those that it moves by steps whose length has no name."""
    lengths: dict[str, float] = field(default_factory=dict, init=False)
    """The lengths of those that are numbers in its code."""
    pace: float = field(default=0.0, init=False)
    """The learning rate of the next backward."""
    alone: bool = field(default=False, init=False)
    """Whether the last forward returned one tensor, its output, and it is known what backward asks for after it."""

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

    @cached_property
    def switch(self) -> Switch | None:
        """How the layer is put into a mode; None where it has none, or where the mode is a keyword of forward."""
        return None if self.request.modes else switch_of(self.layer)

    @property
    def said(self) -> str:
        """The mode that the layer itself says it is in; empty where it says none."""
        return "" if self.switch is None else said_mode(self.layer)

    def forward(self, leaves: Mapping[str, Tensor], mode: str | None) -> tuple[Tensor, ...]:
        """One forward with the inputs given."""
        self.history.rewind()
        keywords = self._keywords(mode)
        self.mode = mode
        self.enter(mode)
        inputs = call_arguments(self.arguments, leaves, self.library)
        self.called = dict(zip(self.arguments, inputs, strict=True))
        result = self.compute(*inputs, **keywords)
        if self.alone and is_dense(result):  # as the last one: nothing is to be found out
            self.result = result
            return (result,)
        self.alone = False
        outputs = self._sorted(result)
        known = self.meaning is not None or not self.demand.unnamed
        self.alone = known and self.arranged is ONE and outputs[0] is result
        return outputs

    def _keywords(self, mode: str | None) -> dict[str, Any]:
        return {**self.request.kwargs, **self.request.modes.get(mode or "", {})}

    def _sorted(self, result: Any) -> tuple[Tensor, ...]:
        """The outputs in what a forward returned, as far as backward takes cotangents of them."""
        if result is None:  # kept instead of returned
            self.output = next((n for n in OUTPUTS if getattr(self.layer, n, None) is not None), "")
            result = getattr(self.layer, self.output, None)
        if not self.cached and isinstance(result, tuple) and len(result) == 2:
            self.returns_for(memory_of(self.required, self.arguments))
        if self.cached:
            result = self._without_cache(result)
        outputs = outputs_of(result, self.name)
        self.result = result
        self.arranged = Arrangement.of(result, is_output)
        if self.given == 1 < len(self.asked) and not (self.meant or self.demand.repeated or self.demand.unnamed):
            self.means(self._meant())
        most = self.demand.most
        self.arranged = self.arranged.fitted(most)
        if self.bundled is None and self.given > 1:
            self.bundled = most == len(self.asked) == 1 and self._takes_all(outputs)
        if self.meaning is None and self._targets:
            if not (len(self.asked) == self.given == 1 and self._question().linear([y.detach() for y in outputs])):
                raise ElsewhereError(advice(self.request.layer, self._targets))
            self.meaning = Meaning(COTANGENT)  # called so all the same
        if self.meaning is None and self.demand.unnamed:
            self.meaning = self._asked_meaning(outputs)
        if self.meaning is None and not self.demand.takes_cotangent and outputs[0].dim() in (1, 2):
            self.meaning = self._question().reduced([y.detach() for y in outputs])
        if self.meaning is not None and self.meaning.over:
            # in the layer's own library: of NumPy's, torch is seen to compute nothing
            return outputs_of(getattr(to_native(outputs[0], self.library), self.meaning.over)(), self.name)
        if self.bundled or most is None or (most >= len(outputs) and not self.arranged.nested):
            return outputs
        return outputs[: sum(self.arranged.counts[:most])]

    @cached_property
    def _targets(self) -> list[str]:
        return targets_of(self.layer, self.arguments)

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
            found = inputs_of(levelled(returned, self.called), self.leaves, self.inputs, self.name)
        except Exception:  # it takes one cotangent
            return False
        parts = returned if isinstance(returned, (tuple, list)) else (returned,)
        if any(part is v for part in parts for v in (given, *given)):
            return False  # it hands on what it was given
        shapes = [g.shape == self.leaves[n].value.shape for n, g in found.items() if g is not None]
        return bool(shapes) and all(shapes)

    def _meant(self) -> Mapping[str, str]:
        """What backward means by names that are none of forward's; empty where that can't be told."""
        keywords = self._keywords(self.mode)
        return Earlier(self, self.sources, self.library, self.mode, self.output, keywords, self.words).way()

    def _asked_meaning(self, outputs: Sequence[Tensor]) -> Meaning | None:
        return self._question().answered([y.detach() for y in outputs])

    def _question(self) -> Question:
        def forward(layer: Any, inputs: Mapping[str, Any]) -> Any:
            return (forward_of(layer) or layer.forward)(*inputs.values(), **self.request.kwargs)

        def backward(layer: Any, inputs: Mapping[str, Any], argument: Any) -> Any:
            given = [inputs[n] if n in inputs else as_scalar(argument) for n in self.asked]
            return layer.backward(*given, **self.words)

        return Question(self.layer, forward, backward, self.called, self.library, OUTPUTS)

    @property
    def words(self) -> dict[str, Any]:
        """The keywords of backward."""
        cache = {self.cached: self.cache} if self.cached and not self.cache_first else {}
        return {self.rate: self.pace, **cache} if self.rate else cache

    def enter(self, mode: str | None) -> None:
        """Put the layer into a mode by its own switch."""
        if mode is not None and self.switch is not None:
            self.switch.put(mode)

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
        natives = [as_scalar(to_native(v, self.library)) for v in cotangents]
        demand = self.demand
        given: list[Any] = self.arranged(natives) if demand.takes_cotangent else []
        given = [tuple(given)] if self.bundled else given
        if repeated := demand.repeated:
            cotangents_left = iter(given)
            if self.meaning is not None and not self.meaning.is_cotangent:
                cotangents_left = iter([self.meaning.of(self.layer, self.called)])
            known = {**self.called, self.output_again: self.result}
            given = [known[n] if n in repeated else next(cotangents_left) for n in self.asked]
        if len(self.asked) > len(given):
            raise SpecError(self.asks_for_more(self.asked))
        try:
            with self._paced():
                returned = self.layer.backward(*([self.cache] if self.cache_first else []), *given, **self.words)
        except Exception as error:
            if not self.begun or isinstance(error, SpecError):
                raise
            raise BackwardRaised(f"{type(error).__name__}: {error}, after the layer's own {self.begun}()") from error
        self.form = form_of(returned, self.called)
        self.returned = levelled(returned, self.called)
        return inputs_of(self.returned, self.leaves, self.inputs, self.name)

    def _paced(self) -> AbstractContextManager[None]:
        """The layer's own learning rates are `pace`, if its backward is known to move parameters by them."""
        return self._at_pace() if self.stepped else nullcontext()

    @contextmanager
    def _at_pace(self) -> Iterator[None]:
        own = [(owner, name, rate(owner, name)) for owner, name, _ in self.rates]
        for owner, name, _ in own:
            set_rate(owner, name, self.pace)
        try:
            yield
        finally:
            for owner, name, value in own:
                set_rate(owner, name, value)

    @property
    def code(self) -> str:
        """What a script gives backward: the cotangents `v`."""
        if repeated := self.demand.repeated:
            cotangents = iter(self.arranged.code("v"))
            given = [p.replace("leaves", "handed") for p in passed(self.arguments, self.leaves)]
            handed = {**dict(zip(self.arguments, given, strict=True)), self.output_again: "y"}
            if self.meaning is not None and not self.meaning.is_cotangent:
                cotangents = iter([handed.get(self.meaning.given, f"layer{self.meaning.given}")])
            return ", ".join(handed[n] if n in repeated else next(cotangents) for n in self.asked)
        all_ = cotangents_of(self.arranged, bool(self.bundled))
        words = [f"{self.rate}={float(bool(self.stepped))}"] if self.rate else []
        words += [f"{self.cached}=cache"] if self.cached and not self.cache_first else []
        before = ["cache"] if self.cache_first else []
        return ", ".join([*before, *([all_] if self.demand.takes_cotangent else []), *words])

    def begin(self) -> str:
        """Let the layer begin anew in its own way; the name of that way, empty if it has none."""
        self.begun = reset(self.resets)
        return self.begun

    @cached_property
    def resets(self) -> list[Reset]:
        """How it and the layers inside it begin anew."""
        return resets_of(self.layer)
