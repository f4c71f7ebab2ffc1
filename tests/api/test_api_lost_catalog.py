"""A catalog that goes away or is another one: a server that had keys never opens by itself."""

from __future__ import annotations

import shutil
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import anyio
import pytest
from fastapi.testclient import TestClient

from sightline.api.keyring import FRESH_SECONDS, Keyring
from sightline.errors import ConflictError, UnavailableError
from sightline.settings import Settings
from sightline.store.catalog import open_catalog
from sightline.store.issuing import issue
from sightline.wiring import Installation, open_installation
from tests.api.conftest import nowhere
from tests.api.installation import problem
from tests.api.test_api_keys import bearer, eventually, make

PIECES = ("catalog.sqlite", "catalog.sqlite-wal", "catalog.sqlite-shm")
EVIL = {"name": "evil", "scope": "admin"}


def stays_shut(client: TestClient) -> None:
    """Nobody without a key is let in, however many ask at once and whatever was known before."""
    seen: set[int] = set()

    def ask(_: int) -> int:
        return client.get("/v1/collections").status_code

    def is_stale() -> bool:
        with ThreadPoolExecutor(12) as pool:
            seen.update(pool.map(ask, range(24), timeout=60))
        return 503 in seen

    assert eventually(is_stale, 10 * FRESH_SECONDS)
    with ThreadPoolExecutor(12) as pool:
        seen.update(pool.map(ask, range(24), timeout=60))
    assert seen <= {401, 503}
    assert client.post("/v1/keys", json=EVIL).status_code in (401, 503)


def move_away(folder: Path) -> None:
    (folder / "gone").mkdir()
    for piece in PIECES:
        if (folder / piece).exists():
            (folder / piece).rename(folder / "gone" / piece)


@pytest.fixture
def folder(services: Installation) -> Path:
    services.claim_folders()
    return services.settings.data_folder


def test_a_catalog_that_is_moved_away_is_not_made_again_and_opens_nothing(
    client: TestClient, services: Installation, folder: Path
) -> None:
    boss = make(client, "boss", scope="admin")
    services.catalog.database.engine.dispose()
    move_away(folder)
    stays_shut(client)
    assert not (folder / PIECES[0]).exists()
    assert "put it back" in problem(client.get("/v1/collections"), 503)["detail"]
    for piece in (folder / "gone").iterdir():
        piece.rename(folder / piece.name)
    assert eventually(lambda: client.get("/v1/collections", headers=bearer(boss)).status_code == 200)


@pytest.mark.parametrize("left", ["nothing", "no bytes", "no tables"])
def test_a_catalog_without_tables_is_refused_as_a_missing_one(
    client: TestClient, services: Installation, folder: Path, left: str
) -> None:
    make(client, "boss", scope="admin")
    services.catalog.database.engine.dispose()
    move_away(folder)
    if left == "no bytes":
        (folder / PIECES[0]).touch()
    if left == "no tables":
        with closing(sqlite3.connect(folder / PIECES[0])) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
        assert (folder / PIECES[0]).stat().st_size > 0
    with (
        pytest.raises(ConflictError, match="whose catalog is not in it"),
        open_installation(services.settings, send=nowhere) as other,
    ):
        other.catalog.collections()
    stays_shut(client)


def test_another_catalog_in_its_place_opens_nothing_and_keys_cleared_in_this_one_do(
    client: TestClient, services: Installation, folder: Path, empty_folder: Path
) -> None:
    boss = make(client, "boss", scope="admin")
    services.catalog.database.engine.dispose()
    move_away(folder)
    with open_installation(Settings(data=folder / "other"), send=nowhere) as other:
        other.catalog.collections()
    shutil.copy(folder / "other" / PIECES[0], folder / PIECES[0])
    stays_shut(client)
    assert "another one than at the start" in problem(client.get("/v1/collections"), 503)["detail"]
    problem(client.get("/v1/collections", headers=bearer(boss)), 503)
    services.catalog.database.engine.dispose()
    for piece in PIECES:
        (folder / piece).unlink(missing_ok=True)
    for piece in (folder / "gone").iterdir():
        piece.rename(folder / piece.name)
    assert eventually(lambda: client.get("/v1/collections", headers=bearer(boss)).status_code == 200)
    services.catalog.clear_keys()
    assert eventually(lambda: client.get("/v1/collections").status_code == 200)


def test_any_database_that_becomes_another_installations_is_believed_no_more(catalog_url: str) -> None:
    with closing(open_catalog(catalog_url)) as catalog:
        issue(catalog, "boss", "admin")
        keyring = Keyring(catalog)
        assert anyio.run(keyring.look).ever
        with catalog.database.engine.begin() as connection:
            connection.exec_driver_sql("DELETE FROM keys")
            connection.exec_driver_sql("UPDATE installation SET id = 'another'")
        time.sleep(FRESH_SECONDS + 0.1)
        for _ in range(2):
            with pytest.raises(UnavailableError, match="another one than at the start"):
                anyio.run(keyring.look)
        assert not anyio.run(Keyring(catalog).look).ever, "who starts now believes it"
