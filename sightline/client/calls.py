"""What a client sends and how the answer is read: one value for each request, whoever sends it.

Requests are described in `sightline.client.searches` and `sightline.client.catalog`;
`sightline.client.http` sends them, waiting for the answer or not, and `sightline.client.local` those of the
command line.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlencode

from sightline.errors import InputError, UnavailableError

Result = TypeVar("Result")
Json = dict[str, Any]
"""A JSON object, as docs/http.md describes it."""


@dataclass(frozen=True)
class Call(Generic[Result]):
    """One request. ``files``: (name, bytes) of pictures, sent as a form with ``form``. ``also``: statuses
    besides 2xx whose body is the answer.
    """

    method: str
    path: str
    parse: Callable[[bytes], Result]
    body: Json | None = None
    files: Sequence[tuple[str, bytes]] = ()
    form: Mapping[str, str] = field(default_factory=dict)
    also: tuple[int, ...] = ()

    def is_answered_by(self, status: int) -> bool:
        """Whether a body that comes with this status is the answer."""
        return 200 <= status < 300 or status in self.also


def document(body: bytes) -> Json:
    """A JSON object. Raises UnavailableError: it is none, so no Sightline server wrote it."""
    try:
        told = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UnavailableError("The answer is no JSON; give the address of a Sightline server.") from error
    if not isinstance(told, dict):
        raise UnavailableError("The answer is no JSON object; give the address of a Sightline server.")
    return told


def unreadable(what: object) -> UnavailableError:
    """What is raised where an answer lacks ``what`` it has to have."""
    return UnavailableError(
        f"The server's answer is not what this version of Sightline reads ({what}); ask a server of the "
        "same version."
    )


def page(body: bytes) -> Json:
    """An object with ``items``, objects, and maybe a ``next_cursor``. Raises UnavailableError: it is none."""
    told = document(body)
    found = told.get("items")
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise unreadable("items")
    if not isinstance(told.get("next_cursor"), str | None):
        raise unreadable("next_cursor")
    return told


def items(body: bytes) -> list[Json]:
    """The ``items`` of a list."""
    return list(page(body)["items"])


def job_told(body: bytes) -> Json:
    """A job, which has a state. Raises UnavailableError: it has none."""
    told = document(body)
    if not isinstance(told.get("state"), str):
        raise unreadable("state")
    return told


def nothing(body: bytes) -> None:
    """There is no answer but that it was done."""


def of_collection(collection: str) -> str:
    return f"/v1/collections/{segment('collection', collection)}"


def of_image(collection: str, image_id: str) -> str:
    """As `sightline.api.urls.image_url`: an id may hold slashes, and clients take dots out of addresses."""
    plain = image_id.replace(".", "%2E") if image_id in (".", "..") else image_id
    return f"{of_collection(collection)}/images/{segment('image', plain)}"


def of_job(job_id: str) -> str:
    return f"/v1/jobs/{segment('job', job_id)}"


def segment(what: str, name: str) -> str:
    """A name as one step of an address. Raises InputError: it would be none, or lead to another address."""
    if not isinstance(name, str) or name in ("", ".", ".."):
        raise InputError(f"No {what} has the name {name!r}; give the one that it has.")
    try:
        return quote(name, safe="")
    except UnicodeEncodeError as error:
        raise InputError(f"No {what} has the name {name!r}, which is not valid Unicode.") from error


def listed(given: str | Sequence[str]) -> list[str]:
    """One name is a list of one, and not of its letters."""
    return [given] if isinstance(given, str) else list(given)


def as_json(body: object) -> str:
    """What is sent as JSON. Raises InputError: JSON has no such value, NaN say, or a text is no Unicode."""
    try:
        text = json.dumps(body, allow_nan=False, ensure_ascii=False)
        text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"This cannot be sent as JSON ({error}); give texts, numbers, lists.") from error
    return text


def query_of(given: Mapping[str, object]) -> str:
    known = {name: _written(value) for name, value in given.items() if value is not None}
    return f"?{urlencode(known)}" if known else ""


def _written(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
