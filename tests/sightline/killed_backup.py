"""``python -m tests.sightline.killed_backup backup|restore DATA PLACE DIES_AFTER`` is killed by itself.

With SIGKILL, before the n-th file that it writes into the place or reads from it. Imports no model.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from sightline.settings import Settings
from sightline.store.places import LocalPlace
from sightline.upkeep.backups.backup import Wish
from sightline.wiring import open_installation


class Dies(LocalPlace):
    """A folder whose user is killed."""

    def __init__(self, root: Path, left: int) -> None:
        super().__init__(root)
        self._left = left

    def put(self, path: str, chunks: Iterable[bytes], sha256: str | None = None) -> int:
        self._count()
        return super().put(path, chunks, sha256)

    def chunks(self, path: str) -> Iterator[bytes]:
        self._count()
        return super().chunks(path)

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            os.kill(os.getpid(), signal.SIGKILL)


def main(what: str, data: str, place: str, dies_after: str) -> int:
    with open_installation(Settings(data=Path(data))) as services:
        where = Dies(Path(place), int(dies_after))
        if what == "backup":
            services.backup.run(where, Wish(lease_seconds=1.0))
        else:
            services.restore.run(where)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
