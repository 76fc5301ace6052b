"""Where a gradient is wrong: by autograd if differences confirm it, entry by entry, or by bisection."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from harness.estimate import Direction
from harness.line import Line
from harness.outcome import Outcome
from harness.verdict import ROUNDINGS, Verdict

if TYPE_CHECKING:
    from harness.judge import Judge

LOCAL = 150
"""Up to how many entries of a tensor that is wrong somewhere are all differenced to say where; beyond, it is bisected."""

KINK_DIRECTIONS = 8
"""How many random directions through the entries at a kink are tried beside the one that moves them together."""


class Place:
    """Looks for the wrong entries of a judge's case, and decides at kinks."""

    def __init__(self, judge: Judge) -> None:
        self.judge = judge

    def refuted(self, name: str, scale: float, lines: list[Line], directions: list[Direction]) -> Verdict:
        """A smooth line is outside its bound: say where, by autograd if it is confirmed, by entries, or by bisection."""
        if self.judge.trusted is not None and self.judge.vouched(name):
            return self._against_autograd(name, scale, lines)
        if self.judge.gradients[name].numel() <= LOCAL:
            return self.by_entries(name, scale)
        worst = next(k for k, line in enumerate(lines) if line.refuted)
        return self._bisected(name, scale, lines[worst], directions[worst])

    def _bisected(self, name: str, scale: float, line: Line, d: Direction) -> Verdict:
        """Halve the entries that the line goes through as long as one half alone refutes the claim; then look at them."""
        g, flat = self.judge.gradients[name], d[name].flatten()
        left = torch.arange(g.numel())
        while len(left) > 16:
            halves = (left[: len(left) // 2], left[len(left) // 2 :])
            narrowed = next((h for h in halves if self.judge.line(name, self._through(name, flat, h)).refuted), None)
            if narrowed is None:
                break
            left = narrowed
        spread = torch.arange(0, g.numel(), max(1, g.numel() // 16))
        verdict = self.by_entries(name, scale, sorted({*left[:16].tolist(), *spread.tolist()}))
        if verdict.outcome is Outcome.FAIL:
            return verdict
        return Verdict(
            Outcome.FAIL,
            line.bound,
            f"along a direction through all of {name} backward is off by {line.out:.2e} ± {line.error:.1e}",
        )

    def _through(self, name: str, flat: Tensor, entries: Tensor) -> Direction:
        part = torch.zeros_like(flat)
        part[entries] = flat[entries]
        return {name: part.reshape(self.judge.gradients[name].shape)}

    def by_entries(self, name: str, scale: float, entries: list[int] | None = None) -> Verdict:
        """Entry by entry; those at a kink together too."""
        g, need = self.judge.gradients[name], self.judge.need(name, scale)
        looked = list(range(g.numel())) if entries is None else entries
        expected = torch.full(g.shape, float("nan"), dtype=torch.float64, device=g.device)
        allowed = torch.zeros(g.shape, dtype=torch.float64, device=g.device)
        kinks, unknown, outside = [], 0, False
        for k in looked:
            line = self.judge.entry(name, k, need).forgiven(ROUNDINGS * float(self.judge.rounding[name].flatten()[k]))
            kinks += [k] * line.kinked
            unknown += not (line.settled(need) or line.outside or line.kinked)
            outside = outside or line.outside
            known = math.isfinite(line.error)
            expected.view(-1)[k] = line.expected if known else g.flatten()[k].double()
            allowed.view(-1)[k] = line.error if known else 0.0
        resolution = self.judge.relative(float(allowed.max()), scale)
        if outside:
            wrong = int(((expected - g.double()).abs() > allowed).sum())
            return Verdict(Outcome.FAIL, resolution, f"{wrong} of {len(looked)} entries are out", expected, allowed)
        if kinks and (why := self._kinks_together(name, kinks, need)):
            return Verdict(Outcome.FAIL, resolution, why)
        if unknown or len(looked) < g.numel():
            what = f"{unknown} of {len(looked)} entries could not be resolved: the forward's own rounding hides them"
            return Verdict(Outcome.INCONCLUSIVE, resolution, what)
        said = f"{len(kinks)} entries of {name} sit at a kink; accepted between the one-sided slopes" if kinks else ""
        return Verdict(Outcome.PASS, resolution, said)

    def _kinks_together(self, name: str, kinks: list[int], need: float) -> str:
        """Whether the gradient is impossible along a direction through several entries at a kink; empty if it is not.

        Entry by entry alone, a max that gives each of three tied entries the full gradient would pass. Along directions
        that keep the kink (all of them together) the function is smooth, and along others the claim must lie between the
        one-sided slopes too.
        """
        n = self.judge.gradients[name].numel()
        together = torch.ones(n, dtype=self.judge.case.dtype, device=self.judge.gradients[name].device)
        others = [self.judge.differences.direction(40 + k, [name])[name].flatten() for k in range(KINK_DIRECTIONS)]
        for flat in (together, *others):
            line = self.judge.line(name, self._through(name, flat.to(together), torch.tensor(kinks)))
            if line.outside:
                return (
                    f"{len(kinks)} entries sit at a kink, each between its one-sided slopes, but together they are not a "
                    f"gradient: along a direction through them backward gives {line.expected + line.out:.6g} or "
                    f"{line.expected - line.out:.6g}, possible is {line.expected:.6g}"
                )
        return ""

    def _against_autograd(self, name: str, scale: float, lines: list[Line]) -> Verdict:
        """The claim is refuted along a line and autograd is confirmed: autograd says where."""
        assert self.judge.trusted is not None
        g, r = self.judge.gradients[name].double(), self.judge.trusted[name].double()
        bound = 64 * self.judge.case.u * (r.abs() + scale) + ROUNDINGS * self.judge.rounding[name]
        wrong = int(((g - r).abs() > bound).sum())
        resolution = self.judge.relative(min(line.bound for line in lines if line.refuted), scale)
        return Verdict(Outcome.FAIL, resolution, f"{wrong} of {g.numel()} entries are out", r, bound)
