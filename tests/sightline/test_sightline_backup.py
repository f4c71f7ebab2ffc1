"""A backup is one consistent point, taken while others write; what is restored answers the same."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from sightline.errors import CatalogDamagedError, ConflictError, CorruptionError, InputError, NotFoundError
from sightline.indexer.uploads import Upload
from sightline.settings import Settings
from sightline.store.blobs import BlobStore
from sightline.store.catalog_lock import CatalogLock
from sightline.store.places import LocalPlace, open_place
from sightline.upkeep.backups.backup import BackedUp, Wish
from sightline.upkeep.backups.checking import check
from sightline.upkeep.backups.points import list_points
from sightline.upkeep.backups.restoring import UNFINISHED, Restore, Restored, Target
from sightline.wiring import Installation, open_installation
from tests.services import _postgres_schema
from tests.sightline.backup_world import answers, fill, png, problems, settings_of, upload
from tests.sightline.conftest import Run

ROOT = Path(__file__).parents[2]


@pytest.fixture
def first(tmp_path: Path) -> Iterator[Installation]:
    """A filled installation on SQLite; it stays open, so that its catalog is in the log (WAL) mostly."""
    with open_installation(settings_of(tmp_path / "data"), inline=True) as services:
        fill(services, tmp_path / "pictures")
        yield services


@pytest.fixture
def place(tmp_path: Path) -> LocalPlace:
    return LocalPlace(tmp_path / "backup")


def restored(settings: Settings, place: LocalPlace, *, replace: bool = False) -> Restored:
    with open_installation(settings) as services:
        return services.restore.run(place, replace=replace)


def answers_of(settings: Settings) -> dict[str, object]:
    with open_installation(settings, inline=True) as services:
        return answers(services)


def test_a_live_catalog_is_backed_up_with_what_is_in_its_log_only(
    first: Installation, place: LocalPlace, tmp_path: Path
) -> None:
    before = answers(first)
    log = first.settings.data_folder / "catalog.sqlite-wal"
    assert log.stat().st_size > 0, "all of it is in the log: a copy of the file alone would be an older one"
    done = first.backup.run(place)
    assert (done.point.collections, done.point.originals, done.point.missing) == (1, 3, ())
    second = settings_of(tmp_path / "second")
    assert restored(second, place).missing == []
    assert answers_of(second) == before
    assert problems(second) == []


@pytest.mark.services
@pytest.mark.parametrize(
    ("source", "target"),
    [
        pytest.param("sqlite", "sqlite", marks=pytest.mark.long),
        ("sqlite", "postgres"),
        ("postgres", "sqlite"),
        pytest.param("postgres", "postgres", marks=pytest.mark.long),
    ],
)
def test_a_point_goes_from_either_database_to_either(
    source: str, target: str, request: pytest.FixtureRequest, tmp_path: Path, place: LocalPlace
) -> None:
    shared = request.getfixturevalue("_postgres_shared")
    with _postgres_schema(shared) as one, _postgres_schema(shared) as other:
        first = settings_of(tmp_path / "data", one if source == "postgres" else "")
        second = settings_of(tmp_path / "second", other if target == "postgres" else "")
        with open_installation(first, inline=True) as services:
            fill(services, tmp_path / "pictures")
            upload(services, "newest", "purple")
            newest = services.catalog.image("pictures", "newest").key
            services.catalog.delete_images(services.catalog.collection("pictures").id, ids=["newest"])
            before = answers(services)
            services.backup.run(place)
        restored(second, place)
        assert answers_of(second) == before
        assert problems(second) == []
        with open_installation(second, inline=True) as services:
            upload(services, "later", "blue")
            assert services.catalog.image("pictures", "later").key > newest, "no key is given twice"
        assert problems(second) == []


@pytest.mark.services
@pytest.mark.parametrize("database", ["sqlite", pytest.param("postgres", marks=pytest.mark.long)])
def test_what_goes_on_during_a_backup_does_not_tear_it(
    database: str, request: pytest.FixtureRequest, tmp_path: Path, place: LocalPlace
) -> None:
    if database == "sqlite":
        _tear(settings_of(tmp_path / "data"), place, tmp_path)
        return
    with _postgres_schema(request.getfixturevalue("_postgres_shared")) as url:
        _tear(settings_of(tmp_path / "data", url), place, tmp_path)


def _tear(settings: Settings, place: LocalPlace, tmp_path: Path) -> None:
    """Backups while pictures come, are replaced, deleted, folded, merged and their old files removed."""
    stop = threading.Event()
    acknowledged: list[str] = []
    rounds = 0
    with open_installation(settings, inline=True) as services:
        fill(services, tmp_path / "pictures")
        writer = threading.Thread(target=_write, args=(services, stop, acknowledged))
        writer.start()
        try:
            for rounds in range(3):
                known = len(acknowledged)
                with open_installation(settings) as other:
                    done = other.backup.run(place)
                assert done.point.missing == ()
                second = settings_of(tmp_path / f"second-{rounds}")
                restored(second, place)
                assert problems(second) == []
                with open_installation(second, inline=True) as copy:
                    have = {image.image_id for image in copy.catalog.images("pictures", limit=1000).items}
                    assert set(acknowledged[:known]) <= have | {"gone"}
                    assert answers(copy)["hits"]
        finally:
            stop.set()
            writer.join(timeout=60)
    assert rounds == 2
    assert len(acknowledged) > 1


def _write(services: Installation, stop: threading.Event, acknowledged: list[str]) -> None:
    number = 0
    while not stop.is_set():
        number += 1
        upload(services, f"n{number}", "red", ("green", "blue", "white")[number % 3])
        acknowledged.append(f"n{number}")
        upload(services, "again", ("purple", "yellow")[number % 2], "white")
        upload(services, "gone", "green")
        services.catalog.delete_images(services.catalog.collection("pictures").id, ids=["gone"])
        services.builder.step()
        services.builder.fold("pictures")


class Meanwhile(LocalPlace):
    """A place during whose first file something happens."""

    def __init__(self, root: Path, happens: Callable[[], object]) -> None:
        super().__init__(root)
        self._happens: Callable[[], object] | None = happens

    def put(self, path: str, chunks: Iterable[bytes], sha256: str | None = None) -> int:
        happens, self._happens = self._happens, None
        if happens is not None:
            happens()
        return super().put(path, chunks, sha256)


def test_segments_that_are_merged_and_removed_meanwhile_are_no_loss(
    first: Installation, tmp_path: Path
) -> None:
    before = {one.file for one in first.catalog.snapshot("pictures").segments}
    place = Meanwhile(tmp_path / "backup", lambda: [first.builder.step() for _ in range(4)])
    known = answers(first)
    done = first.backup.run(place)
    assert done.point.missing == ()
    left = {path.name for path in first.settings.segments_folder.iterdir()}
    assert before - left, "the builder removed a file that the first instant named"
    second = settings_of(tmp_path / "second")
    restored(second, place)
    assert answers_of(second) == known
    assert problems(second) == []


def test_a_second_backup_copies_only_what_is_new(first: Installation, place: LocalPlace) -> None:
    assert first.backup.run(place).files > 4
    assert (place.root / ".sightline-installation").exists(), "no listing of pictures enters it"
    assert first.backup.run(place).files == 0
    upload(first, "one-more", "purple")
    assert first.backup.run(place).files == 3, "a segment, an original, a thumbnail"


class Cut(Exception):
    """The end of a process."""


class Cuts(LocalPlace):
    """A folder whose user is cut off before the n-th file."""

    def __init__(self, root: Path, left: int) -> None:
        super().__init__(root)
        self._left = left

    def put(self, path: str, chunks: Iterable[bytes], sha256: str | None = None) -> int:
        self._left -= 1
        if self._left < 0:
            raise Cut
        return super().put(path, chunks, sha256)

    def chunks(self, path: str) -> Iterator[bytes]:
        self._left -= 1
        if self._left < 0:
            raise Cut
        return super().chunks(path)


def test_a_backup_that_is_cut_short_anywhere_leaves_the_one_before_and_can_go_on(
    first: Installation, place: LocalPlace, tmp_path: Path
) -> None:
    first.backup.run(place)
    (before,) = list_points(place)
    upload(first, "one-more", "purple")
    for left in range(5):
        with pytest.raises(Cut):
            first.backup.run(Cuts(place.root, left))
        assert list_points(place)[0] == before
        assert check(place).problems == (), "the newest point is whole"
    assert first.backup.run(place).point.missing == ()
    assert check(place).problems == ()


def test_a_restore_that_is_cut_short_anywhere_is_no_installation_and_can_go_on(
    first: Installation, place: LocalPlace, tmp_path: Path
) -> None:
    before = answers(first)
    first.backup.run(place)
    second = settings_of(tmp_path / "second")
    for left in range(0, 40, 2):
        with open_installation(second) as services:
            try:
                services.restore.run(Cuts(place.root, left))
            except Cut:
                assert not (second.data_folder / "catalog.sqlite").exists()
                continue
        break
    assert left > 6
    assert answers_of(second) == before
    assert problems(second) == []


def test_a_restore_that_lacks_its_last_step_only_takes_it(
    first: Installation, place: LocalPlace, tmp_path: Path
) -> None:
    first.backup.run(place)
    second = settings_of(tmp_path / "second")
    blobs = BlobStore(second.originals_url)
    lock = CatalogLock(second.data_folder / "catalog.sqlite")
    target = Target(second.catalog_url, lock, second.segments_folder, second.generations_folder, blobs)

    def dies() -> None:
        raise Cut

    with pytest.raises(Cut):
        Restore(target, dies).run(place)
    with open_installation(second, inline=True) as services:
        made = services.catalog.installation_id()
        upload(services, "since", "white")
    settled: list[bool] = []
    assert Restore(target, lambda: settled.append(True)).run(place).installation == made
    assert settled == [True]
    with open_installation(second) as services:
        assert services.catalog.image("pictures", "since").state == "live", "nothing was restored over it"
    with pytest.raises(ConflictError, match="not empty"):
        restored(second, place)


def test_the_note_of_a_restore_that_died_at_its_end_keeps_no_later_one_from_replacing(
    first: Installation, place: LocalPlace, tmp_path: Path
) -> None:
    before = answers(first)
    first.backup.run(place)
    second = settings_of(tmp_path / "second")
    with open_installation(second) as services:
        services.restore.run(place)
        note = {"point": list_points(place)[-1], "installation": services.catalog.installation_id()}
    (second.segments_folder / UNFINISHED).write_text(json.dumps(note))  # its end was not reached
    with open_installation(second, inline=True) as services:
        upload(services, "since", "blue")
    restored(second, place, replace=True)
    assert answers_of(second) == before


@pytest.mark.parametrize(
    "dies_after", [1, *(pytest.param(number, marks=pytest.mark.long) for number in (0, 2, 4, 6, 8))]
)
def test_after_a_kill_both_run_again(
    dies_after: int, first: Installation, place: LocalPlace, tmp_path: Path
) -> None:
    before = answers(first)
    assert killed("backup", first.settings, place, dies_after)
    assert list_points(place) == []
    first.backup.run(place)
    second = settings_of(tmp_path / "second")
    assert killed("restore", second, place, 2 + dies_after)
    restored(second, place)
    assert answers_of(second) == before
    assert problems(second) == []


def killed(what: str, settings: Settings, place: LocalPlace, dies_after: int) -> bool:
    """Whether SIGKILL ended a process that did it."""
    command = [sys.executable, "-m", "tests.sightline.killed_backup", what, str(settings.data_folder)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, str(place.root), str(dies_after)], cwd=ROOT, env=environment, timeout=120, check=False
    )
    return done.returncode == -signal.SIGKILL


def test_what_the_installation_has_lost_is_named_and_what_the_backup_has_of_it_stays(
    first: Installation, place: LocalPlace, tmp_path: Path
) -> None:
    before = answers(first)
    first.backup.run(place)
    sha256 = first.catalog.image("pictures", "up1").sha256
    original = first.settings.data_folder / "originals" / "originals" / sha256[:2] / sha256
    original.write_bytes(b"rotten")
    upload(first, "late", "yellow", "red")
    late = first.catalog.image("pictures", "late").sha256
    (first.settings.data_folder / "originals" / "originals" / late[:2] / late).unlink()
    done = first.backup.run(place)
    assert [said.partition(":")[0] for said in done.point.missing] == [f"originals/{late[:2]}/{late}"]
    assert check(place).problems == ()
    second = settings_of(tmp_path / "second")
    told = restored(second, place)
    assert len(told.missing) == 1
    assert late in told.missing[0]
    with open_installation(second) as services:
        assert services.blobs.get_sound(sha256), "the backup before had it whole"
        assert [hit for hit in answers(services)["images"] if hit[0] != "late"] == before["images"]


def test_a_damaged_catalog_makes_no_point(first: Installation, place: LocalPlace) -> None:
    first.backup.run(place)
    first.catalog.close()
    file = first.settings.data_folder / "catalog.sqlite"
    content = bytearray(file.read_bytes())
    at = content.index(b"caption of up1")
    content[at] ^= 1
    file.write_bytes(content)
    with open_installation(first.settings) as damaged, pytest.raises(CatalogDamagedError, match="no backup"):
        damaged.backup.run(place)
    assert len(list_points(place)) == 1
    assert check(place).problems == ()


def test_a_point_that_cannot_be_read_lets_backups_go_on_and_keeps_all_files(
    first: Installation, place: LocalPlace
) -> None:
    name = first.backup.run(place).point.name
    path = place.root / "points" / f"{name}.json"
    path.write_bytes(path.read_bytes()[:-9])
    files = set(place.root.rglob("*"))
    done = first.backup.run(place, Wish(keep=1))
    assert (done.forgotten, done.removed) == (0, 0)
    assert files <= set(place.root.rglob("*"))


def test_old_points_go_with_what_only_they_name(
    first: Installation, place: LocalPlace, tmp_path: Path
) -> None:
    first.backup.run(place)
    other = settings_of(tmp_path / "other")
    with open_installation(other, inline=True) as services:
        upload(services, "other", "white")
        services.backup.run(place)
    sha256 = first.catalog.image("pictures", "up1").sha256
    first.catalog.delete_images(first.catalog.collection("pictures").id, ids=["up1"])
    first.catalog.empty_trash(first.catalog.collection("pictures").id)
    (place.root / "originals" / "notes.txt").write_text("somebody else's")
    assert (place.root / "originals" / sha256[:2] / sha256).exists()
    done = first.backup.run(place, Wish(keep=1))
    assert done.forgotten == 1
    assert not (place.root / "originals" / sha256[:2] / sha256).exists()
    assert (place.root / "originals" / "notes.txt").exists()
    assert len(list_points(place)) == 2, "those of another installation stay"
    assert [check(place, name).problems for name in list_points(place)] == [(), ()]


def test_every_damage_of_a_backup_is_found(first: Installation, place: LocalPlace) -> None:
    first.backup.run(place)
    files = [path for path in place.root.rglob("*") if path.is_file() and path.parent.name != "points"
             and path.parent != place.root]  # fmt: skip
    assert len(files) > 8
    for path in files:
        content = path.read_bytes()
        for damaged in (content[: len(content) // 2], content[:-1] + bytes([content[-1] ^ 1])):
            path.write_bytes(damaged)
            assert is_wrong(place), path
        path.unlink()
        assert is_wrong(place), path
        path.write_bytes(content)
    assert check(place).problems == ()


def is_wrong(place: LocalPlace) -> bool:
    try:
        return bool(check(place).problems)
    except CorruptionError:
        return True


def test_nothing_is_restored_over_an_installation_unless_it_is_to_be_replaced(
    first: Installation, place: LocalPlace, tmp_path: Path
) -> None:
    before = answers(first)
    first.backup.run(place)
    second = settings_of(tmp_path / "second")
    with open_installation(second, inline=True) as services:
        upload(services, "mine", "white")
        mine = answers(services)
    with pytest.raises(ConflictError, match="not empty"):
        restored(second, place)
    assert answers_of(second) == mine
    restored(second, place, replace=True)
    assert answers_of(second) == before
    assert list(second.data_folder.glob("catalog.sqlite.replaced-*")), "the old one is kept"


def test_a_catalog_that_is_damaged_is_replaced(
    first: Installation, place: LocalPlace, tmp_path: Path
) -> None:
    before = answers(first)
    first.backup.run(place)
    first.close()
    (first.settings.data_folder / "catalog.sqlite").write_bytes(b"no database at all" * 1000)
    with pytest.raises(ConflictError, match="--replace"):
        restored(first.settings, place)
    restored(first.settings, place, replace=True)
    assert answers_of(first.settings) == before
    assert problems(first.settings) == []


def test_nothing_is_restored_under_running_processes(
    first: Installation, place: LocalPlace, tmp_path: Path
) -> None:
    first.backup.run(place)
    assert first.catalog.acquire_singleton("builder", "somebody", 60.0)
    with pytest.raises(ConflictError, match="stop"):
        restored(first.settings, place, replace=True)


def test_two_backups_of_one_installation_do_not_run_at_once(first: Installation, tmp_path: Path) -> None:
    inner: list[BaseException] = []

    def again() -> None:
        try:
            with open_installation(first.settings) as other:
                other.backup.run(LocalPlace(tmp_path / "backup"), Wish(patience=0.0))
        except ConflictError as error:
            inner.append(error)

    first.backup.run(Meanwhile(tmp_path / "backup", again))
    assert len(inner) == 1


def test_referenced_originals_come_along_when_asked(
    first: Installation, place: LocalPlace, tmp_path: Path
) -> None:
    assert first.backup.run(place).point.references == 3
    first.backup.run(place, Wish(with_originals=True))
    kept = tmp_path / "pictures" / "c.png"
    (tmp_path / "pictures" / "a.png").unlink()
    second = settings_of(tmp_path / "second")
    assert restored(second, place).taken_in == 1
    with open_installation(second) as services:
        image = services.catalog.image("pictures", "a.png")
        assert image.uri == f"blob:{image.sha256}"
        assert services.originals.read(image) == png("blue", "yellow")
        assert services.catalog.image("pictures", "c.png").uri == str(kept)


def test_work_that_was_leased_goes_on(first: Installation, place: LocalPlace, tmp_path: Path) -> None:
    sent, _ = first.indexer.add("pictures", [Upload(png("purple"), "waiting")])
    (task,) = first.catalog.unsent_tasks(1e12, 10)
    assert first.catalog.acquire(task, "a worker", 3600.0) is not None
    first.backup.run(place)
    second = settings_of(tmp_path / "second")
    restored(second, place)
    with open_installation(second, inline=True) as services:
        assert services.catalog.task(task).state == "ready"
        services.indexer.wait(sent.id, timeout=60)
        assert services.catalog.image("pictures", "waiting").state == "live"


def test_a_restored_installation_has_an_id_of_its_own(
    first: Installation, place: LocalPlace, tmp_path: Path
) -> None:
    first.backup.run(place)
    second = settings_of(tmp_path / "second")
    told = restored(second, place)
    with open_installation(second) as services:
        assert services.catalog.installation_id() == told.installation != first.catalog.installation_id()


def test_a_backup_may_lie_in_any_store(first: Installation, tmp_path: Path) -> None:
    before = answers(first)
    place = open_place(f"memory://{uuid.uuid4().hex}/backup")
    done: BackedUp = first.backup.run(place)
    assert first.backup.run(place, Wish(keep=1)).forgotten == 1
    assert check(place).files >= done.files
    second = settings_of(tmp_path / "second")
    with open_installation(second) as services:
        services.restore.run(place)
    assert answers_of(second) == before


def test_a_backup_does_not_lie_in_what_it_is_to_outlive(first: Installation) -> None:
    with pytest.raises(InputError, match="lost with it"):
        first.backup.run(LocalPlace(first.settings.data_folder / "backup"))


def test_an_empty_place_has_no_backup(place: LocalPlace, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="none at all"):
        restored(settings_of(tmp_path / "second"), place)


def test_the_commands(sightline: Run, services: Installation, settings: Settings, tmp_path: Path) -> None:
    fill(services, tmp_path / "pictures")
    before = answers(services)
    services.close()
    place = str(tmp_path / "backup")
    made = sightline("backup", place, "--json")
    assert (made.code, made.answer["point"]["originals"]) == (0, 3)
    assert "not in it" in sightline("backup", place).stdout
    verified = sightline("backup", place, "--verify", "--json")
    assert (verified.code, verified.answer["problems"]) == (0, [])
    refused = sightline("restore", place, "--json")
    assert (refused.code, refused.answer["error"]["code"]) == (4, "conflict")
    shutil.rmtree(settings.data_folder)
    assert sightline("restore", place).code == 0
    assert answers_of(settings) == before
    (segment,) = list(Path(place, "segments").iterdir())[:1]
    segment.write_bytes(b"")
    assert sightline("backup", place, "--verify").code == 1
