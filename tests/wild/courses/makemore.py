"""In the style of makemore's "becoming a backprop ninja": an MLP with batch normalisation gone back through by hand, step by step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

NAMES = ("C", "W1", "b1", "bngain", "bnbias", "W2", "b2")


def parameters() -> list[Tensor]:
    g = torch.Generator().manual_seed(2147483647)
    shapes = ((5, 2), (6, 4), (4,), (1, 4), (1, 4), (4, 5), (5,))
    return [torch.randn(s, generator=g, dtype=torch.float64) * 0.5 for s in shapes]


def mlp(Xb: Tensor, Yb: Tensor, *weights: Tensor, wrong: str = "") -> Any:
    """(loss, how to go back); `wrong` names the gradient that is out."""
    C, W1, b1, bngain, bnbias, W2, b2 = weights
    n = Xb.shape[0]
    emb = C[Xb]
    embcat = emb.view(n, -1)
    hprebn = embcat @ W1 + b1
    bnmeani = hprebn.mean(0, keepdim=True)
    bndiff = hprebn - bnmeani
    bnvar = (bndiff**2).sum(0, keepdim=True) / (n - 1)  # Bessel's correction
    bnvar_inv = (bnvar + 1e-5) ** -0.5
    bnraw = bndiff * bnvar_inv
    h = torch.tanh(bngain * bnraw + bnbias)
    logits = h @ W2 + b2
    logprobs = logits.log_softmax(1)
    loss = -logprobs[range(n), Yb].mean()

    def back(dloss: Tensor) -> Any:
        dlogits = logprobs.exp()
        dlogits[range(n), Yb] -= 1
        dlogits = dlogits * dloss / n
        dh, dW2, db2 = dlogits @ W2.T, h.T @ dlogits, dlogits.sum(0)
        dhpreact = (1 - h**2) * dh
        dbngain = (bnraw * dhpreact).sum(0, keepdim=True)
        dbnbias = dhpreact.sum(0, keepdim=True)
        last = n / (n - 1) if wrong != "bessel" else 1.0
        dsum = dhpreact.sum(0) + last * bnraw * (dhpreact * bnraw).sum(0)
        dhprebn = bngain * bnvar_inv / n * (n * dhpreact - dsum)
        dembcat, dW1, db1 = dhprebn @ W1.T, embcat.T @ dhprebn, dhprebn.sum(0)
        demb = dembcat.view(emb.shape)
        dC = torch.zeros_like(C)
        for k in range(n):
            for j in range(Xb.shape[1]):
                if wrong == "C":
                    dC[Xb[k, j]] = demb[k, j]  # = for +=
                else:
                    dC[Xb[k, j]] += demb[k, j]
        return None, None, dC, dW1, db1, dbngain, dbnbias, dW2, db2

    return loss, back
