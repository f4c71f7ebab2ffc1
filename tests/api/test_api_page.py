"""The page as the server renders it, without a script: every state is there, and nothing in it is trusted."""

from __future__ import annotations

import asyncio
import html
import json
import re
import threading
from functools import partial
from html.parser import HTMLParser
from urllib.parse import quote

import httpx
import pytest
from fastapi.testclient import TestClient

from sightline.wiring import Installation
from tests.api.installation import SHADES, MakeClient, png, upload
from tests.api.test_api_ask import events


class Tiles(HTMLParser):
    """Reads the tiles of a page: id, hidden or not, in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[dict[str, object], bool]] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.append((tag, values))
        if tag == "li" and values.get("class") == "tile":
            self.found.append((json.loads(values["data-hit"] or ""), "hidden" in values))

    def shown(self) -> list[object]:
        """Ids that a reader sees."""
        return [hit["id"] for hit, hidden in self.found if not hidden]


def state(text: str) -> str:
    """Which of the intended states this page is in."""
    found = re.search(r'data-state="(\w+)"', text)
    assert found
    return found[1]


def test_pages_without_a_query_and_the_model_keep_each_other_from_nothing(client: TestClient) -> None:
    """With all threads of the one held, the other is served."""
    app = client.app
    client.post("/v1/collections", json={"name": "pictures"})

    async def scenario() -> None:
        there = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost")  # type: ignore[arg-type]
        for path, name in (("/", "threads"), ("/?q=red", "page_threads")):
            held, release = getattr(app.state, name), threading.Event()  # type: ignore[attr-defined]
            given = () if path == "/?q=red" else (asyncio.Event().wait,)
            work = [asyncio.create_task(held.run(*given, partial(release.wait, 20))) for _ in range(200)]
            await asyncio.sleep(0)
            try:
                answer = await asyncio.wait_for(there.get(path), 15)
                assert answer.status_code == 200
            finally:
                release.set()
                await asyncio.gather(*work)

    asyncio.run(scenario())


def test_an_empty_installation_invites(client: TestClient) -> None:
    answer = client.get("/")
    assert (answer.status_code, state(answer.text)) == (200, "void")
    client.post("/v1/collections", json={"name": "pictures"})
    assert state(client.get("/").text) == "bare"


def test_without_a_query_the_collection_is_shown(library: TestClient) -> None:
    answer = library.get("/")
    assert state(answer.text) == "home"
    assert sorted(map(str, Tiles(answer.text).shown())) == sorted(SHADES)


def test_a_query_shows_the_order_of_itm(library: TestClient) -> None:
    hits = library.post("/v1/collections/pictures/search", json={"text": "red blue", "limit": 6}).json()[
        "results"
    ]
    answer = library.get("/?q=red+blue&collection=pictures")
    assert state(answer.text) == "results"
    assert Tiles(answer.text).shown() == [hit["id"] for hit in hits]
    assert "<title>red blue · Sightline</title>" in answer.text
    assert 'value="red blue"' in answer.text


def test_the_other_order_waits_in_the_same_page(library: TestClient) -> None:
    body = {"text": "red blue", "limit": 6}
    hits = library.post("/v1/collections/pictures/search", json=body).json()["results"]
    by_itc = sorted(hits, key=lambda hit: hit["itc_rank"])
    itm, itc = (Tiles(library.get(f"/?q=red+blue&k=2&order={order}").text) for order in ("itm", "itc"))
    assert itm.shown() == [hit["id"] for hit in hits[:2]]
    assert itc.shown() == [hit["id"] for hit in by_itc[:2]]
    assert {hit["id"] for hit, _ in itm.found} == {hit["id"] for hit, _ in itc.found}
    assert {hit["id"] for hit, _ in itm.found} == {hit["id"] for hit in hits[:2] + by_itc[:2]}


def without_times(text: str) -> str:
    return re.sub(r"<span>[0-9.]+ m?s</span>", "", text)


def test_a_script_gets_the_order_of_itc_first_and_at_last_what_the_page_is_without_events(
    library: TestClient,
) -> None:
    address = "/?q=red+blue&k=4&effort=full"
    told = events(library.get(address, headers={"X-Sightline-Part": "events"}))
    whole = library.get(address, headers={"X-Sightline-Part": "results"}).text
    assert {name for name, _ in told[1:-1]} <= {"order"}
    assert (told[0][0], told[-1][0]) == ("candidates", "result")
    by_itc = library.get(f"{address}&order=itc", headers={"X-Sightline-Part": "results"}).text
    assert Tiles(told[0][1]["html"]).shown() == Tiles(by_itc).shown()
    assert "ordering" in told[0][1]["html"]
    assert without_times(told[-1][1]["html"]) == without_times(whole)
    for name, data in told:
        if name == "order":
            new = Tiles(data["tiles"]).shown()
            assert set(new) | set(Tiles(told[0][1]["html"]).shown()) >= {one["id"] for one in data["order"]}


@pytest.mark.parametrize(
    ("query", "status"), [("q=a&collection=nothing", 404), ("q=a&filter=%7B", 422), ("", 200)]
)
def test_what_is_no_search_comes_whole_with_its_status(library: TestClient, query: str, status: int) -> None:
    answer = library.get(f"/?{query}", headers={"X-Sightline-Part": "events"})
    plain = library.get(f"/?{query}", headers={"X-Sightline-Part": "results"})
    assert (answer.status_code, answer.text) == (plain.status_code, plain.text) == (status, plain.text)
    assert answer.headers["content-security-policy"] == plain.headers["content-security-policy"]


def test_without_a_place_for_another_stream_the_page_comes_whole(make_client: MakeClient) -> None:
    client = make_client(max_followers=0)
    client.post("/v1/collections", json={"name": "pictures"})
    answer = client.get("/?q=red", headers={"X-Sightline-Part": "events"})
    assert (answer.status_code, state(answer.text)) == (200, "none")


def test_how_far_itm_moved_each_picture_is_told(library: TestClient) -> None:
    page = Tiles(library.get("/?q=red+blue").text)
    for hit, _ in page.found:
        assert isinstance(hit["itc_rank"], int)
        assert isinstance(hit["rank"], int)
        assert hit["moved"] == hit["itc_rank"] - hit["rank"]
    assert "raised" in library.get("/?q=red+blue").text


def test_when_nothing_matches_the_page_says_so(library: TestClient) -> None:
    # no colour named: a = 1/2, so the logits are (2w, 0) and no probability exceeds 1/2
    answer = library.get("/?q=an+elephant")
    assert state(answer.text) == "low"
    assert "Nothing here matches" in answer.text
    assert len(Tiles(answer.text).shown()) == len(SHADES)


def test_a_filter_that_passes_nothing_offers_a_way_out(library: TestClient) -> None:
    wanted = quote(json.dumps({"must": [{"field": "metadata.length", "equals": 99}]}))
    for query in ("", "q=red&"):
        answer = library.get(f"/?{query}filter={wanted}")
        assert state(answer.text) == "none"
        assert "Search without the filter" in answer.text
        assert "length = 99" in answer.text


@pytest.mark.parametrize(
    "text", ['{"mst": 1}', "{", "[]", "[" * 3000, '{"field": "id", "equals": "\\u0000"}']
)
def test_a_wrong_filter_is_told_beside_the_filter(library: TestClient, text: str) -> None:
    answer = library.get("/", params={"q": "red", "filter": text})
    assert (answer.status_code, state(answer.text)) == (422, "error")
    assert 'aria-invalid="true"' in answer.text


def test_an_unknown_collection_is_an_intended_error(library: TestClient) -> None:
    answer = library.get("/?q=red&collection=nothing")
    assert (answer.status_code, state(answer.text)) == (404, "error")
    assert "There is no such collection" in answer.text


def test_numbers_that_make_no_sense_become_defaults(library: TestClient) -> None:
    for query in ("k=abc&candidates=-1", "k=0", "k=99999999999999999999", "k=²", "candidates=1e9", "order=x"):
        assert library.get(f"/?q=red&{query}").status_code == 200


def test_nothing_that_users_store_or_type_becomes_markup(client: TestClient, services: Installation) -> None:
    evil = "\"><script>alert(1)</script><img src=x onerror=alert(2)>'"
    client.post("/v1/collections", json={"name": "pictures"})
    items = {evil: {"caption": evil, "metadata": {evil: evil}}}
    upload(client, {evil: png("red")}, **items)
    services.indexer.run_pending()
    for params in ({}, {"q": evil}, {"q": evil, "filter": evil}, {"collection": evil}):
        text = client.get("/", params=params).text
        tags = Tiles(text).tags
        scripts = [values.get("src") or "" for tag, values in tags if tag == "script"]
        assert [re.sub(r"/[0-9a-f]{12}/", "/", source) for source in scripts] == ["/static/sightline.js"]
        assert not any(name.startswith("on") for _, values in tags for name in values)
        assert evil not in text
        assert "alert(2)" in html.unescape(text)


def test_the_page_loads_nothing_from_elsewhere_and_no_inline_script(library: TestClient) -> None:
    answer = library.get("/?q=red")
    policy = answer.headers["content-security-policy"]
    assert "script-src 'self';" in policy
    tags = Tiles(answer.text).tags
    addresses = [
        values.get(name) for _, values in tags for name in ("src", "href", "action") if values.get(name)
    ]
    assert all(address and address.startswith(("/", "#")) for address in addresses)
    assert all(values.get("src") for tag, values in tags if tag == "script")
    assert not any(tag == "style" for tag, _ in tags)
    assets = [values["href"] for tag, values in tags if tag == "link"]
    assets += [values["src"] for tag, values in tags if tag == "script"]
    for path in assets:
        assert path
        if path.endswith(".woff2"):
            continue
        asset = library.get(path).text
        assert not re.search(r"https?://(?!www\.w3\.org)", asset)


def test_every_control_has_a_name(library: TestClient) -> None:
    text = library.get("/?q=red").text
    tags = Tiles(text).tags
    labelled = {values.get("for") for tag, values in tags if tag == "label"}
    for tag, values in tags:
        if tag in ("input", "textarea") and values.get("type") not in ("hidden", "file"):
            assert values.get("id") in labelled, values
        if tag == "img":
            assert "alt" in values
    assert [values.get("lang") for tag, values in tags if tag == "html"] == ["en"]


def test_the_part_that_changes_comes_alone_when_asked_for(library: TestClient) -> None:
    whole, part = library.get("/?q=red"), library.get("/?q=red", headers={"X-Sightline-Part": "results"})
    assert "<html" not in part.text
    assert part.text.count('class="tile"') == whole.text.count('class="tile"')
    assert "X-Sightline-Part" in part.headers["vary"]


def test_the_theme_is_there_before_the_first_paint(filled: TestClient) -> None:
    filled.cookies.set("theme", "dark")
    assert '<html lang="en" data-theme="dark">' in filled.get("/").text
    filled.cookies.set("theme", '"><script>')
    assert '<html lang="en">' in filled.get("/").text


def test_addresses_keep_a_proxys_prefix(make_client: MakeClient) -> None:
    client = make_client(root_path="/pics")
    made = client.post("/pics/v1/collections", json={"name": "pictures"})
    assert made.headers["location"] == "/pics/v1/collections/pictures"
    style = re.search(r'href="(/pics/static/[0-9a-f]{12}/sightline.css)"', client.get("/pics/").text)
    assert style
    assert client.get(style[1]).status_code == client.get("/pics/static/sightline.css").status_code == 200
    files = [("files", ("y.png", png("red")))]
    client.post("/pics/v1/collections/pictures/images", files=files, data={"items": '[{"id": "x/y"}]'})
    record = client.get("/pics/v1/collections/pictures/images/x%2Fy").json()
    assert record["file_url"].startswith("/pics/v1/collections/pictures/images/x%2Fy/file")
    assert client.get(record["file_url"]).content == png("red")
