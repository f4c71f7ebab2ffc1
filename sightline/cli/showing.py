"""``--open``: what was found as one page of thumbnails in the browser, wherever the pictures themselves lie.

The page is served once, to whoever knows its secret address: browsers that run in a sandbox cannot read
temporary files.
"""

from __future__ import annotations

import os
import secrets
import sys
import threading
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING, Final

from sightline.cli.opening import opened
from sightline.console import remarks
from sightline.errors import CorruptionError, NotFoundError, UnavailableError

if TYPE_CHECKING:
    from pathlib import Path

    from sightline.records import SearchHit
    from sightline.store.blobs import BlobStore

SHOWN: Final = 100
"""Hits that a page shows at most."""
FETCH_SECONDS: Final = 20.0
"""How long a browser may take to start and fetch the page."""
STYLE: Final = (
    "body{font:14px system-ui,sans-serif;margin:2em;color-scheme:light dark}"
    "main{display:grid;grid-template-columns:repeat(auto-fill,minmax(16em,1fr));gap:1.5em}"
    "figure{margin:0}img{max-width:100%;border-radius:4px}figcaption{overflow-wrap:anywhere}small{opacity:.7}"
)


def show_hits(data: Path | None, asked: str, hits: Sequence[SearchHit]) -> None:
    """Open them in the browser; says so where there is none. ``asked``: the page's title."""
    if not hits:
        return
    if not _has_display():
        remarks().print("There is no display here to show the pictures on.")
        return
    with opened(data) as services:
        page = page_of(asked, hits[:SHOWN], services.blobs)
    with served_once(page) as (address, fetched):
        import webbrowser

        if not webbrowser.open(address) or not fetched.wait(FETCH_SECONDS):
            remarks().print("No browser fetched the pictures; BROWSER names the one to use.")


def page_of(asked: str, hits: Sequence[SearchHit], blobs: BlobStore) -> str:
    """HTML with everything in it."""
    figures = "\n".join(_figure(hit, blobs) for hit in hits)
    return (
        f'<!doctype html><html><meta charset="utf-8"><title>{escape(asked)}</title><style>{STYLE}</style>'
        f"<h1>{escape(asked)}</h1><main>\n{figures}\n</main></html>"
    )


@contextmanager
def served_once(page: str) -> Iterator[tuple[str, threading.Event]]:
    """An address on this machine that answers with the page, and whether it was fetched."""
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    secret, fetched, content = f"/{secrets.token_urlsafe(24)}", threading.Event(), page.encode()

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if fetched.is_set() or not secrets.compare_digest(self.path.encode(), secret.encode()):
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
            fetched.set()

        def log_message(self, format: str, *args: object) -> None:
            """Nobody reads it."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}{secret}", fetched
        finally:
            server.shutdown()
            thread.join()


def _has_display() -> bool:
    """Whether a browser with pictures can be there."""
    if sys.platform in ("darwin", "win32"):
        return True
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))


def _figure(hit: SearchHit, blobs: BlobStore) -> str:
    try:
        webp = b64encode(blobs.get_thumbnail(hit.sha256)).decode()
        image = f'<img alt="" src="data:image/webp;base64,{webp}">'
    except (NotFoundError, CorruptionError, UnavailableError) as error:
        image = f"<p>{escape(str(error))}</p>"
    match = "" if hit.match_probability is None else f" · match {hit.match_probability:.3f}"
    said = f"<br>{escape(hit.caption)}" if hit.caption else ""
    return (
        f"<figure>{image}<figcaption>{hit.rank}. <b>{escape(hit.id)}</b>{match}{said}"
        f"<br><small>{escape(hit.uri)}</small></figcaption></figure>"
    )
