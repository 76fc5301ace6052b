"""Layers one after the other."""

from collections.abc import MutableMapping
from itertools import combinations
from typing import Any, Self

import torch
from torch import Tensor

from layers.layer import Layer


class Sequential(Layer):
    """a = f_n(… f_1(f_0(z))).

    z: as the first layer takes it. `params`, `grads` and `buffers` hold the sublayers' own tensors under the names
    "0.W", "1.gamma", …; writing into one and putting another in its place both take effect in the sublayer. Each look
    at them makes a new dict, of the tensors that the sublayers have at that moment.
    """

    def __init__(self, *layers: Layer) -> None:
        if not layers or not all(isinstance(layer, Layer) for layer in layers):
            found = ", ".join(type(layer).__name__ for layer in layers) or "no layers"
            raise TypeError(f"Sequential: found {found}, needs one or more layers")
        for (i, first), (j, second) in combinations(enumerate(layers), 2):
            if first is second:  # it would remember only its last forward
                raise ValueError(
                    f"Sequential: found layer {i} again as layer {j}, needs layers of their own (copy.deepcopy)"
                )
        self.layers = layers
        self.training = all(layer.training for layer in layers)

    def forward(self, z: Tensor) -> Tensor:
        """Return a, layer by layer."""
        for layer in self.layers:
            z = layer.forward(z)
        return z

    def backward(self, δa: Tensor) -> Tensor:
        """Return δz, layer by layer from the last."""
        for layer in reversed(self.layers):
            δa = layer.backward(δa)
        return δa

    @property
    def params(self) -> dict[str, Tensor]:  # type: ignore[override]  # read-only: there is no dict to be replaced
        """The sublayers' parameters."""
        return _Joined([layer.params for layer in self.layers])

    @property
    def grads(self) -> dict[str, Tensor]:  # type: ignore[override]
        """The sublayers' gradients."""
        return _Joined([layer.grads for layer in self.layers])

    @property
    def buffers(self) -> dict[str, Tensor]:  # type: ignore[override]
        """The sublayers' buffers."""
        return _Joined([layer.buffers for layer in self.layers])

    def train(self, mode: bool = True) -> Self:
        """Switch every layer to training (or, with False, to evaluation); return the whole."""
        for layer in self.layers:
            layer.train(mode)
        return super().train(mode)

    def to(self, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> Self:
        """Convert every layer; return the whole."""
        for layer in self.layers:
            layer.to(dtype=dtype, device=device)
        return self

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)


class _Joined(dict[str, Tensor]):
    """Several dicts as one: "0.W" is the first one's "W", and setting it sets it there."""

    def __init__(self, parts: list[dict[str, Tensor]]) -> None:
        super().__init__({f"{i}.{name}": t for i, part in enumerate(parts) for name, t in part.items()})
        self._parts = parts

    def __setitem__(self, key: str, t: Tensor) -> None:
        i, name = key.split(".", 1)
        self._parts[int(i)][name] = t
        super().__setitem__(key, t)

    update = MutableMapping.update  # dict's own would pass by __setitem__
