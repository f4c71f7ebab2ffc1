"""Forms: uploads as multipart, a piece at a time; the few fields that people type, of a few kilobytes.

The framework parses both on the event loop, with the limits of uploads for every form.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Final

from fastapi import Request
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.types import Message, Receive

from sightline.api.problems import Problem
from sightline.api.settings import ApiSettings
from sightline.api.urls import is_upload

FORM_FIELDS: Final = 20
"""Fields of a form beside its files; we know of two."""
FORM_BYTES: Final = 16 << 10
"""A form without files: 1,000 characters of four bytes each are 12,000 when they are percent-encoded."""
PIECE: Final = 64 << 10
"""Bytes of an upload that are parsed before others have their turn. A thousand files fit in."""
MULTIPART: Final = "multipart/form-data"
URL_ENCODED: Final = "application/x-www-form-urlencoded"
CHARSET = re.compile(r"charset\s*=\s*\"?([^\";\s]*)", re.IGNORECASE)
CHARSETS = frozenset({"utf-8", "utf8", "us-ascii", "iso-8859-1"})
BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")


class _UploadParser(MultiPartParser):
    """Bounds the bytes of all fields together, and tells of each; takes the body in pieces of one size.

    Files that are not to be kept are read into memory in the end, and count from their first byte on: uploads
    to keep have places of their own, and these have not.
    """

    def __init__(self, request: Request, settings: ApiSettings, take: Callable[[int], None]) -> None:
        super().__init__(
            request.headers,
            pieces(request.stream()),
            max_files=settings.max_upload_files,
            max_fields=FORM_FIELDS,
            max_part_size=settings.max_json_bytes,
        )
        self._take = take
        self._keeps_files = is_upload(request.scope)
        self._fields_size = 0

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        """As the framework's, within the bounds of all fields."""
        if self._current_part.file is None:
            self._fields_size += end - start
            if self._fields_size > self.max_part_size:
                raise MultiPartException("Part exceeded the size that all have together.")
            self._take(end - start)
        elif not self._keeps_files:
            self._take(end - start)
        super().on_part_data(data, start, end)


class FormRequest(Request):
    """What the framework is given: a request whose form was read."""

    def __init__(self, request: Request, form: FormData) -> None:
        super().__init__(request.scope, request.receive)
        self._form = form


async def read_upload(request: Request, settings: ApiSettings, take: Callable[[int], None]) -> FormRequest:
    """The files and fields of an upload. ``take`` is told of the bytes that it holds in memory.

    Raises:
        Problem: 415 for another kind of body, 413 for too many files, fields or bytes of fields, 400 for what
            is no form.
    """
    _check_media(request, MULTIPART)
    if "content-type" not in request.headers:
        return FormRequest(request, FormData())
    try:
        form = await _UploadParser(request, settings, take).parse()
    except MultiPartException as error:
        raise _form_problem(error.message, settings) from error
    return FormRequest(request, form)


async def read_fields(request: Request, settings: ApiSettings) -> FormRequest:
    """The fields of a form that has no files. Raises Problem as ``read_upload`` does."""
    _check_media(request, URL_ENCODED)
    small = Request(request.scope, at_most(FORM_BYTES, request.receive))
    if BAD_ESCAPE.search(await small.body()):  # kept by the request: its form is read from there
        raise Problem(400, "The form is not percent-encoded: two hexadecimal digits follow each %.")
    try:
        form = await small.form(max_files=0, max_fields=FORM_FIELDS, max_part_size=FORM_BYTES)
    except HTTPException as error:
        raise _form_problem(str(error.detail), settings) from error
    return FormRequest(request, form)


def at_most(most: int, receive: Receive) -> Receive:
    """``receive``, which raises Problem (413) once a body has more bytes."""
    seen = 0

    async def receive_counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > most:
            detail = f"A form without files may have at most {most:,} bytes."
            raise Problem(413, detail, headers={"Connection": "close"})
        return message

    return receive_counted


async def pieces(stream: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """The same bytes in pieces of ``PIECE``, however they come; before each, others have their turn."""
    held = bytearray()
    async for chunk in stream:
        held += chunk
        while len(held) >= PIECE:
            await asyncio.sleep(0)
            yield bytes(held[:PIECE])
            del held[:PIECE]
    if held:
        yield bytes(held)


def _check_media(request: Request, wanted: str) -> None:
    media = request.headers.get("content-type", "")
    charset = CHARSET.search(media)
    if charset is not None and charset[1].lower() not in CHARSETS:
        raise Problem(415, "Send the fields of a form as UTF-8.")
    if media and media.partition(";")[0].strip().lower() != wanted:
        raise Problem(415, f"Send this body as {wanted}, not {media:.100}.")


def _form_problem(said: str, settings: ApiSettings) -> Problem:
    if said.startswith("Too many files"):
        return Problem(413, f"One upload may bring at most {settings.max_upload_files:,} files.")
    if said.startswith("Too many fields"):
        return Problem(413, f"A form may have at most {FORM_FIELDS} fields beside its files.")
    if said.startswith(("Part exceeded", "Field exceeded")):
        most = settings.max_json_bytes
        return Problem(413, f"The fields of an upload may have at most {most:,} bytes, all together.")
    return Problem(400, f"{said.rstrip('.')}.")
