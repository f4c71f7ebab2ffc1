"""How many images a second are registered, their files hashed apart: what SQL and its checks cost.

``python -m benchmarks.registration [--images 50000] [--database URL]`` prints rows a second of new images,
and of the same images once more.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from benchmarks.catalog_images import create_bench, register, registrations
from sightline.store.catalog import Catalog, open_catalog
from sightline.store.portable import sqlite_url


@dataclass(frozen=True)
class Rate:
    """Images a second, by the clock and by the CPU of this process."""

    what: str
    per_second: float
    per_cpu_second: float


def measure(catalog: Catalog, images: int) -> list[Rate]:
    """Registers into an empty catalog, twice: the second job meets what the first left pending."""
    collection = create_bench(catalog)
    items = list(registrations(0, images))
    rates = []
    for what in ("new", "met again by another job"):
        job = catalog.create_job(collection.id, "index", {})
        clock, cpu = time.perf_counter(), time.process_time()
        register(catalog, job.id, iter(items))
        cpu_s, clock_s = time.process_time() - cpu, time.perf_counter() - clock
        rates.append(Rate(what, images / clock_s, images / cpu_s))
    return rates


def main() -> None:
    """Print both rates."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--database", help="an empty catalog; a file that goes afterwards when left out")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = arguments.database or sqlite_url(Path(folder) / "catalog.sqlite")
        with closing(open_catalog(url)) as catalog:
            rates = measure(catalog, arguments.images)
    for rate in rates:
        print(
            f"{rate.what:26} {rate.per_second:8,.0f} rows/s {rate.per_cpu_second:8,.0f} rows per CPU second"
        )


if __name__ == "__main__":
    main()
