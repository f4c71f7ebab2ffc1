"""Grows a generation, so that a test can kill it: ``python -m tests.store.ivf_grower FOLDER FILE SHA256``.

The folder is that of an `IvfWorld` of which the generation holds a part; prints nothing.
"""

from __future__ import annotations

import sys
from pathlib import Path

from sightline.store.records import IVF_SQ8
from tests.store.ivf_world import IvfWorld, StoredName


def small_world(folder: Path) -> IvfWorld:
    """600 images in 6 segments."""
    return IvfWorld.drawn(folder, 600, 60, 5, 100)


def grown_by(folder: Path, file: str, sha256: str) -> None:
    """With all segments of `small_world`."""
    world = small_world(folder)
    world.build(world.backend(IVF_SQ8), world.segments, serving=StoredName(file, sha256))


if __name__ == "__main__":
    grown_by(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
