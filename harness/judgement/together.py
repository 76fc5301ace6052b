"""Every entry of a tensor against differences, a block of them at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from harness.domain import Refused
from harness.judgement.edges import Edges
from harness.judgement.line import BESIDE, INSIDE, NARROW
from harness.oracles.blocks import Blocks
from harness.oracles.differences import DOWN, FIRST, UP, Differences
from harness.oracles.estimate import Direction
from harness.oracles.stencil import Stencil

AT_ONCE = 50
"""The number of the direction through all entries of all blocks, among the directions of a tensor."""

STEPS = (FIRST, FIRST + 4, INSIDE)
"""The steps along it: a block in which the function is smooth on the scale of none is looked at entry by entry."""

MANY = 8
"""Blocks of more entries are asked at once where autograd is no second opinion too."""

DIRECTIONS = 3
"""Along how many directions these must meet the claim within what is allowed, as the whole must."""

FINE = (FIRST, FIRST + 4, INSIDE, 16, 20, 24, 28)
"""The steps along these: of many windows of a maximum a few have ties within any step but the finest."""


@dataclass
class Entries:
    """What is known of each entry of one tensor, flat, in units of the gradient."""

    expected: Tensor
    error: Tensor
    """Infinite where nothing is known."""
    settled: Tensor
    """The claim is inside a bound as fine as needed."""
    kinked: Tensor
    """The function has a kink along this entry, and the claim lies between its one-sided slopes."""
    suspect: Tensor
    """Two steps refute the claim; to be confirmed by the entry alone."""
    width: Tensor
    """The distance of the one-sided slopes at a kink; 0 without."""
    nearest: Tensor
    """Between these slopes what is nearest to the claim."""
    beside: Tensor
    """A finer step has shown the kink to lie beside the point."""

    @classmethod
    def of(cls, g: Tensor) -> Entries:
        """Nothing known yet."""
        none = torch.zeros(g.numel(), dtype=torch.bool, device=g.device)
        settled, kinked, suspect, beside = (none.clone() for _ in range(4))
        return cls(
            g.clone(), torch.full_like(g, torch.inf), settled, kinked, suspect, torch.zeros_like(g), g.clone(), beside
        )

    def forget(self, entries: Tensor) -> None:
        """Take back what is known of these entries."""
        self.error[entries] = torch.inf
        for mark in (self.settled, self.kinked, self.suspect):
            mark[entries] = False

    @property
    def done(self) -> Tensor:
        """What needs no smaller step."""
        return self.settled | self.kinked | self.suspect


@dataclass(frozen=True)
class Rung:
    """One row of entries at one step, in units of the gradient."""

    claim: Tensor
    expected: Tensor
    error: Tensor
    low: Tensor
    high: Tensor
    """The one-sided slopes at a kink, else NaN."""
    noisy: Tensor
    still: Tensor
    """No output moved."""
    shared: Tensor
    """What rounding adds to the error if the outputs share it."""

    @property
    def out(self) -> Tensor:
        """|claimed − expected|."""
        return (self.claim - self.expected).abs()

    @property
    def beyond(self) -> Tensor:
        """How far the claim lies outside the one-sided slopes; NaN without a kink."""
        return torch.maximum(self.low - self.claim, self.claim - self.high).clamp(min=0)

    def refuted(self, slack: Tensor) -> Tensor:
        """The claim lies outside a finite bound; NaN does."""
        return self.error.isfinite() & ~(self.out <= self.error + self.shared + slack)

    def agrees(self, other: Rung) -> Tensor:
        """Whether two steps estimate the same."""
        return (self.expected - other.expected).abs() <= self.error + other.error

    def same_kink(self, other: Rung) -> Tensor:
        """Whether both see a kink with the same one-sided slopes."""
        width = 0.05 * torch.maximum(self.high - self.low, other.high - other.low)
        return ((self.low - other.low).abs() <= width) & ((self.high - other.high).abs() <= width)


@dataclass(frozen=True)
class Together:
    """A claimed gradient of one tensor, to be met by its entries, those of a row of `blocks` at once."""

    differences: Differences
    name: str
    g: Tensor
    """The claim, flat, in float64."""
    slack: Tensor
    """What the claim's own rounding may add to each entry's error."""
    need: Tensor
    """How fine each entry's bound must be."""
    blocks: Blocks

    seen: float = math.inf
    """The smallest error of an entry that the whole has shown not to be there."""
    vouched: Tensor | None = None
    """The entries on which autograd agrees."""

    def climbed(self) -> Entries:
        """Every entry, row by row; what steps in units of the whole leave open once more in units of its block or its own."""
        found = Entries.of(self.g)
        found.settled |= self.need >= self.seen
        if self.vouched is not None:
            self._at_once(found, self.vouched & ~found.settled, 1, STEPS)
        elif len(self.blocks.entries) > MANY:
            self._at_once(found, ~found.settled, DIRECTIONS, FINE)
        found = self._climbed(found)
        for units in () if bool(found.done.all()) else self.blocks.units(self.differences, self.name):
            found.width.zero_()
            found.beside.zero_()
            found = replace(self, differences=self.differences.measured(self.name, units.step))._climbed(found)
            if bool(found.done.all()):
                break
        return found

    def _at_once(self, found: Entries, asked: Tensor, directions: int, steps: Sequence[int]) -> None:
        """Settle the blocks all of whose entries are asked for, and of which directions through all entries of all blocks show
        as much as single entries would."""
        entries = self.blocks.entries
        open_, worst = asked[entries].all(0), torch.zeros_like(self.need[entries[0]])
        for number in range(AT_ONCE, AT_ONCE + directions):
            met = self._met(self.differences.direction(number, [self.name]), open_, steps)
            open_, worst = met.isfinite(), torch.maximum(met, worst)
        settled = entries[:, open_].reshape(-1)
        found.settled[settled] = True
        found.error[settled] = worst[open_].expand_as(entries[:, open_]).reshape(-1)

    def _met(self, d: Direction, asked: Tensor, steps: Sequence[int]) -> Tensor:
        """By how much an entry of each block may be off that meets the claim along a direction at one of these steps; infinite
        where none does."""
        f, entries = self.differences, self.blocks.entries
        off, open_ = torch.full_like(self.need[entries[0]], torch.inf), asked.clone()
        hidden = self.slack.clamp(min=f.floor(self.name))[entries].amin(0)
        fine = torch.maximum(self.need[entries].amin(0), hidden)
        for h in (2.0**-k for k in steps):
            if not bool(open_.any()):
                break
            with suppress(Refused):
                stencil, e = self._stencil(d, h)
                moved = (e[self.name].double().reshape(-1) / (h / 4))[entries]
                claim = (self.g[entries] * moved).sum(0)
                out, error = (claim - stencil.value).abs(), stencil.error + 32 * f.case.u * claim.abs()
                least = moved.abs().amin(0)
                good = open_ & (out <= error + hidden * least) & (out + error <= fine * least)
                still = good & (stencil.flow == 0)
                if bool(still.any()) and Edges(f).jumps(self._along(entries[:, still].reshape(-1))):
                    good = good & ~still
                off = torch.where(good, (out + error) / least, off)
                open_ = open_ & ~good
        return off

    def _climbed(self, found: Entries) -> Entries:
        """Every entry, each down the ladder of steps as far as needed."""
        if (held := self.differences.held.get(self.name)) is not None:
            found.settled |= held.reshape(-1)
        for row in self.blocks.entries:
            if not bool(found.done[row].all()):
                self._climb(found, row)
        return found

    def _climb(self, found: Entries, row: Tensor) -> None:
        slack, previous, last = self.slack[row], None, FIRST
        still = torch.zeros_like(row, dtype=torch.bool)
        steps = [FIRST, *DOWN]
        while steps:
            k = steps.pop(0)
            try:
                rung = self._rung(row, 2.0**-k)
            except Refused:
                continue
            still |= rung.still
            self._take(found, row, rung, slack)
            if previous is not None:
                self._compare(found, row, rung, previous, slack)
            left = ~found.done[row]
            if not bool(left.any()):
                break
            steps = self._next(found, row, rung, previous, (last, k), steps)
            previous, last = rung, k
        self._conclude(found, row, slack)
        if bool(still.any()) and Edges(self.differences).jumps(self._along(row[still])):
            # a plateau that ends in jumps, as of what is rounded coarsely: its slope is none of the function's
            found.forget(row[still])

    def _next(
        self, found: Entries, row: Tensor, rung: Rung, previous: Rung | None, at: tuple[int, int], steps: list[int]
    ) -> list[int]:
        """The steps that are left: larger ones where rounding rules, smaller ones where truncation does, in between where
        they meet; at a kink those that would show it to lie elsewhere."""
        (last, k), left = at, ~found.done[row]
        if previous is None:
            up = bool((rung.noisy & left).any())
            return [*(UP if up else ()), *(DOWN if bool((~rung.noisy & left).any()) else ())]
        if k < FIRST:  # on the way up: as long as it helps
            helps = left & (rung.error <= found.error[row])
            return steps if bool(helps.any()) else [s for s in steps if s > FIRST]
        if bool(((found.width[row] > 0) & ~found.beside[row])[left].all()):
            return [s for s in BESIDE if s > k]
        if bool((rung.noisy & (rung.error > 64 * found.error[row]))[left].all()):
            return []  # finer steps hold nothing but noise
        finer = [s for s in DOWN if s > k]
        met = left & rung.noisy & ~previous.noisy & (rung.error > found.error[row] / 64)
        return [(k + last) // 2, *finer] if bool(met.any()) and k - last > 2 else finer

    def _take(self, found: Entries, row: Tensor, rung: Rung, slack: Tensor) -> None:
        """Keep the better estimates, and settle what is fine enough."""
        left = ~found.done[row]
        better = left & (rung.error < found.error[row])
        found.expected[row[better]], found.error[row[better]] = rung.expected[better], rung.error[better]
        inside = rung.error.isfinite() & (rung.out <= rung.error + slack)
        found.settled[row] |= left & inside & (rung.error + rung.out <= self.need[row])

    def _compare(self, found: Entries, row: Tensor, rung: Rung, previous: Rung, slack: Tensor) -> None:
        """What two steps show together: a claim that both refute, or a kink, which a finer step may show to lie elsewhere."""
        left = ~found.done[row]
        found.suspect[row] |= left & rung.refuted(slack) & previous.refuted(slack) & rung.agrees(previous)
        width = rung.high - rung.low
        # once found, a nearer one counts unless rounding widens it
        nearer = (found.width[row] > 0) & (width <= 1.001 * found.width[row])
        kinked = left & ~found.beside[row] & (rung.same_kink(previous) & ~(found.width[row] > 0) | nearer)
        found.beside[row] |= left & (found.width[row] > 0) & (rung.error < NARROW * found.width[row])
        nearest = torch.minimum(torch.maximum(rung.claim, rung.low), rung.high)
        found.nearest[row] = torch.where(kinked, nearest, found.nearest[row])
        found.width[row] = torch.where(kinked, width, found.width[row])

    def _conclude(self, found: Entries, row: Tensor, slack: Tensor) -> None:
        """Kinks at the point, or so near that no step between them and rounding is fine enough, which is as good."""
        g = self.g[row]
        kinked = ~found.done[row] & (found.width[row] > 0)
        kinked &= ~found.beside[row] | ((g - found.expected[row]).abs() <= found.error[row] + slack)
        inside = (g - found.nearest[row]).abs() <= slack
        found.kinked[row] |= kinked & inside
        found.suspect[row] |= kinked & ~inside
        found.expected[row[kinked]], found.error[row[kinked]] = found.nearest[row[kinked]], 0.0

    def _rung(self, row: Tensor, h: float) -> Rung:
        f = self.differences
        stencil, e = self._stencil(self._along(row), h)
        unit = e[self.name].double().reshape(-1)[row] / (h / 4)
        error = stencil.error / unit + 32 * f.case.u * self.g[row].abs()
        low, high = (side / unit for side in stencil.sides)
        noisy = stencil.error < 2 * stencil.noise
        return Rung(
            self.g[row], stencil.value / unit, error, low, high, noisy, stencil.flow == 0, stencil.shared / unit
        )

    def _stencil(self, d: Direction, h: float) -> tuple[Stencil, Direction]:
        """The derivatives of all blocks along d, and the displacement that it came to; the largest step is h."""
        f, t = self.differences, h / 4
        e = f.exact(f.spread(d, t), reach=4)
        return f.stencil(e, t, self.blocks.parts), e

    def _along(self, entries: Tensor) -> dict[str, Tensor]:
        x = self.differences.case.leaves[self.name]
        d = torch.zeros_like(x).reshape(-1)
        d[entries] = 1.0
        if (held := self.differences.held.get(self.name)) is not None:
            d[held.reshape(-1)] = 0.0
        return {self.name: d.reshape(x.shape)}
