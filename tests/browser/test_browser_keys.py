"""The page behind keys: asked for, traded for a session, showing what the key may, and left again."""

from __future__ import annotations

import re

import httpx
import pytest
from playwright.sync_api import BrowserContext, expect

pytestmark = pytest.mark.browser


def test_a_reader_signs_in_searches_adds_nothing_and_signs_out(context: BrowserContext, site: str) -> None:
    with httpx.Client(base_url=site, timeout=30) as client:
        boss = client.post("/v1/keys", json={"name": "boss", "scope": "admin"}).json()["key"]
        client.headers["Authorization"] = f"Bearer {boss}"
        reader = client.post("/v1/keys", json={"name": "reader", "collections": ["colours"]}).json()["key"]
    page = context.new_page()
    page.goto(f"{site}/?collection=colours")
    page.fill("#key", "a wrong one")
    page.click(".go")
    expect(page.locator("#wrong")).to_have_text(re.compile("no key of this server"))
    page.fill("#key", reader)
    page.click(".go")
    page.wait_for_selector("html[data-ready]")
    assert page.locator("#add, #drop .adding, #files, #keep, #saved[data-writes]").count() == 0
    expect(page.locator("#grid img").first).to_have_js_property("complete", True)
    page.fill("#q", "red")
    page.press("#q", "Enter")
    expect(page.locator(".tile .prob").first).to_be_visible()
    assert reader not in str(context.cookies())
    page.click("text=Sign out")
    expect(page.locator("#key")).to_be_visible()
    page.close()
