"""What a metadata filter costs beside the search: at first, when it is known, and after a change.

``python -m benchmarks.filters [--images 1000000] [--database URL]`` prints milliseconds of CPU (of this
process) and of the clock for filters that fit 1, 10 and 50 % of the images, and what deleting by one costs.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.catalog_images import COLLECTION, add_images, create_bench
from sightline.retriever.filtered_keys import FilterCache
from sightline.retriever.positions import Positions
from sightline.store.catalog import Catalog, open_catalog
from sightline.store.conditions import Filter
from sightline.store.filters import parse_filter
from sightline.store.portable import sqlite_url

FILTERS: Final[dict[str, dict[str, Any]]] = {
    "1 %": {"field": "year", "equals": 1999},
    "10 %": {"field": "camera", "equals": "Camera 3"},
    "50 %": {"field": "indoor", "equals": True},
    "50 %, range": {"field": "year", "range": {"gte": 1950, "lt": 2000}},
    "9 %, two": {
        "must": [{"field": "camera", "equals": "Camera 3"}],
        "must_not": [{"field": "year", "range": {"gte": 2015}}],
    },
}
DELETED: Final = {"field": "year", "range": {"lt": 1950}}
"""A quarter."""


@dataclass(frozen=True)
class Cost:
    """Of one question, in milliseconds."""

    what: str
    filter: str
    found: int
    cpu_ms: float
    clock_ms: float


def timed(what: str, name: str, work: Callable[[], int]) -> Cost:
    """``work`` returns how many it found."""
    clock, cpu = time.perf_counter(), time.process_time()
    found = work()
    cpu_ms, clock_ms = 1e3 * (time.process_time() - cpu), 1e3 * (time.perf_counter() - clock)
    return Cost(what, name, found, cpu_ms, clock_ms)


def measure(catalog: Catalog, images: int) -> list[Cost]:
    """Fills an empty catalog and asks every filter three times; deletes a quarter at the end."""
    collection = create_bench(catalog)
    add_images(catalog, collection, 0, images)
    positions = Positions(catalog.filter_keys(collection.id, Filter()))
    filters = {name: parse_filter(written) for name, written in FILTERS.items()}
    cache = FilterCache(catalog)

    def ask(filter: Filter) -> int:
        version = catalog.version(COLLECTION)[1]
        return int(np.count_nonzero(cache.get(collection.id, filter, version).mask(positions)))

    costs = [timed("first", name, lambda f=filter: ask(f)) for name, filter in filters.items()]
    costs += [timed("known", name, lambda f=filter: ask(f)) for name, filter in filters.items()]
    add_images(catalog, collection, images, 64)
    costs += [timed("after 64 new", name, lambda f=filter: ask(f)) for name, filter in filters.items()]
    gone = parse_filter(DELETED)
    delete = timed("delete", "25 %", lambda: catalog.delete_images(collection.id, filter=gone))
    return [*costs, delete]


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--database", help="an empty catalog; a file that goes afterwards when left out")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = arguments.database or sqlite_url(Path(folder) / "catalog.sqlite")
        with closing(open_catalog(url)) as catalog:
            costs = measure(catalog, arguments.images)
        size = sum(file.stat().st_size for file in Path(folder).iterdir())
    print(f"{arguments.images:,} images; the catalog has {size / 1e6:,.0f} MB")
    for cost in costs:
        print(
            f"{cost.what:14} {cost.filter:12} {cost.found:9,} found"
            f" {cost.cpu_ms:9.2f} ms CPU {cost.clock_ms:9.2f} ms"
        )


if __name__ == "__main__":
    main()
