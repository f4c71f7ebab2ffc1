"""The decode process: takes pictures from its parent, one at a time, until the parent is gone.

Started by `imaging.process` with a stream socket as standard input. It imports Pillow and this package only
(numpy for deep grey), bounds its own memory and processor time by what each picture explains, ignores the
signals that stop the parent politely, and cannot outlive it: a thread waits for the parent's end of the
socket to close, and an alarm ends a decode that holds on to everything.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from sightline.errors import ImageRejected
from sightline.imaging.budget import decoding_seconds, memory_budget, opening_seconds, wall_seconds
from sightline.imaging.decoding import TOO_MUCH_MEMORY, decode_picture, make_thumbnail
from sightline.imaging.formats import decodable
from sightline.imaging.limits import Allowance, Limits
from sightline.imaging.own_errors import own_mistake
from sightline.imaging.wire import PeerGoneError, anonymous_file, receive, send

if TYPE_CHECKING:
    from PIL import Image
    from PIL.ImageFile import ImageFile

_LOOK_MS: Final = 2000
"""How often the parent's pid is compared: a fork of the parent may hold its end of the socket open."""
_ALARM_SLACK: Final = 10.0
"""Seconds beyond the parent's patience after which the alarm ends this process."""
_STRIP_BYTES: Final = 8 << 20
"""Pixels are handed over in pieces of this size: a second copy of the picture is never made."""


def main() -> None:
    """Serve the parent until it is gone. ``sys.argv[1]``: JSON with ``parent`` and ``limits``."""
    start = json.loads(sys.argv[1])
    limits = Limits(**start["limits"])
    _ignore_polite_signals()
    link = socket.socket(fileno=0)
    link.setblocking(True)
    _follow_parent(start["parent"])
    decodable()
    _forbid_core_files()
    memory = _mapped_bytes()
    _bound_pillow(limits)
    send(link, {"ready": True})
    _silence()
    try:
        while True:
            _serve_one(link, limits, memory)
    except (PeerGoneError, BrokenPipeError, ConnectionResetError):
        return


def _serve_one(link: socket.socket, limits: Limits, mapped: int) -> None:
    request, descriptor = receive(link)
    if descriptor is None:
        return
    send(link, {"begun": True})  # from here on the picture is to blame
    task = _Task(link, request, limits, mapped)
    try:
        answer, parts = task.decode(descriptor)
    except ImageRejected as rejected:
        answer, parts = {"reason": rejected.reason, "detail": rejected.detail}, iter(())
    except MemoryError:
        answer, parts = {"reason": "too_complex", "detail": TOO_MUCH_MEMORY}, iter(())
    except OSError:
        raise  # the parent is gone
    except Exception as error:
        answer, parts = {"reason": "internal", "detail": own_mistake(error) or _unknown(error)}, iter(())
    finally:
        task.set_clock(0)
    result = anonymous_file(parts)
    del parts, task
    try:
        send(link, answer, result)
    finally:
        os.close(result)


def _unknown(error: Exception) -> str:
    return f"Decoding the picture failed in a way that nobody foresaw ({type(error).__name__})."


class _Task:
    """One picture: its clock, its memory and its way through Pillow."""

    def __init__(self, link: socket.socket, request: dict[str, Any], limits: Limits, mapped: int) -> None:
        self._link = link
        self._length: int = request["bytes"]
        self._allowance = Allowance(request["pixels"], request["seconds"])
        self._limits = limits
        self._tight = replace(limits, max_pixels=min(limits.max_pixels, self._allowance.pixels))
        self._mapped = mapped
        self._spent = -time.process_time()

    def decode(self, descriptor: int) -> tuple[dict[str, Any], Iterator[bytes]]:
        """The answer's fields, and what belongs into its file: RGB bytes, then the thumbnail."""
        self.set_clock(opening_seconds(self._length, self._limits, self._allowance))
        _bound_memory(self._mapped + self._limits.memory_bytes + 2 * self._length)
        with os.fdopen(descriptor, "rb", buffering=0) as request:
            request.seek(0)
            data = request.readall()
        if len(data) != self._length:
            raise ImageRejected("unreadable", "The bytes did not arrive whole in the decode process.")
        rgb, width, height, name = decode_picture(data, self._tight, self._on_header)
        del data
        thumbnail = make_thumbnail(rgb, self._limits.thumbnail_side)
        answer = {
            "width": width,
            "height": height,
            "rgb": rgb.size,
            "format": name,
            "thumbnail": len(thumbnail),
            "cpu": self._spent + time.process_time(),
        }
        return answer, _parts(rgb, thumbnail)

    def set_clock(self, seconds: float) -> None:
        """Give this picture so many seconds of processor time from now on; 0 stops the clock.

        The kernel ends the process when they are used up, whatever it is doing; so it does, much later, when
        a process that computes nothing never comes back.
        """
        signal.setitimer(signal.ITIMER_PROF, seconds)
        signal.setitimer(signal.ITIMER_REAL, wall_seconds(seconds) + _ALARM_SLACK if seconds else 0)

    def _on_header(self, opened: ImageFile) -> None:
        seconds = decoding_seconds(opened, self._length, self._limits, self._allowance)
        send(self._link, {"seconds": seconds})
        self.set_clock(seconds)
        _bound_memory(self._mapped + memory_budget(opened, self._length, self._limits))


def _parts(rgb: Image.Image, thumbnail: bytes) -> Iterator[bytes]:
    rows = max(1, _STRIP_BYTES // (3 * rgb.width))
    if rows >= rgb.height:
        yield from (rgb.tobytes(), thumbnail)
        return
    for top in range(0, rgb.height, rows):
        yield rgb.crop((0, top, rgb.width, min(rgb.height, top + rows))).tobytes()
    yield thumbnail


# --- the process itself -------------------------------------------------------------------------------------


def _ignore_polite_signals() -> None:
    """Ctrl-C and a service manager signal the whole group; the parent wants to finish its batch first."""
    for polite in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(polite, signal.SIG_IGN)
    for clock in (signal.SIGALRM, signal.SIGPROF):
        signal.signal(clock, signal.SIG_DFL)


def _follow_parent(parent: int) -> None:
    """End this process, at once and in the middle of anything, when the parent is gone."""

    def wait() -> None:
        poll = select.poll()
        poll.register(0, 0)  # hang-up and errors are always reported
        while os.getppid() == parent and not poll.poll(_LOOK_MS):
            pass
        os._exit(0)

    threading.Thread(target=wait, name="follow-parent", daemon=True).start()


def _forbid_core_files() -> None:
    with suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _mapped_bytes() -> int:
    """What this process has mapped; 0 where the system does not tell."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0


def _bound_memory(most: int) -> None:
    """Let malloc fail beyond ``most``; a failed allocation is an error, a full machine is a disaster."""
    try:
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        soft = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    except (ImportError, OSError, ValueError):  # not on this system, or a stricter limit is in force
        return


def _bound_pillow(limits: Limits) -> None:
    """Pillow's own check covers pictures inside of pictures (icons); it raises above twice its number.

    One thread for AVIF: as many as a large machine has would each take memory of the one picture.
    """
    from PIL import Image

    with suppress(ImportError):
        from PIL import AvifImagePlugin

        AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    Image.MAX_IMAGE_PIXELS = (limits.max_pixels + 1) // 2
    warnings.simplefilter("ignore")


def _silence() -> None:
    """From here on only libraries write to standard error, and nobody reads it."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    os.close(null)
