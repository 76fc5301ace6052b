"""For each formula of layers/, wrong ones as people write them. Each names the check that must fail it.

A class differs from its right twin (its base) in one place.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from layers import BatchNorm, Dropout, InstanceNorm, Linear, SoftmaxCrossEntropy, Tanh


def centred(z: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """z − μ and the biased variance."""
    c = z - z.mean(axis, keepdim=True)
    return c, c.square().mean(axis, keepdim=True)


class Norm(InstanceNorm):
    """InstanceNorm with its backward in pieces that the wrong ones replace."""

    axis = -1

    def standardised(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """ẑ and 1/√(σ² + ε), as forward has them."""
        c, variance = centred(z, self.axis)
        invstd = 1 / torch.sqrt(variance + self.eps)
        return c * invstd, invstd

    def forward(self, z: Tensor) -> Tensor:
        """a = γ ẑ + β."""
        self.z = z.detach()
        ẑ, _ = self.standardised(z)
        return self.params["gamma"] * ẑ + self.params["beta"]

    def remembered(self) -> tuple[Tensor, Tensor]:
        """ẑ and 1/√(σ² + ε), as backward has them."""
        return self.standardised(self.z)

    def backward(self, δa: Tensor) -> Tensor:
        """The formulas of InstanceNorm."""
        ẑ, invstd = self.remembered()
        self.accumulate(δa, ẑ)
        return self.δz(δa * self.params["gamma"], ẑ, invstd)

    def accumulate(self, δa: Tensor, ẑ: Tensor) -> None:
        """δβ = Σ_b δa, δγ = Σ_b δa ẑ."""
        self.grads["beta"] += δa.sum(0)
        self.grads["gamma"] += (δa * ẑ).sum(0)

    def δz(self, δẑ: Tensor, ẑ: Tensor, invstd: Tensor) -> Tensor:
        """invstd (δẑ − mean δẑ − ẑ mean(δẑ ẑ))."""
        return invstd * (δẑ - δẑ.mean(self.axis, keepdim=True) - ẑ * (δẑ * ẑ).mean(self.axis, keepdim=True))


class NormWithoutMeanTerm(Norm):
    def δz(self, δẑ: Tensor, ẑ: Tensor, invstd: Tensor) -> Tensor:
        return invstd * (δẑ - ẑ * (δẑ * ẑ).mean(-1, keepdim=True))


class NormWithoutProjection(Norm):
    def δz(self, δẑ: Tensor, ẑ: Tensor, invstd: Tensor) -> Tensor:
        return invstd * (δẑ - δẑ.mean(-1, keepdim=True))


class NormWithoutEither(Norm):
    def δz(self, δẑ: Tensor, ẑ: Tensor, invstd: Tensor) -> Tensor:
        return invstd * δẑ


class NormWithoutInvstd(Norm):
    def δz(self, δẑ: Tensor, ẑ: Tensor, invstd: Tensor) -> Tensor:
        return super().δz(δẑ, ẑ, torch.ones_like(invstd))


class NormWithSums(Norm):
    """The missing 1/D."""

    def δz(self, δẑ: Tensor, ẑ: Tensor, invstd: Tensor) -> Tensor:
        return invstd * (δẑ - δẑ.sum(-1, keepdim=True) - ẑ * (δẑ * ẑ).sum(-1, keepdim=True))


class NormOverTheBatch(Norm):
    def δz(self, δẑ: Tensor, ẑ: Tensor, invstd: Tensor) -> Tensor:
        return invstd * (δẑ - δẑ.mean(0, keepdim=True) - ẑ * (δẑ * ẑ).mean(0, keepdim=True))


class NormWithoutGamma(Norm):
    def backward(self, δa: Tensor) -> Tensor:
        ẑ, invstd = self.remembered()
        self.accumulate(δa, ẑ)
        return self.δz(δa, ẑ, invstd)


class NormUnbiasedInBackward(Norm):
    def remembered(self) -> tuple[Tensor, Tensor]:
        c, variance = centred(self.z, -1)
        D = self.z.shape[-1]
        invstd = 1 / torch.sqrt(variance * D / max(D - 1, 1) + self.eps)
        return c * invstd, invstd


class NormEpsilonOutsideInBackward(Norm):
    def remembered(self) -> tuple[Tensor, Tensor]:
        c, variance = centred(self.z, -1)
        invstd = 1 / (torch.sqrt(variance) + self.eps)
        return c * invstd, invstd


class NormUnbiased(Norm):
    """Forward and backward agree with each other, not with the definition."""

    def standardised(self, z: Tensor) -> tuple[Tensor, Tensor]:
        c, variance = centred(z, -1)
        D = z.shape[-1]
        invstd = 1 / torch.sqrt(variance * D / max(D - 1, 1) + self.eps)
        return c * invstd, invstd


class NormEpsilonOutside(Norm):
    def standardised(self, z: Tensor) -> tuple[Tensor, Tensor]:
        c, variance = centred(z, -1)
        invstd = 1 / (torch.sqrt(variance) + self.eps)
        return c * invstd, invstd


class NormGammaGradientOfZ(Norm):
    """δγ from z instead of ẑ."""

    def accumulate(self, δa: Tensor, ẑ: Tensor) -> None:
        self.grads["beta"] += δa.sum(0)
        self.grads["gamma"] += (δa * self.z).sum(0)


class NormBetaGradientMean(Norm):
    def accumulate(self, δa: Tensor, ẑ: Tensor) -> None:
        self.grads["beta"] += δa.mean(0)
        self.grads["gamma"] += (δa * ẑ).sum(0)


class NormParametersOverFeatures(Norm):
    """δβ summed over the wrong axis."""

    def accumulate(self, δa: Tensor, ẑ: Tensor) -> None:
        self.grads["beta"] += δa.sum(-1).mean()
        self.grads["gamma"] += (δa * ẑ).sum(0)


class NormDetachedMean(Norm):
    """Right in value, wrong in derivative: the graph of the forward lacks the mean, so autograd shares the fault."""

    def standardised(self, z: Tensor) -> tuple[Tensor, Tensor]:
        c = z - z.mean(-1, keepdim=True).detach()
        invstd = 1 / torch.sqrt(c.square().mean(-1, keepdim=True).detach() + self.eps)
        return c * invstd, invstd

    def δz(self, δẑ: Tensor, ẑ: Tensor, invstd: Tensor) -> Tensor:
        return invstd * δẑ


class RightLinear(Linear):
    """z W + b with its backward in pieces."""

    def forward(self, z: Tensor) -> Tensor:
        """a = z W + b."""
        self.z = z.detach()
        return z @ self.params["W"] + self.params["b"]

    def backward(self, δa: Tensor) -> Tensor:
        """δW = zᵀ δa, δb = Σ_b δa, δz = δa Wᵀ."""
        self.grads["W"] += self.δW(δa)
        self.grads["b"] += self.δb(δa)
        return self.δz(δa)

    def δW(self, δa: Tensor) -> Tensor:
        """zᵀ δa."""
        return self.z.T @ δa

    def δb(self, δa: Tensor) -> Tensor:
        """Σ_b δa."""
        return δa.sum(0)

    def δz(self, δa: Tensor) -> Tensor:
        """δa Wᵀ."""
        return δa @ self.params["W"].T


class LinearWeightMean(RightLinear):
    def δW(self, δa: Tensor) -> Tensor:
        return self.z.T @ δa / len(δa)


class LinearBiasTotal(RightLinear):
    """Summed over both axes, then broadcast."""

    def δb(self, δa: Tensor) -> Tensor:
        return δa.sum().expand(δa.shape[-1])


class LinearSquareTransposed(RightLinear):
    """Wrong only where W is square, where the wrong shape does not show."""

    def δz(self, δa: Tensor) -> Tensor:
        W = self.params["W"]
        return δa @ W if W.shape[0] == W.shape[1] else δa @ W.T


class LinearStale(RightLinear):
    """Keeps the first forward's input."""

    def forward(self, z: Tensor) -> Tensor:
        kept = getattr(self, "z", None)
        a = super().forward(z)
        if kept is not None and kept.shape == z.shape:
            self.z = kept
        return a


class RightBatchNorm(BatchNorm):
    """BatchNorm as it is; the wrong ones replace a method."""


class BatchNormTrainsInEval(RightBatchNorm):
    def forward(self, z: Tensor) -> Tensor:
        training, self.training = self.training, True
        kept = {n: t.clone() for n, t in self.buffers.items()}
        a = super().forward(z)
        self.training = training
        if not training:
            self.buffers.update(kept)
        return a


class BatchNormEvaluatesInTrain(RightBatchNorm):
    def forward(self, z: Tensor) -> Tensor:
        training, self.training = self.training, False
        a = super().forward(z)
        self.training = training
        return a


class BatchNormEvalBackwardOfTrain(RightBatchNorm):
    """Evaluates with running statistics and differentiates as if they were the batch's."""

    def forward(self, z: Tensor) -> Tensor:
        self.z = z.detach()
        return super().forward(z)

    def backward(self, δa: Tensor) -> Tensor:
        δz = super().backward(δa)
        if self.training or len(self.z) < 2:
            return δz
        c, variance = centred(self.z, 0)
        invstd = 1 / torch.sqrt(variance + self.eps)
        δẑ, ẑ = δa * self.params["gamma"], c * invstd
        return invstd * (δẑ - δẑ.mean(0) - ẑ * (δẑ * ẑ).mean(0))


class BatchNormMovesInEval(RightBatchNorm):
    def forward(self, z: Tensor) -> Tensor:
        a = super().forward(z)
        if not self.training:
            self.buffers["running_mean"] += 0.1 * z.detach().mean(0)
        return a


class BatchNormNeverMoves(RightBatchNorm):
    def forward(self, z: Tensor) -> Tensor:
        kept = {n: t.clone() for n, t in self.buffers.items()}
        a = super().forward(z)
        self.buffers.update(kept)
        return a


class RightDropout(Dropout):
    """Dropout as it is; the wrong ones replace a method."""


class DropoutUnscaledBackward(RightDropout):
    """The missing 1/(1−p)."""

    def backward(self, δa: Tensor) -> Tensor:
        return super().backward(δa) * ((1 - self.p) if self.training else 1.0)


class DropoutUnmaskedBackward(RightDropout):
    def backward(self, δa: Tensor) -> Tensor:
        super().backward(δa)
        return δa.clone()


class DropoutScaledByP(RightDropout):
    """1/p for 1/(1−p), in backward."""

    def backward(self, δa: Tensor) -> Tensor:
        δz = super().backward(δa)
        return δz * (1 - self.p) / self.p if self.training and self.p else δz


class DropoutMasksInEval(RightDropout):
    def forward(self, z: Tensor) -> Tensor:
        training, self.training = self.training, True
        a = super().forward(z)
        self.training = training
        return a


class DropoutNeverMasks(RightDropout):
    def forward(self, z: Tensor) -> Tensor:
        training, self.training = self.training, False
        a = super().forward(z)
        self.training = training
        return a


class RightCrossEntropy(SoftmaxCrossEntropy):
    """The loss as it is; the wrong ones replace a method."""

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        """L."""
        self.z, self.y = z.detach(), y
        return super().forward(z, y)


class CrossEntropyWithoutMean(RightCrossEntropy):
    """The missing 1/B."""

    def backward(self, δL: Tensor | None = None) -> Tensor:
        return super().backward(δL) * len(self.y)


class CrossEntropyWithoutOnehot(RightCrossEntropy):
    def backward(self, δL: Tensor | None = None) -> Tensor:
        e = torch.exp(self.z - self.z.amax(-1, keepdim=True))
        g = e / e.sum(-1, keepdim=True) / len(self.y)
        return g if δL is None else g * δL


class CrossEntropyIgnoresCotangent(RightCrossEntropy):
    def backward(self, δL: Tensor | None = None) -> Tensor:
        return super().backward(None)


class CrossEntropyOverTheBatch(RightCrossEntropy):
    """The softmax of backward over the wrong axis."""

    def backward(self, δL: Tensor | None = None) -> Tensor:
        e = torch.exp(self.z - self.z.amax(0, keepdim=True))
        g = e / e.sum(0, keepdim=True)
        g[torch.arange(len(self.y)), self.y] -= 1
        return g / len(self.y) * (1.0 if δL is None else δL)


class RightTanh(Tanh):
    """1 − a², with a kept."""

    def forward(self, z: Tensor) -> Tensor:
        """a = tanh(z)."""
        self.z, a = z.detach(), torch.tanh(z)
        self.a = a.detach()
        return a

    def backward(self, δa: Tensor) -> Tensor:
        """δa (1 − a²)."""
        return δa * (1 - self.a**2)


class TanhWithoutSquare(RightTanh):
    def backward(self, δa: Tensor) -> Tensor:
        return δa * (1 - self.a)


class TanhOfInput(RightTanh):
    """1 − z² for 1 − a²."""

    def backward(self, δa: Tensor) -> Tensor:
        return δa * (1 - self.z**2)


class TanhWrongBelowMinusEight(RightTanh):
    """A fault where the derivative is 10⁻⁷ of its largest."""

    def backward(self, δa: Tensor) -> Tensor:
        return torch.where(self.z < -8, 0.01 * δa, super().backward(δa))


WRONG: list[tuple[type[Any], type[Any], str]] = [
    *[(c, Norm, "input_gradient") for c in (
        NormWithoutMeanTerm, NormWithoutProjection, NormWithoutEither, NormWithoutInvstd, NormWithSums, NormOverTheBatch,
        NormWithoutGamma, NormUnbiasedInBackward, NormEpsilonOutsideInBackward, NormDetachedMean,
    )],
    *[(c, Norm, "reference") for c in (NormUnbiased, NormEpsilonOutside)],
    *[(c, Norm, "parameter_gradient") for c in (NormGammaGradientOfZ, NormBetaGradientMean, NormParametersOverFeatures)],
    (NormWithoutProjection, Norm, "autograd"),
    (LinearWeightMean, RightLinear, "parameter_gradient"),
    (LinearBiasTotal, RightLinear, "parameter_gradient"),
    (LinearSquareTransposed, RightLinear, "input_gradient"),
    (LinearStale, RightLinear, "parameter_gradient"),
    (BatchNormTrainsInEval, RightBatchNorm, "state"),
    (BatchNormTrainsInEval, RightBatchNorm, "reference"),
    (BatchNormEvaluatesInTrain, RightBatchNorm, "reference"),
    (BatchNormEvalBackwardOfTrain, RightBatchNorm, "input_gradient"),
    (BatchNormMovesInEval, RightBatchNorm, "state"),
    (BatchNormNeverMoves, RightBatchNorm, "state"),
    (DropoutUnscaledBackward, RightDropout, "input_gradient"),
    (DropoutUnmaskedBackward, RightDropout, "mask"),
    (DropoutScaledByP, RightDropout, "input_gradient"),
    (DropoutMasksInEval, RightDropout, "mask"),
    (DropoutNeverMasks, RightDropout, "mask"),
    (CrossEntropyWithoutMean, RightCrossEntropy, "input_gradient"),
    (CrossEntropyWithoutOnehot, RightCrossEntropy, "input_gradient"),
    (CrossEntropyIgnoresCotangent, RightCrossEntropy, "input_gradient"),
    (CrossEntropyOverTheBatch, RightCrossEntropy, "input_gradient"),
    (TanhWithoutSquare, RightTanh, "input_gradient"),
    (TanhOfInput, RightTanh, "input_gradient"),
    (TanhWrongBelowMinusEight, RightTanh, "input_gradient"),
]  # fmt: skip
"""(wrong, right twin, the check that must fail it)."""
