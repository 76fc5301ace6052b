"""Functions that return their pullback or a cache for it: what the conventions for them share."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from harness.functions.kept import kept
from harness.replay.sources import Sources, restored_later
from harness.request import Request, call_arguments, input_names, is_output, match, outputs_of
from harness.scripts import recipe
from harness.scripts.recipe import cotangents_of
from harness.scripts.routes import seedings
from harness.state.returned import levelled
from harness.subject import Evaluation, Gradients, Leaf, Recipe, Subject, looked_at
from harness.tensors.arrays import Library, to_native
from harness.tensors.nested import Arrangement

Pullback = Callable[..., Any]


def takes_one(function: Pullback) -> bool:
    """Whether a function asks for one argument and no more."""
    try:
        kinds = [p for p in inspect.signature(function).parameters.values() if p.default is p.empty]
    except (TypeError, ValueError):
        return False
    return len(kinds) == 1 and not any(p.kind is p.VAR_POSITIONAL for p in kinds)


def _count(function: Pullback) -> int | None:
    """How many arguments a function can't do without; None where it takes any number."""
    try:
        kinds = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return None
    return None if any(p.kind is p.VAR_POSITIONAL for p in kinds) else sum(p.default is p.empty for p in kinds)


@dataclass
class Stateless:
    """A function of its inputs alone: `call(*inputs, **keywords) -> (outputs, pullback)`."""

    name: str
    call: Callable[..., tuple[Any, Pullback]]
    arguments: Mapping[str, Any]
    leaves: dict[str, Leaf]
    request: Request
    sources: Sources
    library: Library
    bundled: bool = False
    """Whether the last pullback took the cotangents of several outputs as one tuple."""
    pulling: Callable[[Sequence[str], Sequence[str]], recipe.Pulling | None] | None = None
    """What a script writes for a backward that asks for more than the cotangents and a cache, of the code of the inputs and of
    the cotangents."""
    arranged: Arrangement = field(default_factory=lambda: Arrangement((), is_output))
    """How the last outputs stood."""

    @classmethod
    def of(cls, request: Request, name: str, forward: Callable[..., Any], call: Callable[..., Any]) -> Stateless:
        """The function with its inputs named after `forward`'s parameters."""
        request = request.with_modes()
        arguments = request.arguments(forward)
        sources = Sources(request.layer)
        restored_later(kept(*(request.layer if isinstance(request.layer, tuple) else [request.layer])))
        leaves = {
            n: replace(leaf, wanted=leaf.wanted and request.grads.get(n, n) is not None)
            for n, leaf in request.leaves(arguments).items()
        }
        return cls(name, call, arguments, leaves, request, sources, request.library)

    def run(
        self, leaves: Mapping[str, Tensor], buffers: Mapping[str, Tensor], mode: str | None, seed: int
    ) -> Evaluation:
        """The subject's `run`."""
        self.sources.seed(seed)
        keywords = {**self.request.kwargs, **self.request.modes.get(mode or "", {})}
        result, pullback = self.call(*call_arguments(self.arguments, leaves, self.library), **keywords)
        outputs = outputs_of(result, self.name)
        inputs = input_names(self.arguments)

        def pull(cotangents: Sequence[Tensor]) -> Gradients:
            self.arranged = Arrangement(result, is_output).fitted(_count(pullback))
            given = tuple(self.arranged([to_native(v, self.library) for v in cotangents]))
            self.bundled = len(given) > 1 and takes_one(pullback)
            returned = pullback(given) if self.bundled else pullback(*given)
            return match(levelled(returned, self.arguments), self.leaves, inputs, self.name)

        pulled, memory = looked_at(pull)
        return Evaluation(outputs, pulled, memory=memory)

    def subject(self) -> Subject:
        """The finished subject."""
        with self.sources.watched():
            for mode in self.request.modes or (None,):
                self.run({n: leaf.value.clone() for n, leaf in self.leaves.items()}, {}, mode, 0)
        return Subject(
            self.name,
            self.leaves,
            {},
            self.run,
            tuple(self.request.modes) or (None,),
            autograd_is_backward="" if self.library == "torch" else "the function computes in NumPy",
            **self.sources.told(),
            recipe=self._recipe,
        )

    def _recipe(self) -> Recipe:
        layer = self.request.layer
        parts = {"forward": layer[0], "backward": layer[1]} if isinstance(layer, tuple) else {"run": layer}
        wanted = [n for n, leaf in self.leaves.items() if leaf.wanted]
        handed = [p.replace("leaves", "handed") for p in recipe.passed(self.arguments, self.leaves)]
        plain = recipe.functions(
            parts,
            self.library,
            recipe.passed(self.arguments, self.leaves),
            wanted,
            recipe.keywords_of(self.request.kwargs, self.request.modes),
            cotangents_of(self.arranged, self.bundled),
            self.pulling(handed, self.arranged.code("v")) if self.pulling else None,
        )
        return recipe.seeded(plain, seedings(self.sources.drawn, {f"{n}_": f for n, f in parts.items()}))
