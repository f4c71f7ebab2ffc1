"""Near duplicates of a collection, through its whole life: found, told, collapsed, forgotten."""

from __future__ import annotations

import hashlib
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
import pytest
from sqlalchemy import func, select

from benchmarks.dups_pictures import copy_of, neighbour_of
from sightline.errors import InputError, NotFoundError
from sightline.records import SearchRequest
from sightline.searching.duplicate_groups import groups_of
from sightline.searching.duplicates import DuplicatePage
from sightline.searching.hash_neighbours import MOST_NEAR, neighbours
from sightline.store.duplicate_records import Alike, Member
from sightline.store.schema_duplicates import PictureHashRow, SamePictureRow
from sightline.wiring import Installation
from tests.imaging.test_imaging_same_picture import drawing
from tests.sightline.conftest import Ended, index, save


def fill(folder: Path) -> None:
    """Two pictures: of ``a`` a twin, a smaller and a cropped copy and a burst neighbour, of ``b`` a twin."""
    random = Random(5)
    folder.mkdir(exist_ok=True)
    first, second = drawing(1), drawing(2)
    first.save(folder / "a.png")
    (folder / "a-twin.png").write_bytes((folder / "a.png").read_bytes())
    first.resize((180, 135)).save(folder / "a-small.png")
    (folder / "a-cropped.jpg").write_bytes(copy_of(first, "cropped", random))
    (folder / "a-near.jpg").write_bytes(neighbour_of(first, "moved", random, second))
    second.save(folder / "b.png")
    (folder / "b-twin.png").write_bytes((folder / "b.png").read_bytes())
    drawing(3).save(folder / "c.png")


def shown(page: DuplicatePage) -> list[tuple[str, str, set[str]]]:
    """(kind, largest, ids) of each group."""
    return [(group.kind, group.largest.id, {one.id for one in group.images}) for group in page.groups]


A = {"a.png", "a-twin.png", "a-small.png", "a-cropped.jpg"}
B = {"b.png", "b-twin.png"}


def test_groups_are_found_once_and_follow_the_collection(services: Installation, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    fill(folder)
    index(services, folder)
    find = services.duplicates.find
    page = find("pictures")
    assert [(kind, ids) for kind, _, ids in shown(page)] == [("same picture", A), ("same bytes", B)]
    assert page.groups[0].largest.area == 240 * 180
    assert (page.total, page.waiting, page.degraded, page.next_cursor) == (2, 0, (), None)
    number = services.catalog.collection("pictures").id
    services.catalog.delete_images(number, ids=["b.png"])
    assert [ids for _, _, ids in shown(find("pictures"))] == [A]
    services.catalog.restore_images(number, ["b.png"])
    assert [ids for _, _, ids in shown(find("pictures"))] == [A, B]
    drawing(9).save(folder / "a-small.png")  # replaced by something else
    index(services, folder)
    assert [ids for _, _, ids in shown(find("pictures"))] == [A - {"a-small.png"}, B]


def test_a_page_ends_where_the_next_begins(services: Installation, tmp_path: Path) -> None:
    fill(tmp_path / "pictures")
    index(services, tmp_path / "pictures")
    first = services.duplicates.find("pictures", limit=1)
    second = services.duplicates.find("pictures", first.next_cursor, limit=1)
    assert [ids for page in (first, second) for _, _, ids in shown(page)] == [A, B]
    assert (first.total, second.next_cursor) == (2, None)
    with pytest.raises(InputError, match="cursor"):
        services.duplicates.find("pictures", "x")
    with pytest.raises(InputError, match="page"):
        services.duplicates.find("pictures", limit=0)
    with pytest.raises(NotFoundError):
        services.duplicates.find("nowhere")


def test_lost_thumbnails_are_told_and_compared_once_they_are_back(
    services: Installation, tmp_path: Path
) -> None:
    folder = tmp_path / "pictures"
    fill(folder)
    index(services, folder)
    sha256 = hashlib.sha256((folder / "a-small.png").read_bytes()).hexdigest()
    [path] = Path(services.settings.data_folder).rglob(f"{sha256}.webp")
    whole = path.read_bytes()
    path.write_bytes(whole[:-40] + bytes(40))
    page = services.duplicates.find("pictures")
    assert [ids for _, _, ids in shown(page)] == [A - {"a-small.png"}, B]
    assert page.waiting == 1
    assert "1 pictures could not be compared" in page.degraded[0]
    path.write_bytes(whole)
    assert [ids for _, _, ids in shown(services.duplicates.find("pictures"))] == [A, B]


def test_searches_do_not_try_a_lost_thumbnail_each_time(services: Installation, tmp_path: Path) -> None:
    """All hashes would be read for it, by every search that collapses."""
    folder = tmp_path / "pictures"
    fill(folder)
    index(services, folder)
    sha256 = hashlib.sha256((folder / "a-small.png").read_bytes()).hexdigest()
    [path] = Path(services.settings.data_folder).rglob(f"{sha256}.webp")
    whole = path.read_bytes()
    path.write_bytes(whole[:-40] + bytes(40))
    services.duplicates.find("pictures")
    path.write_bytes(whole)
    collection = services.catalog.collection("pictures")
    assert "could not be compared" in services.duplicates.catch_up(collection)[0], "it was not tried"
    assert services.catalog.count_unhashed(collection.id) == 1
    save(folder, "new", "red")
    index(services, folder)
    assert services.duplicates.catch_up(services.catalog.collection("pictures")) == ()
    assert services.catalog.count_unhashed(collection.id) == 0


def test_a_purge_leaves_neither_hash_nor_pair(services: Installation, tmp_path: Path) -> None:
    fill(tmp_path / "pictures")
    index(services, tmp_path / "pictures")
    services.duplicates.find("pictures")
    assert counts(services) == (8, 3)  # pairs of the three contents of A
    services.purging.images("pictures", ["a-small.png"])
    assert counts(services) == (7, 1)
    services.purging.images("pictures", ["a.png"])  # its twin has the same bytes and stays
    assert counts(services) == (6, 1)
    assert [ids for _, _, ids in shown(services.duplicates.find("pictures"))] == [
        {"a-twin.png", "a-cropped.jpg"}, B,
    ]  # fmt: skip
    services.purging.collection("pictures")
    assert counts(services) == (0, 0)


def counts(services: Installation) -> tuple[int, int]:
    """Hashes and pairs in the catalog."""

    def read(connection: object) -> tuple[int, int]:
        both = (PictureHashRow.key, SamePictureRow.id)
        return tuple(connection.scalar(select(func.count(column))) for column in both)  # type: ignore[attr-defined, return-value]

    return services.catalog.database.read(read)


def test_a_collapsed_search_shows_the_best_of_each_group(services: Installation, tmp_path: Path) -> None:
    fill(tmp_path / "pictures")
    index(services, tmp_path / "pictures")
    plain = services.search.find(SearchRequest("pictures", "red", limit=8)).results
    found = services.search.find(SearchRequest("pictures", "red", limit=8, collapse=True)).results
    group_of = dict.fromkeys(A, "A") | dict.fromkeys(B, "B")
    first: dict[str, str] = {}
    for hit in plain:
        first.setdefault(group_of.get(hit.id, hit.id), hit.id)
    assert [hit.id for hit in found] == list(first.values())
    assert [hit.rank for hit in found] == [1, 2, 3, 4]
    for hit in found:
        group = {"A": A, "B": B}.get(group_of.get(hit.id, ""), {hit.id})
        assert set(hit.duplicates or ()) == group - {hit.id}
    assert all(hit.duplicates is None for hit in plain)
    paged = [
        services.search.find(
            SearchRequest("pictures", "red", limit=1, offset=offset, candidates=1, collapse=True)
        ).results
        for offset in range(5)
    ]
    assert [len(page) for page in paged] == [1, 1, 1, 1, 0]  # limit and offset count groups


def test_the_command_answers_as_the_library(
    services: Installation, tmp_path: Path, sightline: Callable[..., Ended]
) -> None:
    fill(tmp_path / "pictures")
    index(services, tmp_path / "pictures")
    ended = sightline("duplicates", "-c", "pictures", "--json")
    groups = ended.answer["groups"]
    assert [{one["id"] for one in group["images"]} for group in groups] == [A, B]
    assert [sum(one["largest"] for one in group["images"]) for group in groups] == [1, 1]


def test_a_chain_is_no_group() -> None:
    members = [Member(key, str(key), str(key), 10, 10, 1) for key in range(1, 6)]
    chain = [("1", "2"), ("2", "3"), ("3", "4"), ("4", "5")]
    groups = groups_of(Alike(members, chain))
    assert [{one.id for one in group.images} for group in groups] == [{"1", "2", "3"}, {"4", "5"}]
    assert groups_of(Alike(list(reversed(members)), list(reversed(chain)))) == groups


def test_neighbours_are_all_that_brute_force_finds_within_seven_bits() -> None:
    rng = np.random.default_rng(0)
    bits = rng.random((60, 1, 128)) < 0.5
    views = np.repeat(bits, 3, axis=1) ^ (rng.random((60, 3, 128)) < 0.02)
    views[30:] = views[:30] ^ (rng.random((30, 1, 128)) < 0.03)
    rows, others, apart = neighbours(np.packbits(views[:40], axis=2), np.packbits(views, axis=2))
    found = {(int(row), int(other)): int(far) for row, other, far in zip(rows, others, apart, strict=True)}
    for row in range(40):
        for other in range(60):
            one, two = views[row], views[other]
            far = min((one[0] != two).sum(axis=1).min(), (two[0] != one).sum(axis=1).min())
            if far <= 7:
                assert found[row, other] == far
            elif far > 22:
                assert (row, other) not in found


def test_a_thousand_white_pages_take_little_memory_and_each_has_its_nearest() -> None:
    """Each view of each is near a hundred others in eight pieces: 200 MB for a hundred new ones."""
    views = np.zeros((1_000, 10, 16), np.uint8)
    views[:, :, 0] = (np.arange(1_000) == 950)[:, None]  # one bit apart from all others
    views[-1] = 0xFF
    tracemalloc.start()
    try:
        rows, others, apart = neighbours(views[900:], views)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 150_000_000
    assert np.bincount(rows).tolist() == [MOST_NEAR] * 99 + [1]
    assert set(apart[rows == 0].tolist()) == {0}
    assert apart[rows == 50].tolist().count(0) == 1
    assert others[rows == 99].tolist() == [999]
