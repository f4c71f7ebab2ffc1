"""Archives and tables from a store of objects, copied to a temporary file while what they hold is read."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial

from sightline.errors import SourceError
from sightline.indexer.archives.reading import is_archive
from sightline.indexer.items import Listed, SourceItem
from sightline.indexer.manifests.reading import is_parquet


def may_be_entered(name: str) -> bool:
    """Whether a file of that name may hold pictures that are read out of a copy of it."""
    return is_archive(name) or is_parquet(name)


class Spooled:
    """A temporary file that goes when nobody holds this any more."""

    def __init__(self, name: str) -> None:
        folder = tempfile.mkdtemp(prefix="sightline-source-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        ending = next((one for one in (".tar.gz", ".tar.bz2", ".tar.xz") if name.lower().endswith(one)), None)
        self.path = os.path.join(folder, f"copy{ending or os.path.splitext(name)[1].lower()}")

    def under(self, url: str, listed: Iterable[Listed]) -> Iterator[Listed]:
        """What the copy holds, under the address of what it is a copy of. Raises SourceError, likewise."""
        try:
            for one in listed:
                uri = one.uri.replace(self.path, url, 1)
                if isinstance(one, SourceItem):
                    yield replace(one, uri=uri, read=partial(self._read, one))
                else:
                    yield replace(one, uri=uri, detail=one.detail.replace(self.path, url))
        except SourceError as error:
            raise SourceError(str(error).replace(self.path, url)) from error

    def _read(self, item: SourceItem) -> bytes:
        """Holds the copy as long as the item is held."""
        return item.read()
