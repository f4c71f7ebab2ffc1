"""A checksum for each row of the tables that matter, kept by SQLite itself.

SQLite compares tables with their indexes (``PRAGMA integrity_check``) but has no checksum of what no index
holds: a flipped bit in a caption is simply another caption. So each such table has an index over
``row_digest(column, …)``, 8 bytes a row, which every writer keeps in the same transaction, whoever it is; a
row that was changed otherwise is not where that index says. The function is ours, so a connection has to know
it before it writes: other programs may read the file, and cannot write to it.
"""

from __future__ import annotations

import hashlib
import sqlite3
import struct
from collections.abc import Mapping, Sequence
from typing import Final

NAME: Final = "row_digest"
RAISED: Final = "user-defined function raised exception"
"""What SQLite says when a text that it hands over is no UTF-8."""
_LENGTH: Final = struct.Struct("<Q").pack
_DOUBLE: Final = struct.Struct("<d").pack

DIGESTED: Final[Mapping[str, Sequence[str]]] = {
    "images": (
        "image_id", "sha256", "uri", "caption", "metadata", "width", "height", "bytes", "replaces_key",
        "reason", "detail", "created_at", "published_at", "buried_at", "trashed_at", "changed",
    ),
    "collections": ("version", "created_at", "trashed_at", "trashed_name", "index_kind"),
    "feature_sets": ("model", "revision", "num_query_tokens", "joint_dim", "created_at"),
    "sources": ("created_at",),
    "jobs": ("kind", "state", "sealed", "unchanged", "deleted", "request", "updated_at", "detail",
             "broken", "refreshed", "duplicates"),
    "tasks": ("kind", "state", "owner", "attempt", "lease_expires_at", "lease_seconds", "sent_at",
              "created_at", "errors", "deaths", "turn"),
    "segments": ("sha256", "count", "codec", "bytes", "created_at", "retired_at"),
    "generations": ("parameters", "sha256", "covered", "images", "file", "created_at"),
    "job_seen": ("image_id", "source_id"),
    "released_blobs": ("sha256", "since"),
    "task_items": ("key", "state", "reason", "detail"),
    "keys": ("name", "sha256", "scope", "collections", "created_at", "expires_at", "revoked_at",
             "last_used_at"),
    "texts": ("model", "text", "words", "log_probability", "match_probability", "judge", "verdict",
              "overruled", "job_id", "created_at"),
    "calibrations": ("kind", "parameters", "report", "created_at"),
    "saved_searches": ("question", "min_probability", "round", "judged_by", "judged_version", "judged_key",
                       "trouble", "webhook", "secret", "due_at", "failures", "webhook_trouble", "delivered",
                       "delivered_at", "created_at"),
    "saved_members": ("probability", "joined_at"),
    "saved_deliveries": ("token", "attempts"),
    "picture_hashes": ("hash",),
}  # fmt: skip
"""Table → the columns that no other index holds. Migrations make these indexes, the models do not know them.
A placement is compared with its segment instead.
"""


def install(connection: sqlite3.Connection) -> None:
    """Make the function known; a schema that uses it is refused otherwise."""
    connection.create_function(NAME, -1, digest, deterministic=True)
    connection.execute("PRAGMA trusted_schema=ON")


def digest(*values: object) -> int:
    """A signed 64-bit number, the same for the same values on every machine and for ever."""
    # Called for each row that is written, twice for one that is changed: no call for each value.
    parts: list[bytes] = []
    for value in values:
        if value is None:
            parts.append(b"n")
        elif isinstance(value, str):
            text = value.encode("utf-8", "surrogatepass")
            parts += b"s", _LENGTH(len(text)), text
        elif isinstance(value, int):
            parts += b"i", value.to_bytes(9, "little", signed=True)
        elif isinstance(value, float):
            parts += b"f", _DOUBLE(value)
        elif isinstance(value, bytes):
            parts += b"b", _LENGTH(len(value)), value
    hashed = hashlib.blake2b(b"".join(parts), digest_size=8)
    return int.from_bytes(hashed.digest(), "little", signed=True)


def statements(columns: Mapping[str, Sequence[str]]) -> list[str]:
    """What makes the indexes: table → columns that no other index holds."""
    return [
        f"CREATE INDEX ix_{table}_digest ON {table} ({NAME}({', '.join(names)}))"
        for table, names in columns.items()
    ]
