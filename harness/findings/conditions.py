"""Where a gradient is wrong, as a condition on what stands there: the sign or size of the input, a zero of the output, an index."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from harness.case import Case
from harness.findings.likeness import along, output_beside, wrong_entries

EXACT = 1e-9
"""Less than this share of the largest residual is none: differences know no more, and what is off smoothly everywhere has few
entries where it is by so little."""

FEWEST = 2
"""Fewer entries on one side of a condition meet it by chance."""

UNLIKELY = 20
"""In fewer ways to choose the entries that are out, those where something is largest are chosen by chance too often: two of four
are at every sixth draw."""

TELLING = 2
"""From how many examples that failed, and that passed, what they have in common tells."""

FROM = ": from "
"""What stands before the numbers of a condition, which are another draw's too only by chance."""


def conditions(case: Case, name: str, g: Tensor, r: Tensor, again: bool = False) -> Iterator[str]:
    """What holds where the claim is wrong and nowhere else: the simplest alone. On `again`, at another draw where the question
    is whether the same holds, all of them, however few entries there are."""
    out = wrong_entries(g, r, EXACT)
    yield from _other_mask(g, r, out, again)
    fewest = 0 if again else FEWEST
    if not max(1, fewest) <= int(out.sum()) <= out.numel() - fewest:
        return
    told = again or math.comb(out.numel(), int(out.sum())) >= UNLIKELY
    split = (s for what, f in _features(case, name) for s in _split(what, f, out, told))
    found = [*_indexed(case, out, again), *split]
    if not bool(r[out].any()) and bool((r[~out] != 0).all()):
        found.append("out exactly where it should be 0: what does not move the outputs gets a gradient")
    if not bool(g[out].any()) and bool((g[~out] != 0).all()):
        found.append("out exactly where it is 0")
    yield from found if again else found[:1]


def _other_mask(g: Tensor, r: Tensor, out: Tensor, again: bool) -> Iterator[str]:
    """Zeros in other places, and nothing else: a mask drawn anew in backward, or turned round. A small draw may show one side."""
    gone, kept = (g == 0) & (r != 0), (g != 0) & (r == 0)
    sides = int(bool(gone.any())) + int(bool(kept.any()))
    if torch.equal(out, gone | kept) and sides >= (1 if again else 2):
        yield "its zeros stand in other places than they should, and nothing else is wrong: backward uses another mask than forward"


Sizes = Mapping[str, Any]
Holds = tuple[str, Callable[[Sizes], bool]]


def sizes(failed: Sequence[Sizes], passed: Sequence[Sizes], known: bool = False) -> tuple[str, ...]:
    """What of sizes and options holds at every example that failed and at none that passed, the simplest; nothing where too few
    of either tell. That a size is more than 1 says nothing new where what is wrong is `known`."""
    if min(len(failed), len(passed)) < TELLING:
        return ()
    settings = _shared(failed, passed)
    alike = [s for s in passed if all(s[n] == failed[0][n] for n in settings)]
    said = _telling(failed, passed)
    if settings and said != (within := _telling(failed, alike) if len(alike) >= TELLING else ""):
        said = " and ".join([*(f"{n} = {failed[0][n]!r}" for n in settings), within]) if within else ""
    if settings and not alike and len(settings) == 1:
        said = f"{settings[0]} = {failed[0][settings[0]]!r}"
    if not said or (known and said in {f"{n} > 1" for n in failed[0]}):
        return ()
    return (f"wrong in the examples where {said}, and in no other",)


def _named(every: Sequence[Sizes]) -> list[str]:
    """The options that are words, or on or off."""
    return [n for n in every[0] if all(isinstance(s.get(n), (str, bool)) for s in every)]


def _shared(failed: Sequence[Sizes], passed: Sequence[Sizes]) -> list[str]:
    """The options that are alike wherever it fails, and not wherever it passes: sizes are told by examples of those alone, for
    what passes under other options may do so at any size."""
    return [
        n
        for n in _named([*failed, *passed])
        if len({s[n] for s in failed}) == 1 and any(s[n] != failed[0][n] for s in passed)
    ]


def _telling(failed: Sequence[Sizes], passed: Sequence[Sizes]) -> str:
    """The simplest condition that holds at all that failed and at none that passed; empty where there is none."""
    every = [*failed, *passed]
    numbers = [n for n in failed[0] if all(type(s.get(n)) in (int, float) for s in every)]
    whole = [n for n in numbers if all(type(s[n]) is int for s in every)]
    beyond = [n for n in numbers if any(s[n] > 2 for s in every)]  # of 1 and 2 alone, 2 is what is more than 1
    named = _named(every)
    alike: list[list[tuple[Any, Holds]]] = [
        [(n, _equal(n, value)) for n in numbers for value in (0, 1, 2) if value < 2 or n in beyond],
        [(n, _equal(n, failed[0][n])) for n in named],
        [(n, test) for n in whole for test in _of_one(n)],
        [(n, _unequal(n)) for n in numbers if n not in whole],
        [(pair, test) for pair in combinations(whole, 2) for test in _of_two(*pair)],
        [(n, _equal(n, failed[0][n])) for n in numbers],
        [(n, _from(n, failed, passed)) for n in whole],
    ]
    return _simplest(alike, failed, passed)


def _simplest(alike: Sequence[Sequence[tuple[Any, Holds]]], failed: Sequence[Sizes], passed: Sequence[Sizes]) -> str:
    """The first test that tells those that failed from those that passed; nothing where one alike, of another size, does too:
    of two sizes that were large in the same examples, one is by chance."""
    for tests in alike:
        found = [(of, text) for of, (text, holds) in tests if all(map(holds, failed)) and not any(map(holds, passed))]
        if found:
            return found[0][1] if len({of for of, _ in found}) == 1 else ""
    return ""


def _equal(n: str, value: Any) -> Holds:
    return f"{n} = {value!r}", lambda s: bool(s[n] == value)


def _unequal(n: str) -> Holds:
    return f"{n} is not 0", lambda s: bool(s[n] != 0)


def _of_one(n: str) -> Iterator[Holds]:
    yield f"{n} > 1", lambda s: bool(s[n] > 1)
    yield f"{n} is odd and not 1", lambda s: bool(s[n] % 2 == 1 and s[n] > 1)
    yield f"{n} is odd", lambda s: bool(s[n] % 2 == 1)
    yield f"{n} is even", lambda s: bool(s[n] % 2 == 0)


def _of_two(n: str, m: str) -> Iterator[Holds]:
    yield f"{n} = {m}", lambda s: bool(s[n] == s[m])
    yield f"{n} and {m} differ", lambda s: bool(s[n] != s[m])
    yield f"{n} = {m} = 1", lambda s: bool(s[n] == s[m] == 1)
    yield f"{n} = {m} > 1", lambda s: bool(s[n] == s[m] > 1)


def _from(n: str, failed: Sequence[Sizes], passed: Sequence[Sizes]) -> Holds:
    """From a size on; right at 1, where much is nothing, tells no more than that, and once above it may be by chance."""
    least, most = min(s[n] for s in failed), max(s[n] for s in passed)
    several = sum(s[n] > 1 for s in passed) >= TELLING
    return f"{n} is {least} or more (right up to {most})", lambda s: bool(several and s[n] > most > 1)


def mislabelled(case: Case, g: Tensor, r: Tensor, again: bool) -> Iterator[str]:
    """Rows in which two entries are out by opposite amounts, one of which a label selects: it is subtracted elsewhere."""
    out, off = wrong_entries(g, r, EXACT), g - r
    for other, leaf in case.leaves.items():
        for axis, size in enumerate(out.shape) if _counts(leaf) and bool(out.any()) else ():
            rest = (*out.shape[:axis], *out.shape[axis + 1 :])
            if leaf.shape != rest or size < (2 if again else 3) or int(leaf.min()) < 0 or int(leaf.max()) >= size:
                continue
            wrong, index = out.any(axis), leaf.long().unsqueeze(axis)
            two = (out.sum(axis) == 2) & out.gather(axis, index).squeeze(axis)
            opposite = off.sum(axis).abs() <= EXACT * off.abs().amax(axis)
            if bool((two & opposite)[wrong].all()):
                yield f"in each row that is out, what belongs to the entry that {other} selects along axis {axis} stands at another entry"


def rows(case: Case, g: Tensor, r: Tensor) -> Iterator[str]:
    """What integer a row carries where the rows are wrong, and in no other: a label, or one that another row has too; or an entry,
    of a mask."""
    out = wrong_entries(g, r, EXACT)
    for other, leaf in case.leaves.items():
        if leaf.shape == out.shape and not leaf.is_floating_point() and bool(out.any()) and not bool(out.all()):
            values = torch.unique(leaf[out])
            if len(values) == 1 and torch.equal(out, leaf == values):
                yield f"out exactly where {other} is {values.item()}"
        if not _counts(leaf) or not leaf.ndim or leaf.shape != out.shape[: leaf.ndim] or leaf.ndim == out.ndim:
            continue
        wrong = out.flatten(leaf.ndim).any(-1)
        labels = torch.unique(leaf[wrong])
        if not bool(wrong.any()) or bool(wrong.all()):
            continue
        _, which, count = torch.unique(leaf, return_inverse=True, return_counts=True)
        if torch.equal(wrong, (count > 1)[which]):
            yield f"out exactly in the rows whose {other} another row has too"
        elif torch.equal(wrong, leaf < 0):
            yield f"out exactly in the rows whose {other} is negative"
        elif len(labels) == 1 and torch.equal(wrong, leaf == labels):
            label, last = int(labels), out.shape[leaf.ndim] - 1
            yield f"out exactly in the rows whose {other} is {'the last index' if label == last else label}"


def _counts(leaf: Tensor) -> bool:
    return not (leaf.is_floating_point() or leaf.is_complex() or leaf.dtype is torch.bool or not leaf.numel())


def _features(case: Case, name: str) -> Iterator[tuple[str, Tensor]]:
    """What stands at each entry: its value, then that of the output there."""
    x = case.leaves[name]
    stands = [(name, x)]
    if (y := output_beside(case, x.shape)) is not None:
        stands.append(("the output", y))
    for what, t in stands:
        yield what, t.double()
    for what, t in stands:
        yield f"|{what}|", t.double().abs()


def _split(what: str, f: Tensor, out: Tensor, told: bool) -> Iterator[str]:
    """The conditions on f that tell where it is out; those on its sign and size if enough entries tell them."""
    wrong, right = f[out], f[~out]
    low, high = float(wrong.min()), float(wrong.max())
    below, above = (float(t) for t in right.aminmax()) if right.numel() else (math.inf, -math.inf)
    if low == high == 0 and bool((right != 0).all()):
        yield f"out exactly where {what} is 0"
    if not told:
        return
    if low > max(above, 0.0) and above <= 0:
        yield (
            f"out exactly where {what.strip('|')} is not 0"
            if what.startswith("|")
            else f"out exactly where {what} is positive"
        )
    if high < min(below, 0.0) and below >= 0:
        yield f"out exactly where {what} is negative"
    if low > above > -math.inf:
        yield _beyond(what, "large", low)
    if high < below < math.inf:
        yield _beyond(what, "small", high)


def _beyond(what: str, size: str, first: float) -> str:
    return f"out exactly where {what} is {size}{FROM}{first:.3g} {'up' if size == 'large' else 'down'}"


def _indexed(case: Case, out: Tensor, again: bool) -> Iterator[str]:
    """The entry of each row that a label selects; on `again` some may be out by too little to tell."""
    for other, index, axis in _pointing(case, out):
        if index.shape == (*out.shape[:axis], *out.shape[axis + 1 :]):
            selected = torch.zeros_like(out).scatter_(axis, index.unsqueeze(axis), True)
            if torch.equal(selected, out) or (again and bool(selected[out].all())):
                yield f"out exactly at the entries that {other} selects along axis {axis}"


def repeated(case: Case, name: str, g: Tensor, r: Tensor, again: bool) -> Iterator[str]:
    """Rows of a parameter that an integer input names more than once; of an input, unless it has as many: labels name none."""
    out = wrong_entries(g, r, EXACT)
    for other, index, axis in _pointing(case, out):
        if case.subject.leaves[name].role == "input" and index.shape == out.shape[: index.ndim]:
            continue
        more = torch.bincount(index.flatten(), minlength=out.shape[axis]) > 1
        if bool(more.any()) and (again or not bool(more.all())) and torch.equal(along(out, axis), more):
            yield (
                f"out exactly where {other} names an index along axis {axis} more than once: they have to be added up "
                "(index_add_, np.add.at), an assignment keeps one"
            )


def _pointing(case: Case, out: Tensor) -> Iterator[tuple[str, Tensor, int]]:
    """Integer inputs that may point along an axis."""
    for other, leaf in case.leaves.items():
        if not _counts(leaf) or leaf.shape == out.shape:  # a mask names no index
            continue
        index = leaf.long()
        for axis, size in enumerate(out.shape):
            if int(index.min()) >= 0 and int(index.max()) < size:
                yield other, index, axis
