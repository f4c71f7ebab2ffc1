"""A real browser on a real server: Chromium, the application, the toy model, a worker thread."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest
from fastapi.testclient import TestClient
from playwright.sync_api import Browser, BrowserContext, Page, Request, sync_playwright

from sightline.api.app import create_app
from sightline.api.server import running
from sightline.imaging import IsolatedDecoder
from sightline.settings import Settings
from sightline.wiring import Installation, open_installation
from tests.api.installation import png, upload

COLOURS = ("red", "blue", "green", "yellow", "purple", "white", "orange", "cyan")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, without a window. Its event loop ends with these tests: others run their own."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("Chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


class Worker:
    """Does what was sent at once, in a thread of its own."""

    def __init__(self) -> None:
        self.services: Installation | None = None

    def __call__(self, task_ids: Sequence[int]) -> None:
        if self.services is not None:
            Thread(target=self.services.indexer.run_pending, daemon=True).start()


def pictures() -> dict[str, bytes]:
    """Sixteen pictures: eight of one colour, eight of two, wide and high ones among them."""
    plain = {f"{name}.png": png(name, side=32) for name in COLOURS}
    pairs = zip(COLOURS, COLOURS[1:] + COLOURS[:1], strict=True)
    return plain | {f"{a}-{b}.png": png(a, b, a, b, side=32) for a, b in pairs}


@pytest.fixture(scope="session")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of an installation that holds the pictures."""
    folder = tmp_path_factory.mktemp("browser") / "data"
    with open_installation(settings_for(folder), send=Worker()) as services:
        client = TestClient(create_app(services.api_parts), "http://localhost")
        client.post("/v1/collections", json={"name": "colours"})
        items = {
            name: {"caption": name.removesuffix(".png"), "metadata": {"colours": name.count("-") + 1}}
            for name in pictures()
        }
        upload(client, pictures(), collection="colours", **items)
        services.indexer.run_pending()
    return folder


def settings_for(folder: Path) -> Settings:
    """An installation whose model is the toy."""
    empty = Settings(data=folder)
    model, api = replace(empty.model, name="toy"), replace(empty.api, event_seconds=0.1)
    return empty.model_copy(update={"model": model, "api": api})


@pytest.fixture(scope="session")
def browser_decoder() -> Iterator[IsolatedDecoder]:
    """One decoder for all uploads."""
    with IsolatedDecoder() as decoder:
        yield decoder


@contextmanager
def serving(settings: Settings, decoder: IsolatedDecoder) -> Iterator[str]:
    """The address of a server of these settings, which works at once on what is sent to it."""
    worker = Worker()
    services = worker.services = open_installation(settings, send=worker, decoder=decoder)
    with running(create_app(services.api_parts)) as url:
        yield url
    services.catalog.close()


@pytest.fixture
def site(tmp_path: Path, gallery: Path, browser_decoder: IsolatedDecoder) -> Iterator[str]:
    """The address of a server of this test's own."""
    shutil.copytree(gallery, tmp_path / "data")
    with serving(settings_for(tmp_path / "data"), browser_decoder) as url:
        yield url


@pytest.fixture(scope="module")
def looked_at(
    tmp_path_factory: pytest.TempPathFactory, gallery: Path, browser_decoder: IsolatedDecoder
) -> Iterator[str]:
    """The address of a server for tests that change nothing."""
    folder = tmp_path_factory.mktemp("looked") / "data"
    shutil.copytree(gallery, folder)
    with serving(settings_for(folder), browser_decoder) as url:
        yield url


@pytest.fixture
def empty(tmp_path: Path, browser_decoder: IsolatedDecoder) -> Iterator[str]:
    """The address of a server without any collection."""
    with serving(settings_for(tmp_path / "empty"), browser_decoder) as url:
        yield url


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A clean browser profile; motion is reduced so that nothing waits for it."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
    context.set_default_timeout(30_000)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, site: str) -> Iterator[Page]:
    """The page, open. Whatever it logs as an error, and whatever it asks of other hosts, fails the test."""
    page = context.new_page()
    wrong: list[str] = []

    def look(request: Request) -> None:
        if not request.url.startswith((site, "blob:", "data:")):
            wrong.append(f"asked for {request.url}")

    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", look)
    page.goto(f"{site}/?collection=colours")
    page.wait_for_selector("html[data-ready]")
    yield page
    expected = ("the server responded with a status of 4", "net::ERR_FAILED")  # what tests provoke
    assert [text for text in wrong if not any(words in text for words in expected)] == []
