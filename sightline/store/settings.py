"""How long the catalog's database is waited for. A plain dataclass: the roof nests it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DatabaseSettings:
    """How long the catalog's database is waited for."""

    connect_seconds: float = 3.0
    """Connecting to PostgreSQL (two seconds at least), waiting for a free connection, and asking an idle one
    whether it still lives: each of them, at most.
    """
    request_seconds: float = 10.0
    """One statement of a request over HTTP, at most; then it is answered with 503."""
    work_seconds: float = 1800.0
    """One statement of a worker, the builder or a command, at most: deleting and migrating may take long. As
    long one waits for another process that migrates the catalog.
    """
    lock_seconds: float = 30.0
    """How long a writer of SQLite waits for another process that writes."""
    rest_seconds: float = 2.0
    """When the database did not answer in time, requests are refused at once for so long; then one of them
    tries again.
    """
