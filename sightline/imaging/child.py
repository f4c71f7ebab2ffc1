"""The decode process: takes pictures from its parent, one at a time, until the parent is gone.

Started by `imaging.process` with a stream socket as standard input. It imports Pillow and this package only
(numpy for deep grey), bounds its own memory, ignores the signals that stop the parent politely, and cannot
outlive it: a thread waits for the parent's end of the socket to close, and an alarm ends a decode that holds
on to everything.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import threading
import warnings
from typing import Any, Final

from sightline.errors import ImageRejected
from sightline.imaging.decoding import decode_picture, make_thumbnail
from sightline.imaging.formats import decodable
from sightline.imaging.limits import Limits
from sightline.imaging.wire import PeerGoneError, anonymous_file, receive, send

_LOOK_MS: Final = 2000
"""How often the parent's pid is compared: a fork of the parent may hold its end of the socket open."""
_ALARM_SLACK: Final = 10.0
"""Seconds beyond the limit after which the alarm ends this process; the parent kills it long before."""


def main() -> None:
    """Serve the parent until it is gone. ``sys.argv[1]``: JSON with ``parent`` and ``limits``."""
    start = json.loads(sys.argv[1])
    limits = Limits(**start["limits"])
    _ignore_polite_signals()
    link = socket.socket(fileno=0)
    link.setblocking(True)
    _follow_parent(start["parent"])
    decodable()
    _bound_memory(limits)
    _bound_pillow(limits)
    send(link, {"ready": True})
    _silence()
    try:
        while True:
            _serve_one(link, limits)
    except (PeerGoneError, BrokenPipeError, ConnectionResetError):
        return


def _serve_one(link: socket.socket, limits: Limits) -> None:
    request, descriptor = receive(link)
    if descriptor is None:
        return
    send(link, {"begun": True})  # from here on the picture is to blame
    signal.setitimer(signal.ITIMER_REAL, limits.seconds + _ALARM_SLACK)
    try:
        answer, parts = _decode(descriptor, request["bytes"], limits)
    except ImageRejected as rejected:
        answer, parts = {"reason": rejected.reason, "detail": rejected.detail}, []
    except MemoryError:
        answer, parts = {"reason": "crashed", "detail": "The picture needs more memory than it may take."}, []
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    result = anonymous_file(parts)
    del parts
    try:
        send(link, answer, result)
    finally:
        os.close(result)


def _decode(descriptor: int, length: int, limits: Limits) -> tuple[dict[str, Any], list[bytes]]:
    """The answer's fields, and what belongs into its file: RGB bytes, then the thumbnail."""
    with os.fdopen(descriptor, "rb", buffering=0) as request:
        request.seek(0)
        data = request.readall()
    if len(data) != length:
        raise ImageRejected("unreadable", "The bytes did not arrive whole in the decode process.")
    picture, name = decode_picture(data, limits)
    thumbnail = make_thumbnail(picture, limits.thumbnail_side)
    answer = {"width": picture.width, "height": picture.height, "format": name, "thumbnail": len(thumbnail)}
    return answer, [picture.tobytes(), thumbnail]


# --- the process itself -------------------------------------------------------------------------------------


def _ignore_polite_signals() -> None:
    """Ctrl-C and a service manager signal the whole group; the parent wants to finish its batch first."""
    for polite in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(polite, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)


def _follow_parent(parent: int) -> None:
    """End this process, at once and in the middle of anything, when the parent is gone."""

    def wait() -> None:
        poll = select.poll()
        poll.register(0, 0)  # hang-up and errors are always reported
        while os.getppid() == parent and not poll.poll(_LOOK_MS):
            pass
        os._exit(0)

    threading.Thread(target=wait, name="follow-parent", daemon=True).start()


def _bound_memory(limits: Limits) -> None:
    """Let malloc fail beyond the limit; a failed allocation is an error, a full machine is a disaster."""
    try:
        import resource

        with open("/proc/self/statm", encoding="ascii") as file:
            mapped = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (mapped + limits.memory_bytes,) * 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (ImportError, OSError, ValueError):  # not on this system, or a stricter limit is in force
        return


def _bound_pillow(limits: Limits) -> None:
    """Pillow's own check covers pictures inside of pictures (icons); it raises above twice its number."""
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = (limits.max_pixels + 1) // 2
    warnings.simplefilter("ignore")


def _silence() -> None:
    """From here on only libraries write to standard error, and nobody reads it."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    os.close(null)
