"""The approximate backends in files: what the contract asks, over manifests, parts and what was trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sightline.errors import SightlineError
from sightline.store.flat.faiss_scan import CpuScan, copy_index
from sightline.store.flat.token_index import TokenIndex
from sightline.store.index import BuildRequest, BuiltIndex, IndexReport
from sightline.store.ivf.building import Building
from sightline.store.ivf.empty_index import EmptyIndex
from sightline.store.ivf.manifest import named_by, read_manifest
from sightline.store.ivf.opening import open_index, verified_keys
from sightline.store.ivf.sealed_file import ending_of, require_file
from sightline.store.own_files import SWEPT, OwnFiles
from sightline.store.traces import erase_files

if TYPE_CHECKING:
    from sightline.store.index import CandidateIndex, StoredTokens
    from sightline.store.segments import SegmentReader
    from sightline.types import Half, Keys


class IvfBackend:
    """See `sightline.store.index.IndexBackend`. The ending of its files names its kind."""

    def __init__(self, folder: Path | str, kind: str) -> None:
        self._folder = Path(folder)
        self._kind = kind
        self.files = OwnFiles(self._folder, ending_of(kind))

    @property
    def exact(self) -> bool:
        """Never."""
        return False

    def build(self, reader: SegmentReader, request: BuildRequest) -> BuiltIndex:
        """Streams; measures recall before it returns, and returns it whatever it is."""
        return Building(self._folder, self._kind, reader, request).run()

    def open(self, file: str, sha256: str, tokens: StoredTokens | None = None) -> CandidateIndex:
        """The manifest is read in full, of parts what is needed: `verify` reads them all."""
        manifest = read_manifest(self._folder / file, sha256)
        if not manifest.parts:
            return EmptyIndex(manifest.queries, manifest.dim)
        return open_index(self._folder, manifest, tokens)[0]

    def tail(self, keys: Keys, tokens_NQD: Half) -> TokenIndex:
        """Holds a copy of the tokens, as an exact index does."""
        return TokenIndex(keys, tokens_NQD, (CpuScan(copy_index(tokens_NQD)),))

    def verify(self, file: str, sha256: str, *, quick: bool = False) -> None:
        """Reads all files in full, unless ``quick``."""
        path = self._folder / file
        if quick:
            for name in (file, *named_by(path)):
                require_file(self._folder / name)
        else:
            verified_keys(self._folder, read_manifest(path, sha256))

    def report(self, file: str, sha256: str) -> IndexReport:
        """Reads all files in full."""
        path = self._folder / file
        try:
            manifest = read_manifest(path, sha256)
            keys = verified_keys(self._folder, manifest)
            size = path.stat().st_size + sum(one.bytes for one in manifest.files)
            return IndexReport(self._kind, keys, size)
        except (OSError, SightlineError) as error:
            return IndexReport(self._kind, np.empty(0, np.int64), 0, str(error))

    def erase(self, keys: Keys) -> None:
        """Parts that hold one of the keys, manifests that name such a part or found such an image."""
        erased = set(erase_files(self.files, keys))
        for folder, names, remove in (
            (self._folder, self.files.stored(), self.files.remove),
            (self._folder / SWEPT, self.files.swept(), self.files.remove_swept),
        ):
            for name in names:
                if erased & set(named_by(folder / name)) or _found_one_of(folder / name, keys):
                    remove(name)

    def remove(self, file: str) -> None:
        """With those of its files that no other manifest here names. Whoever has it open may go on."""
        mine = named_by(self._folder / file)
        self.files.remove(file)
        others = {one for name in self.files.stored() for one in named_by(self._folder / name)}
        for name in mine:
            if name not in others:
                self.files.remove(name)


def _found_one_of(path: Path, keys: Keys) -> bool:
    """Whether a manifest's truth names one of the images."""
    try:
        return bool(np.isin(read_manifest(path, None).truth.keys, keys).any())
    except (OSError, SightlineError):
        return False
