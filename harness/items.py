"""`parametrize`: a pytest item for every (layer, check, mode)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from harness.api import buildable, check, layer_name, modes_of
from harness.checks import selected
from harness.outcome import GradientError, NotVerified, Outcome, SpecError
from harness.render.text import evidence
from harness.report import Report, Result
from harness.spec import LayerSpec


@dataclass
class Layer:
    """A spec with how it is to be run; its results are computed when the first item asks, and kept."""

    spec: LayerSpec
    name: str
    only: Sequence[str]
    skip: Sequence[str]
    settings: Mapping[str, Any]

    @cached_property
    def report(self) -> Report:
        """Every selected check in every mode."""
        return check(
            self.spec,
            examples=self.settings["examples"],
            seed=self.settings["seed"],
            device=self.settings["device"],
            only=self.only,
            skip=self.skip,
            gaps=False,
        )


@dataclass(frozen=True)
class Item:
    """One check of one layer in one mode; calling it passes, raises or skips."""

    layer: Layer
    check: str
    mode: str | None
    inconclusive: str = "fail"

    @property
    def id(self) -> str:
        """`MyLayer-parameter_gradient-train`."""
        return "-".join(part for part in (self.layer.name, self.check, self.mode) if part)

    @property
    def gap(self) -> str | None:
        """Why this check is known to fail; None where it is not."""
        return self.layer.spec.gaps.get(self.check)

    @property
    def result(self) -> Result:
        """This item's result; the first of a layer runs them all."""
        results = self.layer.report.results
        return next(r for r in results if (r.check, r.mode) == (self.check, self.mode))

    def __call__(self) -> None:
        """Return on PASS.

        Raises:
            GradientError: FAIL or ERROR.
            NotVerified: INCONCLUSIVE, unless the ini key `gradcheck_inconclusive` says skip.
        """
        __tracebackhide__ = True
        import pytest

        result = self.result
        if result.outcome is Outcome.SKIP:
            pytest.skip(result.reason)
        if result.outcome is Outcome.INCONCLUSIVE:
            if self.inconclusive == "skip":
                pytest.skip(f"not verified: {result.reason}")
            raise NotVerified(f"not verified: {result.reason}", self.layer.report)
        if result.outcome is not Outcome.PASS:
            raise GradientError(f"{result.outcome.value}: {result.reason}\n{evidence(result)}{_script(result)}", self.layer.report)

    def __repr__(self) -> str:
        return self.id


def _script(result: Result) -> str:
    return f"\n\nreproduce:\n{result.finding.reproduce}" if result.finding and result.finding.reproduce else ""


@dataclass(frozen=True)
class Unbuilt:
    """The one item of a spec whose build raises."""

    name: str
    why: str
    layer: None = None
    gap: None = None

    @property
    def id(self) -> str:
        """`MyLayer-build`."""
        return f"{self.name}-build"

    def __call__(self) -> None:
        """Raise `GradientError` with what build raised."""
        __tracebackhide__ = True
        raise GradientError(f"the spec {self.name} builds no layer: {self.why}")

    def __repr__(self) -> str:
        return self.id


@dataclass(frozen=True)
class Parametrized:
    """What the decorator leaves on the test function for the plugin."""

    specs: tuple[LayerSpec, ...]
    only: Sequence[str] = ()
    skip: Sequence[str] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    def items(self, settings: Mapping[str, Any], inconclusive: str) -> list[Item | Unbuilt]:
        """The items, in the order of specs, modes and checks.

        Raises:
            SpecError: two specs have one name.
        """
        named = unique_names(self.specs)
        return [item for name, spec in named.items() for item in self._of(spec, name, settings, inconclusive)]

    def _of(
        self, spec: LayerSpec, name: str, settings: Mapping[str, Any], inconclusive: str
    ) -> list[Item] | list[Unbuilt]:
        if why := buildable(spec):
            return [Unbuilt(name, why)]
        layer = Layer(spec, name, self.only, self.skip, settings)
        return [
            Item(layer, c.name, mode, inconclusive) for mode in modes_of(spec) for c in selected(self.only, self.skip)
        ]


def unique_names(specs: Iterable[LayerSpec]) -> dict[str, LayerSpec]:
    """{name: spec}.

    Raises:
        SpecError: two specs have one name.
    """
    named: dict[str, LayerSpec] = {}
    for spec in specs:
        name = layer_name(spec)
        if name in named:
            raise SpecError(f"two specs have the name {name!r}: {named[name]} and {spec}; give one of them another name=")
        named[name] = spec
    return named


def parametrize(
    *specs: LayerSpec | Iterable[LayerSpec], examples: int | None = None, only: Sequence[str] = (), skip: Sequence[str] = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a test function that takes `case` one pytest item for every layer, check and mode.

    Args:
        specs: specs, or iterables of them.
        examples: in each mode; the command line and the ini key come before it.
        only: check or group names to run; default all.
        skip: check or group names to leave out.

    Raises:
        SpecError: something that is no spec, or an unknown check.
    """
    flat: list[LayerSpec] = []
    for s in specs:
        flat.extend([s] if isinstance(s, LayerSpec) else list(s))
    if strangers := [s for s in flat if not isinstance(s, LayerSpec)]:
        raise SpecError(f"parametrize takes LayerSpecs, not {type(strangers[0]).__name__}: wrap it as LayerSpec(build=..., inputs=...)")
    selected(only, skip)
    settings = {} if examples is None else {"examples": examples}

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        function._harness = Parametrized(tuple(flat), tuple(only), tuple(skip), settings)  # type: ignore[attr-defined]
        return function

    return decorate


