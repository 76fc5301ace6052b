"""Each layer's forward and backward beside PyTorch's module with autograd: the pairs, and a table of their ratios.

    python -m benchmarks.operations [--threads 1] [--seconds 1.0] [--device cpu] [--out benchmarks/results]

prints the table; with --out it writes layers.md and layers.json there. Times are medians of interleaved repeats: ours,
PyTorch's, ours, … in one run, so that a busy machine slows both; of processor time where one thread of the CPU does all
the work, which does not count what other processes take of it. Beside them stands the accuracy: the largest error of
output, input gradient and parameter gradients against PyTorch's modules in float64, as a multiple of that tensor's
largest entry.

The malloc settings matter: by default glibc hands large blocks back at once, and both sides spend much of the largest
size on page faults, in a way that changes from run to run. results/kept-memory is the same table with
MALLOC_MMAP_THRESHOLD_, MALLOC_TRIM_THRESHOLD_ and MALLOC_TOP_PAD_ raised, so that memory is kept.
"""

import argparse
import copy
import json
import os
import platform
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from tabulate import tabulate
from torch import Tensor

from layers import BatchNorm, Dropout, InstanceNorm, Layer, Linear, SoftmaxCrossEntropy, Tanh

SIZES = [(32, 64), (256, 256), (1024, 1024), (4096, 1024)]
P = 0.2
OPERATIONS = {
    "Linear": (lambda D, g: Linear(D, D, g), lambda D: torch.nn.Linear(D, D)),
    "InstanceNorm": (lambda D, g: InstanceNorm(D), torch.nn.LayerNorm),
    "BatchNorm": (lambda D, g: BatchNorm(D), torch.nn.BatchNorm1d),
    "Tanh": (lambda D, g: Tanh(), lambda D: torch.nn.Tanh()),
    "Dropout": (lambda D, g: Dropout(P, g), lambda D: torch.nn.Dropout(P)),
    "SoftmaxCrossEntropy": (lambda D, g: SoftmaxCrossEntropy(), lambda D: torch.nn.CrossEntropyLoss()),
}


@dataclass(frozen=True)
class Pair:
    """One operation at one size: two functions that return (output, δz, parameter gradients)."""

    operation: str
    B: int
    D: int
    device: str
    ours: Callable[[], list[Tensor]]
    pytorch: Callable[[], list[Tensor]]
    truth: Callable[[list[Tensor]], list[Tensor]]  # what such a result should have been, in float64

    @classmethod
    def of(cls, operation: str, B: int, D: int, device: str = "cpu") -> "Pair":
        """Both sides with the same values, drawn in float32; constants of norms differ from 1 and 0."""
        random = torch.Generator(device).manual_seed(1)
        build, build_peer = OPERATIONS[operation]
        layer, peer = build(D, random).to(device=device), build_peer(D).to(device)
        for name, parameter in zip(layer.params, peer.parameters(), strict=True):
            if operation != "Linear":
                layer.params[name].add_(torch.rand(D, generator=random, device=device))
            parameter.data.copy_(layer.params[name].mT if name == "W" else layer.params[name])
        z = torch.randn(B, D, generator=random, device=device)
        y = (torch.arange(B, device=device) % D,) if operation == "SoftmaxCrossEntropy" else ()
        δa = torch.ones((), device=device) if y else torch.randn(B, D, generator=random, device=device)
        sides = _by_hand(layer, z, y, δa), _autograd(peer, z, y, δa), _exact(peer, z, y, δa)
        return cls(operation, B, D, device, *sides)

    def sync(self) -> None:
        """Wait for the device."""
        if self.device != "cpu":
            torch.cuda.synchronize()

    def errors(self) -> tuple[float, float]:
        """The largest relative errors of ours and of PyTorch's, each at the first call: gradients accumulate."""
        return self._error(self.ours()), self._error(self.pytorch())

    def _error(self, found: list[Tensor]) -> float:
        true = self.truth(found)
        return max(((t - e).abs().max() / e.abs().max()).item() for t, e in zip(found, true, strict=True))


def _by_hand(layer: Layer, z: Tensor, y: tuple[Tensor, ...], δa: Tensor) -> Callable[[], list[Tensor]]:
    def run() -> list[Tensor]:
        a = layer.forward(z, *y)
        δz = layer.backward(None if y else δa)
        return [a, δz, *(grad.mT if name == "W" else grad for name, grad in layer.grads.items())]

    return run


def _autograd(module: torch.nn.Module, z: Tensor, y: tuple[Tensor, ...], δa: Tensor) -> Callable[[], list[Tensor]]:
    z = z.clone().requires_grad_()

    def run() -> list[Tensor]:
        z.grad = None
        a = module(z, *y)
        a.backward(None if y else δa)
        return [a.detach(), z.grad, *(p.grad for p in module.parameters())]

    return run


def _exact(
    module: torch.nn.Module, z: Tensor, y: tuple[Tensor, ...], δa: Tensor
) -> Callable[[list[Tensor]], list[Tensor]]:
    """What found should have been, in float64; a dropout is judged by the mask that it drew."""

    def truth(found: list[Tensor]) -> list[Tensor]:
        if isinstance(module, torch.nn.Dropout):
            mask = (found[0] != 0) | (found[1] != 0)  # z or δa may be 0 by themselves
            return [mask * t.double() / (1 - P) for t in (z, δa)]
        return _autograd(copy.deepcopy(module).double(), z.double(), y, δa.double())()

    return truth


def medians(pair: Pair, seconds: float) -> tuple[float, float, int]:
    """Median seconds of ours and PyTorch's over interleaved repeats, and how many there were."""
    sides, times = (pair.ours, pair.pytorch), ([], [])
    clock = time.process_time if pair.device == "cpu" and torch.get_num_threads() == 1 else time.perf_counter
    for side in sides * 3:
        side()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[0]) < 15:
        for side, spent in zip(sides, times, strict=True):
            pair.sync()
            start = clock()
            side()
            pair.sync()
            spent.append(clock() - start)
    return median(times[0]), median(times[1]), len(times[0])


def measure(device: str, seconds: float) -> list[dict[str, object]]:
    """One row per operation and size."""
    rows = []
    for operation in OPERATIONS:
        for B, D in SIZES:
            pair = Pair.of(operation, B, D, device)
            error, error_pytorch = pair.errors()
            ours, pytorch, repeats = medians(pair, seconds)
            rows.append(
                {"operation": operation, "B": B, "D": D, "ours_us": ours * 1e6, "pytorch_us": pytorch * 1e6}
                | {"ratio": ours / pytorch, "error": error, "error_pytorch": error_pytorch, "repeats": repeats}
            )
    return rows


def setting(device: str, seconds: float) -> dict[str, object]:
    """What the numbers depend on."""
    names = sorted(name for name in os.environ if name.startswith(("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD")))
    malloc = ", ".join(f"{name}={os.environ[name]}" for name in names)
    return {
        "device": torch.cuda.get_device_name() if device != "cpu" else _cpu(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "malloc": malloc or f"default of {' '.join(platform.libc_ver())}",
        "torch": torch.__version__,
        "python": platform.python_version(),
        "seconds_per_row": seconds,
        "commit": _commit(),
    }


def _commit() -> str:
    """The commit, and whether the layers or the benchmarks differ from it."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], capture_output=True, text=True, check=False, cwd=here).stdout.strip()

    changed = git("status", "--porcelain", "--", str(here.parent / "layers"), *map(str, here.glob("*.py")))
    return (git("rev-parse", "--short", "HEAD") or "unknown") + (" with local changes" if changed else "")


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())


def table(rows: list[dict[str, object]], where: dict[str, object]) -> str:
    """Markdown: ratios by operation and size, then every row with times and errors."""
    ratios = {operation: [operation] for operation in OPERATIONS}
    for row in rows:
        ratios[row["operation"]].append(f"{row['ratio']:.2f}")
    detail = [
        [
            *(row["operation"], f"{row['B']}×{row['D']}", row["ours_us"], row["pytorch_us"], row["ratio"]),
            *(f"{row['error']:.1e}", f"{row['error_pytorch']:.1e}", row["repeats"]),
        ]
        for row in rows
    ]
    heads = ["operation", "size", "ours µs", "PyTorch µs", "ratio", "error", "error PyTorch", "repeats"]
    return "\n".join(
        [
            "# Layer operations: forward + backward, float32, time / PyTorch's module with autograd\n",
            tabulate(ratios.values(), ["", *(f"{B}×{D}" for B, D in SIZES)], "pipe", disable_numparse=True),
            "\nMedians of interleaved repeats in one run. Error: the largest of output, input and parameter gradients",
            "against float64, over that tensor's largest entry.\n",
            tabulate(detail, heads, "pipe", floatfmt=("", "", ".1f", ".1f", ".2f", "", "", "")),
            "",
            *(f"- {key}: {value}" for key, value in where.items()),
            "",
        ]
    )


def publish(name: str, text: str, data: object, folder: Path | None) -> None:
    """Print a page of results; where a folder is named, write it there beside its data."""
    print(text)
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.md").write_text(text, encoding="utf-8")
        (folder / f"{name}.json").write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Measure, print, and write where asked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.operations", description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1.0, help="per operation and size")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, help="folder for layers.md and layers.json; without it nothing is written")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows, where = measure(arguments.device, arguments.seconds), setting(arguments.device, arguments.seconds)
    publish("layers", table(rows, where), {"setting": where, "rows": rows}, arguments.out)


if __name__ == "__main__":
    main()
