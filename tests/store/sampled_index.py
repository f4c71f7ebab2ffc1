"""A second index backend, approximate and in NumPy: it knows half of the images and names no best token.

It shows that nobody outside of a backend counts on files of the flat kind, on exactness or on FAISS.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sightline.errors import CorruptionError, InputError, SightlineError
from sightline.store.durable import FileMissingError, verify_file, write_durably
from sightline.store.index import BuildRequest, BuiltIndex, IndexReport, Rows, StoredTokens, Wanted
from sightline.store.own_files import OwnFiles, new_name
from sightline.store.segments import SegmentReader
from sightline.types import Half, Keys, Mask, Vector

ENDING = ".sampled.npz"


def is_known(keys: Keys) -> Mask:
    """The half of the images that a search in a generation can find."""
    known: Mask = keys // 3 % 2 == 0
    return known


@dataclass(frozen=True)
class SampledIndex:
    keys: Keys
    tokens: Half
    exact: bool = False
    recall: float = 0.5

    @property
    def queries(self) -> int:
        return int(self.tokens.shape[1])

    def candidates(
        self, vectors_TD: Vector, wanted: int, allowed: Mask | None, probes: int | None
    ) -> Sequence[Rows]:
        """All tokens of each image, whichever is the best; ties of the last one too."""
        choice = is_known(self.keys) if allowed is None else is_known(self.keys) & allowed
        images = np.flatnonzero(choice)
        found = []
        for vector in vectors_TD:
            scores = (self.tokens[images].astype(np.float32) @ vector).max(axis=1, initial=-np.inf)
            last = np.sort(scores)[-wanted] if wanted < len(scores) else -np.inf
            named = images[scores >= last - 1e-5]
            found.append((named[:, None] * self.queries + np.arange(self.queries)).ravel())
        return found

    def tokens_at(self, rows: Rows) -> Half:
        return self.tokens.reshape(-1, self.tokens.shape[2])[rows]

    def is_intact(self) -> bool:
        return True  # it is all in memory

    def best_rows(self, vector_D: Vector, wanted: Wanted, allowed: Mask | None) -> Rows:
        """As a tail: every row of every allowed image."""
        images = np.arange(len(self.keys)) if allowed is None else np.flatnonzero(allowed)
        rows: Rows = (images[:, None] * self.queries + np.arange(self.queries)).ravel()
        return rows


class SampledBackend:
    """Generations as .npz files in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = OwnFiles(folder, ENDING)

    exact = False

    def build(self, reader: SegmentReader, request: BuildRequest) -> BuiltIndex:
        segments, dead = request.segments, request.dead
        if not segments:
            raise InputError("There are no segments to build from.")
        for segment in segments:
            reader.verify_tokens(segment.file)
        sources = [reader.tokens(segment.file) for segment in segments]
        if len({tokens.shape[1:] for _, tokens in sources}) > 1:
            raise InputError("These are segments of different models.")
        keys, first = np.unique(np.concatenate([keys for keys, _ in sources]), return_index=True)
        alive = ~np.isin(keys, dead)
        tokens = np.concatenate([tokens for _, tokens in sources])[first[alive]]
        out = io.BytesIO()
        np.savez(out, keys=keys[alive], tokens=tokens)
        written = write_durably(self.folder, new_name(ENDING), [out.getvalue()])
        return BuiltIndex(*written, tuple(segment.id for segment in segments), int(alive.sum()))

    def open(self, file: str, sha256: str, tokens: StoredTokens | None = None) -> SampledIndex:
        verify_file(self.folder / file, sha256)
        try:
            with np.load(self.folder / file) as content:
                return SampledIndex(content["keys"], content["tokens"])
        except (ValueError, KeyError) as error:
            raise CorruptionError(f"The file {file} is no sampled index: {error}.") from error

    def tail(self, keys: Keys, tokens_NQD: Half) -> SampledIndex:
        return SampledIndex(keys.copy(), tokens_NQD.copy(), exact=True)

    def verify(self, file: str, sha256: str, *, quick: bool = False) -> None:
        if not quick:
            verify_file(self.folder / file, sha256)
        elif not (self.folder / file).exists():
            raise FileMissingError(f"The file {file} is missing.")

    def report(self, file: str, sha256: str) -> IndexReport:
        try:
            return IndexReport("sampled", self.open(file, sha256).keys, (self.folder / file).stat().st_size)
        except SightlineError as error:
            return IndexReport("sampled", np.empty(0, np.int64), 0, str(error))

    def erase(self, keys: Keys) -> None:
        for file in self.files.stored():
            with suppress(OSError, ValueError, KeyError), np.load(self.folder / file) as content:
                if np.isin(content["keys"], keys).any():
                    self.remove(file)

    def remove(self, file: str) -> None:
        self.files.remove(file)
