"""Texts over HTTP: jobs that write and judge, people who decide, and the page where they do."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from sightline.api.app import create_app
from sightline.api.routes.text_page import TEXTS_AT_ONCE
from sightline.imaging import IsolatedDecoder
from sightline.wiring import Installation
from tests.api.conftest import installation, settings_for
from tests.api.installation import problem

HERE = "/v1/collections/pictures"
WRONG = "a blue bus"


@pytest.fixture
def site(
    filled_folder: Path, api_decoder: IsolatedDecoder, tmp_path: Path
) -> Iterator[tuple[TestClient, Installation]]:
    folder = tmp_path / "data"
    shutil.copytree(filled_folder, folder)
    services = installation(settings_for(folder), api_decoder)
    with TestClient(create_app(services.api_parts), raise_server_exceptions=False) as client:
        yield client, services
    services.catalog.close()


def worked(services: Installation, client: TestClient, url: str, body: dict[str, Any]) -> dict[str, Any]:
    """The job that a request began, once it has ended."""
    answer = client.post(url, json=body)
    assert answer.status_code == 202, answer.text
    job = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    until = time.monotonic() + 60
    while services.catalog.job(job["id"]).state == "registering":  # a thread of the server lists
        assert time.monotonic() < until
        time.sleep(0.01)
    services.indexer.run_pending()
    found: dict[str, Any] = client.get(f"/v1/jobs/{job['id']}").json()
    assert (found["state"], found["progress"]["failed"]) == ("done", 0)
    return found


def texts_of(client: TestClient, **asked: Any) -> list[dict[str, Any]]:
    found = client.get(f"{HERE}/texts", params=asked)
    assert found.status_code == 200, found.text
    items: list[dict[str, Any]] = found.json()["items"]
    return items


def test_a_person_overrules_and_what_a_person_said_stays_when_the_job_runs_again(
    site: tuple[TestClient, Installation],
) -> None:
    client, services = site
    assert client.patch(f"{HERE}/images/red", json={"caption": WRONG}).status_code == 200
    worked(services, client, f"{HERE}/capfilt", {"n": 1, "keep_above": 0.6})
    [own] = [one for one in texts_of(client, source="given") if one["image_id"] == "red"]
    assert (own["text"], own["verdict"], own["overruled"]) == (WRONG, "dropped", False)
    assert own["match_probability"] < 0.6
    url = f"{HERE}/texts/{own['id']}/verdict"
    assert client.put(url, json={"verdict": "kept"}).json()["overruled"] is True
    worked(services, client, f"{HERE}/capfilt", {"n": 1, "keep_above": 0.6})
    [again] = [one for one in texts_of(client, source="given") if one["image_id"] == "red"]
    assert (again["verdict"], again["overruled"]) == ("kept", True)
    assert client.delete(url).json()["overruled"] is False
    worked(services, client, f"{HERE}/capfilt", {"n": 0, "keep_above": 0.6})
    assert WRONG in [one["text"] for one in texts_of(client, verdict="dropped")]


def test_the_report_counts_what_the_list_holds_and_the_export_has_what_was_kept(
    site: tuple[TestClient, Installation],
) -> None:
    client, services = site
    assert client.get(f"{HERE}/capfilt").json()["job"] is None
    assert client.patch(f"{HERE}/images/red", json={"caption": WRONG}).status_code == 200
    job = worked(services, client, f"{HERE}/capfilt", {"n": 2, "keep_above": 0.6})
    report = client.get(f"{HERE}/capfilt").json()
    listed = texts_of(client, limit=1000)
    assert (report["job"], report["state"], report["threshold"]) == (job["id"], "done", 0.6)
    for verdict in ("kept", "dropped"):
        count = sum(one["verdict"] == verdict for one in listed)
        assert sum(one[verdict] for one in report["sources"]) == count
        assert sum(report["histogram"][verdict]) == count
    assert client.get(f"{HERE}/capfilt?job={job['id']}").status_code == 200
    assert client.get(f"{HERE}/capfilt/histogram.png").content.startswith(b"\x89PNG")
    lines = [json.loads(line) for line in client.get(f"{HERE}/texts/export").text.splitlines()]
    assert lines == [one for one in listed if one["verdict"] == "kept"]
    both = client.get(f"{HERE}/texts/export?dropped=true").text.splitlines()
    assert len(both) == len(listed)


def test_captions_are_written_for_the_images_that_were_named(site: tuple[TestClient, Installation]) -> None:
    client, services = site
    worked(services, client, f"{HERE}/captions", {"ids": ["red"], "n": 2})
    written = texts_of(client, source="captioner")
    assert {one["image_id"] for one in written} == {"red"}
    assert [one["text"] for one in written] == ["red top left", "red top right"]
    # As the toy says it: the n-th caption has the log-probability -n.
    assert [one["log_probability"] for one in written] == [-1, -2]


@pytest.mark.parametrize(
    ("method", "url", "body", "status"),
    [
        ("POST", f"{HERE}/captions", {"model": "somebody/elses"}, 403),
        ("POST", f"{HERE}/captions", {"model": " "}, 422),
        ("POST", f"{HERE}/captions", {"n": 2, "sampling": "greedy"}, 422),
        ("POST", f"{HERE}/captions", {"ids": ["red"], "filter": {}}, 422),
        ("POST", f"{HERE}/captions", {"n": 10_000}, 422),
        ("POST", f"{HERE}/capfilt", {"keep_above": 1.5}, 422),
        ("POST", f"{HERE}/capfilt", {"text_fields": ["a..b"]}, 422),
        ("POST", "/v1/collections/none/capfilt", {}, 404),
        ("GET", f"{HERE}/capfilt?job=nothing", None, 404),
        ("GET", f"{HERE}/texts?verdict=perhaps", None, 422),
        ("GET", f"{HERE}/texts?cursor=x", None, 422),
        ("PUT", f"{HERE}/texts/99999/verdict", {"verdict": "kept"}, 404),
        ("PUT", f"{HERE}/texts/1/verdict", {"verdict": "unjudged"}, 422),
        ("PUT", f"{HERE}/texts/{2**70}/verdict", {"verdict": "kept"}, 422),
    ],
)
def test_what_cannot_be_asked_is_said(
    site: tuple[TestClient, Installation], method: str, url: str, body: Any, status: int
) -> None:
    client, services = site
    before = len(services.catalog.jobs("pictures", 100))
    problem(client.request(method, url, json=body), status)
    assert len(services.catalog.jobs("pictures", 100)) == before, "nothing is begun"


class Forms(HTMLParser):
    """The forms of the page of texts: the text beside each, and its buttons."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[dict[str, str]] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attributes}
        if tag == "form" and values.get("class") == "verdict":
            self.found.append({})
        elif tag == "input" and self.found and values.get("type") == "hidden":
            self.found[-1][values["name"]] = values["value"]


def test_the_page_lets_a_person_decide_without_a_script(site: tuple[TestClient, Installation]) -> None:
    client, _ = site
    nasty = '<script>alert("x")</script>'
    assert client.patch(f"{HERE}/images/red", json={"caption": nasty}).status_code == 200
    page = client.get("/texts?collection=pictures")
    assert page.status_code == 200
    assert nasty not in page.text
    assert "&lt;script&gt;" in page.text
    forms = Forms()
    forms.feed(page.text)
    [own] = [one for one in texts_of(client, source="given") if one["text"] == nasty]
    [form] = [one for one in forms.found if one["text"] == str(own["id"])]
    answer = client.post("/texts/verdict", data={**form, "verdict": "dropped"}, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, form["back"])
    assert [one["text"] for one in texts_of(client, verdict="dropped", overruled=True)] == [nasty]
    assert nasty.replace("<", "&lt;") not in client.get("/texts?collection=pictures&verdict=kept").text


def test_the_page_of_texts_leads_to_no_other_site_and_says_what_is_not_there(
    site: tuple[TestClient, Installation],
) -> None:
    client, _ = site
    assert client.patch(f"{HERE}/images/red", json={"caption": "red"}).status_code == 200
    [own] = [one for one in texts_of(client, source="given") if one["text"] == "red"]
    for back in (
        "https://elsewhere.org/texts",
        "//[",
        "//elsewhere.org/texts",
        "/\\elsewhere.org/texts",
        "http://[::1/texts",
        "/v1/keys",
    ):
        form = {"collection": "pictures", "text": own["id"], "verdict": "kept", "back": back}
        answer = client.post("/texts/verdict", data=form, follow_redirects=False)
        assert answer.headers["location"] == "/texts?collection=pictures"
    missing = client.get("/texts?collection=none")
    assert missing.status_code == 404
    assert "There is no collection" in missing.text
    assert client.get("/texts?collection=pictures&cursor=odd&verdict=odd").status_code == 422


def test_the_page_of_texts_without_a_word_is_the_first_of_all_and_says_how_many(
    site: tuple[TestClient, Installation],
) -> None:
    client, services = site
    told = {"caption": "a kite", "metadata": {"alt": [f"text {n}" for n in range(TEXTS_AT_ONCE)]}}
    assert client.patch(f"{HERE}/images/red", json=told).status_code == 200
    worked(services, client, f"{HERE}/capfilt", {"n": 0, "text_fields": ["alt"]})
    total = client.get(f"{HERE}/texts").json()["total"]
    page = client.get("/texts", params={"collection": "pictures", "contains": ""}).text
    assert page.count('<li class="text"') == TEXTS_AT_ONCE < total
    assert f"{total} texts, in the order in which they came, page by page" in page
    assert 'rel="next"' in page
    assert page == client.get("/texts?collection=pictures&contains=+").text, "blank is no word"
    narrowed = client.get("/texts?collection=pictures&contains=KITE").text
    assert "1 text with “KITE”, in the order in which they came</p>" in narrowed
    assert 'rel="next"' not in narrowed


def test_signs_without_a_word_find_nothing_and_say_so(site: tuple[TestClient, Installation]) -> None:
    client, _ = site
    asked = {"contains": "?!"}
    assert "There is no word in '?!'" in problem(client.get(f"{HERE}/texts", params=asked), 422)["detail"]
    page = client.get("/texts", params={"collection": "pictures", **asked})
    assert page.status_code == 422
    assert "There is no word in" in page.text
