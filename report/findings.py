"""What was observed: sentences that say what this run measured; none knows beforehand what that will be."""

from dataclasses import dataclass

import numpy as np

from report.settings import BN, BN_DROPOUT, COMPARISONS, IN, IN_DROPOUT, Comparison, Experiment
from report.statistics import Statistic, earlier, median, paired, reached
from report.store import Arrays
from report.summary import Summary
from report.tables import LABELS, interval, number, spread

Q6, Q6_DROPOUT, Q7, Q7_BN = COMPARISONS


def direction(stat: Statistic) -> int:
    """The sign of a mean whose 95 % interval leaves out 0; 0 where it does not, or where there is none."""
    low, high = stat["ci95"]
    if low is None or high is None:
        return 0
    return (low > 0) - (high < 0)


@dataclass(frozen=True)
class Reader:
    """Looks numbers up by experiment and measure, as the sentences below need them."""

    summary: Summary
    arrays: Arrays

    def of(self, experiment: Experiment, measure: str) -> Statistic:
        """One measure of one model."""
        return self.summary["experiments"][experiment.name][measure]

    def difference(self, compared: Comparison, measure: str) -> Statistic:
        """First minus second."""
        return self.summary["paired"][compared.name][measure]

    def shown(self, experiment: Experiment, measure: str) -> str:
        """Mean ± sd."""
        return spread(self.of(experiment, measure), measure)

    def arrival(self, experiment: Experiment) -> str:
        """When the median run reached the threshold, and how many did: what a model did, without its name."""
        values = self.of(experiment, "epochs_to_95")["values"]
        middle, count = median(values), f"{reached(values)} of {len(values)} runs"
        if middle is None:
            return f"did not reach validation accuracy .95 in the median run ({count} did)"
        return f"reached validation accuracy .95 at median epoch {middle:.0f} ({count})"

    @property
    def unseen(self) -> str:
        """The measure on the most points that were not trained on: fresh ones where there are any."""
        return "test" if self.of(IN, "test_accuracy")["n"] else "val"


def in_short(r: Reader) -> str:
    """One line for each question."""
    return f"""\
- **Q5.** {IN_DROPOUT.phrase} ends at {r.shown(IN_DROPOUT, "train_accuracy")} training and \
{r.shown(IN_DROPOUT, "val_accuracy")} validation accuracy.
- **Q6.** InstanceNorm − BatchNorm, without Dropout: {_verdict(r, Q6)}; {_medians(r, Q6)}. With Dropout: \
{_verdict(r, Q6_DROPOUT)}; {_medians(r, Q6_DROPOUT)}.
- **Q7.** InstanceNorm, with Dropout − without: {_verdict(r, Q7)}; {_medians(r, Q7)}."""


def _verdict(r: Reader, compared: Comparison) -> str:
    measure = f"{r.unseen}_accuracy"
    stat = r.difference(compared, measure)
    hedge = "" if direction(stat) else ", not told from 0"
    return f"{LABELS[measure]} {number(stat['mean'], measure)}, 95 % CI {interval(stat, measure)}{hedge}"


def _medians(r: Reader, compared: Comparison) -> str:
    shown = [median(r.of(e, "epochs_to_95")["values"]) for e in (compared.first, compared.second)]
    first, second = ("never" if epoch is None else f"{epoch:.0f}" for epoch in shown)
    return f"median epoch of validation ≥ .95: {first} against {second}"


def q5(r: Reader) -> str:
    """The final accuracies of InstanceNorm with Dropout."""
    train, val = (interval(r.of(IN_DROPOUT, m), m) for m in ("train_accuracy", "val_accuracy"))
    text = (
        f"After {r.summary['settings']['epochs']} epochs the InstanceNorm + Dropout model classifies "
        f"**{r.shown(IN_DROPOUT, 'train_accuracy')}** of its training points (95 % CI of the mean {train}) and "
        f"**{r.shown(IN_DROPOUT, 'val_accuracy')}** of its validation points ({val}) rightly. "
        f"It {r.arrival(IN_DROPOUT)}."
    )
    bayes, test = r.summary["settings"]["dataset"]["bayes_accuracy"], r.of(IN_DROPOUT, "test_accuracy")
    if test["mean"] is None:
        return text
    text += f" On fresh points its accuracy is {spread(test, 'test_accuracy')}"
    return text + ("." if bayes is None else f", {bayes - test['mean']:.3f} below the best possible {bayes:.3f}.")


def accuracy(r: Reader, compared: Comparison) -> str:
    """Whether two models differ on points that they were not trained on: in accuracy, then in loss."""
    first, second = compared.first.phrase, compared.second.phrase
    words = {
        0: f"No difference in accuracy between {first} and {second} was resolved",
        1: f"{first} classifies better than {second}",
        -1: f"{first} classifies worse than {second}",
    }
    measure, loss = f"{r.unseen}_accuracy", f"{r.unseen}_loss"
    by_loss = {0: "No difference in loss was resolved", 1: "Its loss is higher", -1: "Its loss is lower"}
    return (
        f"{words[direction(r.difference(compared, measure))]} ({_numbers(r, compared, measure)}). "
        f"{by_loss[direction(r.difference(compared, loss))]} ({_numbers(r, compared, loss)})."
    )


def _numbers(r: Reader, compared: Comparison, measure: str) -> str:
    stat = r.difference(compared, measure)
    return (
        f"{LABELS[measure]} {r.shown(compared.first, measure)} against {r.shown(compared.second, measure)}, paired "
        f"difference {number(stat['mean'], measure)}, 95 % CI {interval(stat, measure)}, {stat['n']} pairs"
    )


def speed(r: Reader, compared: Comparison) -> str:
    """Which of two models reached the threshold sooner, counted over seeds so that no run is left out."""
    a, b = (r.of(e, "epochs_to_95")["values"] for e in (compared.first, compared.second))
    first, second = compared.first.phrase, compared.second.phrase
    text = (
        f"{first} {r.arrival(compared.first)}, {second} {r.arrival(compared.second)}; the former was there earlier in "
        f"{earlier(a, b)} of {len(a)} seeds, later in {earlier(b, a)}."
    )
    middle_a, middle_b = median(a), median(b)
    if middle_a is None or middle_b is None:
        return text
    return text + f" The medians stand {max(middle_a, middle_b) / min(middle_a, middle_b):.1f} to 1."


def undertraining(r: Reader) -> str:
    """What tells fitting too little from fitting too closely: the training points themselves, and the loss's way."""
    worse = direction(r.difference(Q7_BN, "train_accuracy")) < 0
    numbers = (
        f"{r.shown(BN_DROPOUT, 'train_accuracy')} with Dropout, {r.shown(BN, 'train_accuracy')} without, on the "
        f"*training* points in evaluation mode"
    )
    if not worse:
        return f"With BatchNorm, Dropout did not lower the accuracy on the training points beyond doubt ({numbers})."
    return (
        f"BatchNorm with Dropout is worse on the points it was trained on ({numbers}): it fits too little, not too "
        f"closely. {_trend(r, BN_DROPOUT)}"
    )


def _trend(r: Reader, experiment: Experiment) -> str:
    """Mean training loss at three quarters of the epochs and at the end."""
    epochs, losses = r.arrays["epochs"], r.arrays[f"{experiment.name}.train_loss"]
    at = int(np.searchsorted(epochs, 0.75 * epochs[-1]))
    before, after = float(np.nanmean(losses[:, at])), float(np.nanmean(losses[:, -1]))
    still = "was still falling" if after < before else "was no longer falling"
    return (
        f"Its mean training loss {still}: {before:.3f} at epoch {epochs[at]}, {after:.3f} at epoch {epochs[-1]}. "
        "Whether more epochs close the distance stands under *What tells the causes apart*."
    )


def gap(r: Reader) -> str:
    """Train minus validation accuracy of InstanceNorm, without Dropout and with it."""
    without, with_dropout = (gaps(r, e) for e in (IN, IN_DROPOUT))
    change = paired(with_dropout["values"], without["values"])
    words = {
        0: "Dropout's effect on InstanceNorm's gap between training and validation accuracy was not resolved",
        1: "Dropout widens InstanceNorm's gap between training and validation accuracy",
        -1: "Dropout narrows InstanceNorm's gap between training and validation accuracy",
    }
    return (
        f"{words[direction(change)]} ({spread(with_dropout, 'gap')} with, {spread(without, 'gap')} without, paired "
        f"difference {number(change['mean'], 'gap')}, 95 % CI {interval(change, 'gap')})."
    )


def gaps(r: Reader, experiment: Experiment) -> Statistic:
    """Train minus validation accuracy of every run."""
    return paired(*(r.of(experiment, m)["values"] for m in ("train_accuracy", "val_accuracy")))


def calm(r: Reader) -> str:
    """How far apart the runs of InstanceNorm end, without Dropout and with it."""
    measure = f"{r.unseen}_accuracy"
    without, with_dropout = r.of(IN, measure), r.of(IN_DROPOUT, measure)
    if without["sd"] is None or with_dropout["sd"] is None:
        return "With one run each, nothing can be said of the spread between runs."
    change = "closer together" if with_dropout["sd"] < without["sd"] else "no closer together"
    lowest = [min(v for v in stat["values"] if v is not None) for stat in (without, with_dropout)]
    return (
        f"With Dropout the runs end {change}: the sd of the {LABELS[measure]} over seeds is {with_dropout['sd']:.3f} "
        f"against {without['sd']:.3f}, the worst run {lowest[1]:.3f} against {lowest[0]:.3f} (described, not tested)."
    )
