"""Files of what is learned on a collection: a cascade, the samples that it is fitted to, and sample texts.

One folder for each collection, model fingerprint and codec, or what stands for one. The bytes mean nothing
here: ``reranker.cascade_bytes``, ``reranker.samples`` and ``store.sample_texts`` write and read them. They
lie beside the segments, where every host finds them; all of them may be lost or deleted at any time, and are
learned again.
"""

from __future__ import annotations

import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from sightline.errors import CorruptionError, StorageError
from sightline.faultpoint import faultpoint
from sightline.store.durable import ASIDE
from sightline.store.storage import writing

FOLDER: Final = "cascades"
_CASCADE: Final = "cascade.safetensors"
SAMPLE: Final = ".sample.safetensors"
"""How the names of samples end."""
_BEGUN_SAMPLE: Final = f"{ASIDE}sample-"
"""How the name of a sample begins that is being written: a purge takes what a killed writer left."""
_TOKEN: Final = "token"
"""In a collection's folder: 32 random digits, others after each purge. What began under other ones is not
kept, and no hash of a text can be found out without them."""
_TOKEN_FORM: Final = re.compile(rb"[0-9a-f]{32}")
_MOST_BYTES: Final = 64 << 20
"""Nothing that is written here is larger."""
_AHEAD_NS: Final = 86_400 * 10**9
"""A file from so far in the future says nothing about what came after it."""


class Learned(NamedTuple):
    """What something was learned for."""

    collection_id: int
    fingerprint: str
    codec: str


class CascadeFiles:
    """The learned files beside the segments in ``segments``.

    Any number of processes may write at once: a file appears whole.
    """

    def __init__(self, segments: Path) -> None:
        self._folder = segments / FOLDER

    def path(self, of: Learned) -> Path:
        """Where the cascade's file is, or would be."""
        return self._of(of) / _CASCADE

    def version(self, of: Learned) -> tuple[int, int] | None:
        """Changes with the cascade's file; None while there is none."""
        try:
            found = self.path(of).stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino

    def read(self, of: Learned) -> bytes | None:
        """The cascade that was written last; None when there is none. Raises CorruptionError: too large."""
        with suppress(FileNotFoundError):
            return _read(self.path(of))
        return None

    def write(self, of: Learned, content: bytes) -> None:
        """Put a cascade in place of the last one. Raises StorageError: the disk does not take it."""
        with writing(self._folder):
            self._of(of).mkdir(parents=True, exist_ok=True)
        self._write(self.path(of), content)

    def token(self, collection_id: int) -> str | None:
        """What a sample must be begun under; made when there is none. None: it cannot be had now."""
        path = self._folder / str(collection_id) / _TOKEN
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if _token(path) is None:
                # Where two do so at once the last one stays, and costs the other a sample.
                self._write(path, uuid.uuid4().hex.encode())
        except (OSError, StorageError):
            return None
        return _token(path)

    def add_sample(self, of: Learned, token: str, text: str, content: bytes, most: int) -> bool:
        """The sample of a text, in place of an older one; of more than ``most`` the oldest go.

        False, and nothing is kept: it was begun before a purge, or the collection's folder is gone. Raises
        StorageError as `write`.
        """
        path = self._of(of) / f"{text}{SAMPLE}"
        with suppress(FileNotFoundError):
            for folder in (path.parent.parent, path.parent):
                folder.mkdir(exist_ok=True)  # not the collection's: it is never brought back
            self._write(path, content, lambda: self._is_present(of.collection_id, token))
        if not self._is_present(of.collection_id, token):
            path.unlink(missing_ok=True)
            return False
        for name in self.samples(of)[most:]:
            with suppress(OSError):
                self.drop_sample(of, name)
        return True

    def _is_present(self, collection_id: int, token: str) -> bool:
        return _token(self._folder / str(collection_id) / _TOKEN) == token

    def samples(self, of: Learned) -> list[str]:
        """Names of the samples, the newest first."""
        found = []
        for path in self._of(of).glob(f"*{SAMPLE}"):
            with suppress(FileNotFoundError):
                found.append((path.stat().st_mtime_ns, path.name))
        return [name for _, name in sorted(found, reverse=True)]

    def new_samples(self, of: Learned) -> int:
        """How many came since the cascade was written; all, while there is none."""
        version = self.version(of)
        if version is not None and version[0] > time.time_ns() + _AHEAD_NS:
            version = None
        count = 0
        for path in self._of(of).glob(f"*{SAMPLE}"):
            with suppress(FileNotFoundError):
                count += version is None or path.stat().st_mtime_ns > version[0]
        return count

    def sample(self, of: Learned, name: str) -> bytes | None:
        """The bytes of a sample; None when it is gone. Raises CorruptionError: too large."""
        with suppress(FileNotFoundError):
            return _read(self._of(of) / name)
        return None

    def drop_sample(self, of: Learned, name: str) -> None:
        """Nothing when it is gone."""
        (self._of(of) / name).unlink(missing_ok=True)

    def forget_samples(self, collection_id: int) -> None:
        """All samples of a collection, whatever model and codec: some may be of pictures that are erased.

        Another token first: what searches have begun to record is dropped. Raises StorageError: the disk
        lets go of none.
        """
        folder = self._folder / str(collection_id)
        if folder.is_dir():
            self._renew(folder / _TOKEN)
        with writing(folder):
            for path in (*folder.glob(f"*/*/*{SAMPLE}"), *folder.glob(f"*/*/{_BEGUN_SAMPLE}*")):
                if not path.is_dir():
                    path.unlink(missing_ok=True)

    def _renew(self, token: Path) -> None:
        try:
            self._write(token, uuid.uuid4().hex.encode())
        except OSError:
            # Where none can be read, because a folder lies in its place, say, no sample is kept anyway.
            if _token(token) is not None:
                raise

    def unfinished(self) -> dict[str, Path]:
        """What writers began, by name; some of it will be finished at once."""
        found = (*self._folder.glob(f"*/{ASIDE}*"), *self._folder.glob(f"*/*/*/{ASIDE}*"))
        return {path.name: path for path in found if path.is_file() and not path.is_symlink()}

    def forget_others(self, existing: Callable[[], Collection[int]]) -> int:
        """Everything of collections that do not exist; of how many.

        The folders are listed before ``existing`` is asked: what is made meanwhile stays.
        """
        with suppress(FileNotFoundError, NotADirectoryError):
            found = [path for path in self._folder.iterdir() if path.name.isdecimal() and path.is_dir()]
            known = {str(one) for one in existing()} if found else set()
            gone = [path for path in found if path.name not in known and not path.is_symlink()]
            for path in gone:
                shutil.rmtree(path, ignore_errors=True)
            return len(gone)
        return 0

    def _of(self, of: Learned) -> Path:
        return self._folder / str(of.collection_id) / of.fingerprint / of.codec

    def _write(self, path: Path, content: bytes, may: Callable[[], bool] = lambda: True) -> None:
        """Aside and renamed, if it still ``may`` be. Not forced to the disk: whoever reads checks, and what
        is lost comes again."""
        with writing(path.parent):
            begun = _BEGUN_SAMPLE if path.name.endswith(SAMPLE) else ASIDE
            aside = path.with_name(f"{begun}{uuid.uuid4().hex}")
            try:
                aside.write_bytes(content)
                faultpoint("file.aside")
                if may():
                    aside.replace(path)
            finally:
                aside.unlink(missing_ok=True)


def _token(path: Path) -> str | None:
    """What is a token; None for anything else."""
    try:
        with path.open("rb") as file:
            found = file.read(64)
    except OSError:
        return None
    return found.decode() if _TOKEN_FORM.fullmatch(found) else None


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size > _MOST_BYTES:
            raise CorruptionError(f"The file {path.name} is larger than any that is written there.")
        return file.read(_MOST_BYTES)
