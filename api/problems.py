"""Errors as RFC 9457 problem details: one table from our exception tree to status codes, one shape for all.

``{"type", "title", "status", "detail", "instance", "request_id"}`` and, where validation failed, ``errors``:
``[{"pointer": "#/limit", "detail": "…"}]``, RFC 6901 pointers into the body, or ``parameter`` for the rest.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match

from sightline.api.discretion import sentence
from sightline.api.labels import METHODS, printable
from sightline.errors import (
    ConflictError,
    CorruptionError,
    InputError,
    LeaseLostError,
    NoRoomError,
    NotFoundError,
    SightlineError,
    UnavailableError,
)
from sightline.store.values import COLLECTION_NAME

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:sightline:problem:"
STATUS: tuple[tuple[type[SightlineError], int], ...] = (
    (NotFoundError, 404),
    (ConflictError, 409),
    (LeaseLostError, 409),
    (InputError, 422),
    (NoRoomError, 507),
    (UnavailableError, 503),
    (CorruptionError, 500),
    (SightlineError, 500),
)
CODES: Mapping[int, str] = {
    400: "malformed-request",
    401: "unauthorized",
    403: "forbidden",
    404: "not-found",
    405: "method-not-allowed",
    406: "not-acceptable",
    408: "timeout",
    409: "conflict",
    410: "gone",
    413: "too-large",
    415: "unsupported-media-type",
    416: "range-not-satisfiable",
    421: "wrong-host",
    422: "invalid-input",
    429: "too-many-requests",
    431: "headers-too-large",
    500: "internal",
    503: "unavailable",
    507: "no-room",
}
MOST_ERRORS = 20
"""Things wrong with one request that are told."""
LONGEST_DETAIL = 1000
"""Characters of one sentence: it may quote what the client sent."""
FILES = ("GET", "HEAD")
"""Methods of what is mounted, which is files."""
_EMPTY = "It is empty; write some text."
_PATTERNS = {
    r"\S": _EMPTY,
    COLLECTION_NAME: "A name has up to 63 letters from A to Z, digits, '.', '_' and '-', and begins with a "
    "letter or a digit.",
}
"""What a text that does not fit is told, in words and not as a pattern."""
RETRY_AFTER = {503: "5", 507: "60"}
"""Seconds after which the same request may succeed."""
log = logging.getLogger("sightline.http")


class Problem(Exception):
    """Raised by routes for what only HTTP knows (sizes, roots, keys); all below raise SightlineErrors."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        code: str | None = None,
        errors: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = shortened(detail)
        self.code = code or CODES.get(status, "error")
        self.errors = list(errors)
        self.headers = dict(headers or {})


class UploadTooLarge(HTTPException):
    """Raised while a body is being read. An HTTPException, because form parsing swallows everything else."""

    def __init__(self, detail: str) -> None:
        super().__init__(413, detail)


def shortened(detail: str) -> str:
    """A sentence of bearable length."""
    return detail if len(detail) <= LONGEST_DETAIL else f"{detail[:LONGEST_DETAIL]}…"


def invalid(pointer: str, detail: str) -> Problem:
    """422 for one value of the body at an RFC 6901 ``pointer`` such as ``/documents/3``."""
    error = {"pointer": shortened(f"#{pointer}"), "detail": shortened(detail)}
    return Problem(422, detail, code="invalid-input", errors=[error])


def document(problem: Problem, path: str, request_id: str | None) -> dict[str, Any]:
    """What RFC 9457 says of a problem at ``path``."""
    body: dict[str, Any] = {
        "type": TYPE_PREFIX + problem.code,
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
        "instance": shortened(path),
        "request_id": request_id,
    }
    if problem.errors:
        body["errors"] = problem.errors
    return body


def respond(problem: Problem, path: str, request_id: str | None) -> Response:
    """The response for a problem at ``path``."""
    content = json.dumps(document(problem, path, request_id), ensure_ascii=True)
    return Response(content, problem.status, problem.headers, MEDIA_TYPE)


def from_error(error: SightlineError) -> Problem:
    """Translate one of our own errors; its message is a sentence, which not every caller may read."""
    status = next(status for kind, status in STATUS if isinstance(error, kind))
    headers = {"Retry-After": RETRY_AFTER[status]} if status in RETRY_AFTER else None
    return Problem(status, sentence(error), code=error.code, headers=headers)


def from_http(error: HTTPException) -> Problem:
    """Translate what the framework raises for itself: no such path, wrong method, unreadable form."""
    code = error.status_code
    if code == 404 and error.detail == "Not Found":
        return Problem(404, "There is nothing at this address.", code="no-such-address")
    if code == 405:
        return Problem(405, "This address does not answer that method.", headers=error.headers)
    return Problem(code, f"{str(error.detail).rstrip('.')}.", headers=error.headers)


def from_validation(error: RequestValidationError) -> Problem:
    """Translate pydantic's list. What is no JSON at all was refused where the body was read."""
    found = error.errors()
    errors = [_place(item["loc"]) | {"detail": _sentence(item)} for item in found[:MOST_ERRORS]]
    where = errors[0].get("pointer") or errors[0].get("parameter") or "body"
    wrong = errors[0]["detail"].removesuffix(".")
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return Problem(422, f"{where}: {wrong}{more}.", code="invalid-input", errors=errors)


def _place(loc: Sequence[int | str]) -> dict[str, str]:
    place, *rest = loc or ("body",)
    if place != "body":
        return {"parameter": shortened(str(rest[0] if rest else place))}
    return {"pointer": shortened(f"#{_steps(rest)}")}


def _steps(loc: Sequence[int | str]) -> str:
    """RFC 6901, without the tags of unions: they are no steps."""
    steps = [str(part).replace("~", "~0").replace("/", "~1") for part in loc]
    return "".join(f"/{step}" for step in steps if not step.startswith("tag:"))


def place_of(item: Mapping[str, Any]) -> tuple[str, str]:
    """Where an error of pydantic's is (steps of a pointer), and what it says as a sentence."""
    return _steps(item["loc"]), _sentence(item)


def _sentence(item: Mapping[str, Any]) -> str:
    if item["type"] == "value_error":
        return shortened(str(item["ctx"]["error"]))
    if item["type"] == "extra_forbidden":
        return "There is no such field."
    if item["type"] == "string_pattern_mismatch" and item["ctx"]["pattern"] in _PATTERNS:
        return _PATTERNS[item["ctx"]["pattern"]]
    if item["type"] in ("too_short", "string_too_short") and item["ctx"].get("field_type") != "List":
        return _EMPTY if item["ctx"]["min_length"] == 1 else shortened(str(item["msg"])).rstrip(".") + "."
    if item["type"] == "too_long" and item["ctx"].get("field_type") == "List":
        return f"There may be at most {item['ctx']['max_length']}, not {item['ctx']['actual_length']}."
    return shortened(str(item["msg"])).rstrip(".") + "."


def _methods(request: Request) -> list[str]:
    """All methods of this address: the framework names those of the first route that it finds."""
    routes = request.app.routes
    asked = [(method, {**request.scope, "method": method}) for method in METHODS]
    return [method for method, scope in asked if any(one.matches(scope)[0] is Match.FULL for one in routes)]


def note(error: Exception, problem: Problem) -> None:
    """Log what this problem does not say to its client, or what whoever runs the server has to know.

    One short line: the client may have written what the error quotes. A traceback only for what nobody
    expected, which is neither a refusal nor something that cannot be reached now.
    """
    said, code = printable(str(error), LONGEST_DETAIL), {"code": problem.code}
    if problem.status < 500:
        if isinstance(error, SightlineError) and problem.detail != shortened(str(error)):
            log.warning("%s", said, extra=code)
    elif isinstance(error, UnavailableError | Problem):
        log.warning("%s", said, extra=code)
    else:
        log.error("%s", said, extra=code, exc_info=error)


def install(app: FastAPI) -> None:
    """Give ``app`` the handlers. Unexpected errors are caught by the outermost middleware."""

    async def handle(request: Request, error: Exception) -> Response:
        if isinstance(error, Problem):
            problem = error
        elif isinstance(error, RequestValidationError):
            problem = from_validation(error)
        elif isinstance(error, HTTPException):
            problem = from_http(error)
            if problem.status == 405:
                problem.headers["Allow"] = ", ".join(_methods(request) or FILES)
        else:
            assert isinstance(error, SightlineError)
            problem = from_error(error)
        note(error, problem)
        return respond(problem, request.url.path, request.scope.get("request_id"))

    for kind in (Problem, RequestValidationError, HTTPException, SightlineError):
        app.add_exception_handler(kind, handle)
