"""Rot in the lists of an approximate index that only `verify` reads in full: mapped, and never believed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sightline.errors import CorruptionError
from sightline.retriever.max_sim import Part, search
from sightline.store.index import BuiltIndex
from sightline.store.ivf.lists import stride_of
from sightline.store.records import IVF_SQ8
from sightline.store.tensorfile import open_tensors
from tests.store.ivf_world import IvfWorld
from tests.store.token_world import unit


def test_lists_whose_sizes_are_damaged_are_not_opened(built: BuiltIndex, world: IvfWorld) -> None:
    """FAISS would ask for as much memory as the damaged number says, or never come back."""
    path = part_of(world, built)
    original = path.read_bytes()
    start = open_tensors(path).layout.starts["lists"]
    head = 200 + 8 * int(built.parameters["cells"])
    for position in range(start, start + head, 23):
        damaged = bytearray(original)
        damaged[position] ^= 0x01
        path.write_bytes(damaged)
        with pytest.raises(CorruptionError, match="another checksum"):
            world.open(world.backend(IVF_SQ8), built)


@pytest.mark.parametrize("bit", [16, 32, 48, 56, 62, 63])
def test_an_entry_of_a_token_that_no_image_has_is_passed_over(
    built: BuiltIndex, world: IvfWorld, bit: int
) -> None:
    path = part_of(world, built)
    content = bytearray(path.read_bytes())
    entry = int.from_bytes(content[-8:], "little")  # the last id of the last list
    content[-8:] = (entry ^ 1 << bit).to_bytes(8, "little")
    path.write_bytes(content)
    index = world.open(world.backend(IVF_SQ8), built)
    token, position = divmod(entry, stride_of(len(index.keys)))
    (row,) = np.flatnonzero(world.keys == index.keys[position])
    vector = unit(world.tokens[row, token].astype(np.float32))  # nothing fits it better than this entry
    assert len(search(Part(index), [], vector, 20).keys) == 20


def part_of(world: IvfWorld, built: BuiltIndex) -> Path:
    """Its only part."""
    (part,) = (file for file in built.parameters["files"][2:])
    return world.folder / "generations" / str(part)


@pytest.fixture(scope="module")
def born(tmp_path_factory: pytest.TempPathFactory) -> tuple[IvfWorld, BuiltIndex]:
    """1,200 images: more than are scanned whatever their number."""
    born = IvfWorld.drawn(tmp_path_factory.mktemp("small"), 1200, 120, 5, 400)
    return born, born.build(born.backend(IVF_SQ8), born.segments)


@pytest.fixture
def world(born: tuple[IvfWorld, BuiltIndex], tmp_path: Path) -> IvfWorld:
    """A copy of that world, to be damaged."""
    return born[0].copied(tmp_path / "copy")


@pytest.fixture
def built(born: tuple[IvfWorld, BuiltIndex]) -> BuiltIndex:
    """A generation over all of it."""
    return born[1]
