"""Layers that draw random numbers."""

from __future__ import annotations

import math

from torch import Tensor

from harness.checks import Check
from harness.draws import rng_of, signed_like
from harness.outcome import Outcome
from harness.report import Finding
from harness.session import Observation, Session

RATES = ("p", "rate", "drop", "dropout", "p_drop", "drop_prob", "drop_rate", "dropout_rate", "dropout_prob")
"""Options that a dropout-like layer is told its probability by."""

SURE = 1e-9
"""The probability of a false alarm that a test on random draws may have at most."""

SEEDS = 64
"""Up to how many seeds are tried to see a layer draw."""


def mask(session: Session) -> Observation:
    """A mask is drawn anew for each train forward, backward uses the forward's, and evaluation draws none."""
    case = session.case
    if case.mode == "eval" and "train" in case.subject.modes:
        return _evaluation(session)
    if not session.random:
        return _silent(session)
    if not case.replays:
        return Observation(
            Outcome.INCONCLUSIVE, reason="two forwards under one seed differ: its generator can't be replayed"
        )
    return _same_mask(session)


def _evaluation(session: Session) -> Observation:
    case = session.case
    if session.random:
        finding = Finding(("output", None), "two evaluations differ", "a deterministic evaluation", "exact", 1, 1)
        return Observation(Outcome.FAIL, reason="eval draws random numbers", finding=finding)
    if not case.subject.draws:
        return Observation(Outcome.SKIP, reason="the layer draws no random numbers")
    return Observation(Outcome.PASS, {"output": 0.0})


def _silent(session: Session) -> Observation:
    """No draw was seen: wrong where an option says that there is one and enough was tried to be sure."""
    case = session.case
    rate = next((v for n, v in case.sizes.items() if n in RATES and isinstance(v, float) and 0 < v < 1), None)
    if rate is None:
        return Observation(Outcome.SKIP, reason="the layer draws no random numbers")
    entries = sum(y.numel() for y in case.base.outputs)
    needed = math.log(SURE) / (entries * math.log(max(rate, 1 - rate))) if entries else math.inf
    if needed > SEEDS:
        return Observation(Outcome.SKIP, reason="too few entries to tell whether it draws")
    if any(case.differs(seed) for seed in range(case.seed + 2, case.seed + 2 + math.ceil(needed))):
        return _same_mask(session)
    finding = Finding(("output", None), "the same under every seed", f"random in training at {rate}", "exact", 1, 1)
    return Observation(Outcome.FAIL, reason="the train forward draws nothing", finding=finding)


def _same_mask(session: Session) -> Observation:
    """Where outputs are inputs times 0 or one constant, backward must multiply by the same."""
    case = session.case
    found = _gain(session)
    if found is None:
        return Observation(
            Outcome.PASS, {"output": 0.0}, reason="draws anew under each seed; no mask can be read off its outputs"
        )
    name, gain = found
    g, v = case.base.gradients.get(name), case.base.cotangents[0]
    if g is None or g.shape != v.shape:
        return Observation(Outcome.FAIL, reason=f"no gradient of {name} to compare with the mask")
    wrong = (g != 0) != (gain != 0)
    if bool(wrong.any()):
        k = tuple(int(i) for i in wrong.nonzero()[0])
        finding = Finding((name, k), float(g[k]), float((gain * v)[k]), 0.0, int(wrong.sum()), wrong.numel())
        return Observation(Outcome.FAIL, reason="backward uses another mask than forward", finding=finding)
    return Observation(Outcome.PASS, {name: 0.0})


def _gain(session: Session) -> tuple[str, Tensor] | None:
    """The input that the output is an elementwise 0-or-constant multiple of, with the multiples."""
    case = session.case
    y = case.base.outputs[0]
    for n in case.subject.wanted("input"):
        x = case.leaves[n]
        if x.shape != y.shape or not x.numel() or not bool((x != 0).all()):
            continue
        gain = y / x
        kept = gain[gain != 0]
        constant = not kept.numel() or bool(((kept - kept[0]).abs() <= 8 * case.u * kept[0].abs()).all())
        if constant and _multiplies(session, n, gain):
            return n, gain
    return None


def _multiplies(session: Session, name: str, gain: Tensor) -> bool:
    """Whether other inputs under the same seed give the same multiples: one entry alone is a multiple of anything."""
    case = session.case
    other = case.leaves[name] * (1 + signed_like(gain, rng_of(case.seed, 17)) / 4)
    y = case.outputs_at({**case.leaves, name: other})[0]
    return bool(((y - gain * other).abs() <= 8 * case.u * (gain * other).abs()).all())


CHECKS = (
    Check("mask", "random", "a new mask each train forward, the same in backward, none in eval", mask, given=False),
)
