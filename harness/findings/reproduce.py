"""A standalone script that shows one wrong entry without the harness."""

from __future__ import annotations

from collections.abc import Iterable

from harness.case import Case
from harness.scripts.written import LITERAL, literal


def script(case: Case, name: str, index: tuple[int, ...], analytic: float, expected: float) -> str:
    """The script; where the layer can't be imported, one line is left to fill."""
    subject = case.subject
    if subject.recipe is None or case.declared is not None:
        return ""
    recipe = subject.recipe()
    big = [n for n, t in case.leaves.items() if t.numel() > LITERAL]
    header = [
        f"# {subject.name}: d<v, outputs>/d {name}{list(index)}: backward gave {analytic!r}, expected {expected!r}.",
        f"# {case.label}" if case.label else "",
        *(f"import {n}" for n in ("importlib", "runpy") if any(f"{n}." in line for line in recipe.imports)),
        "import random",
        "",
        *recipe.imports,
        "",
        *recipe.setup,
        "leaves = {",
        *(f"    {n!r}: {literal(t)}," for n, t in case.leaves.items()),
        "}",
        f"buffers = {{{', '.join(f'{n!r}: {literal(t)}' for n, t in case.buffers.items())}}}",
        f"v = [{', '.join(literal(v) for v in case.base.cotangents)}]  # the cotangents",
    ]
    if big:
        header.insert(
            2, f"# {', '.join(big)}: too large to write out, drawn from a fixed seed instead; the numbers will differ."
        )
    body = _BODY.format(name=name, index=index, mode=case.mode, seed=case.seed)
    return "\n".join([*_present(header), "", recipe.functions, body])


_BODY = """
name, index, mode, seed, h = {name!r}, {index!r}, {mode!r}, {seed!r}, 1e-6


def loss(leaves):
    return sum((w * y).sum() for w, y in zip(v, forward(leaves, buffers, mode, seed)))


forward(leaves, buffers, mode, seed)
analytic = backward(v)[name][index]
up, down = ({{**leaves, name: leaves[name].clone()}} for _ in range(2))
up[name][index] += h
down[name][index] -= h
numeric = (loss(up) - loss(down)) / (2 * h)
print(f"{{name}}{{list(index)}}: backward {{float(analytic):.9g}}, central difference {{float(numeric):.9g}}")
"""


def _present(lines: Iterable[str]) -> list[str]:
    return [line for k, line in enumerate(lines) if line or k > 2]
