"""Whatever a picture is called: what one door stored is found through every other, or was refused.

Names are made of characters that some layer gives a meaning to: addresses, shells, globs, SQL, CSV, archives,
terminals.
"""

from __future__ import annotations

import csv
import json
import os
import random
import unicodedata
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow
import pyarrow.parquet
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text
from typer.testing import CliRunner

from sightline.cli.main import app
from sightline.errors import InputError
from sightline.indexer.uploads import Upload
from sightline.settings import Settings
from sightline.store.values import check_image_id
from sightline.wiring import Installation
from tests.api.installation import png
from tests.api.test_api_page import Tiles

ODD = [
    *"?%#!~*\\[]{}()<>|&;:'\"`$^=+,@- ._é☃",
    *["\n", "\r", "\t", "\0", "\x7f", "\x85", "\u200b", "\u202e", "\ufeff", "\u2028", "\ufffd", "\u00a0"],
    *["e\u0301", "\U0001f600", "%2F", "%2E", "%25", "//", "!/", "/", "..", "/../", "/./", "?v=1"],
    *["/file", "/thumbnail"],
]
WHOLE = [
    *["-", "--", "-rf", "--all", "~", "~root", ".", "..", "...", ".hidden", "CON", "nul", "NULL", "None"],
    *["null", "true", "007", "1e5", "1", "1.0", "*", "%", "_", "' OR 1=1 --", "=1+1", "@x", "%2E", "%2E%2E"],
    *["%252E", "a/file", "a/thumbnail", "file", "thumbnail", "blob:x", "file:///etc/passwd", "s3://b/x"],
    *["http://x/y", "é", "e\u0301", "a.zip!/b", "x" * 300, "é" * 1025, "a" * 2048, "A", "a", "a ", " a"],
    "a\u200b",
]


def odd_names() -> list[str]:
    chance = random.Random(7)
    drawn = {"".join(chance.choices([*ODD, "a", "b", "c"], k=chance.randint(1, 6))) for _ in range(220)}
    return sorted({*WHOLE, *ODD, *drawn} - {""})


NAMES = odd_names()
STORABLE = [name for name in NAMES if "\0" not in name]


def refused(name: str) -> bool:
    try:
        check_image_id(name)
    except InputError:
        return True
    return False


@pytest.fixture
def collection(client: TestClient) -> TestClient:
    client.post("/v1/collections", json={"name": "pictures"})
    return client


def known(services: Installation) -> dict[str, str]:
    """id → state of everything that the catalog holds."""
    query = text("SELECT image_id, state FROM images")
    return dict(services.catalog.database.read(lambda connection: connection.execute(query).all()))  # type: ignore[arg-type]


def as_files(folder: Path, picture: bytes) -> Iterator[tuple[str, str]]:
    """(source, id) of a folder whose files are called so, as far as a file can be."""
    folder.mkdir()
    for name in STORABLE:
        if (
            "/" not in name
            and name not in (".", "..")
            and not name.startswith(".")
            and len(os.fsencode(name)) < 256
        ):
            (folder / name).write_bytes(picture)
            if not name.lower().endswith((".zip", ".csv")):
                yield str(folder), name


def as_members(folder: Path, picture: bytes) -> Iterator[tuple[str, str]]:
    folder.mkdir()
    with zipfile.ZipFile(folder / "p.zip", "w") as archive:
        for name in STORABLE:
            parts = name.split("/")
            if name.endswith("/") or any(part.startswith(".") for part in parts) or name.startswith("/"):
                continue
            archive.writestr(name, picture)
            yield str(folder / "p.zip"), f"p.zip!/{name}"


def as_rows(write: Callable[[Path, list[dict[str, str]]], Path]) -> Callable[..., Iterator[tuple[str, str]]]:
    def door(folder: Path, picture: bytes) -> Iterator[tuple[str, str]]:
        folder.mkdir()
        (folder / "p.png").write_bytes(picture)
        source = write(folder, [{"uri": f"{folder}/p.png", "id": name} for name in STORABLE])
        yield from ((str(source), name) for name in STORABLE)

    return door


def jsonl(folder: Path, rows: list[dict[str, str]]) -> Path:
    (folder / "l.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "l.jsonl"


def csv_file(folder: Path, rows: list[dict[str, str]]) -> Path:
    with (folder / "l.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["uri", "id"])
        writer.writeheader()
        writer.writerows(rows)
    return folder / "l.csv"


def parquet(folder: Path, rows: list[dict[str, str]]) -> Path:
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "l.parquet")
    return folder / "l.parquet"


@pytest.mark.parametrize(
    "door",
    [as_files, as_members, as_rows(jsonl), as_rows(csv_file), as_rows(parquet)],
    ids=["folder", "zip", "jsonl", "csv", "parquet"],
)
def test_every_door_stores_the_name_as_it_is_or_says_why_not(
    services: Installation,
    collection: TestClient,
    tmp_path: Path,
    door: Callable[..., Iterator[tuple[str, str]]],
) -> None:
    listed = list(door(tmp_path / "source", png("red")))
    assert len(NAMES) >= 200
    job = services.indexer.index([listed[0][0]], "pictures")
    stored = {name for name, state in known(services).items() if state == "pending"}
    wanted = {name for _, name in listed}
    assert stored == {name for name in wanted if not refused(name)}
    failed = services.catalog.job_error_page(job.id, None, 1000)
    assert failed.total >= len(wanted - stored)
    assert all(line.detail.endswith(".") and line.reason for line in failed.items)


def test_what_is_stored_is_found_through_every_lookup(
    services: Installation, collection: TestClient, settings: Settings
) -> None:
    client = collection
    uploads = [Upload(png("red"), name) for name in NAMES]
    _, lines = services.indexer.add("pictures", uploads)
    for name, line in zip(NAMES, lines, strict=True):
        assert (line.status == "failed") == refused(name), name
        assert line.status != "failed" or (line.detail or "").endswith("."), name
    services.indexer.run_pending()
    wanted = sorted(name for name in NAMES if not refused(name))
    assert sorted(listing(client)) == wanted
    for name in wanted:
        address = f"/v1/collections/pictures/images/{quote(name, safe='')}"
        record = client.get(address).json()
        assert record.get("id") == name
        assert client.get(record["file_url"]).content == png("red"), name
    changed = wanted[::2]
    for name in changed:
        address = f"/v1/collections/pictures/images/{quote(name, safe='')}"
        assert client.patch(address, json={"caption": "seen"}).json()["caption"] == "seen", name
    for name in wanted[1::2]:
        alike = {other for other in wanted if same_forms([other]) == same_forms([name])}
        assert set(listing(client, {"field": "id", "equals": name})) == alike
    for name in wanted[::5]:
        assert name in listing(client, {"field": "id", "contains": name[:900]})
    assert sorted(listing(client, {"field": "id", "in": wanted})) == wanted
    assert len(listing(client, {"field": "caption", "equals": "seen"})) == len(changed)

    data = ["--data", str(settings.data_folder)]
    run = CliRunner()
    for name in wanted[::2]:
        assert client.delete(f"/v1/collections/pictures/images/{quote(name, safe='')}").status_code == 204, (
            name
        )
    for first in range(1, len(wanted), 50):
        ids = [word for name in wanted[first : first + 50 : 2] for word in ("--id", name)]
        done = run.invoke(app, ["delete", "--collection", "pictures", *data, *ids])
        assert done.exit_code == 0, done.output
    assert listing(client) == []
    done = run.invoke(app, ["trash", "restore", "--collection", "pictures", *data, "--", *wanted])
    assert done.exit_code == 0, done.output
    assert sorted(listing(client)) == wanted


def test_uploads_the_page_and_the_trash_know_the_same_names(
    services: Installation, collection: TestClient
) -> None:
    client, images = collection, "/v1/collections/pictures/images"
    some = sorted({*WHOLE, *ODD, *NAMES[::9]} & set(NAMES))[::2]
    good = [name for name in some if not refused(name)]
    assert len(good) >= 40
    assert len(some) > len(good)
    for name in some:
        if refused(name):
            answer = client.post(images, **multipart([name]))
            assert answer.status_code == 422, name
            assert answer.json()["errors"][0]["detail"].endswith("."), answer.text
    answer = client.post(images, **multipart(good))
    assert answer.status_code == 202, answer.text
    assert [line["id"] for line in answer.json()["files"]] == good
    services.indexer.run_pending()
    assert sorted(listing(client)) == sorted(good)

    shown = tiles(client)
    assert sorted(shown) == sorted(good)
    for name, address in shown.items():
        assert client.get(address).content == png("red"), name
    for name in good[::3]:
        condition = quote(json.dumps({"field": "id", "equals": name}), safe="")
        assert same_forms(tiles(client, f"&filter={condition}")) == same_forms([name])

    for name in good:
        assert client.delete(f"{images}/{quote(name, safe='')}").status_code == 204, name
    assert tiles(client) == {}
    restore = "/v1/collections/pictures/trash/restore"
    answer = client.post(restore, json={"ids": good})
    assert sorted(answer.json()["restored"]) == sorted(good)
    assert answer.json()["refused"] == []
    assert sorted(listing(client)) == sorted(good)


def multipart(names: list[str]) -> dict[str, Any]:
    """A form with one file of each name, which is its id too."""
    items = json.dumps([{"id": name} for name in names])
    return {"files": [("files", (name, png("red"))) for name in names], "data": {"items": items}}


def tiles(client: TestClient, more: str = "") -> dict[str, str]:
    """id → where its link leads, of all that the page shows, page by page."""
    found: dict[str, str] = {}
    address: str | None = f"/?collection=pictures{more}"
    for _ in range(50):
        if address is None:
            break
        tags = Tiles(client.get(address).text)
        links = [
            values["href"] or ""
            for tag, values in tags.tags
            if tag == "a" and "/file" in (values.get("href") or "")
        ]
        found |= dict(zip(map(str, tags.shown()), links, strict=True))
        address = next((values["href"] for tag, values in tags.tags if "data-more" in values), None)
    return found


def same_forms(names: Iterable[str]) -> set[str]:
    return {unicodedata.normalize("NFC", name) for name in names}


def listing(client: TestClient, condition: object = None) -> list[str]:
    """All ids that fit, page by page."""
    found: list[str] = []
    cursor: str | None = None
    for _ in range(100):
        asked = {"limit": "97"} | ({} if cursor is None else {"cursor": cursor})
        asked |= {} if condition is None else {"filter": json.dumps(condition)}
        answer = client.get("/v1/collections/pictures/images", params=asked)
        assert answer.status_code == 200, (condition, answer.text)
        found += [item["id"] for item in answer.json()["items"]]
        cursor = answer.json()["next_cursor"]
        if cursor is None:
            break
    return found
