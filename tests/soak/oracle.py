"""What every answer of a soak run must be: known pictures, right scores, nothing missing, one generation."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.crash.actors import SCORE_TOLERANCE


@dataclass
class Known:
    """One picture that was uploaded; times are of ``time.monotonic``."""

    sha256: str
    scores: Mapping[str, float]
    found_at: float | None = None
    """When an answer with it had arrived: every search that begins later must find it, if it ranks."""
    doomed_at: float | None = None
    """When somebody set out to delete it."""
    deleted_at: float | None = None
    """When its deletion was acknowledged: no search that begins later may find it."""


class Oracle:
    """Thread-safe."""

    def __init__(self) -> None:
        self._known: dict[str, Known] = {}
        self._generation = 0
        self._lock = threading.Lock()

    def add(self, name: str, sha256: str, scores: Mapping[str, float]) -> None:
        with self._lock:
            self._known[name] = Known(sha256, scores)

    def doom(self, name: str) -> None:
        with self._lock:
            self._known[name].doomed_at = time.monotonic()

    def deleted(self, name: str) -> None:
        with self._lock:
            self._known[name].deleted_at = time.monotonic()

    def found(self) -> list[str]:
        """Names of pictures that searches have found and nobody has doomed."""
        with self._lock:
            return [name for name, one in self._known.items() if one.found_at and not one.doomed_at]

    def newest_generation(self) -> int:
        """The highest that any answer came from until now: no later request is answered by an older one."""
        return self._generation

    def complaints(
        self, answer: Mapping[str, Any], text: str, limit: int, began: float, least_generation: int
    ) -> list[str]:
        """What is wrong with an answer to a search for the best ``limit`` that was sent at ``began``."""
        ended = time.monotonic()
        hits = answer["results"]
        names = [hit["id"] for hit in hits]
        wrong = [f"{name} twice" for name in {one for one in names if names.count(one) > 1}]
        if answer["generation"] < least_generation:
            wrong.append(f"generation {answer['generation']} after {least_generation} had answered")
        if answer["degraded"]:
            wrong.append(f"degraded: {answer['degraded']}")
        with self._lock:
            self._generation = max(self._generation, answer["generation"])
            for hit in hits:
                wrong += self._of_hit(hit, text, began)
            wrong += self._missing(hits, set(names), text, limit, began, ended)
            for name in names:
                if name in self._known and self._known[name].found_at is None:
                    self._known[name].found_at = ended
        return wrong

    def _of_hit(self, hit: Mapping[str, Any], text: str, began: float) -> list[str]:
        known = self._known.get(hit["id"])
        if known is None:
            return [f"{hit['id']} was never uploaded"]
        if known.deleted_at is not None and known.deleted_at < began:
            return [f"{hit['id']} was deleted before"]
        if not known.sha256.startswith(hit["file_url"].rpartition("v=")[2]):
            return [f"{hit['id']} with other bytes"]
        if abs(known.scores[text] - hit["itc"]) > SCORE_TOLERANCE:
            return [f"{hit['id']} scored {hit['itc']:.4f} in place of {known.scores[text]:.4f}"]
        return []

    def _missing(
        self, hits: Any, names: set[str], text: str, limit: int, began: float, ended: float
    ) -> list[str]:
        """Pictures that are better than the worst hit, were there before, and stayed until after."""
        worst = min((hit["itc"] for hit in hits), default=-2.0) if len(hits) >= limit else -2.0
        return [
            f"{name} missing: {one.scores[text]:.4f} is above {worst:.4f}"
            for name, one in self._known.items()
            if name not in names
            and one.scores[text] > worst + 2 * SCORE_TOLERANCE
            and one.found_at is not None
            and one.found_at < began
            and (one.doomed_at is None or one.doomed_at > ended)
        ]
