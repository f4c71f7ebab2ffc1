"""From a manifest to what can be searched, and to what can be verified."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sightline.errors import CorruptionError
from sightline.store.durable import verify_file
from sightline.store.ivf.parts import read_part, read_pruning
from sightline.store.ivf.predictor import read_predictor
from sightline.store.ivf.search import Held, IvfIndex
from sightline.store.ivf.trained import Trained, read_trained
from sightline.store.records import IVF_RABITQ

if TYPE_CHECKING:
    from sightline.store.index import StoredTokens
    from sightline.store.ivf.manifest import Manifest
    from sightline.types import Keys


def open_index(folder: Path, manifest: Manifest, tokens: StoredTokens | None) -> tuple[IvfIndex, Trained]:
    """Of a manifest that names parts. `FileMissingError`, `CorruptionError`."""
    if manifest.learned is None:
        raise CorruptionError("The manifest of a generation with images names nothing that was learned.")
    trained = read_trained(folder / manifest.learned.trained.file)
    predictor = read_predictor(folder / manifest.learned.predictor.file)
    parts = tuple(read_part(folder / part.file, trained) for part in manifest.parts)
    for part, named in zip(parts, manifest.parts, strict=True):
        if len(part.keys) != named.images or part.path.stat().st_size != named.bytes:
            raise CorruptionError(f"The file {part.path} is not what its generation names.")
    held = Held(trained, predictor, parts, manifest.hidden, manifest.queries, manifest.kind == IVF_RABITQ)
    return IvfIndex.of(held, manifest.efforts, manifest.recall, tokens), trained


def verified_keys(folder: Path, manifest: Manifest) -> Keys:
    """The living keys, after all files were read in full. Errors as `open_index`."""
    for one in manifest.files:
        verify_file(folder / one.file, one.sha256)
    found = [np.empty(0, np.int64)]
    for part, hidden in zip(manifest.parts, manifest.hidden, strict=True):
        found.append(read_pruning(folder / part.file)[0][~hidden])
    return np.concatenate(found)
