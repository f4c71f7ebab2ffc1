"""Asking in the page: while one types, with a picture, by a threshold, by date, why, and once and for all."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, Page, Request, Route, expect

from tests.api.installation import png

pytestmark = pytest.mark.browser
SHOWN = "#grid .tile:not([hidden])"
SEARCH = "/v1/collections/colours/search"
BRING = """([event, data, y]) => {
    const bytes = Uint8Array.from(atob(data), (char) => char.charCodeAt(0));
    const files = new DataTransfer();
    files.items.add(new File([bytes], event + ".png", { type: "image/png" }));
    const given = { bubbles: true, cancelable: true, clientX: 200, clientY: y };
    if (event === "paste") {
        const pasted = new ClipboardEvent("paste", { ...given, clipboardData: files });
        document.querySelector("#q").dispatchEvent(pasted);
        return;
    }
    const steps = event === "drop" ? ["dragenter", "dragover", "drop"] : ["dragenter", "dragover"];
    const drag = { ...given, dataTransfer: files };
    for (const step of steps) document.body.dispatchEvent(new DragEvent(step, drag));
}"""


@pytest.fixture(scope="module")
def window(browser: Browser) -> Iterator[Page]:
    """One window for all."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
    context.set_default_timeout(20_000)
    yield context.new_page()
    context.close()


def opened(page: Page, url: str) -> Page:
    page.goto(url)
    page.wait_for_selector("html[data-ready]")
    return page


def ids(page: Page) -> list[str]:
    """Image ids in the order on the screen."""
    return [str(hit["id"]) for hit in hits(page)]


def hits(page: Page) -> list[dict[str, Any]]:
    found: list[str] = page.locator(SHOWN).evaluate_all("tiles => tiles.map(tile => tile.dataset.hit)")
    return [json.loads(one) for one in found]


def query_of(page: Page) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).query)


def api(site: str, **body: Any) -> dict[str, Any]:
    answer: dict[str, Any] = httpx.post(f"{site}{SEARCH}", json=body, timeout=30).json()
    return answer


def parts(page: Page) -> list[tuple[str, str]]:
    """(part, text) of each search from now on."""
    asked: list[tuple[str, str]] = []

    def look(request: Request) -> None:
        part = request.headers.get("x-sightline-part")
        if part:
            asked.append((part, parse_qs(urlsplit(request.url).query).get("q", [""])[0]))

    page.on("request", look)
    return asked


def settled(page: Page) -> None:
    expect(page.locator("main")).to_have_attribute("aria-busy", "false")


def test_hits_come_while_one_types_and_their_order_when_the_typing_rests(
    window: Page, looked_at: str
) -> None:
    page = opened(window, f"{looked_at}/?collection=colours")
    before = page.evaluate("history.length")
    asked = parts(page)
    page.click("#q")
    page.keyboard.press("r")
    page.keyboard.type("ed blue", delay=60)
    expect(page.locator("#say")).to_contain_text("judged of 16")
    settled(page)
    assert ids(page) == [hit["id"] for hit in api(looked_at, text="red blue", limit=16)["results"]]
    assert page.evaluate("document.activeElement.id") == "q"
    assert page.input_value("#q") == "red blue"
    assert query_of(page)["q"] == ["red blue"]
    kinds = [part for part, _ in asked]
    assert kinds[-1] == "events"
    assert set(kinds[:-1]) == {"typing"}
    assert len(asked) <= 5, "far fewer than letters"
    assert all(len(text) >= 2 for _, text in asked)
    page.keyboard.type(" green", delay=20)
    page.wait_for_url("**q=red+blue+green")
    assert page.evaluate("history.length") == before + 1, "typing is one step"
    page.keyboard.press("Enter")
    settled(page)
    page.go_back()
    page.wait_for_url(f"{looked_at}/?collection=colours")
    expect(page.locator(".status")).to_have_attribute("data-state", "home")


def test_an_older_answer_never_stands_for_a_newer_text_and_half_a_query_is_no_error(
    window: Page, looked_at: str
) -> None:
    page = opened(window, f"{looked_at}/?collection=colours&q=green")
    held: list[Route] = []
    page.route("**q=red", lambda route: held.append(route))
    page.fill("#q", "red")
    page.wait_for_timeout(900)
    page.fill("#q", "blue")
    page.wait_for_url("**q=blue")
    settled(page)
    expected = [hit["id"] for hit in api(looked_at, text="blue", limit=16)["results"]]
    assert ids(page) == expected
    assert held
    page.unroute_all(behavior="ignoreErrors")  # what was held was called off: there is nobody to answer
    asked = parts(page)
    for half in ("-house", "-", "r", ""):
        page.fill("#q", half)
        page.wait_for_timeout(750)
    assert asked == []
    assert ids(page) == expected
    page.fill("#q", "-house")
    page.keyboard.press("Enter")
    expect(page.locator(".note h1")).to_have_text("That cannot be searched for.")


def test_the_threshold_on_the_line_shows_all_that_reach_it_with_their_number(
    window: Page, looked_at: str
) -> None:
    page = opened(window, f"{looked_at}/?collection=colours&q=red")
    slider = page.get_by_role("slider", name="Show all pictures that match at least so well")
    line = page.locator(".line").bounding_box()
    assert line
    page.mouse.move(40, line["y"])
    page.mouse.down()
    page.mouse.move(line["width"] * 0.3, line["y"], steps=4)
    expect(page.locator(".tile.below").first).to_be_attached()
    page.mouse.up()
    page.wait_for_url("**min=0.*")
    settled(page)
    least = float(query_of(page)["min"][0])
    assert 0.2 < least < 0.4
    whole = api(looked_at, text="red", min_probability=least, sort="relevance", limit=24)
    assert ids(page) == [hit["id"] for hit in whole["results"]]
    expect(page.locator(".facts strong")).to_contain_text(f"{whole['total']} match")
    expect(page.locator(".tile.below")).to_have_count(0)
    slider.press("ArrowRight")
    page.wait_for_url(f"**min={least + 0.01:.2f}".rstrip("0") + "*")
    settled(page)
    assert page.evaluate("document.activeElement.id") == "min"
    assert slider.get_attribute("aria-valuetext") == f"{round(100 * least) + 1} %"
    slider.press("Home")
    page.wait_for_url(lambda url: "min=" not in url)
    settled(page)
    assert len(ids(page)) == 16


def test_by_date_goes_with_a_threshold_and_more_of_them_come_by_pages(window: Page, looked_at: str) -> None:
    page = opened(window, f"{looked_at}/?collection=colours&q=red&k=2")
    page.get_by_role("link", name="Newest first").click()
    page.wait_for_url("**sort=-created_at*")
    settled(page)
    assert query_of(page)["min"] == ["0.5"]
    whole = api(looked_at, text="red", min_probability=0.5, sort="-created_at", limit=24)
    order = [hit["id"] for hit in whole["results"]]
    assert ids(page) == order[:2]
    page.click("[data-more]")
    expect(page.locator(SHOWN)).to_have_count(min(4, len(order)))
    assert ids(page) == order[:4]
    page.get_by_role("link", name="Remove filter: at least 50 %").click()
    page.wait_for_url(lambda url: "sort" not in url)


def test_more_like_this_from_a_tile_and_from_the_lightbox(window: Page, looked_at: str) -> None:
    page = opened(window, f"{looked_at}/?collection=colours&q=red+blue")
    tile = page.locator(SHOWN).first
    tile.hover()
    tile.get_by_role("link", name="More like this").click()
    page.wait_for_url("**like=red-blue.png*")
    settled(page)
    like = api(looked_at, image={"id": "red-blue.png"}, limit=16)["results"]
    assert ids(page) == [hit["id"] for hit in like]
    expect(page.locator(".chips img")).to_have_js_property("naturalWidth", 32)
    assert page.input_value("#q") == ""
    page.locator(SHOWN).first.click()
    page.get_by_role("button", name="More like this").click()
    page.wait_for_url(f"**like={like[0]['id']}*")
    expect(page.locator("#box")).to_be_hidden()
    page.fill("#q", "green")
    page.keyboard.press("Enter")
    page.wait_for_url("**q=green*")
    settled(page)
    both = api(looked_at, image={"id": like[0]["id"]}, text="green", limit=16)["results"]
    assert ids(page) == [hit["id"] for hit in both]
    page.locator(".chips a").click()
    page.wait_for_url(lambda url: "like=" not in url)
    assert query_of(page)["q"] == ["green"]


def test_a_picture_dropped_on_the_box_or_pasted_into_it_asks(window: Page, looked_at: str) -> None:
    page = opened(window, f"{looked_at}/?collection=colours")
    data = base64.b64encode(png("red", "blue", "red", "blue", side=32)).decode()
    page.evaluate(BRING, ["dragover", data, 600])
    expect(page.locator("#drop")).to_have_attribute("data-over", "adding")
    page.evaluate(BRING, ["drop", data, 80])
    expect(page.locator("#drop")).to_be_hidden()
    expect(page.locator(".chips")).to_contain_text("like your picture")
    settled(page)
    expected = api(looked_at, image=f"data:image/png;base64,{data}", limit=16)["results"]
    assert ids(page) == [hit["id"] for hit in expected]
    expect(page.locator(".chips img")).to_have_js_property("naturalWidth", 32)
    expect(page.locator("#tray")).to_be_hidden()
    page.fill("#q", "green")
    page.keyboard.press("Enter")
    expect(page.locator(".facts")).to_contain_text("judged")
    settled(page)
    both = api(looked_at, image=f"data:image/png;base64,{data}", text="green", limit=16)["results"]
    assert ids(page) == [hit["id"] for hit in both]
    page.go_back()
    expect(page.locator(".facts")).to_contain_text("compared")
    assert ids(page) == [hit["id"] for hit in expected]
    page.locator(".chips a").click()
    expect(page.locator(".chips")).to_have_count(0)
    page.evaluate(BRING, ["paste", data, 0])
    expect(page.locator(".chips")).to_contain_text("like your picture")
    assert httpx.get(f"{looked_at}/v1/collections/colours").json()["images"] == 16, "and nothing is added"


def test_the_lightbox_tells_why_word_by_word(window: Page, looked_at: str) -> None:
    page = opened(window, f"{looked_at}/?collection=colours&q=red+blue")
    asked: list[str] = []
    page.on("request", lambda one: asked.append(one.url) if "/explanation?" in one.url else None)
    page.locator(SHOWN).first.click()
    box = page.locator("#box")
    expect(box.locator(".big")).to_be_visible()
    assert asked == [], "only when it is asked for"
    box.get_by_role("button", name="Why?").click()
    path = f"{looked_at}/v1/collections/colours/images/red-blue.png/explanation"
    words = httpx.get(path, params={"text": "red blue"}).json()["explanation"]["words"]
    without = f"{100 * words[0]['probability_without']:.1f} %"
    red = box.get_by_role("button", name=f"red, without “red”: {without}", exact=True)
    expect(box.locator(".whole")).to_have_attribute("aria-pressed", "true")
    whole = heat(page)
    assert max(whole) > 100
    red.focus()
    expect(box.locator(".without")).to_have_text(f"without “red”: {without}")
    assert heat(page) != whole
    page.keyboard.press("Enter")
    expect(red).to_have_attribute("aria-pressed", "true")
    picture, canvas = (box.locator(f".stage {tag}").bounding_box() for tag in ("img", "canvas"))
    assert picture == canvas
    page.keyboard.press("ArrowRight")
    expect(box.locator(".stage canvas")).to_have_count(1)
    expect(box.locator(".words button").first).to_be_visible()
    assert len(asked) == 2, "the next one tells by itself"
    box.get_by_role("button", name="Why?").click()
    expect(box.locator(".stage canvas")).to_have_count(0)


def heat(page: Page) -> list[int]:
    """How much of it lies where, in a grid of 8 × 8."""
    script = """() => { const canvas = document.querySelector(".stage canvas");
        const context = canvas.getContext("2d");
        const { width, height } = canvas;
        return Array.from({ length: 64 }, (_, at) => context.getImageData(
            (at % 8 + .5) * width / 8, (Math.floor(at / 8) + .5) * height / 8, 1, 1).data[3]); }"""
    return [int(one) for one in page.evaluate(script)]


def test_the_lightbox_says_how_likely_each_clause_is(window: Page, looked_at: str) -> None:
    page = opened(window, f"{looked_at}/?collection=colours&q=red+-blue")
    expect(page.locator(".clauses li")).to_have_text(["with red", "without blue"])
    first = hits(page)[0]["clauses"]
    page.locator(SHOWN).first.click()
    expect(page.locator("#box .clause")).to_have_text(["with red", "without blue"])
    assert [one["role"] for one in first] == ["all", "none"]
    page.get_by_role("button", name="Why?").click()
    expect(page.locator("#box .words button")).to_have_text(["red"])


def test_a_search_is_saved_listed_opened_and_removed(window: Page, looked_at: str) -> None:
    page = opened(window, f"{looked_at}/?collection=colours&q=red+blue&min=0.6")
    page.click("#keep summary")
    expect(page.locator("#keep-name")).to_have_value("red-blue")
    page.fill("#keep-name", "no good name")
    page.keyboard.press("Enter")
    expect(page.locator("#keep-wrong")).not_to_be_empty()
    page.fill("#keep-name", "red-blue")
    page.keyboard.press("Enter")
    expect(page.locator("#keep")).to_have_text("Saved as red-blue")
    page.click("#saved summary")
    menu = page.locator("#saved .panel")
    expect(menu.locator("li")).to_contain_text("“red blue” at 60 % · 0 pictures, 16 to be judged yet")
    menu.get_by_role("link", name="red-blue").click()
    page.wait_for_url("**saved=red-blue*")
    expect(page.locator(".note h1")).to_have_text("No picture fits “red blue” yet.")
    page.click("#saved summary")
    menu.get_by_role("button", name="Remove red-blue").click()
    page.keyboard.press("Tab")
    menu.get_by_role("button", name="Remove red-blue", exact=True).click()
    menu.get_by_role("button", name="Really remove red-blue").click()
    expect(menu).to_contain_text("None yet.")
    assert httpx.get(f"{looked_at}/v1/collections/colours/saved-searches").json() == {"items": []}
