"""Objects that stand around the user's own, whose forward and backward are spelt otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from harness.conventions import attributes
from harness.request import Request
from harness.scripts import recipe
from harness.subject import Recipe, Subject


def subject_around(
    request: Request, around: Any, forward: Sequence[str], back: Sequence[str], said: str = ""
) -> Subject:
    """The subject of such an object, under the name of what it stands around.

    Args:
        request: what is asked of the user's own.
        around: an object with `__call__(*inputs, **keywords)` and `backward(cotangent)`, which holds it as `wrapped`.
        forward: the lines of a script that do the same as the first, with `inputs` and `words`, and set `self.outputs`.
        back: those that do the same as the second, with `self.inputs` and `v`, and return gradients.
        said: a note on what backward is taken to be.
    """
    made: Subject = attributes.subject(replace(request, layer=around))
    plain, notes = made.recipe, (said, *made.notes) if said else made.notes
    if plain is None:
        return replace(made, name=type(request.layer).__name__, notes=notes)

    def written() -> Recipe:
        return recipe.adapted(plain(), request.layer, request.made, forward, back)

    return replace(made, name=type(request.layer).__name__, recipe=written, notes=notes)
