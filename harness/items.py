"""`parametrize`: a pytest item for every (layer, check, mode)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from harness.api import check
from harness.checks import selected
from harness.examples.sample import buildable, layer_name, modes_of
from harness.outcome import GradientError, NotVerified, Outcome, SpecError
from harness.reading.signatures import spelt
from harness.render.text import evidence
from harness.report import Report, Result
from harness.spec import LayerSpec


@dataclass
class Run:
    """A spec in one mode with how it is to be run; its results are computed when the first item asks, and kept."""

    spec: LayerSpec
    name: str
    mode: str | None
    only: Sequence[str]
    skip: Sequence[str]
    settings: Mapping[str, Any]

    @cached_property
    def report(self) -> Report:
        """Every selected check in this mode."""
        return check(
            replace(self.spec, name=self.name, modes=self._modes()),
            examples=self.settings["examples"],
            seed=self.settings["seed"],
            device=self.settings["device"],
            only=self.only,
            skip=self.skip,
            gaps=False,
        )

    def _modes(self) -> Sequence[str] | Mapping[str, Mapping[str, Any]]:
        if self.mode is None:
            return ()
        return {self.mode: self.spec.modes[self.mode]} if isinstance(self.spec.modes, Mapping) else (self.mode,)

    @property
    def done(self) -> Report | None:
        """The report, None where no item has asked for it."""
        return self.__dict__.get("report")


@dataclass(frozen=True)
class Item:
    """One check of one layer in one mode; calling it passes, raises or skips."""

    run: Run
    check: str
    inconclusive: str = "fail"
    asked: list[bool] = field(default_factory=list, compare=False)
    """Not empty once its result was asked for."""

    @property
    def id(self) -> str:
        """`MyLayer-parameter_gradient-train`."""
        return "-".join(part for part in (self.run.name, self.check, self.run.mode) if part)

    @property
    def gap(self) -> str | None:
        """Why this check is known to fail; None where it is not."""
        return self.run.spec.gaps.get(self.check)

    @property
    def result(self) -> Result:
        """This item's result; the first of a (layer, mode) runs them all."""
        self.asked.append(True)
        return next(r for r in self.run.report.results if r.check == self.check)

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
            raise NotVerified(f"not verified: {result.reason}", self.run.report)
        if result.outcome is not Outcome.PASS:
            raise GradientError(_message(result), self.run.report)

    def __repr__(self) -> str:
        return self.id


def _message(result: Result) -> str:
    """What a failing item says: the reason, the evidence where there is some, and a script that shows it."""
    said = [f"{result.outcome.value}: {result.reason}"]
    if result.finding:
        said.append(evidence(result))
        if result.finding.reproduce:
            said.append(f"\nreproduce:\n{result.finding.reproduce}")
    return "\n".join(said)


@dataclass(frozen=True)
class Unbuilt:
    """The one item of a spec whose build raises."""

    name: str
    why: str
    run: None = None
    gap: None = None
    asked: list[bool] = field(default_factory=list, compare=False)

    @property
    def id(self) -> str:
        """`MyLayer-build`."""
        return f"{self.name}-build"

    def __call__(self) -> None:
        """Raise `GradientError` with what build raised."""
        __tracebackhide__ = True
        self.asked.append(True)
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
        runs = [Run(spec, name, mode, self.only, self.skip, settings) for mode in modes_of(spec)]
        return [Item(run, c.name, inconclusive) for run in runs for c in selected(self.only, self.skip)]


def unique_names(specs: Iterable[LayerSpec]) -> dict[str, LayerSpec]:
    """{name: spec}.

    Raises:
        SpecError: two specs have one name.
    """
    named: dict[str, LayerSpec] = {}
    for spec in specs:
        name = layer_name(spec)
        if name in named:
            raise SpecError(
                f"two specs have the name {name!r}: {named[name]} and {spec}; give one of them another name="
            )
        named[name] = spec
    return named


@spelt
def parametrize(
    *specs: LayerSpec | Iterable[LayerSpec],
    examples: int | None = None,
    only: Sequence[str] = (),
    skip: Sequence[str] = (),
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a test function that takes `case` one pytest item for every layer, check and mode.

    Args:
        specs: specs, or iterables of them.
        examples: in each mode; the command line and the ini key come before it.
        only: check or group names to run; default all.
        skip: check or group names to leave out.

    Returns:
        A decorator of the test function, whose `case()` passes, raises GradientError or NotVerified, or skips.

    Raises:
        SpecError: something that is no spec, an unknown check, or no example.

    Example:
        >>> from harness import LayerSpec
        >>> class Square:
        ...     def forward(self, x):
        ...         self.x = x
        ...         return x**2
        ...
        ...     def backward(self, dy):
        ...         return 2 * self.x * dy
        >>> @parametrize(LayerSpec(build=Square, inputs="B D"))
        ... def test_gradcheck(case):
        ...     case()
    """
    only, skip = ((words,) if isinstance(words, str) else tuple(words) for words in (only, skip))
    plan = Parametrized(_flat(specs), only, skip, {} if examples is None else {"examples": examples})
    selected(only, skip)
    if examples is not None and examples < 1:
        raise SpecError(f"examples={examples}: at least one is needed")

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        if hasattr(function, "_harness"):
            raise SpecError(f"{function.__name__} is parametrized twice: give all specs to one parametrize(...)")
        function._harness = plan  # type: ignore[attr-defined]
        return function

    return decorate


def _flat(specs: Iterable[Any]) -> tuple[LayerSpec, ...]:
    """The specs, those in iterables too."""
    flat: list[Any] = []
    for s in specs:
        flat.extend([s] if isinstance(s, LayerSpec) or not isinstance(s, Iterable) else s)
    for stranger in (s for s in flat if not isinstance(s, LayerSpec)):
        kind = getattr(stranger, "__name__", type(stranger).__name__)
        wrap = "wrap it as LayerSpec(build=..., inputs=...)"
        if kind.startswith("test"):  # the decorator without its brackets
            wrap = f"write @parametrize(LayerSpec(build=..., inputs=...)) above {kind}(case)"
        raise SpecError(f"parametrize takes LayerSpecs, not {kind}: {wrap}")
    if not flat:
        raise SpecError("parametrize was given no spec: nothing would be checked")
    return tuple(flat)
