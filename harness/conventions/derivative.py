"""An object with a function and its derivative, and no backward: `__call__(x)` beside `gradient(x)`, `loss(y, p)` beside
`gradient(y, p)`.

What the shape of the derivative says of it, backward is: the cotangent times it, entry by entry, or a product with a Jacobian.
"""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import FunctionType
from typing import Any

import torch

from harness.conventions import attributes
from harness.domain import backward_may_raise, forward_may_refuse
from harness.kinds import Const
from harness.outcome import SpecError
from harness.reading.handed import GRADIENT, PREDICTED, TARGETS
from harness.reading.members import derivative_of, is_named_derivative
from harness.request import Request, call_arguments, positional_names, required_names
from harness.scripts import recipe
from harness.state.stateful import has_backward
from harness.subject import Recipe, Subject

ORDER = 45

OUTPUTS = ("y", "a", "out", "output", "outputs", "activation")
"""What a derivative calls its argument where that is the function's output."""


def recognises(layer: Any) -> bool:
    """Whether it is an object with both, and neither a backward nor a module's; or a function and its derivative."""
    if isinstance(layer, tuple):
        return of_functions(layer)
    plain = not isinstance(layer, (type, torch.nn.Module, torch.Tensor, tuple, list)) and not hasattr(layer, "__code__")
    return plain and not has_backward(layer) and derivative_of(layer) is not None


def of_functions(layer: Any) -> bool:
    """Whether it is a pair of a function and what is by its name its derivative, which asks for the same and no cotangent."""
    if len(layer) != 2 or not all(isinstance(part, FunctionType) for part in layer):
        return False
    function, derivative = layer
    asked = required_names(derivative)
    named = is_named_derivative(function.__name__, derivative.__name__)
    return named and len(asked) == len(required_names(function)) and not any(GRADIENT.search(n.lower()) for n in asked)


def _as_object(function: FunctionType, derivative: FunctionType) -> Any:
    """An object with the two as its methods, called as the function is and found where that is."""
    own = {"__call__": staticmethod(function), "derivative": staticmethod(derivative)}
    home = {"__module__": function.__module__, "__qualname__": f"<functions>.{function.__name__}"}
    return type(function.__name__, (), own | home)()


def subject(request: Request) -> Subject:
    """The function as a subject, its backward made of its derivative.

    Raises:
        SpecError: what the derivative returns is not one, or it can't be told of which input.
        Refused: the function refuses the inputs.
        BackwardRaised: the derivative raised.
    """
    if isinstance(request.layer, tuple):
        request = replace(request, layer=_as_object(*request.layer))
    function, derivative = derivative_of(request.layer) or ("", "")
    made = Derived(copy.deepcopy(request.layer), function, derivative)
    arguments = request.arguments(made.function)
    leaves = request.leaves(arguments)
    wanted = [n for n, leaf in leaves.items() if leaf.wanted]
    values = {n: leaf.value.clone() for n, leaf in leaves.items()}
    given = call_arguments(arguments, values, request.library)
    with forward_may_refuse():
        outputs = made(*given, **request.kwargs)
    if made.takes_cotangent:
        of = wanted
    else:
        with backward_may_raise():
            found = made.derived()
        of = _of(made, wanted, dict(zip(arguments, given, strict=True)), found)
        _confirmed(made, [list(arguments).index(n) for n in of], outputs, found, request.kwargs)
    layer = Derived(request.layer, function, derivative, tuple(list(arguments).index(n) for n in of))
    fixed = [n for n in wanted if n not in of]
    arrays = {
        n: x.numpy() if isinstance(x, torch.Tensor) and request.library == "numpy" else x for n, x in arguments.items()
    }
    inputs = tuple(Const(x) if n in fixed else x for n, x in arrays.items())  # the wrapper's own code names torch
    notes = [layer.said] + (
        [f"{layer.title} is that of {', '.join(of)}: {', '.join(fixed)} not judged"] if fixed else []
    )
    whole: Subject = attributes.subject(replace(request, layer=layer, inputs=inputs))
    written = whole.recipe and partial(_script, whole.recipe, made, layer, request)
    return replace(whole, name=type(request.layer).__name__, recipe=written, notes=(*notes, *whole.notes))


def _script(plain: Callable[[], Recipe], tried: Derived, layer: Derived, request: Request) -> Recipe:
    """The script; `tried` has gone through once, with the inputs' shapes."""
    tried._of = layer._of
    return tried.script(plain(), request.made)


class Derived:
    """The function with a backward that is made of its derivative."""

    def __init__(self, layer: Any, function: str, derivative: str, of: tuple[int, ...] = (0,)) -> None:
        self.wrapped, self._names, self._of = layer, (function, derivative), of
        self.__signature__ = inspect.signature(self.function)

    @property
    def function(self) -> Callable[..., Any]:
        """The function itself."""
        made: Callable[..., Any] = getattr(self.wrapped, self._names[0])
        return made

    @property
    def derivative(self) -> Callable[..., Any]:
        """Its derivative."""
        made: Callable[..., Any] = getattr(self.wrapped, self._names[1])
        return made

    @property
    def title(self) -> str:
        """What the derivative is called in a sentence."""
        own = self._called == self._names[1]
        return f"{type(self.wrapped).__name__}.{self._called}" if own else self._called

    @property
    def _called(self) -> str:
        """What its author calls the derivative."""
        return getattr(self.derivative, "__name__", self._names[1])

    @property
    def code(self) -> str:
        """How a script calls the function."""
        return "layer" if self._names[0] == "__call__" else f"layer.{self._names[0]}"

    @property
    def asked(self) -> list[str]:
        """The arguments that the derivative can't do without, of those that forward has none for."""
        return required_names(self.derivative)

    @property
    def takes_cotangent(self) -> bool:
        """Whether the derivative is a backward itself: `gradient(grad_output)`, `gradient(x, dout)`."""
        return bool(self._cotangents())

    def _cotangents(self) -> list[str]:
        own = positional_names(self.function)
        return [n for n in self.asked if n not in own and GRADIENT.search(n.lower())]

    @property
    def said(self) -> str:
        """What the report says of the backward."""
        asked = ", ".join(self.asked)
        return f"backward is taken to be {self._called}({asked})" + (
            "" if self.takes_cotangent else " times the cotangent"
        )

    def __call__(self, *inputs: Any, **keywords: Any) -> Any:
        """The function's outputs."""
        self._inputs = inputs
        self._outputs = self.function(*inputs, **keywords)
        return self._outputs

    def derived(self, cotangent: Any = None) -> Any:
        """What the derivative returns at the inputs of the last forward."""
        known = {"y": self._outputs, "v": cotangent}
        return self.derivative(*(self._inputs[r] if isinstance(r, int) else known[r] for r in self._roles()))

    def _roles(self) -> list[int | str]:
        """What the derivative is given: an input by its place, the outputs "y", or the cotangent "v"."""
        given: dict[str, int | str] = {n: k for k, n in enumerate(positional_names(self.function)[: len(self._inputs)])}
        given |= dict.fromkeys(self._cotangents()[:1], "v")
        asked = self.asked or positional_names(self.derivative)[: len(self._inputs)]
        if any(n not in given and n not in OUTPUTS for n in asked) and len(asked) == len(self._inputs):
            return list(range(len(self._inputs)))  # the same inputs under other names
        if missing := [n for n in asked if n not in given and n not in OUTPUTS]:
            raise SpecError(
                f"{self.title} asks for {missing[0]}, which {self.code} takes no input for: check a closure, "
                f"lambda x: ({self.code}(x), lambda v: v * {self.code.partition('.')[0]}.{self._names[1]}(...))"
            )
        return [given.get(n, "y") for n in asked]

    def script(self, plain: Recipe, made: Mapping[str, Any] | None) -> Recipe:
        """The script of a layer with this around it."""
        codes = {"y": "self.outputs", "v": "v[0]"}
        given = ", ".join(codes[r] if isinstance(r, str) else f"self.inputs[{r}]" for r in self._roles())
        back = [f"d = self.wrapped.{self._names[1]}({given})"]
        if not self.takes_cotangent:
            found = self.derived()
            several = isinstance(found, (tuple, list))
            y = _shape(self._outputs)
            each = [
                _times(_shape(part), y, _shape(self._inputs[k]), f"d[{j}]" if several else "d", f"self.inputs[{k}]")
                for j, (k, part) in enumerate(zip(self._of, found if several else [found], strict=False))
            ]
            back.append(f"return {', '.join(each)}")
        else:
            back.append("return d")
        called = "self.wrapped" if self._names[0] == "__call__" else f"self.wrapped.{self._names[0]}"
        return recipe.adapted(plain, self.wrapped, made, [f"self.outputs = {called}(*inputs, **words)"], back)

    def backward(self, cotangent: Any) -> Any:
        """The gradients of the inputs."""
        found = self.derived(cotangent)
        if self.takes_cotangent:
            return found
        parts = found if isinstance(found, (tuple, list)) else [found]
        gradients: list[Any] = [None] * len(self._inputs)
        for k, part in zip(self._of, parts, strict=False):
            gradients[k] = product(cotangent, part, _shape(self._outputs), _shape(self._inputs[k]))
        return tuple(gradients) if len(gradients) > 1 else gradients[0]


def _of(made: Derived, wanted: Sequence[str], given: Mapping[str, Any], found: Any) -> list[str]:
    """The inputs of which it is the derivative: all, where it returns one for each; of two, that which is called a prediction.

    Raises:
        SpecError: it can't be told.
    """
    if len(wanted) < 2 or (isinstance(found, (tuple, list)) and len(found) == len(wanted)):
        return list(wanted)
    predicted = [n for n in wanted if any(word in n.lower() for word in PREDICTED)]
    beside = [n for n in wanted if n.lower() not in ("y", "t", *TARGETS)]
    for named in (predicted, beside):
        if len(named) == 1:
            return named
    first, *others = wanted
    raise SpecError(
        f"{made.title} returns one derivative for the inputs {', '.join(wanted)}: mark those that it is not of, "
        f"as in gradcheck(layer, {', '.join([first, *(f'const({n})' for n in others)])})"
    )


def _confirmed(made: Derived, of: Sequence[int], outputs: Any, found: Any, keywords: Mapping[str, Any]) -> None:
    """Hold what was returned against shapes, and what is one number an entry against which output moves with which input.

    Raises:
        SpecError: no derivative can look like this.
    """
    parts = found if isinstance(found, (tuple, list)) else [found]
    name = positional_names(made.function)[of[0]] if of else "x"
    closure = (
        f"check a closure, lambda {name}: ({made.code}({name}), lambda v: ...), with the gradient of {name} from v"
    )
    for k, part in zip(of, parts, strict=False):
        y, x = _shape(outputs), _shape(made._inputs[k])
        if product(outputs, part, y, x) is None:
            raise SpecError(
                f"{made.title} returned shape {_shape(part)} for an input of {x} and outputs of {y}, which is neither one "
                f"derivative an entry nor a Jacobian: {closure}"
            )
        if y and _shape(part) in (x, ()) and not _entry_by_entry(made, k, outputs, keywords):
            raise SpecError(
                f"{made.title} returns one number an entry, and an output of {type(made.wrapped).__name__} depends on several "
                f"entries: {closure}"
            )


def _entry_by_entry(made: Derived, k: int, outputs: Any, keywords: Mapping[str, Any]) -> bool:
    """Whether a change of one entry (an example, where the outputs are one an example) changes the output there alone."""
    y, x = _shape(outputs), _shape(made._inputs[k])
    before = torch.as_tensor(outputs).reshape(math.prod(y), -1)
    for place in {0, math.prod(x) - 1} if math.prod(x) > 1 else ():
        inputs = [copy.deepcopy(v) for v in made._inputs]
        flat = inputs[k].reshape(-1)
        flat[place] = flat[place - 1]  # a value that the function has taken already
        other = Derived(copy.deepcopy(made.wrapped), *made._names)
        after = torch.as_tensor(other(*inputs, **keywords)).reshape(before.shape)
        moved = {int(n) for n in (before != after).any(1).nonzero()}
        if not moved <= {place * math.prod(y) // math.prod(x)}:
            return False
    return True


def product(v: Any, derivative: Any, y: tuple[int, ...], x: tuple[int, ...]) -> Any:
    """The cotangent times the derivative of outputs of shape `y` by inputs of shape `x`; None where it is no such derivative.

    One number an entry, or one for all; of each output by all of the inputs; the same within each example.
    """
    d, entries = _shape(derivative), math.prod(x)
    if d == y + x:
        return (v.reshape(-1) @ derivative.reshape(-1, entries)).reshape(x)
    if y == x and d in (x, ()):
        return v * derivative
    if y == x[: len(y)] and d == x:
        return v.reshape(y + (1,) * (len(x) - len(y))) * derivative
    if y and x and y[0] == x[0] and d == y + x[1:]:
        inner = entries // max(x[0], 1)
        return (v.reshape(x[0], 1, -1) @ derivative.reshape(x[0], -1, inner)).reshape(x)
    return None


def _times(d: tuple[int, ...], y: tuple[int, ...], x: tuple[int, ...], derivative: str, given: str) -> str:
    """The code of `product`, for these shapes."""
    if d == y + x:
        return f"(v[0].reshape(-1) @ {derivative}.reshape({math.prod(y)}, -1)).reshape({given}.shape)"
    if y == x and d in (x, ()):
        return f"v[0] * {derivative}"
    if y == x[: len(y)] and d == x:
        return f"v[0].reshape({y + (1,) * (len(x) - len(y))}) * {derivative}"
    return (
        f"(v[0].reshape({x[0]}, 1, -1) @ {derivative}.reshape({x[0]}, -1, {math.prod(x[1:])})).reshape({given}.shape)"
    )


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(getattr(value, "shape", ()))
