"""The tables of a report, from summary.json and the verification matrix; through tabulate, for Markdown and console."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tabulate import tabulate

from report.inference import Test, censored_median, compare
from report.settings import COMPARISONS, EXPERIMENTS, Comparison, Experiment
from report.statistics import Statistic, describe, median, reached
from report.summary import MEASURES, Measures, Summary
from report.verification import WORST_FIRST, Row

NONE = "–"
LABELS = {
    "train_accuracy": "train accuracy",
    "val_accuracy": "validation accuracy",
    "test_accuracy": "test accuracy",
    "train_loss": "train loss",
    "val_loss": "validation loss",
    "test_loss": "test loss",
    "epochs_to_95": "epochs to validation ≥ .95",
}


@dataclass(frozen=True)
class Table:
    """Cells as text; how a number is rounded is decided here, not by tabulate."""

    headers: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """For report.md."""
        return self._as("pipe")

    def latex(self) -> str:
        """For a paper; what LaTeX would read as its own is escaped."""
        return self._as("latex_booktabs")

    def plain(self) -> str:
        """For a console."""
        return self._as("simple")

    def _as(self, form: str) -> str:
        align = ["left"] + ["right"] * (len(self.headers) - 1)
        return tabulate(self.rows, self.headers, tablefmt=form, colalign=align, disable_numparse=True)


def number(value: float | None, measure: str) -> str:
    """Epochs whole, everything else to three decimals."""
    if value is None:
        return NONE
    text = f"{value:.0f}" if measure == "epochs_to_95" else f"{value:.3f}"
    return text if float(text) else text.removeprefix("-")


def spread(stat: Statistic, measure: str) -> str:
    """Mean ± sd, as far as there are any."""
    if stat["sd"] is None:
        return number(stat["mean"], measure)
    return f"{number(stat['mean'], measure)} ± {number(stat['sd'], measure)}"


def interval(stat: Statistic, measure: str) -> str:
    """The 95 % confidence interval of the mean."""
    low, high = stat["ci95"]
    return NONE if low is None else f"[{number(low, measure)}, {number(high, measure)}]"


def arrival(stat: Statistic) -> str:
    """Median over all runs, and how many got there: the mean of those that did would flatter slow models."""
    middle = median(stat["values"])
    count = f"{reached(stat['values'])}/{len(stat['values'])}"
    return f"never ({count})" if middle is None else f"{middle:.0f} ({count})"


def overview(summary: Summary) -> Table:
    """All four models on one screen."""
    plain = [m for m in MEASURES if m != "epochs_to_95"]
    rows = [
        [e.title, *(spread(of[m], m) for m in plain), arrival(of["epochs_to_95"])]
        for e in EXPERIMENTS
        for of in [summary["experiments"][e.name]]
    ]
    return Table(["model", *(LABELS[m] for m in plain), "median epoch of validation ≥ .95 (runs)"], rows)


def detail(summary: Summary, experiment: Experiment) -> Table:
    """Every measure of one model: mean, sd, confidence interval, n."""
    of = summary["experiments"][experiment.name]
    rows = [
        [LABELS[m], number(of[m]["mean"], m), number(of[m]["sd"], m), interval(of[m], m), str(of[m]["n"])]
        for m in MEASURES
    ]
    return Table(["measure", "mean", "sd", "95 % CI", "n"], rows)


def comparison(summary: Summary, compared: Comparison) -> Table:
    """Two models side by side, and their difference paired by seed."""
    first, second = (summary["experiments"][e.name] for e in (compared.first, compared.second))
    difference = summary["paired"][compared.name]
    headers = ["measure", compared.first.title, compared.second.title, "paired difference", "95 % CI", "pairs"]
    return Table(headers, [_compared(m, first, second, difference) for m in MEASURES])


def _compared(m: str, first: Measures, second: Measures, difference: Measures) -> list[str]:
    return [
        LABELS[m],
        spread(first[m], m),
        spread(second[m], m),
        spread(difference[m], m),
        interval(difference[m], m),
        str(difference[m]["n"]),
    ]


TESTED = ("accuracy", "loss", "epochs_to_95")


def tests(summary: Summary) -> Table:
    """Every comparison of the report, tested as one family: on the most points that were not trained on."""
    unseen = "test" if summary["experiments"][EXPERIMENTS[0].name]["test_accuracy"]["n"] else "val"
    measures = [m if m == "epochs_to_95" else f"{unseen}_{m}" for m in TESTED]
    asked = {(c, m): f"{c.name} {m}" for c in COMPARISONS for m in measures}
    of = summary["experiments"]
    pairs = {name: (of[c.first.name][m]["values"], of[c.second.name][m]["values"]) for (c, m), name in asked.items()}
    found = compare(pairs, times=[name for (_, m), name in asked.items() if m == "epochs_to_95"])
    rows = [[f"{c.question}: {c.title}", LABELS[m], *_tested(found[name], m)] for (c, m), name in asked.items()]
    return Table(["comparison", "measure", "mean difference", "95 % CI, bootstrap", "effect d", "p", "p, Holm"], rows)


def _tested(test: Test, measure: str) -> list[str]:
    mean = describe(test.differences)["mean"]
    limits = NONE if test.interval is None else f"[{', '.join(number(v, measure) for v in test.interval)}]"
    d = NONE if test.effect is None else f"{test.effect:.2f}"
    return [number(mean, measure), limits, d, *(NONE if p is None else _p(p) for p in (test.p, test.holm))]


def _p(p: float) -> str:
    return "< .001" if p < 0.001 else f"{p:.3f}".removeprefix("0")


def arrivals(summary: Summary) -> Table:
    """Epochs to the threshold with runs that never reach it censored at the last epoch."""
    last = summary["settings"]["epochs"]
    rows = []
    for e in EXPERIMENTS:
        values = summary["experiments"][e.name]["epochs_to_95"]["values"]
        middle, low, high = (f"> {last}" if v is None else f"{v:.0f}" for v in censored_median(values, last))
        rows.append([e.title, middle, f"[{low}, {high}]", f"{len(values) - reached(values)}"])
    return Table(["model", "median epoch of validation ≥ .95", "95 % CI", "runs censored"], rows)


def verification(matrix: Sequence[Row]) -> Table:
    """Layers × checks; a cell is the worst outcome over the modes, with the coarsest resolution it was verified at."""
    layers, checks = (list(dict.fromkeys(row[key] for row in matrix)) for key in ("layer", "check"))
    rows = [
        [layer, *(_cell([r for r in matrix if r["layer"] == layer and r["check"] == check]) for check in checks)]
        for layer in layers
    ]
    return Table(["layer", *(f"`{check}`" for check in checks)], rows)


CONTESTANTS = {"core": "harness, core", "public": "harness", "fast": "PyTorch, fast", "slow": "PyTorch", "jax": "JAX"}


def detection(peers: dict[str, Any]) -> Table:
    """Faults found by the harness and by its peers."""
    rows = [
        [CONTESTANTS.get(n, n), f"{found}/{tried}", f"{found / tried:.3f}"]
        for n, (found, tried) in peers["detection"].items()
    ]
    return Table(["checker", "faults found", "share"], rows)


def times(peers: dict[str, Any]) -> Table:
    """A peer's time over the harness's: geometric mean over the layers, and the worst of them."""
    rows = [
        [
            CONTESTANTS.get(r["peer"], r["peer"]),
            str(r["size"]),
            f"{r['geomean']:.2f}",
            f"{r['worst']:.2f} ({r['worst_layer']})",
        ]
        for r in peers["times"]
    ]
    return Table(["checker", "size", "its time / harness's", "worst layer"], rows)


def _cell(results: Sequence[Row]) -> str:
    """Modes are named only where they differ from the others."""
    if not results:
        return NONE
    outcome = min((r["outcome"] for r in results), key=WORST_FIRST.index)
    if outcome == "SKIP":
        return "skip"
    of_it = [r for r in results if r["outcome"] == outcome]
    if outcome == "PASS":
        resolutions = [r["resolution"] for r in of_it if r["resolution"] is not None]
        coarsest = max(resolutions, default=0.0)  # 0: compared exactly
        return f"pass {coarsest:.0e}" if coarsest else "pass"
    modes = [r["mode"] for r in of_it if r["mode"]]
    return f"{outcome} ({', '.join(modes)})" if modes else outcome
