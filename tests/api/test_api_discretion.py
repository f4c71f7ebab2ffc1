"""What strangers learn of the machine: nothing of paths, hosts and addresses, and whoever runs it all."""

from __future__ import annotations

import inspect
import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from sightline import errors
from sightline.api.app import create_app
from sightline.api.parts import ApiParts
from sightline.imaging import IsolatedDecoder
from sightline.searching.search import Search
from sightline.settings import Settings
from sightline.store.issuing import issue
from sightline.wiring import Installation
from tests.api.asgi import ask
from tests.api.conftest import installation
from tests.api.installation import png

SECRET = "/srv/secret/catalog.sqlite on db.internal:5432"
SEARCH = "/v1/collections/pictures/search"
LOCAL = [("Host", "localhost"), ("Content-Type", "application/json")]
KEYED = [*LOCAL, ("Authorization", "Bearer sesame")]
CLOSED = {"allowed_hosts": (), "show_details": False, "show_uris": False}
LOUD = {errors.UnavailableError, errors.StorageError, errors.NoRoomError, errors.CorruptionError,
        errors.CatalogDamagedError, errors.ModelUnavailableError, errors.CheckpointError,
        errors.IndexUnavailableError,
        errors.SightlineError}  # fmt: skip
"""Errors whose sentences name what belongs to the machine. The others repeat what the caller said."""


def with_api(services: Installation, **changes: Any) -> ApiParts:
    """The same parts under other API settings; by default those that a server has."""
    return replace(services.api_parts, settings=replace(services.settings.api, **CLOSED | changes))


class Failing:
    """A search that ends with ``error``."""

    error: Exception

    def find(self, request: object, watch: object) -> object:
        raise self.error


def kinds() -> list[type[errors.SightlineError]]:
    """Every error that takes one sentence."""
    found = [one for _, one in inspect.getmembers(errors, inspect.isclass)]
    return [
        one for one in found if issubclass(one, errors.SightlineError) and one is not errors.ImageRejected
    ]


def test_reasons_are_for_whoever_runs_the_server_and_for_the_log(
    services: Installation, caplog: pytest.LogCaptureFixture
) -> None:
    services.collections.create("pictures")
    search = Failing()
    callers: dict[str, tuple[dict[str, Any], list[tuple[str, str]]]] = {
        "local": ({}, LOCAL),
        "with the key": ({"key": "sesame"}, KEYED),
        "told to": ({"insecure": True, "show_details": True}, LOCAL),
        "a stranger": ({"insecure": True}, LOCAL),
        "a guest of a proxy": ({"allowed_hosts": ("a.b",)}, LOCAL),
    }
    for caller, (changes, headers) in callers.items():
        parts = replace(with_api(services, **changes), search=cast("Search", search))
        app = create_app(parts)
        for kind in kinds():
            search.error = kind(f"It lies at {SECRET}.")
            caplog.clear()
            with caplog.at_level(logging.WARNING):
                given = ask(app, "POST", SEARCH, headers, b'{"text": "red"}')
                page = ask(app, "GET", "/?q=red&collection=pictures", headers)
            hidden = caller in ("a stranger", "a guest of a proxy") and kind in LOUD
            for body in (given.body.decode(), page.body.decode()):
                assert ("secret" not in body) is hidden, (caller, kind)
            assert given.json["type"] == f"urn:sightline:problem:{kind.code}"
            assert given.json["detail"].endswith(".")
            if given.status >= 500 or hidden:
                assert "secret" in caplog.text


def test_readiness_names_nothing_to_those_without_the_key(services: Installation) -> None:
    services.api_parts.catalog.close()
    services.settings.data_folder.joinpath("catalog.sqlite").write_bytes(b"no database at all " * 300)
    folder = str(services.settings.data_folder)
    seen = {}
    for caller, changes, headers in (
        ("local", {}, LOCAL),
        ("with the key", {"key": "sesame"}, KEYED),
        ("without it", {"key": "sesame"}, LOCAL),
        ("a stranger", {"insecure": True}, LOCAL),
    ):
        given = ask(create_app(with_api(services, **changes)), "GET", "/readyz", headers)
        assert given.status == 503
        assert set(given.json["checks"]) >= {"model", "database", "generation", "indexing"}
        assert given.json["checks"]["database"]["ready"] is False
        seen[caller] = folder in given.body.decode()
    assert seen == {"local": True, "with the key": True, "without it": False, "a stranger": False}


@pytest.fixture
def indexed(settings: Settings, api_decoder: IsolatedDecoder, tmp_path: Path) -> Any:
    """An installation whose pictures lie in a folder of the server; one of them is in the trash."""
    folder = tmp_path / "private" / "holiday"
    folder.mkdir(parents=True)
    for name in ("red", "blue", "green"):
        (folder / f"{name}.png").write_bytes(png(name))
    (folder / "broken.png").write_bytes(b"no picture")
    services = installation(settings, api_decoder)
    services.collections.create("pictures")
    job = services.indexer.index([str(folder)], "pictures")
    services.indexer.run_pending()
    services.catalog.delete_images(services.catalog.collection("pictures").id, ids=["green.png"])
    yield services, job.id
    services.catalog.close()


def test_answers_and_the_page_do_not_say_where_pictures_lie(
    indexed: tuple[Installation, str], tmp_path: Path
) -> None:
    services, job = indexed
    asked = [
        ("POST", SEARCH, b'{"text": "red"}'), ("GET", "/v1/collections/pictures/images", b""),
        ("GET", "/v1/collections/pictures/images/red.png", b""),
        ("GET", "/v1/collections/pictures/trash", b""),

        ("GET", "/", b""), ("GET", "/?q=red", b""), ("GET", f"/v1/jobs/{job}", b""), ("GET", "/metrics", b""),
        ("GET", "/v1/trash", b""), ("GET", "/v1/collections", b""), ("GET", "/readyz", b""),
        ("PATCH", "/v1/collections/pictures/images/red.png", b'{"caption": "new"}'),
        ("GET", "/v1/collections/pictures/images/red.png/file", b""),
    ]  # fmt: skip
    quiet = create_app(with_api(services, insecure=True))
    open_ = create_app(with_api(services, show_uris=True))
    told = 0
    for method, path, body in asked:
        given = ask(quiet, method, path, LOCAL, body)
        assert given.status in (200, 503), (path, given.body)
        for text in (given.body.decode("latin-1"), json.dumps(given.headers)):
            assert "private" not in text, path
            assert str(tmp_path) not in text, path
        told += "private" in ask(open_, method, path, LOCAL, body).body.decode("latin-1")
    assert told == 7, "with the setting they do"
    hit = ask(quiet, "POST", SEARCH, LOCAL, b'{"text": "red"}').json["results"][0]
    assert (hit["uri"], hit["key"]) == (hit["id"], None) == ("red.png", None)


def test_failures_at_the_servers_own_sources_are_kept_back_at_every_door(
    indexed: tuple[Installation, str],
) -> None:
    services, job = indexed
    quiet = create_app(with_api(services, insecure=True))
    loud = create_app(with_api(services, insecure=True, show_details=True))
    for path in (f"/v1/jobs/{job}", f"/v1/jobs/{job}/errors", f"/v1/jobs/{job}/events"):
        for app, shown in ((loud, True), (quiet, False), (loud, True)):
            given = ask(app, "GET", path, LOCAL)
            assert given.status == 200, path
            assert b"broken.png" in given.body, path
            assert (b"has the reason" not in given.body) is shown, path


def test_followers_of_one_job_are_each_shown_what_they_may_see(indexed: tuple[Installation, str]) -> None:
    services, job = indexed
    app = create_app(with_api(services, key="sesame"))
    _, guest = issue(services.catalog, "guest", "read")
    _, bound = issue(services.catalog, "bound", "admin", ["pictures"])
    for key, shown in (("sesame", True), (guest, False), ("sesame", True), (bound, False)):
        headers = [*LOCAL, ("Authorization", f"Bearer {key}")]
        given = ask(app, "GET", f"/v1/jobs/{job}/events", headers)
        assert given.status == 200
        assert (b"has the reason" not in given.body) is shown


def test_no_filter_guesses_what_is_not_shown(indexed: tuple[Installation, str]) -> None:
    services, _ = indexed
    quiet, loud = (create_app(with_api(services, show_uris=shown, insecure=True)) for shown in (False, True))
    guess = {"field": "uri", "contains": "private"}
    for wanted in (guess, {"must": [guess]}, {"must_not": [{"should": [guess]}]}):
        body = json.dumps({"text": "red", "filter": wanted}).encode()
        listing = f"/v1/collections/pictures/images?filter={json.dumps(wanted)}"
        page = f"/?filter={json.dumps(wanted)}&collection=pictures"
        for method, path, sent in (
            ("POST", SEARCH, body), ("GET", listing, b""), ("GET", page, b""), ("GET", f"{page}&q=red", b""),
        ):  # fmt: skip
            assert ask(quiet, method, path, LOCAL, sent).status == 422, path
            assert ask(loud, method, path, LOCAL, sent).status == 200, path
