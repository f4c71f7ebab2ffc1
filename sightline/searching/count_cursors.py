"""Where a page of counted pictures ended, as a text that clients hand back.

It names the query (by a hash: a cursor goes with the search that gave it), the collection's version, how deep
was judged, and the last pictures that were shown. At the same version exactly as deep is judged again, so
that all pages are of one set; at a later one the next page begins after the last of these pictures that is
still there.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from sightline.errors import InputError
from sightline.records import SearchRequest

MAX_CURSOR: Final = 500
"""Characters."""
_FORM: Final = 1
_SHOWN: Final = 8
"""Pictures that a cursor names."""
_PAGING: Final = frozenset({"limit", "offset", "cursor", "deadline_ms"})
_LISTING: Final = _PAGING | {"sort"}
_INT64: Final = 2**63


@dataclass(frozen=True)
class Cursor:
    """``place``: how many pictures were shown before the next page; ``keys``: the last of them."""

    query: str
    version: int
    depth: int
    place: int
    keys: tuple[int, ...]

    def start(self, keys: Sequence[int]) -> int:
        """Where the next page begins among ``keys``, which are in order."""
        places = {key: place for place, key in enumerate(keys)}
        for key in reversed(self.keys):
            if key in places:
                return places[key] + 1
        return min(max(self.place - len(self.keys), 0), len(keys))

    def text(self) -> str:
        """As clients see it."""
        told = [_FORM, self.query, self.version, self.depth, self.place, list(self.keys)]
        return base64.urlsafe_b64encode(json.dumps(told, separators=(",", ":")).encode()).decode().rstrip("=")


def cursor_after(request: SearchRequest, version: int, depth: int, shown: Sequence[int]) -> Cursor:
    """The one that follows ``shown``: the keys of all pages up to its own, in order."""
    return Cursor(page_query(request), version, depth, len(shown), tuple(shown[-_SHOWN:]))


def read_cursor(request: SearchRequest) -> Cursor | None:
    """The request's cursor.

    Raises:
        InputError: it is none that a search gave, or was given for another search.
    """
    if request.cursor is None:
        return None
    cursor = _parsed(request.cursor)
    if cursor.query != page_query(request):
        raise InputError(
            "This cursor is of another search: send it with the same collection, text, filter, sort and "
            "min_probability that it was given for, or leave it out to begin anew."
        )
    return cursor


def page_query(request: SearchRequest) -> str:
    """A hash of all that decides which pictures stand where."""
    return _digest(request, _PAGING)


def set_query(request: SearchRequest) -> str:
    """A hash of all that decides which pictures are found, in whatever order."""
    return _digest(request, _LISTING)


def _digest(request: SearchRequest, without: frozenset[str]) -> str:
    told = {
        field.name: _plain(getattr(request, field.name))
        for field in dataclasses.fields(request)
        if field.name not in without
    }
    content = json.dumps(told, sort_keys=True).encode("utf-8", "surrogatepass")
    return hashlib.sha256(content).hexdigest()[:32]


def _plain(value: Any) -> Any:
    """A value as JSON that is the same for equal values, in every process."""
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if dataclasses.is_dataclass(value):
        # What does not count when two are compared has no form that lasts, as a function has none.
        told = [field.name for field in dataclasses.fields(value) if field.compare]
        return [type(value).__name__, {name: _plain(getattr(value, name)) for name in told}]
    if isinstance(value, bytes):
        return hashlib.sha256(value).hexdigest()
    if hasattr(value, "tobytes"):  # an array
        return [list(value.shape), str(value.dtype), hashlib.sha256(value.tobytes()).hexdigest()]
    return value if isinstance(value, str | int | float | bool | None) else repr(value)


def _parsed(text: str) -> Cursor:
    if len(text) > MAX_CURSOR:
        _refuse(text)
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        form, query, version, depth, place, keys = json.loads(raw)
    except (binascii.Error, ValueError, TypeError, RecursionError):
        _refuse(text)
    numbers = isinstance(keys, list) and 0 < len(keys) <= _SHOWN
    numbers = numbers and all(_is_number(one) for one in (version, depth, place, *keys))
    if form != _FORM or not isinstance(query, str) or not numbers:
        _refuse(text)
    return Cursor(query, version, depth, place, tuple(keys))


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _INT64


def _refuse(text: str) -> NoReturn:
    raise InputError(f"{text[:60]!r} is not a cursor that a search gave.")
