"""No examples, one example, inputs in other memory, a layer that was in the other mode: right and wrong twins."""

import pytest
import torch
from core_layers import Affine

from harness import LayerSpec, Outcome, check, floats, gradcheck, ints


class LargestFirst(Affine):
    """Looks for the largest entry, of which there is none in an empty batch."""

    def forward(self, x):
        x.max()
        return super().forward(x)


class Refuses(Affine):
    def forward(self, x):
        if not len(x):
            raise ValueError("give at least one row")
        return super().forward(x)


class Remembers(Affine):
    """The gradient of b starts from the last one where there are no rows."""

    def backward(self, dy):
        dx = super().backward(dy)
        if not len(dy):
            self.db = torch.ones_like(self.b)
        return dx


class Flow(Affine):
    """The rows scaled, and beside them the log-determinant, which depends on w however many rows there are."""

    def forward(self, x):
        return super().forward(x), self.w.abs().log().sum()

    def backward(self, dy, dl):
        dx = super().backward(dy)
        self.dw = self.dw + dl / self.w
        return dx


class FlowOfEachRow(Flow):
    """Where there are no rows the log-determinant has a gradient of the wrong sign."""

    def backward(self, dy, dl):
        return super().backward(dy, dl if len(dy) else -dl)


class WrongForOne(Affine):
    def backward(self, dy):
        dx = super().backward(dy)
        return 2 * dx if len(dy) == 1 else dx


class Modes(Affine):
    """Centred over the batch in training, over nothing in evaluation."""

    training = True

    def train(self):
        self.training = True

    def eval(self):
        self.training = False

    def forward(self, x):
        self.centres = self.training
        return super().forward(x - x.mean(0) if self.centres else x)

    def backward(self, dy):
        dx = super().backward(dy)
        return dx - dx.mean(0) if self.centres else dx


class CentresInEval(Modes):
    def forward(self, x):
        self.training = True
        return super().forward(x)


class Tilted:
    """x w, with half the slope in evaluation; parameters in dicts, so that no probe need put it into the other mode."""

    training, stuck = True, False

    def __init__(self, D):
        self.params, self.grads = {"w": torch.ones(D).double()}, {"w": torch.zeros(D).double()}

    def train(self):
        self.training = True

    def eval(self):
        self.training = False

    def forward(self, x):
        self.x, self.slope = x, 1.0 if self.training else 0.5
        return self.slope * x * self.params["w"]

    def backward(self, dy):
        self.grads["w"] = self.slope * (dy * self.x).sum(0)
        return self.slope * dy * self.params["w"]


class StuckInEval(Tilted):
    """Once in evaluation, backward takes training for evaluation."""

    def forward(self, x):
        y = super().forward(x)
        self.stuck = self.stuck or not self.training
        self.slope = 0.5 if self.stuck else self.slope
        return y


class Probed(Tilted):
    """The same with parameters on itself, which only probes can find, and a statistic that only evaluation reads."""

    def __init__(self, D):
        self.w, self.dw, self.mean = torch.ones(D).double(), torch.zeros(D).double(), torch.ones(D).double()

    def forward(self, x):
        self.x, self.slope = x, 1.0 if self.training else 0.5
        if self.training:
            self.mean = 0.5 * self.mean + 0.5 * x.detach().mean(0)
        return self.slope * x * self.w + (0.0 if self.training else self.mean)

    def backward(self, dy):
        self.dw = self.slope * (dy * self.x).sum(0)
        return self.slope * dy * self.w


class StuckProbed(Probed):
    """Once in evaluation, it takes training for half of it, forward and backward alike."""

    def forward(self, x):
        y = super().forward(x)
        self.stuck = self.stuck or not self.training
        if not (self.stuck and self.training):
            return y
        self.slope = 0.5
        return 0.5 * y


class FlatMemory(Affine):
    """Reads its input as it lies in memory."""

    def forward(self, x):
        self.memory = torch.as_strided(x, x.shape, (x.shape[1], 1))
        return super().forward(x)

    def backward(self, dy):
        dx = super().backward(dy)
        self.dw = (dy * self.memory).sum(0)
        return dx


class Viewed:
    """Asks for memory without gaps, and says so."""

    def forward(self, x):
        self.shape = x.shape
        return x.view(len(x), -1)

    def backward(self, dy):
        return dy.reshape(self.shape)


def outcomes(layer, name):
    report = check(LayerSpec(build=layer, inputs=(floats("B D"),)), examples=6, only=(name,))
    return {r.mode: r for r in report.results}


@pytest.mark.parametrize("name", ["empty_batch", "single_example", "input_layout"])
def test_a_right_layer_passes(name):
    (found,) = outcomes(Affine, name).values()
    assert found.outcome is Outcome.PASS, found.reason


def test_what_comes_out_without_examples_has_a_gradient():
    (right,), (wrong,) = (outcomes(layer, "empty_batch").values() for layer in (Flow, FlowOfEachRow))
    assert right.outcome is Outcome.PASS, right.reason
    assert wrong.outcome is Outcome.FAIL


@pytest.mark.parametrize("name", ["empty_batch", "single_example", "mode_switch", "reuse"])
def test_a_right_layer_with_modes_passes_in_each(name):
    found = outcomes(Modes, name)
    assert {m: r.outcome for m, r in found.items()} == {"train": Outcome.PASS, "eval": Outcome.PASS}, found


@pytest.mark.parametrize(
    ("layer", "name", "said"),
    [
        (LargestFirst, "empty_batch", "crashes on an empty batch"),
        (Remembers, "empty_batch", "zero"),
        (WrongForOne, "single_example", "entries are out"),
        (FlatMemory, "input_layout", "w, inputs in"),
    ],
)
def test_a_wrong_one_fails(layer, name, said):
    (found,) = outcomes(layer, name).values()
    assert found.outcome is Outcome.FAIL
    assert said in found.reason


def test_the_finding_for_one_example_is_of_one():
    (found,) = outcomes(WrongForOne, "single_example").values()
    assert found.finding.where[1][0] == 0
    assert "B=1" in found.finding.example
    assert "no evidence" not in found.reason


def test_a_layer_may_say_that_it_takes_no_empty_batch():
    (found,) = outcomes(Refuses, "empty_batch").values()
    assert found.outcome is Outcome.SKIP
    assert "give at least one row" in found.reason


class Quarters:
    """A quarter turn of pairs, whose number it leaves to the library."""

    def forward(self, x):
        self.shape = x.shape
        a, b = x.reshape(*x.shape[:2], -1, 2).unbind(-1)
        return torch.stack([-b, a], -1).reshape(x.shape)

    def backward(self, dy):
        a, b = dy.reshape(*self.shape[:2], -1, 2).unbind(-1)
        return torch.stack([b, -a], -1).reshape(self.shape)


def test_a_size_that_no_library_can_tell_is_no_crash_of_the_layer():
    (found,) = check(LayerSpec(Quarters, inputs="B C 2*G"), examples=4, only="empty_batch").results
    assert found.outcome is Outcome.SKIP
    assert "write it out" in found.reason
    assert check(LayerSpec(Quarters, inputs="B C 2*G"), examples=4, only="input_gradient").ok


class MeanOfPython(Affine):
    """Divides by the number of rows in Python's numbers, as most batch normalisations do; in `place`."""

    def __init__(self, D, place):
        super().__init__(D)
        self.place = place

    def forward(self, x):
        return super().forward(x) * (1.0 if self.place == "backward" else len(x) * (1 / len(x)))

    def backward(self, dy):
        return super().backward(dy * (1.0 if self.place == "forward" else len(dy) * (1 / len(dy))))


class PicksTheFirst(Affine):
    """Its backward looks at the first row, of which there is none in an empty batch."""

    def backward(self, dy):
        return super().backward(dy) + 0 * dy[0]


@pytest.mark.parametrize("place", ["forward", "backward"])
def test_a_mean_over_nothing_may_raise_where_python_divides(place):
    spec = LayerSpec(lambda D: MeanOfPython(D, place), inputs="B D", name="MeanOfPython")
    (found,) = check(spec, examples=4, only="empty_batch").results
    assert found.outcome is Outcome.SKIP
    assert "a mean over nothing" in found.reason


class FlatInBackward(Affine):
    """Leaves a size to the library in backward alone."""

    def backward(self, dy):
        return super().backward(dy.reshape(len(dy), -1).reshape(dy.shape))


def test_a_size_that_no_library_can_tell_is_no_crash_of_backward_either():
    (found,) = outcomes(FlatInBackward, "empty_batch").values()
    assert found.outcome is Outcome.SKIP
    assert "write it out" in found.reason


def test_another_crash_of_backward_on_an_empty_batch_fails():
    (found,) = outcomes(PicksTheFirst, "empty_batch").values()
    assert found.outcome is Outcome.FAIL
    assert "IndexError" in found.reason


class Looked(torch.nn.Module):
    """Entries of the first row of an image: columns that are looked up, nearest first."""

    def forward(self, image, at):
        return image[0, at.long().clamp(0, image.shape[1] - 1)] * at


class Largest(torch.nn.Module):
    """The largest of each column of a set."""

    def forward(self, x):
        return x.amax(0)


class LargestOfBatch(Largest):
    """The same taken from each row: of as many rows as there are examples."""

    def forward(self, x):
        return x - super().forward(x)


@pytest.mark.parametrize(
    ("layer", "inputs", "expected"),
    [
        (Looked, ("H W", floats("P", low=0, high=6)), Outcome.SKIP),
        (Largest, "N D", Outcome.SKIP),
        (LargestOfBatch, "N D", Outcome.FAIL),
    ],
)
def test_rows_that_no_output_has_are_no_batch(layer, inputs, expected):
    """An image of no rows that points are looked up in was taken for an empty batch: IndexError, and a FAIL."""
    found, *_ = check(LayerSpec(layer, inputs=inputs), examples=4, only="empty_batch").results
    assert found.outcome is expected
    assert ("nothing shows that they are examples" in found.reason) == (expected is Outcome.SKIP)


class Furthest(torch.nn.Module):
    """How far the points of the first set are from the nearest of the second at most (Hausdorff)."""

    def forward(self, p, q):
        return torch.cdist(p, q).square().amin(1).amax()


class FirstAlone(torch.nn.Module):
    """It looks at the first row, as no distance of two sets does."""

    def forward(self, p, q):
        return (p[0] - q.mean(0)).square().sum()


@pytest.mark.parametrize(("layer", "expected"), [(Furthest, Outcome.SKIP), (FirstAlone, Outcome.FAIL)])
def test_one_number_of_the_largest_of_nothing_is_none(layer, expected):
    """The distance of two sets, one of which was empty, failed as a crash on an empty batch."""
    found, *_ = check(LayerSpec(layer, inputs=("N D", "M D")), examples=2, only="empty_batch").results
    assert found.outcome is expected, found.reason


def test_so_may_one_without_a_source_to_read():
    scope = {"Affine": Affine}
    lines = "class Quiet(Affine):\n def forward(self, x):\n  if not len(x): raise ValueError('no rows')\n  return super().forward(x)"
    exec(lines.replace("super()", "Affine").replace("forward(x)", "forward(self, x)"), scope)
    (found,) = outcomes(scope["Quiet"], "empty_batch").values()
    assert found.outcome is Outcome.SKIP


def test_an_example_that_depends_on_others_in_eval_fails():
    found = outcomes(CentresInEval, "single_example")
    assert found["eval"].outcome is Outcome.FAIL
    assert "depends on the others" in found["eval"].reason
    assert found["train"].outcome is Outcome.PASS


def test_a_layer_that_comes_back_from_eval_passes():
    assert {r.outcome for r in outcomes(Tilted, "mode_switch").values()} == {Outcome.PASS}
    assert {r.outcome for r in outcomes(Probed, "mode_switch").values()} == {Outcome.PASS}


@pytest.mark.parametrize("layer", [StuckInEval, StuckProbed])
def test_a_layer_that_stays_in_eval_fails(layer):
    found = outcomes(layer, "mode_switch")
    assert found["train"].outcome is Outcome.FAIL
    assert "after a forward and backward in eval" in found["train"].reason


def test_without_a_spec_no_dimension_is_known_to_be_the_batch():
    report = gradcheck(Affine(3), torch.randn(4, 3), battery=True, raise_exception=False)
    by_name = {r.check: r for r in report.results}
    assert by_name["empty_batch"].outcome is Outcome.SKIP
    assert "LayerSpec" in by_name["empty_batch"].reason


def test_a_layer_may_refuse_a_layout():
    report = gradcheck(Viewed(), torch.randn(2, 3, 4), battery=True, raise_exception=False)
    found = next(r for r in report.results if r.check == "input_layout")
    assert found.outcome in (Outcome.PASS, Outcome.SKIP), found.reason
    assert "refuses inputs in" in found.reason
    assert report.ok, str(report)


class Rows(torch.autograd.Function):
    """The rows of a table that indices name."""

    @staticmethod
    def forward(ctx, w, ids):
        ctx.save_for_backward(ids)
        ctx.size = w.shape
        return w[ids]

    @staticmethod
    def backward(ctx, g):
        (ids,) = ctx.saved_tensors
        return g.new_zeros(ctx.size).index_add_(0, ids.reshape(-1), g.reshape(-1, ctx.size[1])), None


class RowsOfSome(torch.autograd.Function):
    """It looks for the largest entry of the cotangent, of which there is none in an empty batch."""

    @staticmethod
    def forward(ctx, w, ids):
        return Rows.forward(ctx, w, ids)

    @staticmethod
    def backward(ctx, g):
        g.max()
        return Rows.backward(ctx, g)


def test_indices_that_go_up_to_a_dimension_make_it_no_batch():
    """A table without rows, beside indices that name some, was taken for an empty batch: IndexError, and a FAIL."""
    inputs = ("V D", ints("B T", below="V"))
    assert check(LayerSpec(build=lambda: Rows, inputs=inputs), examples=5).ok
    report = check(LayerSpec(build=lambda: RowsOfSome, inputs=inputs), examples=5, only=["empty_batch"])
    assert [r.outcome for r in report.results] == [Outcome.FAIL]
    assert "max()" in report.results[0].reason
