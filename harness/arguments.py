"""What `gradcheck` is called with, and what it says of what it can't use."""

from __future__ import annotations

import inspect
import re
import traceback
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.examples.prepare import DTYPES
from harness.outcome import SpecError
from harness.reading.scalars import is_node, node_advice
from harness.request import Request, holds_tensors
from harness.spec import MAPPINGS, NO_REFERENCE, LayerSpec
from harness.spelling import meant
from harness.tensors.nested import leaves_of

_FORWARD = "derivatives in forward mode are not supported yet; backward is what is judged"
_TORCH_WORDS = {
    "eps": "the step is chosen by a ladder from each tensor's own spread",
    "atol": "the bound is computed from the forward's measured rounding; ask for a finer one with resolution=1e-8",
    "rtol": "the bound is computed from the forward's measured rounding; ask for a finer one with resolution=1e-8",
    "fast_mode": "one random cotangent and direction always come first, and what they can't settle is looked at in full",
    "nondet_tol": "every forward replays the random generators; what still differs is measured as noise",
    "check_forward_ad": _FORWARD,
    "check_batched_forward_grad": _FORWARD,
    "check_backward_ad": "backward is always judged",
    "check_undefined_grad": "every output gets a cotangent; missing ones are not supported yet",
    "check_batched_grad": "a backward under vmap is not supported yet",
    "check_grad_dtypes": "the check `dtypes` always asks for the gradients' dtypes",
    "masked": "sparse tensors are not supported yet",
    "create_graph": "second derivatives are not supported yet",
}


def unknown_word(word: str, known: Iterable[str]) -> str:
    """What is said of a keyword that is none of the known ones."""
    if word in _TORCH_WORDS:
        return f"gradcheck() takes no {word}=: {_TORCH_WORDS[word]}"
    if said := meant(word, known, "{}="):
        return f"gradcheck() got an unexpected keyword {word!r}: {said}"
    return f"gradcheck() got an unexpected keyword {word!r}; keywords of the layer's forward go into kwargs={{{word!r}: ...}}"


def not_split(layer: Any, inputs: Sequence[Any]) -> None:
    """Two functions side by side, as `gradcheck(forward, backward, x)`, where the first does not take the second.

    Raises:
        SpecError: it is so.
    """
    if len(inputs) < 2 or not (isinstance(layer, FunctionType) and isinstance(inputs[0], FunctionType)):
        return
    try:
        inspect.signature(layer).bind(*inputs)
    except TypeError:
        pair = f"({layer.__name__}, {inputs[0].__name__})"
        raise SpecError(f"a forward and its backward are one argument, a pair: gradcheck({pair}, ...)") from None


def not_given(error: BaseException) -> str:
    """What to write where a call of the harness has left out what a forward asks for; empty where that is not what was raised."""
    found = re.match(
        r"(?:\w+\.)*(?P<function>[\w<>]+)\(\) missing \d+ required .*?arguments?: (?P<names>.+)", str(error)
    )
    last = traceback.extract_tb(error.__traceback__)[-1:]
    if not isinstance(error, TypeError) or found is None or not (last and last[0].filename.startswith(CALLERS)):
        return ""
    names = re.findall(r"'(\w+)'", found["names"])
    words = ", ".join(f'"{n}": ...' for n in names)
    return (
        f"{found['function']} asks for {' and '.join(names)} too: hand over arrays as further inputs, and settings as "
        f"kwargs={{{words}}}"
    )


CALLERS = tuple(str(Path(module).parent) for module in (__file__, torch.__file__))
"""Where layers are called from."""


def checked(request: Request) -> Request:
    """The request as it is.

    Raises:
        SpecError: its layer is a class or a tensor, or its inputs hold no array.
    """
    if isinstance(request.layer, type) and not issubclass(request.layer, torch.autograd.Function):
        raise SpecError(f"{request.layer.__name__} is a class: pass a layer, such as {request.layer.__name__}(...)")
    if isinstance(request.layer, (Tensor, np.ndarray)):
        given = type(request.layer).__name__
        raise SpecError(
            f"the layer is a {given}, what a layer gives: pass what computes it first, as in gradcheck(layer, x)"
        )
    if isinstance(request.layer, torch.autograd.Function):
        kind = type(request.layer).__name__
        raise SpecError(f"this is an instance of the torch.autograd.Function {kind}: pass the class itself, {kind}")
    if isinstance(request.layer, LayerSpec):
        raise SpecError("gradcheck() takes a layer and its inputs; a LayerSpec draws its own: check(spec)")
    if nodes := [x for x in leaves_of(request.inputs) if is_node(x)]:
        raise SpecError(node_advice(nodes[0], getattr(request.layer, "__name__", "layer")))
    if any(isinstance(x, list) and not holds_tensors(x) and not _labels(x) for x in request.inputs):
        raise SpecError(
            "an input is a list of something else than arrays or integers: give tensors or arrays, several of them as arguments or "
            "as one tuple"
        )
    if not holds_tensors(request.inputs):
        called = getattr(request.layer, "__name__", type(request.layer).__name__)
        given = ", ".join(type(x).__name__ for x in request.inputs)
        raise SpecError(
            f"gradcheck({called}, ...) needs the inputs to call it with: tensors or arrays, as in "
            f"gradcheck(layer, torch.randn(4, 8)){given and f'; it was given {given}'}"
        )
    return request


def _labels(value: list[Any]) -> bool:
    """Whether a list holds integers or words alone, as labels are: the layer gets it as it is."""
    return bool(value) and all(isinstance(part, (int, str)) for part in leaves_of(value))


def dtype_of(dtype: Any) -> torch.dtype | None:
    """The dtype that was asked for, by name or itself.

    Raises:
        SpecError: there is none of this name, or it has no gradients.
    """
    if dtype is None:
        return None
    if (name := str(dtype).removeprefix("torch.")) not in DTYPES:
        raise SpecError(f"dtype={dtype!r} is not one of {', '.join(DTYPES)}")
    return DTYPES[name]


def whole(seed: Any) -> int:
    """The seed.

    Raises:
        SpecError: it is no whole number.
    """
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
        raise SpecError(f"seed={seed!r}: write a whole number, such as seed=0")
    return int(seed)


def usable(reference: Any, mappings: Mapping[str, Any]) -> None:
    """A reference that can be called, and mappings where they are asked for.

    Raises:
        SpecError: something else.
    """
    if reference is not None and not callable(reference):
        raise SpecError(NO_REFERENCE.format("reference", reference))
    for word, given in mappings.items():
        if given is not None and not isinstance(given, Mapping):
            raise SpecError(f"{word}={given!r}: write a dict, {MAPPINGS[word]}")
