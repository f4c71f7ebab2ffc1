"""Every view, light and dark, as axe-core sees it: nothing critical or serious, and one first heading."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from sightline.imaging import IsolatedDecoder
from tests.browser.conftest import serving, settings_for

pytestmark = pytest.mark.browser
RULES = {"resultTypes": ["violations"]}
FILTER = quote(json.dumps({"must": [{"field": "metadata.colours", "equals": 9}]}))
SHOWN = "#grid .tile:not([hidden])"


@pytest.fixture(scope="module", params=["light", "dark"])
def window(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Page]:
    """One window for all views of a theme."""
    context = browser.new_context(
        viewport={"width": 1280, "height": 800}, reduced_motion="reduce", color_scheme=request.param
    )
    context.set_default_timeout(20_000)
    yield context.new_page()
    context.close()


def look(page: Page, view: str) -> None:
    """Fail with what axe finds, and what it found it at."""
    found = Axe().run(page, options=RULES).response
    bad = [
        f"{one['id']} ({one['impact']}): {node['html'][:140]} {node['any'][:1]}"
        for one in found["violations"]
        for node in one["nodes"]
        if one["impact"] in ("critical", "serious")
    ]
    assert bad == [], f"{view}:\n" + "\n".join(bad)
    # what is behind a dialog is not there for who uses it, and still is the page's heading
    assert page.locator("h1").count() == 1, f"{view}: one h1"


def opened(page: Page, url: str) -> Page:
    page.goto(url)
    page.wait_for_load_state("networkidle")
    return page


def open_tune(page: Page) -> None:
    page.click("#tune summary")


def open_picture(page: Page) -> None:
    page.click(f"{SHOWN} >> nth=0")
    page.click("#box .scores summary")


def add_a_broken_picture(page: Page) -> None:
    page.set_input_files("#files", [{"name": "broken.png", "mimeType": "image/png", "buffer": b"no picture"}])
    expect(page.locator("#tray li")).to_have_count(1)


def ask_why(page: Page) -> None:
    page.click(f"{SHOWN} >> nth=0")
    page.click("#box .ask-why")
    expect(page.locator("#box .words button").first).to_be_visible()


def open_saved(page: Page) -> None:
    page.click("#saved summary")
    expect(page.locator("#saved .panel p, #saved .panel li").first).to_be_visible()


def open_keep(page: Page) -> None:
    page.click("#keep summary")


def type_on(page: Page) -> None:
    with page.expect_response(lambda answer: answer.request.headers.get("x-sightline-part") == "typing"):
        page.locator("#q").press_sequentially("red blue")
    expect(page.locator(".status")).to_have_attribute("data-state", "results")


def drag(page: Page) -> None:
    page.evaluate(
        "() => { const files = new DataTransfer();"
        "files.items.add(new File(['x'], 'a.png', { type: 'image/png' }));"
        "dispatchEvent(new DragEvent('dragenter', { dataTransfer: files, bubbles: true })); }"
    )
    expect(page.locator("#drop")).to_be_visible()


def nothing(page: Page) -> None:
    """As it comes."""


VIEWS: dict[str, tuple[str, Callable[[Page], None]]] = {
    "home": ("", nothing),
    "results": ("&q=red+blue", nothing),
    "by similarity": ("&q=red+blue&order=itc", nothing),
    "low": ("&q=an+elephant", nothing),
    "nothing found": (f"&q=red&filter={FILTER}", nothing),
    "a wrong filter": ("&q=red&filter=%7B", nothing),
    "tune": ("&q=red", open_tune),
    "why": ("&q=red+blue", ask_why),
    "clauses": ("&q=red+-blue", open_picture),
    "threshold": ("&q=red&min=0.5", open_keep),
    "by date": ("&q=red&sort=-created_at", nothing),
    "none reach it": ("&q=an+elephant&min=0.99", nothing),
    "like this": ("&like=red.png", nothing),
    "while typing": ("", type_on),
    "saved searches": ("", open_saved),
    "dragging": ("", drag),
    "lightbox": ("&q=red+blue", open_picture),
    "a picture that is not there": ("&image=nowhere", nothing),
    "tray": ("", add_a_broken_picture),
}


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_of_a_collection(window: Page, looked_at: str, view: str) -> None:
    address, then = VIEWS[view]
    then(opened(window, f"{looked_at}/?collection=colours{address}"))
    look(window, view)


def test_other_views(window: Page, looked_at: str, empty: str) -> None:
    look(opened(window, f"{looked_at}/?collection=nowhere"), "error")
    look(opened(window, f"{looked_at}/texts?collection=colours"), "texts")
    look(opened(window, f"{looked_at}/texts?collection=nowhere"), "texts of nothing")
    look(opened(window, empty), "empty installation")
    assert httpx.post(f"{empty}/v1/collections", json={"name": "new"}).status_code == 201
    look(opened(window, empty), "empty collection")


def test_behind_keys(window: Page, tmp_path: Path, browser_decoder: IsolatedDecoder) -> None:
    with serving(settings_for(tmp_path / "data"), browser_decoder) as url:
        boss = httpx.post(f"{url}/v1/keys", json={"name": "boss", "scope": "admin"}).json()["key"]
        look(opened(window, url), "locked")
        window.fill("#key", f"{boss}x")
        window.press("#key", "Enter")
        expect(window.locator("#wrong")).to_be_visible()
        look(window, "locked, after a wrong key")
        window.fill("#key", boss)
        window.press("#key", "Enter")
        expect(window.locator("#first")).to_be_visible()
        look(window, "signed in")


def test_axe_finds_what_is_wrong(window: Page, looked_at: str) -> None:
    """The check can fail."""
    opened(window, f"{looked_at}/?collection=colours")
    window.evaluate(
        "document.querySelector('label[for=q]').remove(); document.querySelector('#q').placeholder = ''"
    )
    with pytest.raises(AssertionError, match="label"):
        look(window, "home")
