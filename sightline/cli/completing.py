"""What a shell completes from the catalog: read at once or not at all, and nothing is made for it."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import Final
from urllib.parse import quote

import typer

JOBS: Final = "SELECT id FROM jobs ORDER BY created_at DESC LIMIT 50"
COLLECTIONS: Final = "SELECT name FROM collections WHERE trashed_at IS NULL ORDER BY name"
SECONDS: Final = 0.5
"""How long a busy catalog is waited for."""


def collection_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Collections whose names begin so."""
    return _known(COLLECTIONS, ctx, incomplete)


def job_ids(ctx: typer.Context, incomplete: str) -> list[str]:
    """The latest jobs whose ids begin so, the newest first."""
    return _known(JOBS, ctx, incomplete)


def _known(query: str, ctx: typer.Context, incomplete: str) -> list[str]:
    return [text for text in _rows(query, ctx.params.get("data")) if text.startswith(incomplete)]


def _rows(query: str, data: Path | None) -> list[str]:
    """The first column. Of a catalog in SQLite: a database server is not waited for at a prompt.

    Without the settings and SQLAlchemy, which take longer than a prompt may.
    """
    import sqlite3

    file = _catalog(data)
    if file is None or not file.is_file():
        return []
    mode = "rw" if os.access(file, os.W_OK) and os.access(file.parent, os.W_OK) else "ro"
    address = f"file:{quote(os.fsencode(file.absolute()))}?mode={mode}"
    try:
        with closing(sqlite3.connect(address, uri=True, timeout=SECONDS)) as connection:
            return [str(row[0]) for row in connection.execute(query)]
    except sqlite3.Error:
        return []


def _catalog(data: Path | None) -> Path | None:
    """The file of the catalog; None for one in another database."""
    from sightline.data_folder import CATALOG, default_folder

    url = os.environ.get("SIGHTLINE_DATABASE_URL", "")
    if url:
        return Path(url.removeprefix("sqlite:///")) if url.startswith("sqlite:///") else None
    named = data or os.environ.get("SIGHTLINE_DATA")
    return (Path(named).expanduser() if named else default_folder()) / CATALOG
