"""How a script writes what it needs: imports, calls of constructors, numbers."""

from __future__ import annotations

import inspect
import random
import re
import sys
from collections.abc import Callable, Mapping
from keyword import iskeyword
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

LITERAL = 64
"""Up to how many numbers of a tensor are written out."""


def imported(thing: Any, name: str) -> tuple[str, str]:
    """The import line of a function or class and what it is called; where it can't be imported, a line left to fill."""
    module, qualified = getattr(thing, "__module__", None), getattr(thing, "__qualname__", "<locals>")
    if module in (None, "__main__", "builtins") or "<" in qualified:
        known = name if "<" in qualified else qualified
        return "", f"{name} = ...  # fill in: {known}, which can't be imported by name"
    top = qualified.split(".")[0]
    file = Path(getattr(sys.modules.get(module), "__file__", None) or module)
    if file.stem in sys.stdlib_module_names and f"{file.stem}_" == module:  # `import random` is another's
        return f"{top} = runpy.run_path({file.name!r})[{top!r}]", ""
    if all(part.isidentifier() and not iskeyword(part) for part in module.split(".")):
        return f"from {module} import {top}", ""
    return f"{top} = importlib.import_module({module!r}).{top}", ""  # of a file such as 01-layers.py


def operator(call: Any) -> tuple[str, str]:
    """The import line of a torch.library operator's definition and what the operator is called; ("", "") of anything else."""
    packet = getattr(call, "_opoverload", call)
    whole, overload = getattr(packet, "_name", None) or getattr(packet, "_qualified_op_name", None), ""
    if not isinstance(packet, (torch._ops.OpOverload, torch._ops.OpOverloadPacket)) or not isinstance(whole, str):
        return "", ""
    if isinstance(packet, torch._ops.OpOverload):
        whole, _, overload = whole.partition(".")
        overload = f".{packet._overloadname}"
    defined = getattr(sys.modules.get("torch._library.custom_ops"), "OPDEFS", {}).get(whole)
    home = getattr(getattr(defined, "_init_fn", None), "__module__", None)
    built_in = whole.partition("::")[0] in ("aten", "prims")
    known = built_in or home not in (None, "__main__")
    line = f"import {home}  # registers it" if home and known else ""
    missing = "" if known else f"  # fill in, above: the import of what registers {whole}"
    return line, f"torch.ops.{whole.replace('::', '.')}{overload}{missing}"


def constructed(kind: type, made: Mapping[str, Any] | None) -> str:
    """How a layer of this class is made: with the arguments that a spec gave it, or none where none are needed."""
    try:
        parameters = inspect.signature(kind).parameters.values()
    except ValueError:  # a builtin has none
        return f"{kind.__qualname__}(...)  # fill in its arguments"
    given = {n: code for n, v in (made or {}).items() if (code := expression(v))}
    # without a spec nobody knows which defaults were overridden
    open_ = [p for p in parameters if p.name not in given and (made is None or p.default is p.empty)]
    if not open_ and len(given) == len(made or {}):
        return f"{kind.__qualname__}({', '.join(f'{n}={code}' for n, code in given.items())})"
    return f"{kind.__qualname__}(...)  # fill in its arguments"


def expression(value: Any) -> str:
    """An expression that makes such a value, generators in any state; empty where there is none."""
    if value is None or isinstance(value, (bool, int, float, str, torch.dtype)):
        return repr(value)
    if isinstance(value, (tuple, list)):
        parts = [expression(v) for v in value]
        inside = ", ".join(parts) + ("," if len(parts) == 1 else "")
        return "" if not all(parts) else f"({inside})" if isinstance(value, tuple) else f"[{inside}]"
    return next((write(value) for kind, write in _WRITTEN.items() if isinstance(value, kind)), "")


def literal(t: Tensor) -> str:
    """The tensor, or one of its kind where it is too large to write out."""
    dtype = str(t.dtype)
    if t.numel() <= LITERAL:
        numbers = re.sub(r"-?inf|nan", lambda found: f"float({found[0]!r})", repr(t.tolist()))
        return f"torch.tensor({numbers}, dtype={dtype})"
    if t.is_floating_point():
        return f"torch.randn({tuple(t.shape)}, dtype={dtype}, generator=torch.Generator().manual_seed(0))"
    return f"torch.zeros({tuple(t.shape)}, dtype={dtype})"


_WRITTEN: dict[type, Callable[[Any], str]] = {
    Tensor: lambda t: literal(t.detach()),
    np.ndarray: lambda a: "" if a.dtype.kind not in "fiub" else f"{literal(torch.as_tensor(a.copy()))}.numpy()",
    torch.device: lambda d: f"torch.device({str(d)!r})",
    torch.Generator: lambda g: f"torch.Generator({str(g.device)!r})",
    np.random.Generator: lambda g: f"np.random.Generator(np.random.{type(g.bit_generator).__name__}())",
    np.random.RandomState: lambda _: "np.random.RandomState()",
    random.Random: lambda _: "random.Random()",
}
"""How each kind of thing is made that constructors ask for."""
