"""The figures of a report. Colours are Okabe and Ito's, told apart by line style and shape as well."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from numpy.typing import NDArray

from report.settings import BN, BN_DROPOUT, COMPARISONS, EXPERIMENTS, IN, IN_DROPOUT, Comparison
from report.statistics import Statistic
from report.store import Arrays
from report.summary import Summary

COLOURS = {IN: "#0072B2", IN_DROPOUT: "#56B4E9", BN: "#D55E00", BN_DROPOUT: "#E69F00"}
DASHES = {IN: "-", IN_DROPOUT: (0, (5, 1.5)), BN: (0, (3, 1.5, 1, 1.5)), BN_DROPOUT: (0, (1, 1.2))}
CLASSES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")
SHAPES = ("o", "^", "s", "D", "v", "P", "X", "*")
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "savefig.dpi": 120,
}


def png(figure: Figure) -> bytes:
    """Without date or version, so that the same results give the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


@contextmanager
def style() -> Iterator[None]:
    """Figures look the same whatever the user's matplotlibrc says."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        yield


def all_figures(summary: Summary, arrays: Arrays) -> dict[str, bytes]:
    """PNG by file name; points that are not planar have no decision boundary."""
    with style():
        made = {
            "curves.png": png(curves(summary, arrays)),
            "threshold.png": png(threshold(summary)),
            "paired.png": png(differences(summary)),
        }
        if f"{IN.name}.votes" in arrays:
            made["boundaries.png"] = png(boundaries(summary, arrays))
        return made


def curves(summary: Summary, arrays: Arrays) -> Figure:
    """Accuracy and loss over epochs, without Dropout and with it: medians over seeds, and the middle 80 %."""
    figure = Figure(figsize=(8.4, 6.2), layout="constrained")
    axes = figure.subplots(2, 2, sharex=True, sharey="row")
    bayes = summary["settings"]["dataset"]["bayes_accuracy"]
    for column, pair in enumerate(((IN, BN), (IN_DROPOUT, BN_DROPOUT))):
        for row, quantity in enumerate(("accuracy", "loss")):
            ax = axes[row, column]
            for experiment, norm, colour in zip(
                pair, ("InstanceNorm", "BatchNorm"), (COLOURS[IN], COLOURS[BN]), strict=True
            ):
                _curve(ax, arrays, experiment.name, quantity, norm, colour)
            if quantity == "accuracy" and bayes is not None:
                ax.axhline(bayes, color="black", lw=0.8, ls=":", label=f"best possible ({bayes:.3f})")
        axes[0, column].set_title(f"Dropout p = {pair[0].p:g}" if pair[0].p else "no Dropout")
        axes[1, column].set_xlabel("epoch")
    axes[0, 0].set_ylabel("accuracy")
    axes[1, 0].set_ylabel("loss (cross entropy, log scale)")
    axes[1, 0].set_yscale("log")
    axes[1, 0].yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes[1, 0].yaxis.set_major_formatter("{x:g}")
    axes[1, 0].yaxis.set_minor_formatter(NullFormatter())
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize=8)
    n = summary["settings"]["seeds"]
    figure.suptitle(f"Learning curves: median of {n} seeds; the band holds the middle 80 % of validation", fontsize=10)
    return figure


def _curve(ax: Axes, arrays: Arrays, name: str, quantity: str, label: str, colour: str) -> None:
    epochs = arrays["epochs"]
    validation, train = (arrays[f"{name}.{part}_{quantity}"] for part in ("val", "train"))
    low, middle, high = np.quantile(validation, [0.1, 0.5, 0.9], axis=0)
    ax.fill_between(epochs, low, high, color=colour, alpha=0.18, lw=0)
    ax.plot(epochs, middle, color=colour, lw=1.4, label=f"{label}, validation")
    ax.plot(epochs, np.median(train, axis=0), color=colour, lw=1.1, ls=(0, (4, 1.5)), label=f"{label}, train")


def threshold(summary: Summary) -> Figure:
    """How many runs have reached the threshold by each epoch: no run is left out, also those that never do."""
    figure = Figure(figsize=(6.4, 3.2), layout="constrained")
    ax = figure.subplots()
    last, seeds = summary["settings"]["epochs"], summary["settings"]["seeds"]
    for e in EXPERIMENTS:
        arrived = sorted(v for v in summary["experiments"][e.name]["epochs_to_95"]["values"] if v is not None)
        x = [0, *arrived, last]
        y = [0.0, *((i + 1) / seeds for i in range(len(arrived))), len(arrived) / seeds]
        ax.step(x, y, where="post", color=COLOURS[e], ls=DASHES[e], lw=1.8, label=e.title)
    ax.set(xlabel="epoch", ylabel="share of runs", xlim=(0, last), ylim=(-0.02, 1.02))
    ax.set_title("Runs that have reached validation accuracy ≥ .95")
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


PAIRED = {
    "val_accuracy": "validation accuracy",
    "test_accuracy": "test accuracy",
    "epochs_to_95": "epochs to validation ≥ .95",
}


def differences(summary: Summary) -> Figure:
    """Every seed's difference between two models, with the mean and its 95 % interval."""
    figure = Figure(figsize=(8.8, 5.6), layout="constrained")
    axes = figure.subplots(len(COMPARISONS), len(PAIRED), squeeze=False)
    for row, compared in zip(axes, COMPARISONS, strict=True):
        for ax, measure in zip(row, PAIRED, strict=True):
            _strip(ax, summary["paired"][compared.name][measure])
        row[0].set_ylabel(_versus(compared), rotation=0, ha="right", va="center", fontsize=8.5)
    for ax, label in zip(axes[0], PAIRED.values(), strict=True):
        ax.set_title(label)
    figure.suptitle(
        "Paired differences, first − second: each seed (○), their mean and its 95 % interval (◆)", fontsize=10
    )
    return figure


def _versus(compared: Comparison) -> str:
    return f"{compared.question}\n{compared.first.title}\n− {compared.second.title}"


def _strip(ax: Axes, stat: Statistic) -> None:
    """Seeds are set apart vertically only so that they can be seen."""
    ax.set(yticks=[], ylim=(-1, 1))
    ax.spines["left"].set_visible(False)
    values = [float(v) for v in stat["values"] if v is not None]
    if stat["mean"] is None:
        ax.set_xticks([])
        ax.text(
            0.5, 0.5, "no seed reached it with both", transform=ax.transAxes, ha="center", va="center", color="#555555"
        )
        return
    ax.axvline(0, color="black", lw=0.8)
    ax.locator_params(axis="x", nbins=4)
    height = 0.55 * np.sin(2.4 * np.arange(len(values))) - 0.15
    ax.plot(values, height, "o", mfc="none", mec=COLOURS[IN], ms=4, mew=0.9)
    low, high = stat["ci95"]
    if low is not None and high is not None:
        ax.plot([low, high], [0.72, 0.72], color=COLOURS[BN], lw=2.2, solid_capstyle="butt")
    ax.plot([stat["mean"]], [0.72], "D", color=COLOURS[BN], ms=5)
    ax.set_xlabel(f"n = {stat['n']}", loc="right", fontsize=7.5, labelpad=1)


def boundaries(summary: Summary, arrays: Arrays) -> Figure:
    """What the trained models decide over the plane, under the data; white is where the seeds disagree."""
    figure = Figure(figsize=(7.4, 7.9), layout="constrained")
    axes = figure.subplots(2, 2, sharex=True, sharey=True)
    for ax, experiment in zip(axes.flat, EXPERIMENTS, strict=True):
        _map(ax, arrays, arrays[f"{experiment.name}.votes"])
        of = summary["experiments"][experiment.name]
        accuracy = of["test_accuracy"]["mean"] if of["test_accuracy"]["n"] else of["val_accuracy"]["mean"]
        kind = "test" if of["test_accuracy"]["n"] else "validation"
        ax.set_title(f"{experiment.title}" + ("" if accuracy is None else f"\nmean {kind} accuracy {accuracy:.3f}"))
    n = summary["settings"]["seeds"]
    title = f"Decisions of {n} seeds: full colour where all agree, white where they are divided; line: the majority's"
    figure.suptitle(title, fontsize=10)
    return figure


def _map(ax: Axes, arrays: Arrays, votes: NDArray[Any]) -> None:
    x, y = arrays["grid_x"], arrays["grid_y"]
    extent = (x[0], x[-1], y[0], y[-1])
    ax.imshow(_blend(votes), origin="lower", extent=extent, interpolation="bilinear", aspect="equal")
    share = votes / votes.sum(0)
    for c in range(len(votes) if len(votes) > 2 else 1):
        ax.contour(x, y, share[c], levels=[0.5], colors="black", linewidths=0.8)
    for c in range(len(votes)):
        points = arrays["X"][arrays["y"] == c]
        colour, shape = CLASSES[c % len(CLASSES)], SHAPES[c % len(SHAPES)]
        ax.plot(points[:, 0], points[:, 1], shape, color=colour, mec="white", mew=0.4, ms=4.5, ls="none")
    ax.grid(visible=False)


def _blend(votes: NDArray[Any]) -> NDArray[np.float64]:
    """The winner's colour, paler the smaller its lead over an even split; (GRID, GRID, 3)."""
    K = len(votes)
    share = votes.max(0) / votes.sum(0)
    strength = 0.55 * ((share - 1 / K) / (1 - 1 / K))[..., None]
    palette = np.array([mpl.colors.to_rgb(CLASSES[c % len(CLASSES)]) for c in range(K)])
    blended: NDArray[np.float64] = 1 - strength * (1 - palette[votes.argmax(0)])
    return blended
