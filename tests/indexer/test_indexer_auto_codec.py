"""``auto``: fp16 until a collection is large, then the smallest codec that keeps its pictures' order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from sightline.errors import LeaseLostError
from sightline.indexer.indexer import Indexer
from sightline.indexer.parts import IndexerParts
from sightline.store.codec_verdicts import CodecVerdicts
from sightline.store.records import Collection
from sightline.upkeep.codec_choice import CodecChoice, CodecSizes
from tests.indexer.test_indexer_codecs import assert_patches_are_their_own, codecs_of
from tests.indexer.world import COLLECTION, Knobs, World, problems

LARGE = 12
SIZES = CodecSizes(fitted=8, pictures=4, texts=6, rank=5)


class AutoWorld(World):
    """Collections are large from `LARGE` images on."""

    sizes = SIZES

    @cached_property
    def parts(self) -> IndexerParts:
        choice: Any = CodecChoice(self.catalog, self.segments, self.formats, self.models, self.sizes)
        return replace(super().parts, codec_choice=choice)

    @cached_property
    def indexer(self) -> Indexer:
        return Indexer(self.parts)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[AutoWorld]:
    world = AutoWorld(tmp_path, Knobs(indexer={"batch_size": 4, "patch_codec": "auto", "codec_from": LARGE}))
    world.create()
    yield world
    world.close()


def grow(world: World, count: int, first: int = 0) -> list[str]:
    names = world.draw(count, first)
    world.index()
    world.indexer.run_pending()
    return names


def verdict(world: World) -> Any:
    return CodecVerdicts(world.segments.folder).find(world.catalog.collection(COLLECTION))


def rewritten(world: World) -> None:
    """Builder's passes until nothing is left to do."""
    builder = world.builder(patch_codec="auto", merge_at_least=100)
    while (report := builder.step()) is not None and report.busy:
        pass


def test_a_small_collection_is_kept_in_fp16_as_ever(world: AutoWorld) -> None:
    grow(world, LARGE)
    assert codecs_of(world) == {"fp16": LARGE}
    rewritten(world)
    assert codecs_of(world) == {"fp16": LARGE}
    assert verdict(world) is None
    assert_patches_are_their_own(world, 1e-3)


def test_a_large_one_gets_the_latent_that_keeps_the_order_and_what_there_was_follows(
    world: AutoWorld,
) -> None:
    names = grow(world, LARGE) + grow(world, 4, LARGE)
    chosen = verdict(world)
    assert chosen.codec.startswith("latent-")
    assert chosen.tried[-1].passed
    assert codecs_of(world) == {"fp16": LARGE, chosen.codec: 4}
    rewritten(world)
    assert codecs_of(world) == {chosen.codec: LARGE + 4}
    assert_patches_are_their_own(world, 0.05)
    assert problems(world, names) == []
    assert chosen.codec in chosen.sentence


@pytest.mark.parametrize(("int8", "expected"), [(0.5, "int8"), (1.1, "fp16")])
def test_what_does_not_keep_the_order_is_not_used(world: AutoWorld, int8: float, expected: str) -> None:
    """No latent can keep more than everything; whether int8 may is asked next."""
    world.sizes = replace(SIZES, keeps_latent=1.1, keeps_int8=int8)
    grow(world, LARGE)
    grow(world, 4, LARGE)
    chosen = verdict(world)
    assert chosen.codec == expected
    assert [one.codec.split("-")[0] for one in chosen.tried] == ["latent", "int8"]
    assert [one.passed for one in chosen.tried] == [False, expected == "int8"]
    rewritten(world)
    assert set(codecs_of(world)) == {expected}


def test_a_wider_latent_is_tried_before_int8(world: AutoWorld) -> None:
    world.sizes = replace(SIZES, rank=None, keeps_latent=1.1, keeps_int8=1.1)
    grow(world, LARGE)
    grow(world, 4, LARGE)
    assert [one.codec.split("-")[0] for one in verdict(world).tried] in (
        ["latent", "latent", "int8"],
        ["latent", "int8"],  # of six numbers a patch, rank 1 cannot grow by half
    )


def test_it_is_measured_once_and_kept(world: AutoWorld) -> None:
    grow(world, LARGE)
    grow(world, 4, LARGE)
    chosen = verdict(world)
    again = AutoWorld(world.data)
    again.sizes = replace(SIZES, keeps_latent=1.1, keeps_int8=1.1)  # would choose otherwise
    grow(again, 4, LARGE + 4)
    assert verdict(again) == chosen
    assert codecs_of(again)[chosen.codec] == 8
    again.close()


def test_of_two_workers_one_chooses_and_the_other_goes_on_in_fp16(world: AutoWorld) -> None:
    grow(world, LARGE)
    collection = world.catalog.collection(COLLECTION)
    name = f"codec of collection {collection.id}"
    assert world.catalog.acquire_singleton(name, "another", 600.0)
    grow(world, 4, LARGE)
    assert codecs_of(world) == {"fp16": LARGE + 4}
    world.catalog.release_singleton(name, "another")
    grow(world, 4, LARGE + 4)
    assert verdict(world) is not None


def test_a_worker_that_loses_its_task_while_it_measures_leaves_the_choice_to_others(world: AutoWorld) -> None:
    grow(world, LARGE)
    collection = world.catalog.collection(COLLECTION)

    def lost() -> None:
        raise LeaseLostError("Somebody else has it.")

    choice = world.parts.codec_choice
    assert choice is not None
    with pytest.raises(LeaseLostError):
        choice.choose(collection, lost)
    assert verdict(world) is None
    assert world.formats.newest(collection.fingerprint) is None
    grow(world, 4, LARGE)
    assert verdict(world) is not None


def test_a_damaged_verdict_counts_as_none(world: AutoWorld) -> None:
    grow(world, LARGE)
    grow(world, 4, LARGE)
    chosen = verdict(world)
    (file,) = world.segments.folder.rglob("auto-*.json")
    for damage in (b"", b"{}", b'{"codec": "zip", "tried": [], "pictures": 1, "texts": 1}', b"[1]"):
        file.write_bytes(damage)
        assert verdict(world) is None
    grow(world, 4, LARGE + 4)
    assert verdict(world).codec == chosen.codec, "the latent that is there is tried first"


def test_the_verdict_on_a_collection_goes_with_it(world: AutoWorld) -> None:
    grow(world, LARGE)
    grow(world, 4, LARGE)
    collection = world.catalog.collection(COLLECTION)
    beside = world.segments.folder / "codecs" / collection.fingerprint / "auto-notes.json"
    beside.touch()
    world.catalog.delete_collection(COLLECTION)
    assert cleaned(world, collection) is not None  # it may come back
    world.catalog.empty_collection(world.catalog.trashed_collections()[0].id)
    assert cleaned(world, collection) is None
    assert beside.exists()


def cleaned(world: World, collection: Collection) -> Any:
    """What is known of a collection after a builder has cleaned up."""
    world.builder(patch_codec="auto", clean_seconds=0.0).step()
    return CodecVerdicts(world.segments.folder).find(collection)
