"""seen.md: the table fault × checker as it is read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tabulate import tabulate

NAMES = {
    "slow": "PyTorch slow",
    "fast": "PyTorch fast",
    "jax": "JAX",
    "ours": "here, one input",
    "battery": "here, battery",
    "check": "here, `check`",
}
OURS = {"ours": "at one input", "battery": "there with all checks", "check": "by `check`"}
NOTE = """Each fault × layer at one input where the fault shows (`tests/power/wrong.py`), the same for all: seen if the checker
does anything but pass the wrong layer in one of the layer's modes, and passes the right twin there. `torch.autograd.gradcheck`
and `jax.test_util.check_grads` (reverse mode, order 1) have their defaults and get the layer's own forward and backward with
every parameter as an input; JAX by way of the host. Here, one input: `gradcheck(layer, x, reference=…)`; battery: the same with
`battery=True`; `check`: over drawn shapes and values, from [the matrix](../../docs/power.md). A fault of float32 is shown in
float32, where the peers fail the right twin too: no answer (–)."""


def page(found: dict[str, Any]) -> str:
    """The result as Markdown."""
    rows, about = found["rows"], found["faults"]
    names = [n for n in NAMES if n in rows[0]["by"]]
    groups = list(dict.fromkeys(a["group"] for a in about.values()))
    heads = [NAMES[n] for n in names]
    by_group = [[g, *_shares([r for r in rows if about[r["fault"]]["group"] == g], names)] for g in groups]
    by_fault = [
        [about[f]["group"], f, *_shares([r for r in rows if r["fault"] == f], names)]
        for f in sorted(about, key=lambda f: groups.index(about[f]["group"]))
    ]
    return (
        "\n\n".join(
            [
                "# Who sees what",
                f"{summary(found)}\n\n{NOTE}",
                "## By group: fault × layer pairs seen",
                tabulate([*by_group, ["all", *_shares(rows, names)]], ["group", *heads], tablefmt="github"),
                "## By fault: layers in which it is seen",
                tabulate(by_fault, ["group", "fault", *heads], tablefmt="github"),
            ]
        )
        + "\n"
    )


def summary(found: dict[str, Any]) -> str:
    """The short form, in a sentence."""
    rows = found["rows"]
    names = [n for n in NAMES if n in rows[0]["by"]]
    peers = ", ".join(f"{NAMES[n]} {_seen(rows, n)}" for n in names if n not in OURS)
    ours = ", ".join(f"{_seen(rows, n)} {how}" for n, how in OURS.items())
    return f"Of {len(rows)} fault × layer pairs ({len(found['faults'])} faults) are seen by {peers}; here {ours}."


def _seen(rows: Sequence[dict[str, Any]], name: str) -> int:
    return sum(r["by"][name] == "seen" for r in rows)


def _shares(rows: Sequence[dict[str, Any]], names: Sequence[str]) -> list[str]:
    return [_share(rows, n) for n in names]


def _share(rows: Sequence[dict[str, Any]], name: str) -> str:
    silent = all(r["by"][name] == "no answer" for r in rows)
    return "–" if silent else f"{_seen(rows, name)}/{len(rows)}"
