"""Who uses the installation during a soak run: searchers, one who adds and deletes, visitors of the page."""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from tests.crash.actors import TEXTS, Pictures
from tests.crash.client import multipart
from tests.soak.oracle import Oracle

COLLECTION = "soak"
BASE = f"/v1/collections/{COLLECTION}"
TIMEOUT_SECONDS = 30.0
LIMIT = 50
IDLE_SECONDS = 2.0
"""A connection that rested for longer is not used again: the server may be closing it."""
ADDED_PER_SECOND = 5
DELETED_SHARE = 0.01


@dataclass
class Record:
    """What was seen. Thread-safe."""

    say: Callable[[str], None]
    began: float = field(default_factory=time.monotonic)
    latencies: list[tuple[float, float]] = field(default_factory=list)
    """(seconds since the beginning, milliseconds) of every search."""
    counts: dict[str, int] = field(default_factory=dict)
    errors: int = 0
    wrong: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, what: str, number: int = 1) -> None:
        with self._lock:
            self.counts[what] = self.counts.get(what, 0) + number

    def latency(self, since: float) -> None:
        now = time.monotonic()
        with self._lock:
            self.latencies.append((now - self.began, (now - since) * 1000))

    def error(self, sentence: str) -> None:
        with self._lock:
            self.errors += 1
            few = self.errors <= 20
        if few:
            self.say(f"ERROR {sentence}")

    def wrong_answer(self, complaints: list[str]) -> None:
        with self._lock:
            self.wrong += 1
            few = self.wrong <= 20
        if few:
            self.say(f"WRONG {'; '.join(complaints[:3])}")


class User:
    """Does ``turn`` until told to stop, over one connection that is kept."""

    def __init__(self, name: str, port: int, record: Record) -> None:
        self.random = random.Random(name)
        self.record = record
        self.ended = threading.Event()
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
        self._used = time.monotonic()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def leave(self) -> None:
        self._thread.join(timeout=2 * TIMEOUT_SECONDS)

    def turn(self) -> None:
        raise NotImplementedError

    def ask(
        self, method: str, url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Status and body; whatever is not as expected is an error of the run."""
        if time.monotonic() - self._used > IDLE_SECONDS:
            self._connection.close()
        try:
            self._connection.request(method, url, body, dict(headers or {}))
            answer = self._connection.getresponse()
            said = answer.read()
            self._used = time.monotonic()
            return answer.status, said
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            self.record.error(f"{method} {url[:80]}: {type(error).__name__}: {error}")
            return 0, b""

    def expect(self, allowed: tuple[int, ...], method: str, url: str, **given: Any) -> bytes | None:
        """The body of an answer with one of these statuses."""
        status, body = self.ask(method, url, **given)
        if status in allowed:
            return body
        if status:
            self.record.error(f"{method} {url[:80]}: {status} {body[:300]!r}")
        return None

    def _run(self) -> None:
        while not self.ended.is_set():
            try:
                self.turn()
            except Exception as error:
                self.record.error(f"{self._thread.name} broke: {type(error).__name__}: {error}")
                self.ended.wait(1.0)
        self._connection.close()


class Searcher(User):
    """Asks, checks every answer, asks again."""

    def __init__(self, name: str, port: int, record: Record, oracle: Oracle) -> None:
        super().__init__(name, port, record)
        self._oracle = oracle

    def turn(self) -> None:
        text = self.random.choice(TEXTS)
        body = {"text": text, "limit": LIMIT, "candidates": LIMIT, "rerank": self.random.random() < 0.3}
        least, began = self._oracle.newest_generation(), time.monotonic()
        said = self.expect(
            (200,),
            "POST",
            f"{BASE}/search",
            body=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        if said is None:
            self.ended.wait(0.5)
            return
        self.record.latency(began)
        self.record.count("searches")
        if complaints := self._oracle.complaints(json.loads(said), text, LIMIT, began, least):
            self.record.wrong_answer(complaints)
        self.ended.wait(self.random.uniform(0.0, 0.1))


class Keeper(User):
    """Adds five pictures each second, and deletes one of a hundred."""

    def __init__(self, name: str, port: int, record: Record, oracle: Oracle) -> None:
        super().__init__(name, port, record)
        self._oracle, self._pictures = oracle, Pictures()
        self._given, self._next = 0, time.monotonic()

    def turn(self) -> None:
        self.add(ADDED_PER_SECOND)
        if self.random.random() < DELETED_SHARE * ADDED_PER_SECOND and (names := self._oracle.found()):
            self._delete(self.random.choice(names))
        self._next = max(self._next + 1.0, time.monotonic() - 5.0)
        self.ended.wait(max(0.0, self._next - time.monotonic()))

    def add(self, number: int) -> None:
        """Upload pictures that nobody has had before."""
        files: dict[str, bytes] = {}
        for _ in range(number):
            self._given += 1
            sha256, data = self._pictures.new()
            files[name := f"{self._given // 100}/{self._given:06}.png"] = data
            scores = {text: self._pictures.score(sha256, text) for text in TEXTS}
            self._oracle.add(name, sha256, scores)
        body, kind = multipart(files)
        headers = {"Content-Type": kind}
        if self.expect((202,), "POST", f"{BASE}/images", body=body, headers=headers) is not None:
            self.record.count("pictures added", number)

    def _delete(self, name: str) -> None:
        self._oracle.doom(name)
        if self.expect((204,), "DELETE", f"{BASE}/images/{quote(name, safe='')}") is not None:
            self._oracle.deleted(name)
            self.record.count("pictures deleted")


class Visitor(User):
    """Looks at the page and its pictures as a browser does, and at what operators look at."""

    def __init__(self, name: str, port: int, record: Record) -> None:
        super().__init__(name, port, record)
        self._tags: dict[str, str] = {}

    def turn(self) -> None:
        text = quote(self.random.choice(TEXTS))
        for url in (
            f"/?collection={COLLECTION}",
            f"/?collection={COLLECTION}&q={text}",
            "/static/sightline.css",
        ):
            if self.expect((200,), "GET", url) is not None:
                self.record.count("pages")
        said = self.expect((200,), "GET", f"{BASE}/images?limit=12")
        for image in json.loads(said)["items"] if said else ():
            self._picture(image["thumbnail_url"])
            if self.random.random() < 0.2:
                self._picture(image["file_url"])
        for url in ("/readyz", "/metrics", "/v1/collections", "/v1/jobs?limit=5"):
            self.expect((200,), "GET", url)
        self.ended.wait(self.random.uniform(0.2, 0.6))

    def _picture(self, url: str) -> None:
        """404: deleted since it was listed."""
        headers = {"If-None-Match": "*"} if self.random.random() < 0.3 else {}
        if self.expect((200, 304, 404), "GET", url, headers=headers) is not None:
            self.record.count("pictures shown")
