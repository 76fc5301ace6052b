"""Every convention, in torch and NumPy: the right layer is verified, its wrong twin is named to the tensor."""

from __future__ import annotations

from typing import Any

import core_layers as layers
import numpy as np
import pytest
import torch

from harness import GradientError, LayerSpec, NotVerified, Outcome, SpecError, check, const, gradcheck


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


X, W, B = randn(4, 3), randn(3, 2, seed=1), randn(2, seed=2)
TORCH = (X, W, B)
NUMPY = tuple(t.numpy() for t in TORCH)
numpy_pair = (layers.numpy_affine_forward, layers.affine_backward)

# name: (right, wrong twin, inputs, the tensor that is wrong)
TWINS: dict[str, tuple[Any, Any, tuple[Any, ...], str]] = {
    "dicts": (layers.DictLinear(3, 2), layers.WrongDictLinear(3, 2), (X,), "W"),
    "dicts in NumPy": (layers.NumpyDictLinear(), layers.WrongNumpyDictLinear(), NUMPY[:1], "W"),
    "attributes": (layers.AttributeLinear(), layers.WrongAttributeLinear(), (X,), "W"),
    "attributes in NumPy": (layers.NumpyLinear(), layers.WrongNumpyLinear(), NUMPY[:1], "W"),
    "pair": (
        (layers.affine_forward, layers.affine_backward),
        (layers.affine_forward, layers.wrong_affine_backward),
        TORCH,
        "w",
    ),
    "pair in NumPy": (numpy_pair, (layers.numpy_affine_forward, layers.wrong_affine_backward), NUMPY, "w"),
    "Function": (layers.Cubic, layers.WrongCubic, (X, X + 1), "w"),
    "closure": (layers.closure, layers.wrong_closure, (X, W), "w"),
    "closure in NumPy": (layers.numpy_closure, layers.wrong_numpy_closure, NUMPY[:2], "w"),
    "module": (layers.CubicModule(3), layers.WrongCubicModule(3), (X,), "weight"),
    "callable": (layers.call_cubic, layers.call_wrong_cubic, (X, X + 1), "w"),
    "lambda": (
        lambda x, w: layers.Cubic.apply(x, w) + 0,
        lambda x, w: layers.WrongCubic.apply(x, w) + 0,
        (X, X + 1),
        "w",
    ),
    "loss": (layers.Softmax(), layers.SoftmaxWithoutMean(), (X, torch.tensor([0, 2, 1, 1])), "z"),
    "normalisation": (layers.LayerNorm(3), layers.LayerNormWithoutGamma(3), (X,), "x"),
}


@pytest.mark.parametrize(("right", "wrong", "inputs", "tensor"), TWINS.values(), ids=TWINS)
def test_right_layer_is_verified(right, wrong, inputs, tensor):
    report = gradcheck(right, *inputs)
    assert report.ok
    assert tensor in {n for r in report.results for n in r.tensors}


@pytest.mark.parametrize(("right", "wrong", "inputs", "tensor"), TWINS.values(), ids=TWINS)
def test_wrong_twin_is_an_error_that_names_the_tensor(right, wrong, inputs, tensor):
    with pytest.raises(GradientError) as raised:
        gradcheck(wrong, *inputs)
    assert not isinstance(raised.value, NotVerified)
    report = raised.value.report
    assert {r.finding.where[0] for r in report.failures} == {tensor}
    assert f"{tensor}[" in str(raised.value)


@pytest.mark.parametrize(("right", "wrong", "inputs", "tensor"), TWINS.values(), ids=TWINS)
def test_other_tensors_of_the_wrong_twin_are_not_blamed(right, wrong, inputs, tensor):
    report = gradcheck(wrong, *inputs, raise_exception=False)
    failed = {r.check for r in report.failures}
    assert ("input_gradient" if tensor in ("x", "w", "z") else "parameter_gradient") in failed
    for r in report.failures:
        assert f"{tensor}: " in r.reason
        assert "; " not in r.reason


# Inputs and outputs


class Two:
    """(x·y, x + 2y): two inputs, two outputs."""

    second = 2.0

    def forward(self, x, y):
        self.x, self.y = x, y
        return x * y, x + 2 * y

    def backward(self, da, db):
        return da * self.y + db, da * self.x + self.second * db


class TwoWrong(Two):
    second = 1.0


@pytest.mark.parametrize("inputs", [(X, X + 1), (NUMPY[0], NUMPY[0] + 1)], ids=["torch", "NumPy"])
def test_several_inputs_and_outputs(inputs):
    assert gradcheck(Two(), *inputs).ok
    with pytest.raises(GradientError, match=r"y\["):
        gradcheck(TwoWrong(), *inputs)


def test_gradients_by_name():
    def forward(x, w):
        return x * w, (x, w)

    assert gradcheck((forward, lambda d, c: {"dw": d * c[0], "dx": d * c[1]}), X, X + 1).ok
    with pytest.raises(GradientError, match=r"x\["):
        gradcheck((forward, lambda d, c: {"dw": d * c[0], "dx": d * c[0]}), X, X + 1)


def test_gradient_with_a_strangers_name_is_an_error():
    with pytest.raises(SpecError, match=r"a gradient named 'dq', which fits no input \(x\): name it 'dx' or the like"):
        gradcheck((lambda x: (x * 1.0, None), lambda d, c: {"dq": d}), X)


def test_more_gradients_than_inputs_is_an_error():
    with pytest.raises(SpecError, match="returned 2 gradients for the inputs x"):
        gradcheck((lambda x: (x * 1.0, None), lambda d, c: (d, d)), X)


def test_backward_that_asks_for_more_cotangents_than_outputs_is_an_error():
    class Greedy(layers.Identity):
        def backward(self, dy, other):
            return dy * other["scale"]

    with pytest.raises(
        SpecError, match=r"Greedy.backward asks for 2 arguments \(dy, other\) and the forward has 1 out"
    ):
        gradcheck(Greedy(), X)


def test_forward_of_a_pair_that_returns_no_cache_is_an_error():
    with pytest.raises(SpecError, match=r"scale: the forward of a pair must return \(out, cache\); it returned Tensor"):
        gradcheck((_scale_forward, lambda d, c: d), X)


def _scale_forward(x):
    return 2 * x


_scale_forward.__name__ = "scale_forward"


def test_integer_labels_have_no_gradient():
    report = gradcheck(layers.Softmax(), X, torch.tensor([0, 2, 1, 1]))
    assert all(set(r.tensors) <= {"z", "y", "cotangent"} for r in report.results)
    assert "y" not in report.results[0].tensors


def test_const_has_no_gradient():
    class Squares:
        def forward(self, x, target):
            self.d = x - target
            return self.d.square().sum()

        def backward(self, dy=1.0):
            return 2 * self.d * dy, None

    assert gradcheck(Squares(), X, const(X + 1)).results[0].reason == ""
    assert gradcheck(Squares(), X, X + 1).results[0].reason == "backward returns no gradient of target; not judged"


def test_target_that_backward_returns_nothing_for_is_said():
    class Squares:
        def forward(self, x, target):
            self.d = x - target
            return self.d.square().sum()

        def backward(self):
            return 2 * self.d

    report = gradcheck(Squares(), X, X + 1)
    assert report.ok
    assert "backward returns no gradient of target; not judged" in str(report)


def test_keywords_of_forward():
    class Power(layers.Identity):
        def forward(self, x, power=1, scale=1.0):
            self.x, self.power, self.scale = x, power, scale
            return scale * x**power

        def backward(self, dy):
            return dy * self.scale * self.power * self.x ** (self.power - 1)

    assert gradcheck(Power(), X, kwargs={"power": 3, "scale": 0.5}).ok


def test_keyword_of_forward_that_is_wrong_is_found():
    class Power(layers.Identity):
        def forward(self, x, power=1):
            self.x = x
            return x**power

    assert gradcheck(Power(), X).ok
    with pytest.raises(GradientError):
        gradcheck(Power(), X, kwargs={"power": 2})


def test_argument_that_is_no_tensor_is_passed_on():
    class Power(layers.Identity):
        def forward(self, x, power):
            self.x, self.power = x, power
            return x**power

        def backward(self, dy):
            return dy * self.power * self.x ** (self.power - 1)

    assert gradcheck(Power(), X, 3).ok


# Gradients that are missing or malformed


def test_missing_gradient_is_an_error():
    class Silent(layers.Identity):
        def backward(self, dy):
            return None

    with pytest.raises(GradientError, match="x: backward gave no gradient of it"):
        gradcheck(Silent(), X)


def test_gradient_of_wrong_shape_is_an_error():
    class Summed(layers.Identity):
        def backward(self, dy):
            return dy.sum(0)

    with pytest.raises(GradientError, match=r"x: its gradient has shape \(3,\), it has \(4, 3\)"):
        gradcheck(Summed(), X)


def test_parameter_gradient_of_wrong_shape_is_an_error():
    class Kept(layers.DictLinear):
        def backward(self, dy):
            self.grads["b"] = dy
            return dy @ self.params["W"].T

    report = gradcheck(Kept(3, 2), X, raise_exception=False)
    reasons = {r.check: r.reason for r in report.failures}
    assert "b: its gradient has shape (4, 2), it has (2,)" in reasons["parameter_gradient"]


def test_gradient_that_is_not_finite_is_an_error():
    class Holed(layers.Identity):
        def backward(self, dy):
            d = dy * 1.0
            d[0, 0] = float("nan")
            return d

    with pytest.raises(GradientError, match="1 of 12 entries of the gradient are not finite"):
        gradcheck(Holed(), X)


# Discovery


class Forgetful(layers.AttributeLinear):
    """Computes no gradient of b."""

    def backward(self, dy):
        self.dW = self.cache.T @ dy
        return dy @ self.W.T


def test_array_without_gradient_is_not_verified_and_named_with_the_line_to_write():
    with pytest.raises(NotVerified) as raised:
        gradcheck(Forgetful(), X)
    report = raised.value.report
    reason = next(r.reason for r in report.results if r.check == "parameter_gradient")
    assert "`b` changes the output and has no gradient: set self.db in backward" in reason
    assert "write grads={'b': 'its gradient'}, or None there if it is a constant" in reason


def test_array_that_is_declared_a_constant_is_left_alone():
    assert gradcheck(Forgetful(), X, grads={"b": None}).ok


class Delta(layers.AttributeLinear):
    """Its gradient has a name that no one guesses."""

    def backward(self, dy):
        self.nabla, self.db = self.factor * self.cache.T @ dy, dy.sum(0)
        return dy @ self.W.T


class WrongDelta(Delta):
    factor = 2.0


def test_gradient_of_a_declared_name():
    assert gradcheck(Delta(), X, grads={"W": "nabla"}).ok
    with pytest.raises(GradientError, match=r"W\["):
        gradcheck(WrongDelta(), X, grads={"W": "nabla"})
    with pytest.raises(NotVerified, match="`W` changes the output"):
        gradcheck(WrongDelta(), X)


def test_declared_gradient_that_is_not_there_is_an_error():
    with pytest.raises(SpecError, match=r"grads=\{'W': 'dQ'\}: Delta has no array 'dQ'.* after backward"):
        gradcheck(Delta(), X, grads={"W": "dQ"})


def test_declared_parameter_that_is_not_there_is_an_error():
    with pytest.raises(SpecError, match=r"grads names 'Q', which is no array of Delta: it has .*W"):
        gradcheck(Delta(), X, grads={"Q": "dQ"})


@pytest.mark.parametrize("name", ["dW", "grad_W", "W_grad", "d_W", "dLdW", "delta_W", "gW"])
@pytest.mark.parametrize("factor", [1.0, 2.0], ids=["right", "wrong"])
def test_usual_names_of_a_gradient_are_known(name, factor):
    class Named(layers.AttributeLinear):
        def backward(self, dy):
            self.db = dy.sum(0)
            setattr(self, name, factor * self.cache.T @ dy)
            return dy @ self.W.T

    report = gradcheck(Named(), X, raise_exception=False)
    assert report.ok is (factor == 1.0)


def test_gradients_inside_an_inner_layer():
    class Outer:
        inner_type: Any = layers.AttributeLinear

        def __init__(self):
            self.inner = self.inner_type()

        def forward(self, x):
            return self.inner.forward(x)

        def backward(self, dy):
            return self.inner.backward(dy)

    class WrongOuter(Outer):
        inner_type = layers.WrongAttributeLinear

    assert {"inner.W", "inner.b"} <= {n for r in gradcheck(Outer(), X).results for n in r.tensors}
    with pytest.raises(GradientError, match=r"inner\.W\["):
        gradcheck(WrongOuter(), X)


class Slope:
    """y = a x with a scalar a."""

    factor = 1.0

    def __init__(self, a: Any = 0.5) -> None:
        self.a = a

    def forward(self, x):
        self.x = x
        return self.a * x

    def backward(self, dy):
        self.da = self.factor * (dy * self.x).sum()
        return self.a * dy


class WrongSlope(Slope):
    factor = 2.0


@pytest.mark.parametrize("x", [X, NUMPY[0]], ids=["torch", "NumPy"])
@pytest.mark.parametrize(
    "a", [0.5, np.float64(0.5), torch.tensor(0.5, dtype=torch.float64)], ids=lambda a: type(a).__name__
)
def test_scalar_is_a_parameter_where_a_gradient_is_named_after_it(x, a):
    if isinstance(x, np.ndarray) and isinstance(a, torch.Tensor):
        a = np.array(0.5)
    report = gradcheck(Slope(a), x)
    assert "a" in next(r.tensors for r in report.results if r.check == "parameter_gradient")
    with pytest.raises(GradientError, match="a: 1 of 1 entries are out"):
        gradcheck(WrongSlope(a), x)


def test_finding_on_a_scalar_has_no_brackets():
    with pytest.raises(GradientError, match="a: backward gives"):
        gradcheck(WrongSlope(np.array(0.5)), NUMPY[0])


def test_autograd_vouches_for_a_layer_with_a_number_or_says_why_not():
    report = gradcheck(Slope(0.5), X)
    assert "Error" not in next(r.reason for r in report.results if r.check == "autograd")


def test_running_statistics_are_buffers():
    for mode in ("train", "eval"):
        report = gradcheck(layers.RunningMean(), X, mode=mode, raise_exception=False)
        assert not report.failures
        assert "running_mean" not in {n for r in report.results for n in r.tensors}


def test_weight_that_only_evaluation_uses_is_not_left_unchecked():
    report = gradcheck(EvalWeight(), X, mode="eval", raise_exception=False)
    assert not report.ok


class EvalWeight(layers.RunningMean):
    """A weight that only evaluation uses and that has no gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.ones(3, dtype=torch.float64)

    def forward(self, x):
        y = super().forward(x)
        return y if self.training else self.scale * y

    def backward(self, dy):
        return super().backward(dy if self.training else dy * self.scale)


def test_weight_that_is_built_at_the_first_forward_is_checked():
    class Lazy:
        factor = 1.0

        def forward(self, x):
            if not hasattr(self, "w"):
                self.w = torch.full((x.shape[-1],), 0.5, dtype=x.dtype)
            self.x = x
            return x * self.w

        def backward(self, dy):
            self.dw = self.factor * (dy * self.x).sum(0)
            return dy * self.w

    class WrongLazy(Lazy):
        factor = 2.0

    assert "w" in {n for r in gradcheck(Lazy(), X).results for n in r.tensors}
    with pytest.raises(GradientError, match="w: 3 of 3 entries are out"):
        gradcheck(WrongLazy(), X)


def test_list_of_the_same_parameters_is_no_second_set():
    class Listed(layers.AttributeLinear):
        def __init__(self):
            super().__init__()
            self.weights = [self.W, self.b]

    report = gradcheck(Listed(), X)
    assert {n for r in report.results for n in r.tensors} == {"x", "W", "b"}


def test_parameter_of_a_dict_without_its_gradient_is_an_error():
    class Missing(layers.DictLinear):
        def backward(self, dy):
            self.grads.pop("b", None)
            self.grads["W"] = self.x.T @ dy
            return dy @ self.params["W"].T

        def zero_grad(self):
            self.grads = {}

    with pytest.raises(GradientError, match="b: backward gave no gradient of it"):
        gradcheck(Missing(3, 2), X)


def test_gradient_of_a_dict_without_its_parameter_is_an_error():
    class Extra(layers.DictLinear):
        def __init__(self, D_in, D_out):
            super().__init__(D_in, D_out)
            self.grads["c"] = torch.zeros(2)

    with pytest.raises(SpecError, match=r"Extra.grads has 'c', which is no key of params \(W, b\)"):
        gradcheck(Extra(3, 2), X)


def test_parameter_of_a_module_that_requires_no_grad_is_left_alone():
    module = layers.WrongCubicModule(3)
    module.weight.requires_grad_(False)
    report = gradcheck(module, X)
    assert next(r.outcome for r in report.results if r.check == "parameter_gradient") is Outcome.SKIP


# What can't be used


@pytest.mark.parametrize(("thing", "has"), [(3, "no forward"), ("x", "no forward")])
def test_thing_that_is_no_layer_is_an_error_that_lists_the_conventions(thing, has):
    with pytest.raises(SpecError) as raised:
        gradcheck(thing, X)
    text = str(raised.value)
    assert text.startswith(f"{type(thing).__name__} is no layer that can be checked: it has {has}")
    assert "a pair (forward, backward) of functions, a torch.autograd.Function, a torch.nn.Module" in text


def test_class_is_not_taken_for_a_layer():
    with pytest.raises(SpecError, match=r"^Identity is a class: pass a layer, such as Identity\(\.\.\.\)$"):
        gradcheck(layers.Identity, X)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_is_no_layer_but_nearly_is_told_what_to_pass():
    with pytest.raises(SpecError, match=r"pass the class itself, Cubic$"):
        gradcheck(layers.Cubic(), X, X)
    with pytest.raises(SpecError, match=r"a LayerSpec draws its own: check\(spec\)$"):
        gradcheck(LayerSpec(build=layers.Identity, inputs="B D"), X)
    with pytest.raises(SpecError, match=r"^check\(\) takes a LayerSpec, not Identity;"):
        check(layers.Identity)


def test_object_with_a_forward_alone_says_so():
    class Half:
        def forward(self, x):
            return x

    with pytest.raises(SpecError, match="Half is no layer that can be checked: it has forward"):
        gradcheck(Half(), X)


@pytest.mark.parametrize(("factor", "right"), [(1.0, True), (2.0, False)])
def test_a_layer_may_keep_a_module_as_its_library(factor, right):
    class Sine:
        def __init__(self):
            self.xp = np

        def forward(self, x):
            self.x = x
            return self.xp.sin(x)

        def backward(self, g):
            return factor * g * self.xp.cos(self.x)

    assert gradcheck(Sine(), X.numpy(), raise_exception=False).ok is right


def test_layer_that_cannot_be_copied_says_what_to_do():
    class Locked(layers.Identity):
        def __deepcopy__(self, memo):
            raise RuntimeError("no second one")

    with pytest.raises(SpecError) as raised:
        gradcheck(Locked(), X)
    assert str(raised.value) == (
        "Locked can't be copied (RuntimeError: no second one), and a check must not change the layer itself: "
        "give a LayerSpec whose build makes a new one, or define __deepcopy__"
    )


def test_numpy_function_without_a_pullback_says_what_to_give():
    def twice(x):
        return np.multiply(2, x)

    with pytest.raises(SpecError, match=r"twice computes in NumPy and returns no pullback, .* give a pair"):
        gradcheck(twice, NUMPY[0])


def test_layer_without_inputs_is_an_error():
    with pytest.raises(SpecError, match=r"needs the inputs to call it with: tensors or arrays"):
        gradcheck(layers.Identity())
    with pytest.raises(SpecError, match=r"gradcheck\(Twice, ...\) needs the inputs to call it with"):
        gradcheck(type("Twice", (torch.autograd.Function,), {}))


def test_an_empty_input_does_not_put_the_forward_outside_autograds_graph():
    report = gradcheck(layers.Identity(), X[:0], raise_exception=False)
    said = next(r.reason for r in report.results if r.check == "autograd")
    assert said == "no tensor with entries wants a gradient"


def test_inputs_that_hold_no_array_are_named_in_the_error():
    with pytest.raises(SpecError, match=r"it was given generator, range$"):
        gradcheck(layers.Identity(), (x for x in [X]), range(3))


UNSUPPORTED = {"complex": X + 0j, "sparse": X.to_sparse(), "nested": [X[0], X[1, :2]], "meta": X.to("meta")}


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("kind", UNSUPPORTED)
def test_inputs_without_real_numbers_in_a_block_of_memory_are_an_error(kind):
    x = torch.nested.nested_tensor(UNSUPPORTED[kind]) if kind == "nested" else UNSUPPORTED[kind]
    with pytest.raises(SpecError, match=rf"{kind}.*: complex, sparse, nested and meta tensors are not supported yet"):
        gradcheck(layers.Identity(), x)


def test_forward_without_a_real_output_is_an_error():
    with pytest.raises(SpecError, match=r"returned Tensor of torch.bool: an output of real numbers is needed"):
        gradcheck((lambda x: (x > 0, None), lambda d, c: d), X)


@pytest.mark.parametrize("given", [torch.ones(3, requires_grad=True) * 2, torch.ones(3), np.ones(3)])
def test_what_a_layer_gives_is_no_layer(given):
    with pytest.raises(SpecError, match="what a layer gives: pass what computes it first"):
        gradcheck(given, torch.ones(3))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_scripted_module_is_asked_for_as_it_was():
    linear = torch.nn.Linear(3, 2)
    scripted = torch.jit.script(linear)
    with pytest.raises(SpecError, match=r"the layer is one of torch.jit.s.* give the module as it was before"):
        gradcheck(scripted, torch.randn(4, 3))
    with pytest.raises(SpecError, match=r"0 is one of torch\.jit.s"):
        gradcheck(torch.nn.Sequential(scripted), torch.randn(4, 3))
    assert gradcheck(linear, torch.randn(4, 3))


@pytest.mark.parametrize("default", [False, True])
def test_a_backward_that_raises_in_eval_alone_is_told_of_the_other_mode(default):
    class Training:
        """Keeps its input in training alone, which its forward must be told."""

        def forward(self, x, training=default):
            if training:
                self.x = x
            return x**2

        def backward(self, d):
            return 2 * d * self.x

    said = "it was asked in eval, its present mode; mode='train' asks in the other"
    report = gradcheck(Training(), X, raise_exception=False)
    assert (said in str(report), report.ok) == ((not default), default)
    assert gradcheck(Training(), X, mode="train")
    if not default:
        assert said not in str(gradcheck(Training(), X, mode="eval", raise_exception=False))
