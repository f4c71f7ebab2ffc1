"""Answers of a server as the records that the library gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from sightline.client.calls import unreadable

Record = TypeVar("Record")


def record_of(kind: type[Record], value: object) -> Record:
    """A record from its JSON; fields that it does not know are left out.

    Raises:
        UnavailableError: something is missing, so no server of this version wrote it.
    """
    try:
        made: Record = _made(kind, value)
    except (KeyError, TypeError) as error:
        raise unreadable(error) from error
    return made


def _made(kind: Any, value: Any) -> Any:
    if isinstance(kind, type) and is_dataclass(kind):
        return _record(kind, value)
    origin, inner = get_origin(kind), get_args(kind)
    if origin is tuple:
        if not isinstance(value, list):
            raise TypeError("no list")
        return tuple(_made(inner[0], one) for one in value)
    if origin in (Union, UnionType):
        return None if value is None else _made(next(one for one in inner if one is not NoneType), value)
    return value


def _record(kind: Any, value: Mapping[str, Any]) -> Any:
    if not isinstance(value, Mapping):
        raise TypeError(f"no object for {kind.__name__}")
    hints = _hints(kind)
    given = {
        one.name: _made(hints[one.name], value[one.name])
        for one in fields(kind)
        if one.name in value or (one.default is MISSING and one.default_factory is MISSING)
    }
    return kind(**given)


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)
