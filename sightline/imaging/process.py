"""One decode process, seen from the parent: started when needed, killed when it misbehaves."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import numpy as np

from sightline.errors import ImageRejected, UnavailableError
from sightline.imaging.budget import opening_seconds, wall_seconds
from sightline.imaging.decoded import Decoded
from sightline.imaging.wire import anonymous_file, read_into, receive, send

if TYPE_CHECKING:
    from sightline.imaging.limits import Allowance, Limits

_START_SECONDS: Final = 60.0
IDLE_SECONDS: Final = 60.0
"""How long an idle child may take to say that it has a picture; it may be starved."""
_CLOCKS: Final = ("SIGPROF", "SIGALRM", "SIGXCPU")
"""What ends a child whose time is up."""
_BY_SIGNAL: Final = ("SIG", "signal")
"""How the cause of a death begins that was no exit."""
_ONE_THREAD: Final = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
_LAUNCH: Final = (
    "import sys, json; sys.path += json.loads(sys.argv.pop()); "
    "from sightline.imaging.child import main; main()"
)
"""`-c` and not `-m`: the caller's current folder and script must not become importable in the child."""


class ProcessLostError(Exception):
    """The process died or was too slow. ``counts`` is False when the picture cannot be to blame: the process
    was starting, or idle and never said that it has the picture.

    ``is_final``: another try would end the same way.
    """

    def __init__(self, reason: str, detail: str, *, counts: bool = True, is_final: bool = False) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.counts = counts
        self.is_final = is_final


class DecodeProcess:
    """At most one running child. Used by one thread at a time, except for ``kill`` and ``pid``."""

    def __init__(self, limits: Limits, idle_seconds: float = IDLE_SECONDS) -> None:
        self._limits = limits
        self._idle_seconds = idle_seconds
        self._child: subprocess.Popen[bytes] | None = None
        self._link: socket.socket | None = None

    @property
    def pid(self) -> int | None:
        """The running child's process id."""
        child = self._child
        return None if child is None or child.poll() is not None else child.pid

    def decode(self, data: bytes, allowance: Allowance) -> Decoded:
        """Decode in the child, starting it when there is none.

        Raises:
            ImageRejected: the child refused the picture.
            ProcessLostError: the child is gone, or was killed while it started; the next call starts another.
            UnavailableError: no child can be started.
        """
        link = self._link or self._start()
        try:
            request = anonymous_file([data])
        except OSError as error:
            raise UnavailableError(f"The picture cannot be handed to its decode process: {error}.") from error
        self._ask(link, request, len(data), allowance)
        seconds = opening_seconds(len(data), self._limits, allowance)
        try:
            link.settimeout(wall_seconds(seconds))
            answer, descriptor = receive(link)
            if "seconds" in answer:  # the header is read
                seconds = float(answer["seconds"])
                link.settimeout(wall_seconds(seconds))
                answer, descriptor = receive(link)
        except TimeoutError:
            self.stop()
            detail = f"Decoding did not end within {wall_seconds(seconds):,.0f} seconds."
            raise ProcessLostError("timeout", detail, is_final=True) from None
        except OSError:
            raise self._lost(seconds, allowance) from None
        if "reason" in answer:
            _discard(descriptor)
            raise ImageRejected(answer["reason"], answer["detail"])
        return self._collect(answer, descriptor)

    def kill(self) -> None:
        """End the child without waiting for it; from any thread."""
        if self._child is not None:
            self._child.kill()

    def stop(self) -> None:
        """End the child and wait until it is gone."""
        child, self._child, link, self._link = self._child, None, self._link, None
        if child is not None:
            child.kill()
            child.wait()
        if link is not None:
            link.close()

    def forget(self) -> None:
        """After a fork: the child belongs to the other process; close our copy of its socket."""
        link, self._link, child, self._child = self._link, None, self._child, None
        if link is not None:
            link.close()
        if child is not None:
            child.returncode = 0  # not ours to wait for

    def _lost(self, seconds: float, allowance: Allowance) -> ProcessLostError:
        """Why the child is gone that was decoding with so much processor time."""
        cause = self._cause_of_death()
        if cause not in _CLOCKS:
            return ProcessLostError("crashed", f"The decode process died of {cause}")
        is_left = allowance.seconds < self._limits.seconds and seconds >= allowance.seconds
        why = (
            "which is all that was left for it."
            if is_left
            else "which is what its format and size may take (SIGHTLINE_IMAGING__SECONDS)."
        )
        detail = f"Decoding took more than {seconds:.3g} seconds of processor time, {why}"
        return ProcessLostError("timeout", detail, is_final=True)

    def _ask(self, link: socket.socket, request: int, length: int, allowance: Allowance) -> None:
        """Send the descriptor ``request`` of ``length`` bytes, close it, and wait until the child has it.

        A child that is being killed may still take the request into its socket.
        """
        try:
            link.settimeout(self._idle_seconds)
            send(link, {"bytes": length, **asdict(allowance)}, request)
            receive(link)
        except TimeoutError:
            self.stop()
            detail = f"An idle decode process did not answer within {self._idle_seconds:g} seconds"
            raise ProcessLostError("timeout", detail, counts=False) from None
        except OSError:
            detail = f"An idle decode process died of {self._cause_of_death()}"
            raise ProcessLostError("crashed", detail, counts=False) from None
        finally:
            os.close(request)

    def _collect(self, answer: dict[str, Any], descriptor: int | None) -> Decoded:
        width, height = int(answer["width"]), int(answer["height"])
        columns, rows = (int(length) for length in answer["rgb"])
        most = min(self._limits.max_pixels, self._limits.whole_pixels)
        if not (0 < width * height <= self._limits.max_pixels and 0 < columns * rows <= most):
            self.stop()
            raise ProcessLostError("crashed", "The decode process gave an impossible answer")
        rgb = np.empty((rows, columns, 3), np.uint8)
        thumbnail = bytearray(int(answer["thumbnail"]))
        if descriptor is None or not read_into(descriptor, [rgb.data.cast("B"), memoryview(thumbnail)]):
            self.stop()
            raise ProcessLostError("crashed", "The decode process gave fewer pixels than it said")
        name, cpu_seconds = str(answer["format"]), float(answer["cpu"])
        return Decoded(rgb, width, height, name, bytes(thumbnail), cpu_seconds)

    def _start(self) -> socket.socket:
        """Start a child and wait for its greeting, so that the picture's clock excludes the start.

        Raises:
            ProcessLostError: a signal killed it; it may have been the system, short of memory.
            UnavailableError: it cannot be started.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        complaints = anonymous_file([])
        try:
            with theirs:
                self._child = subprocess.Popen(
                    _command(self._limits),
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=complaints,
                    env={**os.environ, **_ONE_THREAD},
                )
            self._link = ours
            ours.settimeout(_START_SECONDS)
            receive(ours)
        except OSError as error:
            ours.close()
            self._not_started(error, complaints)
        finally:
            os.close(complaints)
        return ours

    def _not_started(self, error: OSError, complaints: int) -> NoReturn:
        """Raise what became of a child that did not greet, or was never made."""
        said: object = error
        if self._child is not None and isinstance(error, TimeoutError):
            said = f"it did not start within {_START_SECONDS:g} seconds"
        elif self._child is not None:
            cause = self._cause_of_death()
            if cause.startswith(_BY_SIGNAL):
                detail = f"A decode process died of {cause} while it was starting"
                raise ProcessLostError("crashed", detail, counts=False) from error
            said = _tail(complaints) or f"it ended with {cause}"
        self.stop()
        raise UnavailableError(f"No process for decoding pictures can be started: {said}.") from error

    def _cause_of_death(self) -> str:
        """Clean up after a child whose socket closed; the signal or exit code that ended it."""
        child = self._child
        self.stop()
        code = None if child is None else child.returncode
        if code is None or code >= 0:
            return f"exit code {code}"
        try:
            return signal.Signals(-code).name
        except ValueError:
            return f"signal {-code}"


def _command(limits: Limits) -> list[str]:
    """The child's command line: it gets this process's import path, appended, as `multiprocessing` does it.

    The empty entry, which means the current folder, is replaced by the folder that this package lies in.
    """
    start = json.dumps({"parent": os.getpid(), "limits": asdict(limits)})
    home = str(Path(__file__).absolute().parents[2])
    paths = [*(path for path in sys.path if path), home]
    return [sys.executable, "-I", "-c", _LAUNCH, start, json.dumps(paths)]


def _tail(descriptor: int) -> str:
    """The last line that a child wrote before it died."""
    size = os.lseek(descriptor, 0, os.SEEK_END)
    text = os.pread(descriptor, 2000, max(0, size - 2000)).decode(errors="replace").strip()
    return text.rpartition("\n")[2]


def _discard(descriptor: int | None) -> None:
    if descriptor is not None:
        os.close(descriptor)
