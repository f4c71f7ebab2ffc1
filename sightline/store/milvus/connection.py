"""A Milvus server: its client, made at first use, with bounded waits and errors in plain sentences.

pymilvus is imported with the first call, not with the module: it takes seconds, and most have no Milvus.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from sightline.errors import CorruptionError, IndexUnavailableError

Answer = TypeVar("Answer")

GONE: Final = frozenset({100, 101})
"""Milvus's codes for a collection that is not there, and for one that is not loaded."""
WORK_SECONDS: Final = 120.0
"""One call of a build or a comparison, at most: batches are inserted, flushed and deleted by them."""
_LONGEST_REASON: Final = 300
_CALM: Final = {"grpc.keepalive_time_ms": 60_000, "grpc.keepalive_permit_without_calls": False}
"""pymilvus pings every ten seconds, and a server that counts on gRPC's own five minutes hangs up."""


class LostRowsError(CorruptionError):
    """What a generation names on the server is gone, or not all there."""


@dataclass(frozen=True)
class MilvusServer:
    """Where Milvus is: ``uri`` is ``http://host:19530``, or a file that ends in ``.db`` (milvus-lite).

    ``token`` is ``user:password`` or a key; ``database`` "" is the default one; ``index`` is ``auto`` or a
    type of index with cells (``IVF_…``); a search waits ``seconds`` for each answer, at most.
    """

    uri: str
    token: str | None = None
    database: str = ""
    index: str = "auto"
    seconds: float = 5.0

    @property
    def name(self) -> str:
        """How it is called in sentences: without user, password and key."""
        parts = urlsplit(self.uri)
        return f"{parts.hostname}:{parts.port or 19530}" if parts.hostname else self.uri


class Connection:
    """One client for a process. Thread-safe."""

    def __init__(self, server: MilvusServer) -> None:
        self.server = server
        self._client: Any = None
        self._lock = threading.Lock()

    def ask(self, question: Callable[[Any, float], Answer]) -> Answer:
        """As `work`, for what a search waits for."""
        return self._call(question, self.server.seconds)

    def work(self, question: Callable[[Any, float], Answer]) -> Answer:
        """What ``question`` makes of the client and the seconds that each call may take.

        `LostRowsError` when a collection is not there, `IndexUnavailableError` for all else that fails.
        """
        return self._call(question, WORK_SECONDS)

    def _call(self, question: Callable[[Any, float], Answer], seconds: float) -> Answer:
        failures = _failures(self.server)
        try:
            return question(self._connected(), seconds)
        except failures as error:
            raise _translated(self.server, error) from error

    def _connected(self) -> Any:
        with self._lock:
            if self._client is None:
                from pymilvus import MilvusClient

                server = self.server
                self._client = MilvusClient(
                    uri=server.uri,
                    token=server.token or "",
                    db_name=server.database,
                    timeout=server.seconds,
                    grpc_options=_CALM,
                )
            return self._client


def refusal() -> type[Exception]:
    """What pymilvus raises when the server refuses something."""
    from pymilvus import MilvusException

    refused: type[Exception] = MilvusException
    return refused


def _failures(server: MilvusServer) -> tuple[type[Exception], ...]:
    """All that pymilvus raises for a server's sake; a sentence when it is not installed."""
    try:
        import grpc
        import pymilvus
    except ImportError:
        raise IndexUnavailableError(
            "Milvus's client is not installed: pip install 'sightline[milvus]'."
        ) from None
    # What it logs besides raising it would be said twice, with whole expressions.
    logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
    return pymilvus.MilvusException, grpc.RpcError, OSError


def _translated(server: MilvusServer, error: Exception) -> LostRowsError | IndexUnavailableError:
    said = str(getattr(error, "message", "") or error).strip().split("\n")[0][:_LONGEST_REASON].rstrip(".")
    if server.token:
        said = said.replace(server.token, "…")
    if getattr(error, "code", None) in GONE:
        return LostRowsError(
            f"Milvus at {server.name} has lost a collection ({said}): run `sightline generations sync`."
        )
    return IndexUnavailableError(
        f"Milvus at {server.name} did not answer as it should ({said}): start it, or look at "
        "SIGHTLINE_RETRIEVER__MILVUS_URI."
    )
