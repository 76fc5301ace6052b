"""What was measured to tell causes apart, each claim beside its numbers; explorations are marked as such."""

from collections.abc import Sequence
from dataclasses import dataclass

from report.inference import bootstrap
from report.results import Evidence
from report.settings import (
    BN,
    BN_DROPOUT,
    IN,
    IN_DROPOUT,
    LONGER,
    NO_NORM,
    RATES,
    SMALLER,
    WIDTHS,
    Experiment,
)
from report.statistics import Value, describe, median, paired, reached
from report.tables import NONE, Table, number

EXPLORATORY = "*Exploratory: {seeds} seeds, looked at after the fact, not corrected for their number.*"


@dataclass(frozen=True)
class Explored:
    """Measures of the four models and of the explorations, over the seeds that all of them have."""

    evidence: Evidence
    seeds: int

    def values(self, e: Experiment, measure: str) -> list[Value]:
        """Of the explored seeds, in order."""
        return list(self.evidence.get(e.name, {}).get(measure, []))[: self.seeds]

    def mean(self, e: Experiment, measure: str) -> float | None:
        """Over the runs that have one."""
        return describe(self.values(e, measure))["mean"]

    def shown(self, e: Experiment, measure: str) -> str:
        """The mean with its bootstrap interval."""
        values = self.values(e, measure)
        limits = bootstrap(values)
        text = number(describe(values)["mean"], measure)
        return text if limits is None else f"{text} [{number(limits[0], measure)}, {number(limits[1], measure)}]"

    @property
    def unseen(self) -> str:
        """The accuracy on the most points that were not trained on."""
        return "test_accuracy" if self.values(IN, "test_accuracy") else "val_accuracy"


def sweep(x: Explored, experiments: Sequence[Experiment]) -> Table:
    """Accuracies, and when the threshold was reached, of some models."""
    rows = [
        [e.title, x.shown(e, "train_accuracy"), x.shown(e, x.unseen), _arrived(x.values(e, "epochs_to_95"))]
        for e in experiments
    ]
    kind = x.unseen.removesuffix("_accuracy").replace("val", "validation")
    return Table(["model", "train accuracy", f"{kind} accuracy", "median epoch of validation ≥ .95 (runs)"], rows)


def _arrived(values: Sequence[Value]) -> str:
    middle = median(values)
    return f"{'never' if middle is None else f'{middle:.0f}'} ({reached(values)}/{len(values)})"


def shifts(x: Explored) -> Table:
    """Variance in evaluation over that in training at each norm, and what re-estimated statistics give."""
    rows = [
        [
            e.title,
            x.shown(e, "variance_shift_1"),
            x.shown(e, "variance_shift_2"),
            x.shown(e, x.unseen),
            x.shown(e, f"reestimated_{x.unseen}") if x.values(e, f"reestimated_{x.unseen}") else NONE,
        ]
        for e in (IN, IN_DROPOUT, BN, BN_DROPOUT)
    ]
    return Table(["model", "shift at norm 1", "shift at norm 2", "accuracy", "statistics re-estimated"], rows)


def variance_shift(x: Explored) -> str:
    """Li et al.'s variance shift: is it there, and is it what costs BatchNorm its accuracy?"""
    at = x.mean(BN_DROPOUT, "variance_shift_2")
    change = paired(x.values(BN_DROPOUT, f"reestimated_{x.unseen}"), x.values(BN_DROPOUT, x.unseen))
    if at is None or change["mean"] is None:
        return ""
    low, high = bootstrap(change["values"]) or (change["mean"], change["mean"])
    there = "is there" if abs(at - 1) > 0.05 else "is hardly there"
    lost = (x.mean(BN, x.unseen) or 0) - (x.mean(BN_DROPOUT, x.unseen) or 0)
    share = change["mean"] / lost if lost > 0 else 0.0
    verdict = (
        "The shift is not what costs the accuracy." if share < 0.2 else "The shift accounts for a part of what is lost."
    )
    return (
        f"*Variance shift* {there}: in evaluation the second BatchNorm sees {at:.2f} times the variance that it was given "
        f"in training, the first {x.mean(BN_DROPOUT, 'variance_shift_1') or 0:.2f} times. With its statistics "
        f"re-estimated on the training points as they arrive in evaluation, accuracy changes by {change['mean']:+.3f} "
        f"(95 % CI [{low:+.3f}, {high:+.3f}]), of {lost:.3f} that Dropout cost. {verdict}"
    )


def undertrained(x: Explored) -> str:
    """Whether BatchNorm with Dropout only needs more time, or smaller p."""
    longer, plain, without = (x.mean(e, x.unseen) for e in (LONGER, BN_DROPOUT, BN))
    if longer is None or plain is None or without is None:
        return ""
    back = "most of the distance closes" if longer - plain > 0.5 * (without - plain) else "most of the distance stays"
    small = ", ".join(f"{x.mean(e, x.unseen) or 0:.3f} at p = {e.p:g}" for e in SMALLER)
    return (
        f"*Longer training*: over {LONGER.longer} times the epochs accuracy goes from {plain:.3f} to {longer:.3f}, against "
        f"{without:.3f} without Dropout: {back}, so the model under-trains in the time that it is given"
        f"{'' if longer - plain > 0.5 * (without - plain) else ' only in part'}. *Smaller p*: {small}. What makes "
        "training with both slow, the noise of the masks, that of the batch or the two together, was not isolated."
    )


def without_norm(x: Explored) -> str:
    """What a norm is worth here at all."""
    plain, masked = (x.mean(e, x.unseen) for e in NO_NORM)
    if plain is None or masked is None:
        return ""
    both = ", ".join(f"{x.mean(e, x.unseen) or 0:.3f} with {e.title.split(',')[0]}" for e in (IN, BN))
    lost = (x.mean(BN, x.unseen) or 0) - (x.mean(BN_DROPOUT, x.unseen) or 0)
    alike = ""
    if plain - masked > lost / 2 > 0:
        alike = " It loses much to Dropout as well: what BatchNorm loses is not its own doing alone."
    return f"*Without a norm* accuracy is {plain:.3f} without Dropout ({both}) and {masked:.3f} with it.{alike}"


def sensitivity(x: Explored) -> str:
    """Whether the order of the two norms holds at other learning rates and widths."""
    pairs = [*zip(RATES[:2], RATES[2:], strict=True), *zip(WIDTHS[:2], WIDTHS[2:], strict=True)]
    said = [
        f"{a.title.split(', ')[-1]}: {_arrived(x.values(a, 'epochs_to_95'))} against {_arrived(x.values(b, 'epochs_to_95'))}"
        for a, b in pairs
    ]
    return "*Sensitivity*, median epoch of validation ≥ .95, InstanceNorm against BatchNorm: " + "; ".join(said) + "."


def blocks(x: Explored) -> list[str]:
    """The section of the report."""
    if not x.evidence:
        return []
    return [
        block
        for block in (
            EXPLORATORY.format(seeds=x.seeds),
            variance_shift(x),
            shifts(x).markdown(),
            undertrained(x),
            without_norm(x),
            sensitivity(x),
            sweep(x, (IN, BN, BN_DROPOUT, *SMALLER, LONGER, *NO_NORM, *RATES, *WIDTHS)).markdown(),
        )
        if block
    ]
