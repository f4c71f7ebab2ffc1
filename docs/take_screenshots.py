"""Takes the pictures of the page in docs/images from a running `sightline demo` (needs Chromium).

sightline demo --port 8000 &
python docs/take_screenshots.py http://127.0.0.1:8000 --collection demo
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from urllib.parse import urlencode

from playwright.sync_api import Browser, Page, sync_playwright

HERE = Path(__file__).parent
QUERY = "a red car and a blue house"
ABSENT = "a purple train"
COUNTED = "a red car"
LIKE = "picture-160"
WIDE, PHONE = (1440, 900), (390, 844)


def open_page(browser: Browser, size: tuple[int, int], scheme: str) -> Page:
    """A window of this size in a light or dark look."""
    phone = size == PHONE
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme="dark" if scheme == "dark" else "light",
        device_scale_factor=2 if phone else 1,
        has_touch=phone,
        is_mobile=phone,
    )
    return context.new_page()


def show(page: Page, url: str, collection: str, **query: str) -> None:
    """Open the page, and wait until its pictures and its motion are done."""
    page.goto(f"{url}/?{urlencode({'collection': collection} | query)}", wait_until="networkidle")
    page.wait_for_selector("html[data-ready]")
    page.wait_for_timeout(1500)


def take(browser: Browser, url: str, collection: str, out: Path) -> None:
    """All pictures of the documentation."""
    out.mkdir(parents=True, exist_ok=True)
    for scheme in ("light", "dark"):
        page = open_page(browser, WIDE, scheme)
        show(page, url, collection, q=QUERY)
        page.screenshot(path=out / f"search-{scheme}.png")
        page.click("#grid .tile >> nth=0")
        page.wait_for_timeout(900)
        page.screenshot(path=out / f"lightbox-{scheme}.png")
    page = open_page(browser, WIDE, "light")
    show(page, url, collection, q=QUERY, order="itc")
    page.screenshot(path=out / "search-itc.png")
    show(page, url, collection)
    page.screenshot(path=out / "home.png")
    show(page, url, collection, q=ABSENT)
    page.screenshot(path=out / "nothing-matches.png")
    show(page, url, collection, q=COUNTED, min="0.5")
    page.screenshot(path=out / "threshold.png")
    show(page, url, collection, like=LIKE)
    page.locator("#grid .tile").nth(1).hover()
    page.wait_for_timeout(400)
    page.screenshot(path=out / "like-this.png")
    show(page, url, collection, q=QUERY)
    page.click("#grid .tile >> nth=0")
    page.click("#box .ask-why")
    page.get_by_role("button", name="house, without").click()
    page.wait_for_timeout(900)
    page.screenshot(path=out / "why.png")
    page = open_page(browser, PHONE, "dark")
    show(page, url, collection, q=QUERY)
    page.screenshot(path=out / "phone.png")


def main() -> None:
    """Parse the command line and take the pictures."""
    parser = argparse.ArgumentParser(description="Take screenshots of a running Sightline.")
    parser.add_argument("url", nargs="?", default="http://127.0.0.1:8000")
    parser.add_argument("--collection", default="demo")
    parser.add_argument("--out", type=Path, default=HERE / "images")
    options = parser.parse_args()
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
        take(browser, options.url.rstrip("/"), options.collection, options.out)
        browser.close()


if __name__ == "__main__":
    main()
