"""The exact backend: builds, opens and looks after files of flat generations."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sightline.errors import InputError, SightlineError
from sightline.store.durable import FileMissingError, verify_file, write_durably
from sightline.store.flat.devices import FaissGpu, require, scans_of
from sightline.store.flat.faiss_scan import CpuScan, copy_index
from sightline.store.flat.generation_file import SUFFIX, generation_bytes, living_rows, read_generation
from sightline.store.flat.token_index import TokenIndex
from sightline.store.index import BuiltIndex, IndexReport
from sightline.store.own_files import OwnFiles, new_name
from sightline.store.records import FLAT
from sightline.store.traces import erase_files

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sightline.store.flat.devices import Gpu
    from sightline.store.index import CoveredSegment, Device
    from sightline.store.segments import SegmentReader
    from sightline.types import Half, Keys


class FlatBackend:
    """See `sightline.store.index.IndexBackend`.

    ``device`` is where opened generations are searched; tails are small and stay on the CPU. ``gpu`` replaces
    the GPUs that FAISS sees.
    """

    def __init__(self, folder: Path | str, device: Device = "auto", gpu: Gpu | None = None) -> None:
        self._folder = Path(folder)
        self.files = OwnFiles(self._folder, SUFFIX)
        self._device: Device = device
        self._gpu = FaissGpu() if gpu is None else gpu

    def build(self, reader: SegmentReader, segments: Sequence[CoveredSegment], dead: Keys) -> BuiltIndex:
        """Streams, so it needs little memory; opens the file once to be sure."""
        if not segments:
            raise InputError("There are no segments to build a generation from.")
        for segment in segments:
            reader.verify_tokens(segment.file)
        sources = [reader.tokens(segment.file) for segment in segments]
        if len({tokens.shape[1:] for _, tokens in sources}) > 1:
            raise InputError("Segments of different models cannot share a generation.")
        kept = living_rows([keys for keys, _ in sources], dead)
        keys = np.concatenate([keys[mask] for (keys, _), mask in zip(sources, kept, strict=True)])
        chunks = generation_bytes(keys, [tokens for _, tokens in sources], kept)
        written = write_durably(self._folder, new_name(SUFFIX), chunks)
        read_generation(self._folder / written.file, written.sha256)
        return BuiltIndex(*written, tuple(segment.id for segment in segments), len(keys))

    def open(self, file: str, sha256: str) -> TokenIndex:
        """In place, in the memory map. `UnavailableError` when a GPU is asked for and cannot be had."""
        require(self._device, self._gpu)
        content = read_generation(self._folder / file, sha256)
        return TokenIndex(content.keys, content.tokens, scans_of(content, self._device, self._gpu))

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
            keys = read_generation(path, sha256).keys
            return IndexReport(FLAT, keys, path.stat().st_size)
        except (OSError, SightlineError) as error:
            return IndexReport(FLAT, np.empty(0, np.int64), 0, str(error))

    def erase(self, keys: Keys) -> None:
        """The memory maps of readers outlive the names."""
        erase_files(self.files, keys)

    def remove(self, file: str) -> None:
        """The memory maps of readers outlive the name."""
        self.files.remove(file)
