"""What looking after a large catalog takes: seconds, and the most memory at once, at several sizes.

``python -m benchmarks.upkeep [--images 30000,300000]``: the checks of ``doctor`` over a synthetic catalog.
"""

from __future__ import annotations

import argparse
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from sightline.store.catalog import open_catalog
from sightline.store.segments import SegmentReader
from sightline.upkeep.consistency import Consistency
from sightline.upkeep.stored_bytes import contents
from tests.store.large_catalog import fill


class Formats:
    """Knows every codec."""

    def of(self, codec: str, fingerprint: str) -> object:
        return codec


def main() -> None:
    """A line for each size and step."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--images", default="30000,300000")
    parser.add_argument("--trace", action="store_true", help="the memory as well, which is slow")
    chosen = parser.parse_args()
    for images in map(int, chosen.images.split(",")):
        with TemporaryDirectory() as folder:
            measure(Path(folder), images, trace=chosen.trace)


def measure(folder: Path, images: int, *, trace: bool) -> None:
    """All steps over one catalog of so many images."""
    catalog = open_catalog(f"sqlite:///{folder}/catalog.sqlite")
    began = time.perf_counter()
    indexes = fill(catalog, folder, images)
    print(f"{images}: made in {time.perf_counter() - began:.1f} s", flush=True)
    segments = SegmentReader(folder / "segments")
    consistency = Consistency(catalog, segments, indexes, Formats())
    collection = catalog.collection("pictures")
    steps: dict[str, Callable[[], object]] = {
        "consistency quick": lambda: consistency.disagreements(collection, quick=True),
        "consistency full": lambda: consistency.disagreements(collection),
        "invariants": catalog.check,
        "damages quick": lambda: catalog.damages(True),
        "damages full": lambda: catalog.damages(False),
        "contents": lambda: sum(len(group) for group in contents(catalog)),
        "snapshot": lambda: catalog.snapshot("pictures"),
        "named segments": catalog.named_segments,
        "segment files": catalog.segment_files,
        "counts": lambda: catalog.collection_counts_of(collection.id),
    }
    for name, step in steps.items():
        if trace:
            tracemalloc.start()
        began = time.perf_counter()
        found = step()
        seconds, peak = time.perf_counter() - began, tracemalloc.get_traced_memory()[1] if trace else 0
        tracemalloc.stop()
        assert found != [] or name not in ("snapshot",)
        print(
            f"{images} {name}: {seconds:.2f} s, {peak / 1e6:.1f} MB, {peak / images:.0f} B an image",
            flush=True,
        )
    assert consistency.disagreements(collection) == []
    catalog.close()


if __name__ == "__main__":
    main()
