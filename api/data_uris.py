"""Data URIs as clients really write them: the bytes decide what they are, not the type that is claimed."""

from __future__ import annotations

import base64
import binascii
import re
from string import hexdigits
from typing import Final

import numpy as np

from sightline.api.problems import invalid

HEAD: Final = re.compile(r"data:([^,]{0,1000}),", re.IGNORECASE)
IN_BASE64: Final = re.compile(r"(?:^|;)\s*base64\s*$", re.IGNORECASE)
BARE_BASE64: Final = re.compile(r"[A-Za-z0-9+/_\-\s]{64,}+={0,2}\s*+")
"""Of a picture without ``data:``: shorter ones are names and paths. Possessive: nothing is tried twice, else
megabytes of white space would take hours."""
BARE_HEAD: Final = "data:;base64,"
WHITESPACE: Final = b" \t\r\n\f\v"
HEX: Final = np.array([int(one, 16) if one in hexdigits else 255 for one in map(chr, range(256))], np.uint8)
"""What each byte stands for in an escape; 255: nothing."""
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
        return without_percents(payload.encode("utf-8", "replace"))
    try:
        return _from_base64(payload)
    except (binascii.Error, ValueError) as error:
        raise invalid(pointer, "The data URI does not hold valid base64.") from error


def without_percents(data: bytes) -> bytes:
    """As `urllib.parse.unquote_to_bytes`, without an object for each escape: there may be millions."""
    if b"%" not in data:
        return data
    given = np.frombuffer(data, np.uint8)
    at = np.flatnonzero(given[:-2] == ord("%"))
    high, low = HEX[given[at + 1]], HEX[given[at + 2]]
    is_escape = (high < 16) & (low < 16)
    at = at[is_escape]
    found, kept = given.copy(), np.ones(len(given), bool)
    found[at] = high[is_escape] * 16 + low[is_escape]
    kept[at + 1] = kept[at + 2] = False
    return found[kept].tobytes()


def _from_base64(payload: str) -> bytes:
    """Raises ValueError, binascii.Error: there is something else in it, or it ends too soon."""
    if payload.isascii() and len(payload) % 4 == 0:
        try:
            return base64.b64decode(payload, validate=True)  # as it should be: no copy is made
        except binascii.Error:
            pass
    data = without_percents(payload.encode("ascii"))
    data = data.translate(TO_STANDARD, WHITESPACE).rstrip(b"=")
    return base64.b64decode(data + b"=" * (-len(data) % 4), validate=True)
