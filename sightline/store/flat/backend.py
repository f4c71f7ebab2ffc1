"""The exact backend: builds, opens and looks after files of flat generations."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from sightline.errors import InputError, SightlineError
from sightline.store.durable import FileMissingError, verify_file, write_durably
from sightline.store.flat.devices import FaissGpu, require, scans_of
from sightline.store.flat.faiss_scan import CpuScan, copy_index, view_index
from sightline.store.flat.generation_file import (
    SUFFIX,
    generation_bytes,
    read_generation,
    read_keys,
)
from sightline.store.flat.memory import Memory
from sightline.store.flat.settling import SettlingIndex
from sightline.store.flat.token_index import TokenIndex
from sightline.store.index import BuildRequest, BuiltIndex, IndexReport
from sightline.store.living_images import living_rows
from sightline.store.own_files import OwnFiles, new_name
from sightline.store.records import FLAT
from sightline.store.segment_reader import portions
from sightline.store.traces import erase_files

if TYPE_CHECKING:
    from sightline.store.flat.devices import Gpu
    from sightline.store.flat.generation_file import GenerationContent, View
    from sightline.store.index import Device, StoredTokens
    from sightline.store.segments import SegmentReader
    from sightline.types import Half, Keys

MEMORY_BYTES: Final = 4 << 30
"""What opened generations may take of memory unless told otherwise."""


class FlatBackend:
    """See `sightline.store.index.IndexBackend`.

    ``device`` is where opened generations are searched; tails are small and stay on the CPU. ``gpu`` replaces
    the GPUs that FAISS sees. Opened generations take ``memory_bytes`` together; what does not fit is mapped.
    """

    def __init__(
        self,
        folder: Path | str,
        device: Device = "auto",
        gpu: Gpu | None = None,
        memory_bytes: int = MEMORY_BYTES,
        view: View = view_index,
    ) -> None:
        """``view`` opens the bytes of a FAISS index in place (see `view_index`)."""
        self._folder = Path(folder)
        self.files = OwnFiles(self._folder, SUFFIX)
        self._device: Device = device
        self._gpu = FaissGpu() if gpu is None else gpu
        self._memory = Memory(memory_bytes)
        self._view = view

    @property
    def exact(self) -> bool:
        """Always."""
        return True

    def build(self, reader: SegmentReader, request: BuildRequest) -> BuiltIndex:
        """Streams, so it needs little memory; opens the file once to be sure."""
        segments, dead = request.segments, request.dead
        if not segments:
            raise InputError("There are no segments to build a generation from.")
        heads = [reader.head(segment.file) for segment in segments]
        shapes = {head.layout.specs["tokens"].shape[1:] for head in heads}
        if len(shapes) > 1:
            raise InputError("Segments of different models cannot share a generation.")
        kept = living_rows([head.keys for head in heads], dead)
        keys = np.concatenate([head.keys[mask] for head, mask in zip(heads, kept, strict=True)])
        tokens = (
            reader.rows(segment.file, "tokens", rows)
            for segment, mask in zip(segments, kept, strict=True)
            for rows in portions(np.flatnonzero(mask))
        )
        file = new_name(SUFFIX)
        written = write_durably(self._folder, file, generation_bytes(file, keys, shapes.pop(), tokens))
        read_keys(self._folder / file, written.sha256)
        return BuiltIndex(*written, tuple(segment.id for segment in segments), len(keys))

    def open(self, file: str, sha256: str, tokens: StoredTokens | None = None) -> TokenIndex | SettlingIndex:
        """Verified in full, and mapped; in memory soon after the second query, where there is room.

        With a GPU in memory at once. `UnavailableError` when a GPU is asked for in vain, or when the
        installed FAISS needs a copy that is larger than opened generations may be.
        """
        require(self._device, self._gpu)
        path = self._folder / file
        if self._device != "cpu" and self._gpu.count():
            return self._opened(read_generation(path, sha256, self._memory, self._view))
        mapped = self._opened(read_generation(path, sha256, self._memory, self._view, mapped=True))
        return SettlingIndex(mapped, lambda: self._copied(path, sha256))

    def _opened(self, content: GenerationContent) -> TokenIndex:
        scans = scans_of(content, self._device, self._gpu)
        return TokenIndex(content.keys, content.tokens, scans, map=content.map)

    def _copied(self, path: Path, sha256: str) -> TokenIndex | None:
        """Whatever keeps it from being read is found, and said, when it is opened the next time."""
        try:
            if not self._memory.has_room(path.stat().st_size):
                return None
            content = read_generation(path, sha256, self._memory, self._view)
            return self._opened(content) if content.map is None else None
        except (OSError, MemoryError, SightlineError):
            return None

    def tail(self, keys: Keys, tokens_NQD: Half) -> TokenIndex:
        """Holds a copy of the tokens. `UnavailableError` as `open`."""
        require(self._device, self._gpu)
        return TokenIndex(keys, tokens_NQD, (CpuScan(copy_index(tokens_NQD)),))

    def verify(self, file: str, sha256: str, *, quick: bool = False) -> None:
        """Reads the file in full, unless ``quick``."""
        path = self._folder / file
        if not quick:
            verify_file(path, sha256)
        elif not path.exists():
            raise FileMissingError(f"The file {file} is missing from {self._folder}.")

    def report(self, file: str, sha256: str) -> IndexReport:
        """Reads the file in full."""
        path = self._folder / file
        try:
            verify_file(path, sha256)
            return IndexReport(FLAT, read_keys(path, sha256), path.stat().st_size)
        except (OSError, SightlineError) as error:
            return IndexReport(FLAT, np.empty(0, np.int64), 0, str(error))

    def erase(self, keys: Keys) -> None:
        """The memory maps of readers outlive the names."""
        erase_files(self.files, keys)

    def remove(self, file: str) -> None:
        """What readers hold outlives the name."""
        self.files.remove(file)
