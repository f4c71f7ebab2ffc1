"""Files of what is learned on a collection: a cascade, and the samples that it is fitted to.

One folder for each collection, model fingerprint and codec. The bytes mean nothing here;
``reranker.cascade_bytes`` and ``reranker.samples`` write and read them. They lie beside the segments, where
every host finds them; all of them may be lost or deleted at any time, and are learned again.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from sightline.store.durable import ASIDE
from sightline.store.storage import writing

FOLDER: Final = "cascades"
_CASCADE: Final = "cascade.safetensors"
_SAMPLE: Final = ".sample.safetensors"


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
        """The cascade that was written last; None when there is none."""
        with suppress(FileNotFoundError):
            return self.path(of).read_bytes()
        return None

    def write(self, of: Learned, content: bytes) -> None:
        """Put a cascade in place of the last one. Raises StorageError: the disk does not take it."""
        self._write(self.path(of), content)

    def add_sample(self, of: Learned, content: bytes, most: int) -> None:
        """One more sample; of more than ``most`` the oldest go. Raises StorageError as `write`."""
        self._write(self._of(of) / f"{uuid.uuid4().hex}{_SAMPLE}", content)
        for name in self.samples(of)[most:]:
            self.drop_sample(of, name)

    def samples(self, of: Learned) -> list[str]:
        """Names of the samples, the newest first."""
        found = []
        for path in self._of(of).glob(f"*{_SAMPLE}"):
            with suppress(FileNotFoundError):
                found.append((path.stat().st_mtime_ns, path.name))
        return [name for _, name in sorted(found, reverse=True)]

    def new_samples(self, of: Learned) -> int:
        """How many came since the cascade was written; all, while there is none."""
        version = self.version(of)
        count = 0
        for path in self._of(of).glob(f"*{_SAMPLE}"):
            with suppress(FileNotFoundError):
                count += version is None or path.stat().st_mtime_ns > version[0]
        return count

    def sample(self, of: Learned, name: str) -> bytes | None:
        """The bytes of a sample; None when it is gone."""
        with suppress(FileNotFoundError):
            return (self._of(of) / name).read_bytes()
        return None

    def drop_sample(self, of: Learned, name: str) -> None:
        """Nothing when it is gone."""
        (self._of(of) / name).unlink(missing_ok=True)

    def forget_samples(self, collection_id: int) -> None:
        """All samples of a collection, whatever model and codec: some may be of pictures that are erased."""
        for path in (self._folder / str(collection_id)).glob(f"*/*/*{_SAMPLE}"):
            path.unlink(missing_ok=True)

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

    def _write(self, path: Path, content: bytes) -> None:
        """Aside and renamed. Not forced to the disk: whoever reads checks, and what is lost comes again."""
        with writing(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
            aside = path.with_name(f"{ASIDE}{uuid.uuid4().hex}")
            try:
                aside.write_bytes(content)
                aside.replace(path)
            except BaseException:
                aside.unlink(missing_ok=True)
                raise
