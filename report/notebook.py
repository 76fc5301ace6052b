"""The assignment's own deliverable: a notebook that stands alone, its cells the sources of the layers and of the loop."""

import importlib
import inspect
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from nbclient import NotebookClient
from nbformat import v4
from nbformat import write as save

from report import answers, dataset, masks, measures, model, spiral, streams, training
from report.settings import Experiment

ORDER = (
    "layer", "generator", "linear", "instance_norm", "batch_norm", "tanh", "dropout", "softmax_cross_entropy", "sequential",
)  # fmt: skip
IMPORTS = """\
import zlib
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass
from itertools import chain, combinations
from math import sqrt
from typing import Any, Literal, NoReturn, Self, TypeAlias

import matplotlib.pyplot as plt
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor"""
NAMES = """\
Norm = Literal["in", "bn", "none"]
Purpose = Literal["split", "initialisation", "batches", "masks"]
Labels = NDArray[np.int64]
SEEDS, EPOCHS = range({seeds}), {epochs}
WIDTH, BATCH, LR, P = 64, 32, 0.1, 0.2"""


def cells(seeds: int, epochs: int) -> Iterator[tuple[str, str]]:
    """Kind and content of each, from the top."""
    yield "markdown", answers.TITLE
    yield "code", IMPORTS
    yield "code", NAMES.format(seeds=seeds, epochs=epochs)
    yield "markdown", "## The layers\n\nForward and backward of each side by side, in plain tensor operations."
    for name in ORDER:
        yield "code", _bare(inspect.getsource(_module(name)))
    yield "markdown", "## Data, model and loop"
    yield "code", _bare(inspect.getsource(spiral))
    yield "code", _sources(dataset.train_counts, dataset.split)
    yield "code", _sources(streams.root, streams.stream, streams.streams, streams.bits)
    yield "code", f"AHEAD = {masks.AHEAD}\n\n\n" + _sources(masks.SeededDropout)
    yield "code", _sources(Experiment, model.build, model._norm)
    yield "code", _sources(training.Split, training.epoch_batches, training.joined, training._viewed, training.update)
    yield "code", _sources(measures.evaluate, answers.numeric, answers.check_gradients, answers.train)
    for question in answers.QUESTIONS:
        yield from question


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"layers.{name}")


def _sources(*things: Callable[..., Any]) -> str:
    return "\n\n\n".join(inspect.getsource(thing).rstrip() for thing in things)


def _bare(source: str) -> str:
    """Without imports, which stand in a cell of their own, and without what would be read as the cell's value."""
    kept = re.sub(r"^(?:from|import) .*\n", "", source, flags=re.M)
    return re.sub(
        r'\A"""(.*?)"""\n+', lambda m: "".join(f"# {line}\n" for line in m[1].strip().splitlines()), kept, flags=re.S
    ).strip()


def write(path: Path, seeds: int, epochs: int) -> None:
    """The executed notebook; a cell that raises is an error, and nothing is written."""
    kinds: dict[str, Any] = {"markdown": v4.new_markdown_cell, "code": v4.new_code_cell}
    made = v4.new_notebook(cells=[kinds[kind](content) for kind, content in cells(seeds, epochs)])  # type: ignore[no-untyped-call]
    for i, cell in enumerate(made.cells):
        cell.id = f"cell-{i}"  # else drawn at random
    place = {"metadata": {"path": str(path.parent)}}
    # neither this project on its path nor a backend without pictures
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "MPLBACKEND")}
    NotebookClient(made, timeout=None, kernel_name="python3", resources=place).execute(env=environment)
    save(made, path)  # type: ignore[no-untyped-call]
