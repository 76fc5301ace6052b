"""The tests take a part of their cases at each commit."""

from turns import left_out

FEW = [f"a.py::test_few[{k}]" for k in range(3)]
MANY = [f"a.py::test_many[{k}]" for k in range(9)]
ALL = ["a.py::test_one", *FEW, *MANY]


def test_every_case_has_its_turn_and_each_turn_has_each_test():
    asked = [{*ALL} - left_out(ALL, 4, turn) for turn in range(4)]
    assert {*ALL} == {t for those in asked for t in those}
    for those in asked:
        assert "a.py::test_one" in those
        assert len({*FEW} & those) == 1
        assert 2 <= len({*MANY} & those) <= 3


def test_in_one_part_nothing_is_left_out():
    assert left_out(ALL, 1, 0) == set()
