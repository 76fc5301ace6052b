"""What forward and backward are called elsewhere."""

from __future__ import annotations

from typing import Any

FORWARDS = (
    "forward_pass",
    "forward_prop",
    "forward_propagation",
    "forwardprop",
    "fprop",
    "feed_forward",
    "feedforward",
    "fwd",
    "forward_propagate",
    *(
        "adelante",
        "hacia_adelante",
        "propagar",
        "vorwärts",
        "vorwaerts",
        "avant",
        "en_avant",
        "propagation",
        "avanti",
        "前向传播",
        "前向",
    ),
)
BACKWARDS = (
    "backward_pass",
    "backward_prop",
    "backward_propagation",
    "backprop",
    "back_prop",
    "backpropagate",
    "back_propagate",
    "backpropagation",
    "back_propagation",
    "bprop",
    "bwd",
    "vjp",
    "pullback",
    *(
        "atrás",
        "atras",
        "hacia_atrás",
        "hacia_atras",
        "retropropagar",
        "rückwärts",
        "rueckwaerts",
        "arrière",
        "retropropagation",
        "rétropropagation",
        "indietro",
        "en_arrière",
    ),
    *("反向传播", "反向"),
)
"""Names that mean nothing else: `call`, `apply` or `gradient` may be anything. Capitals and underscores do not count."""

PERHAPS = ("call", "apply", "compute", "propagate", "activate")
"""What forward is called too, and other things are: beside a backward it is one."""


def renamed(layer: Any) -> dict[str, str]:
    """{"forward": its name, "backward": its name} of an object or class that has methods for both under one other name at
    least; empty otherwise."""
    own = {"forward": _named(layer, "forward", FORWARDS), "backward": _named(layer, "backward", BACKWARDS)}
    if not own["forward"] and not isinstance(layer, type) and callable(layer):
        own["forward"] = "__call__"
    if not own["forward"] and own["backward"]:
        own["forward"] = next((n for n in PERHAPS if callable(getattr(layer, n, None))), "")
    other = any(name not in (usual, "__call__") for usual, name in own.items())
    return own if other and all(own.values()) else {}


def _named(layer: Any, usual: str, others: tuple[str, ...]) -> str:
    """The method's name, the usual one first; empty where there is none."""
    if callable(getattr(layer, usual, None)):
        return usual
    known = {_plain(n): n for n in (usual, *others)}
    names = [n for n in dir(layer) if n[:2] != "__" and _plain(n) in known and callable(getattr(layer, n, None))]
    methods = {known[_plain(n)]: n for n in names}
    return next((methods[n] for n in (usual, *others) if n in methods), "")


def _plain(name: str) -> str:
    return name.lower().replace("_", "")
