"""Answers that are problem documents, as the errors that the library raises."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from sightline import errors
from sightline.errors import (
    ConflictError,
    ImageRejected,
    InputError,
    NotFoundError,
    OverloadedError,
    SightlineError,
    UnavailableError,
)

PREFIX: Final = "urn:sightline:problem:"
BY_STATUS: Final[Mapping[int, type[SightlineError]]] = {
    404: NotFoundError, 409: ConflictError, 410: NotFoundError, 429: OverloadedError, 500: SightlineError,
}  # fmt: skip
"""What a problem is whose code says no more; of the others 4xx are the caller's fault, 5xx the server's."""


def refusal(status: int, body: bytes, url: str) -> SightlineError:
    """The error that an answer other than 2xx stands for; its message is the server's own sentence."""
    told = _document(body)
    detail = told.get("detail")
    if not isinstance(detail, str) or not detail:
        return _foreign(status, url)
    return problem(told | {"status": status})


def problem(told: Mapping[str, Any]) -> SightlineError:
    """The error that a problem document stands for."""
    status, detail = int(told["status"]), str(told["detail"])
    code = str(told.get("type", "")).removeprefix(PREFIX)
    kind = next((kind for kind in _kinds() if vars(kind).get("code") == code), _kind_of(status))
    if kind is ImageRejected:
        reason, _, rest = detail.partition(": ")
        return ImageRejected(reason, rest or detail)
    return kind(detail)


def _foreign(status: int, url: str) -> SightlineError:
    """Whatever answered, it was no Sightline server, or a proxy in front of one."""
    if 300 <= status < 400:
        return UnavailableError(f"{url} sends callers to another address ({status}): give that one.")
    return UnavailableError(
        f"{url} answers with status {status} and no reason; give the address of a Sightline server."
    )


def _document(body: bytes) -> dict[str, Any]:
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def _kind_of(status: int) -> type[SightlineError]:
    return BY_STATUS.get(status, InputError if status < 500 else UnavailableError)


def _kinds() -> Iterator[type[SightlineError]]:
    """All errors of the tree."""
    return (one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, SightlineError))
