"""Old points go, and then the files that no point names any more."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from typing import TYPE_CHECKING

from sightline.errors import CorruptionError
from sightline.store.durable import ASIDE
from sightline.upkeep.backups.contents import (
    CODECS,
    ORIGINALS,
    SEGMENTS,
    THUMBNAILS,
    Contents,
    fetched_catalog,
    opened_contents,
)
from sightline.upkeep.backups.points import list_points, read_point, remove_point

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sightline.store.places import Place
    from sightline.upkeep.backups.points import Point

log = logging.getLogger(__name__)


def forget_old(place: Place, installation: str, keep: int) -> tuple[int, int]:
    """Keep the newest points of an installation and all of others; how many points and files went.

    Points first: one that is cut short leaves files that nobody names, never names without files. While a
    point cannot be read (damaged, or of a newer program) nobody knows what it names, and nothing goes.
    """
    try:
        points = [read_point(place, name) for name in list_points(place)]
    except CorruptionError as error:
        log.warning("No old point is removed: %s", error)
        return 0, 0
    old = [point for point in points if point.installation == installation][:-keep]
    if not old:
        return 0, 0
    for point in old:
        remove_point(place, point.name)
    place.settle()
    kept = [point for point in points if point not in old]
    return len(old), _remove_unnamed(place, kept)


def _remove_unnamed(place: Place, kept: list[Point]) -> int:
    catalogs = {point.catalog for point in kept}
    removed = 0
    with ExitStack() as stack:
        opened = [
            stack.enter_context(opened_contents(stack.enter_context(fetched_catalog(place, sha256))))
            for sha256 in sorted(catalogs)
        ]
        for path in _unnamed(place, kept, opened):
            place.remove(path)
            removed += 1
    return removed


def _unnamed(place: Place, kept: list[Point], opened: list[Contents]) -> Iterator[str]:
    catalogs = {f"{point.catalog}.sqlite" for point in kept}
    yield from _others(place, "catalogs", catalogs)
    yield from _others(place, SEGMENTS, {one.file for contents in opened for one in contents.segments()})
    codecs = {(entry.fingerprint, entry.codec) for point in kept for entry in point.codecs}
    for fingerprint in place.folders(CODECS):
        names = {f"{codec}.codec.safetensors" for model, codec in codecs if model == fingerprint}
        yield from _others(place, f"{CODECS}/{fingerprint}", names)
    for prefix in sorted({*place.folders(ORIGINALS), *place.folders(THUMBNAILS)}):
        wanted = {sha256 for contents in opened for sha256 in contents.catalog.wanted_shas(prefix)}
        yield from _others(place, f"{ORIGINALS}/{prefix}", wanted)
        yield from _others(place, f"{THUMBNAILS}/{prefix}", {f"{sha256}.webp" for sha256 in wanted})


def _others(place: Place, folder: str, names: set[str]) -> Iterator[str]:
    """Files of ours in a folder of the place that are not among the names."""
    for name in sorted(place.sizes(folder)):
        ours = (
            name.startswith(ASIDE) or name.endswith((".sqlite", ".safetensors", ".webp")) or len(name) == 64
        )
        if ours and name not in names:
            yield f"{folder}/{name}"
