"""Originals opened to be sent: compared with their SHA-256 first, never whole in memory.

A local file is read twice through one descriptor: once to compare, once to send. Whatever else it lies in (an
object store, an archive) is copied to a temporary file while it is compared. A file that is written to while
it is being sent is given up, so that nobody takes other bytes for those that were indexed.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from io import FileIO
from typing import TYPE_CHECKING, BinaryIO, Final

from sightline.errors import ImageRejected, NotFoundError, UnavailableError
from sightline.imaging.files import too_many_bytes
from sightline.indexer.files import local_path, open_file, scheme_of
from sightline.indexer.roots import ARCHIVE_MARK, FILE_SCHEME
from sightline.indexer.sources.listing import member_uri_pieces
from sightline.store.records import COPIED
from sightline.store.storage import writing

if TYPE_CHECKING:
    from sightline.store.blobs import BlobStore

CHUNK: Final = 1 << 20
KNOWN: Final = 1000
"""Local files whose comparison is remembered, as long as they are not written to."""
SETTLED_SECONDS: Final = 5.0
"""A file written to less than this ago may be written to again within the resolution of its times."""
State = tuple[int, int, int, int, int]


class OpenedOriginal:
    """The bytes that were registered. Close it. Its reads are thread-safe.

    ``ours``: nobody writes to the file any more, so new times mean nothing.
    """

    def __init__(self, descriptor: int, name: str, *, ours: bool) -> None:
        self._file = FileIO(os.dup(descriptor))
        self._name = name
        self._ours = ours
        self.state = _state(descriptor)
        """Which file this is, and when it was written to last."""
        self.size = self.state[2]
        """In bytes."""

    def read(self, at: int, length: int) -> bytes:
        """``length`` bytes from ``at`` on. Raises ImageRejected (``changed``) once the file is written to."""
        data = os.pread(self._file.fileno(), length, at)
        is_whole = len(data) == min(length, max(0, self.size - at))
        # The time of a write, not that of a change of name: a picture may be moved while it is shown.
        if not is_whole or not (self._ours or _state(self._file.fileno())[:4] == self.state[:4]):
            raise changed(self._name)
        return data

    def close(self) -> None:
        """Twice is once."""
        self._file.close()


class Opener:
    """Opens originals by their address. Thread-safe."""

    def __init__(self, blobs: BlobStore, max_bytes: int) -> None:
        self._blobs = blobs
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._known: OrderedDict[State, str] = OrderedDict()

    def open(self, uri: str, sha256: str) -> OpenedOriginal:
        """The original at an address that is not remote, with that SHA-256.

        Raises:
            ImageRejected: ``unreadable``, ``too_many_bytes``, or ``changed`` when it has other bytes now.
            StorageError: the disk of temporary files is full.
        """
        file = self._file(uri)
        if file is None:
            return self._spooled(member_uri_pieces(uri, self._max_bytes), uri, sha256)
        with file:
            if not _is_file(file):
                return self._spooled(_pieces(file, uri), uri, sha256)
            opened = OpenedOriginal(file.fileno(), uri, ours=uri.startswith(COPIED))
        try:
            self._compare(opened, uri, sha256)
        except BaseException:
            opened.close()
            raise
        return opened

    def _file(self, uri: str) -> BinaryIO | None:
        """A stored original, or a local file; None for any other address."""
        try:
            if uri.startswith(COPIED):
                return self._blobs.open(uri.removeprefix(COPIED))
            if scheme_of(uri) in (None, "file") and ARCHIVE_MARK not in uri.removeprefix(FILE_SCHEME):
                path = local_path(uri)
                if os.path.isabs(path):
                    return open_file(path)
        except (OSError, ValueError, NotFoundError, UnavailableError) as error:
            raise ImageRejected("unreadable", f"{uri} cannot be read: {error}.") from error
        return None

    def _compare(self, opened: OpenedOriginal, uri: str, sha256: str) -> None:
        if opened.size > self._max_bytes:
            raise too_many_bytes(uri, opened.size, self._max_bytes)
        with self._lock:
            if self._known.get(opened.state) == sha256:
                self._known.move_to_end(opened.state)
                return
        digest = hashlib.sha256()
        for at in range(0, opened.size, CHUNK):
            digest.update(opened.read(at, CHUNK))
        if digest.hexdigest() != sha256:
            raise changed(uri)
        if time.time() - max(opened.state[3:]) / 1e9 > SETTLED_SECONDS:
            with self._lock:
                self._known[opened.state] = sha256
                if len(self._known) > KNOWN:
                    self._known.popitem(last=False)

    def _spooled(self, pieces: Iterator[bytes], uri: str, sha256: str) -> OpenedOriginal:
        digest = hashlib.sha256()
        folder = tempfile.gettempdir()
        with writing(folder), tempfile.TemporaryFile() as copy:
            for piece in pieces:
                digest.update(piece)
                copy.write(piece)
                if copy.tell() > self._max_bytes:
                    raise too_many_bytes(uri, copy.tell(), self._max_bytes)
            copy.flush()
            if digest.hexdigest() != sha256:
                raise changed(uri)
            return OpenedOriginal(copy.fileno(), uri, ours=True)


def changed(uri: str) -> ImageRejected:
    """The rejection of an original that has other bytes than those that were registered."""
    return ImageRejected("changed", f"{uri} is not what it was when it was registered; index it again.")


def _pieces(file: BinaryIO, uri: str) -> Iterator[bytes]:
    try:
        while piece := file.read(CHUNK):
            yield piece
    except Exception as error:  # every driver has its own
        raise ImageRejected("unreadable", f"{uri} cannot be read: {error}.") from error


def _is_file(file: BinaryIO) -> bool:
    """Whether it is a regular file of this machine. Raises ImageRejected for a pipe or a device."""
    try:
        mode = os.fstat(file.fileno()).st_mode
    except (OSError, AttributeError):
        return False
    if not stat.S_ISREG(mode):
        raise ImageRejected("unreadable", "The original is no regular file.")
    return True


def _state(descriptor: int) -> State:
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
