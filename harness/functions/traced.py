"""Functions whose backward is what autograd computes: what the conventions for them share."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from harness.domain import backward_may_raise
from harness.functions.graph import Pulling, bare_pullback, graph_pullback, strangers, tracked, unfound_in
from harness.functions.held import Held, standing_in
from harness.replay.generators import reachable
from harness.replay.sources import Sources, first_seen, module_state, restored_later
from harness.request import Request, call_arguments, outputs_of
from harness.scripts import recipe
from harness.scripts.routes import seedings
from harness.subject import Evaluation, Gradients, Leaf, Recipe, Run, Subject, looked_at
from harness.tensors.nested import flat


def _silent(evaluation: Evaluation, arguments: Mapping[str, Any], leaves: Mapping[str, Leaf]) -> list[str]:
    """The inputs that need no gradient and for which backward gives None: those that do not require one beside others that do,
    and later ones of a loss, such as its target."""
    given = {n: v for argument in arguments.items() for n, v in flat(*argument)}
    inputs = [n for n, leaf in leaves.items() if leaf.wanted and leaf.role == "input"]
    require = [n for n in inputs if getattr(given[n], "requires_grad", False)]
    is_loss = sum(y.numel() for y in evaluation.outputs) == 1
    optional = [n for n in inputs if n not in require and (require or (is_loss and n != inputs[0]))]
    if not optional:
        return []
    with backward_may_raise():
        found = evaluation.pullback([torch.ones_like(y) for y in evaluation.outputs])
    return [n for n in optional if found.get(n, ...) is None]


NOTHING: Mapping[str, Held] = MappingProxyType({})


def traced(
    request: Request,
    name: str,
    arguments: Mapping[str, Any],
    call: Callable[..., Any],
    reason: str,
    held: Mapping[str, Held] = NOTHING,
    judged: Collection[str] = (),
) -> Subject:
    """A subject from `call(*inputs, **keywords) -> outputs`.

    Args:
        request: the layer and its inputs.
        name: what it is called.
        arguments: the inputs by name.
        call: the function.
        reason: why autograd is no second opinion on it.
        held: the tensors that it computes with beside its arguments; others stand in their places while it runs.
        judged: those of them whose gradient is.
    """
    work = _Working.of(request.with_modes(), name, arguments, call, held, judged)
    evaluation, missing = work.probed()
    silent = _silent(evaluation, arguments, work.leaves)
    work.leaves |= {n: replace(work.leaves[n], wanted=False) for n in silent}
    return Subject(
        name,
        work.leaves,
        {},
        work.running(work.wanted, graph_pullback),
        tuple(work.request.modes) or (None,),
        autograd_is_backward=reason,
        notes=tuple(f"`{n}` has no gradient: backward gives None; it does not require one, not judged" for n in silent),
        **work.sources.told(),
        unclaimed=missing,
        partially=lambda some, of=None: work.running(some, partial(bare_pullback, some=of)),
        held={n: h.tensor for n, h in held.items()},
        recipe=work.written,
    )


@dataclass
class _Working:
    """A function that is run at other values of its arguments and of the tensors that it holds."""

    request: Request
    name: str
    arguments: Mapping[str, Any]
    call: Callable[..., Any]
    held: Mapping[str, Held]
    judged: Collection[str]
    leaves: dict[str, Leaf]
    fixed: Mapping[str, Tensor]
    """Copies of the tensors that it holds and whose gradient is not judged."""
    sources: Sources
    writes: bool = False
    """Whether it works in place on its arguments, which autograd allows on no leaf."""
    strange: Mapping[int, Tensor] = field(default_factory=dict)
    """The ends of the last probe's graph that are none of its leaves."""

    @classmethod
    def of(
        cls,
        request: Request,
        name: str,
        arguments: Mapping[str, Any],
        call: Callable[..., Any],
        held: Mapping[str, Held],
        judged: Collection[str],
    ) -> _Working:
        """With copies of what it holds, and the modules in it to be given back as they are."""
        own = {n: h.like(request.dtype, request.device) for n, h in held.items()}
        leaves = request.leaves(arguments) | {n: Leaf(own[n], "parameter") for n in judged}
        fixed = {n: t for n, t in own.items() if n not in judged}
        sources = Sources(request.layer)
        for module in reachable((torch.nn.Module,), request.layer):
            if first_seen(module):
                restored_later(module_state(module))
        return cls(request, name, arguments, call, held, judged, leaves, fixed, sources)

    @property
    def wanted(self) -> list[str]:
        """The leaves whose gradient backward is asked for."""
        return [n for n, leaf in self.leaves.items() if leaf.wanted]

    def outputs_at(self, live: Mapping[str, Tensor], mode: str | None, seed: int) -> tuple[Tensor, ...]:
        """The outputs, with their graph, where these tensors stand in the places of arguments and of what it holds."""
        self.sources.seed(seed)
        keywords = {**self.request.kwargs, **self.request.modes.get(mode or "", {})}
        given = {n: t.clone() for n, t in live.items()} if self.writes else live
        with standing_in(self.held, given):
            return outputs_of(self.call(*call_arguments(self.arguments, given, "torch"), **keywords), self.name)

    def forwarded(self, live: Mapping[str, Tensor], mode: str | None, seed: int) -> tuple[Tensor, ...]:
        """The same, also of a function that works in place and says so (mark_dirty)."""
        try:
            return self.outputs_at(live, mode, seed)
        except RuntimeError as error:
            if self.writes or "leaf Variable that requires grad" not in str(error):
                raise
            self.writes = True
            return self.outputs_at(live, mode, seed)

    def running(self, some: Collection[str], pullback: Pulling) -> Run:
        """The function as a subject runs it, some of whose leaves require a gradient."""

        def run(values: Mapping[str, Tensor], buffers: Mapping[str, Tensor], mode: str | None, seed: int) -> Evaluation:
            live = tracked(values, some)
            there = {**live, **{n: t.clone() for n, t in self.fixed.items()}}
            outputs = self.forwarded(there, mode, seed)
            pull = pullback(outputs, live)
            if pullback is bare_pullback:  # the probe
                self.strange = strangers(outputs, there.values())

            def pulled(cotangents: Sequence[Tensor]) -> Gradients:
                with standing_in(self.held, there):  # a backward may read what it has not saved
                    return pull(cotangents)

            now = {n: live[n] for n in self.judged}
            copied, memory = looked_at(pulled)
            return Evaluation(tuple(y.detach() for y in outputs), copied, now=lambda: now, memory=memory)

        return run

    def probed(self) -> tuple[Evaluation, dict[str, str]]:
        """A first run in the last mode, and what to write for tensors that autograd reaches in some mode and nobody found."""
        probe = self.running(self.wanted, bare_pullback)
        first: dict[str | None, Evaluation] = {}

        def strangers_of(mode: str | None) -> Mapping[int, Tensor]:
            evaluation = probe(self._values(), {}, mode, 0)
            first.setdefault(mode, evaluation)
            return self.strange

        modes = tuple(self.request.modes) or (None,)
        with self.sources.watched():
            missing = unfound_in(modes, strangers_of)
        return first[modes[-1]], missing

    def _values(self) -> dict[str, Tensor]:
        return {n: leaf.value.clone() for n, leaf in self.leaves.items()}

    def written(self) -> Recipe:
        """How a script makes the same."""
        bound = self.call is not self.request.layer  # `Function.apply`
        plain = recipe.traced(
            self.request.layer,
            self.name,
            ".apply" if bound else "",
            [p.replace("give(leaves", "(live") for p in recipe.passed(self.arguments, self.leaves)],
            self.wanted,
            recipe.keywords_of(self.request.kwargs, self.request.modes),
            {n: [s.code for s in self.held[n].slots] for n in self.judged},
        )
        itself = "function.__self__" if bound else "function"
        return recipe.seeded(plain, seedings(self.sources.drawn, {itself: self.request.layer}))
