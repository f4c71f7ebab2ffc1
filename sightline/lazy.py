"""A part that is made on first use, once, also when several threads ask at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar, overload

Part = TypeVar("Part")


class HasLock(Protocol):
    """An object whose parts are made under one lock (reentrant: one part may need another)."""

    lock: threading.RLock


class once(Generic[Part]):  # noqa: N801 - a decorator, named like `property`
    """Like ``functools.cached_property`` with the lock that Python 3.12 removed from it."""

    def __init__(self, make: Callable[[Any], Part]) -> None:
        self._make = make
        self._name = make.__name__
        self.__doc__ = make.__doc__

    @overload
    def __get__(self, instance: None, owner: type) -> once[Part]: ...
    @overload
    def __get__(self, instance: HasLock, owner: type) -> Part: ...

    def __get__(self, instance: HasLock | None, owner: type) -> Part | once[Part]:
        if instance is None:
            return self
        with instance.lock:
            parts = vars(instance)
            if self._name not in parts:
                # From now on the attribute is found in the instance, without this descriptor.
                parts[self._name] = self._make(instance)
            made: Part = parts[self._name]
            return made


def is_made(instance: HasLock, name: str) -> bool:
    """Whether a part exists already, without making it."""
    return name in vars(instance)
