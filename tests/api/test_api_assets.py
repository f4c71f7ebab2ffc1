"""The page's own files: asked for once, never of another version than the page."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from sightline.api.app import HERE
from sightline.api.assets import Assets, version_of

STATIC = HERE / "static"


def version_in(text: str) -> str:
    """The one version that a page names."""
    found = set(re.findall(r'"/static/([^/"]+)/', text))
    assert len(found) == 1, found
    return str(found.pop())


@pytest.mark.parametrize("page", ["/", "/texts?collection=pictures"])
def test_all_that_a_page_names_may_be_kept_for_ever(library: TestClient, page: str) -> None:
    text = library.get(page).text
    version = version_in(text)
    named = re.findall(r'"(/static/[^"]+)"', text)
    assert len(named) > 3
    for address in named:
        assert address.startswith(f"/static/{version}/")
        answer = library.get(address)
        assert answer.status_code == 200, address
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    style = library.get(f"/static/{version}/sightline.css").text
    for relative in re.findall(r'url\("(?!data:)([^"]+)"\)', style):
        assert library.get(f"/static/{version}/{relative}").status_code == 200


@pytest.mark.parametrize("version", ["", "0123456789ab/"])
def test_under_another_version_a_file_is_asked_for_again(client: TestClient, version: str) -> None:
    address = f"/static/{version}sightline.js"
    answer = client.get(address)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-cache")
    assert answer.content == (STATIC / "sightline.js").read_bytes()
    again = client.get(address, headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.headers["cache-control"], again.content) == (304, "no-cache", b"")


@pytest.mark.parametrize("change", ["byte", "name", "new"])
def test_whatever_changes_in_a_file_changes_the_version(tmp_path: Path, change: str) -> None:
    folder = tmp_path / "static"
    shutil.copytree(STATIC, folder)
    before = version_of(folder)
    assert before == version_of(STATIC), "and nothing else does: servers of one version agree"
    if change == "byte":
        (folder / "fonts" / "OFL.txt").write_bytes((folder / "fonts" / "OFL.txt").read_bytes() + b" ")
    elif change == "name":
        (folder / "texts.js").rename(folder / "text.js")
    else:
        (folder / "empty.js").touch()
    assert version_of(folder) != before


def test_modules_import_only_what_is_there_and_all_of_it_is_named_before(library: TestClient) -> None:
    scripts = {path.name: path.read_text() for path in STATIC.glob("*.js")}
    imports = {
        name: set(re.findall(r'from "(.+?)"|^import "(.+?)"', text, re.M)) for name, text in scripts.items()
    }
    reached, new = set[str](), {"sightline.js"}
    while new:
        reached |= new
        targets = {first or second for name in new for first, second in imports[name]}
        assert all(target.startswith("./") for target in targets), targets
        new = {target.removeprefix("./") for target in targets} - reached
    assert reached == set(scripts) - {"texts.js"}, "no module is left over"
    preloaded = re.findall(r'rel="modulepreload" href="/static/[^/]+/([^"]+)"', library.get("/").text)
    assert set(preloaded) == reached - {"sightline.js"} == set(Assets(STATIC).modules_of("sightline.js"))
    assert max(len(text.splitlines()) for text in scripts.values()) < 250
