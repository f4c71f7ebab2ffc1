"""What is purged leaves no trace: its bytes are in no file any more, and those of a neighbour still are."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from sightline.errors import ConflictError, CorruptionError, NotFoundError
from sightline.indexer.building.purging import Purging
from sightline.indexer.indexer import Indexer, Upload
from sightline.indexer.settings import BuilderSettings
from sightline.store.catalog import Catalog
from sightline.store.filters import parse_filter
from sightline.store.records import Image, Segment
from tests.indexer.traces import Traces, bytes_of
from tests.indexer.world import COLLECTION, Knobs, World, picture, search_all, tended

SETTLED = {"merge_at_least": 10_000, "fold_idle_max_images": 0}


@pytest.fixture
def local(tmp_path: Path) -> Iterator[World]:
    """For what is the same on every database."""
    world = World(tmp_path, Knobs())
    world.create()
    yield world
    assert world.catalog.check() == []
    world.close()


@pytest.fixture
def world(tmp_path: Path, catalog_url: str) -> Iterator[World]:
    """On both databases: the files of PostgreSQL are not looked into."""
    world = World(tmp_path, Knobs(catalog="" if catalog_url.startswith("sqlite") else catalog_url))
    world.create()
    yield world
    assert world.catalog.check() == []
    world.close()


def purging(world: World, catalog: Catalog | None = None) -> Purging:
    parts = (catalog or world.catalog, world.blobs, world.segments, world.indexes)
    return Purging(*parts, BuilderSettings())


def add(world: World, *numbers: int, first: int = 0) -> None:
    """Uploads with captions and metadata, embedded; ``first`` draws other pictures under the same ids."""
    uploads = [
        Upload(picture(first + number), name(number), caption(number, first), {"note": note(number, first)})
        for number in numbers
    ]
    job, _ = world.indexer.add(COLLECTION, uploads)
    world.indexer.wait(job.id, timeout=120)


def name(number: int) -> str:
    return f"holiday-of-{number:04d}-{number * 7919 % 10_000:04d}.png"


def caption(number: int, first: int = 0) -> str:
    return f"a caption that only {first + number * 104_729} has"


def note(number: int, first: int = 0) -> str:
    return f"metadata-of-{first + number * 15_485_863}"


def traces_of(world: World, number: int, image: Image, first: int = 0) -> Traces:
    """Everything of it, read from where it is now."""
    texts = {"caption": caption(number, first).encode(), "metadata": note(number, first).encode()}
    if not world.knobs.catalog:
        texts |= {"id": name(number).encode(), "sha256": image.sha256.encode()}
    else:
        texts = {}
    return Traces(texts | bytes_of(world.catalog, world.segments, world.blobs, image))


def by_number(world: World) -> dict[int, Image]:
    live = {image.image_id: image for image in world.live()}
    return {number: live[name(number)] for number in range(100) if name(number) in live}


def gone(traces: Traces, world: World) -> None:
    left = {what: files for what, files in traces.files(world.data).items() if files}
    assert left == {}


def there(traces: Traces, world: World) -> None:
    missing = [what for what, files in traces.files(world.data).items() if not files]
    assert missing == []


def fill(world: World) -> tuple[Traces, Traces]:
    """Twelve pictures, nine folded, merged once; traces of number 3 and, as a control, of number 4."""
    for first in range(0, 9, 3):
        add(world, first, first + 1, first + 2)
    builder = world.builder(merge_at_least=2, fold_idle_max_images=0)
    assert builder.fold(COLLECTION)
    report = builder.step()
    assert report is not None
    assert report.merged == 3
    assert builder.fold(COLLECTION) is False
    add(world, 9, 10, 11)
    live = by_number(world)
    victim, control = traces_of(world, 3, live[3]), traces_of(world, 4, live[4])
    there(victim, world)
    there(control, world)
    return victim, control


def test_purged_bytes_are_in_no_file_and_all_others_stay(world: World) -> None:
    victim, control = fill(world)
    before = search_all(world)
    key = by_number(world)[3].key
    assert purging(world).images(COLLECTION, [name(3)]) == {name(3)}
    gone(victim, world)
    there(control, world)
    assert search_all(world) == [other for other in before if other != key]
    with pytest.raises(NotFoundError):
        world.catalog.image(COLLECTION, name(3))
    assert world.catalog.outstanding_purges(float("inf"), 0, 9) == []
    assert world.builder(**SETTLED).step() is not None


def test_older_versions_and_the_trash_are_purged_with_the_picture(world: World) -> None:
    add(world, 3, 4)
    old = traces_of(world, 3, by_number(world)[3])
    add(world, 3, first=500)
    replaced = traces_of(world, 3, by_number(world)[3], first=500)
    world.catalog.delete_images(world.catalog.collection(COLLECTION).id, [name(3)])
    add(world, 3, first=900)
    newest, control = by_number(world)[3], traces_of(world, 4, by_number(world)[4])
    traces = [old, replaced, traces_of(world, 3, newest, first=900)]
    for one in traces:
        there(one, world)
    purging(world).images(COLLECTION, [name(3)])
    for one in traces:
        gone(one, world)
    there(control, world)
    assert world.catalog.collection_counts(COLLECTION)["trashed"] == 0


def test_only_the_trash_is_purged_when_that_is_asked(local: World) -> None:
    add(local, 3, 4)
    old = traces_of(local, 3, by_number(local)[3])
    local.catalog.delete_images(local.catalog.collection(COLLECTION).id, [name(3)])
    add(local, 3, first=500)
    newer = traces_of(local, 3, by_number(local)[3], first=500)
    shared = {what: data for what, data in old.found.items() if data not in newer.found.values()}
    assert purging(local).trash(COLLECTION) == {name(3)}
    gone(Traces(shared), local)
    there(newer, local)


def test_bytes_that_another_picture_has_stay_for_it(local: World) -> None:
    add(local, 3, 4)
    image = by_number(local)[3]
    job, _ = local.indexer.add(COLLECTION, [Upload(picture(3), "the same.png")])
    local.indexer.wait(job.id, timeout=120)
    traces = traces_of(local, 3, image)
    purging(local).images(COLLECTION, [name(3)])
    left = {what for what, files in traces.files(local.data).items() if files}
    # Its tokens and patches are those of the other one too; its texts are gone.
    assert left == {"tokens", "patches", "original", "thumbnail"} | ({"sha256"} & traces.found.keys())
    [same] = [one for one in local.live() if one.image_id == "the same.png"]
    assert local.blobs.get(same.sha256) == picture(3)


def test_the_last_picture_can_be_purged_and_a_filter_says_which(local: World) -> None:
    add(local, 3)
    assert local.builder().fold(COLLECTION)
    victim = traces_of(local, 3, by_number(local)[3])
    wanted = parse_filter({"must": [{"field": "metadata.note", "equals": note(3)}]})
    assert purging(local).images(COLLECTION, filter=wanted) == {name(3)}
    gone(victim, local)
    assert search_all(local) == []
    add(local, 4)
    assert len(search_all(local)) == 1


def test_a_whole_collection_leaves_no_trace(world: World) -> None:
    victim, control = fill(world)
    files = set(world.catalog.segment_files() | world.catalog.generation_files())
    assert files
    purging(world).collection(COLLECTION)
    gone(victim, world)
    gone(control, world)
    assert not {path.name for path in world.data.rglob("*.safetensors")}
    assert set(world.blobs) == set()


def test_replaced_set_aside_and_unfinished_files_are_found_too(local: World) -> None:
    """Files that the builder has not removed yet, wherever in its folders they wait."""
    victim, control = fill(local)
    segment = next(path for path in local.segments.folder.iterdir() if path.name.endswith(".safetensors"))
    held = [path for path in local.segments.folder.iterdir() if victim.found["tokens"] in path.read_bytes()]
    assert held
    (local.segments.folder / ".swept").mkdir()
    copy = local.segments.folder / ".swept" / f"{'0' * 32}.segment.safetensors"
    copy.write_bytes(held[0].read_bytes())
    unfinished = local.segments.folder / f".aside-{'1' * 32}.segment.safetensors"
    unfinished.write_bytes(held[0].read_bytes()[:-100])
    aside = local.data / "blobs" / "aside" / "half an upload"
    aside.write_bytes(victim.found["original"][:-5])
    os.utime(aside, (time.time() - 100, time.time() - 100))
    thesis = local.segments.folder / "thesis.odt"
    thesis.write_bytes(b"not ours")
    purging(local).images(COLLECTION, [name(3)])
    gone(victim, local)
    there(control, local)
    assert (copy.exists(), unfinished.exists(), aside.exists(), thesis.exists()) == (
        False,
        False,
        False,
        True,
    )
    assert segment.parent.is_dir()


class Dying:
    """A catalog whose process is killed when it is asked for something the n-th time."""

    def __init__(self, catalog: Catalog, calls: int) -> None:
        self._catalog, self._left = catalog, calls

    def __getattr__(self, wanted: str) -> object:
        found = getattr(self._catalog, wanted)

        def method(*args: object, **named: object) -> object:
            self._left -= 1
            if self._left < 0:
                raise KilledError
            return found(*args, **named)

        return method if callable(found) else found


class KilledError(BaseException):
    """What no handler takes for an error."""


def test_a_purge_that_is_killed_at_every_step_is_ended_by_the_next(tmp_path: Path) -> None:
    world = World(tmp_path, Knobs())
    world.create()
    victim, control = fill(world)
    for kills in range(100):
        # The first looks the collection up, and begins; each of the others comes one step further.
        dying = cast("Catalog", Dying(world.catalog, kills or 2))
        one = purging(world, dying)
        try:
            one.finish() if kills else one.images(COLLECTION, [name(3)])
        except KilledError:
            assert name(3) not in {image.image_id for image in world.live()}, "at once, whatever comes"
        else:
            break
    assert kills >= 8
    gone(victim, world)
    there(control, world)
    assert world.catalog.outstanding_purges(float("inf"), 0, 9) == []
    assert world.catalog.check() == []
    world.close()


def test_what_a_killed_purge_has_begun_the_builder_ends(local: World) -> None:
    victim, control = fill(local)
    with pytest.raises(KilledError):
        purging(local, cast("Catalog", Dying(local.catalog, 2))).images(COLLECTION, [name(3)])
    report = local.builder(**SETTLED).step()
    assert report is not None
    assert report.purged == 1
    gone(victim, local)
    there(control, local)


def test_a_worker_that_was_at_it_publishes_nothing_of_it_and_all_else(tmp_path: Path) -> None:
    """The lease of its batch is taken back, and what it writes all the same is erased when that would end."""
    ahead = [0.0]
    world = World(tmp_path, Knobs(), lambda: time.time() + ahead[0])
    world.create()
    uploads = [Upload(picture(number), name(number), caption(number)) for number in (3, 4, 5)]
    job, _ = world.indexer.add(COLLECTION, uploads)
    traces = Traces({"original": picture(3), "caption": caption(3).encode()})
    there(traces, world)

    def purge() -> None:
        world.models.toy.before = lambda: None
        assert purging(world).images(COLLECTION, [name(3)]) == {name(3)}

    world.models.toy.before = purge
    world.indexer.wait(job.id, timeout=120)
    assert sorted(image.image_id for image in world.live()) == [name(4), name(5)]
    gone(traces, world)
    ahead[0] = 61.0
    assert world.builder(**SETTLED).step() is not None
    live = world.live()
    files = world.segments.folder.glob("*.safetensors")
    keys = [int(key) for path in files for key in world.segments.tokens(path.name)[0]]
    assert sorted(keys) == sorted(image.key for image in live)
    shas = {image.sha256 for image in live}
    assert (set(world.blobs), set(world.blobs.thumbnails())) == (shas, shas)
    assert world.catalog.outstanding_purges(float("inf"), 0, 9) == []
    world.close()


class Second(Purging):
    """Somebody else is always faster."""

    def _rewritten(self, collection_id: int, keys: Sequence[int]) -> bool:
        return False


def test_who_comes_second_again_and_again_gives_up_with_a_sentence_and_the_builder_ends_it(
    local: World,
) -> None:
    victim, control = fill(local)
    parts = (local.catalog, local.blobs, local.segments, local.indexes)
    with pytest.raises(ConflictError, match=r"builder .* soon"):
        Second(*parts, BuilderSettings(), local.now, pause_seconds=0.0).images(COLLECTION, [name(3)])
    report = local.builder(**SETTLED).step()
    assert report is not None
    assert report.purged == 1
    gone(victim, local)
    there(control, local)


def damage(world: World, segment: Segment) -> None:
    """Turns over most of what lies behind the header."""
    path = world.segments.folder / segment.file
    data = bytearray(path.read_bytes())
    data[-200:] = bytes(byte ^ 0x55 for byte in data[-200:])
    path.write_bytes(data)


def test_damage_to_one_collection_keeps_no_picture_of_another(local: World) -> None:
    other = replace(local.create(), name="others")
    model = {name: getattr(other, name) for name in ("model", "revision", "fingerprint")}
    local.catalog.create_collection(
        "others", **model, num_query_tokens=other.num_query_tokens, joint_dim=other.joint_dim
    )
    uploads = [Upload(picture(number), name(number), caption(number)) for number in (5, 6)]
    job, _ = local.indexer.add("others", uploads)
    add(local, 3, 4)
    local.indexer.wait(job.id, timeout=120)
    damage(local, local.catalog.snapshot(COLLECTION).segments[0])
    with pytest.raises(CorruptionError):
        purging(local).images(COLLECTION, [name(3)])
    traces = Traces({"original": picture(5), "caption": caption(5).encode()})
    there(traces, local)
    with pytest.raises(CorruptionError):
        purging(local).images("others", [name(5)])
    gone(traces, local)
    assert [purge.collection_id for purge in local.catalog.outstanding_purges(float("inf"), 0, 9)] == [
        local.catalog.collection(COLLECTION).id
    ]


def test_a_segment_that_only_the_index_could_mend_is_not_given_up_for_a_purge(local: World) -> None:
    add(local, 3, 4)
    add(local, 5, 6)
    assert local.builder(**SETTLED).fold(COLLECTION)
    first, second = local.catalog.snapshot(COLLECTION).segments
    whole = (local.segments.folder / first.file).read_bytes()
    damage(local, first)
    with pytest.raises(CorruptionError, match="sightline doctor --repair"):
        purging(local).images(COLLECTION, [name(5)])
    generation = local.catalog.snapshot(COLLECTION).generation
    assert generation is not None
    assert generation.covered[0] == first.id
    assert second.id not in generation.covered
    (local.segments.folder / first.file).write_bytes(whole)
    assert purging(local).finish() == 1
    gone(Traces({"original": picture(5), "caption": caption(5).encode()}), local)


def test_old_pages_that_somebody_reads_are_not_emptied_and_that_is_said(tmp_path: Path) -> None:
    world = World(tmp_path, Knobs())
    world.create()
    add(world, 3)
    with world.catalog.database.engine.connect() as reader:
        reader.exec_driver_sql("SELECT count(*) FROM images").all()
        assert world.catalog.forget_old_pages(0.0) is False
    assert world.catalog.forget_old_pages(5.0) is True
    world.close()


def test_what_a_job_was_asked_for_is_forgotten_when_it_names_the_picture_alone(local: World) -> None:
    names = local.draw(2)
    for name_of_file in names:
        source = str(local.pictures / name_of_file)
        for _ in range(2):  # the second time there is nothing to do
            local.indexer.wait(local.indexer.index([source], COLLECTION, copy=True).id, timeout=120)
    victim = Traces({"path": str(local.pictures / names[0]).encode()})
    control = Traces({"path": str(local.pictures / names[1]).encode()})
    there(victim, local)
    assert purging(local).images(COLLECTION, [names[0]]) == {names[0]}
    gone(victim, local)
    there(control, local)
    assert (local.pictures / names[0]).exists(), "the user's own file"


def test_beside_a_running_builder_all_that_is_purged_is_gone_and_the_rest_is_whole(local: World) -> None:
    for first in range(0, 24, 3):
        add(local, *range(first, first + 3))
    live = by_number(local)
    doomed = [number for number in range(24) if number % 3 == 1]
    victims = [traces_of(local, number, live[number]) for number in doomed]
    controls = [traces_of(local, number, live[number]) for number in (0, 11, 23)]
    busy = {"interval_seconds": 0.0, "fold_min_images": 0, "fold_fraction": 0.0, "merge_at_least": 2}
    with tended(local, **busy, merge_below_images=7):
        for number in doomed:
            assert purging(local).images(COLLECTION, [name(number)]) == {name(number)}
    for victim in victims:
        gone(victim, local)
    for control in controls:
        there(control, local)
    kept = {name(number) for number in range(24) if number not in doomed}
    assert {image.image_id for image in local.live()} == kept
    assert sorted(search_all(local)) == sorted(image.key for image in local.live())


class PurgedInBetween:
    """Somebody purges a picture with the same bytes between the copy of an upload and its row."""

    def __init__(self, world: World) -> None:
        self._world = world

    def __getattr__(self, wanted: str) -> object:
        if wanted == "register":
            for sha256 in list(self._world.blobs):
                assert self._world.blobs.erase(sha256, lambda: False)
        return getattr(self._world.catalog, wanted)


def test_an_upload_of_bytes_that_are_purged_at_the_same_time_is_not_lost(local: World) -> None:
    parts = replace(local.parts, catalog=cast("Catalog", PurgedInBetween(local)))
    job, [line] = Indexer(parts).add(COLLECTION, [Upload(picture(1), "a")])
    assert line.status == "pending"
    assert local.indexer.wait(job.id, timeout=120).indexed == 1
    [image] = local.live()
    assert local.blobs.get(image.sha256) == picture(1)


def test_originals_that_another_installation_may_have_too_stay(local: World) -> None:
    add(local, 1, 2)
    image = by_number(local)[1]
    local.blobs.claim("another installation")
    purging(local).images(COLLECTION, [image.image_id])
    assert image.image_id not in {one.image_id for one in local.live()}
    assert local.blobs.has(image.sha256)
