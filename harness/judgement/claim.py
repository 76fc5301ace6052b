"""The gradients that a backward claims, their size and their own rounding; those that can't be compared at all."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from harness.draws import rng_of
from harness.judgement.edges import Edges
from harness.judgement.verdict import Verdict
from harness.once import once
from harness.oracles.differences import Differences
from harness.outcome import Outcome
from harness.tensors.arrays import all_finite, rms

SINGULAR = 64
"""How many of the entries that are not finite are looked at, one by one, for a singular point: all of them up to here, beyond it
so many drawn by the case's seed, for each costs a dozen forwards."""

NEIGHBOURS = 4
"""At how many neighbouring points the backward's rounding is measured."""

LARGE = 2**14
"""Up to how many entries of a tensor: of more, so many gradients take memory, and some show their rounding."""

MORE = 24
"""At how many before a claim is failed: of numbers that mostly round to nothing, as do·v − do·o where one weight is 1, four points
may show none."""


NONE, NONE_WANTED = (
    "backward gave no gradient of it",
    ": if none is wanted, as of a network's data, hand it over as const({})",
)


class Claim:
    """What one backward says of one case."""

    def __init__(self, differences: Differences) -> None:
        self.differences, self.case = differences, differences.case
        found, held = self.case.base.gradients, differences.held
        given = {n: g.contiguous() for n in self.case.wanted if (g := found.get(n)) is not None}
        self.gradients = {n: g.masked_fill(held[n], 0.0) if n in held else g for n, g in given.items()}
        self.neighbours = NEIGHBOURS

    @once
    def malformed(self) -> dict[str, Verdict]:
        """The gradients that can't be compared at all."""
        return {n: v for n in self.case.wanted if (v := self._malformed(n)) is not None}

    def _malformed(self, name: str) -> Verdict | None:
        g, x = self.gradients.get(name), self.case.leaves[name]
        if g is None:
            of_input = self.case.subject.leaves[name].role == "input"
            return Verdict(Outcome.FAIL, reason=NONE + (NONE_WANTED.format(name) if of_input else ""))
        if g.shape != x.shape:
            said = f"its gradient has shape {tuple(g.shape)}, it has {tuple(x.shape)}"
            return Verdict(Outcome.FAIL, reason=said + self._per_example(name, g))
        if g.numel() == 0:
            return Verdict(Outcome.PASS, 0.0)
        if not math.isfinite(self.sizes[name]) and not all_finite(g) and not self._singular(name):
            bad = int((~torch.isfinite(g)).sum())
            return Verdict(Outcome.FAIL, reason=f"{bad} of {g.numel()} entries of the gradient are not finite")
        return None

    def _per_example(self, name: str, g: Tensor) -> str:
        """What is said of a gradient that has the examples of the batch as one more axis."""
        inputs = [n for n, leaf in self.case.subject.leaves.items() if leaf.role == "input" and n != name]
        sizes = {self.case.leaves[n].shape[0] for n in inputs if self.case.leaves[n].dim()}
        if g.shape[1:] != self.case.leaves[name].shape or not g.dim() or g.shape[0] not in sizes:
            return ""
        return f": one for each of {g.shape[0]} examples (not supported), sum them: .sum(0)"

    def _singular(self, name: str) -> bool:
        """Whether the function has no slope wherever the gradient is not finite; if so these entries are set aside."""
        g = self.gradients[name]
        bad = ~torch.isfinite(g)
        places = bad.flatten().nonzero().flatten().tolist()
        if len(places) > SINGULAR:
            places = rng_of(self.case.seed, 43).choice(places, SINGULAR, replace=False).tolist()
        edges = Edges(self.differences)
        diverging = [k for k in places if edges.diverges(name, k)]
        if not diverging:
            return False
        if others := [k for k in places if k not in diverging]:
            torn = edges.torn(name, diverging)
            if not all(edges.moves(name, k, torn) for k in others):
                return False
        self.differences.held[name] = bad
        self.gradients[name] = g.masked_fill(bad, 0.0)
        self.sizes[name] = rms(self.gradients[name])
        return True

    @once
    def sizes(self) -> dict[str, float]:
        """The rms of each claimed gradient."""
        return {n: rms(g) for n, g in self.gradients.items()}

    @once
    def spreads(self) -> dict[str, Tensor]:
        """The spread of the claimed gradients over neighbouring points, entry by entry.

        Their spread, not their distance from the claim: a claim that is wrong at this very point alone stands out.
        """
        near = [self.case.neighbour(k).gradients for k in range(self.neighbours)]
        found = {}
        for n, g in self.gradients.items():
            others = [h.double() for near_by in near if (h := near_by.get(n)) is not None and h.shape == g.shape]
            if n in self.differences.held:
                others = [h.masked_fill(self.differences.held[n], 0.0) for h in others]
            found[n] = torch.stack(others).std(0) if len(others) > 1 else torch.zeros_like(g, dtype=torch.float64)
        return found

    @once
    def rounding(self) -> dict[str, Tensor]:
        """The rounding of each entry of the claimed gradients: never less than the median entry's, as a spread over few
        points may be small by chance."""
        return {n: s + s.median() if s.numel() else s for n, s in self.spreads.items()}

    def coarser(self, name: str) -> bool:
        """Whether at more points the rounding of some entry of a tensor is seen to be larger; it counts as that from here on."""
        if self.neighbours == MORE or self.gradients[name].numel() > LARGE:
            return False
        before, self.neighbours = self.rounding, MORE
        for kept in ("spreads", "rounding"):
            self.__dict__.pop(kept, None)
        return bool((self.rounding[name] > before[name]).any())
