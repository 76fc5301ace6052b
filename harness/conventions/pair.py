"""A pair of functions with a cache: `forward(*inputs) -> (out, cache)`, `backward(dout, cache) -> gradients`."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from harness.conventions.derivative import of_functions
from harness.functions.sifting import beside
from harness.functions.stateless import Stateless
from harness.outcome import ElsewhereError, SpecError
from harness.reading.handed import CACHES, GRADIENT, OUTPUTS, arranged, memory_of
from harness.request import Request, is_output, positional_names, required_names
from harness.scripts.recipe import Pulling
from harness.state.whole import NAMES as TARGETS
from harness.subject import Subject
from harness.tensors.arrays import is_real, to_tensor
from harness.tensors.nested import leaves_of

ORDER = 10

INPUTS = ("x", "z", "a", "inp", "input", "inputs")
"""What a backward may call the one input of forward: `relu(x)`, `relu_backward(dA, Z)`."""


def recognises(layer: Any) -> bool:
    """Whether it is a tuple of two functions, and not of one and its derivative."""
    return isinstance(layer, tuple) and len(layer) == 2 and all(map(callable, layer)) and not of_functions(layer)


def subject(request: Request) -> Subject:
    """The pair as a subject; every argument of `forward` is an input.

    Raises:
        SpecError: forward returns no pair (out, cache).
    """
    forward, backward = request.layer
    name = getattr(forward, "__name__", type(forward).__name__).removesuffix("_forward")
    called = _Called(name, forward, backward)
    stateless = Stateless.of(request, name, forward, called)
    stateless.pulling = lambda *given: called.written(*given)  # noqa: PLW0108  that of the last call
    made = beside(stateless, forward, stateless.subject())
    return replace(made, notes=(*made.notes, *filter(None, [called.told])))


class _Called:
    """The two functions as one that returns its outputs and how to go back, and what that has shown of backward."""

    def __init__(self, name: str, forward: Callable[..., Any], backward: Callable[..., Any]) -> None:
        self.name, self.forward, self.backward = name, forward, backward
        self.names = positional_names(forward)
        self.told = ""  # of the last call, as is how a script goes back
        self.written: Callable[[Sequence[str], Sequence[str]], Pulling | None] = lambda _, __: None
        self._together: dict[int, bool] = {}  # by how many outputs: whether it takes their cotangents in one tuple

    def __call__(self, *inputs: Any, **keywords: Any) -> tuple[Any, Any]:
        """The outputs, and the backward of the cotangents alone.

        Raises:
            SpecError: forward returns nothing that backward could be called with.
        """
        result = self.forward(*inputs, **keywords)
        given = {**dict(zip(self.names, inputs, strict=False)), **keywords}
        if roles := self._roles_beside_several(result, given):
            return self._several(result, roles, given)
        if isinstance(result, tuple) and len(result) == 2 and not _asks_instead(self.backward, given, result):
            return self._cached(*result, given)
        if _asked(self.backward)[:1] == ["ans"]:  # HIPS autograd: vjp(ans, x) -> g -> gradient
            self.written = lambda xs, vs: Pulling(f"kept({', '.join(vs)})", f"backward_({', '.join(['y', *xs])})")
            return result, self.backward(result, *inputs)
        if pulling := self._again(result, given):
            return result, pulling
        raise SpecError(
            f"{self.name}: the forward of a pair must return (out, cache); it returned {type(result).__name__}"
            + (
                f" of {len(result)}"
                if isinstance(result, tuple)
                else _as_derivative(self.forward, self.backward, inputs)
            )
            + _kept_elsewhere(self.forward, self.backward)
        )

    def _several(self, result: Sequence[Any], roles: list[str], given: Mapping[str, Any]) -> tuple[Any, Any]:
        """Of several outputs and a cache."""
        *outputs, cache = result
        together = self._together.get(len(outputs), False)
        count = len(outputs) if together else roles.count("")
        self.told = _LEFT_OUT.format(count, len(outputs)) if count < len(outputs) else ""
        self.written = partial(_script, roles, [*given], "", outputs=count, together=together)
        return tuple(outputs[:count]), _Pulling(self.backward, roles, given, cache)

    def _cached(self, out: Any, cache: Any, given: Mapping[str, Any]) -> tuple[Any, Any]:
        """Of one output and a cache."""
        roles = arranged(_asked(self.backward), given, True)
        pulling = _Pulling(self.backward, roles, given, cache)
        if said := _of_targets(self.name, self.forward, pulling, roles, given, out):
            raise ElsewhereError(said)
        plain = roles is None or (roles[-1] == "cache" and not any(roles[:-1]))
        self.written = partial(_script, None if plain else roles, [*given], "")
        return out, pulling

    def _again(self, result: Any, given: Mapping[str, Any]) -> _Pulling | None:
        """A backward that asks for inputs or the output again; None where it does not."""
        asked = _asked(self.backward)
        if roles := _without_cache(self.backward, list(given)):
            self.written = partial(_script, roles, [*given], "None")
            return _Pulling(self.backward, roles, given)
        if (again := memory_of(asked, given)).lower() in OUTPUTS:  # sigmoid_backward(y, dy)
            roles = ["cache" if n == again else "" for n in asked]
            self.written = partial(_script, roles, [*given], "y")
            return _Pulling(self.backward, roles, given, result)
        return None

    def _roles_beside_several(self, result: Any, given: Mapping[str, Any]) -> list[str] | None:
        """What backward's arguments are where forward returns several outputs and then, by its name, the cache for it: `return h, y,
        cache`; None where it does not."""
        asked = _asked(self.backward)
        if not isinstance(result, tuple) or len(result) < 3 or not any(n.lower() in CACHES for n in asked):
            return None
        *outputs, cache = result
        roles = arranged(asked, given, True)
        if roles is None or not all(map(is_output, outputs)):
            return None
        if roles.count("") == 1 and len(outputs) not in self._together:  # asked once: it is a whole backward
            together = _takes_all(_Pulling(self.backward, roles, given, cache), given, outputs)
            self._together |= {} if together is None else {len(outputs): together}
        return roles


_LEFT_OUT = "backward takes {} of the cotangents and the forward gives {} outputs; the others are not judged"


class _Parts(tuple[Any, ...]):
    """Cotangents to be taken out one by one: of a plain tuple NumPy makes an array, as which `dout * x` may go through."""

    __array_ufunc__ = None

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError("a tuple of cotangents is no array")


def _takes_all(pulling: _Pulling, given: Mapping[str, Any], outputs: list[Any]) -> bool | None:
    """Whether a backward of one cotangent goes through with those of all outputs in one tuple, and gives gradients of the inputs'
    shapes; None where it raises at these values whatever it is given."""
    shapes = {x.shape for x in leaves_of([*given.values()]) if is_real(x)}
    alone = None
    with suppress(Exception):  # what is part of a graph can't be copied
        alone = copy.deepcopy((pulling, outputs[0]))  # a backward may use its cache up
    with suppress(Exception):  # it takes one cotangent
        found = leaves_of(pulling(_Parts(outputs)))
        return all(g.shape in shapes for g in found if g is not None)
    try:
        if alone is not None:
            alone[0](alone[1])
    except Exception:
        return None
    return False


def _script(
    roles: Sequence[str] | None,
    given: Sequence[str],
    kept: str,
    inputs: Sequence[str],
    cotangents: Sequence[str],
    outputs: int = 0,
    together: bool = False,
) -> Pulling | None:
    """How a script calls a backward with these roles; None where it is called with cotangents and cache.

    Args:
        given: the names of forward's arguments.
        kept: what forward keeps, where it returns no cache.
        inputs: the code of forward's arguments.
        cotangents: the code of the cotangents.
        outputs: how many outputs are judged of a forward that returns them side by side, before the cache.
        together: whether it takes the cotangents in one tuple.
    """
    if roles is None:
        return None
    rest = iter([f"({', '.join(cotangents)})"] if together else cotangents)
    known = {**dict(zip(given, inputs, strict=False)), "cache": "kept"}
    if any(role and role not in known for role in roles):
        return None
    codes = [known[role] if role else next(rest) for role in roles]
    return Pulling(f"backward_({', '.join([*codes, *rest])})", kept, outputs)


def _asked(backward: Callable[..., Any]) -> list[str]:
    with suppress(TypeError, ValueError):  # a builtin has none
        return required_names(backward)
    return []


def _of_targets(
    name: str,
    forward: Callable[..., Any],
    pulling: _Pulling,
    roles: Sequence[str] | None,
    given: Mapping[str, Any],
    out: Any,
) -> str:
    """What to write where what looks like the cotangent are targets: `backward_propagation(parameters, cache, X, Y)` gives the
    gradient of a loss that is computed elsewhere, and `model_backward(AL, Y, caches)`, which asks for the output again; empty where
    it is the cotangent by its name, or backward is linear in it."""
    asked = _asked(pulling.backward)
    left = [n for n, role in zip(asked, roles or [], strict=False) if not role]
    targets = [n for n in left if n.lower() in TARGETS and n.lower() not in OUTPUTS[1:]]
    again = [n for n in left if n not in targets]
    if len(targets) != 1 or len(again) > 1 or not is_output(out):
        return ""
    with suppress(Exception):  # what it raises is told where it is judged
        once, twice = ([to_tensor(g, name) for g in leaves_of(pulling(out * by)) if is_real(g)] for by in (1.0, 2.0))
        if all(torch.allclose(b, 2 * a, rtol=1e-3) for a, b in zip(once, twice, strict=True)):
            return ""
    words, y, back = ", ".join(given), targets[0], getattr(pulling.backward, "__name__", "backward")
    known = dict.fromkeys(again, "out")
    called = ", ".join(
        known.get(n, role if role == "cache" else n) for n, role in zip(asked, roles or [], strict=False)
    )
    return (
        f"{back} asks for {y}, which {getattr(forward, '__name__', name)} takes no input for: it gives the gradient of a loss that is "
        f"computed elsewhere. Write the two together:\n"
        f"    def loss({words}, {y}):\n"
        f"        out, cache = {getattr(forward, '__name__', name)}({words})\n"
        f"        return ..., {back}({called})  # for ... the loss of out and {y}\n"
        f"    gradcheck(value_and_grad(loss), {words}, {y})"
    )


def _asks_instead(backward: Callable[..., Any], inputs: Container[str], result: tuple[Any, Any]) -> bool:
    """Whether a backward asks for inputs, and what forward returned are two outputs: `cell_backward(dh, dc, x, w)`."""
    asked = _asked(backward)
    named = any(n.lower() in CACHES for n in asked)
    return len(asked) > 2 and asked[-1] in inputs and not named and all(map(is_output, result))


def _without_cache(backward: Callable[..., Any], inputs: list[str]) -> list[str] | None:
    """The arguments of a backward that asks for inputs instead of a cache: `relu_backward(dout, x)`; None where it does not."""
    asked = _asked(backward)
    gradients = [n for n in asked if GRADIENT.search(n.lower())]
    others = [n.lower() for n in asked if n not in gradients]
    if len(gradients) == len(inputs) == len(others) == 1 and others[0] in INPUTS:  # the one input under another name
        return ["" if n in gradients else inputs[0] for n in asked]
    roles = arranged(asked, inputs, False)
    return roles if roles and any(roles) else None


def _as_derivative(forward: Any, backward: Any, inputs: tuple[Any, ...]) -> str:
    """What to write where the second function asks for as many inputs, as a derivative does."""
    names = [getattr(f, "__name__", "") for f in (forward, backward)]
    asked = _asked(backward)
    if len(asked) != len(inputs) or not all(n.isidentifier() for n in names):
        return ""
    f, df = names
    given = ", ".join(asked)
    return f"; if {df} is its derivative, entry by entry, check lambda {given}: ({f}({given}), lambda v: v * {df}({given}))"


def _kept_elsewhere(forward: Any, backward: Any) -> str:
    """What to write where backward asks for one argument: it may have what forward left outside of both, as a global."""
    f, df = (getattr(f, "__name__", "") for f in (forward, backward))
    if len(_asked(backward)) != 1 or not (f.isidentifier() and df.isidentifier()):
        return ""
    return f"; if {df} has from a global what {f} left there, check types.SimpleNamespace(forward={f}, backward={df})"


class _Pulling:
    """A backward with its cache and inputs, which asks for the cotangents alone."""

    def __init__(
        self,
        backward: Callable[..., Any],
        roles: list[str] | None,
        given: Mapping[str, Any],
        cache: Any = None,
    ) -> None:
        self.backward, self.roles, self.given, self.cache = backward, roles, given, cache
        if roles is not None:
            asked = inspect.signature(backward)
            names = [n for n, role in zip(_asked(backward), roles, strict=True) if not role]
            self.__signature__ = asked.replace(parameters=[asked.parameters[n] for n in names])

    def __call__(self, *cotangents: Any) -> Any:
        """The gradients of the inputs."""
        if self.roles is None:
            return self.backward(*cotangents, self.cache)
        rest = iter(cotangents)
        known = {**self.given, "cache": self.cache}
        given = [known[role] if role else next(rest) for role in self.roles]
        return self.backward(*given, *rest)
