"""Numbers and texts that no database stores, in every place of a request: refused, and never a 5xx.

On SQLite and on PostgreSQL: what one refuses, the other may take for an error of ours.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from fastapi.testclient import TestClient

from sightline.api.app import create_app
from sightline.imaging import IsolatedDecoder
from tests.api.conftest import installation, settings_for
from tests.api.installation import png, problem, upload

PICTURES = "/v1/collections/pictures"
JSON = {"Content-Type": "application/json"}
DEEP = 900
VALUES = {
    "not a number": "NaN",
    "infinite": "-Infinity",
    "an infinite power": "1e999",
    "5,000 digits": "9" * 5000,
    "5,000 digits below zero": "-" + "9" * 5000,
    "400 digits": "1" + "0" * 400,
    "beyond 64 bits": str(2**70),
    "minus zero": "-0",
    "half a pair": r'"\ud800"',
    "half a pair inside": r'"a\udc00b"',
    "NUL": r'"\u0000"',
    "a mark of byte order": r'"\ufeff"',
    "nothing": '""',
    "a long text": '"' + "x" * 900_000 + '"',
    "deep lists": "[" * DEEP + "]" * DEEP,
    "deep objects": '{"a":' * DEEP + "1" + "}" * DEEP,
    "half a pair as a name": r'{"\ud800":1}',
    "NUL as a name": r'{"\u0000":1}',
    "a long name": '{"' + "x" * 100_000 + '":1}',
    "no name": '{"":1}',
    "a pointer as a name": '{"~1/~0":1}',
    "one name twice": '{"a":1,"a":{}}',
}
STORED = '{"id":"red","collection":"pictures"}'
BODIES = {
    f"POST {PICTURES}/search": (
        "%s", '{"text":%s}', '{"text":"a","limit":%s}', '{"text":"a","deadline_ms":%s}',
        '{"text":"a","min_probability":%s}', '{"text":"a","score":%s}', '{"text":"a","filter":%s}',
        '{"text":"a","filter":{"field":%s,"equals":1}}', '{"text":"a","filter":{"field":%s,"odd":1}}',
        '{"text":"a","filter":{"field":"metadata.a","equals":%s}}', '{"text":"a","filter":{"must":[%s]}}',
        '{"text":"a","filter":{"field":"metadata.a","in":[%s]}}',
        '{"text":"a","filter":{"field":"metadata.a","range":{"gte":%s}}}',
        '{"text":"a","filter":{"field":"id","contains":%s}}',
        '{"text":"a","filter":{"field":"width","equals":%s}}',
        '{"text":"a","filter":{"field":"created_at","range":{"lt":%s}}}',
        '{"text":"a","min_probability":0.5,"sort":%s}', '{"text":"a","min_probability":0.5,"cursor":%s}',
        '{"query":%s}', '{"query":{"all":%s}}',
        '{"query":{"all":[%s]}}', '{"query":{"all":["a"],"none":[{"text":%s}]}}',
        '{"query":{"any":[{"text":"a","weight":%s}]}}',
    ),
    f"POST {PICTURES}/search?stream=0": (
        '{"image":%s}', '{"image":{"id":%s}}', '{"image":{"id":"red","collection":%s}}',
        '{"text":%s,"image":{"id":"red"}}',
    ),
    "POST /v1/rerank": (
        '{"query":%s,"documents":[' + STORED + "]}", '{"query":"a","documents":%s}',
        '{"query":"a","documents":[%s]}', '{"query":"a","documents":[{"image":%s}]}',
        '{"query":"a","documents":[{"id":%s,"collection":"pictures"}]}',
        '{"query":"a","documents":[{"id":"red","collection":%s}]}',
        '{"query":"a","documents":{"content":%s}}',
        '{"query":"a","documents":{"content":[{"type":"image_url","image_url":{"url":%s}}]}}',
        '{"query":"a","documents":[' + STORED + '],"top_n":%s}',
        '{"query":"a","input":%s}', '{"query":"a","documents":[{"text":%s}]}',
        '{"query":"a","documents":[{"type":"image","value":%s}]}',
        '{"query":"a","documents":[' + STORED + '],"rank_fields":%s}',
        '{"query":"a","documents":[' + STORED + '],"task_settings":%s}',
    ),
    "POST /score": (
        '{"queries":%s,"documents":[' + STORED + "]}", '{"queries":[%s],"documents":[' + STORED + "]}",
        '{"queries":"a","documents":%s}', '{"text_1":"a","text_2":[%s]}',
        '{"queries":{"content":%s},"documents":[' + STORED + "]}", '{"data_1":{"text":%s},"data_2":"a"}',
    ),
    f"POST {PICTURES}/ask": (
        "%s", '{"question":%s,"text":"a"}', '{"question":"a","image_ids":%s}',
        '{"question":"a","image_ids":[%s]}',
        '{"question":"a","text":%s}', '{"question":"a","text":"a","limit":%s}',
        '{"question":"a","text":"a","wording":%s}', '{"question":"a","text":"a","task":%s}',
        '{"question":"a","text":"a","task":"multiple_choice","options":[%s,"b"]}',
        '{"question":"a","text":"a","filter":{"field":%s,"equals":1}}',
        '{"question":"a","text":"a","deadline_ms":%s}', '{"question":"a","text":"a","model":%s}',
    ),
    "POST /v1/captions": (
        '{"documents":%s}', '{"documents":[%s]}', '{"documents":[{"image":%s}]}',
        '{"documents":[{"image":"data:,"}],"n":%s}', '{"documents":[{"image":"data:,"}],"prompt":%s}',
        '{"documents":[{"image":"data:,"}],"seed":%s}', '{"documents":[{"image":"data:,"}],"model":%s}',
    ),
    "POST /v1/collections": ("%s", '{"name":%s}', '{"name":"b","revision":%s,"model":"demo","odd":0}'),
    f"POST {PICTURES}/jobs": (
        '{"sources":%s}', '{"sources":[%s]}', '{"sources":["/x"],"prune_limit":%s}',
        '{"sources":["/x"],"id_prefix":%s}', '{"sources":["/x"],"moved_from":%s}',
    ),
    f"POST {PICTURES}/trash/restore": ('{"ids":%s}', '{"ids":[%s]}', '{"all":%s}'),
    f"POST {PICTURES}/captions": (
        '{"ids":["none"],"model":%s}', '{"ids":["none"],"n":%s}', '{"ids":["none"],"prompt":%s}',
        '{"ids":["none"],"sampling":%s}', '{"filter":{"field":"id","equals":%s}}',
    ),
    f"POST {PICTURES}/capfilt": (
        '{"ids":["none"],"captioner":%s}', '{"ids":["none"],"keep_above":%s}', '{"ids":[%s]}',
        '{"ids":["none"],"text_fields":[%s]}',
    ),
    f"PUT {PICTURES}/texts/1/verdict": ("%s", '{"verdict":%s}'),
    "POST /v1/trash/old/restore": ("%s", '{"as":%s}'),
    f"PATCH {PICTURES}/images/red": (
        '{"caption":%s}', '{"metadata":%s}', '{"metadata":{"a":%s}}', '{"metadata":{"a":[{"b":%s}]}}',
    ),
}  # fmt: skip
ITEMS = ("%s", "[%s]", '[{"id":%s}]', '[{"caption":%s}]', '[{"metadata":%s}]', '[{"metadata":{"a":%s}}]')
IN_ADDRESSES = (
    "%00", "%ED%A0%80", "%FF", "9" * 5000, "1e999", "NaN", "x" * 20_000, "%F0%9F%98%80", "-1", "9" * 18,
    "9" * 19, "%0D%0AX-Odd:%201", '{"field":"a","equals":' + "9" * 5000 + "}", "[" * 20_000,
    '{"field":' + "[" * DEEP + "]" * DEEP + ',"b":1}', r'{"field":"a","equals":"%5Cud800"}',
    r'{"%5Cud800":1}',
)  # fmt: skip
ADDRESSES = (
    "GET /v1/jobs?collection=%s", "GET /v1/jobs?limit=%s", f"GET {PICTURES}/images?cursor=%s",
    f"GET {PICTURES}/images?limit=%s", f"GET {PICTURES}/images?filter=%s", f"GET {PICTURES}/trash?cursor=%s",
    f"GET {PICTURES}/images/red/file?v=%s", "GET /?q=%s", "GET /?q=a&filter=%s", "GET /?filter=%s",
    "GET /?collection=%s", "GET /?cursor=%s", "GET /v1/collections/%s", "GET /v1/collections/%s/images",
    "GET /v1/collections/%s/trash", f"GET {PICTURES}/images/%s", f"GET {PICTURES}/images/%s/thumbnail",
    "GET /v1/jobs/%s", "GET /v1/jobs/%s/events", "GET /%s", "GET /static/%s", "DELETE /v1/collections/%s",
    "DELETE /v1/collections/%s?purge=true", f"DELETE {PICTURES}/images/%s", "DELETE /v1/trash/%s",
    f"DELETE {PICTURES}/images/%s?purge=true", f"DELETE {PICTURES}/trash?id=%s",
    "DELETE /v1/trash/%s?purge=true",
    f"DELETE {PICTURES}/trash?id=%s&purge=true", "POST /v1/jobs/%s/cancel", "POST /v1/jobs/%s/retry",
)  # fmt: skip
LONGEST_ANSWER = 30_000
"""Bytes of an error, however long what it is about."""


@pytest.fixture(scope="module")
def asked(
    module_catalog_url: str, tmp_path_factory: pytest.TempPathFactory, api_decoder: IsolatedDecoder
) -> Iterator[TestClient]:
    """A collection with one picture, and one in the trash."""
    settings = settings_for(tmp_path_factory.mktemp("odd") / "data")
    api = replace(settings.api, source_roots=("/nowhere",))
    services = installation(
        settings.model_copy(update={"catalog": module_catalog_url, "api": api}), api_decoder
    )
    client = TestClient(create_app(services.api_parts), raise_server_exceptions=False)
    for name in ("pictures", "old"):
        client.post("/v1/collections", json={"name": name})
    client.delete("/v1/collections/old")
    upload(client, {"red": png("red")})
    services.indexer.run_pending()
    with client:
        yield client
    services.catalog.close()


def check(answer: Any, asked_for: str) -> None:
    """No server error, and an error is a short problem document (or the page)."""
    assert answer.status_code < 500, (asked_for[:200], answer.text[:500])
    if answer.status_code >= 400:
        assert len(answer.content) < LONGEST_ANSWER, asked_for[:200]
        if "html" not in answer.headers["content-type"]:
            problem(answer, answer.status_code)


def some(values: Any, count: int | None, place: str) -> list[Any]:
    """All of them, or as many as that; other ones at every place, the same ones every time."""
    return list(values) if count is None else random.Random(place).sample(list(values), count)


def put_everywhere(client: TestClient, count: int | None) -> int:
    """So many odd values (None: all) in every place; how many requests that made."""
    number = 0
    for place, templates in BODIES.items():
        method, path = place.split(" ")
        for template in templates:
            for name in some(VALUES, count, template):
                body = (template % VALUES[name]).encode()
                check(client.request(method, path, content=body, headers=JSON), f"{place} {template} {name}")
                number += 1
    for template in ITEMS:
        for name in some(VALUES, count, template):
            form = {"files": [("files", ("a", b"x"))], "data": {"items": template % VALUES[name]}}
            check(client.post(f"{PICTURES}/images", **form), f"items {template} {name}")
            number += 1
    for place in ADDRESSES:
        method, path = place.split(" ")
        for value in some(IN_ADDRESSES, count, place):
            check(client.request(method, path % value), f"{place} {value}")
            number += 1
    return number


def test_no_odd_value_in_any_place_makes_a_server_error(asked: TestClient) -> None:
    assert put_everywhere(asked, 2) > 150


@pytest.mark.long
def test_no_odd_value_at_all_makes_a_server_error(asked: TestClient) -> None:
    assert put_everywhere(asked, None) > 1500


@pytest.mark.parametrize("value", ["9" * 5000, "NaN", "1e999", str(2**70), r'"\ud800"', r'"\u0000"'])
def test_metadata_that_no_database_stores_is_refused_by_every_door(asked: TestClient, value: str) -> None:
    items = f'[{{"metadata": {{"a": {value}}}}}]'
    said = problem(
        asked.post(f"{PICTURES}/images", files=[("files", ("a", b"x"))], data={"items": items}), 422
    )
    assert said["errors"][0]["pointer"].startswith("#/items")
    body = f'{{"metadata": {{"a": {value}}}}}'
    answer = asked.patch(f"{PICTURES}/images/red", content=body, headers=JSON)
    assert answer.status_code in (400, 422)
    problem(answer, answer.status_code)
    assert asked.get(f"{PICTURES}/images/red").json()["metadata"].get("a") != value
