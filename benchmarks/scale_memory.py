"""Memory that is a process's own: anonymous pages, which the page cache can never give back."""

from __future__ import annotations

import ctypes
import gc
import re
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

_STATUS: Final = Path("/proc/self/status")
_EVERY_S: Final = 0.2


def anonymous_bytes(status: Path = _STATUS) -> int:
    """Resident anonymous memory of this process; 0 where the system does not tell."""
    found = re.search(r"^RssAnon:\s+(\d+) kB", status.read_text(), re.M) if status.exists() else None
    return 1024 * int(found[1]) if found else 0


def _give_back() -> None:
    """What was freed before would hide what is taken after: glibc keeps it unless it is told."""
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


class AnonymousPeak:
    """``bytes``: how far anonymous memory rose above where it was, looked at a few times a second."""

    def __init__(self) -> None:
        self.bytes = 0
        self._start = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        _give_back()
        self._start = anonymous_bytes()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            ended = self._ended.wait(_EVERY_S)
            self.bytes = max(self.bytes, anonymous_bytes() - self._start)
            if ended:
                return
