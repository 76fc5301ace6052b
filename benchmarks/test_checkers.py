"""`pytest benchmarks/test_checkers.py --benchmark-only`: ours and the peers, a group per layer and size.

What is asserted is that a right layer is verified and a wrong one found by ours; times are recorded, never asserted.
Of the peers' verdicts none is: they are recorded too.
"""

import pytest

from benchmarks.checkers_contestants import CONTESTANTS, OURS, admitted, single_thread
from benchmarks.checkers_memory import CLEAR, measured
from benchmarks.checkers_page import means, ratios
from benchmarks.checkers_power import changes, faults
from benchmarks.checkers_times import calls, summary, times
from benchmarks.checkers_trials import OPERATIONS, SIZES, Trial

SLOW_SIZES = SIZES[:2]  # one repeat of slow mode beyond takes seconds: benchmarks/checkers.py has it
WRONG = ("input_slightly_large", "input_one_entry", "parameter_slightly_large", "cotangent_absolute")
FAULTS = {fault.name: fault for fault in faults()}


@pytest.fixture(autouse=True)
def _threads():
    single_thread()


@pytest.mark.parametrize("by", CONTESTANTS)
@pytest.mark.parametrize("size", SIZES, ids=lambda size: "x".join(map(str, size)))
@pytest.mark.parametrize("layer", OPERATIONS)
def test_right_layer(benchmark, layer, size, by):
    trial = Trial.of(layer, *size)
    if not admitted(by, trial) or (by == "slow" and size not in SLOW_SIZES):
        pytest.skip("slow mode's Jacobians at this size")
    benchmark.group = f"{layer} {trial.size}"
    word = benchmark(CONTESTANTS[by](trial))
    benchmark.extra_info |= {"verdict": word, "entries": trial.entries}
    assert by not in OURS or word == "pass"


@pytest.mark.parametrize("by", CONTESTANTS)
@pytest.mark.parametrize("fault", WRONG)
@pytest.mark.parametrize("layer", ["Linear", "BatchNorm", "MLP"])
def test_wrong_layer(benchmark, layer, fault, by):
    trial = Trial.of(layer, 6, 10, drawn=True, fault=FAULTS[fault])
    assert changes(trial)
    benchmark.group = f"{layer} {trial.size} {fault}"
    word = benchmark.pedantic(CONTESTANTS[by](trial), rounds=3)
    benchmark.extra_info |= {"verdict": word}
    assert by not in OURS or word == "fail"


# The instrument itself


@pytest.mark.parametrize("layer", OPERATIONS)
def test_every_side_has_the_same_function_and_backward(layer):
    torch = pytest.importorskip("torch")
    jax = pytest.importorskip("jax")
    from benchmarks.checkers_jax import differentiable, pair_of
    from benchmarks.peers import of_layer, of_subject

    trial = Trial.of(layer, 6, 10, drawn=True)
    leaves = [trial.right.leaves[n].value for n in trial.right.wanted()]
    (a,), pullback = of_subject(trial.right, trial.mode)(leaves)
    δa = torch.randn(a.shape, dtype=a.dtype)
    f = differentiable(pair_of(trial.layer, trial))
    b, vjp = jax.vjp(f, *(leaf.numpy() for leaf in leaves))
    by_jax = [torch.from_numpy(jax.device_get(g).copy()) for g in (b, *vjp(δa.numpy()))]
    torch.testing.assert_close([a, *pullback([δa])], by_jax)
    if layer != "Dropout":  # whose mask is its own there
        (c,), pullback_of_layer = of_layer(trial.layer, trial.inputs[1:])(leaves)
        torch.testing.assert_close([a, *pullback([δa])], [c, *pullback_of_layer([δa])])


@pytest.mark.parametrize("fault", FAULTS)
def test_the_peers_backward_has_the_same_fault(fault):
    torch = pytest.importorskip("torch")
    from benchmarks.peers import of_layer, of_subject, with_fault

    trial = Trial.of("MLP", 6, 10, drawn=True, fault=FAULTS[fault])
    leaves = [trial.right.leaves[n].value for n in trial.right.wanted()]
    (a,), ours = of_subject(trial.subject, trial.mode)(leaves)
    _, theirs = with_fault(trial.right, of_layer(trial.layer, ()), FAULTS[fault])(leaves)
    δa = torch.randn(a.shape, dtype=a.dtype)
    torch.testing.assert_close(list(theirs([δa])), list(ours([δa])))


def test_a_fault_that_changes_nothing_is_no_trial():
    assert not changes(Trial.of("Linear", 6, 10, fault=FAULTS["input_wrong_beyond_30"]))
    assert changes(Trial.of("Linear", 6, 10, fault=FAULTS["input_twice"]))


def test_calls_are_those_of_the_layer():
    found = {row["contestant"]: row for row in calls("Linear", 4, 8)}
    entries, outputs = 4 * 8 + 8 * 8 + 8, 4 * 8
    assert found["slow"]["forwards"] == 2 * entries + 2
    assert found["slow"]["backwards"] == 2 * outputs + 2
    assert found["core"]["backwards"] >= 1


def test_ratios_are_the_peers_time_over_ours():
    spent = {"core": 1e-3, "public": 2e-3, "fast": 4e-3}
    row = {"layer": "Tanh", "size": "4×8", "entries": 32, "seconds": spent, "verdicts": dict.fromkeys(spent, "pass")}
    assert [(r["ours"], r["geomean"], r["worst_layer"]) for r in summary([row])] == [
        ("core", 4.0, "Tanh"),
        ("public", 2.0, "Tanh"),
    ]
    assert "4.00 (Tanh)" in means(summary([row]))
    assert "2.00" in ratios([row])


def test_a_race_has_everyone_admitted():
    rows = times([(2, 3)], ("core", "fast"), 1e-6)
    assert [row["layer"] for row in rows] == list(OPERATIONS)
    assert all(set(row["seconds"]) == {"core", "fast"} for row in rows)


@pytest.mark.skipif(not CLEAR.exists(), reason="only Linux has a high-water mark that can be reset")
def test_memory_sees_what_a_check_holds():
    found = measured("fast", [(64, 256)])
    assert found["Linear 64×256"] > 256 * 256 * 8 / 2**20  # a copy of W at the least
