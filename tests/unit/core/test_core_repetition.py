"""Backward belongs to its forward: layers that keep too much, too little, or what was never written."""

import numpy as np
import pytest
import torch

from harness import LayerSpec, Outcome, check, floats, gradcheck
from harness.checks.repetition import repeatable
from harness.examples.cases import case_of
from harness.examples.design import Example
from harness.session import Session
from layers import BatchNorm, Linear, Sequential, Tanh


class Square:
    """x², right: each backward belongs to the forward before it."""

    def forward(self, x):
        self.x = x
        return x * x

    def backward(self, dy):
        return 2 * self.x * dy


class LargestBuffer(Square):
    """A buffer of the largest size so far, summed over as a whole."""

    def __init__(self):
        self.buffer = torch.zeros(0, 4).double()

    def forward(self, x):
        if len(self.buffer) < len(x):
            self.buffer = torch.zeros_like(x)
        self.buffer[: len(x)] = x
        self.rows = len(x)
        return x * self.buffer.sum()

    def backward(self, dy):
        return dy * self.buffer.sum() + (dy * self.buffer[: self.rows]).sum()


class ClassCache(Square):
    """The cache stands on the class: two layers share it."""

    def forward(self, x):
        type(self).x = x
        return x * x

    def backward(self, dy):
        return 2 * type(self).x * dy


class UsedUp(Square):
    """Its second backward answers with what the first has left."""

    def backward(self, dy):
        self.x *= 2
        return self.x * dy


class Single(Square):
    """Its second backward raises."""

    def backward(self, dy):
        x, self.x = self.x, None
        return 2 * x * dy


class ByIdentity(Square):
    """Keeps the slope under the very tensor it was computed from, which a loop may fill anew."""

    last, version = None, None

    def forward(self, x):
        if x is not self.last or not self.same(x):
            self.last, self.version, self.slope = x, x._version, 2 * x
        return super().forward(x)

    def same(self, x):
        return True

    def backward(self, dy):
        return self.slope * dy


class ByVersion(ByIdentity):
    """Its right twin: it sees that a tensor was written to."""

    def same(self, x):
        return x._version == self.version


class GradientByIdentity(Square):
    """Keeps the gradient under the very cotangent."""

    last = None

    def backward(self, dy):
        if dy is not self.last:
            self.last, self.dx = dy, 2 * self.x * dy
        return self.dx


class Unwritten(Square):
    """Relies on memory that is zero at first more often than not."""

    def backward(self, dy):
        start = torch.empty_like(dy)
        return torch.where(start.isnan(), start, 2 * self.x * dy)


class UnwrittenNumpy(Square):
    def backward(self, dy):
        out = np.empty_like(dy)
        return np.where(np.isnan(out), out, 2 * self.x * dy)


X = torch.randn(4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def outcome(layer, name, x=X):
    report = gradcheck(layer, x, battery=True, raise_exception=False)
    return next(r for r in report.results if r.check == name)


@pytest.mark.parametrize("name", ["repeatable", "reuse"])
@pytest.mark.parametrize("x", [X, X.numpy()], ids=["torch", "NumPy"])
def test_a_right_layer_passes(name, x):
    assert outcome(Square(), name, x).outcome is Outcome.PASS


@pytest.mark.parametrize(
    ("layer", "name", "said"),
    [
        (LargestBuffer(), "reuse", "twice as many rows"),
        (ClassCache(), "reuse", "another layer of the class"),
        (ByIdentity(), "reuse", "filled anew"),
        (GradientByIdentity(), "reuse", "filled anew"),
        (UsedUp(), "repeatable", "second call"),
        (Unwritten(), "repeatable", "never written"),
    ],
)
def test_a_wrong_one_fails(layer, name, said):
    found = outcome(layer, name)
    assert found.outcome is Outcome.FAIL
    assert said in found.reason


def test_memory_that_numpy_leaves_unwritten_is_seen():
    found = outcome(UnwrittenNumpy(), "repeatable", X.numpy())
    assert found.outcome is Outcome.FAIL
    assert "never written" in found.reason


def test_what_is_kept_under_a_tensor_and_its_version_is_right():
    assert outcome(ByVersion(), "reuse").outcome is Outcome.PASS


def test_a_single_use_pullback_is_said_and_passes():
    found = outcome(Single(), "repeatable")
    assert found.outcome is Outcome.PASS
    assert "single use" in found.reason


def test_numpy_and_torch_allocate_as_before_afterwards():
    before = np.empty, torch.are_deterministic_algorithms_enabled()
    outcome(Square(), "repeatable")
    assert (np.empty, torch.are_deterministic_algorithms_enabled()) == before


def test_only_a_layer_that_promises_to_be_reentrant_must_be():
    spec = LayerSpec(build=Square, inputs=(floats("B D"),))
    (found,) = check(spec, examples=3, only=("reuse",)).results
    assert found.outcome is Outcome.PASS
    (found,) = check(
        LayerSpec(build=Square, inputs=(floats("B D"),), promises=("reentrant",)), examples=3, only=("reuse",)
    ).results
    assert found.outcome is Outcome.FAIL
    assert "reentrant" in found.reason


class AddedInOneStep(Linear):
    """W's gradient is added up by the product that computes it, after what stands there has been multiplied by `kept`."""

    def __init__(self, D_in, D_out, kept=1.0):
        super().__init__(D_in, D_out)
        self.kept = kept

    def backward(self, v):
        v, z, W = self._recall(v)
        self._gradient("W").addmm_(z.mT, v, beta=self.kept)
        self._accumulate(b=v.sum(0))
        return v @ W.mT


@pytest.mark.parametrize(("kept", "outcome"), [(1.0, Outcome.PASS), (1.001, Outcome.FAIL), (0.9, Outcome.FAIL)])
def test_a_sum_in_one_step_rounds_otherwise_than_one_in_two(kept, outcome):
    """In front of a normalisation gradients are what others leave that cancel, and differ by more than last digits."""

    def build(D_in, H):
        return Sequential(AddedInOneStep(D_in, H, kept), BatchNorm(H), Tanh())

    spec = LayerSpec(build, "B D_in", dims={"H": range(1, 7)}, name="Added", promises=("accumulates",))
    (found,) = (r for r in check(spec, examples=25, seed=1, only=("accumulation",)).results if r.mode == "train")
    assert found.outcome is outcome


class OnAStack:
    """Goes back in the reverse order of its forwards; its wrong twin in their own."""

    def __init__(self, last=-1):
        self.kept, self.last = [], last

    def forward(self, x):
        self.kept.append(x.copy())
        return x * x

    def backward(self, d):
        return 2 * self.kept.pop(self.last) * d


def test_a_stack_belongs_to_its_forwards_in_the_order_in_which_a_chain_goes_back():
    def twice(layer):
        spec = LayerSpec(build=layer, inputs="B D", name="OnAStack", promises=("reentrant",))
        return check(spec, examples=4, only=("reuse",)).results[0]

    assert twice(OnAStack).outcome is Outcome.PASS
    assert twice(OnAStack).reason == ""
    assert twice(lambda: OnAStack(0)).outcome is Outcome.FAIL


class Spoilt(torch.autograd.Function):
    """sin x: backward computes in the memory of what forward saved, past autograd's version counters."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(torch.cos(x))
        return torch.sin(x)

    @staticmethod
    def backward(ctx, dy):
        (slope,) = ctx.saved_tensors
        np.multiply(slope.numpy(), dy.numpy(), out=slope.numpy())
        return slope.clone()


class Unspoilt(Spoilt):
    @staticmethod
    def backward(ctx, dy):
        (slope,) = ctx.saved_tensors
        return slope * dy


class Guarded(Spoilt):
    """The same write where autograd sees it: a second call raises, whatever is retained."""

    @staticmethod
    def backward(ctx, dy):
        (slope,) = ctx.saved_tensors
        return slope.mul_(dy).clone()


@pytest.mark.parametrize(
    ("layer", "outcome", "said"),
    [
        (Unspoilt, Outcome.PASS, ""),
        (Guarded, Outcome.PASS, "backward is for single use: a second call raises"),
        (Spoilt, Outcome.FAIL, "x, a second call of one backward: 16 of 16 entries are out"),
    ],
)
def test_what_forward_saved_is_left_as_it_was(layer, outcome, said):
    report = gradcheck(layer, X, battery=True, raise_exception=False)
    found = next(r for r in report.results if r.check == "repeatable")
    assert (found.outcome, found.reason) == (outcome, said)


class GivesAway(Unspoilt):
    """What a compiled backward does that computes in the memory of what was saved: it refuses to be called twice at once."""

    @staticmethod
    def backward(ctx, dy):
        if torch._C._autograd._get_current_graph_task_keep_graph():
            raise RuntimeError(
                "compiled with non-empty donated buffers which requires create_graph=False and retain_graph=False"
            )
        return Unspoilt.backward(ctx, dy)


def test_a_backward_that_gives_its_memory_away_goes_back_once():
    found = gradcheck(GivesAway, X, battery=True)
    reasons = {r.check: r.reason for r in found.results}
    assert reasons["repeatable"] == "backward is for single use: a second call raises"


class Wavering(torch.autograd.Function):
    """sin x: forward is the same to the bit each time, backward is off by a thousandth or so, another each time."""

    off = 1e-3

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.sin(x)

    @staticmethod
    def backward(ctx, dy):
        (x,) = ctx.saved_tensors
        return dy * torch.cos(x) * (1 + Wavering.off * float(np.random.default_rng().normal()))


@pytest.mark.parametrize(("off", "outcome"), [(1e-3, Outcome.FAIL), (1e-9, Outcome.PASS)])
def test_what_differs_from_call_to_call_does_not_excuse_itself_as_rounding(off, outcome, monkeypatch):
    monkeypatch.setattr(Wavering, "off", off)
    report = gradcheck(Wavering, X, battery=True, raise_exception=False)
    assert next(r for r in report.results if r.check == "repeatable").outcome is outcome


SLOT, TAPE = {}, []


class InAGlobal(Square):
    """What it keeps stands in a dict of its module: two layers share it."""

    def forward(self, x):
        SLOT["x"] = x
        return x * x

    def backward(self, dy):
        return 2 * SLOT["x"] * dy


class OnATape(Square):
    """What it keeps stands on a tape of its module: two layers share it in peace, the later goes back first."""

    def forward(self, x):
        TAPE.append(x)
        return x * x

    def backward(self, dy):
        return 2 * TAPE.pop() * dy


class OfTheClass(Square):
    """Parameter and gradient are its class's."""

    w, dw = torch.ones(4).double(), torch.zeros(4).double()

    def forward(self, x):
        self.x = x
        return x * OfTheClass.w

    def backward(self, dy):
        OfTheClass.dw += (dy * self.x).sum(0)
        return dy * OfTheClass.w


def in_a_closure():
    slot = {}

    def forward(x):
        slot["x"] = x
        return x * x, None

    def backward(dy, cache):
        return 2 * slot["x"] * dy

    return forward, backward


@pytest.mark.parametrize(
    ("layer", "promises", "outcome", "said"),
    [
        (InAGlobal, (), Outcome.FAIL, "x, with another layer of the class in between"),
        (OnATape, (), Outcome.PASS, ""),
        (OfTheClass, (), Outcome.PASS, "a second forward replaces what the first kept"),
        (in_a_closure, (), Outcome.PASS, "a second forward replaces what the first kept"),
        (in_a_closure, ("reentrant",), Outcome.FAIL, "promised to be reentrant"),
    ],
)
def test_what_two_layers_share_outside_them(layer, promises, outcome, said):
    spec = LayerSpec(layer, "B 4", promises=promises)
    report = check(spec, examples=4, only=("reuse",))
    assert [r.outcome for r in report.results] == [outcome]
    assert report.results[0].reason.startswith(said)


class Scale:
    """w x: the gradient of x depends on nothing that forward keeps, that of w does."""

    def __init__(self, stacked):
        self.w, self.dw = torch.ones(4).double(), torch.zeros(4).double()
        self.stacked, self.xs = stacked, []

    def forward(self, x):
        self.xs = [*(self.xs if self.stacked else []), x]
        return self.w * x

    def backward(self, dy):
        x = self.xs[-1]
        self.xs = self.xs[:-1] or self.xs
        self.dw += (dy * x).sum(0)
        return dy * self.w


@pytest.mark.parametrize(("stacked", "outcome"), [(True, Outcome.PASS), (False, Outcome.FAIL)])
def test_a_promise_to_be_reentrant_is_one_about_parameters_too(stacked, outcome):
    spec = LayerSpec(lambda: Scale(stacked), "B 4", promises=("reentrant",))
    assert [r.outcome for r in check(spec, examples=4, only=("reuse",)).results] == [outcome]


class FromAStack(Square):
    """Right: each backward takes what the last forward has put on a stack, where forwards without a backward have left more."""

    def forward(self, x):
        vars(self).setdefault("stack", []).append(x)
        return x * x

    def backward(self, dy):
        return 2 * self.stack.pop() * dy


class Kept(FromAStack):
    """It leaves what it has taken, half as large."""

    def backward(self, dy):
        self.stack[-1] = self.stack[-1] / 2
        return 4 * self.stack[-1] * dy


@pytest.mark.parametrize(("kind", "outcome"), [(FromAStack, Outcome.PASS), (Kept, Outcome.FAIL)])
def test_a_second_call_that_is_for_the_forward_before_is_none_of_this_one_s(kind, outcome):
    case, _ = case_of(LayerSpec(kind, "B D"), Example({"B": 5, "D": 4}, {}, seed=1), None, torch.device("cpu"), None)
    session = Session(case)
    assert repeatable(session).outcome is outcome
    case.at(leaves={"x": case.leaves["x"] / 3}).fresh()  # as differences leave them
    seen = repeatable(session)
    assert seen.outcome is outcome
    assert ("from a stack" in seen.reason) is (outcome is Outcome.PASS)


class Product(Square):
    """x W, right."""

    def __init__(self):
        self.W, self.turned = X[:3].clone().T, None

    def forward(self, x):
        self.x = x
        return x @ self.W

    def backward(self, dy):
        self.dW = self.x.T @ dy
        return dy @ self.W.T


class TurnedOnce(Product):
    """Turns W at its first backward and never again."""

    def backward(self, dy):
        super().backward(dy)
        if self.turned is None:
            self.turned = self.W.T.clone()
        return dy @ self.turned


@pytest.mark.parametrize("layer", [Product, TurnedOnce])
def test_what_backward_keeps_of_parameters_is_old_once_they_move(layer):
    found = outcome(layer(), "input_gradient")
    assert found.outcome is (Outcome.PASS if layer is Product else Outcome.FAIL)
    assert layer is Product or "other parameters moved" in found.finding.example


class Scaled(torch.autograd.Function):
    """tanh(x) s."""

    @staticmethod
    def forward(ctx, x, s):
        ctx.save_for_backward(x, s)
        return x.tanh() * s

    @staticmethod
    def backward(ctx, dy):
        x, s = ctx.saved_tensors
        return dy * s * (1 - x.tanh() ** 2), (dy * x.tanh()).sum(0)


class KeptOnTheClass(Scaled):
    """Its scale stands on the class, not on the context."""

    @staticmethod
    def forward(ctx, x, s):
        KeptOnTheClass.s = s.detach()
        return Scaled.forward(ctx, x, s)

    @staticmethod
    def backward(ctx, dy):
        dx, ds = Scaled.backward(ctx, dy)
        return dx / ctx.saved_tensors[1] * KeptOnTheClass.s, ds


@pytest.mark.parametrize("function", [Scaled, KeptOnTheClass])
def test_a_function_at_two_places_of_a_network_keeps_what_each_forward_left(function):
    report = gradcheck(function, X, X[0], battery=True, raise_exception=False)
    [found] = [r for r in report.results if r.check == "reuse"]
    assert found.outcome is (Outcome.PASS if function is Scaled else Outcome.FAIL)
    assert function is Scaled or "after a second forward" in found.reason
