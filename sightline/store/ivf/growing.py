"""Which parts of a serving generation go on, and which images are written anew.

Parts are merged as they come: a new part takes in every one that is no larger than it, so that there are as
many as bits in a counter, and few are searched. What is merged is read from the segments again, where its
tokens lie; which of them are kept is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sightline.errors import CorruptionError
from sightline.store.durable import FileMissingError
from sightline.store.ivf.manifest import read_manifest
from sightline.store.ivf.parts import Learning, Pruning, read_pruning
from sightline.store.ivf.predictor import read_scores
from sightline.store.ivf.trained import read_trained
from sightline.store.ivf.truth import Truth

if TYPE_CHECKING:
    from sightline.store.index import BuildRequest
    from sightline.store.ivf.effort import Efforts
    from sightline.store.ivf.manifest import Manifest, NamedFile
    from sightline.store.ivf.predictor import CellScores
    from sightline.store.ivf.trained import Trained
    from sightline.store.living_images import Images
    from sightline.types import Keys, Mask

MOST_HIDDEN: Final = 0.3
"""A part of which a larger share is dead is written anew."""
MOST_PARTS: Final = 8
WHOLE: Final = 1 << 18
"""A part of so many images is large enough: it is merged no more."""


@dataclass(frozen=True)
class SharedPart:
    """A part that goes on, and which of its images are not to be found ``[n]``."""

    named: NamedFile
    hidden: Mask


@dataclass(frozen=True)
class Growth:
    """What goes on, what is to be written, and what is known of it already."""

    trained: Trained
    named: NamedFile
    efforts: Efforts
    shared: tuple[SharedPart, ...]
    fresh: Images
    learning: Learning
    told: dict[str, Any]


@dataclass(frozen=True, eq=False)
class _Old:
    """A part of the serving generation, and which of its images are wanted ``[n]``."""

    named: NamedFile
    pruning: Pruning
    keys: Keys
    alive: Mask


def grow(folder: Path, request: BuildRequest, images: Images) -> Growth | None:
    """None when nothing serves, nothing of it can be used, or it is damaged: then all is built anew."""
    if request.serving is None:
        return None
    try:
        manifest = read_manifest(folder / request.serving.file, request.serving.sha256)
        if manifest.learned is None or (manifest.queries, manifest.dim) != (images.queries, images.dim):
            return None
        learned = manifest.learned
        trained = read_trained(folder / learned.trained.file)
        cells = read_scores(folder / learned.predictor.file, learned.predictor.sha256, trained)
        old = _old_parts(folder, manifest, images.keys)
    except (CorruptionError, FileMissingError):
        return None
    shared = _merged(old, request.strict, images.keys)
    held = np.concatenate([np.empty(0, np.int64), *(one.keys[one.alive] for one in shared)])
    return Growth(
        trained=trained,
        named=learned.trained,
        efforts=manifest.efforts,
        shared=tuple(SharedPart(one.named, ~one.alive) for one in shared),
        fresh=images.at(np.flatnonzero(~np.isin(images.keys, held))),
        learning=_learning(manifest.truth, cells, old, shared, images),
        told=dict(manifest.parameters),
    )


def _learning(
    truth: Truth, cells: CellScores, old: list[_Old], shared: list[_Old], images: Images
) -> Learning:
    known = np.concatenate([np.empty(0, np.int64), *(one.pruning.keys for one in old)])
    rewritten = [(one.pruning.keys, one.pruning.kept) for one in old if one not in shared]
    truth.forget(np.setdiff1d(truth.keys, images.keys))
    return Learning(truth, np.sort(known), Pruning.of(rewritten, images.queries), cells)


def _old_parts(folder: Path, manifest: Manifest, wanted: Keys) -> list[_Old]:
    found = []
    for named, hidden in zip(manifest.parts, manifest.hidden, strict=True):
        path = folder / named.file
        keys, kept = read_pruning(path)
        if len(keys) != named.images or path.stat().st_size != named.bytes:
            raise CorruptionError(f"The file {path} is not what its generation names.")
        alive = ~hidden & np.isin(keys, wanted)
        found.append(_Old(named, Pruning.of([(keys[alive], kept[alive])], manifest.queries), keys, alive))
    return found


def _merged(old: list[_Old], strict: bool, wanted: Keys) -> list[_Old]:
    """Those that go on as they are."""
    most = 0.0 if strict else MOST_HIDDEN
    shared = [one for one in old if one.alive.any() and 1 - one.alive.mean() <= most]
    shared.sort(key=lambda one: one.named.images)
    written = len(wanted) - sum(int(one.alive.sum()) for one in shared)
    while written and shared and shared[0].named.images < WHOLE:
        if shared[0].named.images > written and len(shared) < MOST_PARTS:
            break
        written += int(shared.pop(0).alive.sum())
    return shared
