"""An installation without pictures: a first collection and its first pictures, from the page alone."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from playwright.sync_api import BrowserContext, expect

from tests.api.installation import png

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("scripts", [True, False])
def test_a_first_collection_is_made_and_filled_from_the_page(
    context: BrowserContext, empty: str, tmp_path: Path, scripts: bool
) -> None:
    if not scripts:
        assert context.browser
        context = context.browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(empty)
    models = page.locator("#first select option").all_inner_texts()
    assert models == ["toy", "demo (knows drawn pictures only)"], (
        "the one that is set, and the one that ships"
    )
    page.fill("#first input", "my pictures")
    page.click("#first button")
    expect(page.locator("#first-wrong")).to_contain_text("letters, digits")
    assert page.input_value("#first input") == "my pictures"
    page.fill("#first input", "mine")
    page.click("#first button")
    page.wait_for_url("**/?collection=mine")
    expect(page.locator(".note h1")).to_have_text("No pictures yet.")
    assert "--" not in page.locator("body").inner_text(), "no command lines"
    assert httpx.get(f"{empty}/v1/collections/mine").json()["model"] == "toy"
    if not scripts:
        expect(page.locator("[data-choose]")).to_be_hidden()
        context.close()
        return
    file = tmp_path / "red.png"
    file.write_bytes(png("red", side=32))
    with page.expect_file_chooser() as chooser:
        page.click("[data-choose]")
    chooser.value.set_files(str(file))
    expect(page.locator("#grid .tile")).to_have_count(1)
    expect(page.locator("#collection option:checked")).to_have_text("mine · 1")
    page.close()


def test_the_chosen_model_is_the_collections(context: BrowserContext, empty: str) -> None:
    page = context.new_page()
    page.goto(empty)
    page.select_option("#first select", label="demo (knows drawn pictures only)")
    page.click("#first button")
    page.wait_for_url("**/?collection=pictures")
    assert httpx.get(f"{empty}/v1/collections/pictures").json()["model"] == "demo"
    page.close()


def test_pictures_dropped_before_there_is_a_collection_make_the_one_that_is_named(
    context: BrowserContext, empty: str, tmp_path: Path
) -> None:
    page = context.new_page()
    page.goto(empty)
    page.fill("#first input", "dropped")
    file = tmp_path / "blue.png"
    file.write_bytes(png("blue", side=32))
    page.set_input_files("#files", str(file))
    expect(page.locator("#tray")).to_contain_text("1 new")
    assert httpx.get(f"{empty}/v1/collections/dropped").json()["images"] == 1
    page.close()
