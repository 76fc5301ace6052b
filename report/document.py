"""The files a reader opens: report.md, its tables and its figures, made from the stored results and nothing else."""

from collections.abc import Sequence
from pathlib import Path

from report import causes, evidence, findings, prose, tables
from report.figures import all_figures
from report.findings import Q6, Q6_DROPOUT, Q7, Q7_BN, Reader
from report.page import html
from report.results import CURVES, SUMMARY, VERIFICATION, Stored
from report.settings import EXPERIMENTS, IN_DROPOUT, SPIRAL
from report.store import write
from report.summary import Summary
from report.tables import Table
from report.verification import counts

Tables = dict[str, Table]


def all_tables(stored: Stored) -> Tables:
    """Every table under its title, in the order of the report."""
    s = stored.summary
    made = {
        "All four models": tables.overview(s),
        "Q5: InstanceNorm with Dropout": tables.detail(s, IN_DROPOUT),
    }
    for compared in (Q6, Q6_DROPOUT, Q7, Q7_BN):
        made[f"{compared.question}: {compared.title}"] = tables.comparison(s, compared)
    made["Tests of all comparisons"] = tables.tests(s)
    made["Epochs to the threshold"] = tables.arrivals(s)
    made |= {f"Every measure: {e.title}": tables.detail(s, e) for e in EXPERIMENTS if e != IN_DROPOUT}
    made["Verification of the layers"] = tables.verification(stored.matrix)
    if stored.peers:
        made["Peers: faults found"], made["Peers: time"] = tables.detection(stored.peers), tables.times(stored.peers)
    return made


def publish(stored: Stored, directory: Path) -> list[Path]:
    """Write figures and text; the files written."""
    figures = all_figures(stored.summary, stored.arrays)
    text = markdown(stored, list(figures))
    contents = figures | {"report.md": text.encode(), "report.html": html(text, figures).encode()}
    contents["tables.tex"] = latex(stored).encode()
    write(directory, contents)
    return [directory / name for name in contents]


def latex(stored: Stored) -> str:
    """Every table, for a document with booktabs and an engine that reads Unicode."""
    return "\n".join(f"% {title}\n{table.latex()}\n" for title, table in all_tables(stored).items())


def console(stored: Stored) -> str:
    """The same tables for a terminal."""
    return "\n\n".join(f"{title}\n\n{table.plain()}" for title, table in all_tables(stored).items())


ALT = {
    "curves.png": "Accuracy and loss of the four models over the epochs",
    "threshold.png": "Share of runs that have reached validation accuracy .95, over the epochs",
    "paired.png": "Differences between models, seed by seed",
    "boundaries.png": "The classes that the trained models give to the points of the plane",
}


def markdown(stored: Stored, figures: Sequence[str]) -> str:
    """report.md."""
    r, made = Reader(stored.summary, stored.arrays), all_tables(stored)
    blocks = [
        "# Q5–Q7: InstanceNorm, BatchNorm and Dropout on the spiral",
        prose.banner(stored.summary),
        findings.in_short(r),
        made["All four models"].markdown(),
        *_section("What was run", prose.setting(stored.summary)),
        *_answers(made, r, figures),
        *_section("Comparisons, tested", TESTED, made["Tests of all comparisons"].markdown()),
        CENSORED,
        made["Epochs to the threshold"].markdown(),
        *_evidence(stored),
        *_verification(stored, made),
        *_section("Every measure of the other models", *_titled(made, "Every measure: ")),
        *_section("How to get this again", _again(stored.summary)),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


TESTED = (
    "p: paired permutation test of the mean difference (random signs, 9 999 of them), for epochs a sign test of which came "
    "first, in which a run that never arrives comes last. Holm's correction is over all rows. d: mean difference over its "
    "sd; for epochs it and the mean are over pairs that both arrived."
)
CENSORED = (
    "Median epochs to the threshold after Kaplan and Meier: a run that had not arrived at the last epoch is censored "
    "there, not dropped."
)


def _evidence(stored: Stored) -> list[str]:
    seeds = min(10, stored.summary["settings"]["seeds"])
    found = evidence.blocks(evidence.Explored(stored.evidence, seeds))
    return _section("What tells the causes apart", *found) if found else []


def _answers(made: Tables, r: Reader, figures: Sequence[str]) -> list[str]:
    """Each question: what was observed beside its numbers, why it may be so, the tables, the figures."""
    image = {name: f"![{alt}]({name})" if name in figures else "" for name, alt in ALT.items()}
    return [
        *_section("Q5: InstanceNorm with Dropout", findings.q5(r), *_titled(made, "Q5: ", heading=False)),
        image["curves.png"],
        image["boundaries.png"] or "The points are not planar: there is no decision boundary to draw.",
        *_section(
            "Q6: InstanceNorm against BatchNorm",
            f"*Without Dropout.* {findings.accuracy(r, Q6)} {findings.speed(r, Q6)}",
            causes.norms(r),
            f"*With Dropout.* {findings.accuracy(r, Q6_DROPOUT)} {findings.speed(r, Q6_DROPOUT)}",
            findings.undertraining(r),
            causes.batch_norm_with_dropout(r),
            *_titled(made, "Q6: "),
            image["threshold.png"],
        ),
        *_section(
            "Q7: with and without Dropout",
            f"*InstanceNorm.* {findings.accuracy(r, Q7)} {findings.speed(r, Q7)}",
            f"{findings.gap(r)} {findings.calm(r)}",
            causes.instance_norm_with_dropout(r),
            f"*BatchNorm.* {findings.accuracy(r, Q7_BN)} {findings.speed(r, Q7_BN)}",
            *_titled(made, "Q7: "),
            image["paired.png"],
        ),
    ]


def _verification(stored: Stored, made: Tables) -> list[str]:
    found = counts(stored.matrix)
    text = (
        "Every layer was checked by `harness` against central differences, autograd and, where there is one, a reference, on "
        f"{stored.summary['settings']['examples']} examples for each check and mode: "
        + ", ".join(f"{n} {outcome}" for outcome, n in found.items() if n)
        + ". A number after *pass* is the resolution, the relative size of an error that would still have been seen; why "
        f"something was skipped stands in `{VERIFICATION}`."
    )
    unsettled = [row for row in stored.matrix if row["outcome"] not in ("PASS", "SKIP")]
    questions = [
        f"- {r['layer']}, `{r['check']}`{', ' + r['mode'] if r['mode'] else ''}: {r['outcome']}. {r['reason']}"
        for r in unsettled
    ]
    table = made["Verification of the layers"].markdown()
    independence = prose.independence(stored.summary, stored.control)
    beside = ["How the harness compares with its peers, from `benchmarks/checkers.py`:"] * bool(stored.peers)
    return _section("Verification", text, table, "\n".join(questions), independence, *beside, *_titled(made, "Peers: "))


def _section(title: str, *blocks: str) -> list[str]:
    return [f"## {title}", *blocks]


def _titled(made: Tables, prefix: str, heading: bool = True) -> list[str]:
    """The tables whose title starts so, each under the rest of it."""
    found = {title.removeprefix(prefix): t for title, t in made.items() if title.startswith(prefix)}
    return [f"**{title}**\n\n{table.markdown()}" if heading else table.markdown() for title, table in found.items()]


def _again(content: Summary) -> str:
    s = content["settings"]
    versions = ", ".join(f"{name} {version}" for name, version in s["versions"].items())
    options = [f"--{name} {s[name]}" for name in ("seeds", "epochs", "seed0", "device")]
    options += ["--quick"] * s["quick"] + [f"--data {s['data']}"] * (s["data"] != SPIRAL)
    return (
        f"`python -m report {' '.join(options)}`, with {versions}. The same settings give the same bytes of "
        f"`{SUMMARY}` on the same machine. `python -m report tables DIR` rewrites this page and its figures from "
        f"`{SUMMARY}`, `{CURVES}` and `{VERIFICATION}`, without training."
    )
