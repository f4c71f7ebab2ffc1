"""The rows of one Milvus collection: one for each token, found by inner product.

Fields: ``id`` (given by Milvus), ``key`` int64, ``token`` int16, ``part`` int64 (of one build), ``vector``
fp32 ``[D]``, which every index takes. Nothing here trusts that a row is there only once, or at all.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sightline.errors import IndexUnavailableError, InputError
from sightline.store.milvus.connection import Connection, LostRowsError, refusal

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sightline.types import Half, Keys, Vector

MOST_HITS: Final = 16_384
"""Milvus answers with no more."""
INSERTED_AT_ONCE: Final = 8_192
"""Rows of one message: 8 MB at D = 256."""
NAMED_AT_ONCE: Final = 10_000
"""Keys of one expression that deletes."""
SETTLE_SECONDS: Final = 600.0
"""How long a server may take until it shows, or indexes, anything more of what was inserted."""
LARGEST_SEGMENT: Final = 2_000_000
"""Rows that Milvus indexes together, about: it makes each of its segments an index of its own."""
_LOOK_SECONDS: Final = 0.2


def cells(rows: int) -> int:
    """How many cells an index of so many rows gets: the power of two next to 4·√rows (of a segment)."""
    return int(2 ** round(math.log2(max(16.0, 4 * math.sqrt(min(rows, LARGEST_SEGMENT))))))


@dataclass(frozen=True)
class TokenRows:
    """A collection by its name. Thread-safe. Errors are those of `Connection`."""

    connection: Connection
    name: str

    def exists(self) -> bool:
        """Whether the server has it."""
        found: bool = self.connection.work(lambda client, s: client.has_collection(self.name, timeout=s))
        return found

    def create(self, dim: int, nlist: int) -> str:
        """Make it, empty and ready to be searched; the type of index that the server offers.

        `InputError` when it has none of those that may be used.
        """
        return self.connection.work(lambda client, seconds: self._create(client, seconds, dim, nlist))

    def drop(self) -> None:
        """Nothing when it is gone."""
        self.connection.work(lambda client, s: client.drop_collection(self.name, timeout=s))

    def load(self) -> None:
        """Ready to be searched; cheap when it is."""
        self.connection.ask(lambda client, s: client.load_collection(self.name, timeout=s))

    def insert(self, keys: Keys, tokens_NQD: Half, part: int) -> None:
        """One row for each token of these images."""
        queries = tokens_NQD.shape[1]
        vectors = tokens_NQD.reshape(-1, tokens_NQD.shape[2])
        for start in range(0, len(vectors), INSERTED_AT_ONCE):
            chunk = vectors[start : start + INSERTED_AT_ONCE].astype(np.float32)
            numbers = np.arange(start, start + len(chunk))
            named = zip(keys[numbers // queries].tolist(), (numbers % queries).tolist(), chunk, strict=True)
            rows = [{"key": key, "token": token, "part": part, "vector": row} for key, token, row in named]
            self._insert(rows)

    def delete_keys(self, keys: Keys) -> None:
        """All rows of these images."""
        for start in range(0, len(keys), NAMED_AT_ONCE):
            self._delete(f"key in {keys[start : start + NAMED_AT_ONCE].tolist()}")

    def delete_parts(self, parts: Sequence[int]) -> None:
        """All rows of these builds."""
        if parts:
            self._delete(f"part in {sorted(parts)}")

    def compact(self) -> None:
        """Have the server write what is left of its files, without what was deleted."""
        self.connection.work(lambda client, seconds: client.compact(self.name, timeout=seconds))

    def count(self, expression: str, consistency: str = "Strong") -> int:
        """How many rows it holds (of those that the expression means)."""
        found = self.connection.work(
            lambda client, seconds: client.query(
                self.name, filter=expression, output_fields=["count(*)"],
                consistency_level=consistency, timeout=seconds,
            )
        )  # fmt: skip
        return int(found[0]["count(*)"])

    def count_keys(self, keys: Keys) -> int:
        """How many rows there are of these images."""
        starts = range(0, len(keys), NAMED_AT_ONCE)
        return sum(self.count(f"key in {keys[one : one + NAMED_AT_ONCE].tolist()}") for one in starts)

    def stored_keys(self) -> Iterator[Keys]:
        """The key of each row, some thousand rows at a time."""
        rows = self.connection.work(self._iterator)
        try:
            while page := self.connection.work(lambda client, seconds: rows.next()):
                yield np.array([row["key"] for row in page], np.int64)
        finally:
            rows.close()

    def search(self, vector_D: Vector, hits: int, probes: int, expression: str) -> Keys:
        """The images' keys of the best rows ``[≤ hits]``, best first."""
        found = self.connection.ask(
            lambda client, seconds: client.search(
                self.name, data=[vector_D.tolist()], limit=hits, filter=expression, output_fields=["key"],
                anns_field="vector", search_params={"metric_type": "IP", "params": {"nprobe": probes}},
                consistency_level="Bounded", timeout=seconds,
            )
        )  # fmt: skip
        return np.array([hit["entity"]["key"] for hit in found[0]], np.int64)

    def settle(self, parts: Sequence[int], rows: int) -> None:
        """Wait until everybody sees ``rows`` rows of these parts, and all are indexed.

        Searches look at a state that is a little old; what such a look shows, all later ones show.
        `IndexUnavailableError` when nothing goes on any more.
        """
        self.connection.work(lambda client, seconds: client.flush(self.name, timeout=seconds))
        expression = f"part in {sorted(parts)}"
        self._wait(lambda: rows - self.count(expression, "Bounded") if rows else 0, "shows")
        self._wait(self._unindexed, "indexes")

    def _wait(self, left: Any, what: str) -> None:
        fewest, since = left(), time.monotonic()
        while fewest > 0:
            if time.monotonic() - since > SETTLE_SECONDS:
                where = self.connection.server.name
                raise IndexUnavailableError(
                    f"Milvus at {where} {what} no more rows, and {fewest} are left: look at its own log."
                )
            time.sleep(_LOOK_SECONDS)
            now = left()
            if now < fewest:
                fewest, since = now, time.monotonic()

    def _unindexed(self) -> int:
        found = self.connection.work(lambda client, s: client.describe_index(self.name, "vector", timeout=s))
        return int((found or {}).get("pending_index_rows", 0))

    def _insert(self, rows: list[dict[str, Any]]) -> None:
        self.connection.work(lambda client, seconds: client.insert(self.name, rows, timeout=seconds))

    def _delete(self, expression: str) -> None:
        self.connection.work(lambda client, s: client.delete(self.name, filter=expression, timeout=s))

    def _iterator(self, client: Any, seconds: float) -> Any:
        return client.query_iterator(
            self.name, batch_size=MOST_HITS // 2, filter="", output_fields=["key"], timeout=seconds,
            consistency_level="Strong",
        )  # fmt: skip

    def _create(self, client: Any, seconds: float, dim: int, nlist: int) -> str:
        from pymilvus import DataType

        schema = client.create_schema(auto_id=True, enable_dynamic_field=False)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("key", DataType.INT64)
        schema.add_field("token", DataType.INT16)
        schema.add_field("part", DataType.INT64)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dim)
        client.create_collection(
            self.name, schema=schema, consistency_level="Bounded", timeout=seconds
        )  # without an index: the first type that the server takes is found next
        for field in ("key", "part"):
            params = client.prepare_index_params()
            params.add_index(field, index_type="INVERTED")
            client.create_index(self.name, params, timeout=seconds)
        kind = self._index(client, seconds, nlist)
        client.load_collection(self.name, timeout=seconds)
        return kind

    def _index(self, client: Any, seconds: float, nlist: int) -> str:
        said = ""
        for kind in self._offered(client):
            params = client.prepare_index_params()
            params.add_index("vector", index_type=kind, metric_type="IP", params={"nlist": nlist})
            try:
                client.create_index(self.name, params, timeout=seconds)
            except refusal() as error:
                said = str(error).rstrip(".")
                continue
            return kind
        where = self.connection.server.name
        raise InputError(f"Milvus at {where} has none of the indexes that are used here ({said}).")

    def _offered(self, client: Any) -> tuple[str, ...]:
        """Types of index, the best first. milvus-lite takes any name, and then fails to build it."""
        asked = self.connection.server.index
        if asked != "auto":
            return (asked,)
        is_lite = "lite" in str(client.get_server_version()).lower()
        return ("IVF_SQ8",) if is_lite else ("IVF_RABITQ", "IVF_SQ8")


def require_rows(rows: TokenRows, parts: Sequence[int], expected: int) -> None:
    """`LostRowsError` unless so many rows of these parts are there, and the collection can be searched."""
    rows.load()
    found = rows.count(f"part in {sorted(parts)}") if expected else 0
    if found < expected:
        raise LostRowsError(
            f"Milvus at {rows.connection.server.name} has {found} of the {expected} rows of {rows.name}: "
            "run `sightline generations sync`."
        )


def distinct(keys: Keys) -> NDArray[np.int64]:
    """Each key once, by its first sight."""
    _, first = np.unique(keys, return_index=True)
    return keys[np.sort(first)]
