"""A collection in which texts lie off the images' manifold and few tokens of an image ever win."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sightline.store.index import BuildRequest, BuiltIndex, CandidateIndex
from sightline.store.ivf import IvfBackend
from sightline.store.sample_texts import CAPTIONS, SampleTexts
from sightline.store.segment_tokens import SegmentTokens
from sightline.store.segments import SegmentReader
from tests.store.token_world import Published, unit, write_segments

TOPICS, QUERIES, DIM = 200, 8, 48
NOBODY = np.empty(0, np.int64)


@dataclass(frozen=True)
class Mixtures:
    """Images and texts are mixtures of the same topics; texts have a direction of their own as well."""

    topics: np.ndarray
    apart: np.ndarray

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Mixtures:
        return cls(unit(rng.standard_normal((TOPICS, DIM))), unit(rng.standard_normal(DIM)))

    def tokens(self, rng: np.random.Generator, images: int) -> np.ndarray:
        """fp16 ``[N,Q,D]``."""
        first, second = rng.integers(0, TOPICS, (2, images))
        shares = rng.beta(0.6, 0.6, (images, QUERIES, 1))
        centres = shares * self.topics[first][:, None] + (1 - shares) * self.topics[second][:, None]
        noise = 0.05 * rng.standard_normal((images, 1, DIM)) + 0.02 * rng.standard_normal(centres.shape)
        return unit(centres + noise).astype(np.float16)

    def texts(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """fp32 ``[M,D]``."""
        first, second = rng.integers(0, TOPICS, (2, count))
        share = rng.uniform(0.3, 1.0, (count, 1))
        mixed = share * self.topics[first] + (1 - share) * self.topics[second]
        return unit(mixed + 0.6 * self.apart + 0.04 * rng.standard_normal((count, DIM)))


@dataclass(frozen=True)
class IvfWorld:
    """Images in segments, texts to learn from, and texts that nothing learned from."""

    folder: Path
    keys: np.ndarray
    tokens: np.ndarray
    reader: SegmentReader
    segments: list[Published]
    texts: SampleTexts
    asked: np.ndarray

    @classmethod
    def drawn(cls, folder: Path, images: int, texts: int, asked: int, size: int) -> IvfWorld:
        """Segments of ``size`` images each; those that are there already, of the same world, are taken."""
        rng = np.random.default_rng(0)
        mixtures = Mixtures.drawn(rng)
        keys = rng.permutation(np.arange(5, 5 + 3 * images, 3))
        tokens = mixtures.tokens(rng, images)
        if (folder / "segments").exists():  # another process drew the same
            files = sorted(path.name for path in (folder / "segments").iterdir())
            reader = SegmentReader(folder / "segments")
            segments = [Published(number, file) for number, file in enumerate(files, 1)]
        else:
            reader, segments = write_segments(folder / "segments", keys, tokens, size)
        samples = SampleTexts("samples", mixtures.texts(rng, texts), np.full(texts, CAPTIONS, np.int8))
        return cls(folder, keys, tokens, reader, segments, samples, mixtures.texts(rng, asked))

    def copied(self, folder: Path) -> IvfWorld:
        """The same files in another folder."""
        shutil.copytree(self.folder, folder)
        return replace(self, folder=folder, reader=SegmentReader(folder / "segments"))

    def backend(self, kind: str, name: str = "generations") -> IvfBackend:
        return IvfBackend(self.folder / name, kind)

    def build(
        self,
        backend: IvfBackend,
        segments: list[Published],
        dead: np.ndarray = NOBODY,
        serving: StoredName | None = None,
        strict: bool = False,
    ) -> BuiltIndex:
        request = BuildRequest(segments, dead, serving=serving, strict=strict, texts=self.texts)
        return backend.build(self.reader, request)

    def stored(self) -> SegmentTokens:
        tokens = SegmentTokens(self.reader.folder, QUERIES, self.tokens.shape[2])
        tokens.cover([], [(one.file, self.reader.head(one.file)) for one in self.segments])
        return tokens

    def open(self, backend: IvfBackend, built: BuiltIndex | StoredName) -> CandidateIndex:
        return backend.open(built.file, built.sha256, self.stored())


@dataclass(frozen=True)
class StoredName:
    """As much of a generation's row as a build needs."""

    file: str
    sha256: str
    covered: tuple[int, ...] = ()

    @classmethod
    def of(cls, built: BuiltIndex) -> StoredName:
        return cls(built.file, built.sha256, built.covered)


def exact_best(
    keys: np.ndarray, tokens: np.ndarray, vector: np.ndarray, count: int, allowed: np.ndarray
) -> np.ndarray:
    """Keys of the best allowed images, with every product in fp32."""
    flat = tokens.astype(np.float32).reshape(-1, tokens.shape[2])
    scores = (flat @ vector).reshape(tokens.shape[:2]).max(axis=1)
    scores = np.where(allowed, scores, -np.inf)
    best: np.ndarray = keys[np.argsort(-scores, kind="stable")[: min(count, int(allowed.sum()))]]
    return best
