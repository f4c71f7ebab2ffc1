"""However many segments there are, few files are open at a time: a low limit of the system is enough."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from tests.indexer.test_indexer_builder import names, publish
from tests.indexer.world import COLLECTION, Knobs, World, search_all

SEGMENTS, FILES = 60, 16


@contextmanager
def few_files(more: int) -> Iterator[None]:
    """This process may open so many files more than it has open now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = {int(name) for name in os.listdir("/dev/fd")}
    free = (number for number in range(soft) if number not in used)
    resource.setrlimit(resource.RLIMIT_NOFILE, (next(islice(free, more, None)), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def openable() -> int:
    """How many files can be opened now."""
    opened: list[int] = []
    try:
        while len(opened) < 1000:
            opened.append(os.dup(1))
    except OSError:
        pass
    finally:
        for descriptor in opened:
            os.close(descriptor)
    return len(opened)


def test_many_segments_are_searched_merged_and_folded_with_few_files(tmp_path: Path) -> None:
    world = World(tmp_path, Knobs(builder={"merge_at_least": SEGMENTS}))
    world.create()
    for name in names(SEGMENTS):
        publish(world, [name])
    found = sorted(search_all(world))
    assert len(world.catalog.snapshot(COLLECTION).segments) == len(found) == SEGMENTS > FILES
    with few_files(FILES):
        assert openable() < SEGMENTS / 2
        assert sorted(search_all(world)) == found
        report = world.builder(fold_idle_seconds=0.0).step()
        assert report is not None
        assert (report.merged, report.folded) == (SEGMENTS, 1)
        assert sorted(search_all(world)) == found
    assert len(world.catalog.snapshot(COLLECTION).segments) == 1
    world.close()
