"""Tensors that a callable holds are judged as its inputs are, and left as they were found."""

from __future__ import annotations

import layers_held as layers
import numpy as np
import pytest
import torch
from contents import contents
from twins import Twins, X, verified_in

from harness import LayerSpec, NotVerified, SpecError, check, gradcheck
from harness.functions.held import tensors_held
from harness.functions.kept import kept
from harness.replay.sources import first_seen, globals_preserved, restored_later

NET = "net.0.weight net.0.bias net.1.weight net.1.bias"


def both(make, verified: str, tensor: str = "w") -> Twins:
    return Twins(make(layers.RIGHT), make(layers.WRONG), (X,), tensor, verified)


TWINS = {
    "globals": Twins(layers.by_globals, layers.by_globals_wrong, (X,), "w", "x w b"),
    "a helper's globals": Twins(layers.by_a_helper, layers.by_a_helper_wrong, (X,), "w", "x w b"),
    "closure": both(layers.by_closure, "x w b"),
    "defaults": both(layers.by_defaults, "x w b"),
    "partial": both(layers.by_partial, "x w b"),
    "containers": both(layers.by_containers, "x state.first.0 state.first.1.0", "state.first.0"),
    "module": both(layers.by_module, f"x w b {NET}"),
    "wrapper": both(layers.by_decorator, "x w b"),
    "bound method": both(lambda f: layers.Net(f).loss, "x self.w self.b self.shared", "self.w"),
    "object": both(layers.Callable, "x self.w self.b self.shared", "self.w"),
    "method of a module": both(layers.forward_of_module, "x self.w self.b", "self.w"),
    "frozen dataclass": both(layers.by_frozen, "x held.w held.rest.0", "held.w"),
    "another module": both(layers.by_settings, "x settings.w settings.b", "settings.w"),
    "a function of another module": both(layers.by_another_file, "x w b"),
    "class": both(layers.by_class, "x cls.w cls.held.0", "cls.w"),
    "one tensor in two places": both(layers.twice, "x w b"),
}


@pytest.mark.parametrize("twins", TWINS.values(), ids=TWINS)
def test_what_is_held_is_left_as_it_was(twins):
    def held():
        return [(s.label, contents(s.get())) for h in tensors_held(twins.right).values() for s in h.slots]

    before = held(), vars(layers.Net).keys()
    gradcheck(twins.right, X)
    assert (held(), vars(layers.Net).keys()) == before
    assert all(h.tensor.grad is None for h in tensors_held(twins.right).values())


def test_a_backward_may_read_what_it_has_not_saved():
    report = gradcheck(layers.unsaved(1.0), X)
    assert verified_in(report) >= {"x"}
    failed = gradcheck(layers.unsaved(2.0), X, raise_exception=False).failures
    assert failed


def test_a_tensor_that_autograd_goes_past_is_not_verified():
    w, b = layers.weights()
    with pytest.raises(NotVerified, match=r"`w` changes the output and has no gradient: autograd does not reach it"):
        gradcheck(lambda x: x @ w.detach() + b, X)
    assert verified_in(gradcheck(lambda x: x @ w.detach() + b, X, grads={"w": None})) == {"x", "b"}
    failed = gradcheck(lambda x: x @ w.detach() + x @ w, X, raise_exception=False).failures
    assert [r.finding.where[0] for r in failed] == ["w"]


@pytest.mark.parametrize("where", layers.hidden())
def test_what_autograd_reaches_and_is_not_found_is_not_verified(where):
    with pytest.raises(NotVerified, match=r"\(3, 2\) tensor: autograd reaches it.* hand it over as an input"):
        gradcheck(layers.hidden()[where], X)


def test_a_global_that_a_function_is_not_handed_is_not_verified():
    with pytest.raises(NotVerified, match="`w` changes the output and has no gradient: autograd does not reach it"):
        gradcheck(layers.Around, X)
    assert verified_in(gradcheck(layers.Around, X, grads={"w": None})) == {"x"}
    with pytest.raises(SpecError, match=r"grads names 'v', which Around does not hold: it holds w"):
        gradcheck(layers.Around, X, grads={"v": None})


def test_a_constant_that_a_function_computes_with_is_said():
    before = contents(layers.Table.values)
    report = gradcheck(layers.Table, X)
    assert report.notes == ("`Table.values`: held by Table, requires no gradient, not judged",)
    assert [r.finding.where[0] for r in gradcheck(layers.WrongTable, X, raise_exception=False).failures] == ["x"]
    assert contents(layers.Table.values) == before


def test_a_tensor_that_each_call_makes_anew_is_no_parameter():
    assert verified_in(gradcheck(layers.made_anew, X)) == {"x"}


def test_what_a_function_keeps_is_left_as_it_was():
    function, now = layers.keeping()
    before = repr(now())
    gradcheck(function, X)
    assert repr(now()) == before
    with pytest.raises(KeyboardInterrupt):
        gradcheck(lambda x: _interrupted(function(x)), X)
    assert repr(now()) == before


def _interrupted(_):
    raise KeyboardInterrupt


def test_a_pair_of_functions_leaves_what_it_keeps():
    calls, seen = {"n": 0}, np.zeros(2)

    def forward(x):
        calls["n"] += 1
        seen[...] += 1
        return x**2, x

    gradcheck((forward, lambda dout, x: 2 * x * dout), np.ones((3, 2)))
    assert (calls, seen.tolist()) == ({"n": 0}, [0, 0])


def test_what_is_kept_is_copied_once_whatever_the_number_of_subjects():
    table = np.ones(1000)
    with globals_preserved():
        for _ in range(3):
            restored_later(kept(lambda x, table=table: x * table.sum()))
            table += 1
    assert set(table) == {1.0}
    with globals_preserved():
        assert [first_seen(table), first_seen(table)] == [True, False]


def test_a_captured_module_keeps_the_modes_of_its_parts():
    net = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3))
    net[1].eval()
    gradcheck(lambda x: net(x).tanh(), X)
    assert (net.training, net[1].training) == (True, False)


@pytest.mark.parametrize(("factor", "failed"), [(layers.RIGHT, []), (layers.WRONG, ["parameter_gradient"])])
def test_a_module_that_runs_its_forward_again_in_backward(factor, failed):
    spec = LayerSpec(build=lambda: layers.Checkpointed(factor), inputs="B 3", name="Checkpointed", modes=("train",))
    report = check(spec, examples=4, only=("gradient",))
    assert [r.check for r in report.failures] == failed


def test_a_captured_module_that_waits_for_its_first_forward():
    net = torch.nn.Sequential(torch.nn.LazyLinear(2), torch.nn.Tanh())
    with pytest.raises(SpecError, match=r"`net\.0\.weight` is made by a first forward: call the function once"):
        gradcheck(lambda x: 2 * net(x), X)
    net(X.float())
    assert verified_in(gradcheck(lambda x: 2 * net(x), X)) == {"x", "net.0.weight", "net.0.bias"}


def test_grads_that_name_nothing_held_are_refused():
    with pytest.raises(SpecError, match=r"grads names 'v', which by_globals does not hold: it holds .*w"):
        gradcheck(layers.by_globals, X, grads={"v": None})


def test_constants_that_matter_are_said_and_not_judged():
    table, unused = layers.table, torch.ones(2)
    report = gradcheck(lambda x: (x * table.sum(), unused)[0], X)
    assert report.notes == ("`table`: held by <lambda>, requires no gradient, not judged",)
    assert verified_in(report) == {"x"}


def test_a_tensor_that_no_output_depends_on_is_passed_over():
    w, unused = layers.weights()
    report = gradcheck(lambda x: (x @ w, unused)[0], X)
    assert verified_in(report) == {"x", "w"}
    assert report.notes == ()


def test_a_reference_that_holds_the_same_tensors_follows_them():
    w, b = layers.weights()
    for factor, failures in ((layers.RIGHT, 0), (layers.WRONG, 2)):
        function = layers.affine_of(factor)
        report = gradcheck(
            lambda x, function=function: function.apply(x, w, b),
            X,
            reference=lambda x: x @ w + b,
            raise_exception=False,
        )
        assert len(report.failures) == failures
        assert all(r.outcome.name != "SKIP" for r in report.results if r.check == "reference")


def test_script_puts_what_is_held_in_its_place(capsys):
    failed = gradcheck(layers.by_globals_wrong, X, raise_exception=False).failures
    script = failed[0].finding.reproduce
    assert "function.__globals__['w'] = live['w']" in script
    exec(script, {})
    assert "w[" in capsys.readouterr().out
    assert layers.w.dtype is torch.float64


ASIDE = "`{}` changes the output and has no gradient: held by {}, not judged; where it is a parameter, make it an input"
CLOSURES = {
    "NumPy closure": (layers.closure_of_arrays, X.numpy(), ["table_of.b", "array"], "closure_of_arrays"),
    "torch closure": (layers.closure_of_tensors, X, ["matrix"], "closure_of_tensors"),
    "pair": ((layers.pair_of_arrays_forward, layers.pair_of_arrays_backward), X.numpy(), ["array"], "pair_of_arrays"),
}


@pytest.mark.parametrize(("layer", "x", "names", "called"), CLOSURES.values(), ids=CLOSURES)
def test_what_a_closure_or_a_pair_computes_with_beside_its_inputs_is_named(layer, x, names, called):
    before = contents([layers.array, layers.table_of, layers.matrix, layers.unused])
    report = gradcheck(layer, x)
    assert sorted(report.notes)[: len(names)] == sorted(ASIDE.format(n, called) for n in names)
    assert contents([layers.array, layers.table_of, layers.matrix, layers.unused]) == before


def test_nothing_is_said_of_a_closure_that_is_handed_all():
    assert gradcheck(layers.closure_handed, X.numpy(), layers.array).notes == ()


def test_what_wants_a_gradient_that_a_closure_does_not_return_is_not_verified():
    report = gradcheck(layers.closure_of_parameters, X, raise_exception=False)
    assert not report.ok
    assert not report.failures
    assert any("`w` changes the output and has no gradient: make it an input" in r.reason for r in report.results)
    assert gradcheck(layers.closure_of_parameters, X, grads={"w": None}).ok


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (torch.nn.Linear(3, 2), "Linear: did you mean 'weight'? it has input, weight, bias"),
        ((lambda wight: (wight, None), lambda dout, cache: dout), "<lambda>: did you mean 'wight'? it has wight"),
    ],
)
def test_grads_that_name_nothing_of_a_module_or_pair_are_refused(layer, said):
    with pytest.raises(SpecError) as raised:
        gradcheck(layer, torch.randn(4, 3), grads={"wieght": "dW"})
    assert str(raised.value) == f"grads names 'wieght', which is no tensor of {said}"
    if isinstance(layer, torch.nn.Module):  # one that is there may be said to have none
        assert gradcheck(layer, torch.randn(4, 3), grads={"weight": None}).ok
