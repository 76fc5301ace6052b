"""`torch.nn.Module` without a `backward` of its own: backward is what autograd computes through its custom Functions."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn.parameter import is_lazy

from harness.draws import parameter_like, rng_of
from harness.functions.graph import Pulling, bare_pullback, graph_pullback, strangers, tracked, unfound_in
from harness.functions.held import Held, registered, standing_in, tensors_beside
from harness.functions.kept import Kept, carries, kept
from harness.functions.sifting import moving
from harness.outcome import SpecError
from harness.reading.modes import EVAL, TRAIN
from harness.replay.sources import Sources
from harness.request import Request, call_arguments, outputs_of
from harness.scripts import recipe
from harness.scripts.routes import seedings
from harness.state.built import run as run_once
from harness.state.history import CARRIED
from harness.state.slots import walk
from harness.subject import Evaluation, Gradients, Leaf, Recipe, Run, Subject, looked_at

ORDER = 20


def recognises(layer: Any) -> bool:
    """Whether it is a module that leaves backward to autograd."""
    return isinstance(layer, torch.nn.Module) and not callable(getattr(layer, "backward", None))


def subject(request: Request) -> Subject:
    """The module as a subject: its parameters and buffers by `named_parameters` and `named_buffers`, and tensors beside them that
    require a gradient.

    Raises:
        SpecError: it, or a module in it, is one of `torch.jit`'s.
    """
    if scripted := [n for n, m in request.layer.named_modules() if isinstance(m, torch.jit.ScriptModule)]:
        raise SpecError(_SCRIPTED.format(f"{scripted[0]} is" if scripted[0] else "the layer is"))
    work = Working.of(request.with_modes())
    modes = tuple(work.request.modes) or ("train", "eval")
    entered = [m for m in modes if m in (request.within or modes)] or modes
    keeping = kept(work.module, again=True)
    missing = work.probed(entered)
    if [n for n, _ in work.module.named_parameters()] != list(work.parameters):  # it made them at its first forward
        return subject(replace(request, layer=work.module))
    said = work.begin_with(keeping, entered)
    carries = bool(said)
    with suppress(Exception):  # values of other buffers that it refuses show nothing
        said += work.held_constant()
    others = work.sift(entered)
    run = work.running(work.wanted, graph_pullback)
    frozen = [n for n, p in work.module.named_parameters() if not p.requires_grad]
    return Subject(
        type(work.module).__name__,
        work.leaves,
        work.buffers,
        run,
        modes,
        autograd_is_backward="the backward of a module is what autograd computes",
        unclaimed={n: _UNCLAIMED.format(n) for n in others} | missing,
        notes=(*([f"{', '.join(frozen)}: requires_grad is False, not judged"] if frozen else []), *said),
        **work.sources.told(),
        carries=carries,
        copied=True,
        partially=lambda some, of=None: work.running(some, partial(bare_pullback, some=of)),
        recipe=work.written,
    )


def _beside(held: Mapping[str, Tensor], names: Iterable[str]) -> dict[str, Tensor]:
    """What of these stands there, without its history."""
    return {n: held[n].detach() for n in names}


_CONSTANT = (
    "in training {} move past autograd and change the output, which backward does not see; if that is meant, as in spectral_norm, "
    'check mode="eval"'
)

_SCRIPTED = (
    "{} one of torch.jit's, which lets no parameter be put in another's place: give the module as it was before "
    "torch.jit.script or torch.jit.trace"
)
_UNCLAIMED = (
    "`{0}` changes the output and has no gradient: make it a torch.nn.Parameter; if it is a constant, register it with "
    'register_buffer or write grads={{"{0}": None}}'
)


@dataclass
class Working:
    """A copy of the module, and what it computes with."""

    request: Request
    module: torch.nn.Module
    arguments: dict[str, Any]
    parameters: dict[str, Leaf]
    buffers: dict[str, Tensor]
    beside: dict[str, Held]
    """Real tensors in it that are neither."""
    own: dict[str, Tensor]
    """Their values."""
    sources: Sources
    loose: list[str] = field(default_factory=list)
    """Those of them that are judged as parameters are."""
    strange: dict[int, Tensor] = field(default_factory=dict)
    """What autograd reached in the last forward that no leaf wanted a gradient of."""

    @classmethod
    def of(cls, request: Request) -> Working:
        """The module copied into the working dtype; parameters that wait for a first forward get it."""
        module = copy.deepcopy(request.layer, _uncopied(request.layer)).to(request.device, request.dtype)
        if any(map(is_lazy, (*module.parameters(), *module.buffers()))):
            module.eval()  # so that running statistics are where they begin
            with torch.no_grad():
                run_once(module, request, request.dtype)
        parameters = {
            n: Leaf(p.detach().clone(), "parameter", p.requires_grad and request.grads.get(n, n) is not None)
            for n, p in module.named_parameters()
        }
        buffers = {n: b.detach().clone() for n, b in module.named_buffers()}
        beside = tensors_beside(module)
        own = {n: h.like(request.dtype, request.device) for n, h in beside.items()}
        arguments = request.arguments(module.forward)
        return cls(request, module, arguments, parameters, buffers, beside, own, Sources(module))

    @cached_property
    def registered(self) -> dict[str, Held]:
        """Where its parameters and buffers stand."""
        return registered(self.module)

    @cached_property
    def inputs(self) -> dict[str, Leaf]:
        """The inputs by name."""
        return self.request.leaves(self.arguments)

    @property
    def leaves(self) -> dict[str, Leaf]:
        """Inputs, parameters, and what is judged as parameters are."""
        return self.inputs | self.parameters | {n: Leaf(self.own[n], "parameter") for n in self.loose}

    @property
    def wanted(self) -> list[str]:
        """The leaves that want a gradient."""
        return [n for n, leaf in self.leaves.items() if leaf.wanted]

    def running(self, some: Collection[str], pullback: Pulling) -> Run:
        """The subject's `run`, in which these leaves require a gradient."""

        def run(values: Mapping[str, Tensor], state: Mapping[str, Tensor], mode: str | None, seed: int) -> Evaluation:
            self.sources.seed(seed)
            self.module.train(mode == "train")
            live = tracked(values, some)
            after = {n: b.clone() for n, b in state.items()}
            held = {n: live[n] for n in self.parameters} | after
            given = call_arguments(self.arguments, live, "torch")
            keywords = {**self.request.kwargs, **self.request.modes.get(mode or "", {})}
            there = {n: live[n] if n in self.loose else t.clone() for n, t in self.own.items()}
            with standing_in(self.beside, there):
                result = functional_call(self.module, held, tuple(given), keywords)
            outputs = outputs_of(result, type(self.module).__name__)
            # a forward may have put another tensor in a buffer's place: `functional_call` writes it back
            now = held | {n: live[n] for n in self.loose}
            if not some:
                self.strange = strangers(outputs, ())
            pull = pullback(outputs, live)

            def pulled(cotangents: Sequence[Tensor]) -> Gradients:
                """A backward may compute with what it finds in the module, as checkpointing does."""
                with standing_in(self.beside, there), standing_in(self.registered, held):
                    return pull(cotangents)

            copied, memory = looked_at(pulled)
            return Evaluation(
                tuple(y.detach() for y in outputs),
                copied,
                lambda: _beside(held, after),
                lambda: now,
                lambda: TRAIN if self.module.training else EVAL,
                memory,
            )

        return run

    def plainly(self, mode: str | None) -> tuple[Tensor, ...]:
        """The outputs of one forward at the values that it has."""
        values = {n: leaf.value.clone() for n, leaf in self.leaves.items()}
        return self.running((), graph_pullback)(values, self.buffers, mode, 0).outputs

    def probed(self, modes: Iterable[str | None]) -> dict[str, str]:
        """What to write for tensors that autograd reaches in a first forward in each mode, and that nobody has found."""

        def strangers_of(mode: str | None) -> Mapping[int, Tensor]:
            self.plainly(mode)
            return self.strange

        with self.sources.watched():
            return unfound_in(modes, strangers_of)

    def begin_with(self, keeping: Kept, modes: Sequence[str | None]) -> list[str]:
        """Have what the module keeps from call to call, beside its buffers, given back before each if the outputs depend on it;
        what is said of it."""
        if not (names := [n for n in keeping.moved() if n != "training"]):
            return []
        if not carries(keeping, lambda: self.plainly(modes[0])):
            return []
        self.sources.begin_with(keeping)
        return [CARRIED.format(type(self.module).__name__, ", ".join(f"`{n}`" for n in names))]

    def held_constant(self) -> list[str]:
        """What is said of buffers that a forward in training moves and then computes with, past autograd, as the power iteration
        of spectral_norm does: backward holds them constant, and differences move them."""
        if "train" not in (self.request.within or ("train",)):
            return []
        run = self.running((), graph_pullback)
        values = {n: leaf.value.clone() for n, leaf in self.leaves.items()}
        first = run(values, self.buffers, "train", 0)
        after = first.buffers()
        moved = {n: t for n, t in self.buffers.items() if t.is_floating_point() and not torch.equal(t, after[n])}
        if not moved:
            return []
        others = {n: parameter_like(t, rng_of(0, k)) for k, (n, t) in enumerate(moved.items())}
        if all(map(torch.equal, first.outputs, run(values, {**self.buffers, **others}, "train", 0).outputs)):
            return []  # as of running statistics
        drawn = {n: parameter_like(values[n], rng_of(1, k)) for k, n in enumerate(self.parameters)}
        again = run({**values, **drawn}, self.buffers, "train", 0).buffers()
        follow = [n for n in moved if not torch.equal(after[n], again[n])]
        return [_CONSTANT.format(", ".join(f"`{n}`" for n in follow))] if follow else []

    def sift(self, modes: Sequence[str | None]) -> list[str]:
        """What changes the outputs beside parameters and buffers: those that require a gradient are judged from now on, the
        others given back."""
        asked = [n for n in self.own if self.request.grads.get(n, n)]

        def outputs(own: Mapping[str, Tensor]) -> list[Tensor]:
            return [y for mode in modes for y in replace(self, own=dict(own)).plainly(mode)]

        found = moving(outputs, self.own, asked)
        self.loose = [n for n in found if self.beside[n].tensor.requires_grad]
        return [n for n in found if n not in self.loose]

    def written(self) -> Recipe:
        """How a script makes the same."""
        given = [p.replace("give(leaves", "(live") for p in recipe.passed(self.arguments, self.leaves)]
        words = recipe.keywords_of(self.request.kwargs, self.request.modes)
        places = {n: [s.code for s in self.beside[n].slots] for n in self.loose}
        name, layer, made = type(self.module).__name__, self.request.layer, self.request.made
        plain = recipe.module(layer, name, given, self.wanted, list(self.parameters), made, words, places)
        return recipe.seeded(plain, seedings(self.sources.drawn, {"layer": self.module}))


def _uncopied(module: torch.nn.Module) -> dict[int, Any]:
    """For deepcopy's memo: copies of what torch refuses to copy, tensors that are computed, as weight_norm leaves one, and
    buffers that wait for a first forward."""
    held = [t for slot in walk(module) if isinstance(t := slot.get(), Tensor) and not is_lazy(t)]
    waiting: list[Any] = [t for t in module.buffers() if is_lazy(t)]
    memo: dict[int, Any] = {id(t): t.detach().clone().requires_grad_() for t in held if not t.is_leaf}
    return memo | {id(t): type(t)(device=t.device, dtype=t.dtype) for t in waiting}
