"""Entries at kinks, each between its one-sided slopes: whether they may be what they are together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from harness.judgement.line import Ladder, Line
from harness.oracles.blocks import Blocks
from harness.oracles.estimate import FINE_STEP, Direction

if TYPE_CHECKING:
    from harness.judgement.judge import Judge

FEW = 12
"""Up to how many entries a tensor is looked at entry by entry without asking which of them interact."""

MIXED = 4
"""How many mixtures of sides show whether entries at kinks interact."""

KINK_DIRECTIONS = 8
"""How many random directions through the entries at a kink are tried beside the one that moves them together."""


class Kinks:
    """The entries of a judge's case that sit at kinks, of one tensor or of several."""

    def __init__(self, judge: Judge) -> None:
        self.judge = judge

    def meet(self, name: str, kinks: list[int], blocks: Blocks | None) -> bool:
        """Whether two entries at a kink may move one output: else what each alone may be all may be together."""
        if blocks is not None:
            homes = [int((blocks.entries == k).any(0).nonzero()[0]) for k in kinks if bool((blocks.entries == k).any())]
            return len(homes) < len(kinks) or len({*homes}) < len(homes)
        if len(kinks) > FEW:
            return True
        return len(kinks) > 1 and self._interact(name, kinks)

    def _interact(self, name: str, kinks: list[int]) -> bool:
        """Whether two of a few entries move one output, or several together move one otherwise than each alone: none of equal
        numbers moves their median."""
        f, alone = self.judge.along(name), []
        for k in kinks:
            step = f.spread(f.one(name, k), FINE_STEP)
            sides = [f.change(step, side) for side in (1.0, -1.0)]
            if any(c is None for c in sides):
                return True
            alone.append(torch.stack(sides))  # type: ignore[arg-type]
        changes = torch.stack(alone)
        if int((changes != 0).any(1).sum(0).max()) > 1:
            return True
        digits = 64 * self.judge.case.u * f.y.abs()
        for signs in _signs(len(kinks)):
            d = torch.zeros_like(f.case.leaves[name], memory_format=torch.contiguous_format)
            d.view(-1)[kinks] = torch.tensor(signs).to(d)
            together = f.change(f.spread({name: d}, FINE_STEP))
            parts = torch.stack([c[0 if s > 0 else 1] for s, c in zip(signs, changes, strict=True)]).sum(0)
            if together is None or bool(((together - parts).abs() > digits + 1e-6 * parts.abs()).any()):
                return True
        return False

    def across(self) -> str:
        """Whether the gradients are impossible together at kinks of several tensors: max(x, y) where they are equal."""
        need = min(self.judge.need(n, self.judge.claim.sizes[n]) for n in self.judge.kinks)
        return self.impossible(self.judge.kinks, need, f"entries of {' and '.join(self.judge.kinks)}")

    def _over(self, kinks: Mapping[str, list[int]], unit: float, number: int | None) -> Direction:
        """A random direction through these entries; without a number the one that moves all by the same."""
        f, found = self.judge.differences, {}
        for n, entries in kinks.items():
            x = self.judge.case.leaves[n]
            full = unit / f.scales[n].expand(x.shape).to(x) if number is None else f.direction(number, [n])[n]
            found[n] = through(n, x, full.reshape(-1), torch.tensor(entries))[n]
        return found

    def impossible(self, kinks: Mapping[str, list[int]], need: float, what: str) -> str:
        """Whether the claim is no gradient along a direction through several entries at a kink; empty if it may be one.

        Entry by entry alone, a max that gives each of three tied entries the full gradient would pass. Along directions
        that keep the kink (all of them together) the function is smooth, and along others the claim must lie between the
        one-sided slopes too.
        """
        f = self.judge.differences
        unit = min(f.unit(n) for n in kinks)
        others = any(len(entries) < self.judge.claim.gradients[n].numel() for n, entries in kinks.items())
        for number in (None, *range(40, 40 + KINK_DIRECTIONS)):
            ladder = Ladder(f, self.judge.claim.gradients, self._over(kinks, unit, number))
            line = Line.settle(ladder, unit, need).forgiven(self._cancelled(ladder, unit))
            # a kink may be so small that none is looked for, and its other entries stay behind
            if others and line.bound <= need:
                continue
            # neighbours keep ties, so that what backward does at them is none of its rounding
            if line.outside and line.forgiven(sum(self.judge.slack(n, ladder.d) for n in kinks)).outside:
                return (
                    f"{what} sit at a kink, each between its one-sided slopes, but together they are not a "
                    f"gradient: along a direction through them backward gives {line.expected + line.out:.6g} or "
                    f"{line.expected - line.out:.6g}, possible is {line.expected:.6g}"
                )
        return ""

    def _cancelled(self, ladder: Ladder, unit: float) -> float:
        """What is left by rounding where entries cancel along a direction that keeps a kink: a few dozen operations' of each."""
        f = self.judge.differences
        sizes = {n: ladder.gradients[n].abs() for n in ladder.d}
        whole = f.spread({n: d.abs() for n, d in ladder.d.items()}, 1.0)
        return 64 * self.judge.case.u * f.claimed(sizes, whole) / unit


def through(name: str, x: Tensor, d: Tensor, entries: Tensor) -> Direction:
    """The direction, of one axis, through these entries of a tensor alone."""
    part = torch.zeros_like(d)
    part[entries] = d[entries]
    return {name: part.reshape(x.shape)}


def _signs(count: int) -> list[tuple[float, ...]]:
    """To which sides several entries are moved together: all to one, and mixed."""
    drawn = np.random.default_rng(count).choice((-1.0, 1.0), (MIXED, count))
    return [(1.0,) * count, (-1.0,) * count, *map(tuple, drawn.tolist())]
