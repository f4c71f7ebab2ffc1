"""An approximate index backend of several files: parts are shared as it grows, tokens come from segments.

It misses nothing, whatever recall it claims: what a search does not find was lost by somebody else.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sightline.errors import CorruptionError, InputError, SightlineError
from sightline.faultpoint import faultpoint
from sightline.store.durable import FileMissingError, verify_file, write_durably
from sightline.store.index import BuildRequest, BuiltIndex, IndexReport, Rows, StoredTokens
from sightline.store.own_files import OwnFiles, new_name
from sightline.store.sample_texts import SampleTexts
from sightline.store.segments import SegmentReader
from sightline.types import Half, Keys, Mask, Vector
from tests.store.sampled_index import SampledIndex

NOBODY = np.empty(0, np.int64)


def texts(id: str = "texts", dim: int = 16, count: int = 300) -> SampleTexts:
    """Random ones."""
    drawn = np.random.default_rng(len(id)).normal(size=(count, dim)).astype(np.float32)
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    return SampleTexts(id, drawn, np.zeros(count, np.int8))


@dataclass
class Texts:
    """A source of texts that a test may change."""

    latest: SampleTexts | None = None

    def newest(self, fingerprint: str, collection_id: int) -> SampleTexts | None:
        return self.latest


@dataclass(frozen=True)
class PartedIndex:
    keys: Keys
    queries: int
    tokens: StoredTokens | None
    recall: float
    exact: bool = False

    def candidates(
        self, vectors_TD: Vector, wanted: int, allowed: Mask | None, probes: int | None
    ) -> Sequence[Rows]:
        """Every token of every allowed image that can be read."""
        assert self.tokens is not None
        images = np.arange(len(self.keys)) if allowed is None else np.flatnonzero(allowed)
        images = images[self.tokens.images(self.keys[images]).positions]
        rows: Rows = (images[:, None] * self.queries + np.arange(self.queries)).ravel()
        return [rows] * len(vectors_TD)

    def tokens_at(self, rows: Rows) -> Half:
        assert self.tokens is not None
        images, place = np.unique(rows // self.queries, return_inverse=True)
        found = self.tokens.images(self.keys[images])
        if len(found.positions) < len(images):
            raise CorruptionError("Tokens are not what was written.")
        tokens: Half = found.tokens[place, rows % self.queries]
        return tokens

    def is_intact(self) -> bool:
        return True


class PartedBackend:
    """``recall`` says what a generation of so many images claims to find."""

    exact = False

    def __init__(self, folder: Path, kind: str, recall: Callable[[int], float] = lambda images: 1.0) -> None:
        self.folder = folder
        self.kind = kind
        self.recall = recall
        self.files = OwnFiles(folder, f".{kind}.npz")
        self.built: list[BuildRequest] = []
        self.before: Callable[[], None] = lambda: None
        """Called by each build, before it reads anything."""

    def build(self, reader: SegmentReader, request: BuildRequest) -> BuiltIndex:
        if not request.segments:
            raise InputError("There are no segments to build from.")
        if request.texts is None and request.serving is None:
            raise InputError("There are no texts to learn from.")
        self.built.append(request)
        self.before()
        queries = {reader.head(one.file).layout.specs["tokens"].shape[1] for one in request.segments}
        together = np.concatenate([reader.keys(one.file) for one in request.segments])
        living = np.setdiff1d(together, request.dead)
        trained, trained_on, shared = self._shared(request, living)
        if trained is None:
            trained, trained_on = self._write(keys=NOBODY), len(living)
        held = np.concatenate([self._keys(part) for part in shared] or [NOBODY])
        part = self._write(keys=np.setdiff1d(living, held))
        faultpoint("ivf.part")
        recall = self.recall(len(living))
        files = [trained, part, *shared]
        told = {"keys": NOBODY, "living": living, "queries": queries.pop(), "recall": recall, "files": files}
        told["trained_on"] = trained_on
        manifest, sha256, size = self._written(told)
        why = "it is four times as large" if len(living) >= 4 * trained_on else None
        parameters = {"files": files, "trained_on": trained_on, "retrain": why, "recall": recall}
        covered = tuple(one.id for one in request.segments)
        return BuiltIndex(manifest, sha256, size, covered, len(living), recall, parameters)

    def _shared(self, request: BuildRequest, living: Keys) -> tuple[str | None, int, list[str]]:
        """What was trained, on how many images, and the parts that may be used again."""
        if request.serving is None:
            return None, 0, []
        verify_file(self.folder / request.serving.file, request.serving.sha256)
        trained, *parts = self._content(request.serving.file)["files"].tolist()
        kept = [one for one in parts if not request.strict or np.isin(self._keys(one), living).all()]
        return trained, int(self._content(request.serving.file)["trained_on"]), kept

    def _write(self, **arrays: Any) -> str:
        return self._written(arrays)[0]

    def _written(self, arrays: dict[str, Any]) -> tuple[str, str, int]:
        out = io.BytesIO()
        np.savez(out, **arrays)
        return write_durably(self.folder, new_name(f".{self.kind}.npz"), [out.getvalue()])

    def _content(self, file: str) -> dict[str, Any]:
        try:
            with np.load(self.folder / file) as content:
                return dict(content)
        except FileNotFoundError as error:
            raise FileMissingError(f"The file {file} is missing.") from error
        except (ValueError, KeyError, OSError) as error:
            raise CorruptionError(f"The file {file} cannot be read: {error}.") from error

    def _keys(self, file: str) -> Keys:
        keys: Keys = self._content(file)["keys"]
        return keys

    def open(self, file: str, sha256: str, tokens: StoredTokens | None = None) -> PartedIndex:
        self.verify(file, sha256)
        content = self._content(file)
        held = np.concatenate([self._keys(one) for one in content["files"].tolist()])
        living = np.intersect1d(held, content["living"])  # what no part holds is not found
        return PartedIndex(living, int(content["queries"]), tokens, float(content["recall"]))

    def tail(self, keys: Keys, tokens_NQD: Half) -> SampledIndex:
        return SampledIndex(keys.copy(), tokens_NQD.copy(), exact=True)

    def verify(self, file: str, sha256: str, *, quick: bool = False) -> None:
        if not (self.folder / file).exists():
            raise FileMissingError(f"The file {file} is missing.")
        if not quick:
            verify_file(self.folder / file, sha256)
        for name in self._content(file)["files"].tolist():
            self._content(name)

    def report(self, file: str, sha256: str) -> IndexReport:
        try:
            return IndexReport(self.kind, self.open(file, sha256).keys, (self.folder / file).stat().st_size)
        except SightlineError as error:
            return IndexReport(self.kind, NOBODY, 0, str(error))

    def erase(self, keys: Keys) -> None:
        erased = {one for one in self._readable() if np.isin(self._keys(one), keys).any()}
        for file in self._readable():
            if file in erased or erased & set(self._named(file)):
                self.files.remove(file)

    def remove(self, file: str) -> None:
        mine = self._named(file) if (self.folder / file).exists() else []
        self.files.remove(file)
        others = {name for one in self._readable() for name in self._named(one)}
        for name in set(mine) - others:
            self.files.remove(name)

    def _readable(self) -> Iterable[str]:
        return [one for one in sorted(self.files.stored()) if self.files.is_finished(one)]

    def _named(self, file: str) -> list[str]:
        with suppress(SightlineError):
            return list(self._content(file)["files"].tolist()) if "files" in self._content(file) else []
        return []
