"""What a row can hold: text and JSON that SQLite and PostgreSQL both store and give back unchanged."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from typing import Any, Final

from sightline.errors import InputError
from sightline.store.work_records import Registration

INT64 = 2**63
MAX_ID_BYTES = 2048
"""Longest image id: PostgreSQL refuses index entries beyond about 2,700 bytes, and percent-encoded it is
still shorter than the 8 kB that proxies take for an address."""

DOTS: Final = frozenset({".", ".."})
"""What no part of an id may be: clients take them out of an address, however they are written."""
DOTS_IN_ADDRESSES: Final = frozenset({"%2E", "%2E%2E"})
"""What stands in addresses for ids that were such dots before they were refused."""

COLLECTION_NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"
"""Names of collections: one step of an address or of a path, whatever reads it."""

_MAX_DEPTH = 32
_SCALARS: Final = (bool, int, float, type(None))
_LISTS: Final = (list, tuple)
_SHOWN_BYTES = 200
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_SEGMENTS = re.compile(r"[/\\]")
_KIND = re.compile(r"[a-z][a-z0-9_-]{0,31}")


def check_collection_name(name: object) -> None:
    """Raises InputError unless the name can stand in an address: 1 to 63 letters, digits, dots, _ and -."""
    check_text("The collection's name", name)
    if not isinstance(name, str) or not re.fullmatch(COLLECTION_NAME, name):
        raise InputError(
            f"A collection cannot be called {name!a:.100}: a name is up to 63 English letters, digits, '.', "
            "'_' and '-', and begins with a letter or a digit."
        )


def check_kind(kind: str) -> None:
    """Raises InputError unless it can name a kind of jobs and tasks: one lower-case word."""
    if not _KIND.fullmatch(kind):
        raise InputError(f"The kind of a job or task is a lower-case word, not {kind!a:.100}.")


def check_text(what: str, value: object) -> None:
    """Raises InputError unless ``value`` is text without NUL and without broken surrogates."""
    if not isinstance(value, str):
        raise InputError(f"{what} must be text, not {type(value).__name__}.")
    if _is_plain(value):
        return
    if "\x00" in value:
        raise InputError(f"{what} contains a NUL character, which no database stores.")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{what} is not valid Unicode: {value!a:.100}.") from error


def printable(value: str) -> str:
    """The same text with whatever cannot be stored written as an escape (for messages, never for ids)."""
    return value.encode(errors="backslashreplace").decode().replace("\x00", "\\x00")


def check_image_id(image_id: object) -> None:
    """Raises InputError unless it is text that can be stored, indexed, and be one step of an address.

    The one rule for all doors. Slashes, also several and at either end, are fine: percent-encoded they
    survive.
    """
    check_text("An image id", image_id)
    if not isinstance(image_id, str) or not image_id:
        raise InputError("An image id cannot be empty.")
    if len(image_id.encode()) > MAX_ID_BYTES:
        raise InputError(f"The image id {image_id[:60]!r}… is longer than {MAX_ID_BYTES} bytes.")
    if _CONTROL.search(image_id):
        raise InputError(f"The image id {image_id!a:.100} has a control character, which no address keeps.")
    if not DOTS.isdisjoint(_SEGMENTS.split(image_id)):
        raise InputError(
            f"The image id {image_id!a:.100} has a part '.' or '..', which clients take out of an address."
        )
    if image_id in DOTS_IN_ADDRESSES:
        raise InputError(f"The image id {image_id!r} stands for another one in addresses: give it another.")


def line_id(name: str) -> str:
    """What a failure line is filed under: any name at all, cut where it is longer than an id may be."""
    name = printable(name) or "(no name)"
    if len(name.encode()) <= MAX_ID_BYTES:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()
    return f"{name.encode()[:_SHOWN_BYTES].decode(errors='ignore')}… ({digest[:12]})"


def check_registration(item: Registration) -> None:
    """Raises InputError, naming the image, for what cannot be stored. Sources may call it per item."""
    check_image_id(item.image_id)
    check_text("An image's uri", item.uri)
    check_text("An image's sha256", item.sha256)
    if item.source is not None:
        check_source(item.source)
    if item.caption is not None:
        check_text(f"The caption of {item.image_id!r}", item.caption)
    check_metadata(item.metadata, f"metadata of {item.image_id!r}")


def check_source(address: str) -> None:
    """Raises InputError unless it can be stored and indexed as the address of a source."""
    check_text("The address of a source", address)
    if len(address.encode()) > MAX_ID_BYTES:
        raise InputError(f"The address {address[:60]!r}… of a source is longer than {MAX_ID_BYTES} bytes.")


def check_metadata(metadata: Mapping[str, Any], what: str = "metadata") -> None:
    """Raises InputError unless it is a JSON object of finite numbers, 64-bit integers and storable text."""
    if not isinstance(metadata, Mapping):
        raise InputError(f"The {what} must be a JSON object, not {type(metadata).__name__}.")
    check_json(metadata, what)


def check_json(value: object, what: str, depth: int = _MAX_DEPTH) -> None:
    """Raises InputError unless it is JSON of finite numbers, 64-bit integers and storable text.

    ``depth``: how many levels it may nest at the most.
    """
    if depth == 0:
        raise InputError(f"The {what} is nested more than {_MAX_DEPTH} levels deep.")
    # In the order in which they are met mostly: a million pictures have ten million values.
    if isinstance(value, str):
        if not _is_plain(value):
            check_text(f"A text in the {what}", value)
    elif isinstance(value, _SCALARS):
        _check_scalar(value, what)
    elif isinstance(value, Mapping):
        for name, member in value.items():
            if not (isinstance(name, str) and _is_plain(name)):
                check_text(f"A name in the {what}", name)
            check_json(member, what, depth - 1)
    elif isinstance(value, _LISTS):
        for member in value:
            check_json(member, what, depth - 1)
    else:
        _check_scalar(value, what)


def _is_plain(value: str) -> bool:
    """Whether any database stores it, told without looking at every character."""
    return value.isascii() and "\x00" not in value


def _check_scalar(value: object, what: str) -> None:
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, int) and not -INT64 <= value < INT64:
        raise InputError(f"The {what} holds an integer beyond 64 bits: store it as text.")
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"The {what} holds {value}, which JSON cannot express: leave it out.")
    if not isinstance(value, int | float):
        raise InputError(f"The {what} holds a {type(value).__name__}, which is no JSON value.")


def plain_json(value: Any) -> Any:
    """A copy of checked JSON in plain dicts and lists; a float from 2**53 on becomes the integer it equals.

    PostgreSQL compares JSON numbers by their digits, SQLite and Python by their value: for such floats the
    shortest digits are not the value.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, _SCALARS):
        if isinstance(value, float) and abs(value) >= 2**53 and -INT64 <= value < INT64:
            return int(value)
        return value
    if isinstance(value, Mapping):
        return {name: plain_json(member) for name, member in value.items()}
    return [plain_json(member) for member in value] if isinstance(value, _LISTS) else value


def same_json(left: Any, right: Any) -> bool:
    """Equal as JSON: 1 is 1.0 (PostgreSQL gives back either), but true is not 1."""
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(same_json(left[name], right[name]) for name in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same_json, left, right))
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)
