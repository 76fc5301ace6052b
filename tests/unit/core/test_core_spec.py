"""What a spec accepts, and what the text of each of its errors says."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from core_layers import DictLinear, Identity

from harness import LayerSpec, SpecError, check, floats, ints
from harness.examples.cases import build, request_of
from harness.examples.design import Example
from harness.kinds import Drawn, Floats, Ints, size_expression

CPU = torch.device("cpu")


def message(make: Callable[[], Any]) -> str:
    with pytest.raises(SpecError) as raised:
        make()
    return str(raised.value)


# build and its arguments


def test_unknown_build_argument_shows_the_lines_to_write():
    def build(B, D, momentum):
        return Identity()

    text = message(lambda: LayerSpec(build=build, inputs="B D", options={"p": (0.0, 0.5)}))
    assert "build asks for 'momentum', which is neither a dimension (B, D) nor an option (p) nor reserved" in text
    assert "(mode, generator, rng, dtype, device)" in text
    assert "    LayerSpec(build=..., options={'momentum': (value_1, value_2)}, ...)" in text
    assert "    LayerSpec(build=..., dims={'momentum': range(1, 7)}, ...)" in text
    assert "    LayerSpec(build=lambda B, D: build(..., momentum=value), ...)" in text


@pytest.mark.parametrize(("name", "who"), [("Linear", "the build of 'Linear'"), (None, "the lambda given as build")])
def test_a_lambda_that_asks_for_what_there_is_not_is_told_from_others(name, who):
    text = message(lambda: LayerSpec(build=lambda n_in, n_out: Identity(), inputs="B n_in", name=name))
    assert text.startswith(f"{who} asks for 'n_out', which is neither")
    assert "    LayerSpec(build=lambda B, n_in, n_out=value: ..., ...)" in text


def test_unknown_argument_with_a_default_is_left_alone():
    spec = LayerSpec(build=lambda D, eps=1e-5: (D, eps), inputs="B D")
    assert build(spec, Example({"B": 2, "D": 3}), None, CPU) == (3, 1e-5)


def test_known_argument_with_a_default_is_given():
    spec = LayerSpec(build=lambda D=7, p=0.5: (D, p), inputs="B D", options={"p": (0.1,)})
    assert build(spec, Example({"B": 2, "D": 3}, {"p": 0.1}), None, CPU) == (3, 0.1)


def test_reserved_arguments_are_passed():
    spec = LayerSpec(build=lambda mode, generator, rng, dtype, device: locals(), inputs="B")
    made = build(spec, Example({"B": 2}, seed=5), "eval", CPU)
    assert made["mode"] == "eval"
    assert made["generator"].initial_seed() == 5
    assert isinstance(made["rng"], np.random.Generator)
    assert made["dtype"] is torch.float64
    assert made["device"] == CPU


def test_randomness_of_build_follows_the_examples_seed():
    draws = lambda: (torch.rand(2).tolist(), np.random.rand())  # noqa: NPY002, E731  (what layers in the wild draw from)
    spec = LayerSpec(build=draws, inputs="B")
    one, again, other = (build(spec, Example({"B": 2}, seed=s), None, CPU) for s in (1, 1, 2))
    assert one == again
    assert one[0] != other[0]
    assert one[1] != other[1]


def test_string_is_evaluated_in_the_callers_namespace():
    class Local(Identity):
        def __init__(self, width):
            self.width = width

    spec = LayerSpec(build="Local(2*D)", inputs="B D")
    made = build(spec, Example({"B": 1, "D": 3}), None, CPU)
    assert isinstance(made, Local)
    assert made.width == 6
    assert spec.build_arguments() == ("D",)


def test_string_that_names_a_class_builds_it():
    spec = LayerSpec(build="Identity", inputs="B D")
    assert isinstance(build(spec, Example({"B": 1, "D": 3}), None, CPU), Identity)


def test_string_that_is_no_expression_is_an_error():
    text = message(lambda: LayerSpec(build="Identity(", inputs="B"))
    assert text.startswith("build='Identity(' is no expression (")
    assert text.endswith("write e.g. 'MyLayer(D)'")


def test_name_in_a_string_that_is_nowhere_is_told_with_the_lines_to_write():
    spec = LayerSpec(build="Identity(K)", inputs="B D")
    text = message(lambda: build(spec, Example({"B": 1, "D": 3}), None, CPU))
    assert text == (
        "build='Identity(K)': 'K' is neither defined nor a dimension or an option; a size write as "
        "dims={'K': range(1, 7)}, a setting as options={'K': (value_1, value_2)}"
    )


def test_build_that_returns_a_class_is_an_error():
    assert message(lambda: check(LayerSpec(build=lambda: Identity, inputs="B D"), examples=1)) == (
        "Identity is a class: a layer is needed, such as Identity(...)"
    )


def test_build_that_is_nothing_usable_is_an_error():
    text = message(lambda: LayerSpec(build=3, inputs="B"))
    assert text == "build=3 is neither a class, a function, a string nor a layer"


def test_layer_itself_may_stand_for_its_build():
    layer = DictLinear(3, 2)
    spec = LayerSpec(build=layer, inputs="B 3")
    assert not spec.builds
    assert spec.build_arguments() == ()
    assert check(spec, examples=2, only=("gradient",)).ok


def test_class_is_built_with_the_dimensions_that_it_names():
    assert LayerSpec(build=DictLinear, inputs="B D_in", dims={"D_out": [2]}).build_arguments() == ("D_in", "D_out")


# Dimensions and inputs


@pytest.mark.parametrize("values", [0, 3, [], "ab", [1.5], [-1], ["2"]])
def test_sizes_that_are_none_are_an_error(values):
    text = message(lambda: LayerSpec(build=Identity, inputs="B", dims={"B": values}))
    assert text.startswith(f"dims={{'B': {values!r}}}: write the sizes it may take, such as range(1, 7) or [16, 64]")


def test_default_sizes_are_one_to_six():
    assert LayerSpec(build=Identity, inputs="B D").sizes == {"B": tuple(range(1, 7)), "D": tuple(range(1, 7))}


def test_given_sizes_are_sorted_and_distinct():
    assert LayerSpec(build=Identity, inputs="B", dims={"B": [5, 2, 5]}).sizes == {"B": (2, 5)}


def test_dimension_that_only_build_names_comes_from_dims():
    spec = LayerSpec(build=lambda D, H: (D, H), inputs="B D", dims={"H": [4]})
    assert spec.build_arguments() == ("D", "H")


def test_bounds_of_integers_are_dimensions_too():
    spec = LayerSpec(build=Identity, inputs=("B", ints("B", below="C")))
    assert set(spec.sizes) == {"B", "C"}


def test_starred_dimension_takes_any_number_of_axes():
    spec = LayerSpec(build=Identity, inputs="*batch D")
    assert spec.starred == ("batch",)
    report = check(spec, examples=12, only=("input_gradient",))
    assert report.ok, str(report)


def test_string_input_is_a_real_one():
    kind, labels, drawn = LayerSpec(
        build=Identity, inputs=("B D", ints("B", below=3), lambda B, rng: rng.normal(size=B))
    ).kinds
    assert isinstance(kind, Floats)
    assert isinstance(labels, Ints)
    assert isinstance(drawn, Drawn)


def test_thing_that_is_no_input_is_an_error():
    text = message(lambda: LayerSpec(build=Identity, inputs=("B", 3)))
    assert text.startswith("inputs: 3 is no input: write a shape such as 'B D', floats('B D', low=0)")


def test_shape_with_a_mistake_in_it_is_an_error():
    assert "'B,' in the shape 'B, D' is no dimension" in message(lambda: LayerSpec(build=Identity, inputs="B, D"))


def test_input_function_gets_dimensions_options_and_rng():
    seen = {}

    def draw(B, p, rng):
        seen.update(B=B, p=p, rng=rng)
        return rng.normal(size=(B, 2))

    spec = LayerSpec(build=Identity, inputs=("B", draw), options={"p": (0.5,)})
    request = request_of(spec, Example({"B": 3}, {"p": 0.5}, seed=1), None, CPU)
    assert seen["B"] == 3
    assert seen["p"] == 0.5
    assert isinstance(seen["rng"], np.random.Generator)
    assert request.inputs[1].shape == (3, 2)


def test_input_function_with_an_unknown_argument_is_an_error():
    text = message(lambda: LayerSpec(build=Identity, inputs=("B", lambda B, C, rng: rng.normal(size=(B, C)))))
    assert text == (
        "the input function asks for 'C', which is no dimension: give it sizes with dims={'C': range(1, 7)}"
    )


def test_integers_stay_within_their_bounds():
    spec = LayerSpec(build=Identity, inputs=("C", ints("40", below="C+1", low="C-2")))
    drawn = request_of(spec, Example({"C": 5}, seed=3), None, CPU).inputs[1]
    assert set(drawn.tolist()) == {3, 4, 5}
    assert not drawn.is_floating_point()


@pytest.mark.parametrize(("bound", "value"), [(3, 3), ("C", 5), ("C-1", 4)])
def test_bound_is_an_integer_or_an_expression(bound, value):
    assert size_expression(bound, {"C": 5}) == value


@pytest.mark.parametrize(("low", "high"), [(1.0, 1.0), (2.0, 1.0)])
def test_empty_domain_is_an_error(low, high):
    text = message(lambda: floats("B", low=low, high=high))
    assert text == f"floats(low={low}, high={high}): the domain is empty; low must be below high"


@pytest.mark.parametrize("end", [float("nan"), -float("inf"), "0"])
def test_end_of_a_domain_that_is_no_number_is_an_error(end):
    text = message(lambda: floats("B", low=end))
    assert text == f"floats(low={end!r}): write a number, or None where there is no bound"


def test_integers_of_which_there_are_none_are_an_error():
    text = message(lambda: ints("B", below=0))
    assert text == "ints(low=0, below=0): there is no such number; low must be less than below"


# Options, promises, resolution


@pytest.mark.parametrize("values", [0.5, "ab", None])
def test_option_without_a_list_of_values_shows_one(values):
    text = message(lambda: LayerSpec(build=Identity, inputs="B", options={"p": values}))
    assert text == f"options={{'p': {values!r}}}: write the values it may take, such as ({values!r},)"


def test_option_without_values_is_an_error():
    assert message(lambda: LayerSpec(build=Identity, inputs="B", options={"p": ()})) == "options={'p': ()} has no value"


@pytest.mark.parametrize(("word", "near"), [("fast", ""), ("unbised", "did you mean 'unbiased'? ")])
def test_unknown_promise_is_an_error_that_lists_them(word, near):
    text = message(lambda: LayerSpec(build=Identity, inputs="B", promises=(word,)))
    has = "unbiased, accumulates, overwrites, reentrant, shared_mask, owns, portable, stable"
    assert text == f"there is no promise {word!r}: {near}there are {has}"


def test_a_spec_shows_its_inputs_as_they_are_written():
    inputs = ("B C", ints("B", below="C"), ints("B", below=3, low=1, dtype="uint8"), floats("B", low=0, low_open=True))
    assert str(LayerSpec(build=Identity, inputs=inputs)) == (
        "LayerSpec(build=Identity, inputs=('B C', ints('B', below='C'), ints('B', below=3, low=1, dtype=('uint8',)), "
        "floats('B', low=0, low_open=True)))"
    )
    assert eval(repr(inputs)) == inputs


def test_what_declares_a_derivative_is_called_so_in_its_error():
    spec = LayerSpec(build=Identity, inputs="B", derivative_of=lambda x, y: x)
    assert message(lambda: check(spec, examples=1)).startswith(
        "the derivative_of of Identity asks for 'y'; there are x"
    )


def test_one_promise_needs_no_tuple():
    assert LayerSpec(build=Identity, inputs="B", promises="unbiased").promises == ("unbiased",)


@pytest.mark.parametrize(
    ("word", "given", "shown"),
    [
        ("dims", [3], "dims=[3]: write a dict, {name: sizes}, such as {'D': range(1, 7)}"),
        ("options", [0.5], "options=[0.5]: write a dict, {name: values}, such as {'p': (0.0, 0.5)}"),
        ("grads", "dW", "grads='dW': write a dict, {parameter: name of its gradient}, such as {'W': 'dW'}"),
        ("gaps", ["state"], "gaps=['state']: write a dict, {check name: why}, such as {'float16': 'overflows'}"),
        (
            "modes",
            {"train": True},
            "modes={'train': True}: write forward's keywords in that mode, such as {'is_train': True}",
        ),
        ("dtypes", torch.float32, "dtypes=torch.float32: write a tuple of float64, float32, bfloat16, float16"),
        (
            "reference",
            "torch.tanh",
            "reference='torch.tanh' can't be called: write a function, such as torch.tanh or a lambda",
        ),
        ("derivative_of", 3, "derivative_of=3 can't be called: write a function, such as torch.tanh or a lambda"),
    ],
)
def test_field_of_another_type_says_what_to_write(word, given, shown):
    assert message(lambda: LayerSpec(build=Identity, inputs="B", **{word: given})) == shown


@pytest.mark.parametrize(
    ("build", "shown"),
    [
        (
            "Identity",
            "build takes no arguments, 'Identity' makes it of nothing: write build='Identity(n_out, n_hidden)'",
        ),
        (Identity, "build takes no arguments: write build=lambda n_out, n_hidden: ..."),
    ],
)
def test_size_that_a_build_without_arguments_does_not_take_says_how_it_would(build, shown):
    text = message(lambda: LayerSpec(build=build, inputs="B", dims={"n_out": (1, 2), "n_hidden": (3,)}))
    assert text == "dims={'n_out': ...} is used nowhere: " + shown


@pytest.mark.parametrize("resolution", [0, -1e-6, 1, 2.5, float("nan"), "high"])
def test_resolution_that_is_no_relative_error_is_an_error(resolution):
    text = message(lambda: LayerSpec(build=Identity, inputs="B", resolution=resolution))
    assert text == f"resolution={resolution!r}: write the relative error that must be seen, such as 1e-6"


def test_check_of_something_else_says_what_it_takes():
    text = message(lambda: check(Identity()))  # type: ignore[arg-type]
    assert text.startswith("check() takes a LayerSpec, not Identity; for one layer and input use ")


@pytest.mark.parametrize("count", [0, -3])
def test_check_needs_an_example(count):
    assert message(lambda: check(LayerSpec(build=Identity, inputs="B"), examples=count)).startswith(
        f"examples={count}:"
    )


def test_unknown_dtype_of_a_spec_is_an_error():
    text = message(lambda: check(LayerSpec(build=Identity, inputs="B", dtypes=("float63",)), examples=1))
    assert "'float63'" in text
    assert "float64, float32, bfloat16, float16" in text


def test_gap_of_no_check_is_an_error():
    text = message(lambda: check(LayerSpec(build=Identity, inputs="B", gaps={"input_gradeint": "why"}), examples=1))
    assert "input_gradeint" in text


class TorchTanh:
    def forward(self, x):
        self.y = torch.tanh(x)
        return self.y

    def backward(self, v):
        return v * (1 - self.y**2)


def test_an_input_drawn_with_numpy_is_handed_to_a_torch_layer_as_a_tensor():
    assert check(LayerSpec(build=TorchTanh, inputs=(lambda rng: rng.standard_normal((3, 2)),)), examples=3).ok


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            lambda: LayerSpec(build=Identity, input="B D"),
            "LayerSpec() got an unexpected keyword 'input': did you mean inputs=?",
        ),  # type: ignore[call-arg]
        (lambda: LayerSpec(Identity, "B", promise="owns"), "did you mean promises=?"),  # type: ignore[call-arg]
        (
            lambda: check(LayerSpec(Identity, "B"), example=3),
            "check() got an unexpected keyword 'example': did you mean examples=?",
        ),  # type: ignore[call-arg]
        (lambda: floats("B", lowopen=True), "floats() got an unexpected keyword 'lowopen': did you mean low_open=?"),  # type: ignore[call-arg]
        (lambda: ints("B", maximum=3), "ints() got an unexpected keyword 'maximum': it takes shape, below, low, dtype"),  # type: ignore[call-arg]
    ],
)
def test_a_misspelt_keyword_is_told_which_one_may_be_meant(call, said):
    with pytest.raises(TypeError) as raised:
        call()
    assert said in str(raised.value)


def test_a_spec_is_copied_and_replaced_as_before():
    spec = LayerSpec(Identity, "B D", name="one")
    assert (copy.copy(spec).sizes, replace(spec, name="two").name) == (spec.sizes, "two")


@pytest.mark.parametrize(
    "sizes", [np.arange(1, 4), torch.arange(1, 4), (n for n in (3, 2, 1)), {1, 2, 3}, [np.int64(1), 2, 3], range(1, 4)]
)
def test_sizes_are_whole_numbers_of_any_kind(sizes):
    assert LayerSpec(Identity, "B D", dims={"D": sizes}).sizes["D"] == (1, 2, 3)


@pytest.mark.parametrize("sizes", [np.array([1.5, 2.0]), [True, 2], "123", np.array([[1, 2]]), [-1], 5, []])
def test_sizes_that_are_no_whole_numbers_are_an_error(sizes):
    assert "write the sizes it may take, such as range(1, 7) or [16, 64]" in message(
        lambda: LayerSpec(Identity, "B D", dims={"D": sizes})
    )
