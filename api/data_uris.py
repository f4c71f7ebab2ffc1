"""Data URIs as clients really write them: the bytes decide what they are, not the type that is claimed."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final
from urllib.parse import unquote_to_bytes

from sightline.api.problems import invalid

HEAD: Final = re.compile(r"data:([^,]{0,1000}),", re.IGNORECASE)
IN_BASE64: Final = re.compile(r"(?:^|;)\s*base64\s*$", re.IGNORECASE)
BARE_BASE64: Final = re.compile(r"[A-Za-z0-9+/_\-\s]{64,}={0,2}\s*")
"""Of a picture without ``data:``: shorter ones are names and paths."""
BARE_HEAD: Final = "data:;base64,"
WHITESPACE: Final = b" \t\r\n\f\v"
TO_STANDARD: Final = bytes.maketrans(b"-_", b"+/")


def is_data_uri(value: object) -> bool:
    """Whether a string begins as one."""
    return isinstance(value, str) and value[:1000].lstrip()[:5].lower() == "data:"


def data_of(uri: str, pointer: str) -> bytes:
    """The bytes of a data URI, which stands at ``pointer``.

    Base64 may have line breaks, no padding, the alphabet of addresses, and percent signs.

    Raises:
        Problem: 422 when there is no comma, or no base64 where that is said.
    """
    head = HEAD.match(uri)
    if head is None:
        raise invalid(pointer, "This data URI has no comma: it reads like 'data:image/png;base64,iVBOR…'.")
    payload = uri[head.end() :]
    if IN_BASE64.search(head[1]) is None:
        return unquote_to_bytes(payload)
    try:
        return _from_base64(payload)
    except (binascii.Error, ValueError) as error:
        raise invalid(pointer, "The data URI does not hold valid base64.") from error


def _from_base64(payload: str) -> bytes:
    """Raises ValueError, binascii.Error: there is something else in it, or it ends too soon."""
    if payload.isascii() and len(payload) % 4 == 0:
        try:
            return base64.b64decode(payload, validate=True)  # as it should be: no copy is made
        except binascii.Error:
            pass
    data = unquote_to_bytes(payload) if "%" in payload else payload.encode("ascii")
    data = data.translate(TO_STANDARD, WHITESPACE).rstrip(b"=")
    return base64.b64decode(data + b"=" * (-len(data) % 4), validate=True)
