"""How a layer is put into training or evaluation: its methods, an attribute, or a keyword of its forward."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from functools import cache
from inspect import getattr_static
from types import CodeType, FunctionType
from typing import Any

import numpy as np

from harness.reading.parts import parts_of
from harness.reading.signatures import parameters_of

TRAIN, EVAL = "train", "eval"

FLAGS = ("training", "is_training", "train_mode", "is_train", "train_flg", "train_flag", "train", "trainable")
"""Attributes and keywords that are true in training."""

REVERSED = ("eval", "evaluate", "eval_mode", "is_eval", "test", "testing", "is_test", "test_mode", "inference")
"""Those that are true in evaluation."""

KEYWORDS = frozenset((*FLAGS, *REVERSED, "mode"))
"""The keywords by which a forward is told its mode."""

SAID = {
    "train": ("train", "training"),
    "eval": ("eval", "test", "evaluation", "testing", "inference", "val", "predict"),
}
"""What an attribute or keyword `mode` says."""


@dataclass(frozen=True)
class Switch:
    """How an object is put into a mode."""

    put: Callable[[str], None]
    line: str
    """The same in a script that calls it `layer`."""
    present: str
    """The mode that it is in."""
    modes: tuple[str, ...] = (TRAIN, EVAL)
    """Those that are asked for where nobody says which."""


def switch_of(layer: Any) -> Switch | None:
    """How the layer is put into "train" or "eval"; None where it can't be."""
    named = _by_name(layer)
    if callable(getattr(layer, "train", None)) and callable(getattr(layer, "eval", None)):
        present = named.present if named else TRAIN
        line = "layer.train() if mode == 'train' else layer.eval()"
        return Switch(lambda mode: (layer.train if mode == TRAIN else layer.eval)(), line, present)
    return named or _of_parts(layer)


def said_mode(layer: Any) -> str:
    """The mode that an attribute of the layer says it is in; empty where none does."""
    return named.present if (named := _by_name(layer)) else ""


def _of_parts(layer: Any) -> Switch | None:
    """All the layers inside a network at once, where they are in one mode now."""
    found = [(code, s) for code, part in parts_of(layer) if (s := switch_of(part)) is not None]
    if len({s.present for _, s in found}) != 1:
        return None

    def put(mode: str) -> None:
        for _, switch in found:
            switch.put(mode)

    lines = [re.sub(r"\blayer\b", lambda _, code=code: code, s.line) for code, s in found]  # type: ignore[misc]
    modes = (TRAIN, EVAL) if any(EVAL in s.modes for _, s in found) else (TRAIN,)
    return Switch(put, "; ".join(lines), found[0][1].present, modes)


def _by_name(layer: Any) -> Switch | None:
    """By an attribute that is true or false, or by a word."""
    for name in (*FLAGS, *REVERSED):
        if isinstance(flag := getattr(layer, name, None), bool) and not _is_fixed(layer, name):
            on = EVAL if name in REVERSED else TRAIN
            off = TRAIN if on == EVAL else EVAL
            # a frozen layer may refuse to go back: only who asks for it gets that mode
            modes = (TRAIN,) if name == "trainable" and flag and _freezes(layer) else (TRAIN, EVAL)
            put = _setter(layer, name, {on: True, off: False})
            return Switch(put, f"layer.{name} = mode == {on!r}", on if flag else off, modes)
    word = getattr(layer, "mode", None)
    if isinstance(word, str) and (present := _meant(word)):
        said = {present: word, (other := _other(present)): _word(forward_of(layer), other)}
        return Switch(_setter(layer, "mode", said), f"layer.mode = {said!r}[mode]", present)
    return None


def _freezes(layer: Any) -> bool:
    """Whether its `trainable` is no mode of forward, or one that backward goes by too: it may refuse, or leave gradients out."""
    forward = getattr(forward_of(layer), "__name__", "")
    return "trainable" in _names(layer, "backward") or "trainable" not in _names(layer, forward)


def _names(layer: Any, method: str) -> set[str]:
    """The attributes that a method names, and the methods of the layer that it calls by its own names."""
    found, waiting = set[str](), [method]
    for name in waiting:  # which grows on the way
        function = getattr_static(type(layer), name, None)
        if isinstance(function, FunctionType):
            waiting += [n for n in function.__code__.co_names if n not in waiting]
            found |= {*function.__code__.co_names}
    return found


def _is_fixed(layer: Any, name: str) -> bool:
    member = getattr(type(layer), name, None)
    return isinstance(member, property) and member.fset is None


def _setter(layer: Any, name: str, values: Mapping[str, Any]) -> Callable[[str], None]:
    return lambda mode: setattr(layer, name, values[mode])


def _other(mode: str) -> str:
    return EVAL if mode == TRAIN else TRAIN


def _meant(word: str) -> str:
    return next((mode for mode, words in SAID.items() if word.lower() in words), "")


def _word(function: Any, mode: str) -> str:
    """What the code of a forward calls a mode."""
    return _words(function).get(mode, SAID[mode][0])


def _words(function: Any) -> dict[str, str]:
    """{mode: what the code of a forward calls it}, of those that it names."""
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    held = code.co_consts if isinstance(code, CodeType) else ()
    said = [word for c in held for word in (c if isinstance(c, (tuple, frozenset)) else (c,))]
    return {mode: next(w for w in words if w in said) for mode, words in SAID.items() if any(w in said for w in words)}


def forward_of(layer: Any) -> Callable[..., Any] | None:
    """The function that computes a layer's outputs: `forward`, the first of a pair, or the callable itself where there is no
    forward, or one that `__call__` is to be put around."""
    if isinstance(layer, type):
        return None
    if isinstance(layer, tuple):
        return layer[0] if layer and callable(layer[0]) else None
    kind: Any = type(layer)
    forward = getattr(layer, "forward", None)
    found = forward if callable(forward) and not _keeps_in_call(kind) else layer
    return found if callable(found) else None


@cache
def _keeps_in_call(kind: type) -> bool:
    """Whether the `__call__` of a class calls its forward, and keeps for its backward what forward does not: the inputs."""
    found = [getattr_static(kind, n, None) for n in ("__call__", "forward", "backward")]
    codes = [f.__code__ for f in found if isinstance(f, FunctionType)]
    if len(codes) < len(found):
        return False
    call, forward, backward = codes
    kept = {*call.co_names} & {*backward.co_names} - {*forward.co_names, *dir(np.ndarray), *found[0].__globals__}
    asked = [c.co_varnames[1 : c.co_argcount] for c in (call, forward)]
    return "forward" in call.co_names and bool(kept) and asked[0] == asked[1]


def keywords_of_modes(layer: Any, inputs: int, given: Container[str]) -> Mapping[str, Mapping[str, Any]]:
    """{mode: keywords of forward}, the mode of its default first; empty where none of its keywords is one.

    Args:
        layer: an object with forward, a pair of functions, or a function.
        inputs: how many arguments it is called with by position.
        given: the keywords that the caller has chosen.
    """
    for p in _open_parameters(forward_of(layer), inputs, given):
        if p.default is True or p.default is False or p.default is p.empty:
            if p.name in FLAGS:
                return _flag(p, TRAIN)
            if p.name in REVERSED:
                return _flag(p, EVAL)
        if p.name == "mode" and isinstance(p.default, str) and (present := _meant(p.default)):
            other = _other(present)
            return {present: {"mode": p.default}, other: {"mode": _word(forward_of(layer), other)}}
        if p.name == "mode" and p.default is p.empty and (said := _words(forward_of(layer))):
            return {mode: {"mode": said.get(mode, SAID[mode][0])} for mode in (TRAIN, EVAL)}
    return {}


def _open_parameters(function: Any, inputs: int, given: Container[str]) -> list[inspect.Parameter]:
    try:
        parameters = parameters_of(function)
    except (TypeError, ValueError):
        return []
    taken = 0
    found = []
    for p in parameters:
        if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD, p.POSITIONAL_ONLY) or p.name in given:
            continue
        if p.kind is p.POSITIONAL_OR_KEYWORD and taken < inputs:
            taken += 1
        else:
            found.append(p)
    return found


def _flag(p: inspect.Parameter, on: str) -> dict[str, dict[str, bool]]:
    off = _other(on)
    present = off if p.default is False else on if p.default is True else TRAIN
    return {mode: {p.name: mode == on} for mode in (present, _other(present))}


def present_mode(layer: Any, inputs: int = 0, given: Container[str] = ()) -> str | None:
    """The mode a layer is in, or that its forward takes by default; None where it has no modes."""
    words = keywords_of_modes(layer, inputs, given)
    if words:
        return next(iter(words))
    switch = switch_of(layer)
    return switch.present if switch else None


def usual_modes(layer: Any, inputs: int) -> tuple[str, ...]:
    """The modes to be asked about where nobody says which; none where it has none."""
    if keywords_of_modes(layer, inputs, ()):
        return (TRAIN, EVAL)
    switch = switch_of(layer)
    return switch.modes if switch else ()
