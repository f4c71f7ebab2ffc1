"""A purge beside rot: all goes at once but what damaged files hold beside kept images, which waits."""

from __future__ import annotations

from pathlib import Path

import pytest

from sightline.errors import CorruptionError, NotFoundError
from sightline.store.records import Segment
from sightline.wiring import Installation, open_installation
from tests.sightline.conftest import save
from tests.sightline.test_sightline_doctor import problems

FOREVER = float("inf")


@pytest.fixture
def kept(services: Installation, tmp_path: Path) -> Installation:
    """Three copied pictures in one segment, folded, and one in another."""
    folder = tmp_path / "pictures"
    for name, colours in {"a": ("red", "green"), "b": ("blue", "red"), "c": ("white", "purple")}.items():
        save(folder, name, *colours)
    services.collections.create("pictures")
    _index(services, folder)
    services.builder.fold("pictures")
    save(folder, "d", "yellow", "red")
    _index(services, folder)
    return services


def _index(services: Installation, folder: Path) -> None:
    job = services.indexer.index([str(folder)], "pictures", copy=True)
    services.indexer.wait(job.id, timeout=60)


def holding(services: Installation, name: str) -> tuple[Segment, int]:
    """The segment of a picture, and its row."""
    key = services.catalog.image("pictures", name).key
    place = services.catalog.locations([key])[key]
    segments = {one.file: one for one in services.catalog.snapshot("pictures").segments}
    return segments[place.file], place.row


def flip(services: Installation, name: str, tensor: str) -> None:
    """One bit of what a segment has of a picture."""
    segment, row = holding(services, name)
    path = services.settings.segments_folder / segment.file
    layout = services.segments.head(segment.file).layout
    data = bytearray(path.read_bytes())
    data[layout.starts[tensor] + row * (layout.specs[tensor].bytes // segment.count) + 3] ^= 0x10
    path.unlink()
    path.write_bytes(data)


def tokens(services: Installation, name: str) -> bytes:
    segment, row = holding(services, name)
    return services.segments.read(segment.file).tokens[row].tobytes()


def files_with(services: Installation, data: bytes) -> set[str]:
    files = [path for path in services.settings.data_folder.rglob("*") if path.is_file()]
    return {path.parent.name for path in files if data in path.read_bytes()}


def is_served(services: Installation, data: bytes) -> bool:
    """Whether the index that is in use holds it."""
    generation = services.catalog.snapshot("pictures").generation
    assert generation is not None
    return data in (services.settings.generations_folder / generation.file).read_bytes()


def outstanding(services: Installation) -> int:
    return len(services.catalog.outstanding_purges(FOREVER, 0, 99))


@pytest.mark.parametrize("tensor", ["tokens", "patches"])
def test_damage_of_the_purged_picture_alone_keeps_nobody(tensor: str, kept: Installation) -> None:
    trace = tokens(kept, "b.png")
    flip(kept, "b.png", tensor)
    assert kept.purging.images("pictures", ["b.png"]) == {"b.png"}
    assert outstanding(kept) == 0
    assert files_with(kept, trace) == set()
    assert problems(kept.settings) == [], "and with it the damage is gone"


@pytest.mark.parametrize("harm", ["patches", "tokens", "head", "missing"])
def test_where_a_kept_image_is_damaged_all_else_goes_at_once_and_the_rest_after_a_repair(
    harm: str, kept: Installation
) -> None:
    image = kept.catalog.image("pictures", "b.png")
    trace, other = tokens(kept, "b.png"), tokens(kept, "d.png")
    segment, _ = holding(kept, "b.png")
    path = kept.settings.segments_folder / segment.file
    if harm in ("patches", "tokens"):
        flip(kept, "a.png", harm)
    else:
        content = bytearray(path.read_bytes())
        content[12] ^= 1
        path.unlink()
        if harm == "head":
            path.write_bytes(content)
    for _ in range(2):
        with pytest.raises(CorruptionError, match="doctor --repair"):
            kept.purging.images("pictures", ["b.png", "d.png"])
    with pytest.raises(NotFoundError):
        kept.catalog.image("pictures", "b.png")
    assert not kept.blobs.has(image.sha256)
    assert files_with(kept, other) == set(), "the other segment had nothing to wait for"
    # Where the tokens of a kept image are damaged, the index alone finds it, and stays until then.
    assert is_served(kept, trace) == (harm != "patches")
    assert path.exists() == (harm != "missing")
    assert outstanding(kept) == 1
    assert [one.problem for one in kept.repair.run()] == [None]
    with open_installation(kept.settings, inline=True) as later:
        report = later.builder.step()
        assert report is not None
        assert report.purged >= 1
        assert outstanding(later) == 0
        assert files_with(later, trace) | files_with(later, other) == set()
        assert [one.image_id for one in later.catalog.images("pictures").items] == ["a.png", "c.png"]
    assert problems(kept.settings) == []


def test_damage_elsewhere_keeps_no_purge(kept: Installation) -> None:
    trace = tokens(kept, "b.png")
    flip(kept, "d.png", "tokens")
    assert kept.purging.images("pictures", ["b.png"]) == {"b.png"}
    assert files_with(kept, trace) == set()
    assert outstanding(kept) == 0
