"""Which of the known names a misspelt one may stand for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path


def near(word: str, known: Iterable[str], like: float = 0.6) -> str:
    """The known name that is most like the word, in whichever case; empty where none is."""
    plain = {name.lower(): name for name in sorted(known)}
    return next((plain[n] for n in get_close_matches(word.lower(), plain, 1, like)), "")


def meant(word: str, known: Iterable[str], form: str = "{}", like: float = 0.6) -> str:
    """`did you mean examples=?`, with the name in this form; empty where none is like it."""
    close = near(word, known, like)
    return f"did you mean {form.format(close)}?" if close else ""


def among(word: str, known: Sequence[str], has: str = "there are") -> str:
    """The known ones, and before them which of them may be meant: `did you mean 'shapes'? there are gradient, shapes`."""
    return f"{meant(word, known, '{!r}')} {has} {', '.join(known)}".lstrip()


def no_tensor(name: str, of: str, there: Sequence[str]) -> str:
    """What is said of a name in `grads` that is none of the tensors there."""
    return f"grads names {name!r}, which is no tensor of {of}: {among(name, there, 'it has')}"


def beside(path: Path) -> str:
    """Which file of Python beside a path may be meant, to be put after what is wrong with it; empty where none is like it."""
    there = path.parent.iterdir() if path.parent.is_dir() else ()
    close = meant(path.name, [f.name for f in there if f.suffix in (".py", ".ipynb")])
    return f"; {close}" if close else ""
