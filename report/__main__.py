"""`python -m report`: train the study's models, verify their layers, write tables, figures and report.md."""

# Spawned processes import this file again; what they need is imported by the job itself, so imports here stay light.
import argparse
import os
import sys
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor
from pathlib import Path

from report.errors import LedgerError, UsageError

DESCRIPTION = """Trains {InstanceNorm, BatchNorm} x {no Dropout, p = 0.2} on the spiral over many seeds, verifies every
layer with harness, and writes summary.json, report.md and its figures."""
EPILOG = """`python -m report tables DIR` rewrites tables, figures and report.md from the results in DIR, without
training. `python -m report notebook` writes an executed notebook that stands alone. Exit code: 0 done and verified,
1 a layer was not verified (or a file could not be written), 2 usage."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser("python -m report", description=DESCRIPTION, epilog=EPILOG, allow_abbrev=False)
    made.add_argument("--seeds", type=_positive, help="how many runs of each model (30; with --quick 3)")
    made.add_argument("--epochs", type=_positive, help="epochs of each run (1000; with --quick 40)")
    made.add_argument("--out", type=Path, default=Path("report-out"), metavar="DIR", help="default: %(default)s")
    made.add_argument("--seed0", type=_natural, default=0, help="the first run seed (0); the others follow it")
    made.add_argument("--device", default="cpu", help="a torch device (cpu)")
    made.add_argument("--quick", action="store_true", help="small and fast: shows that all works, not the study")
    made.add_argument("--data", metavar="FILE.npz|module:function", help="other points than the built-in spiral")
    made.add_argument("--jobs", type=_positive, help="processes of one thread each (the number of cores)")
    made.add_argument("--scheduler", metavar="tcp://…", help="run on the workers of this Dask scheduler, not here")
    return made


def _positive(text: str) -> int:
    return _integer(text, 1)


def _natural(text: str) -> int:
    return _integer(text, 0)


def _integer(text: str, least: int) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least:
        raise argparse.ArgumentTypeError(f"found {text!r}, needs an integer of at least {least}")
    return value


def tables_parser() -> argparse.ArgumentParser:
    """The command line of `tables`."""
    made = argparse.ArgumentParser("python -m report tables", description="Rewrites what is made from stored results.")
    made.add_argument("directory", type=Path, metavar="DIR", help="where an earlier run wrote its results")
    return made


def notebook_parser() -> argparse.ArgumentParser:
    """The command line of `notebook`."""
    made = argparse.ArgumentParser("python -m report notebook", description="Writes an executed notebook.")
    made.add_argument("--out", type=Path, default=Path("report-out"), metavar="DIR", help="default: %(default)s")
    made.add_argument("--name", default="study.ipynb", metavar="FILE", help="its file name (%(default)s)")
    made.add_argument("--seeds", type=_positive, default=10, help="how many runs of each model (%(default)s)")
    made.add_argument("--epochs", type=_positive, default=1000, help="epochs of each run (%(default)s)")
    return made


def notebook(options: argparse.Namespace) -> int:
    """The notebook, where it was asked for."""
    from report.notebook import write
    from report.store import prepare

    prepare(options.out)
    path = options.out / (options.name if options.name.endswith(".ipynb") else f"{options.name}.ipynb")
    write(path, options.seeds, options.epochs)
    print("written:", path)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        if arguments[:1] == ["tables"]:
            return rewrite(tables_parser().parse_args(arguments[1:]).directory)
        if arguments[:1] == ["notebook"]:
            return notebook(notebook_parser().parse_args(arguments[1:]))
        return study(parser().parse_args(arguments))
    except UsageError as error:
        print(f"report: error: {error}", file=sys.stderr)
        return 2
    except LedgerError as error:
        print(f"report: error: {error}", file=sys.stderr)
        return 1
    except BrokenExecutor:
        print(
            "report: error: a process was ended from outside (out of memory?); finished runs are kept", file=sys.stderr
        )
        return 1
    except OSError as error:
        print(f"report: error: {error}; no file was left half-written", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("report: interrupted; finished runs are kept, the same command goes on from them", file=sys.stderr)
        return 130


def rewrite(directory: Path) -> int:
    """Tables, figures and report.md from stored results."""
    from report.document import console, publish
    from report.results import read

    stored = read(directory)
    files = publish(stored, directory)
    print(console(stored))
    print("\nwritten:", *files)
    return 0


def study(options: argparse.Namespace) -> int:
    """Everything: training and verification, then what is made from them."""
    from report.command import conduct_and_save, settings_of

    settings = settings_of(options)
    passed = conduct_and_save(settings, options.out, options.jobs or os.cpu_count() or 1, options.scheduler)
    rewrite(options.out)
    if not passed:
        print(f"report: not everything was verified; see Verification in {options.out / 'report.md'}", file=sys.stderr)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
