"""What the residual of a wrong gradient looks like: sentences that fit it, tested on fresh draws."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from itertools import combinations, permutations
from typing import Any

import torch
from torch import Tensor

from harness.case import Case
from harness.domain import BackwardRaised, Refused
from harness.draws import directions_like
from harness.findings.conditions import FROM, conditions, mislabelled, repeated, rows
from harness.findings.likeness import ENOUGH, FIT, along, elsewhere, explains, likenesses, output_beside, wrong_entries
from harness.findings.multiples import derivative, few, nearly, powers
from harness.findings.residuals import axes_named, crossed, sets, shifted, structured


def kinds(case: Case, name: str, claimed: Tensor, expected: Tensor, again: bool = False) -> Iterator[list[str]]:
    """Sentences that explain `claimed` given `expected`, kind by kind, the simplest first. Each may fit by chance, and on
    `again`, at another draw, it is asked which fit there too."""
    g, r = claimed.double(), expected.double()
    if g.shape != r.shape or not g.numel() or not bool(torch.isfinite(r).all() & torch.isfinite(g).all()):
        return
    x = case.leaves[name].double()
    tried = (
        _whole(case, name, g, r),
        likenesses(case, name, g, r),
        shifted(g, r),
        repeated(case, name, g, r, again),
        _local(g, r),
        mislabelled(case, g, r, again),
        rows(case, g, r),
        _factored(case, name, g, r),
        structured(case, name, g, r, again),
        crossed(case, x, g, r),
        conditions(case, name, g, r, again),
        few(g, r, 1 if again else ENOUGH),
        elsewhere(case, name, g, r),
        derivative(case, g, r),
        _unsummed(case, name),
        nearly(g, r),
    )
    yield from (found for kind in tried if (found := list(kind)))


def sentences(case: Case, name: str, claimed: Tensor, expected: Tensor) -> list[str]:
    """The simplest kind of sentences that explain `claimed` given `expected`; none where nothing fits."""
    return next(kinds(case, name, claimed, expected), [])


def common(first: list[str], *others: list[str]) -> tuple[str, ...]:
    """The sentences that hold at every draw; a factor's number gives way to its name."""
    heads = [{s.partition(FROM)[0] for s in other} for other in others]
    kept = [s for s in first if all(s.partition(FROM)[0] in other for other in heads)]
    named = [s for s in kept if not s.startswith(_NUMBER)]
    if len(named) > 1 and all(s.startswith("every entry is ") for s in named):  # they are equal at all these draws
        number = next((s for s in first if s.startswith(_NUMBER)), "")
        texts = [s.removeprefix("every entry is ").partition(" times ")[0] for s in named[:2]]
        return (f"{number.partition(' (')[0]} ({' or '.join(texts)} here)",) if number else tuple(named[:3])
    return tuple(named or kept)[:3]


def varying(first: list[str], others: list[list[str]]) -> tuple[str, ...]:
    """One multiple for all entries and another at each draw: what a sum is divided by is wrong, or a share that is drawn."""
    numbers = [next((s for s in some if s.startswith(_NUMBER)), "") for some in (first, *others)]
    if not others or not all(numbers):
        return ()
    here = numbers[0].rpartition(": ")[2].partition(" times")[0]
    return (f"{_NUMBER} of what it should be, another one in each example ({here} here)",)


STILL = (
    "the forward stands still around here, as a step does: if backward is the derivative of another function on purpose (a "
    "surrogate, straight-through), name that, LayerSpec(..., derivative_of=f)"
)

PLACE = "only "
"""How a sentence on where something is out begins: a place tells nothing that no other draw confirms."""

OWN = 1e-3
"""How far the factors of indices may be from multiples of a norm or a variance."""

_NUMBER = "every entry is the same multiple"


def _whole(case: Case, name: str, g: Tensor, r: Tensor) -> Iterator[str]:
    if not bool(g.any()):
        yield "the gradient is zero: backward never computes it, or something clears it"
        return
    if g.ndim == 2 and g.shape[0] == g.shape[1] > 1 and not torch.equal(r, r.T) and explains(r.T, g, r):
        yield "the gradient is transposed"
    if float(r.norm()) == 0:
        if case.declared is None and _steps(case, name):
            yield STILL
        return
    factor = float((g * r).sum() / r.square().sum())
    if explains(factor * r, g, r):
        for text in named_factors(factor, {**case.sizes, **_numbers(case, name)}):
            yield f"every entry is {text} times what it should be"
        size, rest = f"{factor:.6g}", factor - 1
        size = f"1 {'+' if rest > 0 else '-'} {abs(rest):.2g}" if size == "1" else size
        here = " or ".join(named_factors(factor, {} if case.sizes else _shapes(case))[:2]) or _share(factor)
        yield f"{_NUMBER} of what it should be: {size} times{f' ({here} here)' if here else ''}"


def _share(factor: float) -> str:
    """One over a whole number, as of a mean over several axes."""
    whole = round(1 / factor) if factor else 0
    return f"1/{whole}" if whole > 1 and abs(whole * factor - 1) <= 1e-6 else ""


def _steps(case: Case, name: str) -> bool:
    """Whether the outputs, which stand still around here, move where the tensor is far away."""
    leaf = case.leaves[name]
    far = leaf + 8 * (leaf.abs().max() + 1) * directions_like([leaf], case.seed, 31)[0]
    try:
        outputs = case.forward({**case.leaves, name: far}).outputs
    except (Refused, BackwardRaised):
        return False
    return not all(map(torch.equal, outputs, case.base.outputs))


def _numbers(case: Case, name: str) -> dict[str, float]:
    """What else is one number: a temperature, a scale."""
    leaves = {n: t for n, t in case.leaves.items() if n != name and t.numel() == 1 and t.is_floating_point()}
    return {n: float(t) for n, t in leaves.items() if n not in case.sizes and float(t)}


def _shapes(case: Case) -> dict[str, int]:
    """The sizes of the inputs, where no spec names them, and of parameters; one that a real input has too goes by that. Every draw
    has the same, so that what equals a factor here may do so by chance."""
    roles = {n: (leaf.role, case.leaves[n].is_floating_point()) for n, leaf in case.subject.leaves.items()}
    real, *others = (
        _sizes({n: case.leaves[n].shape for n, role in roles.items() if role == wanted})
        for wanted in (("input", True), ("parameter", True), ("input", False))
    )
    return real | {n: s for sizes in others for n, s in sizes.items() if s not in real.values()}


def _sizes(shapes: Mapping[str, torch.Size]) -> dict[str, int]:
    """Each size under the first name that it has."""
    found: dict[str, int] = {}
    for n, shape in shapes.items():
        found |= {f"{n}.shape[{k}]": s for k, s in enumerate(shape) if s > 1 and s not in found.values()}
    return found


def named_factors(factor: float, sizes: Mapping[str, Any]) -> list[str]:
    """The expressions in sizes and options that equal the factor, the simplest first."""
    candidates = {"-1": -1.0, "2": 2.0, "1/2": 0.5, "-2": -2.0, "-1/2": -0.5}
    for name, value in sizes.items():
        if not isinstance(value, bool) and isinstance(value, (int, float)) and value != 1:  # 1 tells nothing
            candidates |= _forms(name, float(value))
    candidates |= _products(sizes)
    return [text for text, value in candidates.items() if abs(value - factor) <= 1e-6 * abs(factor)]


def _products(sizes: Mapping[str, Any]) -> dict[str, float]:
    """What a sum or mean over several axes at once is off by. Of shapes without names any may be meant."""
    whole = {n: s for n, s in sizes.items() if type(s) is int and s > 1 and not n.endswith("]")}
    found = {f"{n}/{m}": whole[n] / whole[m] for n, m in permutations(whole, 2)}
    for count in (2, 3):
        for names in combinations(whole, count):
            text, size = "·".join(names), math.prod(whole[n] for n in names)
            found |= {text: size, f"1/({text})": 1 / size}
            found |= {f"{text}/({text}-1)": size / (size - 1), f"({text}-1)/({text})": (size - 1) / size}
    return found


def _forms(n: str, value: float) -> dict[str, float]:
    forms: dict[str, Callable[[float], float]] = {
        n: lambda v: v,
        f"1/{n}": lambda v: 1 / v,
        f"-{n}": lambda v: -v,
        f"(1-{n})": lambda v: 1 - v,
        f"1/(1-{n})": lambda v: 1 / (1 - v),
        f"{n}/(1-{n})": lambda v: v / (1 - v),
        f"(1-{n})/{n}": lambda v: (1 - v) / v,
        f"{n}/({n}-1)": lambda v: v / (v - 1),
        f"({n}-1)/{n}": lambda v: (v - 1) / v,
        f"{n}²": lambda v: v * v,
        f"1/{n}²": lambda v: v**-2,
        f"√{n}": lambda v: abs(v) ** 0.5,
        f"1/√{n}": lambda v: abs(v) ** -0.5,
        f"√(1-{n})": lambda v: max(1 - v, 0.0) ** 0.5,
        f"1/√(1-{n})": lambda v: max(1 - v, 0.0) ** -0.5,
    }
    if n.endswith("]"):
        # the size of an axis is no share, which has a rest, and what it squares to is mostly another size
        forms = {text: form for text, form in forms.items() if "(1-" not in text and "²" not in text}
    found = {}
    for text, form in forms.items():
        try:
            found[text] = form(value)
        except (ZeroDivisionError, OverflowError):
            continue
    return found


def _factored(case: Case, name: str, g: Tensor, r: Tensor) -> Iterator[str]:
    """A factor entry by entry, of the input or the output there; or one of each index along an axis."""
    x, y = case.leaves[name].double(), output_beside(case, g.shape)
    stands = [(name, x), *([] if y is None else [("y", y.double())])]
    raised = [(what, text, t) for what, leaf in stands for text, t in powers(what, leaf)]
    for what, text, t in [*raised, *_beside(case, name, g)]:
        # what is divided by may be 0, as 1 - y² in saturation: the claim is multiplied by it
        for said, model, claimed, right in ((text, t * r, g, r), (f"1/{text}", r, t * g, t * r)):
            by = _scale(model, claimed)
            if by and explains(by * model, claimed, right):
                named = ", y the output" if what == "y" else ""
                yield f"every entry is {_times(by, said)} times what it should be{named}"
                return
    for axes in sorted(sets(g.ndim, g.ndim - 1), key=len):
        others, size = tuple(a for a in range(g.ndim) if a not in axes), math.prod(g.shape[a] for a in axes)
        if min(g.shape[a] for a in axes) < 2 or g.numel() // size < 3:  # two are a multiple of two others too often
            continue
        factor = (g * r).sum(others, keepdim=True) / r.square().sum(others, keepdim=True)
        if bool(factor.isfinite().all()) and int(((factor - 1).abs() > FIT).sum()) > 1 and explains(factor * r, g, r):
            yield f"each index along {axes_named(axes)} is off by a factor of its own{_own_factor(factor, x, others)}"
            return


def _scale(model: Tensor, g: Tensor) -> float:
    """The multiple of a model that comes nearest."""
    size = float(model.square().sum())
    return float((model * g).sum()) / size if size else 0.0


def _times(number: float, text: str) -> str:
    if abs(number - 1) < FIT:
        return text
    return f"{number:.6g}{text[1:] if text.startswith('1/') else '·' + text}"


def _own_factor(factor: Tensor, x: Tensor, others: tuple[int, ...]) -> str:
    """What of the input the factors are multiples of, to three digits: ε stands beside a variance."""
    spread = x.var(others, correction=0, keepdim=True)
    sizes = {"its standard deviation": spread.sqrt(), "its norm": x.square().sum(others, keepdim=True).sqrt()}
    sizes |= {"its variance": spread, "its mean": x.mean(others, keepdim=True)}
    for what, size in sizes.items():
        for text, share in ((what, factor / size), (f"1 over {what}", factor * size)):
            if bool(share.isfinite().all()) and float((share / share.mean() - 1).abs().max()) < OWN:
                return f", a multiple of {text}"
    return ""


def _beside(case: Case, name: str, g: Tensor) -> Iterator[tuple[str, str, Tensor]]:
    """Other parameters that stand at each entry."""
    for n, leaf in case.leaves.items():
        real = n != name and case.subject.leaves[n].role != "input" and leaf.is_floating_point() and leaf.numel() > 1
        sizes = zip(reversed(leaf.shape), reversed(g.shape), strict=False)
        if real and leaf.ndim <= g.ndim and all(size in (1, all_of) for size, all_of in sizes):
            yield n, n, leaf.double().expand_as(g)


def _unsummed(case: Case, name: str) -> Iterator[str]:
    """Where one row of the cotangent alone gives the very same gradient of a parameter: `dout[0]` for `dout.sum(0)`."""
    given = case.base.cotangents
    if not case.subject.takes_cotangent or case.subject.leaves[name].role == "input" or len(given) != 1:
        return
    (v,), g = given, case.base.gradients.get(name)
    for axis, size in enumerate(v.shape):
        for place, index in (("first", 0), ("last", size - 1)) if size > 1 else ():
            alone = torch.zeros_like(v)
            alone.select(axis, index).copy_(v.select(axis, index))
            try:
                found = case.evaluate(1, (alone,)).gradients.get(name)
            except (Refused, BackwardRaised):
                return
            if g is not None and found is not None and torch.equal(found, g):
                yield f"only the {place} index along axis {axis} of the cotangent counts, the others are left out"


def _local(g: Tensor, r: Tensor) -> Iterator[str]:
    out = wrong_entries(g, r, FIT)
    for axis in range(g.ndim):
        if g.shape[axis] < 2:
            continue
        where = along(out, axis).nonzero().flatten().tolist()
        first, size = (where or [0])[0], g.shape[axis]
        if 1 < len(where) == size - first < size and first > 1:
            yield f"only what stands from index {first} on along axis {axis} is out{' (and is 0)' if not g[out].any() else ''}"
        if first == 0 and 1 < len(where) == where[-1] + 1 < size - 1:
            yield f"only what stands before index {len(where)} along axis {axis} is out{' (and is 0)' if not g[out].any() else ''}"
        if len(where) == 1:
            place = (
                "the last" if where[0] == g.shape[axis] - 1 else "the first" if where[0] == 0 else f"index {where[0]}"
            )
            yield f"only {place} along axis {axis} is out"
