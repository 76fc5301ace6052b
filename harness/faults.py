"""Faults as transformations of a right subject, shared by tests and benchmarks. Each names the check that must see it.

The taxonomy is that of faults found in public code: coverage, accounting, cotangents, contract, modes, state, random masks,
and regions that examples may never visit.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from harness.fault import Fault as Fault
from harness.fault import Faulty as Faulty
from harness.fault import (
    Values,
    biased,
    frozen_mask,
    in_mode,
    other_mask,
    rebuffered,
    recotangent,
    regraded,
    rerun,
    shared,
    writes,
)
from harness.fault.circumstances import circumstantial_faults, memory_in_order
from harness.fault.gradients import further_gradient_faults, gradient_faults
from harness.fault.grains import grainy_faults
from harness.fault.modal import modal_faults
from harness.fault.regions import regional_faults


def _clipped(v: Tensor) -> Tensor:
    """Clipping against exploding gradients, at a norm of which no unit-sized cotangent knows."""
    size = float(v.double().norm())
    limit = 10.0 * max(v.numel(), 1) ** 0.5
    return v if size <= limit else v * (limit / size)


def _once_along(axis: int, v: Tensor) -> Tensor:
    """One number for many along one axis alone, as the mean over that axis sends it, counted as one."""
    alone = v.ndim > 1 and v.stride(axis) == 0 and any(v.stride())
    return v / v.shape[axis] if alone else v


def _cotangent_faults() -> list[Fault]:
    changes: dict[str, tuple[str, Callable[[Tensor], Tensor]]] = {
        "absolute": ("input_gradient", torch.abs),
        "rectified": ("input_gradient", torch.relu),
        "clamped": ("input_gradient", lambda v: v.clamp(-1.0, 1.0)),
        "squared": ("input_gradient", torch.square),
        "ignored": ("input_gradient", torch.ones_like),
        "first_entry_only": (
            "input_gradient",
            lambda v: v.flatten()[:1].expand(v.numel()).reshape(v.shape).clone(),
        ),
        "reversed": ("input_gradient", lambda v: v.flip(-1) if v.ndim else v),
        "clamped_beyond_2": ("cotangent_linear", lambda v: v.clamp(-2.0, 2.0)),
        "one_for_zero": ("cotangent_linear", lambda v: torch.where(v == 0, torch.ones_like(v), v)),
        "clipped_by_norm": ("cotangent_scale", _clipped),
        "small_taken_for_zero": ("cotangent_scale", lambda v: torch.where(v.abs() < 1e-12, 0.0, v)),
        "guarded_by_epsilon": ("cotangent_scale", lambda v: v + 1e-10),
        "memory_in_order": ("cotangent_layout", memory_in_order),
        "offset_ignored": ("cotangent_layout", lambda v: v.as_strided(v.shape, v.stride(), 0).clone()),
        "expanded_seen_once": ("cotangent_layout", lambda v: v / v.numel() if v.ndim and not any(v.stride()) else v),
        "expanded_rows_seen_once": ("cotangent_layout", partial(_once_along, 0)),
        "expanded_columns_seen_once": ("cotangent_layout", partial(_once_along, -1)),
    }
    return [Fault(f"cotangent_{n}", check, recotangent(c), "cotangent") for n, (check, c) in changes.items()]


def _contract_faults() -> list[Fault]:
    def flat(g: Tensor, x: Tensor) -> Tensor:
        return g.reshape(1, -1)

    def per_example(g: Tensor, x: Tensor) -> Tensor:
        return torch.stack([0.75 * g, 0.25 * g])

    return [
        Fault("parameter_per_example", "shapes", regraded("parameter", per_example), "parameter"),
        Fault("input_flattened", "shapes", regraded("input", flat)),
        Fault("parameter_flattened", "shapes", regraded("parameter", flat), "parameter"),
        Fault("input_missing", "shapes", regraded("input", lambda g, x: None)),
        Fault("parameter_missing", "shapes", regraded("parameter", lambda g, x: None), "parameter"),
        Fault("input_in_float32", "dtypes", regraded("input", lambda g, x: g.float())),
        Fault("parameter_in_float32", "dtypes", regraded("parameter", lambda g, x: g.float()), "parameter"),
        Fault("writes_input", "unmutated", writes("input")),
        Fault("writes_cotangent", "unmutated", writes("cotangent"), "cotangent"),
        Fault("writes_parameter", "unmutated", writes("parameter"), "parameter"),
        Fault("writes_output", "unmutated", writes("output"), "cotangent"),
    ]


def _biased_variance(start: Values, right: Values) -> Values:
    """A running variance without its B/(B − 1), as of a batch of eight."""
    return {n: start[n] + 7 / 8 * (t - start[n]) if "var" in n else t for n, t in right.items()}


def _state_faults() -> list[Fault]:
    def kept(start: Values, right: Values) -> Values:
        return start

    def moved(start: Values, right: Values) -> Values:
        return {n: 0.9 * t + 0.1 for n, t in right.items()}

    def slower(start: Values, right: Values) -> Values:
        return {n: start[n] + 0.99 * (t - start[n]) for n, t in right.items()}

    return [
        Fault("another_momentum", "state", rebuffered("train", slower), "buffers"),
        Fault("biased_variance_kept", "state", rebuffered("train", _biased_variance), "buffers"),
        Fault("moves_in_eval", "state", rebuffered("eval", moved), "buffers"),
        Fault("moves_in_backward", "state", rebuffered("backward", moved), "buffers"),
        Fault("never_moves", "state", rebuffered("train", kept), "buffers"),
        Fault("trains_in_eval", "state", in_mode({"eval": "train"}), "buffers"),
        Fault("evaluates_in_train", "reference", in_mode({"train": "eval"}), "buffers"),
    ]


def _random_faults() -> list[Fault]:
    return [
        Fault("masks_in_eval", "mask", in_mode({"eval": "train"}), "random"),
        Fault("never_masks", "mask", in_mode({"train": "eval"}), "random"),
        Fault("other_mask_in_backward", "mask", rerun(other_mask), "random"),
        Fault("frozen_mask", "mask", rerun(frozen_mask), "random"),
        Fault("mean_too_small", "unbiased", rerun(biased), "random"),
        Fault("one_mask_a_row", "unbiased", rerun(shared), "random"),
    ]


def catalogue() -> tuple[Fault, ...]:
    """Every fault; `needs` says which layers it can be put into."""
    return (
        *gradient_faults(),
        *further_gradient_faults(),
        *_cotangent_faults(),
        *_contract_faults(),
        *_state_faults(),
        *_random_faults(),
        *regional_faults(),
        *circumstantial_faults(),
        *modal_faults(),
        *grainy_faults(),
    )
