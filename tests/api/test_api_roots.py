"""Nothing outside of SOURCE_ROOTS is opened, listed or named, whatever addresses, links and manifests say."""

from __future__ import annotations

import csv
import json
import os
import stat
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from sightline.indexer.files import open_file
from sightline.indexer.roots import Roots
from sightline.indexer.sources.folders import walk
from tests.api.installation import MakeClient, png

JOBS = "/v1/collections/pictures/jobs"
SECRET = "treasure"


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """``open`` is served; ``private`` holds pictures, a manifest and an archive that nobody may know of."""
    inside, private = tmp_path / "open", tmp_path / "private"
    for folder in (inside / "x!", inside / "deep", private / "x!"):
        folder.mkdir(parents=True)
    (inside / "good.png").write_bytes(png("red"))
    (private / f"{SECRET}.png").write_bytes(png("blue"))
    (private / "list.csv").write_text(f"uri,{SECRET}\n{SECRET}.png,1\n")
    with zipfile.ZipFile(private / "pack.zip", "w") as archive:
        archive.writestr(f"{SECRET}.png", png("green"))
    for name in ("private", "list.csv", "pack.zip", f"{SECRET}.png"):
        target = private if name == "private" else private / name
        (inside / "deep" / f"link-{name}".replace(SECRET, "picture")).symlink_to(target)
    (inside / "deep" / "link-nowhere").symlink_to(private / "nothing")
    return tmp_path


@pytest.fixture
def served(make_client: MakeClient, world: Path, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    monkeypatch.setenv("HOME", str(world / "private"))
    monkeypatch.chdir(world / "open")
    client = make_client(source_roots=(str(world / "open"), "memory://roots/public"))
    client.post("/v1/collections", json={"name": "pictures"})
    return client


def everything(client: TestClient, source: str) -> str:
    """All that a stranger gets to see of a job over this source, to its end."""
    answer = client.post(JOBS, json={"sources": [source]})
    text = answer.text
    deadline = time.monotonic() + 60
    while answer.status_code in (200, 202) and answer.json()["state"] == "registering":
        assert time.monotonic() < deadline
        time.sleep(0.02)
        answer = client.get(f"/v1/jobs/{answer.json()['id']}")
        text = answer.text
    return text + client.get("/v1/collections/pictures/images").text


def addresses() -> Iterator[str]:
    """What leads, or tries to lead, from the served folder ``{0}/open`` to ``{0}/private``."""
    for target in ("private", "private/list.csv", "private/pack.zip", "private/*", "private/x!"):
        yield f"{{0}}/{target}"
        yield f"{{0}}/open/../{target}"
        yield f"{{0}}/open/x!/../../{target}"
        yield f"{{0}}/open/none!/../../{target}"
        yield f"{{0}}/open/deep/link-private/../{target}"
        yield f"file://{{0}}/{target}"
        yield f"FILE://{{0}}/{target}"
        yield f"file://{{0}}/open/x!/%2e%2e/%2e%2e/{target}"
        yield f"file://{{0}}/open/%2E%2E/{target}"
    for name in ("private", "list.csv", "pack.zip", "picture.png", "private/*", "private/list.csv", "pri*/*"):
        yield f"{{0}}/open/deep/link-{name}"
    yield from (
        "{0}/open/deep",
        "{0}/open/deep/*",
        "{0}/open/**",
        "{0}/open/deep/link-*",
        "{0}/open/deep/*/*",
    )
    yield from (
        "~",
        "~/list.csv",
        "~root",
        "{0}",
        "/",
        "",
        ".",
        "..",
        "x!/../../private",
        "{0}/open\0/private",
    )
    yield from (
        "{0}/OPEN/../private",
        "{0}/open-not",
        "local://{0}/private",
        "simplecache::file://{0}/private",
    )
    yield from ("memory://roots/private", "memory://roots/public/../private", "memory://roots/public-not")
    yield from ("memory://roots/public/%2e%2e/private", "memory://roots/public::file://{0}/private")
    yield from ("{0}/open/deep/link-pack.zip!/" + SECRET[:1], "{0}/private/pack.zip!/x", "file:{0}/private")


def test_nothing_outside_is_listed_or_named(served: TestClient, world: Path) -> None:
    for address in addresses():
        seen = everything(served, address.format(world))
        assert SECRET not in seen, address


def test_manifests_and_archives_below_a_root_do_not_lead_out(served: TestClient, world: Path) -> None:
    inside = world / "open" / "lists"
    inside.mkdir()
    rows = [one.format(world) for one in addresses() if "\0" not in one and one.format(world)]
    with (inside / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["uri", "id"], *([row, f"row {at}"] for at, row in enumerate(rows))])
    with zipfile.ZipFile(inside / "nested.zip", "w") as archive:
        archive.writestr("../../private/treasure.png".replace(SECRET, "picture"), b"")
        link = zipfile.ZipInfo("link.png")
        link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, str(world / "private" / "list.csv"))
        archive.write(world / "private" / "pack.zip", "inner.zip")
    for source in (
        inside / "list.csv",
        inside / "nested.zip",
        f"{inside}/nested.zip!/inner.zip!/picture.png",
    ):
        seen = everything(served, str(source))
        assert SECRET not in seen.replace("lists/list.csv", ""), source
    assert json.loads(served.get("/v1/collections/pictures/images").text)["items"] == []


def details(text: str) -> list[Any]:
    found = json.loads(text.partition('{"items"')[0] or "{}")
    return [found.get("detail"), found.get("status"), found.get("state"), found.get("errors")]


@pytest.mark.parametrize(
    "address",
    ["{0}/{1}", "{0}/open/x!/../../{1}", "{0}/open/x!/../../{1}/list.csv", "file://{0}/{1}", "{0}/{1}/*"],
)
def test_what_lies_outside_and_what_does_not_get_the_same_sentence(
    served: TestClient, world: Path, address: str
) -> None:
    there, missing = (
        details(everything(served, address.format(world, name))) for name in ("private", "nothing")
    )
    assert json.dumps(there).replace("private", "nothing") == json.dumps(missing)


def test_links_to_what_is_there_and_to_what_is_not_get_the_same_sentence(
    served: TestClient, world: Path
) -> None:
    job = json.loads(everything(served, f"{world}/open/deep").partition('{"items"')[0])
    told = {error["detail"].removeprefix(error["id"]) for error in job["errors"]}
    assert len(job["errors"]) == 5
    assert len(told) == 1


def test_what_was_opened_counts_and_not_what_was_asked_for(world: Path) -> None:
    """A link that was put in the way after the address was judged leads to nothing."""
    roots = Roots([str(world / "open")])
    descriptor = os.open(world / "private" / "list.csv", os.O_RDONLY)
    try:
        with pytest.raises(PermissionError):
            roots.check_opened(descriptor, str(world / "open" / "list.csv"))
    finally:
        os.close(descriptor)
    with open_file(str(world / "open" / "good.png"), roots) as file:
        assert file.read() == png("red")
    with pytest.raises(PermissionError):
        open_file(str(world / "open" / "deep" / "link-list.csv"), roots)
    assert {found.name for found in walk(str(world / "open"), roots=roots) if hasattr(found, "name")} == {
        "good.png"
    }
