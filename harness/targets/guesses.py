"""How a layer without a spec may be made and called: what people commonly write, the likelier first."""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, product

from harness.builds import from_string
from harness.reading.handed import FIRST, predicted_first
from harness.reading.members import derivative_of, operation_of
from harness.spec import RESERVED, LayerSpec
from harness.targets.candidates import Candidate, is_whole
from harness.targets.find import is_expression, kind_of, names_in, sizes_drawn
from harness.targets.handed_over import DICTS as HANDED
from harness.targets.handed_over import parameters_among, written_over
from harness.targets.made import (
    LAYERS,
    asked_for,
    initialised,
    layers_written,
    optimizer_of,
    parts_of,
    sizes_inside,
    written_as,
)
from harness.targets.shapes import (
    LIST,
    STEPS,
    WINDOWS,
    first_inputs,
    is_list,
    lookups,
    losses,
    of_probabilities,
    other_inputs,
)
from harness.tensors.library import imported_beside, library_of

RATES = ("p", "rate", "prob", "keep", "ratio", "drop", "slope", "alpha", "momentum", "scale", "temperature", "beta")
"""How constructors' parameters that are no sizes begin, or end after an underscore: 0.5 does for all of them."""

MATRICES = ("W", "w", "weight", "weights", "param")
VECTORS = ("b", "bias", "biases", "beta", "shift")
SCALES = ("gamma",)
"""What constructors' parameters are called that are arrays; a bias is one beside a weight."""

SWITCHES = ("bias", "use_bias", "affine", "causal")
"""Those that are on or off."""

SMALL = ("eps", "epsilon", "ε")
"""What a forward is given beside arrays that is a small number."""

DIVISORS = ("num_heads", "n_heads", "n_head", "nhead", "heads", "num_head", "num_groups", "n_groups", "groups")
"""Those that divide another size."""

SEVERAL = ("shape", "sizes", "dims", "units")
"""How those end that are several sizes at once."""

TUPLES = ("(D, 3)", "(D,)", "(D, H, W)", "(D, H)", "[D, 4, 3]")
"""What these may be."""

SETTINGS = ("param", "params", "config", "mode", "training", "is_train")
"""How forward's parameters end that are no arrays."""

DICTS = ("_param", "_params", "_config")
"""How those of them end that are dicts."""

GIVEN = "{'mode': 'train', 'p': 0.5}"
"""What such a dict says."""

SCALARS = {"float": "lambda B: 0.5", "int": "lambda B: 2", "bool": "lambda B: True"}
"""What forward is given that is annotated so. A graph's operations call their arrays numbers (minitorch)."""

WITH_LOSS = "(lambda model: value_and_grad(model.loss, params=model.params))({})"
"""A whole model, whose loss returns its gradients too."""


@dataclass(frozen=True)
class Guess:
    """`--build` and `--inputs` as they would be written."""

    build: str
    inputs: tuple[str, ...]

    def spec(self, candidate: Candidate) -> LayerSpec:
        """The spec that they make."""
        kinds = tuple(kind_of(word, candidate.namespace) for word in self.inputs)
        drawn = sizes_drawn(kinds)
        sizes = LayerSpec(build=object, inputs=kinds, dims=drawn)
        own = [d for d in _dimensions(candidate) if d in names_in(self.build)]
        made = from_string(self.build, {*sizes.sizes, *own, *RESERVED}, dict(candidate.namespace))
        dims = drawn | {n: range(1, 7) for n in own if n not in sizes.sizes}
        return LayerSpec(build=made, inputs=kinds, name=candidate.name, dims=dims)

    @classmethod
    def blank(cls, candidate: Candidate) -> Guess:
        """What is to be filled in, by the parameters' own names."""
        asked = [f"{p.name}=…" for p in candidate.construction()]
        if named := candidate.variadic():
            asked.append(f"{named}…")
        build = f"{candidate.source}({', '.join(asked)})" if candidate.makes else candidate.source
        if is_whole(candidate.layer):
            return cls(WITH_LOSS.format(build), ("…", "…"))
        words = [
            "lambda rng: …" if n.lower() in HANDED and len(candidate.inputs()) > 1 else "…" for n in candidate.inputs()
        ]
        return cls(build, tuple(words) or ("…",))

    def words(self) -> str:
        """As they are given to the command line."""
        return f"--build {shlex.quote(self.build)} --inputs {' '.join(map(shlex.quote, self.inputs))}"

    def written(self, spec: LayerSpec, more: str) -> str:
        """Its spec as it would be written in the file, with more words."""
        kinds = [word if is_expression(word) else repr(word) for word in self.inputs]
        dims = ", ".join(f"{n!r}: range(1, 7)" for n in spec.dims)
        parts = [f"build={self.build!r}", f"inputs={kinds[0] if len(kinds) == 1 else '(' + ', '.join(kinds) + ')'}"]
        return f"LayerSpec({', '.join([*parts, *([f'dims={{{dims}}}'] if dims else []), more])})"


def guesses(candidate: Candidate) -> Iterator[Guess]:
    """What people commonly write, the likelier first."""
    inputs = candidate.inputs()
    if is_whole(candidate.layer):
        yield from _of_whole(candidate)
        return
    if any(p.name == "mode" for p in candidate.construction()):  # of pooling, say: which there are nobody knows
        return
    if told := _told(candidate, inputs):
        yield from _beside(told, [n for n in inputs if not n.endswith(DICTS)])
    elif parameters_among(candidate):
        yield from (Guess(candidate.source, words) for words in written_over(candidate))
    elif inputs and not any(name.endswith(SETTINGS) for name in inputs):
        yield from _beside(candidate, inputs)


def _of_whole(candidate: Candidate) -> Iterator[Guess]:
    """A model and its targets, by the sizes that stand in it: classes first, as many as the last of them."""
    build = WITH_LOSS.format(f"{candidate.source}({', '.join(_arguments(candidate, {}))})")
    words = [shape for _, shape in _inside(candidate, build)]
    sizes = [w.removeprefix("B ") for w in words if w.startswith("B ") and w.count(" ") == 1]
    labels = [f'ints("B", below={size})' for size in reversed(sizes) if size.isdigit()]
    labels += [f'ints("B", below="{size}")' for size in reversed(sizes) if not size.isdigit()]
    for word in dict.fromkeys(words):
        yield from (Guess(build, (word, target)) for target in (*labels, *(f"B {n}" for n in sizes), "B"))


def _told(candidate: Candidate, inputs: Sequence[str]) -> Candidate | None:
    """A pair whose forward asks for a dict of settings beside arrays, as CS231n's `bn_param`, with the settings that most ask for."""
    named = [n for n in inputs if n.endswith(DICTS)]
    arrays = [n for n in inputs if n not in named]
    if (
        len(named) != 1
        or not arrays
        or not isinstance(candidate.layer, tuple)
        or any(n.endswith(SETTINGS) for n in arrays)
    ):
        return None
    forward, backward = candidate.source.strip("()").split(", ")
    given = ", ".join(GIVEN if n in named else n for n in inputs)
    return replace(candidate, source=f"(lambda {', '.join(arrays)}: {forward}({given}), {backward})")


def _beside(candidate: Candidate, inputs: Sequence[str]) -> Iterator[Guess]:
    """The guesses at these inputs of forward, beside which it asks for no settings."""
    dims = _dimensions(candidate)
    divisor = next((d for d in dims if d in DIVISORS), "")
    divided = {d: f"{divisor}*{d}" for d in dims if divisor and d != divisor and not d.startswith((*WINDOWS, *STEPS))}
    arrays = _arrays(candidate.construction())
    several = [p.name for p in candidate.construction() if _is_tuple(p)]
    for shapes in zip(*arrays.values(), strict=True) if arrays else [()]:
        drawn = {n: _drawn(shape, candidate) for n, shape in zip(arrays, shapes, strict=True)}
        one = any(n.endswith("units") for n in several)  # Keras' is one size, an MLP's may be several
        for sizes in ("", *TUPLES) if one else TUPLES if several else [""]:
            given = drawn | (dict.fromkeys(several, sizes) if sizes else {})
            yield from _guesses_of(candidate, inputs, {**divided, **given}, given)


def _is_tuple(parameter: inspect.Parameter) -> bool:
    """Whether a constructor's parameter is several sizes at once."""
    said = getattr(parameter.annotation, "__name__", str(parameter.annotation)).lower()
    return parameter.name.split("_")[-1] in SEVERAL or said.startswith(("tuple", "list[int", "sequence[int"))


def _arrays(parameters: Sequence[inspect.Parameter]) -> dict[str, tuple[str, ...]]:
    """{a constructor's parameter that is an array: its shape, in each way in which it may be one}."""
    found: dict[str, tuple[str, ...]] = {}
    for p in parameters:
        said = getattr(p.annotation, "__name__", str(p.annotation))
        if p.name in MATRICES or (
            p.name not in VECTORS and any(word in said for word in ("ndarray", "NDArray", "Tensor"))
        ):
            found[p.name] = ("(D, 3)", "(3, D)", "(3, D, 2, 2)", "D")
        elif p.name in SCALES:
            found[p.name] = ("D",) * 4
    if found:
        found |= {
            p.name: ("D",) * 4 if {*found} & {*SCALES} else ("3", "3", "3", "D")
            for p in parameters
            if p.name in VECTORS
        }
    return {p.name: found[p.name] for p in parameters if p.name in found}


def _drawn(shape: str, candidate: Candidate) -> str:
    """The code of an array of this shape."""
    library = library_of(candidate.layer) or imported_beside(candidate.layer)
    if library == "torch" and "torch" in candidate.namespace:
        return f"torch.randn({shape.strip('()')})"
    return f"rng.normal(size={shape})"


def _guesses_of(
    candidate: Candidate, inputs: Sequence[str], written: Mapping[str, str], arrays: Container[str]
) -> Iterator[Guess]:
    """The guesses, sizes and arrays of the constructor as they are `written` where that is not by their own name."""
    build = candidate.source
    if candidate.makes:
        build = f"{build}({', '.join(_arguments(candidate, written))})"
    if optimizer := optimizer_of(candidate):
        build = initialised(build, optimizer)
    divided = any(d in DIVISORS for d in _dimensions(candidate)) and len(written) > 0
    dims = [written.get(d, d) for d in _dimensions(candidate) if d not in arrays and not (divided and d in DIVISORS)]
    named = {n: "bool" if n in SWITCHES else "float" for n in inputs[1:] if n in (*SWITCHES, *SMALL)}
    scalars = {} if candidate.makes and operation_of(candidate.layer) else {**named, **candidate.scalars()}
    firsts = first_inputs(["D", *dims] if dims and (arrays or optimizer) else dims)
    firsts = [*firsts, *lookups(["D"])] if arrays else firsts
    if "embed" in candidate.name.lower():  # some take real numbers too, and cut off what is no whole one
        firsts = sorted(firsts, key=lambda first: not first[0].startswith("ints"))
    firsts = [(f"{shape}+1 W+1", f"{shape}+1 W+1") for shape in ("B D H",)] + firsts if "2, 2)" in build else firsts
    of_inputs_alone = isinstance(candidate.layer, tuple) or derivative_of(candidate.layer)
    if len(inputs) == 2 and inputs[1].lower() in FIRST and of_inputs_alone:
        firsts = [first for first in firsts if not first[0].startswith("ints")]  # what is predicted is a real number
    if predicted_first(inputs) != list(inputs) and len(inputs) == 2:  # a loss's target stands before its prediction
        yield from (Guess(build, (word, shape)) for shape, word in losses(candidate.name, inputs[0], firsts, dims))
    elif len(inputs) == 2 and inputs[1].lower() in FIRST and of_probabilities(candidate.name):
        yield from (Guess(build, words) for words in losses(candidate.name, inputs[1], firsts, dims))
    for word, shape in chain(firsts, _inside(candidate, build) if not arrays else ()):
        others = [other_inputs(name, shape, dims) for name in inputs[1:]]
        others = [
            [SCALARS[scalars[n]]] if n in scalars else _rated(words, candidate) if _is_rate(n) else words
            for n, words in zip(inputs[1:], others, strict=True)
        ]
        others = [
            [*words, word] if word not in words and words[0] not in (*SCALARS.values(),) and not dims else words
            for words in others
        ]
        for rest in product(*others):
            yield Guess(build, (word, *rest))
        if candidate.gathers:
            yield from (
                Guess(build, (word, *rest))
                for rest in ([word], [word, word], *([w] for w in other_inputs("", shape, dims)))
            )
    if len(inputs) == 1 and is_list(inputs[0], candidate.forward):
        yield Guess(build, (LIST,))


def _arguments(candidate: Candidate, written: Mapping[str, str]) -> list[str]:
    """What the constructor is given."""
    inner = {p.name: written.get(p.name, _argument(p)) for p in asked_for(candidate)}
    given = [written_as(candidate, p, inner) or inner[p.name] for p in candidate.construction()]
    return given + (layers_written(parts_of(candidate), inner) if candidate.variadic() in LAYERS else [])


def _inside(candidate: Candidate, build: str) -> Iterator[tuple[str, str]]:
    """Inputs by the sizes that stand in the layer; a generator, since it has to be made for that."""
    if candidate.makes or not (isinstance(candidate.layer, (tuple, type)) or inspect.isroutine(candidate.layer)):
        yield from sizes_inside(candidate, build, [d for d in _dimensions(candidate) if d in names_in(build)])


def _dimensions(candidate: Candidate) -> list[str]:
    parameters = asked_for(candidate)
    arrays = _arrays(parameters)
    return [p.name for p in parameters if _argument(p) == p.name and p.name not in (*arrays, *RESERVED)]


def _argument(parameter: inspect.Parameter) -> str:
    """A size by its own name, True, or 0.5."""
    if parameter.name in SWITCHES or parameter.annotation in (bool, "bool"):
        return "True"
    return "0.5" if parameter.annotation in (float, "float") or _is_rate(parameter.name) else parameter.name


def _rated(words: Sequence[str], candidate: Candidate) -> list[str]:
    """A number before an array, where an autograd.Function or operator that is given one may return nothing but None for it."""
    return [*words] if candidate.makes or isinstance(candidate.layer, tuple) else [SCALARS["float"], *words]


def _is_rate(name: str) -> bool:
    parts = name.split("_")
    return bool({parts[0], parts[-1]} & set(RATES)) and parts[-1] != "factor"
