import sys

import numpy as np
import pytest
import torch

from report.dataset import load, split, train_counts
from report.errors import UsageError
from report.settings import Settings
from report.spiral import generate_spiral
from report.streams import stream


def test_split_keeps_the_share_of_every_class_and_loses_no_point():
    y = np.repeat([0, 1, 2], [150, 50, 7])
    train, val = split(y, stream(0, "split"))
    assert np.bincount(y[train]).tolist() == [120, 40, 6]
    assert np.bincount(y[val]).tolist() == [30, 10, 1]
    assert sorted([*train.tolist(), *val.tolist()]) == list(range(207))


def test_split_is_drawn_anew_for_every_seed_and_is_the_same_for_the_same():
    y = generate_spiral()[1]
    first, again, other = (split(y, stream(seed, "split"))[1].tolist() for seed in (1, 1, 2))
    assert first == again
    assert sorted(first) != sorted(other)


def test_every_class_stays_on_both_sides():
    assert train_counts([2, 3, 4, 10], 0.8) == [1, 2, 3, 8]
    assert train_counts([2, 10], 0.01) == [1, 1]


def test_the_spiral_has_fresh_points_and_a_best_accuracy():
    dataset = load(Settings())
    assert dataset.X_test.shape == (10_000, 2)
    assert np.bincount(dataset.y_test).tolist() == [5000, 5000]
    assert dataset.bayes == pytest.approx(0.977, abs=0.004)
    assert not np.isin(dataset.X_test[:, 0], dataset.X[:, 0]).any()


def points(n=40, K=2, D=3):
    return np.arange(n * D, dtype=float).reshape(n, D), np.arange(n) % K


def loaded(tmp_path, **arrays):
    path = tmp_path / "points.npz"
    np.savez(path, **arrays)
    return load(Settings(data=str(path)))


def test_a_file_takes_the_spirals_place(tmp_path):
    X, y = points()
    dataset = loaded(tmp_path, X=X, y=y)
    np.testing.assert_array_equal(dataset.X, X)
    np.testing.assert_array_equal(dataset.y, y)
    assert dataset.X.dtype == np.float32
    assert dataset.bayes is None
    assert len(dataset.y_test) == 0


def test_a_file_may_hold_fresh_points(tmp_path):
    X, y = points()
    assert len(loaded(tmp_path, X=X, y=y, X_test=X[:10], y_test=y[:10]).y_test) == 10


MODULE = """
import numpy as np
import torch

def generate_spiral(n_per_class=40, n_classes=3, noise=0.05, rotations=1.5, seed=42):
    n = n_per_class * n_classes
    return torch.full((n, 2), float(seed)), torch.arange(n) % n_classes

def plain():
    return np.zeros((50, 2)), np.arange(50) % 2

def three():
    return 1, 2, 3

def broken(n_per_class=1, seed=0):
    raise RuntimeError("no points today")

constant = 3
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "spiral_of_a_user.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield "spiral_of_a_user"
    sys.modules.pop("spiral_of_a_user", None)


def test_a_function_is_called_with_the_assignments_arguments(module):
    settings = Settings(data=f"{module}:generate_spiral")
    dataset = load(settings)
    assert dataset.X.shape == (120, 2)
    assert set(dataset.X.flat) == {settings.data_seed}
    assert dataset.X_test.shape == (9999, 2)
    assert set(dataset.X_test.flat) == {settings.test_seed}
    assert dataset.n_classes == 3
    assert dataset.bayes is None


def test_a_function_without_arguments_has_no_fresh_points(module):
    dataset = load(Settings(data=f"{module}:plain"))
    assert dataset.X.shape == (50, 2)
    assert len(dataset.y_test) == 0


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("nowhere.npz", "nowhere.npz: there is no such file"),
        ("points.csv", "neither a file ending in .npz nor module:function; write"),
        ("no_such_module:f", "cannot import 'no_such_module'"),
        ("spiral_of_a_user:nothing", "spiral_of_a_user has no function 'nothing'"),
        ("spiral_of_a_user:constant", "spiral_of_a_user has no function 'constant'"),
        ("spiral_of_a_user:three", "must return the pair (X, y), found tuple"),
        ("spiral_of_a_user:broken", "it raised RuntimeError('no points today')"),
    ],
)
def test_what_cannot_be_loaded_is_told(module, data, message):
    with pytest.raises(UsageError) as caught:
        load(Settings(data=data))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": None}, "needs arrays X and y, found ['X']; write np.savez(path, X=X, y=y)"),
        ({"X": np.zeros(40)}, "needs X of shape (N, D) and y of shape (N,), found (40,) and (40,)"),
        ({"y": np.zeros(39, int)}, "found (40, 3) and (39,)"),
        ({"X": np.array([["a"] * 3] * 40)}, "X must hold real numbers, found dtype <U1"),
        ({"X": np.full((40, 3), np.nan)}, "X must be finite, found nan in it"),
        ({"y": np.full(40, 0.5)}, "y must hold integer labels 0 … K−1, found float64"),
        ({"y": np.full(40, -1)}, "y must hold integer labels 0 … K−1, found int64 from -1"),
        ({"y": np.zeros(40, int)}, "at least 2 classes 0 … K−1 with at least 2 points each, found {0: 40}"),
        ({"y": np.r_[np.zeros(39, int), 1]}, "found {0: 39, 1: 1} points by label"),
        ({"y": np.r_[np.zeros(20, int), np.full(20, 2)]}, "found {0: 20, 1: 0, 2: 20}"),
        ({"X": np.zeros((9, 3)), "y": np.arange(9) % 2}, "7 training points are fewer than one batch of 32"),
        ({"X_test": np.zeros((4, 2)), "y_test": np.zeros(4, int)}, "fresh points have 2 columns"),
        ({"X_test": np.zeros((4, 3)), "y_test": np.full(4, 7)}, "labels up to 7, the dataset 3 and 1"),
    ],
)
def test_what_cannot_be_used_is_told(tmp_path, change, message):
    X, y = points()
    arrays = {"X": X, "y": y} | change
    with pytest.raises(UsageError) as caught:
        loaded(tmp_path, **{name: value for name, value in arrays.items() if value is not None})
    assert message in str(caught.value)


def test_a_file_that_is_no_archive_is_told(tmp_path):
    path = tmp_path / "points.npz"
    path.write_text("X, y")
    with pytest.raises(UsageError, match="npz archive of plain arrays"):
        load(Settings(data=str(path)))


def test_no_pickle_is_ever_loaded(tmp_path):
    with pytest.raises(UsageError, match="archive of plain arrays"):
        loaded(tmp_path, X=np.array([{}, None], dtype=object), y=np.zeros(2))


def test_loading_leaves_the_global_generators_alone():
    numpy_before, torch_before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    load(Settings())
    assert np.array_equal(numpy_before, np.random.get_state()[1])  # noqa: NPY002
    assert torch.equal(torch_before, torch.get_rng_state())
