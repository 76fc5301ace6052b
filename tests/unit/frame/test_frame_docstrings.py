"""Every name of the public interface is documented with an example, and each example does what it says."""

from __future__ import annotations

import doctest
import inspect
from typing import Any

import pytest

import harness

PUBLIC = [(name, getattr(harness, name)) for name in harness.__all__]
FUNCTIONS = [(name, thing) for name, thing in PUBLIC if inspect.isfunction(thing)]


def numbered(things: list[Any]) -> dict[str, list[Any]]:
    """Parameters whose ids are numbers: one that holds "gradcheck" would be selected among the items of layers."""
    return {"argvalues": things, "ids": [str(k) for k in range(len(things))]}


def examples(thing: Any, name: str) -> list[doctest.DocTest]:
    """The doctests of its own docstring, in the namespace of its module."""
    space = dict(vars(inspect.getmodule(thing)))
    found = doctest.DocTestParser().get_doctest(thing.__doc__, space, name, None, None)
    return [found] if found.examples else []


@pytest.mark.parametrize(("name", "thing"), **numbered(PUBLIC))
def test_a_public_name_shows_an_example_that_holds(name, thing, recwarn):
    found = examples(thing, name)
    assert found, f"{name} has no example"
    for test in found:
        assert doctest.DocTestRunner().run(test).failed == 0


def sections(thing: Any) -> set[str]:
    return {line.strip(" :") for line in inspect.getdoc(thing).splitlines() if line.endswith(":") and line[0] != " "}


@pytest.mark.parametrize(("name", "thing"), **numbered(FUNCTIONS))
def test_a_public_function_says_what_it_takes_returns_and_raises(name, thing):
    assert {"Args", "Example"} <= sections(thing)
    documented = {line.split(":")[0].strip() for line in thing.__doc__.splitlines() if line.startswith(" " * 8)}
    asked = {p.name for p in inspect.signature(thing).parameters.values() if p.kind is not p.VAR_KEYWORD}
    assert asked - documented == set()


def test_an_example_that_does_not_hold_is_seen():
    def wrong():
        """Adds.

        Example:
            >>> 1 + 1
            3
        """

    (test,) = examples(wrong, "wrong")
    assert doctest.DocTestRunner(verbose=False).run(test, out=lambda _: None).failed == 1
