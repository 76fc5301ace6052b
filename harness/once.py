"""What is computed once an object: a judge asks a case for some dozen such things, at every layer and input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar, overload

T = TypeVar("T")


class once(Generic[T]):  # noqa: N801  (read as the decorator that it is)
    """`functools.cached_property` without the lock that it has before Python 3.12, at half the time: nothing here is shared
    between threads."""

    def __init__(self, find: Callable[[Any], T]) -> None:
        self.find, self.name, self.__doc__ = find, find.__name__, find.__doc__

    @overload
    def __get__(self, thing: None, owner: type) -> Self: ...
    @overload
    def __get__(self, thing: object, owner: type) -> T: ...
    def __get__(self, thing: Any, owner: type) -> Self | T:
        """Found at the first look; afterwards the attribute of the same name is what is looked at."""
        if thing is None:
            return self
        found = thing.__dict__[self.name] = self.find(thing)
        return found
