"""What layers that drop at random are told their probability by."""

from __future__ import annotations

from typing import Any

RATES = ("p", "rate", "drop", "dropout", "p_drop", "drop_prob", "drop_rate", "dropout_rate", "dropout_prob")
"""Options and attributes that a dropout-like layer has it under."""


def rates_of(layer: Any) -> dict[str, float]:
    """What a layer says of the probability of its own mask, by a number such as `p`."""
    return {n: v for n in RATES if isinstance(v := getattr(layer, n, None), float)}
