"""Small displacements of some leaves to either side, and how far off a claim is along them, block by block."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from harness.oracles.differences import Differences
from harness.oracles.estimate import Direction
from harness.oracles.pairing import Pairing
from harness.oracles.stencil import Parts, Stencil

CURVED = 16
"""How many steps' worth of its slopes a kink's may change by: a function at home on a sixteenth of the spread."""


@dataclass(frozen=True)
class Claimed:
    """A cotangent, and the gradients that backward gives for it."""

    v: Tensor
    gradients: Mapping[str, Tensor]

    def along(self, e: Direction, paired: Pairing) -> Tensor:
        """⟨g, e⟩ of each block."""
        return paired.of_entries(flat(self.gradients, e) * flat(e, e))


@dataclass(frozen=True)
class Step:
    """A displacement, and what it changes the outputs by."""

    e: Direction
    h: float
    up: Tensor
    down: Tensor

    @classmethod
    def of(cls, f: Differences, d: Direction, h: float) -> Step:
        """Along d, in units of each leaf's spread, rounded to what floating point can hold.

        Raises:
            Refused: it leaves the domain.
        """
        e = f.exact(f.spread(d, h))
        return cls(e, h, f.at(e, 1.0) - f.y, f.at(e, -1.0) - f.y)

    @cached_property
    def central(self) -> Tensor:
        """Half of what lies between both sides."""
        return (self.up - self.down) / 2

    @cached_property
    def bend(self) -> Tensor:
        """Half of what the changes to both sides differ by: at a kink either is as far from the central one."""
        return (self.up + self.down).abs() / 2

    @property
    def steepest(self) -> Tensor:
        """The larger slope of each output, in units of the spread."""
        return torch.maximum(self.up.abs(), self.down.abs()) / self.h

    @property
    def length(self) -> float:
        """The displacement's, in the leaves' units."""
        return float(flat(self.e, self.e).norm())

    def still(self, v: Tensor, digits: float) -> bool:
        """Whether no output moves beyond its last digits."""
        return max(float((v * c).norm()) for c in (self.up, self.down)) <= digits

    def off(self, claim: Claimed, paired: Pairing, bent: Tensor) -> Tensor:
        """|claimed − differenced| of each block; what is bent may be anything between its one-sided changes."""
        off = (claim.along(self.e, paired) - paired.of_outputs(claim.v * self.central)).abs()
        bend = self.bend + CURVED * self.h * (self.up.abs() + self.down.abs())
        return (off - paired.of_outputs(claim.v.abs() * torch.where(bent, bend, 0.0))).clamp(min=0.0)


@dataclass(frozen=True)
class Six:
    """Three steps to either side: the derivative with a bound."""

    f: Differences
    e: Direction
    t: float
    points: Mapping[float, Tensor]

    @classmethod
    def of(cls, f: Differences, d: Direction, t: float) -> Six:
        """At ± t, ± 2t and ± 4t along d, in units of each leaf's spread.

        Raises:
            Refused: one leaves the domain.
        """
        e = f.exact(f.spread(d, t), reach=4)
        return cls(f, e, t, {k: f.at(e, k) for k in (1.0, 2.0, 4.0, -1.0, -2.0, -4.0)})

    def off(self, claim: Claimed, paired: Pairing) -> tuple[Tensor, Tensor]:
        """|claimed − differenced| of each block over a step of t, and the bound on the difference's error. The rounding is taken to be
        no more than the outputs' last digits, so that it excuses nothing."""
        y, u, parts = self.f.y, self.f.case.u, Parts(paired.outputs, paired.count)
        stencil = Stencil(self.points.__getitem__, y, claim.v, u * y.abs(), u, self.t, parts)
        claimed = claim.along(self.e, paired)
        return (claimed - self.t * stencil.value).abs(), self.t * stencil.error + 32 * u * claimed.abs()


def flat(tensors: Mapping[str, Tensor], names: Sequence[str] | Direction) -> Tensor:
    """Those of these leaves, of one axis."""
    return torch.cat([tensors[n].detach().double().reshape(-1) for n in names])


def least(e: Direction, slopes: Mapping[str, float], paired: Pairing) -> Tensor:
    """By how much errors of these sizes in single entries change the outputs of each block at least."""
    return paired.least(torch.cat([slopes[n] * t.detach().double().abs().reshape(-1) for n, t in e.items()]))


def share(off: Tensor, allowed: Tensor) -> Tensor:
    """What is off as a share of what is allowed: 0 for nothing of nothing."""
    return (off / allowed).nan_to_num(0.0, math.inf)
