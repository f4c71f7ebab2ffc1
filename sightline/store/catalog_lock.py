"""Who may have a SQLite catalog open: many who work with it, or one who puts another in its place.

A file that is replaced lives on under another name for whoever has it open, and what they write then is lost
with it. So all hold a lock of the kernel on a small file beside the catalog, which ends with its process,
however that ends. A catalog on a server is filled in place: it has no such file.
"""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sightline.errors import ConflictError, UnavailableError

log = logging.getLogger(__name__)

RUNNING: Final = (
    "Processes of this installation are running: stop API, workers, builder and all other commands first."
)
REPLACING: Final = "A restore of this installation is under way: try again when it has ended."


class CatalogLock:
    """Of one installation in one process. Thread-safe. Nothing waits for it.

    Where the kernel or the file system knows no such locks, all go on without.
    """

    def __init__(self, catalog: Path | None) -> None:
        """``catalog``: its file, which need not exist; None: it is on a server, and nothing is locked."""
        self._path = catalog and catalog.with_name(f".{catalog.name}.lock")
        self._guard = threading.Lock()
        self._is_shared = False
        self._give_back: Callable[[], object] | None = None

    def share(self) -> None:
        """Before the catalog is opened: nobody replaces it until `close`.

        Raises:
            UnavailableError: somebody is just doing so.
        """
        with self._guard:
            if self._give_back is None and not self._take(shared=True):
                raise UnavailableError(REPLACING)
            self._is_shared = True

    @contextmanager
    def alone(self) -> Iterator[None]:
        """While the catalog is replaced. Once it was opened in the block, by this lock's own, until `close`.

        Raises:
            ConflictError: somebody has it open, or replaces it.
        """
        with self._guard:
            self._exclude()
        try:
            yield
        finally:
            with self._guard:
                if not self._is_shared:
                    self._end()

    def close(self) -> None:
        """What was locked is free."""
        with self._guard:
            self._is_shared = False
            self._end()

    def _exclude(self) -> None:
        if self._give_back is not None:
            raise ConflictError(RUNNING if self._is_shared else REPLACING)
        if self._take(shared=False):
            return
        is_open = self._take(shared=True)  # then it is only who works with it that is in the way
        self._end()
        raise ConflictError(RUNNING if is_open else REPLACING)

    def _take(self, *, shared: bool) -> bool:
        """False when somebody else is in the way."""
        if self._path is None:
            return True
        try:
            descriptor = _opened(self._path)
        except OSError as error:
            log.debug("the catalog is used without a lock", extra={"error": str(error)})
            return True
        self._give_back = weakref.finalize(self, os.close, descriptor)  # which ends the lock
        try:
            _lock(descriptor, shared=shared)
        except BlockingIOError:
            self._end()
            return False
        except OSError as error:
            log.debug("the file system knows no locks", extra={"error": str(error)})
        return True

    def _end(self) -> None:
        give_back, self._give_back = self._give_back, None
        if give_back is not None:
            give_back()


def _opened(path: Path) -> int:
    """The file, made by whoever comes first; Python's descriptors are not inherited by other programs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError:
        return os.open(path, os.O_RDONLY)  # another user's, or on a disk that is read only


def _lock(descriptor: int, *, shared: bool) -> None:
    """Raises BlockingIOError when it would wait."""
    try:
        import fcntl
    except ImportError:  # Windows
        return
    fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
