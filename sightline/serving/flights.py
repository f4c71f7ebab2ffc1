"""Work that may take long, done once for all who ask for it, and under no lock.

The first who asks for a name does the work; who asks for the same meanwhile waits for it, and nobody else
does. A result is kept, an error is told to those who waited and forgotten.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Final, Generic, TypeVar

from sightline.errors import OverloadedError, UnavailableError

Name = TypeVar("Name", bound=Hashable)
Result = TypeVar("Result")

WAIT_SECONDS: Final = 30.0
"""How long one who asks waits for what another began."""
MOST_WAITING: Final = 32
"""How many wait for one and the same: each holds a thread and a place in the queue of searches."""


class Flights(Generic[Name, Result]):
    """Results by name, each made once. Thread-safe; ``what`` names one in sentences."""

    def __init__(self, what: str, seconds: float = WAIT_SECONDS, most: int = MOST_WAITING) -> None:
        self._what = what
        self._seconds = seconds
        self._most = most
        self._lock = threading.Lock()  # held for looking into the dictionaries, and for nothing else
        self._made: dict[Name, Result] = {}
        self._flying: dict[Name, Future[Result]] = {}
        self._waiting: dict[Name, int] = {}

    def get(self, name: Name, make: Callable[[], Result]) -> Result:
        """The result, made by this caller when nobody has it or makes it. Errors of ``make`` are passed on.

        Raises:
            OverloadedError: so many wait for it already that one more is refused.
            UnavailableError: another makes it, and was not ready in time.
        """
        with self._lock:
            if name in self._made:
                return self._made[name]
            flying = self._flying.get(name)
            if flying is None:
                begun = self._flying[name] = Future[Result]()
            elif self._waiting.get(name, 0) >= self._most:
                raise OverloadedError(f"{self._most} requests wait for {self._what} already; try again soon.")
            else:
                self._waiting[name] = self._waiting.get(name, 0) + 1
        return self._make(name, begun, make) if flying is None else self._wait(name, flying)

    def made(self) -> list[Name]:
        """Names of what is there; never waits for what is being made."""
        with self._lock:
            return list(self._made)

    def _make(self, name: Name, begun: Future[Result], make: Callable[[], Result]) -> Result:
        try:
            result = make()
        except BaseException as error:
            with self._lock:
                del self._flying[name]
            begun.set_exception(error)
            raise
        with self._lock:
            self._made[name] = result
            del self._flying[name]
        begun.set_result(result)
        return result

    def _wait(self, name: Name, flying: Future[Result]) -> Result:
        try:
            return flying.result(self._seconds)
        except TimeoutError:
            if flying.done():  # just now, or the error is the work's own
                return flying.result(0)
            raise UnavailableError(
                f"This process is still busy with {self._what}; ask again in a moment."
            ) from None
        finally:
            with self._lock:
                self._waiting[name] -= 1
                if not self._waiting[name]:
                    del self._waiting[name]
