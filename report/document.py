"""The files a reader opens: report.md, its tables and its figures, made from the stored results and nothing else."""

from collections.abc import Sequence
from pathlib import Path

from report import causes, findings, prose, tables
from report.figures import all_figures
from report.findings import Q6, Q6_DROPOUT, Q7, Q7_BN, Reader
from report.results import CURVES, SUMMARY, VERIFICATION, Stored
from report.settings import EXPERIMENTS, IN_DROPOUT, SPIRAL
from report.store import write
from report.summary import Summary
from report.tables import Table
from report.verification import counts


def all_tables(stored: Stored) -> dict[str, Table]:
    """Every table under its title, in the order of the report."""
    s = stored.summary
    made = {
        "All four models": tables.overview(s),
        "Q5: InstanceNorm with Dropout": tables.detail(s, IN_DROPOUT),
    }
    for compared in (Q6, Q6_DROPOUT, Q7, Q7_BN):
        made[f"{compared.question}: {compared.title}"] = tables.comparison(s, compared)
    made |= {f"Every measure: {e.title}": tables.detail(s, e) for e in EXPERIMENTS if e != IN_DROPOUT}
    return made | {"Verification of the layers": tables.verification(stored.matrix)}


def publish(stored: Stored, directory: Path) -> list[Path]:
    """Write figures and text; the files written."""
    contents = all_figures(stored.summary, stored.arrays)
    contents["report.md"] = markdown(stored, list(contents)).encode()
    write(directory, contents)
    return [directory / name for name in contents]


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
    r = Reader(stored.summary, stored.arrays)
    blocks = [
        "# Q5–Q7: InstanceNorm, BatchNorm and Dropout on the spiral",
        prose.banner(stored.summary),
        findings.in_short(r),
        all_tables(stored)["All four models"].markdown(),
        *_section("What was run", prose.setting(stored.summary)),
        *_answers(stored, r, figures),
        *_verification(stored),
        *_section("Every measure of the other models", *_titled(stored, "Every measure: ")),
        *_section("How to get this again", _again(stored.summary)),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _answers(stored: Stored, r: Reader, figures: Sequence[str]) -> list[str]:
    """Each question: what was observed beside its numbers, why it may be so, the tables, the figures."""
    image = {name: f"![{alt}]({name})" if name in figures else "" for name, alt in ALT.items()}
    return [
        *_section("Q5: InstanceNorm with Dropout", findings.q5(r), *_titled(stored, "Q5: ", heading=False)),
        image["curves.png"],
        image["boundaries.png"] or "The points are not planar: there is no decision boundary to draw.",
        *_section(
            "Q6: InstanceNorm against BatchNorm",
            f"*Without Dropout.* {findings.accuracy(r, Q6)} {findings.speed(r, Q6)}",
            causes.norms(r),
            f"*With Dropout.* {findings.accuracy(r, Q6_DROPOUT)} {findings.speed(r, Q6_DROPOUT)}",
            findings.undertraining(r),
            causes.batch_norm_with_dropout(r),
            *_titled(stored, "Q6: "),
            image["threshold.png"],
        ),
        *_section(
            "Q7: with and without Dropout",
            f"*InstanceNorm.* {findings.accuracy(r, Q7)} {findings.speed(r, Q7)}",
            f"{findings.gap(r)} {findings.calm(r)}",
            causes.instance_norm_with_dropout(r),
            f"*BatchNorm.* {findings.accuracy(r, Q7_BN)} {findings.speed(r, Q7_BN)}",
            *_titled(stored, "Q7: "),
            image["paired.png"],
        ),
    ]


def _verification(stored: Stored) -> list[str]:
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
    table = all_tables(stored)["Verification of the layers"].markdown()
    independence = prose.independence(stored.summary, stored.control)
    return _section("Verification", text, table, "\n".join(questions), independence)


def _section(title: str, *blocks: str) -> list[str]:
    return [f"## {title}", *blocks]


def _titled(stored: Stored, prefix: str, heading: bool = True) -> list[str]:
    """The tables whose title starts so, each under the rest of it."""
    found = {title.removeprefix(prefix): t for title, t in all_tables(stored).items() if title.startswith(prefix)}
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
