"""What looks after a collection holds a few bytes of each image in memory, never the images."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from sightline.blip.patch_formats import PatchFormat
from sightline.store.catalog import Catalog, open_catalog
from sightline.store.index import Indexes
from sightline.store.segments import SegmentReader, recode_segment, rewrite_segment, write_segment
from sightline.upkeep.consistency import Consistency
from sightline.upkeep.stored_bytes import contents
from tests.store.large_catalog import fill

SIZES = (3_000, 12_000)
NUMBERS = 64
"""Bytes of an image that may stay in memory: a few numbers of its key, no object."""


class Formats:
    """Knows every codec."""

    def of(self, codec: str, fingerprint: str) -> object:
        return codec


class Large:
    """One catalog of so many images."""

    def __init__(self, folder: Path, images: int) -> None:
        self.images = images
        self.catalog: Catalog = open_catalog(f"sqlite:///{folder}/catalog.sqlite")
        self.indexes: Indexes = fill(self.catalog, folder, images, per_segment=200)
        self.segments = SegmentReader(folder / "segments")
        self.collection = self.catalog.collection("pictures")

    @property
    def consistency(self) -> Consistency:
        return Consistency(self.catalog, self.segments, self.indexes, Formats())


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Large]]:
    made = [Large(tmp_path_factory.mktemp("large"), images) for images in SIZES]
    yield made
    for one in made:
        one.catalog.close()


def peak(work: Callable[[], object]) -> int:
    """The most bytes that it held at once."""
    work()  # what is imported and remembered at the first use is no part of it
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


LOOKS: dict[str, Callable[[Large], object]] = {
    "keys": lambda one: one.consistency.disagreements(one.collection, quick=True),
    "all": lambda one: one.consistency.disagreements(one.collection),
    "invariants": lambda one: one.catalog.check(),
    "file": lambda one: one.catalog.damages(),
    "contents": lambda one: sum(len(page) for page in contents(one.catalog)),
    "snapshot": lambda one: one.catalog.snapshot("pictures"),
}


@pytest.mark.parametrize("look", LOOKS)
def test_more_images_take_next_to_no_more_memory(both: list[Large], look: str) -> None:
    few, many = (peak(partial(LOOKS[look], one)) for one in both)
    assert (many - few) / (SIZES[1] - SIZES[0]) < NUMBERS


def test_a_catalog_that_agrees_is_said_to(both: list[Large]) -> None:
    for one in both:
        assert one.consistency.disagreements(one.collection) == []


def test_of_many_segments_the_one_that_disagrees_is_named(tmp_path: Path) -> None:
    one = Large(tmp_path, 1_000)
    wrong, missing = one.catalog.snapshot("pictures").segments[1:3]
    write = one.catalog.database.write
    write(lambda c: c.exec_driver_sql(
        f"UPDATE placements SET row = 199 - row WHERE segment_id = {wrong.id} AND row IN (0, 199)"
    ))  # fmt: skip
    (one.segments.folder / missing.file).unlink()
    one.segments.forget(missing.file)
    told = " ".join(one.consistency.disagreements(one.collection))
    assert f"images of segment {wrong.file} elsewhere" in told
    assert missing.file in told
    assert "190 live images are in no published segment" in told
    one.catalog.close()


def segment_of(folder: Path, images: int) -> tuple[SegmentReader, str]:
    """fp16 patches of 8 KB an image."""
    rng = np.random.default_rng(0)
    patches = rng.standard_normal((images, 16, 256)).astype(np.float16)
    tokens = rng.standard_normal((images, 4, 8)).astype(np.float16)
    made = write_segment(folder, np.arange(images), tokens, patches, "fp16")
    return SegmentReader(folder), made.file


@pytest.mark.parametrize("how", ["copied", "recoded"])
def test_a_segment_is_rewritten_a_few_images_at_a_time(tmp_path: Path, how: str) -> None:
    peaks = []
    for images in (256, 1024):
        reader, file = segment_of(tmp_path, images)
        alive = np.arange(0, images, 2)
        named = NamedFile(file)

        def rewrite() -> object:
            if how == "copied":
                return rewrite_segment(reader, [named], alive)  # noqa: B023
            return recode_segment(reader, named, alive, "int8", int8)  # noqa: B023

        peaks.append(peak(rewrite))
    assert (peaks[1] - peaks[0]) / (1024 - 256) < 256, "of 8 KB patches an image"


def test_a_recoded_segment_holds_what_packing_the_whole_gives(tmp_path: Path) -> None:
    reader, file = segment_of(tmp_path, 150)
    alive = np.arange(3, 150, 2)
    made = recode_segment(reader, NamedFile(file), alive, "int8", int8)
    before, after = reader.read(file), reader.read(made.file)
    assert before.patches is not None
    codes, scales = int8(before.patches[alive])
    assert after.keys.tolist() == alive.tolist()
    assert (after.tokens == before.tokens[alive]).all()
    assert after.patches is not None
    assert (after.patches == codes).all()
    assert after.scales is not None
    assert (after.scales == scales).all()


class NamedFile:
    """A segment by its file."""

    def __init__(self, file: str) -> None:
        self.file = file


def int8(patches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As the product packs them."""
    import torch

    packed = PatchFormat("int8").pack(torch.from_numpy(np.ascontiguousarray(patches)))
    assert packed.patches is not None
    assert packed.scales is not None
    return packed.patches, packed.scales
