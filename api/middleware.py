"""What surrounds every request: its id, log line, its metrics, limits of its body, headers of its answer."""

from __future__ import annotations

import asyncio
import logging
import re
import tempfile
import time
import uuid

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bound_contextvars

from sightline.api.discretion import Shown, shown
from sightline.api.forms import FORM_BYTES
from sightline.api.labels import method_label, printable
from sightline.api.metrics import Metrics
from sightline.api.problems import Problem, UploadTooLarge, from_error, respond
from sightline.api.settings import ApiSettings
from sightline.api.urls import RERANKS, canonical_path, is_search, is_upload, path_of
from sightline.errors import StoppingError
from sightline.store.patience import having
from sightline.store.storage import storage_error

log = logging.getLogger("sightline.http")
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
FORM_OVERHEAD = 1 << 20
WITH_PICTURES = RERANKS | {"/v1/captions", "/like"}
"""Addresses whose bodies carry pictures that are not kept."""
OF_STRANGERS = frozenset({"/session", "/session/end"})
"""Addresses whose bodies are read without a key."""
QUIET = frozenset({"/livez", "/readyz", "/metrics"})
SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class RequestScope:
    """Gives a request its id, answers 500 when nothing else answered, then logs and counts it."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics
        self._headers = [(name.lower().encode(), value.encode()) for name, value in SECURITY.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        shown.set(Shown(details=False, uris=False))  # until somebody says who asks
        scope["request_id"] = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        # Every log record of this request carries its id, whatever module writes it and in whatever thread.
        bound = bound_contextvars(request_id=scope["request_id"])
        with bound, having("request"), self._metrics.in_progress.track_inprogress():
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        began, status = time.perf_counter(), 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._decorate(message, scope)
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except asyncio.CancelledError:  # the server stops, and its patience is at an end
            if status:
                raise
            detail = "This process is being stopped; ask again once it is back."
            problem = from_error(StoppingError(detail))
            await respond(problem, scope["path"], scope["request_id"])(scope, receive, send_with_headers)
        except Exception as error:
            log.exception("A request failed unexpectedly.", extra={"path": printable(scope["path"])})
            if status:
                raise
            answer = respond(_problem(error), scope["path"], scope["request_id"])
            await answer(scope, receive, send_with_headers)
        finally:
            self._record(scope, status, time.perf_counter() - began)

    def _decorate(self, message: Message, scope: Scope) -> None:
        """Add our headers where the answer has none of that name, on the raw pairs: every answer pays."""
        given = list(message.get("headers", ()))
        names = {name for name, _ in given}
        given += [pair for pair in self._headers if pair[0] not in names]
        given.append((b"x-request-id", scope["request_id"].encode()))
        if "/static/" in scope["path"] and b"cache-control" not in names:
            given.append((b"cache-control", b"no-cache"))  # an upgrade shows at once; the ETag keeps it cheap
        message["headers"] = given

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        route = _route(scope)
        method = method_label(scope["method"]) if route != "unmatched" else "any"
        self._metrics.requests.labels(method, route, str(status)).inc()
        if not route.endswith("/events"):  # those last as long as their job
            self._metrics.request_seconds.labels(method, route).observe(seconds)
        level = logging.DEBUG if route in QUIET or route == "/static" else logging.INFO
        asked = {"method": printable(scope["method"], 20), "path": printable(scope["path"])}
        fields = {**asked, "status": status}
        fields |= {"seconds": round(seconds, 6)}
        if job_id := scope.get("job_id") or scope.get("path_params", {}).get("job_id"):
            fields["job_id"] = printable(job_id)
        log.log(level, "%s %s %d", *asked.values(), status, extra=fields)


def _problem(error: Exception) -> Problem:
    """What nobody expected, but for a disk that is full: uploads pass through temporary files."""
    full = storage_error(error, tempfile.gettempdir()) if isinstance(error, OSError) else None
    if full is not None:
        return from_error(full)
    return Problem(500, "Something went wrong here; the log has the details under this request id.")


def _route(scope: Scope) -> str:
    """The template of the matched path: few values, whatever clients ask for."""
    template = getattr(scope.get("route"), "path_format", None)
    if template is not None:
        return str(template)
    return "/static" if scope["path"].startswith("/static/") else "unmatched"


class BodyLimit:
    """Answers 413 before, or while, more bytes arrive than may."""

    def __init__(self, app: ASGIApp, settings: ApiSettings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit, detail = self._limit(scope)
        length = Headers(scope=scope).get("content-length", "0")
        if length.isdecimal() and int(length) > limit:
            problem = Problem(413, detail, headers={"Connection": "close"})
            await respond(problem, scope["path"], scope.get("request_id"))(scope, receive, send)
            return
        seen = 0

        async def receive_counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > limit:
                raise UploadTooLarge(detail)
            return message

        await self._app(scope, receive_counted, send)

    def _limit(self, scope: Scope) -> tuple[int, str]:
        if is_upload(scope):
            limit = self._settings.max_upload_bytes
            detail = f"One upload may bring at most {limit:,} bytes; send these files in several requests."
            return limit + FORM_OVERHEAD, detail
        path, limit = path_of(scope), self._settings.max_json_bytes
        if path in WITH_PICTURES or is_search(scope):
            limit = self._settings.max_body_bytes
        elif path in OF_STRANGERS:
            limit = min(limit, FORM_BYTES)
        return limit, f"The body of this request may have at most {limit:,} bytes."


class ImagePaths:
    """Routes by the path as the client escaped it, so that an image id may hold slashes (see api.urls)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and "/images/" in scope["path"]:
            root = scope.get("root_path", "")
            raw = (scope.get("raw_path") or b"").decode("latin-1").partition("?")[0]
            try:
                path = canonical_path(raw.removeprefix(root))
            except UnicodeDecodeError:
                problem = Problem(400, "The address is not UTF-8.")
                await respond(problem, scope["path"], scope.get("request_id"))(scope, receive, send)
                return
            if path is not None:
                routed = {**scope, "path": root + path if raw.startswith(root) else path}
                try:
                    await self._app(routed, receive, send)
                finally:
                    scope["route"] = routed.get("route")  # what is counted and logged, by who is outside
                return
        await self._app(scope, receive, send)
