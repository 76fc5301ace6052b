"""An object with a function and its derivative, and no backward: `__call__(x)` beside `gradient(x)`, `loss(y, p)` beside
`gradient(y, p)`.

What the shape of the derivative says of it, backward is: the cotangent times it, entry by entry, or a product with a Jacobian.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import FunctionType
from typing import Any

import torch

from harness.conventions import attributes
from harness.domain import backward_may_raise, forward_may_refuse
from harness.kinds import Const
from harness.outcome import SpecError
from harness.reading.handed import GRADIENT, PREDICTED, TARGETS
from harness.reading.members import derivative_of, is_named_derivative, is_object
from harness.request import Request, call_arguments, positional_names, required_names
from harness.state.derived import Derived, product, shape_of
from harness.state.stateful import has_backward
from harness.subject import Subject

ORDER = 45


def recognises(layer: Any) -> bool:
    """Whether it is an object with both, and neither a backward nor a module's; or a function and its derivative."""
    if isinstance(layer, tuple):
        return of_functions(layer)
    return is_object(layer) and not has_backward(layer) and derivative_of(layer) is not None


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
    wanted = [n for n, leaf in request.leaves(arguments).items() if leaf.wanted]
    of = _differentiated(made, request, arguments, wanted)
    places = tuple([*arguments].index(n) for n in of)
    made.of_output = made.is_of_output(request.kwargs)
    layer = Derived(request.layer, function, derivative, places, made.of_output)
    fixed = [n for n in wanted if n not in of]
    whole: Subject = attributes.subject(replace(request, layer=layer, inputs=_held_fixed(request, arguments, fixed)))
    left_out = [f"{layer.title} is that of {', '.join(of)}: {', '.join(fixed)} not judged"] if fixed else []
    plain = whole.recipe
    recipe = plain and (lambda: made.script(plain(), request.made, places))  # `made` has seen the inputs' shapes
    notes = (layer.said, *left_out, *whole.notes)
    return replace(whole, name=type(request.layer).__name__, recipe=recipe, notes=notes)


def _differentiated(made: Derived, request: Request, arguments: Mapping[str, Any], wanted: Sequence[str]) -> list[str]:
    """The inputs of which the derivative is, seen by calling both once.

    Raises:
        SpecError, Refused, BackwardRaised: as `subject` does.
    """
    values = {n: leaf.value.clone() for n, leaf in request.leaves(arguments).items()}
    given = call_arguments(arguments, values, request.library)
    with forward_may_refuse():
        outputs = made(*given, **request.kwargs)
    if made.takes_cotangent:
        return list(wanted)
    with backward_may_raise():
        found = made.derived()
    of = _of(made, wanted, found)
    _confirmed(made, [[*arguments].index(n) for n in of], outputs, found, request.kwargs)
    return of


def _held_fixed(request: Request, arguments: Mapping[str, Any], fixed: Sequence[str]) -> tuple[Any, ...]:
    """The inputs, these of them constant, and all in the function's own library: the wrapper's code names torch."""
    arrays = {
        n: x.numpy() if isinstance(x, torch.Tensor) and request.library == "numpy" else x for n, x in arguments.items()
    }
    return tuple(Const(x) if n in fixed else x for n, x in arrays.items())


def _of(made: Derived, wanted: Sequence[str], found: Any) -> list[str]:
    """The inputs of which it is the derivative: all, where it returns one for each; of two, that which is called a prediction.

    Raises:
        SpecError: it can't be told.
    """
    if len(wanted) < 2 or (isinstance(found, (tuple, list)) and len(found) == len(wanted)):
        return list(wanted)
    predicted = [n for n in wanted if any(word in n.lower() for word in PREDICTED)]
    beside = [n for n in wanted if n.lower() not in ("y", "t", *TARGETS)]
    against = [n for n in wanted if n.lower() not in ("t", *TARGETS)]  # loss(y, t)
    for named in (predicted, beside, against):
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
        y, x = made.shapes(k)
        if product(outputs, part, y, x) is None:
            raise SpecError(
                f"{made.title} returned shape {shape_of(part)} for an input of {x} and outputs of {y}, which is neither one "
                f"derivative an entry nor a Jacobian: {closure}"
            )
        if y and shape_of(part) in (x, ()) and not made.works_entry_by_entry(k, keywords):
            raise SpecError(
                f"{made.title} returns one number an entry, and an output of {type(made.wrapped).__name__} depends on several "
                f"entries: {closure}"
            )
