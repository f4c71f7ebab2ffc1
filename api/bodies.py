"""Bodies of requests: read within bounds, parsed and checked in threads, so that no body holds up the others.

The framework parses JSON and checks it on the event loop. Here a body larger than a few kilobytes goes to a
thread for both, few at a time; what the framework then checks is the finished model, which costs nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any

from anyio import CapacityLimiter, to_thread
from fastapi import Request, Response, params
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import TypeAdapter, ValidationError
from starlette.requests import ClientDisconnect

from sightline.api.forms import read_fields, read_upload
from sightline.api.problems import Problem, from_error
from sightline.api.settings import ApiSettings
from sightline.errors import NotJsonError, OverloadedError
from sightline.store.json_text import read_json

INLINE_BYTES = 8 << 10
"""Smaller bodies are parsed where they arrive: a thread costs more than they do."""
PARSERS = 2
"""Larger bodies that are parsed at once: while one is, there are several copies of it."""
MOST_PARTS = 100_000
"""Commas and brackets in a body beyond the limit of plain JSON: it is long because of its pictures."""


@dataclass
class Held:
    """Bytes of one request that are in memory: ``size`` so far, of which ``counted`` with those of others."""

    bodies: Bodies
    size: int = 0
    counted: int = 0

    def take(self, size: int) -> None:
        """So many more; raises OverloadedError when all requests together have too many.

        A small body always has room: a few clients that send large ones slowly keep no search out.
        """
        self.size += size
        if self.size > INLINE_BYTES:
            self.bodies.take(self.size - self.counted)
            self.counted = self.size


class Bodies:
    """What the bodies of all requests of an app share: bytes in memory, and threads that parse."""

    def __init__(self, settings: ApiSettings) -> None:
        self.settings = settings
        self._limiter = CapacityLimiter(PARSERS)
        self._most = max(settings.max_bodies_bytes, settings.max_body_bytes, settings.max_json_bytes)
        self._held = 0

    @contextmanager
    def holding(self) -> Iterator[Held]:
        """The bytes that are taken in this block are given back at its end."""
        held = Held(self)
        try:
            yield held
        finally:
            self._held -= held.counted

    def take(self, size: int) -> None:
        """Count bytes; raises OverloadedError, and counts none, beyond what all may hold."""
        if self._held + size > self._most:
            raise OverloadedError("The bodies of other requests fill the memory for them; ask again soon.")
        self._held += size

    async def parsed(self, data: bytearray, kind: TypeAdapter[Any]) -> Any:
        """The checked value of a JSON body, which is emptied. Raises Problem, RequestValidationError."""
        if len(data) <= INLINE_BYTES:
            return parse(data, kind, self.settings)
        return await to_thread.run_sync(parse, data, kind, self.settings, limiter=self._limiter)


class ParsedRequest(Request):
    """What the framework is given: a request whose JSON was read and checked. ``body`` is not kept."""

    def __init__(self, request: Request, value: Any, *, is_empty: bool) -> None:
        super().__init__(request.scope, request.receive)
        self._value = value
        self._is_empty = is_empty

    async def body(self) -> bytes:
        """Not the body, but whether there was one."""
        return b"" if self._is_empty else b"{}"

    async def json(self) -> Any:
        """The checked value."""
        return self._value


Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class BoundedRoute(APIRoute):
    """A route whose body is read here, before the framework asks for it."""

    def get_route_handler(self) -> Handler:
        """As the framework's, for bodies within bounds."""
        handle, field = super().get_route_handler(), self.body_field
        if field is None:
            return handle
        if isinstance(field.field_info, params.File):
            return _with_upload(handle)
        if isinstance(field.field_info, params.Form):
            return _with_fields(handle)
        info = field.field_info
        kind: Any = Annotated[(info.annotation, *info.metadata)] if info.metadata else info.annotation
        return _with_json(handle, TypeAdapter(kind))


def _with_json(handle: Callable[[Request], Awaitable[Response]], kind: TypeAdapter[Any]) -> Handler:
    async def handler(request: Request) -> Response:
        bodies: Bodies = request.app.state.bodies
        with bodies.holding() as held:
            data = await _read(request, held)
            if not data:
                return await handle(ParsedRequest(request, None, is_empty=True))
            _check_json_media(request)
            value = await bodies.parsed(data, kind)
            return await handle(ParsedRequest(request, value, is_empty=False))

    return handler


def _with_upload(handle: Callable[[Request], Awaitable[Response]]) -> Handler:
    async def handler(request: Request) -> Response:
        bodies: Bodies = request.app.state.bodies
        with bodies.holding() as held:
            try:
                upload = await read_upload(request, bodies.settings, held.take)
            except ClientDisconnect as error:
                raise _hung_up() from error
            except OverloadedError as error:
                raise _no_room(error) from error
            return await handle(upload)

    return handler


def _with_fields(handle: Callable[[Request], Awaitable[Response]]) -> Handler:
    async def handler(request: Request) -> Response:
        bodies: Bodies = request.app.state.bodies
        try:
            fields = await read_fields(request, bodies.settings)
        except ClientDisconnect as error:
            raise _hung_up() from error
        return await handle(fields)

    return handler


def _check_json_media(request: Request) -> None:
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != "application/json" and not (media.startswith("application/") and media.endswith("+json")):
        given = f"not {media:.100}" if media else "and say so in Content-Type"
        raise Problem(415, f"Send this body as application/json, {given}.")


async def _read(request: Request, held: Held) -> bytearray:
    data = bytearray()
    try:
        async for chunk in request.stream():
            held.take(len(chunk))
            data += chunk
    except ClientDisconnect as error:
        raise _hung_up() from error
    except OverloadedError as error:
        raise _no_room(error) from error
    return data


def _no_room(error: OverloadedError) -> Problem:
    problem = from_error(error)
    problem.headers["Connection"] = "close"  # the rest of the body is not read
    return problem


def _hung_up() -> Problem:
    return Problem(400, "The client hung up before the body was whole.")


def parse(data: bytearray, kind: TypeAdapter[Any], settings: ApiSettings) -> Any:
    """A JSON body as what its route takes; empties ``data``, so that fewer copies are there at once.

    Raises Problem for what is no JSON, RequestValidationError for what does not fit.
    """
    if len(data) > settings.max_json_bytes and sum(map(data.count, (b",", b"[", b"{"))) > MOST_PARTS:
        raise Problem(413, f"A body of this size may have at most {MOST_PARTS:,} commas and brackets.")
    try:
        text = data.decode("utf-8-sig")
        data.clear()
        value = read_json(text)
        del text
    except UnicodeDecodeError as error:
        raise Problem(400, f"The body is not UTF-8: see byte {error.start + 1}.") from error
    except NotJsonError as wrong:
        raise Problem(400, f"The body is not valid JSON: {wrong}") from wrong
    try:
        return kind.validate_python(value, context=settings)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        for one in found:
            one["loc"] = ("body", *one["loc"])
        raise RequestValidationError(found) from error
