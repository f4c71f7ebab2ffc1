"""Whether the catalog, the segment files and the index of one collection say the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sightline.errors import CorruptionError, ModelMismatchError, NotFoundError
from sightline.store.filters import Filter

if TYPE_CHECKING:
    from sightline.store.records import ImageLocation, Segment, Snapshot
    from sightline.wiring import Services

Keys = NDArray[np.int64]
CHUNK = 10_000


def disagreements(services: Services, collection: str, *, quick: bool = False) -> list[str]:
    """One sentence for each; empty when all is well.

    ``quick`` compares keys only; otherwise every segment and the generation are read in full against their
    SHA-256. A builder or worker that publishes in the middle can make a healthy collection look torn: the
    state is read again then, and only what holds for one version counts.
    """
    for _ in range(3):
        before = services.catalog.version(collection)
        said = list(_look(services, collection, quick=quick))
        if not said or services.catalog.version(collection) == before:
            return said
    return said


def _look(services: Services, collection: str, *, quick: bool) -> Iterator[str]:
    snapshot = services.catalog.snapshot(collection)
    live = _live(services, snapshot)
    found: list[Keys] = []
    for segment in snapshot.segments:
        yield from _segment(services, segment, live, quick=quick, keys=found)
    yield from _codecs(services, snapshot)
    yield from _missing("no published segment", live, _joined(found), snapshot.dead)
    yield from _index(services, snapshot, live)


def _live(services: Services, snapshot: Snapshot) -> dict[int, ImageLocation]:
    """Every live key with the place where the catalog says its row is."""
    keys = services.catalog.filter_keys(snapshot.collection.id, Filter())
    places: dict[int, ImageLocation] = {}
    for start in range(0, len(keys), CHUNK):
        places |= services.catalog.locations(keys[start : start + CHUNK].tolist())
    return places


def _segment(
    services: Services, segment: Segment, live: dict[int, ImageLocation], *, quick: bool, keys: list[Keys]
) -> Iterator[str]:
    try:
        if not quick:
            services.segments.verify(segment.file, segment.sha256)
        rows, _ = services.segments.tokens(segment.file)
    except (OSError, NotFoundError, CorruptionError) as error:
        yield str(error)
        return
    keys.append(np.asarray(rows))
    wrong = [
        key for row, key in enumerate(rows.tolist())
        if key in live and (live[key].segment_id, live[key].row) != (segment.id, row)
    ]  # fmt: skip
    if wrong:
        yield f"The catalog places {len(wrong)} images of segment {segment.file} elsewhere (key {wrong[0]})."


def _codecs(services: Services, snapshot: Snapshot) -> Iterator[str]:
    """Whether the patch codec of every segment is there."""
    from sightline.indexer.codecs import keeping

    for codec in sorted({segment.codec for segment in snapshot.segments}):
        try:
            keeping(services.codecs, codec, snapshot.collection.fingerprint)
        except (OSError, NotFoundError, CorruptionError, ModelMismatchError) as error:
            yield str(error)


def _index(services: Services, snapshot: Snapshot, live: dict[int, ImageLocation]) -> Iterator[str]:
    """What a search can find: the generation and the segments outside of it, without the dead."""
    from sightline.store.generations import open_generation

    parts: list[Keys] = []
    generation = snapshot.generation
    try:
        if generation is not None:
            folder = services.settings.generations_folder
            parts.append(open_generation(folder, generation.file, generation.sha256).keys)
        parts += [np.asarray(services.segments.tokens(segment.file)[0]) for segment in snapshot.uncovered]
    except (OSError, NotFoundError, CorruptionError) as error:
        yield str(error)
        return
    keys = _joined(parts)
    findable = keys[~np.isin(keys, snapshot.dead)]
    unique, counts = np.unique(findable, return_counts=True)
    if (counts > 1).any():
        yield f"{int((counts > 1).sum())} images can be found twice (key {int(unique[counts > 1][0])})."
    yield from _missing("neither the index nor an unfolded segment", live, keys, snapshot.dead)
    phantoms = unique[~np.isin(unique, np.fromiter(live, np.int64, len(live)))]
    if len(phantoms):
        yield f"{len(phantoms)} images that are not live can be found (key {int(phantoms[0])})."


def _missing(where: str, live: dict[int, ImageLocation], keys: Keys, dead: Keys) -> Iterator[str]:
    wanted = np.fromiter(live, np.int64, len(live))
    missing = wanted[~np.isin(wanted, keys) | np.isin(wanted, dead)]
    if len(missing):
        yield f"{len(missing)} live images are in {where} (key {int(missing[0])})."


def _joined(parts: list[Keys]) -> Keys:
    return np.concatenate(parts) if parts else np.empty(0, np.int64)
