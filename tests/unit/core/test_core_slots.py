"""Places inside a layer that hold arrays: found, read, written in place, converted."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch

from harness.outcome import SpecError
from harness.state.copies import convert, own_copy
from harness.state.slots import Slot, share_memory, walk

F64, F32 = torch.float64, torch.float32
CPU = torch.device("cpu")


class Inner:
    def __init__(self) -> None:
        self.W = torch.ones(2, 3, dtype=F64)

    def backward(self) -> None: ...


class Outer:
    def __init__(self) -> None:
        self.fc1 = Inner()
        self.params = {"gamma": torch.ones(3, dtype=F64), "steps": torch.ones(3, dtype=torch.long)}
        self.layers = [Inner(), (np.zeros(2), 1)]
        self.eps, self.count, self.name = 1e-5, 3, "outer"
        self.scalar = np.float64(2.0)
        self.f = lambda x: x
        self.kind = Inner
        self.again = self.fc1
        self.me = self

    def put(self, name: str, value: Any) -> None:
        setattr(self, name, value)


@pytest.fixture
def layer() -> Outer:
    return Outer()


def slots(layer: Any, scalars: bool = False) -> dict[str, Slot]:
    return {slot.label: slot for slot in walk(layer, scalars)}


def test_walk_finds_every_real_array_once(layer):
    assert set(slots(layer)) == {"fc1.W", "params.gamma", "layers.0.W", "layers.1.0"}


def test_walk_finds_real_scalars_on_request(layer):
    assert set(slots(layer, scalars=True)) - set(slots(layer)) == {"eps", "scalar"}


def test_code_reaches_what_the_label_names(layer):
    for slot in slots(layer, scalars=True).values():
        assert eval("layer" + slot.code, {"layer": layer}) is slot.get()


def test_write_is_in_place(layer):
    tensor, array = layer.fc1.W, layer.layers[1][0]
    found = slots(layer)
    found["fc1.W"].write(torch.full((2, 3), 7.0, dtype=F64))
    found["layers.1.0"].write(torch.full((2,), 7.0, dtype=F64))
    assert layer.fc1.W is tensor
    assert float(tensor[0, 0]) == 7
    assert layer.layers[1][0] is array
    assert array[0] == 7


def test_write_of_another_shape_replaces(layer):
    tensor = layer.fc1.W
    value = torch.zeros(4, dtype=F64)
    slots(layer)["fc1.W"].write(value)
    assert layer.fc1.W is not tensor
    assert layer.fc1.W.shape == (4,)
    value += 1  # what was written is a copy
    assert float(layer.fc1.W.sum()) == 0


def test_write_to_a_read_only_array_replaces(layer):
    frozen = np.ones(3)
    frozen.flags.writeable = False
    layer.put("frozen", frozen)
    slots(layer)["frozen"].write(torch.zeros(3, dtype=F64))
    assert layer.frozen.tolist() == [0, 0, 0]
    assert frozen.tolist() == [1, 1, 1]


def test_write_to_a_scalar_keeps_its_type(layer):
    found = slots(layer, scalars=True)
    found["eps"].write(torch.tensor(0.5, dtype=F64))
    found["scalar"].write(torch.tensor(0.25, dtype=F64))
    assert layer.eps == 0.5
    assert type(layer.eps) is float
    assert layer.scalar == 0.25
    assert type(layer.scalar) is np.float64


def test_write_to_a_parameter_that_requires_grad_is_in_place_and_unrecorded(layer):
    p = torch.nn.Parameter(torch.ones(2, dtype=F64))
    layer.put("p", p)
    slots(layer)["p"].write(torch.zeros(2, dtype=F64))
    assert layer.p is p
    assert p.grad_fn is None
    assert p.tolist() == [0, 0]


def test_read_shares_memory(layer):
    found = slots(layer)
    found["layers.1.0"].read().fill_(3)
    assert layer.layers[1][0].tolist() == [3, 3]


@pytest.mark.parametrize(("owner", "key"), [({}, "W"), ([], 0), (Inner(), "nothing")])
def test_empty_place_reads_as_none(owner, key):
    assert Slot(owner, key, "W").get() is None
    assert Slot(owner, key, "W").read() is None


def test_conversion_keeps_identity_and_aliases(layer):
    tensor = layer.fc1.W
    convert(layer, F32, CPU)
    assert layer.fc1.W is tensor is layer.again.W
    assert tensor.dtype == F32
    assert layer.params["gamma"].dtype == F32
    assert layer.params["steps"].dtype == torch.long


def test_conversion_of_numpy_arrays(layer):
    layer.put("w", np.ones(2))
    kept = layer.w
    convert(layer, F64, CPU)
    assert layer.w is kept
    convert(layer, F32, CPU)
    assert layer.w.dtype == np.float32


def test_conversion_of_a_parameter_leaves_a_leaf_without_gradient(layer):
    p = torch.nn.Parameter(torch.ones(2, dtype=F32))
    layer.put("p", p)
    convert(layer, F64, CPU)
    assert layer.p is p
    assert p.dtype == F64
    assert p.is_leaf
    assert not p.requires_grad


class Slotted:
    __slots__ = ("W",)

    def __init__(self) -> None:
        self.W = torch.ones(2, dtype=F64)


class Shared:
    W = np.ones(3)

    def __init__(self) -> None:
        self.b = torch.zeros(1, dtype=F64)


def test_slotted_and_class_attributes_are_found():
    assert set(slots(Slotted())) == {"W"}
    assert set(slots(Shared())) == {"W", "b"}


def test_functions_and_types_are_not_walked():
    class Layer:
        def __init__(self) -> None:
            self.act, self.kind, self.module = torch.tanh, Slotted, np
            self.bound = Slotted().__init__

    assert slots(Layer()) == {}


class Views:
    """One block of numbers under several names."""

    def __init__(self, library: str) -> None:
        block = np.arange(12.0).reshape(3, 4)
        self.block: Any = block if library == "numpy" else torch.as_tensor(block)
        self.row, self.column, self.turned = self.block[1], self.block[:, 2], self.block.T
        self.same = self.block


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_views_share_memory_after_conversion(library):
    layer = Views(library)
    convert(layer, F32, CPU)
    assert layer.block.shape == (3, 4)
    layer.block[1, 2] = -7.0
    assert float(layer.row[2]) == float(layer.column[1]) == float(layer.turned[2, 1]) == float(layer.same[1, 2]) == -7
    assert [float(v) for v in layer.row] == [4, 5, -7, 7]
    assert {str(v.dtype).removeprefix("torch.") for v in vars(layer).values()} == {"float32"}


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_memory_in_common_is_seen(library):
    layer = Views(library)
    assert share_memory(layer.block, layer.row)
    assert share_memory(layer.column, layer.turned)
    assert share_memory(layer.block[0], layer.block[:, 0])
    assert not share_memory(layer.block[0], layer.block[1])
    assert not share_memory(layer.block, layer.block + 0)
    assert not share_memory(layer.block, 1.0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_memory_is_compared_in_every_dtype(dtype):
    t = torch.zeros(4, 6, dtype=dtype)
    assert share_memory(t[:, 1:3], t.T[2])
    assert not share_memory(t[:, 1:3], t[:, 3:])


def test_an_array_put_on_a_class_after_it_was_walked_is_found() -> None:
    class Late:
        pass

    assert [*walk(Late())] == []
    Late.table = np.ones(2)  # type: ignore[attr-defined]
    assert [s.label for s in walk(Late())] == ["table"]


@pytest.mark.parametrize("kind", [torch.Tensor.clone, torch.nn.Parameter], ids=["tensor", "parameter"])
def test_a_copy_is_in_the_working_dtype(kind):
    class Held:
        def __init__(self):
            self.W, self.b = kind(torch.ones(2)), kind(torch.zeros(2))

    held = Held()
    copied = own_copy(held, torch.float64, torch.device("cpu"))
    assert {copied.W.dtype, copied.b.dtype} == {torch.float64}
    assert {held.W.dtype, held.b.dtype} == {torch.float32}


class Counter:
    """Copied as iterators of itertools are from Python 3.12 on."""

    def __init__(self, warning: type[Warning]) -> None:
        self.warning = warning

    def __reduce__(self) -> tuple[Any, ...]:
        warnings.warn("copy support will be removed", self.warning, stacklevel=2)
        return type(self), (self.warning,)


class Counting:
    def __init__(self, warning: type[Warning]) -> None:
        self.W, self.calls = torch.ones(2), Counter(warning)


def test_what_python_will_copy_no_more_is_copied_where_warnings_are_errors():
    held = Counting(DeprecationWarning)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        copied = own_copy(held, F64, CPU)
    assert copied.W.dtype == F64
    assert copied.calls is not held.calls


def test_what_a_layer_of_ones_own_warns_of_stays_an_error():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(SpecError, match="can't be copied"):
            own_copy(Counting(UserWarning), F64, CPU)


class Table:
    """Its parts are functions in a dict, made inside the layer and inside a layer of it."""

    def __init__(self) -> None:
        self.inner, self.kept = Inner(), {}
        inner = self.inner

        def through(g: Any) -> Any:
            return again(g) * self.kept["x"]

        def again(g: Any) -> Any:
            return g if g is None else 2 * g * (through is not None)

        self.steps = {"weights": lambda: inner.W, "back": [through]}


def test_functions_in_containers_mean_the_copy():
    held = Table()
    copied = own_copy(held, F64, CPU)
    assert copied.steps["weights"]() is copied.inner.W is not held.inner.W
    copied.kept["x"], held.kept["x"] = 3.0, 5.0
    assert copied.steps["back"][0](1.0) == 6.0
    assert held.steps["back"][0](1.0) == 10.0
    assert held.steps["weights"]() is held.inner.W


@pytest.mark.parametrize("dtype", [F64, F32])
def test_views_of_numpy_are_in_the_working_dtype_too(dtype):
    class Held:
        def __init__(self) -> None:
            self.W = np.ones((2, 3))
            self.WT = self.W.T

    copied = own_copy(Held(), dtype, CPU)
    assert str(copied.W.dtype) == str(copied.WT.dtype) == str(dtype).removeprefix("torch.")
    copied.W[0, 1] = 7
    assert copied.WT[1, 0] == 7
