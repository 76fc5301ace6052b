import numpy as np
import pytest

from report.spiral import bayes_accuracy, generate_spiral


@pytest.mark.parametrize(("n", "K", "rotations"), [(5, 2, 1.5), (7, 3, 0.25), (1, 4, 1.0)])
def test_without_noise_is_the_closed_form(n, K, rotations):
    X, y = generate_spiral(n, K, noise=0.0, rotations=rotations)
    for c in range(K):
        for i, t in enumerate(np.linspace(0, 1, n)):
            angle = 2 * np.pi * rotations * t + 2 * np.pi * c / K
            expected = (t * np.cos(angle), t * np.sin(angle))
            np.testing.assert_allclose(X[c * n + i], expected, atol=1e-7)
    assert y.tolist() == [c for c in range(K) for _ in range(n)]


def test_defaults_are_the_assignments():
    X, y = generate_spiral()
    assert X.shape == (300, 2)
    assert X.dtype == np.float32
    assert y.dtype == np.int64
    assert np.bincount(y).tolist() == [150, 150]
    np.testing.assert_array_equal(X, generate_spiral(150, 2, 0.05, 1.5, 42)[0])


def test_noise_is_normal_with_its_deviation_on_both_coordinates():
    noisy, _ = generate_spiral(20_000, noise=0.3, seed=1)
    still, _ = generate_spiral(20_000, noise=0.0, seed=1)
    residual = (noisy - still) / 0.3
    np.testing.assert_allclose(residual.mean(0), 0, atol=0.02)
    np.testing.assert_allclose(residual.std(0), 1, atol=0.02)
    assert abs(np.mean(np.abs(residual) < 1) - 0.6827) < 0.01


def test_seed_decides():
    assert np.array_equal(generate_spiral(seed=3)[0], generate_spiral(seed=3)[0])
    assert not np.array_equal(generate_spiral(seed=3)[0], generate_spiral(seed=4)[0])


def test_best_possible_accuracy_is_the_known_one():
    assert bayes_accuracy(*generate_spiral(5000, seed=7)) == pytest.approx(0.977, abs=0.004)


def test_best_possible_accuracy_is_1_where_arms_are_apart():
    X, y = generate_spiral(200, noise=0.002, seed=7)
    away = np.linalg.norm(X, axis=1) > 0.05
    assert bayes_accuracy(X[away], y[away], noise=0.002) == 1


def test_best_possible_classifier_is_no_worse_than_the_nearest_arm():
    X, y = generate_spiral(5000, 3, noise=0.1, seed=8)
    still, labels = generate_spiral(300, 3, noise=0.0)
    nearest = labels[((X[:, None] - still) ** 2).sum(-1).argmin(1)]
    assert bayes_accuracy(X, y, noise=0.1) >= np.mean(nearest == y) - 0.002
