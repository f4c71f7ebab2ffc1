"""Pictures that come with a rerank: decoded after the request was let in, in fair turns, within its means.

All requests share a few decoders, apart from those that make patches of stored pictures again. A request asks
for one picture at a time and stands in line again for the next, so that one with a thousand slow pictures
holds up another with one by no more than a picture.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sightline.api.parts import Decoder
from sightline.api.problems import Problem, invalid
from sightline.api.settings import ApiSettings
from sightline.errors import AbandonedError, DeadlineError, ImageRejected
from sightline.imaging.limits import Allowance
from sightline.serving.scheduler import client_gone
from sightline.types import RGB

Clock = Callable[[], float]


class DocumentDecoding:
    """What all requests share. Thread-safe."""

    def __init__(self, decoder: Decoder, settings: ApiSettings, clock: Clock = time.monotonic) -> None:
        self._decoder = decoder
        self._settings = settings
        self._clock = clock
        self.line = Line(settings.decoders)

    def of_request(self) -> RequestPictures:
        """A fresh budget, for one request in one thread."""
        return RequestPictures(self._decoder, self._settings, self.line, self._clock)


class RequestPictures:
    """The pictures of one request, and what is left of its pixels, processor time and patience."""

    def __init__(self, decoder: Decoder, settings: ApiSettings, line: Line, clock: Clock) -> None:
        self._decoder = decoder
        self._settings = settings
        self._line = line
        self._clock = clock
        self._pixels = settings.max_document_pixels
        self._cpu_seconds = settings.document_seconds
        self._patience = settings.document_wait_seconds

    def rgb(self, index: int | None, pointer: str, fetch: Callable[[], bytes]) -> RGB:
        """Decode the document at ``index`` (None: the one picture that is asked with), [H,W,3].

        ``fetch`` gives its bytes, which stand at ``pointer``.

        Raises:
            Problem: 422 when it is no picture or all together take too long, 413 when they are too large.
            DeadlineError: the decoders are busy with other requests.
            AbandonedError: the client has hung up.
        """
        gone = client_gone.get()
        if gone is not None and gone.is_set():
            raise AbandonedError("The client has hung up; no picture is decoded for it.")
        data = fetch()
        began = self._clock()
        if self._patience <= 0:
            raise _busy()
        try:
            with self._line.turn(self._patience):
                return self._decode(index, pointer, data)
        finally:
            self._patience -= self._clock() - began

    def _decode(self, index: int | None, pointer: str, data: bytes) -> RGB:
        if self._pixels <= 0:
            raise self._too_large()
        try:
            decoded = self._decoder.decode(data, Allowance(self._pixels, self._cpu_seconds))
        except ImageRejected as error:
            raise self._refused(index, pointer, error) from error
        self._pixels -= decoded.width * decoded.height
        self._cpu_seconds -= decoded.cpu_seconds
        if self._cpu_seconds <= 0:
            raise self._too_slow(pointer)
        return decoded.rgb

    def _refused(self, index: int | None, pointer: str, error: ImageRejected) -> Problem:
        if error.reason == "too_many_pixels" and "SIGHTLINE_IMAGING__MAX_PIXELS" in error.detail:
            return self._too_large()
        if error.reason == "timeout" and "SIGHTLINE_IMAGING__SECONDS" not in error.detail:
            return self._too_slow(pointer)
        what = "The query picture" if index is None else f"Document {index}"
        return invalid(pointer, f"{what} is no usable picture: {error.detail}")

    def _too_large(self) -> Problem:
        limit = self._settings.max_document_pixels
        return Problem(
            413,
            f"The pictures of one request may have at most {limit:,} pixels together "
            "(SIGHTLINE_API__MAX_DOCUMENT_PIXELS).",
        )

    def _too_slow(self, pointer: str) -> Problem:
        seconds = self._settings.document_seconds
        return invalid(
            pointer,
            f"The pictures of one request may take {seconds:g} seconds of processor time to decode, and "
            "these take more; send fewer or smaller ones (SIGHTLINE_API__DOCUMENT_SECONDS).",
        )


class Line:
    """So many turns at a time; whoever has waited longest is next. Thread-safe."""

    def __init__(self, turns: int) -> None:
        self._free = turns
        self._waiting: deque[threading.Event] = deque()
        self._lock = threading.Lock()

    @property
    def length(self) -> int:
        """How many wait."""
        return len(self._waiting)

    @contextmanager
    def turn(self, seconds: float) -> Iterator[None]:
        """A turn, as long as the block lasts.

        Raises:
            DeadlineError: none came within ``seconds``.
        """
        self._wait(seconds)
        try:
            yield
        finally:
            with self._lock:
                self._pass_on()

    def _wait(self, seconds: float) -> None:
        mine = threading.Event()
        with self._lock:
            if self._free > 0:
                self._free -= 1
                return
            self._waiting.append(mine)
        if mine.wait(max(0.0, seconds)):
            return
        with self._lock:
            if mine in self._waiting:
                self._waiting.remove(mine)
            else:
                self._pass_on()  # the turn came at the last moment
        raise _busy()

    def _pass_on(self) -> None:
        if self._waiting:
            self._waiting.popleft().set()
        else:
            self._free += 1


def _busy() -> DeadlineError:
    return DeadlineError(
        "The pictures of this request did not get their turns in time; try again soon, or send fewer "
        "(SIGHTLINE_API__DOCUMENT_WAIT_SECONDS)."
    )
