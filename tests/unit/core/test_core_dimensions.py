"""Dimension expressions: what they parse to, the shapes they give, and what their errors say."""

import pytest

from harness import SpecError
from harness.dimensions import Dimensions

SHAPES = [
    ("B D", {"B": 2, "D": 3}, (2, 3)),
    ("", {}, ()),
    ("4", {}, (4,)),
    ("B 2*G L", {"B": 2, "G": 3, "L": 5}, (2, 6, 5)),
    ("B L+2", {"B": 1, "L": 4}, (1, 6)),
    ("L-1", {"L": 1}, (0,)),
    ("L//2 3", {"L": 5}, (2, 3)),
    ("(L+1)*2", {"L": 2}, (6,)),
    ("*batch D", {"batch": (2, 1), "D": 3}, (2, 1, 3)),
    ("*batch D", {"batch": (), "D": 3}, (3,)),
    ("*batch", {"batch": 4}, (4,)),
    ("δ 3", {"δ": 2}, (2, 3)),
]


@pytest.mark.parametrize(("text", "sizes", "shape"), SHAPES)
def test_shape_at_sizes(text, sizes, shape):
    assert Dimensions(text).shape(sizes) == shape


def test_names_in_order_of_appearance_without_repetition():
    assert Dimensions("B 2*G B+L *rest").names == ("B", "G", "L")


def test_starred_dimensions_are_listed_apart():
    found = Dimensions("*batch T *rest")
    assert found.starred == ("batch", "rest")
    assert found.names == ("T",)


@pytest.mark.parametrize("part", ["B,", "2*", "B**2", "B/2", "f(B)", "1.5", "'B'", "-B", "*2", "B.D", "True", "B%2"])
def test_part_that_is_no_dimension_is_named_with_what_to_write(part):
    with pytest.raises(SpecError) as raised:
        Dimensions(f"N {part}")
    assert f"{part!r} in the shape {f'N {part}'!r} is no dimension" in str(raised.value)
    assert "as in 'B 2*D'" in str(raised.value)


def test_negative_axis_is_an_error_that_shows_the_sizes():
    with pytest.raises(SpecError, match=r"'L-2' has a negative axis at \{'L': 1\}: \(-1,\)"):
        Dimensions("L-2").shape({"L": 1})


def test_several_axes_inside_an_expression_are_an_error():
    with pytest.raises(SpecError, match=r"'batch' stands for several axes: write \*batch"):
        Dimensions("2*batch").shape({"batch": (2, 3)})


def test_division_by_a_size_of_zero_is_an_error_of_the_spec():
    with pytest.raises((SpecError, ZeroDivisionError)):
        Dimensions("4//B").shape({"B": 0})
