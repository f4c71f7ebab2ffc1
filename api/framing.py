"""HTTP/1.1 requests as they are read from a connection: h11, and what it lets through that we do not."""

from __future__ import annotations

import re
from typing import Final

import h11

from sightline.api.authority import is_same_place, read_authority

ABSOLUTE: Final = re.compile(rb"(https?)://([^/?#]*)([^#]*)", re.IGNORECASE)
FREE_CHUNKS = 1024
LEAST_CHUNK_BYTES = 32
"""A body may come in small chunks, but after `FREE_CHUNKS` not in smaller ones on average: each costs as much
as a large one."""


class StrictConnection(h11.Connection):
    """The server's side of one connection. ``body_bytes``: bytes of the current request's body until now."""

    def __init__(self, header_bytes: int) -> None:
        super().__init__(h11.SERVER, header_bytes)
        self._header_bytes = header_bytes
        self.body_bytes = 0
        self._chunks = 0

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """As h11 does it. Raises h11.RemoteProtocolError also for what two readers may read differently."""
        event = super().next_event()
        if isinstance(event, h11.Request):
            self.body_bytes = self._chunks = 0
            self._check_request(event)
            event = _in_origin_form(event)
        elif isinstance(event, h11.Data):
            self.body_bytes += len(event.data)
            self._chunks += event.chunk_start
            if self._chunks > FREE_CHUNKS + self.body_bytes // LEAST_CHUNK_BYTES:
                raise h11.RemoteProtocolError("The body comes in too many small chunks.")
        return event

    def _check_request(self, request: h11.Request) -> None:
        names = [name for name, _ in request.headers]
        size = len(request.target) + sum(len(name) + len(value) + 4 for name, value in request.headers)
        if size > self._header_bytes:
            raise h11.RemoteProtocolError("The header is too long.", error_status_hint=431)
        if b"transfer-encoding" in names:
            # A proxy in front may go by the other one, and see another request begin in this one's body.
            if b"content-length" in names:
                raise h11.RemoteProtocolError("A request has either Content-Length or Transfer-Encoding.")
            if request.http_version < b"1.1":
                raise h11.RemoteProtocolError("HTTP/1.0 has no Transfer-Encoding.")


def _in_origin_form(request: h11.Request) -> h11.Request:
    """With the path alone as its target, which proxies write with scheme and host in front (RFC 9112, 3.2.2).

    Who is asked must be said once, or be the same: ``Host`` is what all else goes by.
    """
    if request.target.startswith((b"/", b"*")) or request.method == b"CONNECT":
        return request
    found = ABSOLUTE.fullmatch(request.target)
    if found is None:
        raise h11.RemoteProtocolError("The target is no path, and no address with http:// or https://.")
    scheme, named, path = found[1].decode().lower(), read_authority(found[2].decode()), found[3]
    hosts = [read_authority(value.decode("latin-1")) for name, value in request.headers if name == b"host"]
    if named is None or [host and is_same_place(scheme, named, host) for host in hosts] != [True]:
        raise h11.RemoteProtocolError("The target names another host than the header Host.")
    return h11.Request(
        method=request.method,
        target=path if path.startswith(b"/") else b"/" + path,
        headers=request.headers.raw_items(),
        http_version=request.http_version,
    )
