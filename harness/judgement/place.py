"""Where a gradient is wrong: by autograd if differences confirm it, entry by entry, or by bisection; by blocks where sizes differ."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from harness.judgement.edges import Edges
from harness.judgement.kinks import FEW, Kinks, through
from harness.judgement.line import CLOSER, Line
from harness.judgement.together import Entries, Together
from harness.judgement.verdict import ROUNDINGS, Verdict
from harness.oracles.blocks import Blocks
from harness.oracles.differences import SECOND
from harness.oracles.estimate import Direction
from harness.outcome import Outcome

if TYPE_CHECKING:
    from harness.judgement.judge import Judge

LOCAL = 150
"""Up to how many entries of a tensor that is wrong somewhere are all differenced to say where; beyond, it is bisected."""

SUSPECTS = 8
"""How many of the entries that a row shows to be wrong, the worst, are looked at alone before anything is called wrong."""

CERTAIN = 2
"""How many entries of a tensor without rows are refuted in full before two steps that refute another one count as enough."""


class Place:
    """Looks for the wrong entries of a judge's case."""

    def __init__(self, judge: Judge) -> None:
        self.judge = judge

    def refuted(self, name: str, scale: float, lines: list[Line], directions: list[Direction]) -> Verdict:
        """A smooth line is outside its bound: say where, by autograd if it is confirmed, by entries, or by bisection."""
        if self.judge.trusted is not None and self.judge.vouched(name):
            return self._against_autograd(name, scale, lines)
        if self.judge.claim.gradients[name].numel() <= LOCAL or self.judge.blocks(name) is not None:
            verdict = self.by_entries(name, scale)
            if verdict.outcome is Outcome.FAIL or self.judge.claim.gradients[name].numel() <= LOCAL:
                return verdict
        worst = next(k for k, line in enumerate(lines) if line.refuted)
        return self._bisected(name, scale, lines[worst], directions[worst])

    def _bisected(self, name: str, scale: float, line: Line, d: Direction) -> Verdict:
        """Halve the entries that the line goes through as long as one half alone refutes the claim; then look at them."""
        g, flat = self.judge.claim.gradients[name], d[name].flatten()
        left = torch.arange(g.numel())
        while len(left) > 16:
            halves = (left[: len(left) // 2], left[len(left) // 2 :])
            refuted: list[Tensor] = []
            for half in halves:
                part = through(name, g, flat, half)
                if self.judge.line(name, part).refuted:
                    refuted.append(half)
                    if not self._jumps(part):
                        break  # else the other half may be wrong where nothing jumps
            if not refuted:
                break
            left = refuted[-1]
        spread = torch.arange(0, g.numel(), max(1, g.numel() // 16))
        verdict = self.by_entries(name, scale, sorted({*left[:16].tolist(), *spread.tolist()}))
        if verdict.outcome is Outcome.FAIL or self._jumps(through(name, g, flat, left)):
            return verdict
        return Verdict(
            Outcome.FAIL,
            line.bound,
            f"along a direction through all of {name} backward is off by {line.out:.2e} ± {line.error:.1e}",
        )

    def by_entries(self, name: str, scale: float, entries: list[int] | None = None) -> Verdict:
        """Entry by entry, many at a time where they do not interact; those at a kink together too."""
        g, need = self.judge.claim.gradients[name], max(self.judge.need(name, scale), self.judge.stationary(name))
        blocks = self.judge.blocks(name) if entries is None and g.numel() > FEW else None
        if blocks is not None:
            found, alone = self._together(name, need, blocks)
        else:
            found, alone = Entries.of(g.double().reshape(-1)), list(range(g.numel())) if entries is None else entries
        if (held := self.judge.differences.held.get(name)) is not None:
            found.settled |= held.reshape(-1)
        outside = self._each(found, name, [k for k in alone if not bool(found.settled[k])], need)
        if not outside and len(rest := self._cleared(found, alone)) <= LOCAL:
            outside = [k for k in rest if self._alone(found, name, k, need)]
        looked = range(g.numel()) if blocks is not None else alone
        known = found.error.isfinite()
        resolution = self.judge.relative(float(found.error[known].max()) if bool(known.any()) else math.inf, scale)
        if outside:
            return self._out(name, found, found.error, resolution, len(looked))
        kinks = found.kinked.nonzero().flatten().tolist()
        if kinks:
            self.judge.kinks[name] = kinks
        together = Kinks(self.judge)
        if together.meet(name, kinks, blocks) and (
            why := together.impossible({name: kinks}, need, f"{len(kinks)} entries")
        ):
            return Verdict(Outcome.FAIL, resolution, why)
        unknown = len(looked) - int(found.settled.sum()) - len(kinks)
        if unknown or len(looked) < g.numel():
            f = self.judge.differences
            edges, d = Edges(f), f.direction(1, [name])
            if edges.begins(d):
                why = "the outputs jump here"
            elif edges.jumps(d):
                why = "no output moves until it jumps, as of a function that rounds"
            else:
                why = self._hidden(name, resolution, scale)
            what = f"{unknown} of {len(looked)} entries could not be resolved: {why}"
            return Verdict(Outcome.INCONCLUSIVE, resolution, what)
        said = f"{len(kinks)} entries of {name} sit at a kink; accepted between the one-sided slopes" if kinks else ""
        return Verdict(Outcome.PASS, resolution, said)

    def _each(self, found: Entries, name: str, entries: list[int], need: float) -> list[int]:
        """Those of these entries that are wrong. Once `CERTAIN` of them are, two steps that refute another one are enough; but the
        worst, which is shown, is looked at in full."""
        g, outside, plainly = self.judge.claim.gradients[name].double().reshape(-1), list[int](), set[int]()
        for k in entries:
            plain = len(outside) >= CERTAIN
            if self._alone(found, name, k, need, plain):
                outside.append(k)
                if plain:
                    plainly.add(k)
        while plainly:
            worst = max(outside, key=lambda k: float((g[k] - found.expected[k]).abs() - found.error[k]))
            if worst not in plainly or self._alone(found, name, worst, need):
                break
            outside.remove(worst)
            plainly.remove(worst)
        return outside

    def _hidden(self, name: str, resolution: float, scale: float) -> str:
        """What rounding hides, and what would show it."""
        why, size, case = "the forward's own rounding hides them", self.judge.claim.sizes[name], self.judge.case
        if not 0 < resolution < math.inf:
            return why
        reached = resolution * scale if scale > 0 else resolution
        why += f": of size {size:.0e}, they are known to within {reached:.0e}"
        if not case.replays:
            return f"{why}, for forwards under one seed differ by {float(case.jitter.amax()):.0e}: make them the same"
        why += "; inputs at which the outputs move more would show them"
        return (
            f"{why}, resolution=1e{math.ceil(math.log10(2 * resolution))} asks for no more"
            if resolution < 0.05
            else why
        )

    def _together(self, name: str, need: float, blocks: Blocks) -> tuple[Entries, list[int]]:
        """What rows of entries show, and which entries are to be looked at alone: the worst suspects, and what is open."""
        g = self.judge.claim.gradients[name].double().reshape(-1)
        slack = ROUNDINGS * self.judge.claim.rounding[name].reshape(-1)
        found = Together(self.judge.along(name), name, g, slack, torch.full_like(g, need), blocks).climbed()
        open_ = (~found.done).nonzero().flatten().tolist()
        return found, [*self._suspects(found, g), *(open_ if len(open_) <= LOCAL else [])]

    def _suspects(self, found: Entries, g: Tensor) -> list[int]:
        """The worst of the entries that rows show to be wrong."""
        excess = torch.where(found.suspect, (g - found.expected).abs() / found.error.clamp(min=1e-300), -1.0)
        return excess.topk(min(SUSPECTS, int(found.suspect.sum()))).indices.tolist()

    def _cleared(self, found: Entries, alone: list[int]) -> list[int]:
        """The suspects that were not looked at alone: where the worst of them are right, rows say nothing of the others either,
        as of a sort of many equal numbers."""
        return [k for k in found.suspect.nonzero().flatten().tolist() if k not in alone]

    def in_regimes(self, name: str, verdict: Verdict) -> Verdict:
        """A tensor whose entries differ widely in size is judged by blocks too: beside 10⁸ an error of 10⁻⁸ is none."""
        if verdict.outcome is not Outcome.PASS or self.judge.case.echo or not self.judge.uneven(name):
            return verdict
        blocks = self.judge.regimes(name, self._seen(name))
        return verdict if blocks is None else self.by_regimes(name, blocks) or verdict

    def _seen(self, name: str) -> float:
        """The smallest error of an entry that tight agreement of the whole has shown not to be there; infinite where it was not
        accepted so. A difference alone may be small by chance, and must be closer."""
        if (accepted := self.judge.quick.get(name)) is None:
            return math.inf
        closer = 1 if self.judge.trusted is not None and name in self.judge.tight else CLOSER
        return closer * accepted.resolution * self.judge.claim.sizes[name]

    def by_regimes(self, name: str, blocks: Blocks) -> Verdict | None:
        """Every block by a scale of its own; FAIL where an entry is out, else nothing that the whole does not say."""
        g, entries = self.judge.claim.gradients[name].double().reshape(-1), blocks.entries
        spread, need, slack = self.judge.claim.spreads[name].reshape(-1), torch.zeros_like(g), torch.zeros_like(g)
        need[entries] = self.judge.case.tau * g[entries].square().mean(0).sqrt().expand_as(entries)
        slack[entries] = ROUNDINGS * (spread[entries] + spread[entries].median(0).values)
        slack[entries] += self._expressible(name, blocks)
        vouched = self._vouched(name, torch.maximum(need / CLOSER, slack))
        found = Together(self.judge.along(name), name, g, slack, need, blocks, self._seen(name), vouched).climbed()
        wrong = [k for k in self._suspects(found, g) if self._outside(name, k, float(need[k]), float(slack[k]))]
        if not wrong:
            return None
        verdict = self._out(name, found, found.error + slack, self.judge.case.tau, len(g))
        return replace(verdict, reason=f"{verdict.reason}, small ones beside much larger ones")

    def _vouched(self, name: str, allowed: Tensor) -> Tensor | None:
        """The entries on which autograd agrees as far as is allowed; None where it is no second opinion."""
        if self.judge.trusted is None:
            return None
        apart = self.judge.claim.gradients[name].double() - self.judge.trusted[name].double()
        return apart.abs().reshape(-1) <= allowed

    def _out(self, name: str, found: Entries, allowed: Tensor, resolution: float, looked: int) -> Verdict:
        """FAIL, with what is expected where that is known and how much may be missing there."""
        g, known = self.judge.claim.gradients[name], found.error.isfinite()
        expected = torch.where(known, found.expected, math.nan).reshape(g.shape)
        allowed = torch.where(known, allowed, 0.0).reshape(g.shape)
        wrong = int(((expected - g.double()).abs() > allowed).sum())
        return Verdict(Outcome.FAIL, resolution, f"{wrong} of {looked} entries are out", expected, allowed)

    def _expressible(self, name: str, blocks: Blocks) -> Tensor:
        """For each block the smallest slope that its outputs can express where they are as large as they are nearby, or where
        its entries are equal.

        What is small here may be the difference of larger numbers inside (1 + tanh at −7), or lost beside them (the entropy of
        probabilities of which one is nearly 1), and as coarse as they.
        """
        f = self.judge.differences
        sides = [far.abs() for side in (1.0, -1.0) if (far := f.far([name], side)) is not None]
        sides.append(self.judge.level(name, blocks).abs())
        far = torch.stack(sides).amax(0) if sides else torch.full_like(f.y, torch.inf)
        unit = f.scales[name].expand(self.judge.case.leaves[name].shape).reshape(-1)[blocks.entries]
        smallest = 64 * self.judge.case.u * blocks.parts.norm(blocks.parts.taken(f.v * far)) / unit
        return smallest.nan_to_num(torch.inf) / SECOND

    def _outside(self, name: str, k: int, need: float, slack: float) -> bool:
        return self.judge.entry(name, k, need, slack).outside

    def _alone(self, found: Entries, name: str, k: int, need: float, plain: bool = False) -> bool:
        """One entry, written into what is found; whether the claim is wrong there."""
        slack = ROUNDINGS * float(self.judge.claim.rounding[name].flatten()[k])
        line = self.judge.entry(name, k, need, slack, plain)
        if line.refuted and self._jumps(self.judge.differences.one(name, k)):
            line = Line.unknown(1.0)
        found.kinked[k] = line.kinked and not line.outside
        found.settled[k] = line.settled(need) and not line.kinked
        found.suspect[k] = line.outside
        if math.isfinite(line.error):
            found.expected[k], found.error[k] = line.expected, line.error
        return line.outside

    def _jumps(self, d: Direction) -> bool:
        """Whether the outputs jump at the very point, as R of A = QR where a column is zero below the diagonal: differences meet
        the function beside the point, which may be smooth there, and refute nothing at it."""
        return Edges(self.judge.differences).begins(d)

    def _against_autograd(self, name: str, scale: float, lines: list[Line]) -> Verdict:
        """The claim is refuted along a line and autograd is confirmed: autograd says where."""
        assert self.judge.trusted is not None
        g, r = self.judge.claim.gradients[name].double(), self.judge.trusted[name].double()
        bound = 64 * self.judge.case.u * (r.abs() + scale) + ROUNDINGS * self.judge.claim.rounding[name]
        if not (wrong := int(((g - r).abs() > bound).sum())):  # what refutes it would refute autograd's too
            return Verdict(Outcome.PASS, self.judge.relative(float(bound.max()), scale))
        resolution = self.judge.relative(min(line.bound for line in lines if line.refuted), scale)
        return Verdict(Outcome.FAIL, resolution, f"{wrong} of {g.numel()} entries are out", r, bound)
