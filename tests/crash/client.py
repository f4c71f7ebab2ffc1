"""The HTTP API as a careful client sees it: what was acknowledged, what was refused, what is in doubt."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

Outcome = Literal["done", "refused", "doubt"]
TIMEOUT_SECONDS = 8.0
PAGE = 1000
"""Hits of one answer, at most: what an API answers at once."""


@dataclass(frozen=True)
class Hit:
    """One picture of an answer."""

    id: str
    sha256: str
    """Its beginning, as the address of the file has it."""
    itc: float


class Silence(Exception):
    """No usable answer."""


class Client:
    """One collection of a server. Every call opens a connection of its own. Thread-safe."""

    def __init__(self, port: int, collection: str) -> None:
        self._port = port
        self._collection = collection

    def create(self) -> None:
        status, body = self._ask("POST", "/v1/collections", {"name": self._collection})
        assert status in (200, 201), body

    def upload(self, files: Mapping[str, bytes]) -> Outcome:
        """``done``: every one was accepted (or is there already)."""
        body, kind = multipart(files)
        try:
            status, answer = self._ask("POST", self._url("/images"), body, kind)
        except ConnectionRefusedError:
            return "refused"
        except Silence:
            return "doubt"
        if status != 202:
            return "refused" if 400 <= status < 500 else "doubt"
        said = {line["status"] for line in json.loads(answer)["files"]}
        assert said <= {"pending", "unchanged"}, answer
        return "done"

    def delete(self, name: str) -> Outcome:
        """``refused``: 404, there is no such picture (yet)."""
        try:
            status, _ = self._ask("DELETE", self._url(f"/images/{quote(name, safe='')}"))
        except ConnectionRefusedError:
            return "refused"
        except Silence:
            return "doubt"
        return "done" if status == 204 else "refused" if status == 404 else "doubt"

    def images(self) -> list[tuple[str, str]]:
        """(id, SHA-256) of everything that the server lists."""
        found: list[tuple[str, str]] = []
        after = ""
        for _ in range(1000):
            page = self._json("GET", self._url(f"/images?limit=1000{after}"))
            found += [(one["id"], one["sha256"]) for one in page["items"]]
            if page["next_cursor"] is None:
                return found
            after = f"&cursor={quote(page['next_cursor'], safe='')}"
        raise AssertionError("the list never ended")

    def search_all(self, text: str, rerank: bool) -> list[Hit]:
        """All there are, page after page: of one instant only when nothing else goes on."""
        found: list[Hit] = []
        for offset in range(0, 10 * PAGE, PAGE):
            found += (page := self.search(text, rerank, offset))
            if len(page) < PAGE:
                return found
        raise AssertionError("the answer never ended")

    def search(self, text: str, rerank: bool, offset: int = 0) -> list[Hit]:
        """The first ``PAGE`` hits from an offset on."""
        body = {"text": text, "limit": PAGE, "offset": offset, "candidates": PAGE, "rerank": rerank}
        answer = self._json("POST", self._url("/search"), body)
        return [Hit(one["id"], one["file_url"].rpartition("v=")[2], one["itc"]) for one in answer["results"]]

    def file(self, name: str) -> bytes | None:
        """The original's bytes; None when the server has none."""
        status, body = self._ask("GET", self._url(f"/images/{quote(name, safe='')}/file"))
        if status in (404, 410):
            return None
        if status != 200:
            raise Silence(f"{status} {body[:200]!r}")
        return body

    def _url(self, rest: str) -> str:
        return f"/v1/collections/{self._collection}{rest}"

    def _json(self, method: str, url: str, body: object | None = None) -> Any:
        """Silence, too, when it is not answered with 200."""
        try:
            status, answer = self._ask(method, url, body)
        except ConnectionRefusedError as error:
            raise Silence(str(error)) from error
        if status != 200:
            raise Silence(f"{method} {url}: {status} {answer[:300]!r}")
        return json.loads(answer)

    def _ask(
        self, method: str, url: str, body: object | None = None, kind: str = "application/json"
    ) -> tuple[int, bytes]:
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT_SECONDS)
        try:
            connection.request(method, url, data, {"Content-Type": kind})
            answer = connection.getresponse()
            return answer.status, answer.read()
        except ConnectionRefusedError:
            raise
        except (OSError, http.client.HTTPException) as error:
            raise Silence(f"{type(error).__name__}: {error}") from error
        finally:
            connection.close()


def multipart(files: Mapping[str, bytes]) -> tuple[bytes, str]:
    mark = "sightline-crash"
    parts = []
    for name, data in files.items():
        head = f'Content-Disposition: form-data; name="files"; filename="{name}"\r\nContent-Type: image/png'
        parts.append(f"--{mark}\r\n{head}\r\n\r\n".encode() + data + b"\r\n")
    items = json.dumps([{"id": name} for name in files])
    field = f'--{mark}\r\nContent-Disposition: form-data; name="items"\r\n\r\n{items}\r\n--{mark}--\r\n'
    return b"".join(parts) + field.encode(), f"multipart/form-data; boundary={mark}"
