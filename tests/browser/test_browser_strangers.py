"""Web pages of others, in a real browser: what they try against a server that the browser can reach.

The browser resolves every name below ``.test`` to this machine. A page of ``evil.test`` at the server's own
port (``/rebound``, which the test puts there) is what DNS rebinding makes of it; at another port it is a page
of somebody else.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext
from starlette.responses import HTMLResponse

from sightline.api.app import create_app
from sightline.api.server import running
from sightline.imaging import IsolatedDecoder
from sightline.wiring import Installation, open_installation
from tests.browser.conftest import FLAGS, Worker, settings_for

pytestmark = pytest.mark.browser
KEY = "sesame"
BLANK, REBOUND = "<!doctype html><title>A page of somebody else</title><body></body>", "/rebound"
RULES = "--host-resolver-rules=MAP *.test 127.0.0.1"
ATTACK = (Path(__file__).parent / "strangers.js").read_text()


class Quiet(BaseHTTPRequestHandler):
    """A page with nothing on it, under whatever name it is asked for."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(BLANK.encode())

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the test tells what it saw."""


@pytest.fixture(scope="module")
def strangers() -> Iterator[int]:
    """The port of a server of somebody else."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join(timeout=20)


@pytest.fixture(scope="module")
def rebinding(browser: Browser) -> Browser:
    """Chromium that resolves what ends in ``.test`` to this machine."""
    kind = browser.browser_type
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    return kind.launch(executable_path=chromium, args=[*FLAGS, RULES])


@dataclass(frozen=True)
class Site:
    """A server, its parts, and a job of it."""

    port: int
    services: Installation
    job: str

    def contents(self) -> Any:
        """All that a write could change."""
        catalog = self.services.catalog
        collections = catalog.collections()
        return (
            [one.name for one in collections],
            [
                (image.image_id, image.caption)
                for one in collections
                for image in catalog.images(one.name).items
            ],
            [dict(catalog.collection_counts(one.name)) for one in collections],
            [(job.id, job.state) for job in catalog.jobs()],
            catalog.trashed_collections(),
        )

    def attack(self) -> str:
        """The script, with what it has to know."""
        picture = (
            "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
        )
        return ATTACK.replace("JOB", self.job).replace("PNG", picture)


@contextmanager
def serving(
    folder: Path, gallery: Path, decoder: IsolatedDecoder, log: list[tuple[str, int]], **api: Any
) -> Iterator[Site]:
    """A server of the gallery's own copy; ``log`` gets the status of every request."""
    shutil.copytree(gallery, folder / "data")
    settings = settings_for(folder / "data")
    settings = settings.model_copy(update={"api": replace(settings.api, **api)})
    services = open_installation(settings, send=Worker(), decoder=decoder)
    app = create_app(services.api_parts)

    async def logged(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == REBOUND:
            await HTMLResponse(BLANK)(scope, receive, send)
            return

        async def noted(message: Any) -> None:
            if message["type"] == "http.response.start":
                log.append((f"{scope['method']} {scope['path']}", message["status"]))
            await send(message)

        await app(scope, receive, noted)

    logged.state = app.state  # type: ignore[attr-defined]
    with running(logged) as url:  # type: ignore[arg-type]
        port = urlsplit(url).port
        assert port is not None
        yield Site(port, services, services.catalog.jobs()[0].id)
    services.catalog.close()


def attack(context: BrowserContext, site: Site, page_at: str, target: str) -> list[str]:
    """Open a page and let it try everything; what it could read."""
    page = context.new_page()
    page.goto(page_at)
    found: list[str] = page.evaluate(site.attack(), target)
    page.close()
    return found


def test_without_a_key_no_page_of_others_reads_or_writes(
    rebinding: Browser, strangers: int, tmp_path: Path, gallery: Path, browser_decoder: IsolatedDecoder
) -> None:
    log: list[tuple[str, int]] = []
    with serving(tmp_path, gallery, browser_decoder, log, allowed_hosts=("pictures.test",)) as site:
        before = site.contents()
        pages = {
            # DNS rebinding: the page's own name has come to mean our server
            "rebound": (f"http://evil.test:{site.port}/rebound", f"http://evil.test:{site.port}"),
            "another port": (f"http://localhost:{strangers}/", f"http://localhost:{site.port}"),
            "another name": (f"http://evil.test:{strangers}/", f"http://127.0.0.1:{site.port}"),
            # plain http, where browsers say nothing of Sec-Fetch-Site
            "plain": (f"http://evil.test:{strangers}/", f"http://pictures.test:{site.port}"),
        }
        for name, (page_at, target) in pages.items():
            context = rebinding.new_context()
            log.clear()
            assert attack(context, site, page_at, target) == [], name
            assert len(log) > 50, f"{name}: the requests came here"
            assert [one for one in log if one[1] < 300 and not one[0].startswith("GET")] == [], name
            assert site.contents() == before, name
            context.close()
        page = rebinding.new_page()
        refused = page.goto(f"http://evil.test:{site.port}/")
        assert refused is not None
        assert (refused.status, "red.png" in page.content()) == (421, False)
        page.close()
    with serving(tmp_path / "naive", gallery, browser_decoder, log, allowed_hosts=("evil.test",)) as site:
        before, there = site.contents(), f"http://evil.test:{site.port}"
        found = attack(rebinding.new_context(), site, f"{there}/rebound", there)
        assert len(found) > 20, "the attack is one: a server that answers to the name is read"
        assert site.contents() != before, "and written to"


def test_with_a_key_no_page_of_others_acts_for_who_is_signed_in(
    rebinding: Browser, strangers: int, tmp_path: Path, gallery: Path, browser_decoder: IsolatedDecoder
) -> None:
    log: list[tuple[str, int]] = []
    with serving(tmp_path, gallery, browser_decoder, log, key=KEY) as site:
        before = site.contents()
        for name, other in (("localhost", "localhost"), ("pictures.test", "evil.test")):
            own = f"http://{name}:{site.port}"
            context = rebinding.new_context()
            page = context.new_page()
            page.goto(own)
            page.fill("#key", KEY)
            page.press("#key", "Enter")
            page.wait_for_selector("#grid")
            log.clear()
            assert attack(context, site, f"http://{other}:{strangers}/", own) == [], name
            assert len(log) > 50, f"{name}: the requests came here"
            assert [one for one in log if one[1] < 400 and not one[0].startswith("GET")] == [], name
            assert site.contents() == before, name
            page.reload()
            page.wait_for_selector("#grid", timeout=20_000)
            context.close()
