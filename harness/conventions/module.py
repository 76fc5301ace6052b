"""`torch.nn.Module` without a `backward` of its own: backward is what autograd computes through its custom Functions."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from harness import recipe
from harness.request import Request, call_arguments, outputs_of
from harness.sources import Sources
from harness.subject import Evaluation, Leaf, Run, Subject
from harness.traced import Pulling, bare_pullback, graph_pullback, tracked

ORDER = 20


def recognises(layer: Any) -> bool:
    """Whether it is a module that leaves backward to autograd."""
    return isinstance(layer, torch.nn.Module) and not callable(getattr(layer, "backward", None))


def subject(request: Request) -> Subject:
    """The module as a subject: its parameters and buffers by `named_parameters` and `named_buffers`."""
    request = request.with_modes()
    module = copy.deepcopy(request.layer).to(request.device, request.dtype)
    arguments = request.arguments(module.forward)
    inputs = request.leaves(arguments)
    parameters = {
        n: Leaf(p.detach().clone(), "parameter", p.requires_grad and request.grads.get(n, n) is not None)
        for n, p in module.named_parameters()
    }
    buffers = {n: b.detach().clone() for n, b in module.named_buffers()}
    leaves = inputs | parameters
    wanted = [n for n, leaf in leaves.items() if leaf.wanted]
    frozen = [n for n, p in module.named_parameters() if not p.requires_grad]
    sources = Sources(module)

    def running(some: Collection[str], pullback: Pulling) -> Run:
        def run(values: Mapping[str, Tensor], state: Mapping[str, Tensor], mode: str | None, seed: int) -> Evaluation:
            sources.seed(seed)
            module.train(mode == "train")
            live = tracked(values, some)
            after = {n: b.clone() for n, b in state.items()}
            held = {n: live[n] for n in parameters} | after
            given = call_arguments(arguments, live, "torch")
            keywords = {**request.kwargs, **request.modes.get(mode or "", {})}
            result = functional_call(module, held, tuple(given), keywords)
            outputs = outputs_of(result, type(module).__name__)
            return Evaluation(tuple(y.detach() for y in outputs), pullback(outputs, live), lambda: after, lambda: held)

        return run

    run = running(wanted, graph_pullback)

    modes = tuple(request.modes) or ("train", "eval")
    with sources.watched():
        for mode in modes:
            run({n: leaf.value.clone() for n, leaf in leaves.items()}, buffers, mode, 0)
    reason = "the backward of a module is what autograd computes"
    given = [p.replace("give(leaves", "(live") for p in recipe.passed(arguments, inputs)]
    name, words = type(module).__name__, recipe.keywords_of(request.kwargs, request.modes)
    return Subject(
        name,
        leaves,
        buffers,
        run,
        modes,
        autograd_is_backward=reason,
        notes=(f"{', '.join(frozen)}: requires_grad is False, not judged",) if frozen else (),
        draws=bool(sources),
        strays=sources.strays,
        partially=lambda some, of=None: running(some, partial(bare_pullback, some=of)),
        recipe=partial(recipe.module, request.layer, name, given, wanted, list(parameters), request.made, words),
    )
