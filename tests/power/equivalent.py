"""Mutants of layers/ that survive: those that compute the same, each with its proof.

Keys are (module, function, first line of the statement, mutation). One that is killed, or no longer exists, fails the tests.
"""

from __future__ import annotations

Key = tuple[str, str, str, str]


def of(module: str, function: str, line: str, why: str, *mutations: str) -> dict[Key, str]:
    """One reason for several mutations of a statement."""
    return {(module, function, line, mutation): why for mutation in mutations}


BATCH_NORM_A = "return self._keep(torch.addcmul(β, s, c), c, invstd, s)  # ẑ = c invstd is never stored"
BATCH_NORM_Z = "return torch.addcmul(k * δβ, s, δa, out=δac).addcmul_(c, k * invstd * δγ)"
DROPS = "if not self.training or self.p == 0:"
OTHER = "if (grad.shape, grad.dtype, grad.device) != (p.shape, p.dtype, p.device):"
OTHER_TEST = "(grad.shape, grad.dtype, grad.device) != (p.shape, p.dtype, p.device)"
NEW = "grad = self.grads[name] = torch.zeros_like(p)  # another parameter was put in place"
DROPPED = "return mask[0] * δa if mask else δa.clone()"
ONES = "w = given[0][..., None, None] / B if given else Σe.new_full((), 1 / B)"
BATCHED = "if _batched(z, W):"
PLAIN = "a = torch.addmm(b, z, W) if z.ndim == W.ndim == 2 else z @ W + b"
NARROW = "if self.D_out < self.D_in:  # (δaᵀ z)ᵀ, the narrow one first"
ONE_MODEL = "one = W.ndim == 2  # model: its sum over all rows is one product"
ALL_ROWS = "self._accumulate(W=_rows(z).mT @ _rows(δa) if one else z.mT @ δa)"
LANES = "n, dtype = (16, torch.int16) if min(self.p, 1 - self.p) >= 2**-6 else (64, torch.int64)"
INSTANCE_NORM_DZ = "δẑ = torch.mul(δa, γ, out=δaẑ)  # in place: for large z, new memory costs more than the arithmetic"
TANH_T = "t = (z + z).clamp_(max=10 if z.dtype == torch.float16 else 40).expm1_()"
ROWS_OF = "words if isinstance(self.generator, tuple) else (words,)"
ROWS = f"for row, g in zip({ROWS_OF}, each, strict=True):"


COMMUTES = "x·y = y·x, to the bit"
NEW_MEMORY = "the same numbers in new memory: a matter of speed"
ADDED = (
    "_accumulate adds up what is left; where the numbers are as many as the parameter's, all axes added up are of one"
)


def _takes(module: str, layer: str, D: str) -> dict[Key, str]:
    """What a layer does first of all: refuse what does not fit it, and remember what it did not refuse."""
    call = f"self._take(z, {D})" if D else "self._take(z)"
    others = ["left out", f"{call} → z", *([f"{call} → {D}", f"{call} → self._take(z)"] if D else [])]
    return of(module, f"{layer}.forward", call, "refuses only: what fits goes the same way", *others)


EQUIVALENT: dict[Key, str] = {
    **of(
        "batch_norm", "BatchNorm.forward", "self._take(z, self.D)", "refuses only: what fits goes the same way",
        "self._take(z, self.D) → self._take(z)",
    ),
    **of(
        "batch_norm", "BatchNorm.forward", BATCH_NORM_A, COMMUTES,
        "torch.addcmul(β, s, c) → torch.addcmul(β, c, s)",
    ),
    **of(
        "batch_norm", "BatchNorm.backward", BATCH_NORM_Z, COMMUTES,
        "torch.addcmul(k * δβ, s, δa, out=δac).addcmul_(c, k * invstd * δγ) → "
        "torch.addcmul(k * δβ, s, δa, out=δac).addcmul_(k * invstd * δγ, c)",
        "torch.addcmul(k * δβ, s, δa, out=δac) → torch.addcmul(k * δβ, δa, s, out=δac)",
    ),
    **of(
        "batch_norm", "BatchNorm.backward", BATCH_NORM_Z, NEW_MEMORY,
        "torch.addcmul(k * δβ, s, δa, out=δac) → torch.addcmul(k * δβ, s, δa)",
    ),
    **of(
        "instance_norm", "InstanceNorm.backward", INSTANCE_NORM_DZ, COMMUTES,
        "torch.mul(δa, γ, out=δaẑ) → torch.mul(γ, δa, out=δaẑ)",
    ),
    **of(
        "instance_norm", "InstanceNorm.backward", INSTANCE_NORM_DZ, NEW_MEMORY,
        "torch.mul(δa, γ, out=δaẑ) → torch.mul(δa, γ)",
    ),
    **of(
        "batch_norm", "BatchNorm._track", "if old.shape != new.shape:",
        "the same numbers in new memory, which the dict holds: in place or not, test_layer_contract.py alone says",
        "old.shape != new.shape → True",
    ),
    **of(
        "dropout", "Dropout.forward", DROPS,
        "at p = 0 a mask is drawn after all: below = −2⁶³, every int64 is ≥ it, 1 − p = 1, and 1·z = z; that nothing is drawn, "
        "test_dropout.py says",
        "not self.training or self.p == 0 → not self.training", "0 → 1", "0 → -1",
    ),
    **of("dropout", "Dropout.forward", DROPS, "2p = 0 iff p = 0", "self.p → 2 * self.p"),
    **of("dropout", "Dropout.backward", DROPPED, "a tuple of one: its first entry is its last", "0 → -1"),
    **of(
        "layer", "Layer._keep", "self._kept = tuple([_plain(t) for t in tensors])",
        "the same numbers, detached again for backward; memory and deepcopy alone differ (test_layer_contract.py)",
        "_plain(t) → t",
    ),
    **of(
        "linear", "Linear.backward", ONE_MODEL,
        "W has 2 or 3 axes; for 2 the other branch's zᵀδa of each leading index is added up by sum_to_size: the same sum",
        "2 → 0", "2 → 1", "2 → -2",
    ),
    **of(
        "linear", "Linear.backward", ALL_ROWS, "zᵀδa of each leading index is added up by sum_to_size: the same sum",
        "_rows(z).mT @ _rows(δa) if one else z.mT @ δa → z.mT @ δa",
    ),
    **of(
        "linear", "_rows", "return z if z.ndim == 2 else z.flatten(0, -2)",
        "a matrix is its own flattening; of more axes zᵀδa of each leading index is added up by sum_to_size: the same sum",
        "z if z.ndim == 2 else z.flatten(0, -2) → z", "z if z.ndim == 2 else z.flatten(0, -2) → z.flatten(0, -2)",
        "z.ndim == 2 → z.ndim != 2", "z.flatten(0, -2) → z", "2 → 0", "2 → 1", "2 → 3", "2 → -2", "0 → 1", "-2 → 0", "-2 → -3",
    ),
    **{
        key: why
        for function in ("Linear.forward", "Linear.backward")
        for key, why in of(
            "linear", function, BATCHED, "the same product by another call: which one is a matter of speed",
            "_batched(z, W) → _batched(W, z)", "_batched(z, W) → False",
        ).items()
    },
    **of(
        "linear", "Linear.forward", PLAIN, "the same product by another call: which one is a matter of speed",
        "torch.addmm(b, z, W) if z.ndim == W.ndim == 2 else z @ W + b → z @ W + b",
        "2 → 0", "2 → 3", "2 → 1", "2 → -2",
    ),
    **of(
        "linear", "Linear.backward", NARROW, "(δaᵀ z)ᵀ = zᵀ δa: which one is a matter of speed",
        *(f"self.D_out < self.D_in → {e}" for e in ("self.D_out <= self.D_in", "self.D_out > self.D_in", "True", "False")),
    ),
    **of(
        "linear", "_batched", "return z.ndim == 3 and z.shape[:1] == W.shape[:-2]",
        "true less often: the same product by another call",
        "3 → 0", "3 → 2", "3 → -3", "1 → 2",
        *(f"z.shape[:1] → z.shape{e}" for e in ("", "[:]")), *(f"W.shape[:-2] → W.shape{e}" for e in ("", "[:]")),
    ),
    **of(
        "layer", "Layer._take", "held = (*self.params.values(), *self.buffers.values())",
        "compared with what was made the same way",
        "(*self.params.values(), *self.buffers.values()) → (*self.buffers.values(), *self.params.values())",
    ),
    **of(
        "layer", "Layer._take", "like = [(t.shape, t.dtype, t.device) for t in (z, *held)]",
        "compared with what was made the same way",
        *(f"(t.shape, t.dtype, t.device) → (t.{e})" for e in ("dtype, t.shape, t.device", "shape, t.device, t.dtype")),
        "(z, *held) → (*held, z)",
    ),
    **of(
        "layer", "Layer._take", "self._kept = None  # what the last forward kept makes room for what this one will",
        "forward keeps anew; that a forward which raises leaves nothing, test_layer_contract.py says", "left out",
    ),
    **of(
        "tanh", "Tanh.backward",
        "return torch.addcmul(δa, a2, δa, value=-1, out=a2)  # in place: new memory costs more than the arithmetic", COMMUTES,
        "torch.addcmul(δa, a2, δa, value=-1, out=a2) → torch.addcmul(δa, δa, a2, value=-1, out=a2)",
    ),
    **of(
        "tanh", "Tanh.backward",
        "return torch.addcmul(δa, a2, δa, value=-1, out=a2)  # in place: new memory costs more than the arithmetic", NEW_MEMORY,
        "torch.addcmul(δa, a2, δa, value=-1, out=a2) → torch.addcmul(δa, a2, δa, value=-1)",
    ),
    **of(
        "layer", "_plain", "return t.detach() if t.requires_grad else t",
        "the same numbers; memory, deepcopy and what is recorded alone differ (test_layer_contract.py)",
        "t.detach() if t.requires_grad else t → t", "t.detach() if t.requires_grad else t → t.detach()", "t.detach() → t",
    ),
    **of(
        "layer", "Layer._recall", "return tuple([_plain(t) for t in (δa, *self._kept)])",
        "a list of the same tensors, unpacked as a tuple is",
        "tuple([_plain(t) for t in (δa, *self._kept)]) → [_plain(t) for t in (δa, *self._kept)]",
    ),
    **of(
        "layer", "over_batch", "return t.sum(-2, keepdim=t.ndim > 2)",
        "of a matrix (1, D) for (D,): _accumulate views it, and both broadcast alike",
        "t.ndim > 2 → t.ndim >= 2", "2 → 0", "2 → 1", "2 → -2",
    ),
    **of("tanh", "Tanh.forward", TANH_T, "beyond 20 tanh is 1 also in float64", "40 → 41"),
    **of(
        "tanh", "Tanh.forward", TANH_T,
        "a last digit: from 19.5 on tanh is 1 − 3e-17 or nearer to 1, and t/(t + 2) with t = e³⁹ rounds to 1 − 2⁻⁵³ or 1",
        "40 → 39",
    ),
    **of(
        "tanh", "Tanh.forward", TANH_T,
        "a last digit of float16: from 4.5 on tanh lies between 1 − 0.51·2⁻¹¹ and 1, and 8102/8104 rounds to 1 or to 1 − 2⁻¹¹, the "
        "number below it; 1 − a² is off by the two last digits that rounding a costs",
        "10 → 9",
    ),
    **of("tanh", "Tanh.forward", TANH_T, "e¹¹ is a number of float16 still, and beyond 5.5 tanh is 1 there as beyond 5", "10 → 11"),
    **of(
        "instance_norm", "InstanceNorm.forward", "return self._keep(torch.addcmul(β, γ, ẑ), ẑ, invstd, γ)", COMMUTES,
        "torch.addcmul(β, γ, ẑ) → torch.addcmul(β, ẑ, γ)",
    ),
    **of(
        "instance_norm", "InstanceNorm.backward",
        "return δz.addcmul_(ẑ, Σδẑẑ, value=-1 / self.D).mul_(invstd)", COMMUTES,
        "δz.addcmul_(ẑ, Σδẑẑ, value=-1 / self.D) → δz.addcmul_(Σδẑẑ, ẑ, value=-1 / self.D)",
    ),
    **of(
        "softmax_cross_entropy", "SoftmaxCrossEntropy.forward", "L = (Σe.log() - z.gather(-1, y)).mean((-2, -1))",
        "a mean over two axes has no order of them", "(-2, -1) → (-1, -2)",
    ),
    **{
        key: why
        for module, layer, D in (
            ("instance_norm", "InstanceNorm", "self.D"),  # of BatchNorm's empty_batch sees it: it has no statistics
            ("linear", "Linear", "self.D_in"), ("tanh", "Tanh", ""), ("dropout", "Dropout", ""),
            ("softmax_cross_entropy", "SoftmaxCrossEntropy", ""),
        )
        for key, why in _takes(module, layer, D).items()
    },
    **of(
        "batch_norm", "BatchNorm.forward", "self._track(running_mean=μ.detach(), running_var=σ2.detach() * (B / (B - 1)))",
        "the same numbers; the graph of the forward hangs on them, which no buffer is asked for",
        "μ.detach() → μ",
        "σ2.detach() → σ2",
    ),
    **of(
        "instance_norm", "InstanceNorm.backward", "self._accumulate(gamma=over_batch(δaẑ), beta=over_batch(δa))", ADDED,
        "over_batch(δaẑ) → δaẑ",
        "over_batch(δa) → δa",
    ),
    **of(
        "linear", "Linear.backward", "self._accumulate(b=over_batch(δa))", ADDED,
        "over_batch(δa) → δa",
    ),
    **of(
        "softmax_cross_entropy", "SoftmaxCrossEntropy.backward", ONES,
        "a tuple of one: its first entry is its last",
        "0 → -1",
    ),
    **of(
        "layer", "Layer._take", "if like != self._taken:  # what fitted once fits again", "what fitted is looked at again, and fits again",
        "like != self._taken → True",
    ),
    **of(
        "layer", "Layer._take", "self._taken = like", "what fitted is looked at again, and fits again",
        "left out",
    ),
    **of(
        "layer", "Layer._keep", "self._kept = tuple([_plain(t) for t in tensors])", "a list of the same tensors, unpacked as a tuple is",
        "tuple([_plain(t) for t in tensors]) → [_plain(t) for t in tensors]",
    ),
    **of(
        "layer", "Layer._recall", "return tuple([_plain(t) for t in (δa, *self._kept)])",
        "the same numbers; recorded where the caller records",
        "_plain(t) → t",
    ),
    **of(
        "layer", "Layer._accumulate", "if gradient.shape != grad.shape:",
        "a view of the same shape is the same, and what is summed over axes of one is not changed",
        "gradient.shape != grad.shape → True",
    ),
    **of(
        "layer", "Layer._accumulate", "gradient = gradient.view(grad.shape) if same_size else gradient.sum_to_size(grad.shape)",
        "a view of the same shape is the same, and what is summed over axes of one is not changed",
        "gradient.view(grad.shape) if same_size else gradient.sum_to_size(grad.shape) → gradient.sum_to_size(grad.shape)",
    ),
    **of(
        "dropout", "Dropout._mask", "bits = self._words(-(-entries * n // 64), z.device).view(dtype)[:, :entries].reshape(z.shape)",
        "more words than are used; the first of them are the same (the next call draws others, as good: test_dropout.py has the "
        "documented ones)",
        "-entries * n // 64 → -entries * n * 64",
        "-entries * n // 64 → -entries * n",
        "64 → 63",
    ),
    **of(
        "dropout", "Dropout._mask", "below = round(self.p * 2**n) - 2 ** (n - 1)  # the integers are signed",
        "(−2)ⁿ = 2ⁿ for the even n here",
        "2 → -2 (2)",
    ),
    **of(
        "dropout", "Dropout._words", "words = torch.empty(len(each), count, dtype=torch.int64, device=device)",
        "random_ writes every entry",
        "torch.empty(len(each), count, dtype=torch.int64, device=device) → torch.zeros(len(each), count, dtype=torch.int64, device=device)",
    ),
    **of(
        "dropout", "Dropout._words", ROWS, "as many rows as generators",
        f"zip({ROWS_OF}, each, strict=True) → zip({ROWS_OF}, each)",
        "True → False",
    ),
    **of(
        "dropout", "Dropout._words", ROWS, "one row is all there is: its entries are drawn in the same order",
        f"{ROWS_OF} → words",
        "isinstance(self.generator, tuple) → self.generator",
        "isinstance(self.generator, tuple) → tuple",
    ),
    **of(
        "linear", "_batched", "return z.ndim == 3 and z.shape[:1] == W.shape[:-2]",
        "never batched: the product of each leading index by itself gives the same numbers",
        "1 → -1", "-2 → 0", "-2 → -3", "-2 → 2",
    ),
    **of(
        "dropout", "Dropout._mask", LANES, "min(a, b) = min(b, a), and (−2)⁻⁶ = 2⁻⁶",
        "min(self.p, 1 - self.p) → min(1 - self.p, self.p)", "2 → -2",
    ),
}  # fmt: skip

UNRUN: frozenset[Key] = frozenset(
    of(
        "dropout",
        "Dropout._mask",
        "bits = self._words(-(-entries * n // 64), z.device).view(dtype)[:, :entries].reshape(z.shape)",
        "",
        "-entries * n // 64 → -entries * n * 64",
    )
)
"""Those of them that are not run, their proof aside: 4 096 times as many words as are used take minutes to draw."""
