"""Features of a model that does not serve: kept beside the collection's own, tended, purged, forgotten."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from sightline.records import SearchRequest
from sightline.store.durable import publish_or_remove
from sightline.store.records import NewSegment
from sightline.store.segments import write_segment
from sightline.store.text_records import FeatureSet, NewText
from sightline.store.work_records import FeatureSegment, Lease
from sightline.types import FP16
from sightline.wiring import Installation, open_installation
from tests.sightline.conftest import index, save, toy_settings

NAMES = [
    f"{number}-{word}" for number, word in enumerate(("red", "green", "blue", "yellow", "purple", "white"))
]


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Installation]:
    """Six pictures, folded."""
    folder = tmp_path / "pictures"
    for name in NAMES:
        save(folder, name, name[2:])
    with open_installation(toy_settings(tmp_path / "data"), inline=True) as services:
        index(services, folder)
        services.builder.fold("pictures")
        yield services
        assert services.catalog.check() == []


def features_of(key: int) -> np.ndarray:  # type: ignore[type-arg]
    """fp16 ``[2,4]``, another one for each key, that lies in no other file by chance."""
    return np.random.default_rng(key).normal(size=(2, 4)).astype(np.float16)


def made(services: Installation, keys: Sequence[int]) -> NewSegment:
    array = np.stack([features_of(key) for key in keys])
    tokens = np.empty((len(keys), 0, 0), np.float16)
    return write_segment(services.segments.folder, np.array(keys, np.int64), tokens, array, FP16)


def writers_set(services: Installation) -> FeatureSet:
    number = services.catalog.collection("pictures").id
    return services.catalog.ensure_feature_set(number, "writer", None, "fingerprint-of-a-writer")


def lease(services: Installation, keys: Sequence[int], owner: str = "worker") -> Lease:
    catalog = services.catalog
    job = catalog.create_job(catalog.collection("pictures").id, "caption", {})
    [task] = catalog.add_tasks(job.id, "caption", keys, 100)
    catalog.seal_job(job.id)
    taken = catalog.acquire(task, owner, 60.0, ["caption"])
    assert taken is not None
    return taken


def encode(services: Installation, keys: Sequence[int], texts: Sequence[NewText] = ()) -> NewSegment:
    """What a captioning task does: features as a segment, published with the end of the task."""
    segment, taken = made(services, keys), lease(services, keys)
    features = FeatureSegment(writers_set(services).id, segment)
    assert publish_or_remove(
        services.segments.folder / segment.file,
        lambda: services.catalog.finish(taken, texts=texts, features=features),
    )
    return segment


def live(services: Installation) -> dict[str, int]:
    return {image.image_id[:-4]: image.key for image in services.catalog.images("pictures", limit=99).items}


def stored(services: Installation) -> dict[int, bytes]:
    """key → its features, as its place in the writer's set has them."""
    keys = list(live(services).values())
    places = services.catalog.locations(keys, writers_set(services).id)
    content = {place.file: services.segments.read(place.file) for place in places.values()}
    found = {}
    for key, place in places.items():
        patches = content[place.file].patches
        assert patches is not None
        found[key] = patches[place.row].tobytes()
    return found


def answers(services: Installation) -> list[tuple[str, float]]:
    return [(hit.id, hit.itc) for hit in services.search.find(SearchRequest("pictures", "red")).results]


def agree(services: Installation) -> None:
    assert services.consistency.disagreements(services.catalog.collection("pictures")) == []


def test_they_have_places_of_their_own_and_searches_do_not_notice(services: Installation) -> None:
    catalog, keys, before = services.catalog, list(live(services).values()), answers(services)
    number = writers_set(services)
    assert (number.serving, catalog.feature_set(number.collection_id, number.fingerprint)) == (False, number)
    assert writers_set(services) == number
    assert stored(services) == {}
    own = catalog.locations(keys)
    encode(services, keys[:2])
    encode(services, keys[2:5])
    assert stored(services) == {key: features_of(key).tobytes() for key in keys[:5]}
    assert catalog.locations(keys) == own
    assert answers(services) == before
    assert not services.builder.fold("pictures"), "nothing new for the index"
    agree(services)


def test_the_builder_merges_them_and_drops_what_is_gone(services: Installation) -> None:
    keys = live(services)
    for key in keys.values():
        encode(services, [key])
    catalog, number = services.catalog, services.catalog.collection("pictures").id
    catalog.delete_images(number, ids=[f"{name}.png" for name in NAMES[:4]])
    catalog.restore_images(number, [f"{NAMES[0]}.png"])
    catalog.empty_trash(number)
    for _ in range(8):
        report = services.builder.step()
        if report is not None and not report.busy:
            break
    left = live(services)
    assert stored(services) == {key: features_of(key).tobytes() for key in left.values()}
    snapshot = catalog.snapshot_of_set(writers_set(services).id)
    assert snapshot is not None
    held = [key for one in snapshot.segments for key in services.segments.keys(one.file).tolist()]
    assert sorted(held) == sorted(left.values())
    assert snapshot.generation is None
    agree(services)


def test_two_tasks_that_encode_the_same_picture_leave_one_of_it(services: Installation) -> None:
    keys = list(live(services).values())
    encode(services, keys[:3])
    late = encode(services, keys[2:])
    assert stored(services) == {key: features_of(key).tobytes() for key in keys[:3]}
    assert late.file not in services.catalog.segment_files()
    agree(services)


def test_a_task_that_died_after_its_file_is_done_by_another_and_a_late_one_leaves_nothing(
    services: Installation,
) -> None:
    keys = list(live(services).values())
    died = made(services, keys[:2])  # the file is there, the transaction never came
    assert stored(services) == {}
    taken = lease(services, keys[:2])
    services.catalog.cancel_job(services.catalog.jobs("pictures")[0].id)
    late = made(services, keys[:2])
    features = FeatureSegment(writers_set(services).id, late)
    path = services.segments.folder / late.file
    text = NewText(keys[0], "captioner", "late", "m")
    assert not publish_or_remove(
        path, lambda: services.catalog.finish(taken, texts=[text], features=features)
    )
    assert not path.exists()
    assert services.catalog.texts_of(keys) == {}
    encode(services, keys[:2], [NewText(keys[0], "captioner", "in time", "m")])
    assert [text.text for text in services.catalog.texts_of(keys)[keys[0]]] == ["in time"]
    assert died.file not in services.catalog.segment_files(), "a stray, which the builder sets aside"
    agree(services)


def test_a_purge_leaves_no_trace_in_them_damaged_or_not(services: Installation) -> None:
    keys, folder = live(services), services.segments.folder
    encode(services, [keys[name] for name in NAMES[:3]])
    broken = encode(services, [keys[name] for name in NAMES[3:]])
    assert services.builder.fold("pictures") is False

    def holding(name: str) -> list[str]:
        data = features_of(keys[name]).tobytes()
        return [path.name for path in folder.rglob("*") if path.is_file() and data in path.read_bytes()]

    assert holding(NAMES[0]) != []
    services.purging.images("pictures", [f"{NAMES[0]}.png"])
    assert (holding(NAMES[0]), holding(NAMES[1]) == []) == ([], False)
    damage(folder / broken.file, keys[NAMES[4]])
    services.purging.images("pictures", [f"{NAMES[3]}.png"])
    assert holding(NAMES[3]) == []
    left = [keys[name] for name in NAMES[1:3]]
    assert stored(services) == {key: features_of(key).tobytes() for key in left}
    assert services.catalog.outstanding_purges(1e12, 0, 9) == []
    agree(services)


def test_a_task_that_a_purge_overtook_writes_nothing_of_the_purged_picture(services: Installation) -> None:
    keys, folder = live(services), services.segments.folder
    wanted = [keys[name] for name in NAMES[:2]]
    taken = lease(services, wanted)
    services.purging.images("pictures", [f"{NAMES[0]}.png"])
    late = made(services, wanted)  # its worker had the features in memory
    features = FeatureSegment(writers_set(services).id, late)
    assert not publish_or_remove(
        folder / late.file, lambda: services.catalog.finish(taken, features=features)
    )
    data = features_of(wanted[0]).tobytes()
    assert [path.name for path in folder.rglob("*") if path.is_file() and data in path.read_bytes()] == []
    again = services.catalog.acquire(taken.task_id, "another", 60.0, ["caption"])
    assert again is not None
    assert [image.key for image in again.images] == wanted[1:], "the others are still to be done"
    agree(services)


def test_a_job_forgets_the_names_of_purged_pictures(services: Installation) -> None:
    named = [f"{name}.png" for name in NAMES[:2]]
    job = services.captioning.begin("pictures", model="toy", ids=named)
    services.purging.images("pictures", named[:1])
    assert services.catalog.job(job.id).request["ids"] == named[1:]
    services.purging.images("pictures", named[1:])
    assert services.catalog.job(job.id).request["ids"] == []
    assert services.job_listing.list(job.id).kind == "caption"
    begun = services.captioning.begin("pictures", model="toy", ids=[f"{NAMES[2]}.png"], listed=False)
    services.purging.images("pictures", [f"{NAMES[2]}.png"])
    assert services.job_listing.list(begun.id).state == "done", "nothing is left to do"


def damage(path: Path, key: int) -> None:
    """One bit of the features of this key."""
    content = bytearray(path.read_bytes())
    content[content.index(features_of(key).tobytes())] ^= 1
    path.chmod(0o644)
    path.write_bytes(bytes(content))


def test_doctor_tells_of_a_damaged_one_and_repair_forgets_it(services: Installation) -> None:
    keys = list(live(services).values())
    encode(services, keys[:3])
    broken = encode(services, keys[3:])
    damage(services.segments.folder / broken.file, keys[4])
    collection = services.catalog.collection("pictures")
    [said] = services.consistency.disagreements(collection)
    assert broken.file in said
    [repaired] = services.repair.run()
    assert (repaired.file, repaired.forgotten, repaired.problem) == (broken.file, 3, None)
    agree(services)
    assert stored(services) == {key: features_of(key).tobytes() for key in keys[:3]}
    encode(services, keys[3:])
    assert stored(services) == {key: features_of(key).tobytes() for key in keys}


def test_they_go_with_their_collection(services: Installation) -> None:
    segment = encode(services, list(live(services).values()))
    services.purging.collection("pictures")
    assert segment.file not in services.catalog.segment_files()
    assert not (services.segments.folder / segment.file).exists()
    assert services.catalog.check() == []
