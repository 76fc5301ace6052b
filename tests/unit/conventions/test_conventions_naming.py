"""Where the gradient of a parameter stands: every name and container that people use."""

from __future__ import annotations

import layers_naming as layers
import numpy as np
import pytest
from twins import NX, pair

from harness import GradientError, NotVerified, SpecError, gradcheck
from harness.reading.naming import _AFTER, _BEFORE, GRADIENTS, gradient_rank, is_marked

# name: (class, the name of its weight, all that must be verified)
KINDS = {
    "dLdW": (layers.named("dLdW", "dLdb"), "W", "x W b"),
    "dL_dW": (layers.named("dL_dW", "dL_db"), "W", "x W b"),
    "W_grad": (layers.named("W_grad", "b_grad"), "W", "x W b"),
    "weight_grad": (layers.named("weight_grad", "bias_grad", "weight", "bias"), "weight", "x weight bias"),
    "grad_weights": (layers.named("grad_weights", "grad_biases", "weights", "biases"), "weights", "x weights biases"),
    "dweights": (layers.named("dweights", "dbiases", "weights", "biases"), "weights", "x weights biases"),
    "gradW": (layers.named("gradW", "gradb"), "W", "x W b"),
    "dw for W": (layers.named("dw", "db"), "W", "x W b"),
    "weights_gradient": (
        layers.named("weights_gradient", "bias_gradient", "weights", "bias"),
        "weights",
        "x weights bias",
    ),
    "d_W": (layers.named("d_W", "d_b"), "W", "x W b"),
    "dW_": (layers.named("dW_", "db_", "W_", "b_"), "W_", "x W_ b_"),
    "_dW": (layers.named("_dW", "_db", "_W", "_b"), "_W", "x _W _b"),
    "self.__dW": (layers.PrivateGradients, "W", "x W b"),
    "self.__weights": (layers.PrivateAll, "__weights", "x __weights __bias"),
    "dW for weight": (layers.named("dW", "db", "weight", "bias"), "weight", "x weight bias"),
    **{
        mark: (layers.named(mark, mark.replace("W", "b")), "W", "x W b")
        for mark in (
            "W_bar",
            "dJdW",
            "dE_dW",
            "dLoss_dW",
            "dl_dW",
            "dloss_dW",
            "partial_W",
            "W_adj",
            "dW_acc",
            "gW",
            "delta_W",
        )
    },
    "nabla_w": (layers.named("nabla_w", "nabla_b", "w", "b"), "w", "x w b"),
    "grads_w for weights": (layers.named("grads_w", "grads_b", "weights", "biases"), "weights", "x weights biases"),
    "weightGradient": (layers.named("weightGradient", "biasGradient", "weight", "bias"), "weight", "x weight bias"),
    "p and g": (layers.contained("p", "g"), "p.W", "x p.W p.b"),
    "p and g by dW": (layers.contained("p", "g", "d{}"), "p.W", "x p.W p.b"),
    "params and model_grads": (layers.contained("params", "model_grads"), "W", "x W b"),
    "theta and dtheta": (layers.contained("theta", "dtheta"), "theta.W", "x theta.W theta.b"),
    "_weights and _gradients": (layers.contained("_weights", "_gradients"), "W", "x W b"),
    "params and adjoints": (layers.contained("params", "adjoints"), "W", "x W b"),
    "参数 and 梯度": (layers.contained("params", "梯度"), "W", "x W b"),
    "权重梯度": (layers.named("权重梯度", "偏置的梯度", "权重", "偏置"), "权重", "x 权重 偏置"),
    "梯度_权重": (layers.named("梯度_权重", "梯度偏置", "权重", "偏置"), "权重", "x 权重 偏置"),
    "gradiente_pesos": (layers.named("gradiente_pesos", "sesgo_gradiente", "pesos", "sesgo"), "pesos", "x pesos sesgo"),
    "DW": (layers.CapitalD, "W", "X W b"),
    "layers and grads, lists of tuples": (layers.Tuples, "layers.0.0", "x layers.0.0 layers.0.1"),
    "objects with value": (layers.kept("value", "grad"), "W", "x W b"),
    "objects shown by a method": (layers.InMethod, "W", "x W b"),
    "objects with tensor": (layers.kept("tensor", "gradient"), "W", "x W b"),
    "objects with delta": (layers.kept("param", "delta"), "W", "x W b"),
    "get_params() and get_grads()": (
        layers.shown(
            "get_params", "get_grads", of=(lambda self: [self.W, self.b], lambda self: [self.first, self.second])
        ),
        "W",
        "x W b",
    ),
    "get_params_grads() of pairs": (
        layers.shown("get_params_grads", of=(lambda self: {"W": (self.W, self.first), "b": (self.b, self.second)},)),
        "W",
        "x W b",
    ),
    "dict of gradients": (layers.InOneDict, "W", "x W b"),
    "dict of gradients by dW": (layers.InOneDictByD, "W", "x W b"),
    "numpy-ml": (layers.NumpyML, "W", "X W b"),
    "Deep Learning from Scratch": (layers.FromScratch, "params.0", "x params.0 params.1"),
    "list of gradients": (layers.ListOfGradients, "W", "x W b"),
    "list of gradients in another order": (layers.OtherOrder, "W", "x W b"),
    "parameters() and gradients()": (layers.Methods, "W", "x W b"),
    "parameters() of pairs": (layers.PairsMethod, "W", "x W b"),
}
TWINS = {name: pair(kind, NX, tensor=weight, verified=all_) for name, (kind, weight, all_) in KINDS.items()}


def test_gradients_found_by_shape_are_said():
    text = str(gradcheck(layers.OtherOrder(), NX))
    assert "the gradient of W was found at grads.1 by its shape, out of order" in text


def test_two_gradients_that_differ_are_reported_with_the_line_to_write():
    with pytest.raises(NotVerified) as raised:
        gradcheck(layers.TwoCandidates(), NX)
    reason = next(r.reason for r in raised.value.report.results if r.check == "parameter_gradient")
    assert reason == ("W: `W` has 2 gradients that differ, `dW` and `W_grad`: write grads={'W': 'dW'}")
    assert "the gradient of nothing" not in str(raised.value)


def test_line_to_write_settles_it():
    assert gradcheck(layers.TwoCandidates(), NX, grads={"W": "dW"}).ok
    with pytest.raises(GradientError, match=r"W\["):
        gradcheck(layers.TwoCandidates(), NX, grads={"W": "W_grad"})


def test_gradient_that_has_the_shape_and_another_name_is_suggested():
    with pytest.raises(NotVerified, match="`W` changes the output and has no gradient") as raised:
        gradcheck(layers.named("curvature", "db")(), NX)
    reason = next(r.reason for r in raised.value.report.results if r.check == "parameter_gradient")
    assert "write grads={'W': 'curvature'}" in reason


def test_weights_that_are_zero_before_a_softmax_are_parameters():
    with pytest.raises(NotVerified, match="W: `W` changes the output and has no gradient"):
        gradcheck(layers.NoGradients(), NX)


def test_a_gradient_that_is_written_as_the_zeros_that_stood_there_is_seen():
    layer = layers.CapitalD()  # one class: softmax is 1, whatever the weights
    layer.W, layer.b, layer.DW, layer.Db = np.ones((3, 1)), np.ones(1), np.zeros((3, 1)), np.zeros(1)
    report = gradcheck(layer, NX, raise_exception=False)
    assert not report.failures
    assert "has no gradient" not in str(report)


def test_gradient_of_nothing_is_named():
    report = gradcheck(layers.Stray(), NX)
    assert "`grads.c` is written by backward and is the gradient of nothing that was found" in report.notes


def test_declared_gradient_inside_a_dict():
    assert gradcheck(layers.InOneDict(), NX, grads={"W": "grads.W"}).ok
    with pytest.raises(SpecError, match="has no array 'Q' after backward"):
        gradcheck(layers.InOneDict(), NX, grads={"W": "Q"})


def test_lists_of_equal_shapes_in_another_order_fail_with_the_line_to_write():
    with pytest.raises(GradientError) as raised:
        gradcheck(layers.Swapped(), NX)
    notes = raised.value.report.notes
    assert notes[0] == (
        "`grads.1` fits params.0: if the lists stand in other orders, write grads={'params.0': 'grads.1'}"
    )
    assert gradcheck(layers.Swapped(), NX, grads={"params.0": "grads.1", "params.1": "grads.0"}).ok


def test_a_name_that_may_be_anything_counts_only_where_backward_writes():
    with pytest.raises(NotVerified, match="`W` changes the output and has no gradient"):
        gradcheck(layers.Averaged(), NX)


def test_a_sure_name_goes_before_one_that_may_be_anything():
    assert gradcheck(layers.Doubled(), NX).ok


def test_a_pair_in_a_list_is_suggested():
    with pytest.raises(NotVerified, match=r"grads={'theta.0.0': 'theta.0.1'}"):
        gradcheck(layers.Pairs(), NX)
    assert gradcheck(layers.Pairs(), NX, grads={"theta.0.0": "theta.0.1", "theta.1.0": "theta.1.1"}).ok


def test_private_names_are_those_of_one_class():
    assert gradient_rank("_Linear__dW", "_Linear__W") == gradient_rank("_Linear__dW", "W") == 0
    assert gradient_rank("_Linear__dW", "_Base__W") is None


def test_what_says_nothing_of_gradients_is_compared_with_no_parameter():
    words = ("W", "weight", "cache", "3", "_W", "_Linear__W", "data")
    marked = [*(m + w for m in _BEFORE for w in words), *(w + m for m in _AFTER for w in words)]
    parts = [*words, *marked, *GRADIENTS, *(f"_{w}" for w in marked), *(f"_Linear__{w}" for w in marked)]
    ranked = {
        p for p in (*parts, *(f"a.{p}.W" for p in parts)) for w in ("a.W", *words) if gradient_rank(p, w) is not None
    }
    assert ranked
    assert all(map(is_marked, ranked))
    assert not any(map(is_marked, ("cache.12.3", "layers.0.W", "x")))
