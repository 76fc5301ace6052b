"""A sixth of the mutants of layers/, another at each commit; and the mutator, the runner and their wrong twins."""

from __future__ import annotations

import ast
from collections import Counter
from dataclasses import replace

import pytest
from commit import turn
from equivalent import EQUIVALENT, UNRUN
from killed import RAISES, failures, killed_by
from mutants import Mutant, _changed, mutants
from mutated import classes, specs
from statements import SOURCES, Program

from harness.api import undisturbed

PARTS = 6
FEW = 3
"""Examples of those that are proved equivalent, which no example ends; the campaign asks all."""
EVERY = mutants()
JUDGED = [m for m in EVERY if m.kind != "validation"]
SIXTH = [m for m in JUDGED[turn(PARTS) :: PARTS] if m.key not in UNRUN]


@pytest.mark.parametrize("mutant", SIXTH, ids=str)
def test_check_fails_a_mutant_unless_it_is_proved_equivalent(mutant: Mutant):
    same = mutant.key in EQUIVALENT
    assert (killed_by(mutant, examples=FEW if same else None) is None) == same


@pytest.mark.parametrize("name", [n for n in SOURCES if n not in ("layer", "generator")][turn(3) :: 3])
def test_right_twins_are_not_failed(name: str):
    with undisturbed():
        assert {found for spec in specs(classes(None))[name] for found in failures(spec, 0, 8)} == {None}


def test_what_is_proved_equivalent_is_there():
    there = {m.key for m in JUDGED}
    assert [key for key in EQUIVALENT if key not in there] == []
    assert EQUIVALENT.keys() >= UNRUN
    assert len(there) == len(JUDGED)


# The mutator and its twins

LAYER = """
class Own(Layer):
    def forward(self, z):
        if z.ndim < 2:
            self._refuse(z)
        n = z.shape[0]
        self._track(n=n * 2)
        c = z - z.mean(-1, keepdim=True)
        return self._keep(c / 3)

    def backward(self, g):
        return self._helper(g @ self.W.mT)

    def _helper(self, g):
        return g + 1

    def _track(self, n):
        self.buffers["n"] += n

    def elsewhere(self):
        return 1 + 1


class Layer:
    def _keep(self, a):
        return a

    def _refuse(self, z):
        raise ValueError(z)
"""


def said(source: str = LAYER) -> set[str]:
    return {m.mutation for m in mutants({"own": source}) if m.kind == "numerical"}


def test_every_kind_of_change_is_made():
    expected = {
        "z - z.mean(-1, keepdim=True) → z + z.mean(-1, keepdim=True)",
        "z - z.mean(-1, keepdim=True) → z.mean(-1, keepdim=True) - z",
        "z - z.mean(-1, keepdim=True) → z",
        "z.mean(-1, keepdim=True) → z.sum(-1, keepdim=True)",
        "z.mean(-1, keepdim=True) → z.mean(keepdim=True)",
        "-1 → 0",
        "-1 → -2",
        "True → False",
        "3 → 2",
        "c / 3 → 3 / c",
        "g @ self.W.mT → self.W.mT @ g",
        "self.W.mT → self.W",
        "g + 1 → g - 1",
    }
    assert expected - said() == set()


def test_a_change_that_is_not_made_is_missed():
    assert "3 → 2" not in said(LAYER.replace("c / 3", "c / k"))


def test_statements_are_told_apart():
    kinds = {ast.unparse(u.parts[0]): u.kind for u in Program({"own": ast.parse(LAYER)})}
    of = Counter(kinds.values())
    assert kinds["z.ndim < 2"] == kinds["self._refuse(z)"] == "validation"
    assert kinds["n = z.shape[0]"] == kinds["self._track(n=n * 2)"] == "buffer"
    assert kinds["c = z - z.mean(-1, keepdim=True)"] == kinds["return g + 1"] == "numerical"
    assert "return 1 + 1" not in kinds
    assert of["numerical"] == 5


def test_a_statement_that_computes_is_not_taken_for_validation():
    computes = LAYER.replace("self._refuse(z)\n        n", "z = z[None]\n        n")
    kinds = {ast.unparse(u.parts[0]): u.kind for u in Program({"own": ast.parse(computes)})}
    assert kinds["z.ndim < 2"] == kinds["z = z[None]"] == "numerical"
    read = LAYER.replace("c / 3", "c / n")
    kinds = {ast.unparse(u.parts[0]): u.kind for u in Program({"own": ast.parse(read)})}
    assert kinds["n = z.shape[0]"] == "numerical"


def lines_apart(a: str, b: str) -> int:
    """In how many lines two sources of as many differ; a statement left out is `pass`."""
    pairs = list(zip(a.splitlines(), b.splitlines(), strict=True))
    return sum(x != y for x, y in pairs)


def test_each_mutant_has_one_line_changed_and_the_tree_is_left_as_it_was():
    trees = {"own": ast.parse(LAYER)}
    before = ast.unparse(trees["own"])
    for unit in Program(trees):
        for _ in _changed(unit):
            assert lines_apart(before, ast.unparse(trees["own"])) == 1
        assert ast.unparse(trees["own"]) == before


def test_a_change_that_is_not_taken_back_is_seen():
    trees = {"own": ast.parse(LAYER)}
    before = ast.unparse(trees["own"])
    units = [u for u in Program(trees) if u.kind == "numerical"]
    next(_changed(units[0]))
    next(_changed(units[-1]))
    assert lines_apart(before, ast.unparse(trees["own"])) == 2


# The runner and its twins


def altered(old: str, new: str, module: str = "tanh") -> Mutant:
    assert old in SOURCES[module]
    return replace(JUDGED[0], module=module, source=SOURCES[module].replace(old, new))


def test_runner_names_the_check_and_lets_a_right_layer_through():
    assert killed_by(altered("value=-1", "value=-1.0")) is None
    assert killed_by(altered("value=-1", "value=1")) == "input_gradient"
    assert killed_by(altered("a = t / (t + 2)", "a = t / (t + 2) * 1")) is None
    assert killed_by(altered("a = t / (t + 2)", "a = torch.tanh(z, z)")) == RAISES


def test_wrong_forward_with_its_own_right_backward_is_seen_by_the_reference_alone():
    assert killed_by(altered("self.eps)", "2 * self.eps)", "instance_norm")) == "reference"


def test_mutated_classes_do_not_leak():
    import layers

    made = classes(altered("a = t / (t + 2)", "a = torch.sin(z)"))
    assert made["Tanh"] is not layers.Tanh
    assert issubclass(made["Tanh"], made["Layer"])
    from layers import Tanh

    assert Tanh is layers.Tanh
