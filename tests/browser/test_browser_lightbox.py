"""The lightbox's own address: what Back, a reload and whoever is sent it see."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

pytestmark = pytest.mark.browser
SHOWN = "#grid .tile:not([hidden])"


@pytest.fixture(scope="module")
def window(browser: Browser) -> Iterator[Page]:
    """One window; nothing here changes the server."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
    context.set_default_timeout(20_000)
    page = context.new_page()
    yield page
    context.close()


def opened(page: Page, url: str) -> Page:
    page.goto(url)
    page.wait_for_selector("html[data-ready]")
    return page


def image(page: Page) -> str | None:
    """The picture that the address names."""
    return parse_qs(urlsplit(page.url).query).get("image", [None])[0]


def shown(page: Page) -> list[str]:
    hits = page.locator(SHOWN).evaluate_all("tiles => tiles.map(tile => JSON.parse(tile.dataset.hit).id)")
    return [str(one) for one in hits]


def box_shows(page: Page, name: str) -> None:
    """The lightbox is open with the picture of this id, which is its caption and ``.png``."""
    expect(page.locator("#box .saying")).to_have_text(name.removesuffix(".png"))
    expect(page.locator("#box")).to_be_visible()


def box_is_closed(page: Page, url: str) -> None:
    expect(page.locator("#box")).to_be_hidden()
    page.wait_for_url(url)


@pytest.mark.parametrize("query", ["", "&q=red+blue"])
def test_opening_is_a_step_that_back_undoes_and_forward_does_again(
    window: Page, looked_at: str, query: str
) -> None:
    page, url = window, f"{looked_at}/?collection=colours{query}"
    order = shown(opened(page, url))
    asked: list[str] = []
    page.on(
        "request", lambda request: asked.append(request.url) if urlsplit(request.url).path == "/" else None
    )
    page.click(f"{SHOWN} >> nth=1")
    box_shows(page, order[1])
    assert image(page) == order[1]
    page.keyboard.press("ArrowRight")
    page.locator("#box .on").click()
    box_shows(page, order[3])
    assert image(page) == order[3]
    page.go_back()
    box_is_closed(page, url)
    page.go_forward()
    box_shows(page, order[3])
    page.keyboard.press("Escape")
    box_is_closed(page, url)
    assert shown(page) == order
    assert page.evaluate("JSON.parse(document.activeElement.closest('.tile').dataset.hit).id") == order[3]
    assert asked == [], "and nothing is searched for anew"


def test_a_reload_and_a_link_open_the_picture_and_closing_leaves_the_search(
    window: Page, looked_at: str
) -> None:
    page, url = window, f"{looked_at}/?collection=colours&q=red+blue"
    second = shown(opened(page, url))[1]
    page.click(f"{SHOWN} >> nth=1")
    there = page.url
    page.reload()
    box_shows(page, second)
    expect(page.locator("#box aside")).to_contain_text("2 of 16")
    page.keyboard.press("Escape")
    box_is_closed(page, url)
    opened(page, there)
    box_shows(page, second)
    page.locator("#box .shut").click()
    box_is_closed(page, url)
    assert page.input_value("#q") == "red blue"


def test_a_picture_that_is_not_among_those_shown_is_opened_with_what_is_known_of_it(
    window: Page, looked_at: str
) -> None:
    page, url = window, f"{looked_at}/?collection=colours&q=red+blue&k=1"
    assert "green.png" not in shown(opened(page, url))
    opened(page, f"{url}&image=green.png")
    box_shows(page, "green.png")
    aside = page.locator("#box aside")
    for words in ("Not among those shown", "colours", "1", "32 × 32", "Open the original"):
        expect(aside).to_contain_text(words)
    expect(aside.locator(".big, .scores, .path")).to_have_count(0)
    expect(page.locator("#box .stage img")).to_have_js_property("naturalWidth", 32)
    assert page.locator("#box .back").is_disabled()
    assert page.locator("#box .on").is_disabled()
    page.keyboard.press("ArrowRight")
    assert image(page) == "green.png"
    page.get_by_role("button", name="Search for its caption").click()
    page.wait_for_url("**q=green*")
    expect(page.locator("#box")).to_be_hidden()
    assert image(page) is None
    page.go_back()
    box_shows(page, "green.png")


def test_a_picture_that_does_not_exist_is_told_of_and_the_rest_is_there(window: Page, looked_at: str) -> None:
    page, name = window, "../no <b>such</b>.png"
    opened(page, f"{looked_at}/?collection=colours&image=../no%20%3Cb%3Esuch%3C/b%3E.png")
    expect(page.locator("#box .saying")).to_have_text(f"There is no picture “{name}” in colours.")
    page.get_by_role("button", name="Back to the pictures").click()
    box_is_closed(page, f"{looked_at}/?collection=colours")
    assert len(shown(page)) == 16


def test_a_step_back_to_another_search_brings_its_picture(window: Page, looked_at: str) -> None:
    page = window
    first = shown(opened(page, f"{looked_at}/?collection=colours&q=red+blue"))[0]
    page.click(f"{SHOWN} >> nth=0")
    page.locator("#box aside").get_by_role("button", name="2", exact=True).click()
    page.wait_for_url("**filter=**")
    expect(page.locator("#box")).to_be_hidden()
    wanted = json.loads(parse_qs(urlsplit(page.url).query)["filter"][0])
    assert wanted == {"must": [{"field": "metadata.colours", "equals": 2}]}
    page.go_back()
    box_shows(page, first)
    expect(page.locator(".chips")).to_have_count(0)
