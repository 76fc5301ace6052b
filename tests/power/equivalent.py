"""Mutants of layers/ that survive: those that compute the same, each with its proof, and those that the harness can't see.

Keys are (module, function, first line of the statement, mutation). One that is killed, or no longer exists, fails the tests.
"""

from __future__ import annotations

Key = tuple[str, str, str, str]


def of(module: str, function: str, line: str, why: str, *mutations: str) -> dict[Key, str]:
    """One reason for several mutations of a statement."""
    return {(module, function, line, mutation): why for mutation in mutations}


BATCH_NORM_A = "return self._keep(torch.addcmul(β, γ * invstd, c), c, invstd, γ)  # ẑ = c invstd is never stored"
BATCH_NORM_Z = "return torch.addcmul(k * δβ, s, δa).addcmul_(c, k * invstd * δγ)"
DROPS = "if not self.training or self.p == 0:"
OTHER = "if (grad.shape, grad.dtype, grad.device) != (p.shape, p.dtype, p.device):"
OTHER_TEST = "(grad.shape, grad.dtype, grad.device) != (p.shape, p.dtype, p.device)"
NEW = "grad = torch.zeros_like(p)  # another parameter was put in place: the old one's gradient says nothing"
DROPPED = "return mask[0] * δa if mask else δa.clone()"
BELOW = "below = min(round(self.p * 2**32), 2**32 - 1) - 2**31  # the integers are signed"
SCALED = "return (bits >= below).to(z.dtype).div_(1 - self.p)"
PAIRS = "pairs = torch.empty((shape.numel() + 1) // 2, dtype=torch.int64, device=device)"
ONES = "w = (torch.ones_like(Σe[..., :1, :]) if δL is None else δL[..., None, None]) / B"
ONE_MODEL = "if W.ndim == 2:  # one model: its sum over all rows is one product"

SUMMED = "self.grads[name] = grad.add_(gradient.reshape(p.shape) if same_size else gradient.sum_to_size(p.shape))"

COMMUTES = "x·y = y·x, to the bit"
ADDED = (
    "_accumulate adds up what is left; where the numbers are as many as the parameter's, all axes added up are of one"
)
ALIAS = (
    "the same numbers; what is returned is the very tensor that was handed over, as torch.nn.Dropout's in evaluation is, which "
    "`aliasing` says, and fails where a later step of the layer spoils it"
)
WHOLE = "min(round(self.p * 2 ** 32), 2 ** 32 - 1)"
"""What BELOW subtracts 2³¹ from."""

EQUIVALENT: dict[Key, str] = {
    **of(
        "batch_norm", "BatchNorm.forward", BATCH_NORM_A, COMMUTES,
        "torch.addcmul(β, γ * invstd, c) → torch.addcmul(β, c, γ * invstd)",
    ),
    **of(
        "batch_norm", "BatchNorm.backward", BATCH_NORM_Z, COMMUTES,
        "torch.addcmul(k * δβ, s, δa).addcmul_(c, k * invstd * δγ) → torch.addcmul(k * δβ, s, δa).addcmul_(k * invstd * δγ, c)",
        "torch.addcmul(k * δβ, s, δa) → torch.addcmul(k * δβ, δa, s)",
    ),
    **of(
        "batch_norm", "BatchNorm._track", "if old.shape != new.shape:",
        "the same numbers in new memory, which the dict holds: in place or not, test_layer_contract.py alone says",
        "old.shape != new.shape → True",
    ),
    **of(
        "dropout", "Dropout.forward", DROPS,
        "at p = 0 a mask is drawn after all: below = −2³¹, every int32 is ≥ it, 1 − p = 1, and 1·z = z",
        "not self.training or self.p == 0 → not self.training", "0 → 1", "0 → -1",
    ),
    **of("dropout", "Dropout.forward", DROPS, "2p = 0 iff p = 0", "self.p → 2 * self.p"),
    **of("dropout", "Dropout.backward", DROPPED, "a tuple of one: its first entry is its last", "0 → -1"),
    **of("dropout", "Dropout._mask", BELOW, "min(x, y) = min(y, x)", f"{WHOLE} → min(2 ** 32 - 1, round(self.p * 2 ** 32))"),
    **of("dropout", "Dropout._mask", BELOW, "(−2)³² = 2³²", "2 → -2 (2)", "2 → -2 (3)"),
    **of(
        "dropout", "Dropout._mask", BELOW, "int32 ≥ number compares in int32, modulo 2³²: x + 2³¹ ≡ x − 2³¹",
        f"{WHOLE} - 2 ** 31 → {WHOLE} + 2 ** 31", "2 → -2",
    ),
    **of(
        "dropout", "Dropout._mask", BELOW, "⌊x⌋ and x rounded differ by one at most: p to within 2⁻³², as promised",
        "round(self.p * 2 ** 32) → int(self.p * 2 ** 32)",
    ),
    **of(
        "dropout", "Dropout._bits", PAIRS, "random_ writes every entry",
        "torch.empty((shape.numel() + 1) // 2, dtype=torch.int64, device=device) → "
        "torch.zeros((shape.numel() + 1) // 2, dtype=torch.int64, device=device)",
    ),
    **of(
        "dropout", "Dropout._bits", PAIRS, "more pairs than are used; the first of them are the same",
        *(f"(shape.numel() + 1) // 2 → {e}" for e in ("(shape.numel() + 1) * 2", "shape.numel() + 1")),
        "2 → 1", "1 → 2",
    ),
    **of("dropout", "Dropout.forward", "return self._keep(z.clone())", ALIAS, "z.clone() → z"),
    **of("dropout", "Dropout.backward", DROPPED, ALIAS, "δa.clone() → δa"),
    **of(
        "layer", "Layer._keep", "self._kept = tuple(t.detach() for t in tensors)",
        "the same numbers, and backward runs under no_grad; memory and deepcopy alone differ (test_layer_contract.py)",
        "t.detach() → t",
    ),
    **of(
        "layer", "Layer._accumulate", SUMMED, "sum_to_size adds up axes of one, which is to reshape",
        "gradient.reshape(p.shape) if same_size else gradient.sum_to_size(p.shape) → gradient.sum_to_size(p.shape)",
    ),
    **of(
        "linear", "Linear.backward", ONE_MODEL,
        "W has 2 or 3 axes; for 2 the other branch's zᵀδa of each leading index is added up by sum_to_size: the same sum",
        "2 → 0", "2 → 1", "2 → -2", "W.ndim == 2 → False",
    ),
    **of(
        "instance_norm", "InstanceNorm.forward", "return self._keep(torch.addcmul(β, γ, ẑ), ẑ, invstd, γ)", COMMUTES,
        "torch.addcmul(β, γ, ẑ) → torch.addcmul(β, ẑ, γ)",
    ),
    **of(
        "instance_norm", "InstanceNorm.backward",
        "δz = δẑ.sub_(δẑ.mean(-1, keepdim=True)).addcmul_(ẑ, δẑẑ.mean(-1, keepdim=True), value=-1)", COMMUTES,
        "δẑ.sub_(δẑ.mean(-1, keepdim=True)).addcmul_(ẑ, δẑẑ.mean(-1, keepdim=True), value=-1) → "
        "δẑ.sub_(δẑ.mean(-1, keepdim=True)).addcmul_(δẑẑ.mean(-1, keepdim=True), ẑ, value=-1)",
    ),
    **of(
        "instance_norm", "InstanceNorm.backward",
        "self._accumulate(gamma=δaẑ.sum(-2, keepdim=True), beta=δa.sum(-2, keepdim=True))", ADDED,
        "δaẑ.sum(-2, keepdim=True) → δaẑ", "δa.sum(-2, keepdim=True) → δa",
    ),
    **of(
        "linear", "Linear.backward", "self._accumulate(b=δa.sum(-2, keepdim=True))",
        ADDED,
        "δa.sum(-2, keepdim=True) → δa",
    ),
    **of(
        "softmax_cross_entropy", "SoftmaxCrossEntropy.forward", "L = (Σe.log() - z.gather(-1, y)).mean((-2, -1))",
        "a mean over two axes has no order of them", "(-2, -1) → (-1, -2)",
    ),
    **of(
        "softmax_cross_entropy", "SoftmaxCrossEntropy.backward", ONES,
        "ones, (…, 1, 1) or (…, B, 1): either is broadcast to (…, B, 1) in w/Σe and in w.expand_as(y)",
        *(f"Σe[..., :1, :] → {e}" for e in ("Σe", "Σe[:1, :]", "Σe[..., :]", "Σe[..., :1]")),
        *(f"(..., :1, :) → {e}" for e in ("(:1, ..., :)", "(..., :, :1)")),
    ),
}  # fmt: skip

UNREACHED = "a parameter of another shape, dtype or device in another's place: no check puts one there (test_layer_contract.py does)"
RARE = "another mask with probability 2⁻²⁴ an entry or less: no feasible number of draws shows it"
DEVICE = "seen on another device alone: check(spec, device='cuda')"

WEAK: dict[Key, str] = {
    **of("layer", "Layer._accumulate", OTHER, UNREACHED, f"{OTHER_TEST} → False"),
    **of(
        "layer", "Layer._accumulate", NEW, UNREACHED, "left out",
        *(f"torch.zeros_like(p) → {e}" for e in ("torch.ones_like(p)", "p", "torch.zeros_like()")),
    ),
    **of("dropout", "Dropout._mask", BELOW, RARE, "round(self.p * 2 ** 32) → self.p * 2 ** 32", "1 → 2"),
    **of("dropout", "Dropout._mask", SCALED, RARE, "bits >= below → bits > below"),
    **of(
        "dropout", "Dropout._bits", PAIRS, DEVICE,
        "torch.empty((shape.numel() + 1) // 2, dtype=torch.int64, device=device) → "
        "torch.empty((shape.numel() + 1) // 2, dtype=torch.int64)",
    ),
}  # fmt: skip
