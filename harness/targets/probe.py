"""How a layer without a spec may be made and called: found by trying what people commonly write."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from itertools import islice

import torch

from harness.api import undisturbed
from harness.case import Case
from harness.domain import BackwardRaised, Refused
from harness.examples.cases import case_of
from harness.examples.design import Example, examples
from harness.examples.sample import modes_of
from harness.kinds import Floats
from harness.outcome import ElsewhereError, SpecError
from harness.spec import LayerSpec
from harness.targets.candidates import Candidate
from harness.targets.guesses import Guess, guesses
from harness.targets.made import LAYERS, parts_of
from harness.wanted import told

MOST = 400
"""Guesses that are tried."""

FEW = 6
"""Examples that a guess is held to."""

SIZES = (3, 5, 4, 7, 2, 6, 8, 9)
"""Sizes that differ from one another, so that axes which are not the same are not taken for it."""


@dataclass(frozen=True)
class Probed:
    """What came of trying."""

    guess: Guess
    spec: LayerSpec | None
    why: str = ""
    """Why there is no spec."""


def probe(candidate: Candidate, device: str = "cpu") -> Probed:
    """The first guess at which forward and backward go through; of a class for which there is none, one for an object of it that
    the module holds; else what is to be filled in, and why."""
    found = _probed(candidate, device)
    made = [n for n, v in vars(candidate.module).items() if candidate.makes and type(v) is candidate.layer]
    for name in made if found.spec is None else []:
        other = _probed(replace(candidate, layer=vars(candidate.module)[name], source=name), device)
        if other.spec is not None:
            return other
    return found


def _probed(candidate: Candidate, device: str) -> Probed:
    """The first guess at which forward and backward go through, best where every gradient has its tensor's shape, and what sees
    differences alone is given no probabilities.

    After that, where it has but some examples are refused (a batch of one has no variance).
    """
    if (named := candidate.variadic()) and not (named in LAYERS and parts_of(candidate)):
        return Probed(Guess.blank(candidate), None, f"its constructor takes any number of {named}")
    first: Guess | None = None
    mode: str | None = None
    why = ""
    second_best: Probed | None = None
    refusing: Probed | None = None
    halfway: Probed | None = None  # it may be the layer's fault: the command shows it
    for guess in islice(guesses(candidate), MOST):
        try:
            spec = guess.spec(candidate)
            if first is None:
                first, mode = guess, modes_of(spec)[0]
            shaped, refused = _goes(spec, mode, torch.device(device))
        except ElsewhereError as error:
            return Probed(Guess.blank(candidate), None, str(error))
        except BackwardRaised as error:
            halfway = halfway or Probed(guess, None, told(error, device, error.told()))
            continue
        except (Refused, SpecError) as error:
            why = why or told(error, device)
            continue
        if shaped and refused <= 1:
            return Probed(guess, spec)
        if shaped and refused < FEW / 2:
            refusing = refusing or Probed(guess, spec)
        elif refused <= 1:
            second_best = second_best or Probed(guess, spec)
        else:
            why = why or f"{refused} of {FEW} examples are refused"
    if first is None:
        asked = ", ".join(candidate.inputs()) or "nothing"
        return Probed(Guess.blank(candidate), None, f"its forward asks for {asked}")
    return refusing or second_best or halfway or Probed(Guess.blank(candidate), None, why)


def _goes(spec: LayerSpec, mode: str | None, device: torch.device) -> tuple[bool, int]:
    """Whether every gradient of the layer has its tensor's shape, at inputs that it is made for, and how many of a few examples
    are refused.

    Raises:
        Refused, BackwardRaised, SpecError: the layer is not made and called so.
    """
    names = [*spec.sizes]
    shaped = True
    with undisturbed(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a guess that may be wrong
        for shift in (0, 1):
            sizes = {n: SIZES[(k + shift) % len(SIZES)] for k, n in enumerate(names)}
            case = _case(spec, Example(sizes, {}, seed=shift), mode, device)
            if not case.wanted:
                raise SpecError(f"of {', '.join(case.leaves)} nothing has a gradient")
            shaped = shaped and not _of_logits(case)
            shaped = shaped and all(
                (g := case.base.gradients.get(n)) is not None and g.shape == case.leaves[n].shape for n in case.wanted
            )
        refused = sum(_refuses(spec, example, mode, device) for example in examples(spec, FEW, 0))
    return shaped, refused


def _of_logits(case: Case) -> bool:
    """Whether a loss that is given numbers between 0 and 1 sees nothing but their differences: no probabilities then, and as
    large as they like."""
    name = next(iter(case.leaves), "")
    if not isinstance(kind := case.domains.get(name), Floats) or (kind.low, kind.high) != (0, 1):
        return False
    try:
        moved = case.forward({**case.leaves, name: case.leaves[name] + 1}).outputs
    except Refused:
        return False
    return all(torch.allclose(a, b, rtol=1e-9, atol=0.0) for a, b in zip(moved, case.base.outputs, strict=True))


def _case(spec: LayerSpec, example: Example, mode: str | None, device: torch.device) -> Case:
    case, _ = case_of(spec, example, mode, device, None)
    _ = case.base
    return case


def _refuses(spec: LayerSpec, example: Example, mode: str | None, device: torch.device) -> bool:
    try:
        _case(spec, example, mode, device)
    except Refused:
        return True
    except BackwardRaised:
        return False
    return False
