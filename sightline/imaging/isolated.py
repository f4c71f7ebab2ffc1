"""Decoding that the caller always survives: in processes of its own, restarted when a picture kills them."""

from __future__ import annotations

import os
import queue
import weakref
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from sightline.errors import ImageRejected, InputError, UnavailableError
from sightline.imaging.decoding import check_bytes
from sightline.imaging.limits import Allowance, Limits
from sightline.imaging.process import IDLE_SECONDS, DecodeProcess, ProcessLostError

if TYPE_CHECKING:
    from types import TracebackType

    from sightline.imaging.decoded import Decoded

_MOST_IDLE_LOSSES: Final = 3
"""Processes lost for one picture before they had it: more is no accident, and waiting has to end."""


class IsolatedDecoder:
    """A pool of decode processes, each started with its first picture. Thread-safe.

    A picture whose process dies gets a new process, up to ``max_tries`` times in all: most crashes come
    again, but a machine short of memory may have killed a process that did nothing wrong. Then it is rejected
    (``crashed``). One that takes more processor time than it may (`imaging.budget`) is rejected at once
    (``timeout``): it would again. No other picture is affected. A process that dies while it starts or
    is idle, or that does not take a picture within ``idle_seconds``, is replaced, and no picture is blamed.
    The processes end with this one, however it ends.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        processes: int = 1,
        max_tries: int = 3,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        if processes < 1 or max_tries < 1 or not idle_seconds > 0:
            raise InputError("A decoder needs at least one process, one try and some time to answer.")
        self.limits = limits or Limits()
        self._whole = Allowance(self.limits.max_pixels, self.limits.seconds)
        self._max_tries = max_tries
        self._processes = [DecodeProcess(self.limits, idle_seconds) for _ in range(processes)]
        self._owner = os.getpid()
        self._closed = False
        self._fill_queue()
        self._finalizer = weakref.finalize(self, _stop_all, self._processes, self._owner)

    def __enter__(self) -> IsolatedDecoder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def decode(self, data: bytes, allowance: Allowance | None = None) -> Decoded:
        """Decode one picture, within ``allowance`` when that is less than the limits.

        Raises:
            ImageRejected: there is no usable picture in the bytes.
            UnavailableError: no process can be started, or lives until it has the picture, or the decoder is
                closed.
        """
        check_bytes(data, self.limits)
        self._notice_fork()
        process = self._free.get()
        try:
            return self._decode_in(process, data, allowance or self._whole)
        finally:
            self._free.put(process)

    def decode_many(self, data: Sequence[bytes]) -> Iterator[Decoded | ImageRejected]:
        """Decode each, in order; a rejected picture gives its rejection in its place.

        Decoding keeps ahead of the caller by one picture for each process, so that no more than these are in
        memory, however many there are.
        """
        threads = min(len(self._processes), len(data))
        if threads <= 1:
            yield from map(self._decode_or_reason, data)
            return
        with ThreadPoolExecutor(threads, "decode") as pool:
            coming: deque[Future[Decoded | ImageRejected]] = deque()
            for one in data:
                coming.append(pool.submit(self._decode_or_reason, one))
                if len(coming) > threads:
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()

    def pids(self) -> list[int]:
        """The process ids of the children that run now."""
        return [pid for process in self._processes if (pid := process.pid) is not None]

    def close(self) -> None:
        """End all processes now; a decode that is under way in another thread raises UnavailableError."""
        self._notice_fork()
        self._closed = True
        idle: list[DecodeProcess] = []
        while len(idle) < len(self._processes):
            try:
                idle.append(self._free.get(timeout=0.05))
            except queue.Empty:
                for process in self._processes:
                    process.kill()
        for process in idle:
            process.stop()
            self._free.put(process)

    def _decode_or_reason(self, data: bytes) -> Decoded | ImageRejected:
        try:
            return self.decode(data)
        except ImageRejected as rejected:
            return rejected.with_traceback(None)

    def _decode_in(self, process: DecodeProcess, data: bytes, allowance: Allowance) -> Decoded:
        tries = idle = 0
        while True:
            if self._closed:
                raise UnavailableError("The picture decoder is closed.")
            try:
                return process.decode(data, allowance)
            except ProcessLostError as lost:
                if lost.is_final:
                    raise ImageRejected(lost.reason, lost.detail) from None
                tries += lost.counts
                idle += not lost.counts
                if idle >= _MOST_IDLE_LOSSES and not self._closed:
                    raise UnavailableError(
                        f"Of {idle} decode processes none lived until it had the picture: {lost.detail}. "
                        "See whether the machine is short of memory or overloaded."
                    ) from None
                if tries >= self._max_tries and not self._closed:
                    times = "once" if tries == 1 else f"{tries} times"
                    raise ImageRejected(lost.reason, f"{lost.detail} (tried {times}).") from None

    def _fill_queue(self) -> None:
        # Last in, first out: one picture at a time keeps one process busy, and the others unstarted.
        self._free: queue.LifoQueue[DecodeProcess] = queue.LifoQueue()
        for process in self._processes:
            self._free.put(process)

    def _notice_fork(self) -> None:
        """A forked copy of this object must not talk to the children of the original."""
        if self._owner == os.getpid():
            return
        self._owner = os.getpid()
        for process in self._processes:
            process.forget()
        self._fill_queue()
        self._finalizer.detach()
        self._finalizer = weakref.finalize(self, _stop_all, self._processes, self._owner)


def _stop_all(processes: Sequence[DecodeProcess], owner: int) -> None:
    """When the decoder is forgotten, and when the interpreter ends."""
    if os.getpid() == owner:
        for process in processes:
            process.stop()
