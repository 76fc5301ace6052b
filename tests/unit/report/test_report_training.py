"""The loop beside PyTorch's own modules, and one seed beside the same seed in company."""

import numpy as np
import pytest
import torch

from layers import SoftmaxCrossEntropy
from report.dataset import load
from report.model import build
from report.runs import Job, groups, recorded_epochs, run, varied
from report.settings import BN, BN_DROPOUT, EXPERIMENTS, EXPLORATIONS, IN, IN_DROPOUT, LONGER, Settings
from report.shift import reestimate, shift, variances
from report.streams import streams
from report.study import Inline, conduct, control, plan, same
from report.training import epoch_batches, joined, split_by_seed, update

SEEDS = (3, 8)
LR = 0.1


@pytest.fixture(scope="module")
def dataset():
    return load(Settings(test_points=200))


def peer(model, s, norm, dtype):
    """PyTorch's modules with the weights of model s."""
    norms = {"in": torch.nn.LayerNorm, "bn": torch.nn.BatchNorm1d}[norm]
    made = torch.nn.Sequential(
        torch.nn.Linear(2, 64), norms(64), torch.nn.Tanh(), torch.nn.Linear(64, 64), norms(64), torch.nn.Tanh(),
        torch.nn.Linear(64, 2),
    ).to(dtype)  # fmt: skip
    for ours, theirs in weights(model, made, s):
        theirs.copy_(ours)
    return made, torch.optim.SGD(made.parameters(), lr=LR)


def weights(model, made, s):
    """Pairs of parameters in the order of the layers: ours of model s, in their layout."""
    for (name, ours), theirs in zip(model.params.items(), made.parameters(), strict=True):
        yield (ours[s].T if name.endswith("W") else ours[s, 0]), theirs.detach()


def theirs_steps(made, optimiser, z, y):
    optimiser.zero_grad()
    torch.nn.functional.cross_entropy(made(z), y).backward()
    optimiser.step()


def largest_difference(model, made, s):
    return max(float((ours - theirs).abs().max()) for ours, theirs in weights(model, made, s))


def full_batch(dataset, dtype):
    data = split_by_seed(dataset, SEEDS, Settings())
    return data.z_train.to(dtype), data.y_train


@pytest.mark.parametrize(
    ("dtype", "close"), [(torch.float32, 5e-7), (torch.float64, 2e-15)], ids=["float32", "float64"]
)
@pytest.mark.parametrize("experiment", [IN, BN], ids=["in", "bn"])
def test_one_update_from_the_same_weights_agrees_with_pytorch_at_every_step(dataset, experiment, dtype, close):
    model = build(experiment, SEEDS, (2, 64, 2)).to(dtype=dtype)
    θ, δθ = joined(model)
    z, y = full_batch(dataset, dtype)
    for _ in range(10):
        peers = [peer(model, s, experiment.norm, dtype) for s in range(len(SEEDS))]
        update(model, SoftmaxCrossEntropy(), z, y, θ, δθ, LR)
        for s, (made, optimiser) in enumerate(peers):
            theirs_steps(made, optimiser, z[s], y[s])
            assert largest_difference(model, made, s) <= close


@pytest.mark.parametrize(
    ("dtype", "close"), [(torch.float32, 1e-6), (torch.float64, 1e-14)], ids=["float32", "float64"]
)
@pytest.mark.parametrize("experiment", [IN, BN], ids=["in", "bn"])
def test_the_first_ten_steps_agree_with_pytorch(dataset, experiment, dtype, close):
    model = build(experiment, SEEDS, (2, 64, 2)).to(dtype=dtype)
    θ, δθ = joined(model)
    z, y = full_batch(dataset, dtype)
    peers = [peer(model, s, experiment.norm, dtype) for s in range(len(SEEDS))]
    for _ in range(10):
        update(model, SoftmaxCrossEntropy(), z, y, θ, δθ, LR)
        for s, (made, optimiser) in enumerate(peers):
            theirs_steps(made, optimiser, z[s], y[s])
            assert largest_difference(model, made, s) <= close


def test_joined_parameters_are_the_models_own_with_their_values():
    model = build(BN, SEEDS, (2, 8, 3))
    before = {name: θ.clone() for name, θ in model.params.items()}
    θ, δθ = joined(model)
    assert all(torch.equal(before[name], now) for name, now in model.params.items())
    assert all(g.stride() == model.params[name].stride() for name, g in model.grads.items())
    θ.fill_(2.0)
    δθ.fill_(3.0)
    assert all((now == 2).all() for now in model.params.values())
    assert all((g == 3).all() for g in model.grads.values())
    assert θ.numel() == δθ.numel() == sum(now.numel() for now in model.params.values())


def test_an_update_leaves_no_gradient_behind(dataset):
    model = build(IN, SEEDS, (2, 64, 2))
    update(model, SoftmaxCrossEntropy(), *full_batch(dataset, torch.float32), *joined(model), LR)
    assert all(not grad.any() for grad in model.grads.values())


def test_an_epoch_is_full_batches_of_each_seeds_own_points_without_repetition(dataset):
    data = split_by_seed(dataset, SEEDS, Settings())
    batches = list(epoch_batches(data, streams(SEEDS, "batches"), 32))
    assert [z.shape for z, _ in batches] == [(2, 32, 2)] * 7
    for s in range(2):
        own = {tuple(point.tolist()): int(label) for point, label in zip(data.z_train[s], data.y_train[s], strict=True)}
        seen = [(tuple(p.tolist()), int(c)) for z, y in batches for p, c in zip(z[s], y[s], strict=True)]
        assert len({point for point, _ in seen}) == 7 * 32
        assert all(own[point] == label for point, label in seen)


def test_batches_come_in_a_new_order_every_epoch(dataset):
    data, orders = split_by_seed(dataset, SEEDS, Settings()), streams(SEEDS, "batches")
    first, second = (next(iter(epoch_batches(data, orders, 32)))[0] for _ in range(2))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda e: e.name)
def test_a_seed_trains_to_the_same_bits_alone_and_in_company(dataset, experiment):
    settings = Settings(epochs=30)
    seeds = (5, 2, 11)
    for together in run(Job(experiment, seeds, 30), dataset, settings):
        (alone,) = run(Job(experiment, (together.seed,), 30), dataset, settings)
        for name, θ in alone.weights.items():
            assert θ.tobytes() == together.weights[name].tobytes()
        assert alone.values == together.values
        assert same(alone, together)


def test_the_control_sees_a_single_bit_astray(dataset):
    settings = Settings(epochs=5)
    (_, together), (alone,) = (run(Job(IN, seeds, 5), dataset, settings) for seeds in ((1, 2), (2,)))
    assert same(alone, together)
    bits = together.curves["val_loss"].view("int32")
    bits[3] ^= 1
    assert not same(alone, together)


def test_the_control_trains_a_fifth_of_the_epochs_up_to_a_recorded_one():
    for epochs in (1, 4, 12, 40, 999, 1000, 1001):
        settings = Settings(epochs=epochs)
        seed, of_control = control(settings)
        assert of_control in recorded_epochs(settings)
        assert of_control <= max(1, epochs // 5 + settings.record_every)
        assert seed in settings.run_seeds


def test_curves_keep_few_points_and_the_last_epoch():
    for epochs in (1, 124, 125, 126, 1000, 1003):
        recorded = recorded_epochs(Settings(epochs=epochs))
        assert recorded[-1] == epochs
        assert len(recorded) <= 126


def test_seeds_go_in_even_groups_of_at_most_30():
    assert groups(range(30)) == [tuple(range(30))]
    assert groups([]) == []
    assert [len(g) for g in groups(range(31))] == [16, 15]
    assert [s for g in groups(range(7, 107)) for s in g] == list(range(7, 107))


def test_every_model_trains_every_seed_once_and_the_control_once_more():
    jobs = plan(Settings(seeds=40, seed0=2))
    assert [job.seeds for job in jobs if job.experiment in EXPLORATIONS] == [tuple(range(2, 12))] * len(EXPLORATIONS)
    for e in EXPERIMENTS:
        whole, control = (job for job in jobs if job.experiment == e)
        assert whole.seeds == tuple(range(2, 42))
        assert len(control.seeds) == control.alone == 1
    assert len(plan(Settings(seeds=1))) == len(EXPERIMENTS) + len(EXPLORATIONS)


def test_two_groups_give_the_same_values_as_one(dataset, monkeypatch):
    settings = Settings(seeds=3, epochs=4)
    one = conduct(settings, dataset, Inline(), lambda n: None)
    monkeypatch.setattr("report.study.groups", lambda seeds: groups(seeds, 2))
    two = conduct(settings, dataset, Inline(), lambda n: None)
    for name in (e.name for e in EXPERIMENTS):
        outcome = one[name]
        assert outcome.values == two[name].values
        assert (outcome.votes == two[name].votes).all()
        assert two[name].alone


def test_progress_counts_every_epoch_of_every_seed(dataset):
    told = []
    run(Job(IN, (1, 2), 25), dataset, Settings(epochs=25), told.append)
    assert told == [20, 20, 10]


def test_final_accuracy_counts_right_answers(dataset):
    settings = Settings(epochs=2)
    for result in run(Job(BN, (1, 2), 2), dataset, settings):
        for name, n in (("train_accuracy", 240), ("val_accuracy", 60), ("test_accuracy", 200)):
            assert abs(result.values[name] * n - round(result.values[name] * n)) < 1e-9
        assert set(np.unique(result.decisions)) <= {0, 1}


def test_training_leaves_the_global_generator_alone(dataset):
    before = torch.get_rng_state()
    run(Job(IN, (1,), 1), dataset, Settings(epochs=1))
    assert torch.equal(before, torch.get_rng_state())


def test_an_exploration_varies_what_it_names(dataset):
    settings = Settings(epochs=3)
    for e in EXPLORATIONS:
        job = Job(e, (1,), settings.epochs * e.longer)
        own = varied(settings, job)
        assert (own.epochs, own.lr, own.width) == (3 * e.longer, e.lr or 0.1, e.width or 64)
        (found,) = run(job, dataset, settings)
        assert found.weights["0.W"].shape == (2, own.width)
        assert found.decisions is None
        assert len(found.curves["val_loss"]) == own.epochs
    assert len({e.name for e in (*EXPERIMENTS, *EXPLORATIONS)}) == len(EXPERIMENTS) + len(EXPLORATIONS)
    assert LONGER.name == "bn_p0.2_x4"
    assert LONGER.title == "BatchNorm, p = 0.2, 4× the epochs"


def test_without_masks_there_is_no_shift_and_with_them_there_is(dataset):
    def shifts(e):
        (found,) = run(Job(e, (1,), 30), dataset, Settings(epochs=30))
        return [found.values[f"variance_shift_{i}"] for i in (1, 2)]

    assert shifts(IN) == [1, 1]
    assert shifts(IN_DROPOUT)[0] == 1
    assert shifts(IN_DROPOUT)[1] < 0.95
    first, second = shifts(BN_DROPOUT)
    assert 0.9 < first < 1.1
    assert second < 0.95


def test_reestimated_statistics_are_those_of_the_points_as_they_arrive(dataset):
    data = split_by_seed(dataset, SEEDS, Settings())
    model = build(BN_DROPOUT, SEEDS, (2, 8, 2))
    reestimate(model, data.z_train)
    for norm, seen in variances(model, data.z_train):
        assert torch.allclose(norm.buffers["running_var"], seen)
    assert all(torch.allclose(s, torch.ones(2, dtype=torch.float64)) for s in shift(model, data.z_train))
