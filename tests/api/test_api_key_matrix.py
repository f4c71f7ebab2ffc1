"""Every route × every kind of key × its collection, another and all: what is answered is written down here.

A route without a row fails, and so does an application with a route that does not say what it needs.
"""

from __future__ import annotations

import shutil
import time
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import pytest
from fastapi.testclient import TestClient

from sightline.api.access import routes_of
from sightline.api.app import create_app
from sightline.imaging import IsolatedDecoder
from sightline.store.issuing import issue
from sightline.wiring import Installation
from tests.api.conftest import installation, settings_for
from tests.api.installation import png

Kind = Literal["open", "any", "in", "all"]
IMAGE = "/v1/collections/{name}/images/{image_id}"
SAVED = "/v1/collections/{name}/saved-searches"
JSON = {"text": "red"}
ASKED = {"question": "how many red?", "image_ids": ["red"]}
GIVEN = {"documents": [{"image": f"data:image/png;base64,{b64encode(png('red')).decode()}"}]}
STORED = {"query": "red", "documents": [{"collection": "pictures", "id": "red"}]}
PAIRS = {"queries": "red", "documents": STORED["documents"]}
RERANK = ("/rerank", "/v1/rerank", "/v2/rerank")
SCORE = ("/score", "/v1/score")


@dataclass(frozen=True)
class Row:
    """``kind``: ``open`` for everybody; ``any`` key; a key that is for the collection it is ``in``; one for
    ``all``. ``answer``: to whoever may. ``url``: of the collection ``pictures``."""

    method: str
    path: str
    needed: str
    kind: Kind
    answer: int
    url: str = ""
    send: dict[str, Any] = field(default_factory=dict)


ROWS = (
    Row("GET", "/livez", "", "open", 200),
    Row("GET", "/readyz", "", "open", 200),
    Row("GET", "/v1/local", "", "open", 422),
    Row("GET", "/favicon.ico", "", "open", 308),
    Row("GET", "/static", "", "open", 200, "/static/sightline.css"),
    Row("POST", "/session", "", "open", 401, send={"data": {"key": "wrong"}}),
    Row("POST", "/session/end", "", "open", 303),
    Row("GET", "/", "read", "any", 200),
    Row("POST", "/like", "read", "any", 200, send={"files": [("image", ("red", png("red")))]}),
    Row("GET", "/openapi.json", "read", "any", 200),
    Row("GET", "/metrics", "admin", "all", 200),
    Row("GET", "/v1/keys", "admin", "all", 200),
    Row("POST", "/v1/keys", "admin", "all", 409, send={"json": {"name": "admin-all"}}),
    Row("DELETE", "/v1/keys/{key}", "admin", "all", 404, "/v1/keys/nobody"),
    Row("GET", "/v1/collections", "read", "any", 200),
    Row("POST", "/v1/collections", "write", "all", 200, send={"json": {"name": "pictures"}}),
    Row("POST", "/collection", "write", "all", 303, send={"data": {"name": "pictures"}}),
    Row("GET", "/v1/collections/{name}", "read", "in", 200),
    Row("PATCH", "/v1/collections/{name}", "write", "in", 200, send={"json": {"index": "exact"}}),
    Row("DELETE", "/v1/collections/{name}", "write", "in", 204),
    Row("POST", "/v1/collections/{name}/search", "read", "in", 200, send={"json": JSON}),
    Row("POST", "/v1/collections/{name}/search/batch", "read", "in", 200,
        send={"json": {"searches": [JSON]}}),
    Row("POST", "/v1/collections/{name}/search/image", "read", "in", 200,
        send={"files": [("image", ("red", png("red")))]}),
    Row("GET", "/v1/collections/{name}/images", "read", "in", 200),
    Row("GET", "/v1/collections/{name}/duplicates", "read", "in", 200),
    Row("POST", "/v1/collections/{name}/images", "write", "in", 202,
        send={"files": [("files", ("red", png("red")))], "data": {"items": '[{"id": "red"}]'}}),
    Row("GET", IMAGE, "read", "in", 200),
    Row("PATCH", IMAGE, "write", "in", 200, send={"json": {"metadata": {}}}),
    Row("DELETE", IMAGE, "write", "in", 404, "/v1/collections/pictures/images/nothing"),
    Row("GET", f"{IMAGE}/file", "read", "in", 200),
    Row("GET", f"{IMAGE}/thumbnail", "read", "in", 200),
    Row("GET", f"{IMAGE}/explanation", "read", "in", 200, f"{IMAGE}/explanation?text=red"),
    Row("POST", "/v1/collections/{name}/jobs", "write", "in", 422, send={"json": {"sources": []}}),
    Row("GET", "/v1/jobs", "read", "any", 200),
    Row("GET", "/v1/jobs/{job_id}", "read", "in", 200),
    Row("GET", "/v1/jobs/{job_id}/errors", "read", "in", 200),
    Row("GET", "/v1/jobs/{job_id}/events", "read", "in", 200),
    Row("POST", "/v1/jobs/{job_id}/cancel", "write", "in", 200),
    Row("POST", "/v1/jobs/{job_id}/retry", "write", "in", 202),
    *(Row("POST", path, "read", "in", 200, send={"json": STORED}) for path in RERANK),
    *(Row("POST", path, "read", "in", 200, send={"json": PAIRS}) for path in SCORE),
    Row("GET", "/v1/models", "read", "any", 200),
    Row("POST", "/v1/collections/{name}/ask", "read", "in", 200, send={"json": ASKED}),
    Row("POST", "/v1/captions", "read", "any", 200, send={"json": GIVEN}),
    Row("GET", "/v1/trash", "read", "any", 200),
    Row("POST", "/v1/trash/{collection}/restore", "write", "in", 409),
    Row("DELETE", "/v1/trash/{collection}", "admin", "in", 204),
    Row("GET", "/v1/collections/{name}/trash", "read", "in", 200),
    Row("POST", "/v1/collections/{name}/trash/restore", "write", "in", 200, send={"json": {"ids": ["no"]}}),
    Row("DELETE", "/v1/collections/{name}/trash", "admin", "in", 200, "/v1/collections/pictures/trash?id=no"),
    Row("GET", SAVED, "read", "in", 200),
    Row("POST", SAVED, "write", "in", 422, send={"json": {"name": "red", "text": "red"}}),
    Row("GET", f"{SAVED}/{{search}}", "read", "in", 200, f"{SAVED}/red"),
    Row("PUT", f"{SAVED}/{{search}}", "write", "in", 200, f"{SAVED}/red",
        send={"json": {"text": "red", "min_probability": 0.5}}),
    Row("DELETE", f"{SAVED}/{{search}}", "write", "in", 404, f"{SAVED}/nothing"),
    Row("GET", f"{SAVED}/{{search}}/members", "read", "in", 200, f"{SAVED}/red/members"),
    Row("GET", f"{SAVED}/{{search}}/events", "read", "in", 404, f"{SAVED}/nothing/events"),
    Row("POST", "/v1/collections/{name}/captions", "write", "in", 202, send={"json": {"ids": ["none"]}}),
    Row("POST", "/v1/collections/{name}/capfilt", "write", "in", 202, send={"json": {"ids": ["none"]}}),
    Row("GET", "/v1/collections/{name}/capfilt", "read", "in", 200),
    Row("GET", "/v1/collections/{name}/capfilt/histogram.png", "read", "in", 200),
    Row("GET", "/v1/collections/{name}/texts", "read", "in", 200),
    Row("GET", "/v1/collections/{name}/texts/export", "read", "in", 200),
    Row("PUT", "/v1/collections/{name}/texts/{text}/verdict", "write", "in", 404,
        "/v1/collections/pictures/texts/0/verdict", send={"json": {"verdict": "kept"}}),
    Row("DELETE", "/v1/collections/{name}/texts/{text}/verdict", "write", "in", 404,
        "/v1/collections/pictures/texts/0/verdict"),
    Row("GET", "/texts", "read", "in", 200, "/texts?collection=pictures"),
    Row("POST", "/texts/verdict", "write", "any", 422),
)  # fmt: skip
PURGES = (
    "/v1/collections/pictures?purge=true",
    "/v1/collections/pictures/images/nothing?purge=1",
    "/v1/collections/pictures/images/nothing?purge=false&purge=yes",
)
"""What a deletion that leaves no trace needs is more than its route says."""
SCOPES = ("read", "write", "admin")
BINDINGS = {"its": ["pictures"], "another": ["other"], "all": None}
STRANGERS = ("nothing", "wrong", "expired", "revoked", "half", "basic")


@dataclass(frozen=True)
class Site:
    client: TestClient
    services: Installation
    keys: dict[str, str]
    job: str

    def ask(self, row: Row, who: str) -> Any:
        path = row.url or row.path
        parts = {"name": "pictures", "image_id": "red", "collection": "pictures", "job_id": self.job}
        url = path.format(**parts) if "{" in path else path
        answer = self.client.request(
            row.method, url, headers=self.headers(who), follow_redirects=False, **row.send
        )
        if (row.method, row.path, answer.status_code) == ("DELETE", "/v1/collections/{name}", 204):
            self.services.catalog.restore_collection("pictures")
        return answer

    def headers(self, who: str) -> dict[str, str]:
        if who == "basic":
            return {"Authorization": "Basic c2xfeDp5"}
        return {} if who == "nothing" else {"Authorization": f"Bearer {self.keys[who]}"}


@pytest.fixture(scope="module")
def site(
    filled_folder: Path, api_decoder: IsolatedDecoder, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("matrix") / "data"
    shutil.copytree(filled_folder, folder)
    settings = settings_for(folder)
    settings = settings.model_copy(update={"api": replace(settings.api, key_attempts="100000/minute")})
    services = installation(settings, api_decoder)
    with TestClient(create_app(services.api_parts), raise_server_exceptions=False) as client:
        [job] = [one["id"] for one in client.get("/v1/jobs").json()["items"]]
        fill_trash(services)
        keys = make_keys(services)
        client.app.state.gatekeeper.keyring.forget()  # type: ignore[attr-defined]
        yield Site(client, services, keys, job)
    services.catalog.close()


def fill_trash(services: Installation) -> None:
    """Deleted collections, as many as are given up, that were called as the one that lives."""
    services.catalog.delete_collection("pictures")
    for _ in range(4):
        services.collections.create("pictures")
        services.catalog.delete_collection("pictures")
    first = services.catalog.trashed_collections()[-1]
    assert services.catalog.restore_collection(first.id).name == "pictures"
    services.saved_searches.save("pictures", "red", {"text": "red"}, 0.5)
    services.collections.create("other")


def make_keys(services: Installation) -> dict[str, str]:
    catalog = services.catalog
    keys = {"wrong": f"sl_{'a' * 10}_{'A' * 43}"}
    for scope in SCOPES:
        for binding, collections in BINDINGS.items():
            name = f"{scope}-{binding}"
            _, keys[name] = issue(catalog, name, scope, collections)  # type: ignore[arg-type]
    _, keys["expired"] = issue(catalog, "expired", "admin", seconds=0.001)
    _, keys["revoked"] = issue(catalog, "revoked", "admin")
    catalog.revoke_key("revoked")
    keys["half"] = keys["admin-all"][:-1]
    time.sleep(0.002)
    return keys


def expected(row: Row, who: str) -> int:
    if row.kind == "open":
        return row.answer
    if who in STRANGERS:
        return 401
    scope, binding = who.split("-")
    if SCOPES.index(scope) < SCOPES.index(row.needed):
        return 403
    if row.kind == "all" and binding != "all":
        return 403
    if row.kind == "in" and binding == "another":
        return 404
    return row.answer


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.method} {row.path}")
def test_every_key_gets_the_answer_that_is_written_down(site: Site, row: Row) -> None:
    wrong = {}
    for who in (*STRANGERS, *(f"{scope}-{binding}" for scope in SCOPES for binding in BINDINGS)):
        answer = site.ask(row, who)
        if answer.status_code != expected(row, who) and (row.path, answer.status_code) != ("/readyz", 503):
            wrong[who] = (answer.status_code, answer.text[:200])
    assert wrong == {}


def test_every_route_has_a_row(site: Site) -> None:
    found = set()
    for route in routes_of(site.client.app.routes):  # type: ignore[attr-defined]
        methods = getattr(route, "methods", None) or {"GET"}
        found |= {(method, route.path) for method in methods - {"HEAD"}}  # type: ignore[attr-defined]
    assert found == {(row.method, row.path) for row in ROWS}


@pytest.mark.parametrize("url", PURGES)
def test_what_leaves_no_trace_needs_an_admin(site: Site, url: str) -> None:
    for who in ("write-its", "write-all"):
        answer = site.client.delete(url, headers=site.headers(who))
        assert (answer.status_code, "'admin'" in answer.json()["detail"]) == (403, True)
    assert site.client.get("/v1/collections/pictures", headers=site.headers("read-its")).status_code == 200


def test_what_a_key_is_not_for_looks_like_what_does_not_exist(site: Site) -> None:
    """The answers for ``pictures``, which is there, and ``nowhere``, which is not, but for the name."""
    for row in ROWS:
        if row.kind != "in" or "job_id" in row.path or row.path == "/texts":  # that is a page, for people
            continue
        answers = []
        for name in ("pictures", "nowhere"):
            asked = (row.url or row.path).replace("{name}", name).replace("{collection}", name)
            asked = asked.replace("pictures", name).replace("{image_id}", "red")
            send = row.send
            if row.path in (*RERANK, *SCORE):
                send = {"json": send["json"] | {"documents": [{"collection": name, "id": "red"}]}}
            answer = site.client.request(row.method, asked, headers=site.headers("admin-another"), **send)
            body = answer.json()
            del body["request_id"]
            answers.append((answer.status_code, str(body).replace(name, "NAME")))
        assert answers[0] == answers[1], row.path
        assert answers[0][0] == 404
    for aspect, method in (("", "GET"), ("/events", "GET"), ("/cancel", "POST"), ("/retry", "POST")):
        told = []
        for job in (site.job, "0" * 36):
            answer = site.client.request(
                method, f"/v1/jobs/{job}{aspect}", headers=site.headers("write-another")
            )
            told.append((answer.status_code, answer.json()["detail"].replace(job, "JOB")))
        assert told[0] == told[1] == (404, "There is no job 'JOB'.")


def test_lists_and_the_page_show_what_a_key_is_for(site: Site) -> None:
    seen = {}
    for binding in BINDINGS:
        client, headers = site.client, site.headers(f"read-{binding}")
        trash = client.get("/v1/trash", headers=headers).json()
        page = client.get("/", headers=headers).text
        seen[binding] = (
            [one["name"] for one in client.get("/v1/collections", headers=headers).json()["items"]],
            {one["collection"] for one in client.get("/v1/jobs", headers=headers).json()["items"]},
            {one["name"] for one in trash["items"]},
            [name for name in ("pictures", "other") if f'<option value="{name}"' in page],
        )
    assert seen == {
        "its": (["pictures"], {"pictures"}, {"pictures"}, ["pictures"]),
        "another": (["other"], set(), set(), ["other"]),
        "all": (["other", "pictures"], {"pictures"}, {"pictures"}, ["pictures", "other"]),
    }
    hidden = site.client.get("/?collection=pictures", headers=site.headers("read-another"))
    assert (hidden.status_code, "red" in hidden.text) == (404, False)
    query = site.client.get("/v1/jobs?collection=pictures", headers=site.headers("read-another"))
    assert query.status_code == 404


def test_the_page_offers_what_a_key_may(site: Site) -> None:
    for who, may in (("read-all", False), ("write-its", True), ("admin-all", True)):
        text = site.client.get("/", headers=site.headers(who)).text
        assert ('id="add"' in text, "Add to" in text, 'id="files"' in text) == (may, may, may)
        assert "Find pictures like it" in text, "whoever may read may ask with a picture"


def test_a_key_brings_nothing_back_under_a_name_that_it_is_not_for(site: Site) -> None:
    for name, status in (("other2", 403), ("pictures", 409)):
        answer = site.client.post(
            "/v1/trash/pictures/restore", json={"as": name}, headers=site.headers("write-its")
        )
        assert answer.status_code == status


def test_openapi_names_the_scope_of_every_operation(site: Site) -> None:
    paths = site.client.get("/openapi.json", headers=site.headers("read-all")).json()["paths"]
    shown = {
        (method.upper(), path): {
            scope for way in operation["security"] for found in way.values() for scope in found
        }
        for path, operations in paths.items()
        for method, operation in operations.items()
    }
    for (method, path), scopes in shown.items():
        [row] = [row for row in ROWS if (row.method, row.path) == (method, path)]
        assert scopes == ({row.needed} if row.needed else set()), path
    assert len(shown) > 25
