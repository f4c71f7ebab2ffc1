"""Sample texts: who writes them, when, of what; and that nothing purged stays in them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks.general_sentences import sentences
from sightline.indexer.building.purging import Purging
from sightline.indexer.embedding.text_sampling import (
    HELD_OUT,
    LOOK_SECONDS,
    TextSampling,
    due,
    general_sentences,
    texts_for,
)
from sightline.indexer.heartbeat import Pulse
from sightline.indexer.settings import BuilderSettings
from sightline.store.sample_text_files import SampleTextFiles
from sightline.store.sample_texts import CAPTIONS, GENERAL, QUERIES, SampleTexts, text_set
from sightline.store.text_records import SamplingState
from sightline.store.work_records import Registration
from tests.indexer.world import COLLECTION, Knobs, World

DAY = 86_400.0


class Clock:
    """Time of the database and of the worker."""

    later = 0.0

    def __call__(self) -> float:
        return time.time() + self.later


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def world(tmp_path: Path, clock: Clock) -> Iterator[World]:
    """Eight pictures get sample texts."""
    world = World(tmp_path, Knobs(indexer={"batch_size": 4, "sample_texts_from": 8}), now=clock)
    world.create()
    yield world
    world.close()


def indexed(world: World, count: int, first: int = 0) -> None:
    world.draw(count, first)
    world.index()
    world.indexer.run_pending()
    idle(world)


def idle(world: World) -> None:
    """A worker has had nothing to do for a while."""
    assert isinstance(world.now, Clock)
    world.now.later += 2 * LOOK_SECONDS
    world.indexer.tasks.idle()


def newest(world: World) -> SampleTexts | None:
    """As another process finds it."""
    collection = world.catalog.collection(COLLECTION)
    return SampleTextFiles(world.segments.folder).newest(collection.fingerprint, collection.id)


def drawn(world: World) -> SampleTexts:
    found = newest(world)
    assert found is not None
    return found


def caption(world: World, captions: list[str]) -> None:
    """Each picture gets one of these captions."""
    for image, text in zip(world.live(), captions, strict=True):
        world.catalog.update_image(COLLECTION, image.image_id, caption=text)


def rows_of(world: World, texts: list[str], found: SampleTexts) -> int:
    """How many of these texts' vectors are in a set, by the model itself."""
    vectors = world.models.toy.encode_text(texts).numpy()
    return int((np.abs(vectors @ found.vectors.T - 1) < 1e-5).any(axis=1).sum())


def test_the_file_of_general_sentences_is_what_the_grammar_gives() -> None:
    found = general_sentences()
    assert found == sentences()
    assert len({one.casefold() for one in found}) == len(found) >= texts_for(10**9)
    assert all(one == one.strip() and 1 <= len(one.split()) <= 20 for one in found)


def test_the_number_of_texts_grows_with_the_collection_and_has_an_end() -> None:
    assert [texts_for(images) for images in (0, 10_000, 20_000, 200_000)] == [812, 812, 812, 2348]
    assert texts_for(10**6) == texts_for(10**9) == 2560 + HELD_OUT


def test_a_worker_writes_a_set_once_the_collection_is_large_enough(world: World) -> None:
    indexed(world, 7)
    assert newest(world) is None
    indexed(world, 1, first=7)
    found = drawn(world)
    assert found.vectors.shape == (texts_for(8), world.models.toy.joint_dim)
    assert found.vectors.dtype == np.float32
    assert np.abs(np.linalg.norm(found.vectors, axis=1) - 1).max() < 1e-5
    assert set(found.origins.tolist()) == {GENERAL}
    assert found.images == 8
    assert rows_of(world, ["no such sentence was ever drawn"], found) == 0
    given = world.models.toy.encode_text(general_sentences()).numpy()
    assert (np.abs(found.vectors @ given.T - 1) < 1e-5).any(axis=1).all()


def test_when_nothing_is_due_a_look_costs_one_read_and_no_model(world: World) -> None:
    indexed(world, 8)
    found, loads = drawn(world), world.models.loads
    idle(world)
    assert (drawn(world).id, world.models.loads) == (found.id, loads)


def test_an_idle_worker_writes_what_is_missing(world: World) -> None:
    indexed(world, 8)
    world.texts._files.forget_samples(world.catalog.collection(COLLECTION).id)
    world.indexer.tasks.idle()
    assert newest(world) is None  # it looked a moment ago
    idle(world)
    assert newest(world) is not None


def test_captions_take_the_place_of_general_sentences_when_they_come(world: World) -> None:
    indexed(world, 110)
    captions = [f"red left number {number}" for number in range(110)]
    before = drawn(world)
    caption(world, captions)
    idle(world)
    found = drawn(world)
    assert (found.count(CAPTIONS), found.count(GENERAL)) == (110, texts_for(110) - 110)
    assert rows_of(world, captions, found) == 110
    assert before.id != found.id
    runs = np.flatnonzero(found.origins == CAPTIONS)
    assert runs.min() < 100
    assert runs.max() > len(found.vectors) - 100  # the origins are mixed


def test_dropped_texts_and_those_of_pictures_in_the_trash_are_not_drawn(world: World) -> None:
    indexed(world, 8)
    collection = world.catalog.collection(COLLECTION)
    captions = [f"green top {number}" for number in range(8)]
    caption(world, captions)
    texts = world.catalog.text_page(collection.id).items
    world.catalog.overrule_text(collection.id, texts[0].id, "dropped")
    world.catalog.delete_images(collection.id, ids=[texts[1].image_id])
    drawn_texts = world.catalog.draw_texts(collection.id, 100)
    assert sorted(drawn_texts) == sorted(one.text for one in texts[2:])


def test_texts_are_drawn_from_all_of_a_large_collection(world: World) -> None:
    collection = world.catalog.collection(COLLECTION)
    job = world.catalog.create_job(collection.id, "index", {})
    items = [
        Registration(f"{n}", f"{n:064x}", f"/{n}", 1, f"number {n}", {}) for n in range(3_000)
    ]  # fmt: skip
    tasks = world.catalog.register(job.id, items, batch_size=3_000).task_ids
    lease = world.catalog.acquire(tasks[0], "worker", 60)
    assert lease is not None
    keys = [image.key for image in lease.images]
    from sightline.store.segments import write_segment

    tokens = np.zeros((3_000, 4, 8), np.float16)
    written = write_segment(world.segments.folder, np.array(keys), tokens, None, "none")
    assert world.catalog.publish(lease, written, sizes=dict.fromkeys(keys, (4, 3)))
    found = sorted(int(text.split()[1]) for text in world.catalog.draw_texts(collection.id, 100))
    assert 250 < len(found) < 400
    counts, _ = np.histogram(found, bins=10, range=(0, 3_000))
    assert counts.min() > 15


def test_a_purge_takes_the_sets_and_what_began_before_it_is_not_kept(world: World) -> None:
    indexed(world, 9)
    caption(world, [f"blue bottom {number}" for number in range(9)])
    collection = world.catalog.collection(COLLECTION)
    begun, old = world.texts.token(collection.id), drawn(world)
    assert begun is not None
    purging = Purging(world.catalog, world.blobs, world.segments, world.indexes, BuilderSettings())
    purging.images(COLLECTION, [world.live()[0].image_id])
    assert newest(world) is None
    assert not world.texts.write(collection.fingerprint, collection.id, begun, old)
    assert newest(world) is None
    idle(world)
    assert drawn(world).images == 8
    assert rows_of(world, ["blue bottom 0"], drawn(world)) == 0


def test_a_damaged_set_is_drawn_again(world: World) -> None:
    indexed(world, 8)
    (path,) = world.segments.folder.rglob(f"*/texts/{drawn(world).id}*")
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    assert newest(world) is None
    idle(world)
    assert drawn(world).id not in path.name


def test_two_workers_at_once_leave_one_whole_set(world: World) -> None:
    indexed(world, 8)
    collection, token = world.catalog.collection(COLLECTION), world.texts.token(1)
    assert token is not None
    sets = [text_set(np.eye(8, dtype=np.float32), np.full(8, one, np.int8), 8, 0.0) for one in range(3)]
    for one in [*sets, *reversed(sets)]:
        assert world.texts.write(collection.fingerprint, collection.id, token, one)
    assert drawn(world).id == sets[0].id
    assert len(list(world.segments.folder.rglob("*/texts/*"))) == 1


def test_a_model_that_cannot_be_had_costs_no_task(world: World, tmp_path: Path) -> None:
    class Broken:
        def encoder(self, collection: object) -> object:
            raise RuntimeError("no memory")

    indexed(world, 8)
    world.texts._files.forget_samples(1)
    from dataclasses import replace

    parts = replace(world.parts, models=Broken())  # type: ignore[arg-type]
    TextSampling(parts, world.texts).tend(world.catalog.collection(COLLECTION), Pulse())
    assert newest(world) is None


def known(captions: int = 0, queries: int = 0, images: int = 20_000) -> SampleTexts:
    origins = np.full(812, GENERAL, np.int8)
    origins[:captions], origins[captions : captions + queries] = CAPTIONS, QUERIES
    return text_set(np.zeros((812, 2), np.float32), origins, images, 1000.0)


@pytest.mark.parametrize(
    ("texts", "asked", "state", "reason"),
    [
        (None, 0, SamplingState(9_999, 0, 0.0), None),
        (None, 0, SamplingState(10_000, 0, 0.0), "there is none"),
        (known(), 0, SamplingState(39_999, 99, 1000.0), None),
        (known(), 0, SamplingState(40_000, 0, 1000.0), "the collection has doubled"),
        (known(), 0, SamplingState(20_000, 100, 1000.0), "captions came"),
        (known(captions=500), 0, SamplingState(20_000, 9_000, 1000.0), None),
        (known(captions=300), 0, SamplingState(20_000, 9_000, 1000.0), "captions came"),
        (known(captions=500), 200, SamplingState(20_000, 9_000, 1000.0), "queries came"),
        (
            known(captions=300, queries=400),
            0,
            SamplingState(20_000, 0, 1000.0),
            "queries are not kept any more",
        ),
        (known(captions=300, queries=400), 9_000, SamplingState(20_000, 9_000, 1000.0), None),
        (known(captions=500), 0, SamplingState(20_000, 500, 1001.0 + 30 * DAY), "it is old"),
        (known(), 0, SamplingState(20_000, 0, 1001.0 + 30 * DAY), None),
    ],
)
def test_a_set_is_due_when_it_is_missing_small_of_another_domain_or_old(
    texts: SampleTexts | None, asked: int, state: SamplingState, reason: str | None
) -> None:
    assert due(texts, asked, state, 10_000) == reason
    assert due(texts, asked, state, 0) is None
