"""Collections that grow from one kind of index to another: nobody sees an empty, an old or a mixed answer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sightline.store.backends import open_indexes
from sightline.store.catalog import Catalog, open_catalog
from sightline.store.conditions import Filter
from sightline.store.index import BuildRequest, BuiltIndex
from sightline.store.segments import SegmentReader, write_segment
from sightline.store.work_records import Registration
from tests.indexer.growing import SMALL, Growing, delete, note, put, searching
from tests.indexer.world import until
from tests.retriever.living_collection import Living, living_collection
from tests.store.parted_index import PartedBackend, texts
from tests.store.token_world import random_tokens


def ids(count: int, first: int = 0) -> list[str]:
    return [f"a{number}" for number in range(first, first + count)]


@pytest.fixture
def growing(tmp_path: Path) -> Iterator[Growing]:
    with living_collection(tmp_path, 1) as living:
        yield Growing(living)


def test_a_search_all_through_growth_sees_no_error_no_gap_and_no_mixed_answer(growing: Growing) -> None:
    served: list[tuple[str, bool]] = []
    with searching(growing) as client:
        for round in range(16):
            put(growing, client, ids(30, 30 * round))
            if round % 3 == 2:
                put(growing, client, ids(12, 20 * round))  # replaced
                delete(growing, client, ids(8, 20 * round + 12))
            growing.settle()
            served.append((growing.serving.kind, bool(growing.serving.parameters["grown"])))
            growing.age()  # what was replaced, segments too, is deleted under the client
        note(growing, client)
        growing.living.check(500)
    kinds = [kind for kind, _ in served]
    assert kinds == sorted(kinds), "from flat to ivf-sq8, once"
    assert set(kinds) == {"flat", "ivf-sq8"}
    assert ("ivf-sq8", True) in served
    trained = [request.serving is None for request in growing.sq8.built]
    assert sum(trained) == 2, "when it took over, and when it was four times as large"
    assert client.recalls == {None, 1.0}
    assert growing.stored == growing.living.catalog.generation_files()
    assert len(growing.stored) > 3, "parts are shared"


def test_the_real_inverted_lists_take_over_grow_and_hide_nothing_new(tmp_path: Path) -> None:
    with living_collection(tmp_path, 2) as living:
        growing = Growing(living, replace(SMALL, approximate_from=150, recall_target=0.5))
        growing.use(open_indexes(living.generations).backends)
        with searching(growing) as client:
            for round in range(3):
                put(growing, client, ids(90, 90 * round))
                delete(growing, client, ids(20, 90 * round))
                growing.settle()
                growing.age()
            put(growing, client, ids(30, 270))
            growing.settle()
            assert growing.serving.parameters["grown"]
            doomed = living.keys.pop("a269")
            del living.tokens["a269"]
            client.sure -= {doomed}
            growing.purging().images("pictures", ["a269"])
            note(growing, client)
            growing.age()  # built anew …
            growing.age()  # … and what served before is gone
        assert growing.serving.kind == "ivf-sq8"
        assert growing.serving.parameters["recall"] >= 0.5
        assert not growing.serving.parameters["grown"], "it may have learned from what was purged"
        assert None in client.recalls
        assert len(client.recalls) > 1
        assert growing.stored == living.catalog.generation_files()


def test_below_the_target_the_other_kind_is_tried_and_then_flat_serves_and_says_why(growing: Growing) -> None:
    growing.sq8.recall, growing.rabitq.recall = (lambda images: 0.9), (lambda images: 0.97)
    growing.living.put(ids(50))
    growing.settle()
    growing.living.put(ids(50, 50))
    growing.settle()
    tried = (len(growing.sq8.built), len(growing.rabitq.built))
    assert (growing.serving.kind, *tried) == ("flat", 1, 1)
    choice = growing.serving.parameters["choice"]
    assert choice["refused"] == {"ivf-sq8": 0.9, "ivf-rabitq": 0.97}
    assert "ivf-rabitq finds 97.0% of the best 100, below the target of 99.0%" in choice["why"]
    assert growing.stored == {growing.serving.file} | growing.living.catalog.loose_files("flat", "released")
    growing.living.put(ids(60, 100))  # not twice as many
    assert growing.settle() > 0
    assert len(growing.sq8.built) == 1
    growing.living.put(ids(60, 160))
    growing.settle()
    assert len(growing.sq8.built) == 2, "the images have doubled"
    growing.rabitq.recall = lambda images: 0.995
    growing.texts.latest = texts("another set")
    growing.later += 60.0
    growing.settle()
    assert growing.serving.kind == "ivf-rabitq", "with other texts"
    growing.living.check(30)
    assert growing.settle() == 0


def test_what_was_refused_while_nothing_is_unfolded_is_noted_where_it_serves(growing: Growing) -> None:
    growing.texts.latest = None
    growing.living.put(ids(100))
    growing.settle()
    before = growing.serving
    assert before.kind == "flat"
    assert "no sample texts" in before.parameters["choice"]["why"]
    growing.sq8.recall = growing.rabitq.recall = lambda images: 0.5
    growing.texts.latest = texts()
    growing.later += 60.0
    assert growing.settle() == 0
    assert (growing.serving.number, growing.serving.file) == (before.number, before.file)
    assert "Tried and not taken" in growing.serving.parameters["choice"]["why"]
    assert growing.settle() == 0
    assert len(growing.sq8.built) == 1


def test_a_little_less_or_more_changes_no_kind_and_half_of_it_does(growing: Growing) -> None:
    growing.living.put(ids(80))
    growing.settle()
    assert growing.serving.kind == "ivf-sq8"
    growing.living.delete(ids(40))
    growing.living.catalog.empty_trash(growing.living.id)
    growing.settle()
    assert growing.serving.kind == "ivf-sq8"
    growing.living.delete(ids(15, 40))
    growing.living.catalog.empty_trash(growing.living.id)
    growing.settle()
    assert growing.serving.kind == "flat"
    growing.living.check(30)


def test_the_smaller_kind_is_taken_when_the_larger_does_not_fit_the_memory(growing: Growing) -> None:
    growing.index = replace(SMALL, memory_bytes=100 * 10 * 16 - 1)
    growing.builder = growing.another_builder()
    growing.living.put(ids(100))
    growing.settle()
    assert growing.serving.kind == "ivf-rabitq"


def test_one_that_finds_less_as_it_grows_is_trained_anew(growing: Growing) -> None:
    growing.living.put(ids(80))
    growing.settle()
    growing.sq8.recall = lambda images: 0.98 if growing.sq8.built[-1].serving else 0.995
    growing.living.put(ids(30, 80))
    growing.settle()
    assert [request.serving is None for request in growing.sq8.built] == [True, False, True]
    assert growing.serving.parameters["recall"] == 0.995
    assert growing.settle() == 0


def test_exact_for_one_collection_is_exact_whatever_the_others_get(growing: Growing) -> None:
    growing.living.put(ids(80))
    growing.living.catalog.set_index_kind(growing.living.id, "exact")
    growing.settle()
    assert growing.serving.kind == "flat"
    growing.living.catalog.set_index_kind(growing.living.id, None)
    growing.settle()
    assert growing.serving.kind == "ivf-sq8"
    growing.living.catalog.set_index_kind(growing.living.id, "ivf-rabitq")
    growing.rabitq.recall = lambda images: 0.2  # asked for by its name: taken as it is
    growing.settle()
    assert (growing.serving.kind, growing.serving.parameters["recall"]) == ("ivf-rabitq", 0.2)
    assert growing.settle() == 0


def test_few_images_stay_unfolded_when_their_tokens_are_large(growing: Growing) -> None:
    growing.living.put(ids(100))
    growing.settle()
    growing.builder = growing.another_builder(fold_min_images=1000, fold_max_bytes=30 * 128)
    growing.living.put(ids(30, 100))
    assert growing.settle() == 0
    growing.living.put(ids(1, 130))
    assert growing.settle() == 1


def test_tasks_of_dead_workers_do_not_wait_for_a_long_build(growing: Growing) -> None:
    catalog = growing.living.catalog
    growing.living.put(ids(80))
    job = catalog.create_job(growing.living.id, "caption", {})
    [task] = catalog.add_tasks(job.id, "caption", list(growing.living.keys.values()), 100)
    assert catalog.acquire(task, "dead", 2.0, ["caption"]) is not None
    growing.builder = growing.another_builder(lease_seconds=0.9)
    states = []

    def long() -> None:
        until("the task to be free", lambda: catalog.task(task).state == "ready", 30.0)
        states.append(catalog.task(task).state)

    growing.sq8.before = long
    assert growing.step().folded == 1
    assert states == ["ready"]


def test_two_builders_at_once_publish_one_generation_and_leave_no_file(growing: Growing) -> None:
    growing.living.put(ids(100))
    catalogs = [open_catalog(f"sqlite:///{growing.living.folder / 'catalog.sqlite'}") for _ in range(2)]
    builders = [growing.another_builder(catalog) for catalog in catalogs]
    for catalog in catalogs:
        catalog.clock = growing.now
    with ThreadPoolExecutor(2) as pool:
        for images in (30, 40):
            done = list(pool.map(lambda one: one.fold("pictures"), builders, timeout=120))
            assert True in done
            growing.living.put(ids(images, 100 * images))
    for catalog in catalogs:
        catalog.close()
    growing.living.check(50)
    growing.age()
    growing.age()
    assert growing.stored == growing.living.catalog.generation_files()


def test_what_is_purged_is_in_no_file_and_the_index_serves_all_the_while(growing: Growing) -> None:
    growing.living.put(ids(80))
    growing.settle()
    growing.living.put(ids(30, 80))
    growing.living.put(ids(3))  # replaced: folded away, and still in a part that is shared
    growing.settle()
    old = growing.sq8._keys(growing.serving.parameters["files"][-1])
    victim, doomed = "a0", growing.living.keys["a0"]
    with searching(growing) as client:
        client.sure -= {doomed}
        growing.purging().images("pictures", [victim])
        del growing.living.keys[victim], growing.living.tokens[victim]
        note(growing, client)
    assert client.recalls == {1.0}, "no answer came from a scan of everything"
    left = [growing.sq8._keys(file) for file in growing.stored if file.endswith(".ivf-sq8.npz")]
    gone = np.setdiff1d(old, growing.living.catalog.filter_keys(growing.living.id, Filter()))
    assert doomed not in np.concatenate(left)
    assert len(gone) == 3
    assert not np.isin(gone[:1], np.concatenate(left)).any(), "nor is the version before"


@pytest.mark.parametrize(
    "point", ["ivf.part", "fold.built", "file.aside:2", "file.renamed:2", "catalog.committing:2",
              "catalog.committed:2", "fold.published"]
)  # fmt: skip
@pytest.mark.parametrize("from_kind", ["flat", "ivf-sq8"])
def test_a_builder_killed_while_it_grows_or_switches_loses_nothing(
    growing: Growing, point: str, from_kind: str
) -> None:
    growing.living.put(ids(50 if from_kind == "flat" else 80))
    growing.settle()
    assert growing.serving.kind == from_kind
    growing.living.put(ids(30, 100))
    killed = subprocess.run(
        [sys.executable, "-m", "tests.indexer.growing", str(growing.living.folder)],
        env=os.environ | {"SIGHTLINE_FAULTPOINT": point, "OMP_NUM_THREADS": "1"},
        timeout=120,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    growing.living.check(50)
    growing.later += 100.0  # its lease runs out
    growing.settle()
    assert growing.serving.kind == "ivf-sq8"
    growing.living.check(50)
    for _ in range(6):
        growing.age()
    assert growing.stored == growing.living.catalog.generation_files()
    growing.living.check(50)


class SlowBackend(PartedBackend):
    """Builds when it may."""

    began = threading.Event()
    may_go_on = threading.Event()

    def build(self, reader: SegmentReader, request: BuildRequest) -> BuiltIndex:
        self.began.set()
        assert self.may_go_on.wait(60)
        return super().build(reader, request)


def test_a_build_that_takes_long_holds_up_no_other_collection_and_loses_nothing(growing: Growing) -> None:
    living, catalog = growing.living, growing.living.catalog
    slow = SlowBackend(living.generations, "ivf-sq8")
    growing.use({**growing.indexes.backends, "ivf-sq8": slow})
    living.put(ids(100))
    stop = threading.Event()
    thread = threading.Thread(target=growing.another_builder().run, args=(stop,))
    thread.start()
    try:
        assert slow.began.wait(60)
        other = put_elsewhere(living, "other", 40)
        until("the other one is folded", lambda: catalog.snapshot("other").generation is not None, 60)
        living.put(ids(40, 200))  # comes meanwhile, and is found
        living.check(200)
        assert catalog.snapshot("pictures").generation is None
        slow.may_go_on.set()
        until("what was built serves", lambda: growing_kind(catalog) == "ivf-sq8", 60)
    finally:
        slow.may_go_on.set()
        stop.set()
        thread.join(60)
    assert not thread.is_alive()
    living.check(200)
    assert catalog.snapshot("other").collection.id == other


def growing_kind(catalog: Catalog) -> str | None:
    generation = catalog.snapshot("pictures").generation
    return None if generation is None else generation.kind


def put_elsewhere(living: Living, name: str, images: int) -> int:
    """Images in another collection of the same model; its id."""
    catalog = living.catalog
    one = catalog.create_collection(
        name, model="toy", revision=None, fingerprint="f1",
        num_query_tokens=living.queries, joint_dim=living.dim,
    )  # fmt: skip
    job = catalog.create_job(one.id, "index", {})
    items = [Registration(f"b{n}", f"{n:064x}", f"/b{n}", 1, None, {}) for n in range(images)]
    (task,) = catalog.register(job.id, items, batch_size=images).task_ids
    catalog.seal_job(job.id)
    lease = catalog.acquire(task, "worker", 60)
    assert lease is not None
    keys = np.array([image.key for image in lease.images])
    tokens = random_tokens(living.rng, images, living.queries, living.dim)
    written = write_segment(living.reader.folder, keys, tokens, None, "none")
    assert catalog.publish(lease, written, sizes={int(key): (4, 3) for key in keys})
    return one.id
