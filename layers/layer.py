"""What every layer shares: parameters with gradients, modes, memory between forward and backward, and its errors."""

from itertools import chain
from typing import Any, NoReturn, Self

import torch
from torch import Tensor


class Layer:
    """A function a = f(z; parameters) with its derivative: `forward(z) -> a`, then `backward(δa) -> δz`.

    `δx` stands for ∂L/∂x. `params` and `grads` are dicts of tensors with the same keys, and `buffers` a dict of tensors
    that forward updates by itself. The dicts hold the very tensors that the layer computes with: both writing into one
    (`layer.params["W"].copy_(t)`) and putting another in its place (`layer.params["W"] = t`) take effect.

    A parameter of shape (D,), or (D_in, D_out), serves every leading index of z; one of shape (S, 1, D), or
    (S, D_in, D_out), holds one model per leading index. Gradients are summed to the parameter's shape, and `backward`
    adds them to `grads` until `zero_grad()`.

    Errors: ValueError for a wrong shape, value or device, TypeError for a wrong type or dtype, RuntimeError for a
    backward that has no forward to go back through, or whose forward's tensors were changed in place since.
    """

    def __init__(self, **params: Tensor) -> None:
        self.params = params
        self.grads = {name: torch.zeros_like(p) for name, p in params.items()}
        self.buffers: dict[str, Tensor] = {}
        self.training = True
        self._matrix = {name: _matrix(p) for name, p in params.items()}
        self._kept: tuple[Tensor, ...] | None = None  # None: there was no forward yet
        self._taken: list[Any] = []  # of the last forward: shapes, dtypes and devices, of z, parameters and buffers

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """Return a = f(z), and keep what `backward` needs."""
        raise NotImplementedError

    def backward(self, δa: Tensor) -> Tensor:
        """Return δz for the last forward's z, and add the parameters' gradients to `grads`."""
        raise NotImplementedError

    def train(self, mode: bool = True) -> Self:
        """Switch to training (or, with False, to evaluation); return the layer."""
        self.training = mode
        return self

    def eval(self) -> Self:
        """Switch to evaluation; return the layer."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Set every gradient to zero, in place."""
        for grad in self.grads.values():
            grad.zero_()

    def to(self, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> Self:
        """Convert parameters, gradients and buffers, and forget the last forward; return the layer.

        A generator stays on its device: masks for another device need one that was made there.
        """
        for tensors in (self.params, self.grads, self.buffers):
            tensors.update({name: t.to(dtype=dtype, device=device) for name, t in tensors.items()})
        self._kept = None
        return self

    # For the layers: what comes in, what stays for backward, where gradients go.

    def _take(self, z: Tensor, D: int | None = None) -> None:
        """Refuse a z that is not a float tensor of shape (…, B, D), or that parameters and buffers do not fit."""
        if not isinstance(z, Tensor) or not z.is_floating_point():
            self._refuse("z", _kind(z), "a torch.Tensor of a floating-point dtype", TypeError)
        held = (*self.params.values(), *self.buffers.values())
        like = [(t.shape, t.dtype, t.device) for t in (z, *held)]
        if like != self._taken:  # what fitted once fits again
            self._fit(z, D)
            self._taken = like
        self._kept = None  # what the last forward kept makes room for what this one will

    def _fit(self, z: Tensor, D: int | None) -> None:
        if D is not None and (z.ndim < 2 or z.shape[-1] != D):
            self._refuse("z", f"of shape {tuple(z.shape)}", f"shape {_shape('…', 'B', D)}")
        for name, p in chain(self.params.items(), self.buffers.items()):
            if p.dtype != z.dtype:
                self._refuse(
                    "z", f"of {z.dtype}", f"{p.dtype} as {name}: z.to(…), or the layer's to(dtype=…)", TypeError
                )
            if p.device != z.device:
                self._refuse("z", f"on {z.device}", f"{p.device} as {name}: z.to(…), or the layer's to(device=…)")
            if name in self._matrix and _matrix(p) != self._matrix[name]:
                self._refuse(name, f"of shape {tuple(p.shape)}", f"shape {_shape('…', *self._matrix[name])}")
            if p.ndim > 2 and not _fits(p.shape[:-2], z.shape[:-2]):
                needs = f"shape {_shape('…', *p.shape[:-2], 'B', D)}, as {name} holds a model per leading index"
                self._refuse("z", f"of shape {tuple(z.shape)}", needs)

    def _keep(self, a: Tensor, *tensors: Tensor) -> Tensor:
        """Keep tensors for backward, which will take a δa like a; return a."""
        # Detached: what is kept must neither hold autograd's graph of the forward alive nor bar a deepcopy.
        self._kept = tuple([_plain(t) for t in tensors])
        self._versions = _versions(self._kept)
        self._like = a.shape, a.dtype, a.device
        return a

    def _recall(self, δa: Tensor | None) -> tuple[Tensor, ...]:
        """Return δa, where there is one, and what forward kept, after refusing a δa unlike a.

        All of it is detached: backward is the derivative itself, and nothing is recorded of it.
        """
        if self._kept is None:
            self._refuse("backward", "without a forward before it", "forward first", RuntimeError)
        if self._versions != _versions(self._kept):
            found = "changed in place since forward"
            self._refuse("an input, output or parameter", found, "forward again, or a copy to change", RuntimeError)
        if δa is None:
            return self._kept
        shape, dtype, device = self._like
        if not isinstance(δa, Tensor) or δa.dtype != dtype:
            self._refuse("the cotangent", _kind(δa), f"a torch.Tensor of {dtype} as forward's output", TypeError)
        if δa.shape != shape:
            self._refuse("the cotangent", f"of shape {tuple(δa.shape)}", f"forward's output shape {tuple(shape)}")
        if δa.device != device:
            self._refuse("the cotangent", f"on {δa.device}", f"{device} as forward's output")
        return tuple([_plain(t) for t in (δa, *self._kept)])

    def _gradient(self, name: str) -> Tensor:
        """The tensor to which a parameter's gradient is added."""
        p, grad = self.params[name], self.grads[name]
        if (grad.shape, grad.dtype, grad.device) != (p.shape, p.dtype, p.device):
            grad = self.grads[name] = torch.zeros_like(p)  # another parameter was put in place
        return grad

    def _accumulate(self, **gradients: Tensor) -> None:
        """Add each gradient, summed to its parameter's shape."""
        for name, gradient in gradients.items():
            grad = self._gradient(name)
            if gradient.shape != grad.shape:
                same_size = gradient.numel() == grad.numel()  # nothing to sum: (1, D) is (D,)
                gradient = gradient.view(grad.shape) if same_size else gradient.sum_to_size(grad.shape)
            grad.add_(gradient)

    def _refuse(self, what: str, found: object, needs: str, error: type[Exception] = ValueError) -> NoReturn:
        raise error(f"{type(self).__name__}: found {what} {found}, needs {needs}")

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        # The tensors of a copy count their changes anew.
        self._versions = _versions(self._kept or ())


def over_batch(t: Tensor) -> Tensor:
    """Σ_b t_b, of the shape that a parameter has: (D,), or (…, 1, D) where there are leading axes."""
    return t.sum(-2, keepdim=t.ndim > 2)


def _plain(t: Tensor) -> Tensor:
    """The tensor without autograd's history; itself where there is none, as even a view takes time."""
    return t.detach() if t.requires_grad else t


def _matrix(p: Tensor) -> tuple[int, ...]:
    """The last two axes of a parameter, (D,) read as (1, D)."""
    return (1, *p.shape)[-2:]


def _fits(leading: torch.Size, into: torch.Size) -> bool:
    """Whether leading axes broadcast into others without adding to them."""
    return len(leading) <= len(into) and all(n in (1, m) for n, m in zip(leading[::-1], into[::-1], strict=False))


def _shape(*axes: object) -> str:
    return f"({', '.join(map(str, axes))})"


def _versions(tensors: tuple[Tensor, ...]) -> list[int]:
    """How often each was changed in place; inference tensors do not count."""
    return [0 if t.is_inference() else t._version for t in tensors]


def _kind(x: Any) -> str:
    return f"of {x.dtype}" if isinstance(x, Tensor) else f"a {type(x).__module__}.{type(x).__name__}"
