"""Faults that act in one region alone are found by `check`, and at an input where they show."""

import pytest
import torch
from subjects import HAS, spec_with
from wrong import found_at_an_input, found_by_check, inputs_where_it_shows

from harness.fault.regions import BLOCK, PRECISIONS, REGIONS
from harness.faults import Fault, catalogue

REGIONAL = [f for f in catalogue() if f.where]
PAIRS = [(f, layer) for f in REGIONAL for layer, has in HAS.items() if f.needs in has]
IDS = [f"{f.name}-{layer}" for f, layer in PAIRS]
SEED = 5


@pytest.mark.parametrize(("fault", "layer"), PAIRS, ids=IDS)
def test_fault_in_a_region_is_found_by_the_spec(fault: Fault, layer: str):
    assert found_by_check(spec_with(layer, fault), fault.check, SEED)


@pytest.mark.parametrize(("fault", "layer"), PAIRS, ids=IDS)
def test_fault_in_a_region_is_found_where_it_shows(fault: Fault, layer: str):
    assert found_at_an_input(layer, fault, SEED)


@pytest.mark.parametrize("layer", HAS)
def test_right_twin_is_not(layer: str):
    for check in sorted({f.check for f in REGIONAL}):
        assert not found_by_check(spec_with(layer, None), check, SEED, most=8)


def test_regions_hold_what_they_say_and_nothing_else():
    x = torch.tensor([[0.0, 31.0, -9.0], [2.0, 2.0, -30.0]], dtype=torch.float64)
    inside = {n: region(x).expand_as(x).tolist() for n, region in REGIONS.items()}
    no, yes = [False] * 3, [True] * 3
    assert inside["beyond_30"] == [[False, True, False], no]
    assert inside["below_minus_8"] == [[False, False, True], [False, False, True]]
    assert inside["at_zero"] == [[True, False, False], no]
    assert inside["at_a_threshold"] == inside["in_one_column"] == [no, no]
    assert REGIONS["at_a_threshold"](torch.tensor([1.0, -1.0, 0.5])).tolist() == [True, True, False]
    assert REGIONS["in_one_column"](x[:, :1]).all()
    assert inside["at_ties"] == [no, [True, True, False]]
    assert inside["in_the_last_column"] == [[False, False, True]] * 2
    for name in ("in_a_batch_of_one", "where_sizes_are_square", "in_rows_beyond_a_block", *PRECISIONS):
        assert inside[name] == [no, no]
    assert REGIONS["in_a_batch_of_one"](x[:1]).tolist() == [yes]
    assert REGIONS["where_sizes_are_square"](x[:, :2]).all()
    large = torch.zeros(BLOCK + 2, BLOCK + 1)
    assert int(REGIONS["in_rows_beyond_a_block"](large).sum()) == 2
    assert int(REGIONS["in_columns_beyond_a_block"](large).sum()) == 1
    assert REGIONS["in_float32"](large).all()


def test_input_where_a_fault_shows_is_in_its_region():
    for fault, layer in PAIRS:
        if fault.needs == "input":
            if fault.where in ("in_bfloat16", "in_float16"):
                continue  # the check goes there itself
            _, inputs = inputs_where_it_shows(layer, fault, "train", SEED)
            assert bool(REGIONS[fault.where](inputs[0]).any()), fault.name
