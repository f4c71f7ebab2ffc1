"""A restore and whatever has the catalog open keep each other out; the catalog that it replaced is whole."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from sightline.errors import ConflictError, UnavailableError
from sightline.settings import Settings
from sightline.store.catalog import open_catalog
from sightline.store.catalog_lock import REPLACING, RUNNING, CatalogLock
from sightline.store.places import LocalPlace
from sightline.store.portable import sqlite_url
from sightline.upkeep.backups.placing import set_aside
from sightline.wiring import open_installation
from tests.services import _postgres_schema
from tests.sightline.backup_world import settings_of, upload

ROOT = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}
OPENS = """
import sys
from pathlib import Path
from sightline.settings import Settings
from sightline.wiring import open_installation
with open_installation(Settings(data=Path(sys.argv[1]))) as services:
    services.catalog.collections()
    print("open", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def place(tmp_path: Path) -> LocalPlace:
    """A backup of an installation with one picture."""
    place = LocalPlace(tmp_path / "backup")
    with open_installation(settings_of(tmp_path / "data"), inline=True) as services:
        upload(services, "saved", "red", "blue")
        services.backup.run(place)
    return place


@contextmanager
def child(*command: str, says: str) -> Iterator[subprocess.Popen[str]]:
    """A process that has said it, killed at the end."""
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=ROOT,
        env=ENVIRONMENT,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        assert process.stdout is not None
        assert any(says in line for line in process.stdout), "it ended before"
        yield process
    finally:
        process.kill()
        process.communicate(timeout=60)


def restore_command(settings: Settings, place: LocalPlace) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "sightline", "restore", str(place.root), "--data"]
    return subprocess.Popen(
        [*command, str(settings.data_folder)], cwd=ROOT, env=ENVIRONMENT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def names(settings: Settings) -> list[str]:
    """The pictures of an installation."""
    with open_installation(settings) as services:
        return [one.image_id for one in services.catalog.images("pictures").items]


def files(settings: Settings) -> set[Path]:
    return {path for path in settings.data_folder.rglob("*") if not path.name.endswith(("-wal", "-shm"))}


@pytest.mark.parametrize("replace", [False, True])
def test_a_restore_beside_a_running_server_is_refused_and_changes_nothing(
    replace: bool, place: LocalPlace, tmp_path: Path
) -> None:
    second = settings_of(tmp_path / "second")
    data = ("--data", str(second.data_folder))
    with child("-m", "sightline", "serve", "--port", "0", *data, says="serves"):
        before, inode = files(second), (second.data_folder / "catalog.sqlite").stat().st_ino
        with open_installation(second) as services, pytest.raises(ConflictError, match="stop API"):
            services.restore.run(place, replace=replace)
        assert files(second) == before
        assert (second.data_folder / "catalog.sqlite").stat().st_ino == inode
    with open_installation(second) as services:
        services.restore.run(place)
    assert names(second) == ["saved"], "what was killed leaves no lock behind"


def test_a_restore_beside_any_command_is_refused_until_it_has_ended(
    place: LocalPlace, tmp_path: Path
) -> None:
    second = settings_of(tmp_path / "second")
    opens = child("-c", OPENS, str(second.data_folder), says="open")
    with opens as process, open_installation(second) as services:
        with pytest.raises(ConflictError, match="are running"):
            services.restore.run(place, replace=True)
        process.communicate("", timeout=60)
        assert process.returncode == 0
        services.restore.run(place)
    assert names(second) == ["saved"]


def test_of_two_restores_at_once_one_restores_and_the_other_says_why_not(
    place: LocalPlace, tmp_path: Path
) -> None:
    second = settings_of(tmp_path / "second")
    both = [restore_command(second, place) for _ in range(2)]
    said = {process.communicate(timeout=120)[0]: process.returncode for process in both}
    assert sorted(said.values()) == [0, 4], said
    refused = next(text for text, code in said.items() if code)
    assert any(word in refused for word in ("not empty", "under way", "are running")), refused
    assert names(second) == ["saved"]
    assert not list(second.data_folder.glob("*.replaced-*")), "nothing was put over the first one"


@pytest.mark.services
def test_of_two_restores_into_one_empty_database_the_later_one_is_refused(
    request: pytest.FixtureRequest, place: LocalPlace, tmp_path: Path
) -> None:
    with _postgres_schema(request.getfixturevalue("_postgres_shared")) as url:
        second, third = settings_of(tmp_path / "second", url), settings_of(tmp_path / "third", url)
        with open_installation(second) as services, pytest.raises(ConflictError, match="meanwhile"):
            services.restore.run(Overtaken(place.root, third))
        with open_installation(third) as services:
            assert [one.image_id for one in services.catalog.images("pictures").items] == ["saved"]


class Overtaken(LocalPlace):
    """A place during whose first segment another restore goes all the way."""

    def __init__(self, root: Path, settings: Settings) -> None:
        super().__init__(root)
        self._settings = settings

    def chunks(self, path: str) -> Iterator[bytes]:
        if path.startswith("segments"):
            with open_installation(self._settings) as other:
                other.restore.run(LocalPlace(self.root))
        return super().chunks(path)


class Asks(LocalPlace):
    """A place that tries, in the middle of a restore, what must not be."""

    def __init__(self, root: Path, settings: Settings) -> None:
        super().__init__(root)
        self._settings = settings
        self.refusals: list[str] = []

    def chunks(self, path: str) -> Iterator[bytes]:
        if path.startswith("segments"):
            self._try()
        return super().chunks(path)

    def _try(self) -> None:
        with open_installation(self._settings) as other:
            with pytest.raises(ConflictError) as conflict:
                other.restore.run(LocalPlace(self.root), replace=True)
            with pytest.raises(UnavailableError) as unavailable:
                other.catalog.collections()
        self.refusals += [str(conflict.value), str(unavailable.value)]


def test_while_a_restore_is_under_way_nothing_opens_the_catalog_and_no_other_restore_begins(
    place: LocalPlace, tmp_path: Path
) -> None:
    second = settings_of(tmp_path / "second")
    asks = Asks(place.root, second)
    with open_installation(second) as services:
        services.restore.run(asks)
    assert asks.refusals == [REPLACING, REPLACING]
    assert names(second) == ["saved"]


def test_a_replaced_catalog_keeps_the_rows_that_were_in_its_log_only(
    place: LocalPlace, tmp_path: Path
) -> None:
    second, third = settings_of(tmp_path / "second"), settings_of(tmp_path / "third")
    with open_installation(second, inline=True) as services:
        upload(services, "mine", "white")
        third.data_folder.mkdir()
        for path in second.data_folder.glob("catalog.sqlite*"):  # as a kill leaves them
            shutil.copy(path, third.data_folder)
    assert (third.data_folder / "catalog.sqlite-wal").stat().st_size > 0
    with open_installation(third) as services:
        services.restore.run(place, replace=True)
    assert names(third) == ["saved"]
    (moved,) = (
        path
        for path in third.data_folder.glob("catalog.sqlite.replaced-*")
        if not path.name.endswith(("-wal", "-shm"))
    )
    with closing(open_catalog(sqlite_url(moved))) as catalog:
        assert [one.image_id for one in catalog.images("pictures").items] == ["mine"]


def test_a_catalog_that_cannot_be_read_is_moved_with_its_log_under_one_name(tmp_path: Path) -> None:
    file = tmp_path / "my-catalog.sqlite"
    for ending in ("", "-wal", "-shm"):
        Path(f"{file}{ending}").write_bytes(b"no database" * 1000)
    set_aside(file)
    moved = sorted(path.name for path in tmp_path.iterdir())
    assert moved[1:] == [f"{moved[0]}-shm", f"{moved[0]}-wal"]
    assert moved[0].startswith("my-catalog.sqlite.replaced-")


def test_many_share_a_catalog_and_one_replaces_it(tmp_path: Path) -> None:
    one, other, third = (CatalogLock(tmp_path / "data" / "catalog.sqlite") for _ in range(3))
    one.share()
    one.share()
    other.share()
    with pytest.raises(ConflictError, match="are running"), third.alone():
        pass
    with pytest.raises(ConflictError, match=RUNNING), one.alone():
        pass
    one.close()
    other.close()
    with third.alone():
        with pytest.raises(UnavailableError, match="under way"):
            one.share()
        third.share()
    with pytest.raises(UnavailableError, match="under way"):
        one.share()
    third.close()
    one.share()


def test_where_no_lock_file_can_be_made_all_goes_on_without(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    lock = CatalogLock(tmp_path / "file" / "catalog.sqlite")
    lock.share()
    lock.close()
    with lock.alone():
        pass
