"""The page in a browser: what a person does with keyboard, mouse and files."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.api.installation import png

pytestmark = pytest.mark.browser
SHOWN = "#grid .tile:not([hidden])"
BRING = """([event, name, data]) => {
    const bytes = Uint8Array.from(atob(data), (char) => char.charCodeAt(0));
    const files = new DataTransfer();
    files.items.add(new File([bytes], event + ".png", { type: "image/png" }));
    const at = { clientX: 300, clientY: 500 };  // below the search box
    const kind = event === "drop" ? DragEvent : ClipboardEvent;
    if (event === "drop") dispatchEvent(new DragEvent("dragenter", { dataTransfer: files, bubbles: true }));
    document.body.dispatchEvent(new kind(event, { ...at, [name]: files, bubbles: true, cancelable: true }));
}"""


def ids(page: Page) -> list[str]:
    """Image ids in the order on the screen."""
    hits = page.locator(SHOWN).evaluate_all("tiles => tiles.map(tile => JSON.parse(tile.dataset.hit).id)")
    return [str(found) for found in hits]


def ranks(page: Page, name: str) -> list[int]:
    """``rank`` or ``itc_rank`` of what is shown, in the order on the screen."""
    script = "(tiles, name) => tiles.map(tile => JSON.parse(tile.dataset.hit)[name])"
    return [int(rank) for rank in page.locator(SHOWN).evaluate_all(script, name)]


def settled(page: Page) -> None:
    """Wait until the page shows an answer."""
    expect(page.locator("main")).to_have_attribute("aria-busy", "false")


def search(page: Page, text: str) -> None:
    """Type a query as a person does."""
    page.locator("#q").blur()
    page.keyboard.press("/")
    page.keyboard.type(text)
    with page.expect_response(lambda answer: "q=" in answer.url):
        page.keyboard.press("Enter")
    settled(page)


def query_of(page: Page) -> dict[str, list[str]]:
    """What the address says."""
    return parse_qs(urlsplit(page.url).query)


def focused_id(page: Page) -> str | None:
    """The image id of the tile that has the focus."""
    script = "() => document.activeElement.closest('.tile')?.dataset.hit"
    found = page.evaluate(script)
    return None if found is None else str(json.loads(found)["id"])


def test_a_query_is_typed_found_and_kept_in_the_address(page: Page) -> None:
    search(page, "red blue")
    assert query_of(page)["q"] == ["red blue"]
    assert ids(page)[0] == "red-blue.png"
    expect(page).to_have_title("red blue · Sightline")
    expect(page.locator("#say")).to_contain_text("judged")
    there = page.url
    search(page, "green")
    assert ids(page)[0] != "red-blue.png"
    page.go_back()
    expect(page.locator(f"{SHOWN} >> nth=0")).to_have_attribute("data-hit", re.compile("red-blue.png"))
    assert (page.url, page.input_value("#q")) == (there, "red blue")
    page.reload()
    assert ids(page)[0] == "red-blue.png"


@pytest.mark.parametrize("follows", [True, False])
def test_an_order_is_followed_where_the_browser_can_and_is_the_same_where_it_cannot(
    page: Page, follows: bool
) -> None:
    if not follows:
        page.add_init_script("delete window.TextDecoderStream")
        page.reload()
        page.wait_for_selector("html[data-ready]")
    page.locator("select[name=k]").evaluate("select => { select.add(new Option('6')); select.value = '6'; }")
    page.locator("#q").fill("red blue")
    with page.expect_response(lambda answer: "q=" in answer.url) as found:
        page.keyboard.press("Enter")
    settled(page)
    kind = found.value.headers["content-type"].partition(";")[0]
    assert kind == ("text/event-stream" if follows else "text/html")
    assert ranks(page, "rank") == [1, 2, 3, 4, 5, 6]
    assert ids(page)[0] == "red-blue.png"
    assert page.locator(f"{SHOWN} .move").count() == 6
    assert page.locator(".ordering").count() == 0
    expect(page.locator("#say")).to_contain_text("judged")


def test_the_orders_switch_without_another_search(page: Page) -> None:
    page.locator("select[name=k]").evaluate("select => { select.add(new Option('6')); select.value = '6'; }")
    search(page, "red blue")
    assert ranks(page, "rank") == [1, 2, 3, 4, 5, 6]
    by_itm = ids(page)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "q=" in request.url else None)
    page.click("[data-order=itc]")
    assert ranks(page, "itc_rank") == [1, 2, 3, 4, 5, 6]
    assert page.locator(f"{SHOWN} .rank").all_inner_texts() == ["1", "2", "3", "4", "5", "6"]
    assert ids(page) != by_itm
    assert query_of(page)["order"] == ["itc"]
    page.keyboard.press("o")
    assert ids(page) == by_itm
    assert "order" not in query_of(page)
    assert asked == []
    page.keyboard.press("o")
    page.reload()
    assert ranks(page, "itc_rank") == [1, 2, 3, 4, 5, 6]


def test_the_lightbox_shows_all_scores_and_keeps_the_focus(page: Page) -> None:
    search(page, "red blue")
    page.keyboard.press("ArrowDown")
    assert focused_id(page) == "red-blue.png"
    page.keyboard.press("Enter")
    box = page.locator("#box")
    expect(box).to_be_visible()
    for words in ("match", "ITM logit", "ITC cosine", "Ranking score", "red-blue", "colours", "1 of 16"):
        expect(box.locator("aside")).to_contain_text(words)
    expect(box.locator(".path")).to_have_attribute(
        "aria-label", re.compile(r"Place \d+ by similarity, 1 by match")
    )
    for _ in range(12):
        page.keyboard.press("Tab")
        inside = "() => document.activeElement === document.body || !!document.activeElement.closest('#box')"
        assert page.evaluate(inside)
    page.keyboard.press("ArrowRight")
    expect(box.locator("aside")).to_contain_text("2 of 16")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect(box.locator("aside")).to_contain_text("1 of 16")
    page.keyboard.press("Escape")
    expect(box).to_be_hidden()
    assert focused_id(page) == "red-blue.png"


def test_the_lightbox_answers_questions_about_its_picture(page: Page) -> None:
    search(page, "red blue")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    box = page.locator("#box")
    field = box.get_by_label("Ask about this picture", exact=True)
    field.focus()
    page.keyboard.type("how many red?")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    answers = box.locator(".answers li")
    expect(answers).to_contain_text(["how many red?2"])
    expect(answers.locator("small")).to_have_text("75.0 %")
    expect(box.locator("aside")).to_contain_text("1 of 16")
    assert page.evaluate("() => document.activeElement.name") == "question"
    page.keyboard.type("is it green?")
    page.keyboard.press("Enter")
    expect(answers).to_contain_text(["how many red?2", "is it green?no"])
    box.locator(".on").click()
    expect(box.locator("aside")).to_contain_text("2 of 16")
    expect(answers).to_have_count(0)
    box.locator(".back").click()
    expect(answers).to_have_count(2)


def test_arrows_walk_over_the_grid(page: Page) -> None:
    search(page, "red")
    order = ids(page)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    assert focused_id(page) == order[1]
    page.keyboard.press("End")
    assert focused_id(page) == order[-1]
    page.keyboard.press("Home")
    page.keyboard.press("ArrowDown")
    below = focused_id(page)
    assert below is not None
    assert below not in order[:2]
    page.keyboard.press("ArrowUp")
    assert focused_id(page) == order[0]
    page.keyboard.press("ArrowUp")
    assert page.evaluate("document.activeElement.id") == "q"


def test_filters_are_checked_while_typed_and_made_from_metadata(page: Page) -> None:
    search(page, "red")
    page.click("#tune summary")
    page.fill("#filter", '{"must": [')
    page.click("#tune .solid")
    expect(page.locator("#filter-error")).to_contain_text("Not JSON yet")
    page.fill("#filter", '{"mst": []}')
    page.click("#tune .solid")
    expect(page.locator("#filter-error")).to_contain_text("mst")
    expect(page.locator(".note h1")).to_have_text("The filter cannot be read.")
    page.fill("#filter", "")
    page.click("#tune .solid")
    settled(page)
    page.click(f"{SHOWN} >> nth=0")
    page.get_by_role("button", name="1", exact=True).click()
    expect(page.locator(".chips")).to_contain_text("colours = 1")
    assert len(ids(page)) == 8
    assert json.loads(query_of(page)["filter"][0]) == {"must": [{"field": "metadata.colours", "equals": 1}]}
    page.click(".chips a")
    expect(page.locator(".chips")).to_have_count(0)
    assert len(ids(page)) == 16


def test_chosen_dropped_and_pasted_files_are_added(page: Page, tmp_path: Path) -> None:
    chosen = tmp_path / "chosen.png"
    chosen.write_bytes(png("pink", side=32))
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    page.set_input_files("#files", [str(chosen), str(broken)])
    tray = page.locator("#tray")
    expect(tray).to_contain_text("1 new · 1 could not be read")
    expect(tray.locator("li")).to_have_count(1)
    expect(tray.locator("li b")).to_have_text("broken.png")
    expect(page.locator(SHOWN)).to_have_count(17)
    for event, name, colour in (("drop", "dataTransfer", "brown"), ("paste", "clipboardData", "grey")):
        page.evaluate(BRING, [event, name, base64.b64encode(png(colour, side=32)).decode()])
        expect(tray).to_contain_text("1 new", timeout=30_000)
        expect(tray.locator("li")).to_have_count(0)
        expect(page.locator("#drop")).to_be_hidden()
    expect(page.locator(SHOWN)).to_have_count(19)
    expect(page.locator(".facts")).to_contain_text("19 pictures")
    expect(page.locator("#collection option:checked")).to_have_text("colours · 19")
    tray.get_by_role("link", name="look at them").click()
    expect(page.locator(".chips")).to_contain_text("just added")
    expect(page.locator(SHOWN)).to_have_count(1)


def test_a_server_that_went_away_is_told(page: Page) -> None:
    page.route("**/*q=*", lambda route: route.abort())
    page.evaluate("console.error = () => {}")
    page.keyboard.press("/")
    page.keyboard.type("red")
    page.keyboard.press("Enter")
    expect(page.locator(".note h1")).to_have_text("The server does not answer.")
    page.unroute("**/*q=*")


def test_nothing_matching_is_said(page: Page) -> None:
    search(page, "an elephant")
    expect(page.locator(".note h1")).to_have_text("Nothing here matches.")
    expect(page.locator("#say")).to_contain_text("Nothing here matches.")


def test_the_theme_is_kept(page: Page) -> None:
    page.click("#theme")
    page.click("#theme")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(16, 17, 18)"


def test_nothing_sticks_out_on_a_phone(page: Page) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    search(page, "red blue")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.click(f"{SHOWN} >> nth=0")
    assert page.evaluate("document.querySelector('#box').scrollWidth") <= 360


def test_it_works_without_javascript(browser: Browser, site: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{site}/?collection=colours")
    page.fill("#q", "red blue")
    page.keyboard.press("Enter")
    page.wait_for_url("**q=red+blue**")
    hits = [tile.get_attribute("data-hit") or "" for tile in page.locator(".tile").all()]
    assert json.loads(hits[0])["id"] == "red-blue.png"
    page.click("[data-order=itc]")
    page.wait_for_url("**order=itc**")
    first = page.locator(".tile").first.get_attribute("data-hit") or ""
    assert json.loads(first)["itc_rank"] == 1
    context.close()
