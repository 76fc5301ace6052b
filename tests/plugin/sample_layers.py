"""Layers that come to each outcome, copied beside the suites and command lines that the tests run."""

import torch


class Scale:
    """Right: y = w x."""

    slope = 1.0

    def __init__(self, D):
        self.params = {"w": torch.linspace(1.0, 2.0, D, dtype=torch.float64)}
        self.zero_grad()

    def zero_grad(self):
        self.grads = {"w": torch.zeros_like(self.params["w"])}

    def forward(self, x):
        self.x = x
        return x * self.params["w"]

    def backward(self, v):
        self.grads["w"] += self.slope * (v * self.x).sum(0)
        return v * self.params["w"]


class Twice(Scale):
    """Its parameter gradient is twice the right one: FAIL."""

    slope = 2.0


class Switched(Scale):
    """Right, with a mode for training that doubles."""

    training = True

    def forward(self, x):
        self.factor = 2.0 if self.training else 1.0
        return super().forward(self.factor * x)

    def backward(self, v):
        return self.factor * super().backward(v)


class Hidden:
    """Right as far as it goes: `w` matters and has no gradient, so that it can't be verified: INCONCLUSIVE."""

    def __init__(self, D):
        self.w = torch.linspace(1.0, 2.0, D, dtype=torch.float64)

    def forward(self, x):
        return x * self.w

    def backward(self, v):
        return v * self.w


class Refusing(Scale):
    """Its forward accepts nothing: ERROR."""

    def forward(self, x):
        raise ValueError("no batch is good enough")


class Unbuildable:
    """Building it raises."""

    def __init__(self, D):
        raise RuntimeError("no such <width>")
