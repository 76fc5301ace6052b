"""How people name the gradient of a parameter, and where they put it: `dW`, `grads["W"]`, `W.grad`, `dparams[0]`, ..."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache

HOLDERS = (
    "params",
    "parameters",
    "param",
    "weights",
    "variables",
    "_modules",
    "buffers",
    "get_params",
    "get_parameters",
    "get_weights",
    "wrapped",
)
"""What a container of parameters is called, and the layer inside what a convention makes of it; no part of their names. In front
may stand underscores."""

VALUES = ("data", "value", "array", "tensor", "val", "param", "values")
"""What an object that keeps a parameter beside its gradient calls the parameter."""

VECTORS = ("theta", "params", "parameters", "weights", "w", "p", "flat", "flat_params", "vector")
"""What an array is called that holds all parameters one after another."""

GRADIENTS = (
    "grads",
    "gradients",
    "grad",
    "gradient",
    "dparams",
    "derivatives",
    "returned",
    "get_grads",
    "get_gradients",
    "adjoints",
    "gradientes",
    "梯度",
)
"""What a container of gradients is called, and an object's gradient beside its `data`; in front of both may stand underscores."""

_BEFORE = (
    "dLd",
    "dL_d",
    "dl_d",
    "dL",
    "d_",
    "d",
    "grad_",
    "grad",
    "grads_",
    "gradient_",
    "gradients_",
    "delta_",
    "delta",
    "nabla_",
    "g_",
    "g",
    "gradiente_",
    "梯度_",
    "梯度",
)
_AFTER = (
    "_grad",
    "_grads",
    "_gradient",
    "_gradients",
    "grad",
    "Grad",
    "Gradient",
    "Grads",
    "Gradients",
    "_gradiente",
    "的梯度",
    "_梯度",
    "梯度",
)

WEAK = 3
"""The rank of a name that says gradient to those alone who know that backward writes there, in the parameter's shape."""

_FREE_BEFORE = re.compile(
    r"d+|D|d[A-Z][A-Za-z]*_?d?_?|d[a-z]+_d_?|(partial|del|deriv|jac|jacobian|adj|adjoint|bar|grads|gradients)_?"
)
_FREE_AFTER = re.compile(r"_?(bar|adj|adjoint|deriv|derivative|der|cotangent|delta|error|err)|_(g|d|ct)")
_GATHERED = ("_acc", "_accum", "_sum", "_total")
_FREE_HOLDERS = ("p", "theta", "model", "net", "network", "layers", "blocks")
_FREE_GRADIENTS = ("g", "d", "delta", "deltas", "der", "deriv", "bar", "adjoint")

_SAME = (("w", "weight", "weights", "kernel"), ("b", "bias", "biases"), ("x", "inp", "input", "inputs"))
_GROUP = {word: k for k, words in enumerate(_SAME) for word in words}


@lru_cache(1 << 14)
def gradient_rank(place: str, parameter: str, weak: bool = False) -> int | None:
    """How surely an array of the first label is the gradient of that of the second; lower is surer, None: it is not.

    0: `fc.dW` or `fc.grads.W` for `fc.W`; 1: but for case and underscores; 2: but for the word, as `dW` for `weight`;
    `weak` allows WEAK: `W_bar`, `dJdW`, `g.W` beside `p.W`.
    """
    there, here = place.split("."), parameter.split(".")
    ranks = [r for p in (here, _bare(here)) if (r := _rank(there, p)) is not None]
    if not ranks and weak and _is_weak(there, here):
        return WEAK
    return min(ranks, default=None)


def alike(found: str, wanted: str) -> bool:
    """Whether a word, with or without a mark of a gradient, is another but for its case, or means the same: `dx`, `X` and `input`."""
    plain, own = {_plain(w) for w in (found, *_stems(found))}, _plain(wanted)
    return own in plain or (own in _GROUP and _GROUP[own] in map(_GROUP.get, plain))


def is_marked(place: str) -> bool:
    """Whether a part of a label says gradient at all: else it has a rank beside nothing, unless a weak one."""
    return any(is_gradients(part) or _stems(_private(part)[1].lstrip("_")) for part in place.split("."))


def may_be_gradient(place: str) -> bool:
    """Whether its name is another with any mark of a gradient, a weak one too, or stands among gradients."""
    *above, word = place.split(".")
    return any(map(is_gradients, (*above, word))) or bool({*_stems(word), *_freed(word)} - {word, ""})


def owners_ends(place: str) -> frozenset[str]:
    """The ends of those labels beside which this one may have a rank, as `label_ends` gives them: what to look up instead of
    ranking all pairs of hundreds of labels."""
    path = place.split(".")
    bare = _bare(path)
    without = (_unheld(bare), _unheld(path), _weakly_bare(path))
    words = {w for parts in without if parts for w in _unmarked(parts[-1])}
    return frozenset(key for w in words for key in _keys(w))


def label_ends(parameter: str) -> frozenset[str]:
    """What its label ends with, however it is read; of words that mean the same all have one more in common."""
    path = parameter.split(".")
    parts = (path, _bare(path), _wanted(path))
    return frozenset(key for p in parts if p for key in _keys(_private(p[-1])[1]))


def _unmarked(word: str) -> set[str]:
    """The word, and what is left of it without a mark of a gradient."""
    own = _private(word)[1]
    return {own, *_stems(own), *_stems(own.lstrip("_")), *(_private(w)[1] for w in _freed(word))}


def _keys(word: str) -> list[str]:
    plain = _plain(word)
    return [plain, f"={_GROUP[plain]}"] if plain in _GROUP else [plain]


def _is_weak(place: Sequence[str], parameter: Sequence[str]) -> bool:
    wanted, bare = _wanted(parameter), _weakly_bare(place)
    if not wanted or len(bare) != len(wanted) or bare[:-1] != wanted[:-1]:
        return False
    if bare[-1] == wanted[-1]:
        return any(holds_gradients(p) or p in _FREE_GRADIENTS for p in place)
    return _marked_rank(bare[-1], wanted[-1]) is not None or wanted[-1] in _freed(bare[-1])


def _wanted(parameter: Sequence[str]) -> list[str]:
    return [p for p in _bare(parameter) if p not in _FREE_HOLDERS or len(parameter) == 1]


def _weakly_bare(place: Sequence[str]) -> list[str]:
    return [p for p in _bare(place) if not holds_gradients(p) and p not in (*_FREE_GRADIENTS, *_FREE_HOLDERS)]


def _freed(word: str) -> list[str]:
    """What a word may be the gradient of, by any mark in front or behind; of sums of marked ones too."""
    for gathered in _GATHERED:
        word = word.removesuffix(gathered)
    cuts = range(1, len(word))
    before = [word[k:] for k in cuts if _FREE_BEFORE.fullmatch(word[:k])]
    return before + [word[:k] for k in cuts if _FREE_AFTER.fullmatch(word[k:])]


def is_gradients(part: str) -> bool:
    """Whether a part of a label is what gradients are called by the word alone."""
    return part.lstrip("_") in GRADIENTS


def _unheld(path: Sequence[str]) -> list[str]:
    return [part for part in path if not is_gradients(part)]


def holds_gradients(container: str) -> bool:
    """Whether a container is called one of gradients: `grads`, `model_grads`, `get_gradients`."""
    return is_gradients(container) or bool({*container.lower().split("_")} & {"grad", "grads", "gradient", "gradients"})


def _rank(place: Sequence[str], parameter: Sequence[str]) -> int | None:
    bare = _unheld(_bare(place))
    if len(bare) != len(parameter):
        bare = _unheld(place)
    if len(bare) != len(parameter):
        return None
    marked, worst = len(bare) < len(place) and any(map(is_gradients, place)), 0
    for found, wanted in zip(bare, parameter, strict=True):
        if found == wanted:
            continue
        rank = _marked_rank(found, wanted)
        if rank is None:
            return None
        marked, worst = True, max(worst, rank)
    return worst if marked else None


def _marked_rank(found: str, wanted: str) -> int | None:
    """How surely one word is another with a mark of a gradient."""
    (of, found), (owner, wanted) = _private(found), _private(wanted)
    if of and owner and of != owner:
        return None  # private names of two classes
    lead = "_" * (len(found) - len(found.lstrip("_")))
    word = found.removeprefix(lead)
    stems = _stems(word)
    if any(wanted in (stem, lead + stem) for stem in stems if stem):
        return 0
    plain = [_plain(stem) for stem in stems]
    if _plain(wanted) in plain:
        return 1
    same = _GROUP.get(_plain(wanted))
    return 2 if same is not None and same in map(_GROUP.get, plain) else None


def _stems(word: str) -> list[str]:
    """What is left of a word without each mark of a gradient that it begins or ends with."""
    before = [word.removeprefix(m) for m in _BEFORE if word.startswith(m)]
    return before + [word.removesuffix(m) for m in _AFTER if word.endswith(m)]


def _private(word: str) -> tuple[str, str]:
    """The class and the name as it is written there, of a private name: `_Linear__dW` is `self.__dW` in Linear."""
    private = re.fullmatch(r"_([A-Za-z]\w*?)(__\w*[^\W_])", word)
    return (private[1], private[2]) if private else ("", word)


def _plain(word: str) -> str:
    return re.sub("_", "", word).lower()


def _bare(path: Sequence[str]) -> list[str]:
    """Without the containers on the way, and without `data` at its end."""
    kept = [part for part in path[:-1] if part not in HOLDERS and part.lstrip("_") not in HOLDERS]
    return kept if path[-1] in VALUES and kept else [*kept, path[-1]]


def short_names(labels: Sequence[str]) -> Mapping[str, str]:
    """{label: name}: the label without containers, `W` for `params.W`, where that tells it from the others."""
    found = {label: ".".join(_private(part)[1] for part in _bare(label.split("."))) for label in labels}
    count = Counter(found.values())
    return {label: label if name.isdecimal() or count[name] > 1 else name for label, name in found.items()}


def gradient_names(name: str) -> tuple[str, ...]:
    """The usual names for the gradient of an input that backward returns by name."""
    return (f"d{name}", f"grad_{name}", f"{name}_grad", f"d_{name}", f"dLd{name}", f"delta_{name}", f"g{name}")


def per_example(place: str) -> bool:
    """Whether an array is called as one gradient for each example of a batch: Opacus' `grad_sample`, and the like."""
    words = re.sub(r"[^a-z]", "", place.lower())
    return "grad" in words and any(word in words for word in ("sample", "example", "individual"))
