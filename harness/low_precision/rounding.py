"""Rounding to a lower precision: imitated, and what it comes to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from harness.tensors.arrays import rms


def widened(tensors: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """Real tensors in a dtype, the others as they are."""
    return {n: t.to(dtype) if t.is_floating_point() else t for n, t in tensors.items()}


def last_digit(t: Tensor, dtype: torch.dtype) -> Tensor:
    """One unit in the last place of each entry in `dtype`, as float64; 0 for zeros."""
    exponent = torch.frexp(t.double().abs()).exponent
    unit = torch.ldexp(torch.full_like(t, torch.finfo(dtype).eps, dtype=torch.float64), exponent - 1)
    return unit.clamp_min(torch.finfo(dtype).smallest_normal * torch.finfo(dtype).eps) * (t != 0)


def real(t: Tensor) -> Tensor:
    """Detached, in float64."""
    return t.detach().double()


@dataclass(frozen=True)
class Noise:
    """What a gradient moves by: the most that was seen in each entry, and the largest root mean square over them."""

    entries: Tensor
    rms: float

    @classmethod
    def of(cls, moves: Sequence[Tensor]) -> Noise:
        """Of one or more moves."""
        return cls(torch.stack([m.abs() for m in moves]).amax(0), max(map(rms, moves)))


COPIES = (
    torch.ops.aten.clone,
    torch.ops.aten.copy_,
    torch.ops.aten._to_copy,
    torch.ops.aten.zeros_like,
    torch.ops.aten.zero_,
)
"""What is done to the tensors of any layer, of one that computes in NumPy too."""


FACTORED = (
    "linalg_",
    "_linalg_",
    "cholesky",
    "inverse",
    "triangular_solve",
    "ormqr",
    "geqrf",
    "lu_",
    "logdet",
    "slogdet",
)
"""How the names of torch's operations begin that factor a matrix. They round on the way, and are backward stable: what they
answer is exact for a matrix that differs by its size times a unit roundoff for each row (Higham, Accuracy and Stability of
Numerical Algorithms, 2nd ed., theorems 9.4 and 10.3)."""


COMPOSED = (
    "softmax",
    "_softmax",
    "_log_softmax",
    "log_softmax",
    "logsumexp",
    "native_",
    "gelu",
    "silu",
    "mish",
    "softplus",
    "log_sigmoid",
)
"""How the names of torch's operations begin that round on the way, several times, and are off by an ulp or two: rounded once
they would be better than any kernel."""


class Rounding(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Every result of a torch operation is rounded to a lower precision and kept in its own dtype; what factors a matrix is given
    one that is off by what that comes to, and what rounds on the way is off by one more unit in the last place."""

    exact: tuple[Any, ...] = ()
    """Operations whose results are left as they are."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.dtype, self.seen = dtype, False  # seen: whether torch has computed anything

    def rounded(self, value: Tensor) -> Tensor:
        """What the lower precision has of a result."""
        return value.to(self.dtype)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation, then round in place what is no mere view."""
        name = str(func.overloadpacket).removeprefix("aten.")
        if name.startswith(FACTORED):
            args = tuple(self._off(a) if isinstance(a, Tensor) and a.is_floating_point() else a for a in args)
        out = func(*args, **(kwargs or {}))
        for result, value in zip(func._schema.returns, out if isinstance(out, (tuple, list)) else (out,), strict=False):
            made = result.alias_info is None or result.alias_info.is_write
            if made and isinstance(value, Tensor) and value.dtype in (torch.float64, torch.float32):
                self.seen |= func.overloadpacket not in COPIES
                if func.overloadpacket not in self.exact:
                    value.copy_(self.rounded(value))
                if name.startswith(COMPOSED):
                    value.addcmul_(value, _signs(value), value=torch.finfo(self.dtype).eps)
        return out

    def _off(self, matrix: Tensor) -> Tensor:
        """The matrix and a unit roundoff of its size in every entry, of either sign and symmetric: a symmetric one stays so."""
        if matrix.ndim < 2:
            return matrix
        rows, columns = (torch.arange(n, device=matrix.device) for n in matrix.shape[-2:])
        signs = torch.cos(2.0 * (rows[:, None] + 1) * (columns + 1)).sign().to(matrix.dtype)
        size = matrix.abs().amax((-2, -1), keepdim=True) if matrix.numel() else matrix
        return matrix + matrix.shape[-1] * torch.finfo(self.dtype).eps / 2 * size * signs


class Faint(Rounding):  # type: ignore[no-untyped-call]
    """The same of results below the lower precision's smallest normal number alone, where it has fewer and fewer digits.

    Sums of its numbers are exact there: what a sum loses is a constant that the precision has not (1e-8), which is no matter of
    digits.
    """

    exact = (torch.ops.aten.add, torch.ops.aten.add_, torch.ops.aten.sub, torch.ops.aten.sub_, torch.ops.aten.rsub)

    def rounded(self, value: Tensor) -> Tensor:
        """What the lower precision has of a small result; larger ones as they are."""
        return torch.where(value.abs() < torch.finfo(self.dtype).smallest_normal, value.to(self.dtype), value)


def _signs(t: Tensor) -> Tensor:
    """1 and −1 in turn, irregularly, the same at each call."""
    return torch.cos(2.0 * torch.arange(1, t.numel() + 1, device=t.device)).sign().to(t.dtype).reshape(t.shape)


UNWRITTEN = (torch.ops.aten.empty, torch.ops.aten.empty_like, torch.ops.aten.new_empty, torch.ops.aten.empty_strided)
"""What allocates and computes nothing: whatever lies there is no number of the layer's."""


class Finiteness(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """How many numbers that are not finite torch's operations made."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation, then count."""
        out = func(*args, **(kwargs or {}))
        if func.overloadpacket in UNWRITTEN:
            return out
        made = [t for t in (out if isinstance(out, (tuple, list)) else (out,)) if isinstance(t, Tensor)]
        self.count += sum(int((~torch.isfinite(t)).sum()) for t in made if t.is_floating_point())
        return out


class Range(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Whether a finite number that torch's operations make lies beyond the range of a lower precision, where it is infinite."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.most, self.left = torch.finfo(dtype).max, False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation, then look."""
        out = func(*args, **(kwargs or {}))
        if func.overloadpacket not in UNWRITTEN:
            made = [t for t in (out if isinstance(out, (tuple, list)) else (out,)) if isinstance(t, Tensor)]
            self.left |= any(bool((t.isfinite() & (t.abs() > self.most)).any()) for t in made if t.is_floating_point())
        return out


@dataclass(frozen=True)
class Allowance:
    """What rounding explains of an error: in each entry, and as a root mean square over the tensor."""

    entries: Tensor
    rms: float
    whole: bool
    """Whether the rounding of all parts was measured: of what forward keeps, and of autograd or a reference."""
    kept: bool
    """Whether the rounding of what forward keeps was."""

    def widened(self, times: int, noise: Noise) -> Allowance:
        """With so many times another noise; its rms counts in every entry."""
        entries = self.entries + times * (noise.entries + noise.rms)
        return replace(self, entries=entries, rms=self.rms + times * noise.rms)

    def covers(self, error: Tensor) -> bool:
        """Whether it explains all of the error."""
        return bool((error.abs() <= self.entries).all()) and rms(error) <= self.rms
