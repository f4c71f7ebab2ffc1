"""Anything that fsspec reaches as the file system under a blob store."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, BinaryIO

from sightline.store.blob_files import TAKEN, Taken, pieces_of
from sightline.store.remote import file_system
from sightline.store.remote import translated as _translated

AT_ONCE = 8 << 20
"""Bytes that one request writes, at most."""
BLOCK = 1 << 20
"""Bytes that are fetched at once when a file is read piece by piece."""
MARK_SECONDS = 30.0
"""A removal takes a few requests: one that takes longer than this has died."""


class RemoteFiles:
    """Any other fsspec URL; its credentials and options come from fsspec's own configuration."""

    def __init__(self, url: str) -> None:
        self._fs, self._root = file_system(url, "of the originals")

    def write(self, path: str, data: bytes) -> None:
        full = f"{self._root}/{path}"
        with _translated(full):
            self._fs.makedirs(full.rpartition("/")[0], exist_ok=True)
            self._fs.pipe_file(full, data)

    def read(self, path: str) -> bytes:
        full = f"{self._root}/{path}"
        with _translated(full):
            return bytes(self._fs.cat_file(full))

    def open(self, path: str) -> BinaryIO:
        full = f"{self._root}/{path}"
        with _translated(full):
            opened: BinaryIO = self._fs.open(full, "rb", block_size=BLOCK)
            return opened

    def size(self, path: str) -> int | None:
        full = f"{self._root}/{path}"
        try:
            with _translated(full):
                info: dict[str, Any] = self._fs.info(full)
        except FileNotFoundError:
            return None
        return int(info.get("size") or 0)

    def _send(self, path: str, file: BinaryIO) -> None:
        """One request when the file is small, else several; object stores show it after the last one."""
        if file.seek(0, os.SEEK_END) <= AT_ONCE:
            self.write(path, b"".join(pieces_of(file)))
            return
        full = f"{self._root}/{path}"
        with _translated(full):
            self._fs.makedirs(full.rpartition("/")[0], exist_ok=True)
            target = self._fs.open(full, "wb", block_size=AT_ONCE)
            try:
                for piece in pieces_of(file):
                    target.write(piece)
            except BaseException:
                target.discard()
                target.closed = True  # else it would be shown as it is, when Python clears it away
                raise
            target.close()

    def keep(self, path: str, file: BinaryIO) -> None:
        """Write it, for a store has no touch; then again, if a removal that began before went on after it.

        A removal leaves a mark before it looks how old the file is: without a mark, either it has not looked
        yet (and will see a new file), or it is over (and the file is there or not).
        """
        self._send(path, file)
        patience = time.monotonic() + MARK_SECONDS
        while True:
            while self.size(f"{TAKEN}/{path}") is not None and time.monotonic() < patience:
                time.sleep(0.05)
            if self.size(path) is not None:
                return
            self._send(path, file)

    def take(self, path: str, before: float | None) -> Taken:
        """By a copy, which is the mark, and a deletion: a store does not rename."""
        full, mark = f"{self._root}/{path}", f"{self._root}/{TAKEN}/{path}"
        try:
            with _translated(full):
                self._fs.makedirs(mark.rpartition("/")[0], exist_ok=True)
                self._fs.cp_file(full, mark)
                if before is not None and self._modified(full) >= before:
                    self._fs.rm_file(mark)
                    return "young"
                self._fs.rm_file(full)
        except FileNotFoundError:
            self.drop(path)
            return "absent"
        return "taken"

    def put_back(self, path: str) -> None:
        full, mark = f"{self._root}/{path}", f"{self._root}/{TAKEN}/{path}"
        with suppress(FileNotFoundError), _translated(full):
            self._fs.cp_file(mark, full)
            self._fs.rm_file(mark)

    def drop(self, path: str) -> bool:
        try:
            with _translated(path):
                self._fs.rm_file(f"{self._root}/{TAKEN}/{path}")
        except FileNotFoundError:
            return False
        return True

    def drop_beginnings(self, path: str, before: float) -> None:
        """Nothing is ever aside."""

    def taken(self) -> Iterator[str]:
        root = f"{self._root}/{TAKEN}"
        with _translated(root):
            for folder in self._list(root):
                for fan in self._list(folder):
                    yield from (name.removeprefix(f"{root}/") for name in self._list(fan))

    def _modified(self, full: str) -> float:
        """Seconds since the epoch; a store that does not tell the time has only new files."""
        try:
            return float(self._fs.modified(full).timestamp())
        except NotImplementedError:
            return float("inf")

    def names(self, folder: str) -> Iterator[str]:
        """Base names below ``folder``, one fan-out folder in memory at a time."""
        full = f"{self._root}/{folder}"
        with _translated(full):
            for fan in self._list(full):
                yield from (name.rpartition("/")[2] for name in self._list(fan))

    def top(self) -> list[str]:
        with _translated(self._root):
            return [name.rpartition("/")[2] for name in self._list(self._root)]

    def unfinished(self) -> list[str]:
        """Nothing is ever aside."""
        return []

    def drop_unfinished(self, name: str) -> None:
        """There is none."""

    def _list(self, full: str) -> list[str]:
        try:
            return [str(name).rstrip("/") for name in self._fs.ls(full, detail=False, refresh=True)]
        except (FileNotFoundError, NotADirectoryError):
            return []
