"""From what was seen at each example to one result, with made-up observations."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness import Outcome
from harness.aggregate import Seen, result
from harness.outcome import worst
from harness.report import Report, Result
from harness.session import Observation

PASS, FAIL, INCONCLUSIVE, SKIP, ERROR = (
    Outcome.PASS,
    Outcome.FAIL,
    Outcome.INCONCLUSIVE,
    Outcome.SKIP,
    Outcome.ERROR,
)


def verified(resolution: float = 1e-9, **more: float) -> Observation:
    return Observation(PASS, {"x": resolution, **more})


def open_(reason: str = "hidden") -> Observation:
    return Observation(INCONCLUSIVE, {}, {"x": 1e-3}, reason)


def failed(reason: str = "out") -> Observation:
    return Observation(FAIL, reason=reason)


def skipped(reason: str = "no x") -> Observation:
    return Observation(SKIP, reason=reason)


def error(reason: str = "oops") -> Observation:
    return Observation(ERROR, reason=reason)


def of(*observations: Observation, refused: int = 0) -> Result:
    return result("Layer", "check", "train", [Seen(None, o) for o in observations], ["why"] * refused)


def test_one_failure_wins_over_everything_verified():
    found = of(*[verified()] * 99, failed())
    assert found.outcome is FAIL
    assert found.reason == "out (1 of 100 examples)"
    assert found.examples == 100


def test_failure_wins_over_what_is_open_and_what_does_not_apply():
    assert of(open_(), skipped(), failed()).outcome is FAIL


def test_what_is_verified_beside_what_fails_is_named():
    beside = Observation(FAIL, {"x": 1e-8, "b": 1e-9}, {"c": 1e-3}, "W: out", wrong=("W",))
    found = of(verified(b=1e-9, c=1e-9, W=1e-9), beside)
    assert found.outcome is FAIL
    assert found.tensors == {"x": 1e-8, "b": 1e-9}
    assert not of(verified(), beside, failed()).tensors  # of whatever failed there


def test_failure_wins_over_examples_refused():
    assert of(failed(), refused=50).outcome is FAIL


def test_failure_wins_over_an_error_of_the_harness():
    assert worst([ERROR, FAIL]) is FAIL
    assert of(error(), failed()).outcome is FAIL


def test_error_wins_over_what_is_verified():
    found = of(error(), verified())
    assert found.outcome is ERROR
    assert found.reason == "oops (1 of 2 examples)"


def test_single_examples_reason_has_no_share():
    assert of(failed()).reason == "out"


@pytest.mark.parametrize(
    ("good", "bad", "outcome"), [(8, 2, PASS), (79, 21, INCONCLUSIVE), (80, 20, PASS), (7, 2, INCONCLUSIVE)]
)
def test_four_fifths_verified_are_enough(good, bad, outcome):
    assert of(*[verified()] * good, *[open_()] * bad).outcome is outcome


def test_share_is_of_each_tensor_alone():
    found = of(
        *[verified(y=1e-9)] * 5, *[verified()] * 5, *[Observation(INCONCLUSIVE, {"x": 1e-9}, {"y": 1.0}, "y hides")] * 5
    )
    assert found.outcome is INCONCLUSIVE
    assert set(found.tensors) == {"x"}
    assert "y" in found.reason


def test_share_counts_the_examples_that_have_the_tensor():
    found = of(*[verified()] * 9, verified(y=1e-9))
    assert found.outcome is PASS
    assert set(found.tensors) == {"x", "y"}


def test_resolution_is_the_worst_that_was_accepted():
    assert of(verified(1e-9), verified(1e-7), verified(1e-8)).tensors == {"x": 1e-7}


def test_examples_that_it_does_not_apply_to_are_not_counted():
    found = of(*[skipped()] * 9, verified())
    assert found.outcome is PASS
    assert found.examples == 1


def test_check_that_applies_nowhere_is_skipped_with_its_reason():
    found = of(skipped("no mask"), skipped("no generator"))
    assert found.outcome is SKIP
    assert found.reason == "no mask"


def test_no_example_at_all_is_skipped():
    assert of().outcome is SKIP
    assert of().reason == "no example"


@pytest.mark.parametrize(("seen", "refused", "outcome"), [(5, 5, PASS), (5, 6, ERROR), (1, 1, PASS), (0, 1, ERROR)])
def test_more_than_half_refused_is_an_error(seen, refused, outcome):
    found = of(*[verified()] * seen, refused=refused)
    assert found.outcome is outcome
    if outcome is ERROR:
        assert found.reason == f"the layer refuses {refused} of {seen + refused} examples, the first with: why"


def test_pass_carries_what_is_worth_saying():
    said = Observation(PASS, {"x": 1e-9}, reason="a kink was accepted")
    assert of(verified(), said).reason == "a kink was accepted"


def test_open_result_carries_why():
    assert "hidden" in of(open_()).reason


def test_observation_without_tensors_is_no_failure():
    assert of(Observation(INCONCLUSIVE, reason="the forward refused a nearby point"), verified()).outcome is not FAIL


def test_observations_that_name_no_tensor_count_as_not_verified():
    found = of(*[Observation(INCONCLUSIVE, reason="the forward refused a nearby point")] * 9, verified())
    assert found.outcome is INCONCLUSIVE


# The order of outcomes, and the truth of a report


@pytest.mark.parametrize(
    ("outcomes", "decides"),
    [
        ([PASS, FAIL, ERROR], FAIL),
        ([PASS, ERROR, INCONCLUSIVE], ERROR),
        ([PASS, INCONCLUSIVE, SKIP], INCONCLUSIVE),
        ([PASS, SKIP], PASS),
        ([SKIP], SKIP),
        ([], SKIP),
    ],
)
def test_worst_outcome_decides(outcomes, decides):
    assert worst(outcomes) is decides


def report(*results: tuple[Outcome, dict[str, float]]) -> Report:
    return Report("Layer", tuple(Result("Layer", "check", None, o, t) for o, t in results))


@pytest.mark.parametrize(
    ("made", "ok"),
    [
        (report((PASS, {"x": 0.0})), True),
        (report((PASS, {"x": 0.0}), (SKIP, {})), True),
        (report((PASS, {})), False),
        (report((SKIP, {})), False),
        (report(), False),
        (report((PASS, {"x": 0.0}), (INCONCLUSIVE, {})), False),
        (report((PASS, {"x": 0.0}), (ERROR, {})), False),
        (report((PASS, {"x": 0.0}), (FAIL, {})), False),
    ],
)
def test_report_is_true_where_everything_that_applies_passes_and_a_tensor_was_verified(made, ok):
    assert made.ok is ok
    assert bool(made) is ok


def way(how: str) -> Observation:
    return replace(verified(), way=how)


def test_one_way_here_and_another_there_is_a_failure():
    found = of(way("added"), way("put"), way("added"), skipped())
    assert found.outcome is FAIL
    assert found.reason == "put in 1 of 4 examples; in others added"


def test_one_way_everywhere_or_none_is_not():
    assert of(way("added"), verified(), way("added")).outcome is PASS
