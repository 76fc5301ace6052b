"""What draws of a mask may look like by chance, with probability UNLIKELY at most."""

from __future__ import annotations

import math

import torch
from torch import Tensor

UNLIKELY = 3e-9
"""The probability of a false alarm in one statistic at one look: below 1e-6 in a run of 25 examples, at three looks at the mean
and at neighbours along three axes."""

AMONG = 4096
"""Of how many entries it is asked whether they recur."""

SEVERAL = 3
"""In how many draws at least an entry is dropped, and is not."""

APART = 10
"""Within what factor what is not dropped lies."""


def share_kept(gains: Tensor) -> float | None:
    """Of entries that are dropped or multiplied by one number g > 1 the mean of all: g times the share that is kept."""
    kept = gains[gains != 0]
    g = float(kept.max()) if kept.numel() else 0.0
    if g <= 1 or g - float(kept.min()) > 1e-2 * g:  # up to what 16 bits round
        return None
    return float(kept.double().mean()) * kept.numel() / gains.numel()


def shares(n: int, g: float) -> tuple[float, float]:
    """Between what two numbers the mean of n numbers, g with probability 1/g and else 0, lies but with probability UNLIKELY.

    By Chernoff's inequality: a share s of n has probability e^{−n KL(s, 1/g)} at most, which for rare or frequent drops is
    many times sharper than what the range alone tells.
    """
    q, bound = 1 / g, math.log(2 / UNLIKELY) / n

    def unlikely(s: float) -> bool:
        terms = ((s, q), (1 - s, 1 - q))
        return sum(a * math.log(a / b) for a, b in terms if a > 0) > bound

    def farthest(end: float) -> float:
        """The share on the way from q to `end` that is just as unlikely."""
        if not unlikely(end):
            return end
        near, far = q, end
        for _ in range(64):
            middle = (near + far) / 2
            near, far = (near, middle) if unlikely(middle) else (middle, far)
        return far

    return g * farthest(0.0), g * farthest(1.0)


def of_maps(drawn: Tensor, expected: Tensor, shape: torch.Size) -> tuple[Tensor, Tensor, torch.Size]:
    """One entry of each channel, of images and volumes whose channels are kept and dropped as a whole, as by torch's Dropout2d:
    there these are what is drawn. Else what is given."""
    if len(shape) < IMAGES or not bool((expected != 0).all()):
        return drawn, expected, shape
    maps = (drawn != 0).reshape(len(drawn), *shape[:2], -1)
    if maps.shape[-1] < 2 or not torch.equal(maps.any(-1), maps.all(-1)):
        return drawn, expected, shape
    first = torch.arange(expected.numel()).reshape(*shape[:2], -1)[..., 0].flatten()
    return drawn[:, first], expected[first], shape[:2]


IMAGES = 4
"""From how many axes on a tensor is one of images: examples, channels, and two or three of space."""


def dependent(drawn: Tensor, expected: Tensor, shape: torch.Size, adds: bool = False) -> str:
    """What is said where neighbours along an axis, or entries half its length apart, are kept and dropped together, or never
    together; of noise, that is added or that all are multiplied by, where they get much and little of it together. Empty where
    they do not."""
    kept = (drawn != 0) & (expected != 0)
    if noisy := adds or bool((kept == (expected != 0)).all()):
        noise = drawn - expected if adds else torch.where(expected != 0, drawn / expected, 1.0)
        kept = noise > noise.median()
    kept = kept.double().reshape(len(drawn), *shape)
    off = kept - kept.mean()
    for axis in range(1, kept.ndim):
        n = kept.shape[axis]
        apart = [k for k in dict.fromkeys((1, n // 2, (n + 1) // 2)) if 0 < k < n]
        for k in apart:
            first = [i for i in range(n - k) if i // k % 2 == 0]  # each entry in one pair
            lines = off.movedim(axis, 0)
            a, b = lines[first], lines[[i + k for i in first]]
            # the mean kept share is the draws' own, which makes the products a little smaller: no false alarm comes of it
            if abs(float((a * b).mean())) > math.sqrt(math.log(2 * len(apart) / UNLIKELY) / 2 / a.numel()):
                which = "neighbours" if k == 1 else f"entries {k} apart"
                if noisy:
                    return f"{which} along axis {axis - 1} have much noise together: it is not drawn independently for each entry"
                return f"{which} along axis {axis - 1} are dropped together: the mask's entries are not drawn independently"
    return ""


def recurs(here: Tensor, there: Tensor) -> bool:
    """Whether an entry is the same in two draws (rows), here and at other inputs, and not in all: so are functions of a mask, which
    has few values. Continuous numbers are not, unless they are saturated, which is the same here and there."""
    here, there = here[:, :AMONG], there[:, :AMONG]
    moves = (here - there).abs() > 1e-6 * here.abs()
    again = (here[:, None] == here[None]) & (there[:, None] == there[None]) & (moves[:, None] & moves[None])
    pairs = again.sum((0, 1)) - moves.sum(0)  # each draw with itself
    return bool(((pairs > 0) & (here != here[0]).any(0)).any())


def dropped(drawn: Tensor) -> Tensor:
    """Which entries are 0 in several draws (rows), and in several others all of one size: what a mask drops is. What saturation
    takes away is small in some before it is 0."""
    sizes = drawn.abs()
    none = sizes == 0
    count, least = none.sum(0), torch.where(none, math.inf, sizes).amin(0)
    return (count >= SEVERAL) & (count <= len(drawn) - SEVERAL) & (least >= sizes.amax(0) / APART)
