"""`partial`: some gradients alone, cotangents of some outputs alone; None, zero and missing told apart."""

import pytest
import torch

from harness import Outcome, gradcheck

X = torch.randn(3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
W = torch.randn(3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def found(layer, *inputs):
    report = gradcheck(layer, *inputs, battery=True, raise_exception=False)
    return next(r for r in report.results if r.check == "partial")


class Product(torch.autograd.Function):
    """x w: each gradient alone."""

    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return x * w

    @staticmethod
    def backward(ctx, v):
        x, w = ctx.saved_tensors
        return v * w, v * x


class OtherFlag(Product):
    """Frozen x freezes w."""

    @staticmethod
    def backward(ctx, v):
        x, w = ctx.saved_tensors
        return (v * w, v * x) if ctx.needs_input_grad[0] else (None, None)


class SavesByFlag(Product):
    """Its backward needs what it kept for another gradient alone."""

    @staticmethod
    def forward(ctx, x, w):
        ctx.x, ctx.w = (x if ctx.needs_input_grad[0] else None), w
        return x * w

    @staticmethod
    def backward(ctx, v):
        return v * ctx.w, v * ctx.x


class Stale(Product):
    """A gradient that another's is computed from."""

    @staticmethod
    def backward(ctx, v):
        x, w = ctx.saved_tensors
        return v * w, v * x * (1 if ctx.needs_input_grad[0] else 2)


class Forgets(Product):
    @staticmethod
    def backward(ctx, v):
        return v * ctx.saved_tensors[1], None


class Graphless(torch.autograd.Function):
    """Its second output is a constant to autograd."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        sine = x.sin()
        ctx.mark_non_differentiable(sine)
        return x.square(), sine

    @staticmethod
    def backward(ctx, v, _):
        return 2 * ctx.saved_tensors[0] * v


class Both(torch.autograd.Function):
    """x² and sin x."""

    ignores = False

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.square(), x.sin()

    @staticmethod
    def backward(ctx, v, w):
        (x,) = ctx.saved_tensors
        return 2 * x * v + w * x.cos()


class Ignores(Both):
    @staticmethod
    def backward(ctx, v, w):
        return 2 * ctx.saved_tensors[0] * v


class NeedsBoth(Both):
    @staticmethod
    def forward(ctx, x):
        ctx.set_materialize_grads(False)
        return Both.forward(ctx, x)


class Signs(torch.autograd.Function):
    """The signs of x beside its square: constant wherever they are differentiable."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        signs = x.sign()
        ctx.mark_non_differentiable(signs)
        return x.square(), signs

    @staticmethod
    def backward(ctx, v, _):
        return 2 * ctx.saved_tensors[0] * v


@pytest.mark.parametrize("inputs", [(Product, X, W), (Both, X), (Signs, X), (torch.nn.Linear(2, 4), X)], ids=str)
def test_a_right_one_passes(inputs):
    assert found(*inputs).outcome is Outcome.PASS


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ((OtherFlag, X, W), "w, where w alone requires a gradient: its gradient is None: backward returned none"),
        ((SavesByFlag, X, W), "where w alone requires a gradient backward raises TypeError"),
        ((Stale, X, W), "w, where w alone requires a gradient: 6 of 6 entries are out"),
        ((Forgets, X, W), "w: its gradient is None: backward returned none, and its gradient is not zero"),
        ((lambda x, w: x * w.detach(), X, W), "w: its gradient is missing: autograd does not reach it"),
        ((Graphless, X), "output1 is detached: autograd does not reach it, and it depends on x"),
        ((Ignores, X), "output1 is ignored: its cotangent changes nothing, and it depends on x"),
        ((NeedsBoth, X), "where output0 alone has a cotangent and the others None backward raises TypeError"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_a_wrong_one_fails(inputs, said):
    result = found(*inputs)
    assert result.outcome is Outcome.FAIL
    assert said in result.reason


def test_none_zero_and_missing_are_told_apart():
    class NoneForIt(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, w):
            ctx.save_for_backward(x)
            return 2 * x

        @staticmethod
        def backward(ctx, v):
            return 2 * v, None

    unused = found(lambda x, w: 2 * x, X, W)
    zero = found(lambda x, w: 2 * x + 0 * w, X, W)
    none = found(NoneForIt, X, W)
    assert {unused.outcome, zero.outcome, none.outcome} == {Outcome.PASS}
    assert "w: its gradient is missing" in unused.reason
    assert "w: its gradient is zero" in zero.reason
    assert "w: its gradient is None" in none.reason


def test_of_many_parameters_each_has_its_turn():
    def weigh(factor):
        names = [torch.nn.Parameter(torch.ones(2)) for _ in range(6)]

        class Many(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.p = torch.nn.ParameterList(names)

            def forward(self, x):
                y = x * sum(p.exp() for p in self.p)
                return y if self.p[4].requires_grad or not self.p[3].requires_grad else factor * y

        return Many()

    from harness import LayerSpec, check

    def outcomes(factor):
        return {
            r.outcome
            for r in check(LayerSpec(lambda: weigh(factor), "B 2", "Many"), examples=6, only="partial").results
        }

    assert outcomes(1.0) == {Outcome.PASS}
    assert outcomes(2.0) == {Outcome.FAIL}


def test_a_backward_that_computes_everything_is_skipped():
    class Square:
        def forward(self, x):
            self.x = x
            return x * x

        def backward(self, v):
            return 2 * self.x * v

    result = found(Square(), X)
    assert result.outcome is Outcome.SKIP
    assert "every gradient" in result.reason
