"""What `build` may be: a layer, something that makes one, or an expression written as a string."""

from __future__ import annotations

import ast
import builtins
import inspect
from collections.abc import Callable, Iterable, Mapping
from dis import get_instructions
from typing import Any

from harness.outcome import SpecError
from harness.reading.signatures import Parameters, parameters_of


def wanted_by(build: Any) -> Parameters:
    """What it asks for; of a builtin without a signature nothing is known."""
    try:
        return parameters_of(build)
    except (TypeError, ValueError):
        return ()


def is_layer(thing: Any) -> bool:
    """Whether this is a layer itself, not something that makes one."""
    if isinstance(thing, type):
        return any(base.__module__ == "torch.autograd.function" for base in thing.__mro__)
    return (hasattr(thing, "forward") and hasattr(thing, "backward")) or isinstance(thing, tuple)


def from_string(source: str, known: Iterable[str], namespace: Mapping[str, Any]) -> Callable[..., Any]:
    """`source` as a function of those of its names that are in `known`.

    Raises:
        SpecError: it is no expression; when it builds, a name in it is nowhere.
    """
    try:
        code = compile(source, "<build>", "eval")
    except SyntaxError as error:
        raise SpecError(f"build={source!r} is no expression ({error.msg}): write e.g. 'MyLayer(D)'") from None
    names = [n for n in code.co_names if n in known]
    looked_up = [i.argval for i in get_instructions(code) if i.opname == "LOAD_NAME"]

    def build(**values: Any) -> Any:
        scope = {**namespace, **values}
        if strangers := [n for n in looked_up if n not in scope and not hasattr(builtins, n)]:
            raise SpecError(
                f"build={source!r}: {strangers[0]!r} is neither defined nor a dimension or an option; a size write as "
                f"dims={{{strangers[0]!r}: range(1, 7)}}, a setting as options={{{strangers[0]!r}: (value_1, value_2)}}"
            )
        made = eval(code, scope)
        return made() if isinstance(made, type) and not is_layer(made) else made

    build.__name__ = source
    vars(build)["namespace"] = namespace
    parameters = [inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY) for n in names]
    build.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return build


def namespace_of(build: Any) -> Mapping[str, Any] | None:
    """Where an expression looks its names up; None of a build that was not written as a string. Its `__name__` is the string."""
    found: Mapping[str, Any] | None = getattr(build, "namespace", None)
    return found if getattr(build, "__module__", None) == __name__ else None


def arguments_in(build: Any, known: Mapping[str, Any], kind: type) -> dict[str, Any] | None:
    """What a build written as `"Kind(D, 3)"` calls the class with, by the names of its parameters; None of any other build."""
    if (namespace := namespace_of(build)) is None:
        return None
    node = ast.parse(build.__name__, mode="eval").body
    if not isinstance(node, ast.Call) or any(k.arg is None for k in node.keywords):
        return None

    def value(part: ast.expr) -> Any:
        return eval(ast.unparse(part), {**namespace, **known})

    try:
        if value(node.func) is not kind:
            return None
        given = {str(k.arg): value(k.value) for k in node.keywords}
        return inspect.signature(kind).bind(*map(value, node.args), **given).arguments
    except Exception:  # a generator, or what else is made anew for each layer
        return None
