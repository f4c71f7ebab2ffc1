"""The manifests in a folder. When one leaves it, the rows that no other one names leave the server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sightline.errors import SightlineError
from sightline.store.milvus.connection import Connection, LostRowsError
from sightline.store.milvus.manifest import SUFFIX, Named, peek, read_manifest
from sightline.store.milvus.token_rows import TokenRows
from sightline.store.own_files import SWEPT, OwnFiles

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sightline.types import Keys


class ManifestFiles(OwnFiles):
    """See `OwnFiles`. What lies aside still names its rows: it may be put back."""

    def __init__(self, folder: Path, connection: Connection) -> None:
        super().__init__(folder, SUFFIX)
        self._connection = connection

    def remove(self, name: str) -> None:
        """Deletes it, and its rows. `IndexUnavailableError` when the server is away: then it stays."""
        self._forget_rows(self.folder / name, name)
        super().remove(name)

    def remove_swept(self, name: str) -> None:
        """Likewise."""
        self._forget_rows(self.folder / SWEPT / name, name)
        super().remove_swept(name)

    def remove_alone(self, name: str) -> None:
        """Deletes it; the rows stay."""
        super().remove(name)

    def naming(self, collection: str, besides: str = "") -> list[Named]:
        """What all manifests but one, finished or not, name of a collection."""
        return [one for name, one in self._all() if one.collection == collection and name != besides]

    def collections(self) -> set[str]:
        """All that is named."""
        return {one.collection for _, one in self._all()}

    def hiding(self, keys: Keys) -> list[str]:
        """Those that can be read and hide one of these keys."""
        return [path.name for path in self._paths() if np.isin(_hidden(path), keys).any()]

    def _forget_rows(self, path: Path, name: str) -> None:
        if not self.is_ours(name) or path.is_symlink() or not path.is_file():
            return
        named = peek(path)
        if named is None:
            return
        rows, others = TokenRows(self._connection, named.collection), self.naming(named.collection, name)
        try:
            if not others:
                rows.drop()
                return
            rows.delete_parts([part for part in named.parts if not any(part in one.parts for one in others)])
        except LostRowsError:
            return

    def _all(self) -> Iterator[tuple[str, Named]]:
        for path in self._paths():
            named = peek(path)
            if named is not None:
                yield path.name, named

    def _paths(self) -> list[Path]:
        paths = [self.folder / name for name in self.stored()]
        return paths + [self.folder / SWEPT / name for name in self.swept()]


def _hidden(path: Path) -> Keys:
    try:
        return read_manifest(path).hidden
    except (OSError, SightlineError):
        return np.empty(0, np.int64)
