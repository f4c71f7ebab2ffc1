"""Every example of the OpenAPI document does what it shows: bodies are answered with 2xx, answers fit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from fastapi.testclient import TestClient
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from sightline.api.app import create_app
from sightline.imaging import IsolatedDecoder
from sightline.wiring import open_installation
from tests.api.conftest import nowhere, settings_for
from tests.api.installation import png, upload
from tests.fetching.web import Names

KEY = "an admin's, so that a key that an example makes shuts nobody out"


class Site:
    """What the examples speak of: collections, pictures, a folder, a job, texts, things in the trash."""

    def __init__(self, client: TestClient, folder: Path) -> None:
        self.client = client
        self._folder = folder
        self.document = client.get("/openapi.json").json()

    def here(self, value: Any) -> Any:
        """An example with this machine's folder in place of the one that it names."""
        text = json.dumps(value).replace("/srv/pictures", str(self._folder))
        return json.loads(text)

    def address(self, path: str, operation: dict[str, Any]) -> str:
        """With the document's own examples of parameters, and what is there for those that have none."""
        asked = {}
        for one in operation.get("parameters", ()):
            examples = one["schema"].get("examples", ())
            if one["in"] == "path":
                value = quote(str(self._there(one["name"]) or examples[0]), safe="~")
                path = path.replace(f"{{{one['name']}}}", value)
            elif examples:
                asked[one["name"]] = examples[0]
        return f"{path}?{urlencode(asked)}" if asked else path

    def _there(self, name: str) -> str | None:
        if name == "image_id":
            return "2026/beach.jpg"
        if name == "job_id":
            return str(self.client.get("/v1/jobs").json()["items"][0]["id"])
        if name == "text":
            return str(self.client.get("/v1/collections/holidays/texts").json()["items"][0]["id"])
        if name == "collection":
            return str(self.client.get("/v1/trash").json()["items"][0]["id"])
        return None


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, api_decoder: IsolatedDecoder) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("examples")
    (folder / "2026").mkdir()
    (folder / "2026" / "a.png").write_bytes(png("green"))
    settings = settings_for(folder / "data")
    names = Names(443, {"example.org": [("93.184.215.14",)]})
    changes = {
        "api": replace(settings.api, source_roots=(str(folder),), key=KEY),
        "saved": replace(settings.saved, webhooks=True),
    }
    services = open_installation(
        settings.model_copy(update=changes), send=nowhere, decoder=api_decoder, resolve=names
    )
    headers = {"Authorization": f"Bearer {KEY}"}
    app = create_app(services.api_parts)
    with TestClient(app, headers=headers, raise_server_exceptions=False) as client:
        for name in ("old", "older", "demo", "holidays"):
            client.post("/v1/collections", json={"name": name})
        for name in ("demo", "holidays"):
            files = {"0042.webp": png("red"), "2026/beach.jpg": png("blue")}
            upload(client, files, name, **{one: {"caption": "a red car"} for one in files})
        for name in ("old", "older"):
            client.delete(f"/v1/collections/{name}")
        services.indexer.run_pending()
        assert client.post("/v1/collections/holidays/capfilt", json={"n": 0}).status_code == 202
        services.indexer.run_pending()
        client.put(
            "/v1/collections/holidays/saved-searches/red-cars", json={"text": "red", "min_probability": 0.5}
        )
        yield Site(client, folder)
    services.catalog.close()


def bodies(site: Site) -> Iterator[tuple[str, str, dict[str, Any], list[Any]]]:
    """Method, path, operation, and the examples of its JSON body."""
    schemas = site.document["components"]["schemas"]
    for path, operations in site.document["paths"].items():
        for method, operation in operations.items():
            content = operation.get("requestBody", {}).get("content", {}).get("application/json")
            if content is not None:
                schema = content["schema"]
                choices = [schema, *schema.get("anyOf", ())]
                named = [schemas[one["$ref"].rpartition("/")[2]] for one in choices if "$ref" in one]
                yield method, path, operation, [one for each in named for one in each.get("examples", ())]


def test_every_body_has_an_example_and_every_example_is_answered(site: Site) -> None:
    wrong, sent = {}, 0
    for method, path, operation, examples in bodies(site):
        assert examples, path
        for example in examples:
            answer = site.client.request(method, site.address(path, operation), json=site.here(example))
            sent += 1
            if not answer.is_success:
                wrong[f"{method} {path} {json.dumps(example):.300}"] = answer.text[:300]
    assert wrong == {}
    assert sent > 40


def test_every_address_that_is_read_is_answered_with_the_examples_of_its_parameters(site: Site) -> None:
    wrong = {}
    for path, operations in site.document["paths"].items():
        if "get" in operations and not path.endswith("/events"):  # those last as long as what they follow
            answer = site.client.get(site.address(path, operations["get"]))
            if not answer.is_success and path != "/readyz":
                wrong[path] = answer.text[:300]
    assert wrong == {}


def test_every_example_fits_its_schema(site: Site) -> None:
    registry = Registry().with_resource("urn:api", Resource(site.document, DRAFT202012))
    wrong, seen = {}, 0
    for name, schema in site.document["components"]["schemas"].items():
        check = Draft202012Validator({"$ref": f"urn:api#/components/schemas/{name}"}, registry=registry)
        for example in schema.get("examples", ()):
            seen += 1
            for error in check.iter_errors(example):
                wrong[f"{name} {error.json_path}"] = error.message[:300]
    assert wrong == {}
    assert seen > 25
