"""Layers that draw random numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from harness.case import Case
from harness.checks import Check
from harness.domain import Refused
from harness.draws import rng_of, signed_like
from harness.findings.chances import UNLIKELY, dependent, of_maps, share_kept, shares
from harness.findings.disturbance import adds_noise, disturbs, is_slope, multiplies
from harness.outcome import Outcome
from harness.reading.masks import RATES
from harness.report import Finding
from harness.session import Observation, Session

VAGUE = ("p", "rate")
"""Those that may be a power or a share, unless the layer does nothing but scale its input."""

SAMPLED = (
    "draws in evaluation too, and no mask or noise on an input is seen in it: right of a layer that is a sample, for which write "
    'skip=("mask",), and wrong of one that disturbs training'
)

SURE = 1e-9
"""The probability of a false alarm that a test on random draws may have at most."""

SEEDS = 64
"""Up to how many seeds are tried to see a layer draw."""

LOOKS = (7, 21, 63)
"""After how many train forwards the draws are looked at: what they show already ends it."""

ENOUGH = 0.01
"""The bias that need not be seen more finely."""

FEW = 8
"""How many train forwards show whether zeros stay zeros."""


def mask(session: Session) -> Observation:
    """A mask is drawn anew for each train forward, backward uses the forward's, and evaluation draws none."""
    case = session.case
    if case.mode == "eval" and "train" in case.subject.modes:
        return _evaluation(session)
    if case.handed and (other := case.subject.strays):
        finding = Finding(("generator", None), f"draws from {other}'s global one", "from its own", "exact", 1, 1)
        return Observation(Outcome.FAIL, reason=f"{finding.analytic}, not from the generator it holds", finding=finding)
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
        if not disturbs(case):
            return Observation(Outcome.INCONCLUSIVE, unverified={"output": math.inf}, reason=SAMPLED)
        finding = Finding(("output", None), "two evaluations differ", "a deterministic evaluation", "exact", 1, 1)
        return Observation(Outcome.FAIL, reason="eval draws random numbers", finding=finding)
    if not case.subject.draws:
        return Observation(Outcome.SKIP, reason="the layer draws no random numbers")
    return Observation(Outcome.PASS, {"output": 0.0})


def _silent(session: Session) -> Observation:
    """No draw was seen: wrong where an option says that there is one and enough was tried to be sure."""
    case = session.case
    said = {n: v for n, v in case.sizes.items() if n in RATES and isinstance(v, float) and 0 < v < 1}
    vague = said.keys() <= {*VAGUE} and not _may_drop(session, said.values())
    if not said or vague or any(is_slope(case, rate) for rate in said.values()):
        return Observation(Outcome.SKIP, reason="the layer draws no random numbers")
    rate = next(iter(said.values()))
    entries = sum(int(y.count_nonzero()) for y in case.base.outputs)  # zero is zero under every mask
    needed = math.log(SURE) / (entries * math.log(max(rate, 1 - rate))) if entries else math.inf
    if needed > SEEDS:
        return Observation(Outcome.SKIP, reason="too few entries to tell whether it draws")
    if any(case.differs(seed) for seed in range(case.seed + 2, case.seed + 2 + math.ceil(needed))):
        return _same_mask(session)
    finding = Finding(("output", None), "the same under every seed", f"random in training at {rate}", "exact", 1, 1)
    return Observation(Outcome.FAIL, reason="the train forward draws nothing", finding=finding)


def _may_drop(session: Session, rates: Iterable[float]) -> bool:
    """Whether it does nothing but scale its input, and not by a number that is called a rate: `rate * x` is a layer of its own."""
    found = _gain(session)
    return found is not None and not any(torch.allclose(found[1], torch.full_like(found[1], r)) for r in rates)


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
        if constant and multiplies(case, n, gain):
            return n, gain
    return None


def unbiased(session: Session) -> Observation:
    """The mean of the train outputs over draws is the eval output, and the entries of a mask are drawn independently.

    A sequential test: it ends with the first look at which the mean is off, or finer than need be. Asked under the promise
    "unbiased" and of layers that keep zeros, where evaluation is the identity or a multiple of it. By Hoeffding's inequality the mean of n
    independent numbers of ranges rᵢ is off by more than √(ln(2/δ) Σrᵢ²/2)/n with probability δ; ranges are those seen. The
    share of entries that a mask keeps is held to Chernoff's.
    """
    case = session.case
    if case.mode != "train" or "eval" not in case.subject.modes or not case.subject.draws:
        return Observation(Outcome.SKIP, reason="asked in training, of layers that draw there and have an eval mode")
    if not case.replays:
        return Observation(
            Outcome.INCONCLUSIVE, reason="two forwards under one seed differ: it can't be drawn from at will"
        )
    expected = case.at(mode="eval").outputs_at(case.leaves)[0].double().flatten()
    inputs = case.subject.wanted("input")
    identity = any(torch.equal(expected, case.leaves[n].double().flatten()) for n in inputs)
    # noise that is added has no mask
    identity = identity or (any(_is_multiple(case.at(mode="eval"), n, expected) for n in inputs) and _keeps_zeros(case))
    if not identity and "unbiased" not in case.promises:
        return Observation(
            Outcome.SKIP,
            reason='asked under the promise "unbiased", or where evaluation is the identity or a multiple of it',
        )
    seen, adds = _seen(session, expected, identity)
    promised = "unbiased" in case.promises
    if seen.outcome is Outcome.FAIL and not promised and not adds and not _keeps_zeros(case):
        return Observation(
            Outcome.SKIP, reason='it puts other numbers in place of entries: asked under the promise "unbiased"'
        )
    return seen


def _is_multiple(case: Case, name: str, y: Tensor) -> bool:
    """Whether an output is one positive multiple of an input, there and at other inputs: of one entry anything is a multiple."""
    x = case.leaves[name]
    if x.numel() != y.numel() or not bool(x.any()):
        return torch.equal(y, x.double().flatten())
    factor = float((x.double().flatten() * y).sum() / x.double().square().sum())
    other = x * (1 + signed_like(x, rng_of(case.seed, 17)) / 4)
    z = case.outputs_at({**case.leaves, name: other})[0].double().flatten()
    pairs = ((x, y), (other, z)) if factor > 0 and z.shape == y.shape else ()
    scaled = [(factor * t.double().flatten(), out) for t, out in pairs]
    return bool(scaled) and all(bool(((out - t).abs() <= 8 * case.u * t.abs()).all()) for t, out in scaled)


def _seen(session: Session, expected: Tensor, identity: bool) -> tuple[Observation, bool]:
    """What the draws show, and whether they show noise that is added."""
    case = session.case
    if not session.random:
        return _never_dropped(case, expected), False
    drawn = [case.outputs_at(case.leaves, case.seed + 101)[0].double().flatten()]
    if expected.shape != drawn[0].shape or not bool((expected != 0).any()):
        return Observation(Outcome.SKIP, reason="the outputs in evaluation are zero, or of another shape"), False
    dropped = bool((drawn[0] == 0)[expected != 0].any())
    adds = identity and not dropped and adds_noise(case, drawn[0], expected)
    for look in LOOKS:
        more = range(len(drawn), look - (identity and not dropped))  # one more forward was asked whether it adds
        drawn += [case.outputs_at(case.leaves, case.seed + 101 + k)[0].double().flatten() for k in more]
        seen = _shown(case, torch.stack(drawn), expected, identity, adds)
        if seen.outcome is Outcome.FAIL or seen.tensors.get("output", math.inf) <= ENOUGH:
            break
    return seen, adds


def _shown(case: Case, drawn: Tensor, expected: Tensor, identity: bool, adds: bool) -> Observation:
    """What so many draws show."""
    shared, shape = "shared_mask" in case.promises, case.base.outputs[0].shape
    if identity and not shared:
        drawn, expected, shape = of_maps(drawn, expected, shape)
    if identity and not shared and (why := dependent(drawn, expected, shape, adds)):
        meant = ('where entries are meant to share a draw: LayerSpec(..., promises=("shared_mask",))',)
        finding = Finding(("output", None), why, "independent entries", "exact", 1, 1, meant)
        return Observation(Outcome.FAIL, reason=why, finding=finding)
    return _of_noise(drawn - expected, expected, shared) if adds else _mean(drawn, expected, identity, shared)


def _keeps_zeros(case: Case) -> bool:
    """Whether it makes zeros of zeros: what puts another number in the place of an entry (alpha dropout) keeps mean and variance
    over inputs, not the mean at each."""
    zeros = {n: torch.zeros_like(t) if n in case.subject.wanted("input") else t for n, t in case.leaves.items()}
    try:
        return not any(bool(case.outputs_at(zeros, case.seed + 101 + k)[0].any()) for k in range(FEW))
    except Refused:
        return True


def _never_dropped(case: Case, expected: Tensor) -> Observation:
    """Every draw the same: of multiples that are never negative and 1 in the mean one is g or more with probability 1/g at
    most (Markov's inequality), one of N in each of n draws with N g⁻ⁿ."""
    y = case.base.outputs[0].double().flatten()
    there = expected != 0
    gains = y[there] / expected[there] if y.shape == expected.shape else expected[:0]
    gain = float(gains.max()) if gains.numel() else 0.0
    draws = math.ceil(math.log(gains.numel() / UNLIKELY) / math.log(gain)) if gain > 1 else math.inf
    if draws > LOOKS[-1] or any(case.differs(case.seed + 101 + k) for k in range(int(draws) - 1)):
        return Observation(Outcome.SKIP, reason="it was not seen to draw here")
    said = f"in each of {draws} draws an entry is {gain:.4g} times the eval output, which the mean should be"
    finding = Finding(("output", None), f"always {gain:.4g} times", f"at most one in {gain:.4g} draws", "exact", 1, 1)
    return Observation(Outcome.FAIL, reason=said, finding=finding)


def _of_noise(noise: Tensor, expected: Tensor, shared: bool) -> Observation:
    """Whether the mean of what is added is zero; its range is the one seen, with zero."""
    spread, off = float(noise.max().clamp(min=0) - noise.min().clamp(max=0)), float(noise.mean())
    count = len(noise) if shared else noise.numel()
    smallest = math.sqrt(math.log(2 / UNLIKELY) / 2 / count) * spread
    if abs(off) <= smallest:
        said = f"a mean of {smallest:.2g} in the noise that is added would have been seen"
        return Observation(Outcome.PASS, {"output": smallest / float(expected.abs().mean())}, reason=said)
    said = f"the mean of the noise that is added is {off:.3g} in {len(noise)} draws, off 0 by more than {smallest:.2g}"
    finding = Finding(("output", None), f"noise of mean {off:.4g}", "of mean 0", f"{smallest:.2g}", 1, 1)
    return Observation(Outcome.FAIL, reason=said, finding=finding)


def _mean(drawn: Tensor, expected: Tensor, identity: bool, shared: bool) -> Observation:
    """Whether the mean over draws and entries, each towards its own sign, is what is expected, as a share of its size.

    Ranges are those seen, with zero and the expected number: what is seldom dropped may not have been seen dropped.
    """
    if not drawn.any():
        return Observation(Outcome.SKIP, reason=f"nothing was kept in {len(drawn)} draws")
    gains = drawn[:, expected != 0] / expected[expected != 0] if identity else None
    if gains is not None and not shared and (share := share_kept(gains)) is not None:
        off, (low, high) = share - 1, shares(gains.numel(), float(gains.max()))
        smallest = max(1 - low, high - 1)
    else:
        if gains is not None:  # all entries are multiplied by numbers of one kind
            ranges = (gains.max().clamp(min=1) - gains.min().clamp(max=0)) * expected.abs()
        else:
            ends = torch.stack([drawn.amax(0), drawn.amin(0), expected, torch.zeros_like(expected)])
            ranges = ends.amax(0) - ends.amin(0)
        size = float(expected.abs().sum())
        spread = float(ranges.sum()) if shared else float(ranges.norm())  # what is drawn together varies together
        smallest = math.sqrt(math.log(2 / UNLIKELY) / 2 / len(drawn)) * spread / size
        off = float(((drawn - expected) * expected.sign()).sum()) / len(drawn) / size
        low, high = 1 - smallest, 1 + smallest
    if low <= 1 + off <= high:
        return Observation(Outcome.PASS, {"output": smallest}, reason=f"a bias of {smallest:.1%} would have been seen")
    said = f"the mean of {len(drawn)} train outputs is {1 + off:.3f} times the eval output, off by more than {smallest:.1%}"
    finding = Finding(("output", None), f"{1 + off:.4g} times", "1 times", f"{smallest:.2g}", 1, 1)
    return Observation(Outcome.FAIL, reason=said, finding=finding)


CHECKS = (
    Check(
        "unbiased",
        "random",
        "the mean of train outputs is the eval output, each entry of a mask drawn on its own",
        unbiased,
        given=False,
        echoes=False,
    ),
    Check("mask", "random", "a new mask each train forward, the same in backward, none in eval", mask, given=False),
)
