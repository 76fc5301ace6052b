"""Backward is linear in its cotangent, whatever memory that lies in and however large it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from harness.case import Case
from harness.checks import Check
from harness.judgement.comparison import agreement, entry_farthest_off, within_scatter
from harness.judgement.verdict import Verdict
from harness.outcome import Outcome
from harness.session import Observation, Session
from harness.subject import Gradients
from harness.tensors.arrays import rms
from harness.tensors.layouts import LAYOUTS, moved

POWERS: Mapping[torch.dtype, int] = {torch.float64: 66, torch.float32: 20, torch.bfloat16: 20, torch.float16: 4}
"""By how many powers of two cotangents are made larger and smaller: as far as loss scaling and long sums go in practice, and
well inside the range of the dtype."""

Cotangents = Sequence[Tensor]


def cotangent_linear(session: Session) -> Observation:
    """Sign, doubling, sums and zero: −2v and 0 give −2g and 0, and ones, which `sum()` sends, the sum of what v′ and
    1 − v′ give, v′ being v with zeros for every second row, as a masked loss sends them; v the sum of what it gives with zeros
    at every second index along another axis, as of time, and with zeros at the others, and of what it gives for one output and
    for the others; and backward asks for more of a cotangent than one number of it."""
    if skipped := _nothing_to_vary(session):
        return skipped
    case = session.case
    v = case.base.cotangents
    masked = [_masked(t) for t in v]
    rest = [1 - t for t in masked]
    at_rest = case.pulled(rest)
    whole = [torch.ones_like(t) for t in v], session.at_ones
    ones = _together(session, "1 = v′ + (1 − v′)", whole, case.pulled(masked), at_rest)
    halves = [asked for asked in (_along_another_axis(session), _of_one_output(session)) if asked is not None]
    found = _all(session, [_multiple(session, "−2v", -2.0), _multiple(session, "0", 0.0), ones, *halves])
    if found.outcome is not Outcome.FAIL:
        return _one_number(session, rest, at_rest) or found
    # by a sign or by a multiple: a linear backward is not asked twice
    told = _all(session, [_multiple(session, "−v", -1.0), _multiple(session, "2v", 2.0)])
    return told if told.outcome is Outcome.FAIL else found


def _one_number(session: Session, w: Cotangents, at_w: Gradients) -> Observation | None:
    """A FAIL where a tensor's gradients for v and for w are multiples of one another, as where backward takes one entry of the
    cotangent, or its sum, for the whole: of w − c v it gives nothing, and differences say otherwise. Where the outputs depend on
    the tensor by one number alone they don't."""
    case, judge = session.case, session.judge
    if sum(y.numel() for y in case.base.outputs) < 2:
        return None
    for n in case.wanted:
        c = _ratio(case.base.gradients.get(n), at_w.get(n), 64 * case.u)
        # differences are asked only of what they have refuted once: a right layer is spared them
        if c is None or judge.verdicts[n].outcome is not Outcome.FAIL:
            continue
        gone = tuple(b - c * v for v, b in zip(case.base.cotangents, w, strict=True))
        there = Session(case.with_base(case.evaluate(1, gone)))
        verdict = there.judge.verdicts[n]
        if verdict.outcome is Outcome.FAIL and _gives_nothing(there.case, n, verdict):
            reason = f"{n}: backward uses one number of the cotangent; of another cotangent with that number 0 it gives nothing"
            return Observation(Outcome.FAIL, reason=reason, failed=(n, verdict), at=there)
    return None


def _gives_nothing(case: Case, name: str, verdict: Verdict) -> bool:
    """Whether what backward gives is nothing beside what is expected. Where the outputs move with one number alone, as of ReLUs of
    which one is open, both are what rounding leaves, and a claim that is wrong by a factor is so of that too."""
    g, expected = case.base.gradients.get(name), verdict.expected
    return g is not None and (expected is None or bool(rms(g.double()) <= NOTHING * rms(expected.nan_to_num(0.0))))


NOTHING = 2.0**-20
"""What share of a gradient is nothing beside it: rounding leaves far less of a cotangent that is taken off, and a factor far more."""


def _ratio(a: Tensor | None, b: Tensor | None, roundoff: float) -> float | None:
    """c where b = c a to the last digits; None where there is none, or where all entries are the same number: that may be what
    backward does with the gradient, one entry of which stands for all, and not with the cotangent."""
    if a is None or b is None or a.shape != b.shape or bool((a == a.reshape(-1)[:1]).all()):
        return None
    a, b = a.double(), b.double()
    size = float((a * a).sum())
    c = float((a * b).sum()) / size if size else 0.0
    return c if c and float((b - c * a).abs().amax()) <= roundoff * float(b.abs().amax()) else None


def _along_another_axis(session: Session) -> Asked | None:
    """v, and what its two halves along an axis beside the first give together; over the examples each axis has its turn."""
    case = session.case
    v = case.base.cotangents
    axes = sorted({a for t in v for a in range(1, t.ndim) if t.shape[a] > 1})
    if not axes:
        return None
    axis = axes[case.seed % len(axes)]
    what = f"v = v″ + (v − v″), v″ having zeros at every second index along axis {axis}"
    return _in_two(session, what, [_masked(t, axis) for t in v])


def _of_one_output(session: Session) -> Asked | None:
    """v, and what the cotangents of one output and of the others give together: a loss may use one alone."""
    case = session.case
    v = case.base.cotangents
    if len(v) < 2:
        return None
    k = case.seed % len(v)
    alone = [t if j == k else torch.zeros_like(t) for j, t in enumerate(v)]
    return _in_two(session, f"v = v″ + (v − v″), v″ being zero but for output{k}", alone)


def _in_two(session: Session, what: str, part: Cotangents) -> Asked:
    """v, and what a part and the rest give together."""
    case, base = session.case, session.case.base
    rest = [t - h for t, h in zip(base.cotangents, part, strict=True)]
    return _together(session, what, (base.cotangents, base.gradients), case.pulled(part), case.pulled(rest))


def _together(session: Session, what: str, whole: tuple[Cotangents, Gradients], a: Gradients, b: Gradients) -> Asked:
    """A cotangent with what it gave, and the sum of what its two parts gave."""
    names = session.case.wanted
    both = {n: _sum(a.get(n), b.get(n)) for n in names}
    sizes = {n: _sum(_size(a.get(n)), _size(b.get(n))) for n in names}
    return Asked(what, whole[0], both, sizes, whole[1])


def _multiple(session: Session, what: str, c: float) -> Asked:
    """c v, and as many times the gradients."""
    base = session.case.base
    return Asked(what, [c * v for v in base.cotangents], _times(base.gradients, c))


def _masked(v: Tensor, axis: int = 0) -> Tensor:
    """Zeros for every second row, or index along another axis; of a batch of one none."""
    if v.ndim <= axis:
        return v
    rows = torch.arange(v.shape[axis], device=v.device) % 2 == 0
    return v * rows.reshape(-1, *[1] * (v.ndim - axis - 1)).to(v.dtype)


def cotangent_scale(session: Session) -> Observation:
    """v·2ᵏ gives g·2ᵏ for a large k of either sign: nothing is clipped, added or taken for zero on the way."""
    if skipped := _nothing_to_vary(session):
        return skipped
    k = POWERS.get(session.case.dtype, 4)
    return _all(session, [_multiple(session, f"v·2^{power}", 2.0**power) for power in (k, -k)])


def cotangent_layout(session: Session) -> Observation:
    """The same values in other memory give the same gradients: transposed, with gaps and an offset, in channels-last order,
    and without memory of their own: one number expanded over all entries, as `sum()` and `mean()` send it, or a row over all
    rows, as a mean over the rows does."""
    if skipped := _nothing_to_vary(session):
        return skipped
    v, g = session.case.base.cotangents, session.case.base.gradients
    cases = [Asked(what, [lay(t) for t in v], _times(g, 1.0), lay=lay) for what, lay in LAYOUTS.items()]
    cases = [c for c in cases if any(moved(a, b) for a, b in zip(c.cotangents, v, strict=True))]
    cases += _expanded(session)
    if not cases:
        return Observation(Outcome.SKIP, reason="an output of one number has one layout")
    return _all(session, cases)


def _expanded(session: Session) -> Iterator[Asked]:
    """A number for all entries, and the numbers of one index for all along an axis, which has its turn over the examples."""
    case = session.case
    v = case.base.cotangents
    if any(t.numel() > 1 for t in v):
        one = [torch.ones((), dtype=t.dtype, device=t.device).expand(t.shape) for t in v]
        yield _in_little_memory(session, "one number expanded (strides 0)", one, session.at_ones)
    axes = sorted({a for t in v for a, size in enumerate(t.shape) if 1 < size < t.numel()})
    if axes:
        axis = axes[case.seed % len(axes)]
        same = [t if t.ndim <= axis or not t.numel() else t.narrow(axis, 0, 1).expand(t.shape) for t in v]
        what = f"what stands at the first index along axis {axis} expanded along it (stride 0)"
        yield _in_little_memory(session, what, same, case.pulled([t.contiguous() for t in same]))


def _in_little_memory(session: Session, what: str, expanded: Cotangents, expected: Gradients) -> Asked:
    """Where numbers are equal they may cancel where others don't, as behind a centring."""
    g = session.case.base.gradients
    size = {n: _sum(_size(g.get(n)), _size(expected.get(n))) for n in session.case.wanted}
    return Asked(what, expanded, _times(expected, 1.0), size)


def _nothing_to_vary(session: Session) -> Observation | None:
    """Why nothing is asked: no cotangent, no gradient, or no way to compare two evaluations."""
    case = session.case
    if not case.subject.takes_cotangent:
        return Observation(Outcome.SKIP, reason="backward takes no cotangent")
    if not case.wanted:
        return Observation(Outcome.SKIP, reason="nothing wants a gradient")
    if session.judge.claim.malformed:
        name, why = next(iter(session.judge.claim.malformed.items()))
        return Observation(Outcome.SKIP, reason=f"{name}: {why.reason or 'has no entries'}")
    if not case.replays:
        return Observation(Outcome.INCONCLUSIVE, reason="two forwards under one seed differ: no two backwards compare")
    return None


@dataclass(frozen=True)
class Asked:
    """What backward is asked, and what it should give."""

    what: str
    """What is changed."""
    cotangents: Cotangents
    expected: Gradients
    sizes: Mapping[str, Tensor | None] | None = None
    """The sizes of parts before they cancel."""
    found: Gradients | None = None
    """What backward gives, where that is known."""
    lay: Callable[[Tensor], Tensor] | None = None
    """What puts other cotangents in the same memory, where that is what is changed."""


def _all(session: Session, asked: Sequence[Asked]) -> Observation:
    """The first of these that backward gets wrong, or the worst resolution of each tensor over all of them."""
    good: dict[str, float] = {}
    open_: dict[str, float] = {}
    for a in asked:
        found = session.case.pulled(a.cotangents) if a.found is None else a.found
        for n in session.case.wanted:
            size = None if a.sizes is None else a.sizes[n]
            verdict = agreement(session.judge.claim, n, found.get(n), a.expected[n], size)
            may_round = size is not None or a.lay is not None
            if verdict.outcome is Outcome.FAIL and may_round and _last_digits(session, n, a, verdict):
                open_[n] = verdict.resolution
                continue
            if verdict.outcome is Outcome.FAIL:
                finding = entry_farthest_off(n, found.get(n), a.expected[n])
                reason = f"{n}, with the cotangent {a.what}: {verdict.reason}"
                return Observation(Outcome.FAIL, reason=reason, finding=finding)
            good[n] = max(good.get(n, 0.0), verdict.resolution)
    if open_:
        why = f"{', '.join(open_)}: of numbers that cancel inside backward only rounding is left"
        return Observation(Outcome.INCONCLUSIVE, {n: r for n, r in good.items() if n not in open_}, open_, why)
    return Observation(Outcome.PASS, good)


def _last_digits(session: Session, name: str, asked: Asked, verdict: Verdict) -> bool:
    """Whether the gradient is no further out than rounding inside backward makes it: a softmax that is saturated subtracts
    nearly equal numbers, of which what is left depends on the cotangent, and on the order in which memory makes it be summed.
    Seen where a multiple of the cotangents, in that memory, or of those that they are the sum of, does not give what another
    multiple does; they themselves, which may be a special case to the layer, are not asked again."""
    case, lay = session.case, asked.lay or Tensor.contiguous
    found, expected = case.pulled(asked.cotangents).get(name), verdict.expected
    if found is None or expected is None:
        return False

    def pulled(part: Cotangents, c: float) -> Tensor | None:
        return case.pulled([lay(c * t) for t in part]).get(name)

    base = case.base.cotangents
    parts = (asked.cotangents, base, [1 - t for t in base])
    return within_scatter(found, expected, *(partial(pulled, part) for part in parts))


def _times(gradients: Gradients, factor: float) -> dict[str, Tensor | None]:
    return {n: None if g is None else factor * g for n, g in gradients.items()}


def _sum(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    return None if a is None or b is None else a + b


def _size(t: Tensor | None) -> Tensor | None:
    return None if t is None else t.abs()


CHECKS = (
    Check(
        "cotangent_linear",
        "cotangent",
        "backward is linear in the cotangent: sign, doubling, sums, zero; and uses more of it than one number",
        cotangent_linear,
        given=False,
        echoes=False,
    ),
    Check(
        "cotangent_layout",
        "cotangent",
        "the same cotangent in other memory: transposed, with gaps, expanded, channels-last",
        cotangent_layout,
        given=False,
        echoes=False,
    ),
    Check(
        "cotangent_scale",
        "cotangent",
        "very large and very small cotangents give gradients as much larger and smaller",
        cotangent_scale,
        given=False,
        echoes=False,
    ),
)
