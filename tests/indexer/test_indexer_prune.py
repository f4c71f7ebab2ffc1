"""Pruning: a source takes along what it no longer has, never what another one brought or cannot be read now."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.indexer.world import COLLECTION, Knobs, World, picture


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "data", Knobs(indexer={"batch_size": 8}))
    world.create()
    yield world
    world.close()


def run(world: World, *sources: Path | str, **options: Any) -> Any:
    """Index to the end; the job."""
    job = world.indexer.index([str(source) for source in sources], COLLECTION, **options)
    world.indexer.run_pending()
    return world.catalog.job(job.id)


def fill(folder: Path, *numbers: int) -> Path:
    """Pictures ``<number>.png``."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        (folder / f"{number}.png").write_bytes(picture(number))
    return folder


def ids(world: World) -> list[str]:
    return sorted(image.image_id for image in world.live())


def reasons(world: World, job: Any) -> list[str]:
    return sorted(line.reason for line in world.catalog.job_errors(job.id))


@pytest.fixture
def both(world: World, tmp_path: Path) -> tuple[Path, Path]:
    """Two sources of three pictures each, indexed."""
    a, b = fill(tmp_path / "a", 1, 2, 3), fill(tmp_path / "b", 4, 5, 6)
    run(world, a, b)
    return a, b


EVERYTHING = [f"{number}.png" for number in range(1, 7)]


def test_an_unmounted_source_beside_another_loses_nothing(world: World, both: tuple[Path, Path]) -> None:
    a, b = both
    for file in a.iterdir():
        file.unlink()
    run(world, a, b, prune=True)
    assert ids(world) == EVERYTHING


def test_a_source_that_holds_only_a_note_loses_nothing(world: World, both: tuple[Path, Path]) -> None:
    a, b = both
    for file in a.iterdir():
        file.unlink()
    (a / "NOT_MOUNTED.txt").write_text("The disk is not mounted here.")
    run(world, a, b, prune=True)
    assert ids(world) == EVERYTHING
    run(world, a, prune=True)
    assert ids(world) == EVERYTHING


def test_pruning_one_source_spares_what_came_from_another(world: World, both: tuple[Path, Path]) -> None:
    _, b = both
    run(world, b, prune=True)
    assert ids(world) == EVERYTHING
