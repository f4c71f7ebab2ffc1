"""Messages between the decoder and its processes: small JSON over a socket, bulk bytes in nameless files.

The descriptor of such a file travels with its message, so that pixels are never squeezed through a pipe.
"""

from __future__ import annotations

import json
import os
import socket
import tempfile
from collections.abc import Iterable
from typing import Any, Final

_LENGTH_BYTES: Final = 4
_MOST: Final = 1 << 20
"""No honest message is longer."""
_FLAGS: Final = getattr(socket, "MSG_CMSG_CLOEXEC", 0)


class PeerGoneError(ConnectionError):
    """The other end is closed."""


def send(link: socket.socket, message: dict[str, Any], descriptor: int | None = None) -> None:
    """Send one message, and a duplicate of ``descriptor`` with it."""
    body = json.dumps(message).encode()
    packet = len(body).to_bytes(_LENGTH_BYTES, "big") + body
    sent = socket.send_fds(link, [packet], [] if descriptor is None else [descriptor])
    link.sendall(packet[sent:])


def receive(link: socket.socket) -> tuple[dict[str, Any], int | None]:
    """The next message and the descriptor that came with it, which the caller closes.

    Raises:
        PeerGoneError: the other end closed first.
        TimeoutError: the socket's own timeout has passed.
    """
    packet, descriptors, _, _ = socket.recv_fds(link, _LENGTH_BYTES, 1, _FLAGS)
    descriptor = descriptors[0] if descriptors else None
    try:
        # Never a byte too many: the next message may be waiting behind this one.
        while (missing := _missing(packet)) > 0:
            more = link.recv(missing) if packet and _length(packet) <= _MOST else b""
            if not more:
                raise PeerGoneError("the other end closed")
            packet += more
        return json.loads(packet[_LENGTH_BYTES:]), descriptor
    except BaseException:
        if descriptor is not None:
            os.close(descriptor)
        raise


def _missing(packet: bytes) -> int:
    """Bytes of this message that are still to come: of its length first, then of itself."""
    if len(packet) < _LENGTH_BYTES:
        return _LENGTH_BYTES - len(packet)
    return _LENGTH_BYTES + _length(packet) - len(packet)


def _length(packet: bytes) -> int:
    return int.from_bytes(packet[:_LENGTH_BYTES], "big")


def anonymous_file(parts: Iterable[bytes]) -> int:
    """A descriptor of a nameless file in memory (where the system has none: on disk) with these ``parts``."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("sightline", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    try:
        with os.fdopen(descriptor, "wb", buffering=0, closefd=False) as writer:
            for part in parts:
                _write_all(writer.fileno(), part)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _write_all(descriptor: int, part: bytes) -> None:
    view = memoryview(part)
    while view:
        view = view[os.write(descriptor, view) :]


def read_into(descriptor: int, buffers: Iterable[memoryview]) -> bool:
    """Fill the buffers from the file's beginning and close it; whether it held enough.

    Reading, and not mapping, is on purpose: a file that its writer shortens meanwhile gives a short read,
    where a mapping would kill the reader.
    """
    with os.fdopen(descriptor, "rb", buffering=0) as reader:
        reader.seek(0)
        for view in buffers:
            done = 0
            while done < len(view):
                count = reader.readinto(view[done:])
                if not count:
                    return False
                done += count
    return True
