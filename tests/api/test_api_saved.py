"""Saved searches over HTTP: what is saved, who fits, and events that are taken up where they were left."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Iterator

import httpx
from fastapi.testclient import TestClient

from sightline.api.followers import while_admitted
from sightline.api.server import running
from sightline.fetching.posting import Poster
from sightline.fetching.settings import FetchSettings
from sightline.indexer.uploads import Upload
from sightline.store.issuing import issue
from sightline.store.saved_records import NewSavedSearch
from sightline.upkeep.webhooks import Webhooks
from sightline.wiring import Installation
from tests.api.installation import SHADES, png, problem, upload

BOUND = 60
SAVED = "/v1/collections/pictures/saved-searches"
RED = {"name": "reds", "text": "red", "min_probability": 0.9}


def found_by_search(client: TestClient, text: str, least: float) -> dict[str, float]:
    body = {"text": text, "min_probability": least, "limit": 100, "precision": "exact", "effort": "full"}
    hits = client.post("/v1/collections/pictures/search", json=body).json()["results"]
    return {hit["id"]: hit["match_probability"] for hit in hits}


def test_the_life_of_a_saved_search(filled: TestClient, services: Installation) -> None:
    made = filled.post(SAVED, json=RED)
    assert made.status_code == 201
    told = made.json()
    assert (told["pending"], told["members"], told["webhook"], told["webhook_secret"]) == (
        len(SHADES), 0, None, None,
    )  # fmt: skip
    services.saved_watch.step()
    assert [one["name"] for one in filled.get(SAVED).json()["items"]] == ["reds"]
    members, cursor = {}, None
    for _ in SHADES:
        given = {"limit": 1} | ({} if cursor is None else {"cursor": cursor})
        page = filled.get(f"{SAVED}/reds/members", params=given)
        members |= {one["image_id"]: one["match_probability"] for one in page.json()["items"]}
        cursor = page.json()["next_cursor"]
        if cursor is None:
            break
    assert members == found_by_search(filled, "red", 0.9)
    assert members
    state = filled.get(f"{SAVED}/reds").json()
    assert (state["pending"], state["members"], state["trouble"]) == (0, len(members), None)
    changed = filled.put(f"{SAVED}/reds", json={"text": "blue", "min_probability": 0.9}).json()
    assert (changed["pending"], changed["members"]) == (len(SHADES), 0)
    assert filled.delete(f"{SAVED}/reds").status_code == 204
    problem(filled.get(f"{SAVED}/reds"), 404)


def test_what_cannot_be_saved_is_said(filled: TestClient) -> None:
    assert filled.post(SAVED, json=RED).status_code == 201
    assert "already" in problem(filled.post(SAVED, json=RED), 409)["detail"]
    for change in ({"text": " "}, {"min_probability": 2}, {"name": "a/b"}, {"colour": "red"}):
        problem(filled.post(SAVED, json=RED | change), 422)
    hook = RED | {"name": "hook", "webhook": "https://example.org/hook"}
    assert "SIGHTLINE_SAVED__WEBHOOKS" in problem(filled.post(SAVED, json=hook), 422)["detail"]
    problem(filled.get(f"{SAVED}/reds/members?cursor=x"), 422)
    problem(filled.get(f"{SAVED}/reds/events", headers={"Last-Event-ID": "x"}), 422)


def test_the_address_of_a_webhook_is_not_told_beyond_its_host(
    filled: TestClient, services: Installation
) -> None:
    """Whoever may read would else be able to post there: many services know callers by the path alone."""
    secret = "T0/B1/sEcReT"
    collection = services.catalog.collection("pictures").id
    saved = NewSavedSearch(
        "reds", {"text": "red"}, 0.0, f"https://hook.test/services/{secret}?k={secret}", "s"
    )
    services.catalog.create_saved(collection, saved, 20)
    services.saved_watch.step()
    poster = Poster(FetchSettings(), 5.0, resolve=lambda host, port: ["127.0.0.1"])
    assert Webhooks(services.catalog, poster, services.settings.saved).step()
    for path in (SAVED, f"{SAVED}/reds"):
        told = filled.get(path).text
        assert secret not in told
        assert "services" not in told
        assert "cannot be reached" in told
    assert filled.get(f"{SAVED}/reds").json()["webhook"]["url"] == "https://hook.test/…"


def events(lines: Iterator[str], count: int) -> list[tuple[str, str]]:
    """(id, image id) of the next events."""
    told: list[tuple[str, str]] = []
    number = ""
    for line in lines:
        name, _, value = line.partition(": ")
        if name == "id":
            number = value
        if name == "data":
            told.append((number, json.loads(value)["image_id"]))
            if len(told) == count:
                break
    return told


def test_events_are_taken_up_where_they_were_left(filled: TestClient, services: Installation) -> None:
    filled.post(SAVED, json=RED | {"min_probability": 0.0})
    services.saved_watch.step()
    joined = services.saved_searches.members("pictures", "reds", limit=100).items
    expected = [(str(one.id), one.image_id) for one in joined]
    with running(filled.app) as url:  # type: ignore[arg-type]
        address = f"{url}{SAVED}/reds/events"
        with httpx.stream("GET", f"{address}?after=0", timeout=BOUND) as stream:
            assert events(stream.iter_lines(), 2) == expected[:2]
        left = {"Last-Event-ID": expected[1][0]}
        with httpx.stream("GET", f"{address}?after=0", headers=left, timeout=BOUND) as stream:
            lines = stream.iter_lines()
            assert events(lines, len(expected) - 2) == expected[2:]
            upload(filled, {"new": png("red")})
            services.indexer.run_pending()
            services.saved_watch.step()
            [(number, image_id)] = events(lines, 1)
            assert image_id == "new"
            filled.delete(f"{SAVED}/reds")
            assert events(lines, 1) == [], "it ends with what it follows"
        assert int(number) > int(expected[-1][0])


def test_who_follows_is_told_nothing_more_once_its_key_is_revoked(
    filled: TestClient, services: Installation
) -> None:
    """Such a stream has no end of its own, as that of a job has."""
    filled.post(SAVED, json=RED | {"min_probability": 0.0})
    services.saved_watch.step()
    issue(services.catalog, "admin", "admin")
    _, key = issue(services.catalog, "reader", "read", ["pictures"])
    with running(filled.app) as url:  # type: ignore[arg-type]
        headers = {"Authorization": f"Bearer {key}"}
        address = f"{url}{SAVED}/reds/events?after=0"
        with httpx.stream("GET", address, headers=headers, timeout=BOUND) as stream:
            lines = stream.iter_lines()
            assert len(events(lines, len(SHADES))) == len(SHADES)
            services.catalog.revoke_key("reader")
            filled.app.state.gatekeeper.keyring.forget()  # type: ignore[attr-defined]  # else within a second
            services.indexer.add("pictures", [Upload(png("blue", "red"), "new")])
            services.indexer.run_pending()
            services.saved_watch.step()
            assert events(lines, 1) == []


def test_who_waits_for_events_is_asked_for_its_key_all_the_same() -> None:
    closed = []

    async def silence() -> AsyncGenerator[str]:
        try:
            yield "first"
            await asyncio.sleep(60)
        finally:
            closed.append(True)

    async def scenario() -> list[str]:
        answers = iter([True, True, True, False])

        async def admitted() -> bool:
            return next(answers)

        return [one async for one in while_admitted(silence(), admitted, 0.01)]

    assert asyncio.run(asyncio.wait_for(scenario(), BOUND)) == ["first"]
    assert closed == [True]
