"""SQL functions as methods of the catalog, one transaction each.

``job = read(find_job)`` makes of ``find_job(connection, job_id)`` the method ``catalog.job(job_id)``. Type
checkers see the function's parameters, ``help`` shows them, and nobody repeats them.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from sqlalchemy import Connection

from sightline.store.database import Database

_SERVER_TIME = "SELECT extract(epoch FROM clock_timestamp())::float8"

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
Class = TypeVar("Class", bound=type)


class Place(Protocol):
    """What such a method needs of its object: the database, and the clock; None is the database's own."""

    database: Database
    clock: Callable[[], float] | None


def _now(place: Place, connection: Connection) -> float:
    """Seconds since the epoch, by the one clock that all processes share: they only measure what passes.

    SQLite has none of its own: all its processes are on one machine.
    """
    if place.clock is not None:
        return place.clock()
    if connection.dialect.name == "postgresql":
        return float(connection.exec_driver_sql(_SERVER_TIME).scalar_one())
    return time.time()


def read(
    statement: Callable[Concatenate[Connection, Parameters], Result],
) -> Callable[Concatenate[Place, Parameters], Result]:
    """All that the method reads is of one instant."""

    def method(place: Place, /, *args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        return place.database.read(lambda connection: statement(connection, *args, **kwargs))

    _describe(method, statement, given=1)
    return method


def read_at(
    statement: Callable[Concatenate[Connection, float, Parameters], Result],
) -> Callable[Concatenate[Place, Parameters], Result]:
    """As ``read``, for a function that is told the time."""

    def method(place: Place, /, *args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        return place.database.read(
            lambda connection: statement(connection, _now(place, connection), *args, **kwargs)
        )

    _describe(method, statement, given=2)
    return method


def write(
    statement: Callable[Concatenate[Connection, Parameters], Result],
) -> Callable[Concatenate[Place, Parameters], Result]:
    """All that the method writes, or nothing."""

    def method(place: Place, /, *args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        return place.database.write(lambda connection: statement(connection, *args, **kwargs))

    _describe(method, statement, given=1)
    return method


def write_at(
    statement: Callable[Concatenate[Connection, float, Parameters], Result],
) -> Callable[Concatenate[Place, Parameters], Result]:
    """As ``write``, for a function that is told the time."""

    def method(place: Place, /, *args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        return place.database.write(
            lambda connection: statement(connection, _now(place, connection), *args, **kwargs)
        )

    _describe(method, statement, given=2)
    return method


def _describe(method: Any, statement: Callable[..., object], given: int) -> None:
    """Gives it the docstring and the signature of the function, but for the ``given`` first parameters."""
    signature = inspect.signature(statement)
    own = list(signature.parameters.values())[given:]
    itself = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    method.__signature__ = signature.replace(parameters=[itself, *own])
    method.__doc__ = statement.__doc__
    method.__module__ = statement.__module__


def named(catalog: Class) -> Class:
    """Gives the methods of a class the names that they have there."""
    for name, method in vars(catalog).items():
        if inspect.isfunction(method):
            method.__name__, method.__qualname__ = name, f"{catalog.__name__}.{name}"
    return catalog
