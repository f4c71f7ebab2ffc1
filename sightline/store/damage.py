"""How a damaged database shows itself, and the one sentence that is said of it then."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Final

from sightline.errors import CatalogDamagedError
from sightline.store.row_digest import RAISED

if TYPE_CHECKING:
    from sqlalchemy import URL

_SQLITE: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_NO_TEXT: Final = ("decode to UTF-8", RAISED)
_POSTGRES: Final = frozenset({"XX001", "XX002"})  # data_corrupted, index_corrupted
_HELP: Final = "`sightline doctor` says more, and `sightline restore` puts a backup in its place"


def is_damage(error: object) -> bool:
    """Whether a driver's error says that stored bytes are not what was written, rather than out of reach."""
    if isinstance(error, UnicodeDecodeError):
        return True
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        # A text that is no UTF-8 has no code of its own: we store nothing else.
        return code in _SQLITE or any(said in str(error) for said in _NO_TEXT)
    return getattr(error, "sqlstate", None) in _POSTGRES


def damaged(url: URL, error: object) -> CatalogDamagedError:
    """The sentence for a database at ``url``."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    where = url.database if url.get_backend_name() == "sqlite" else url.render_as_string(hide_password=True)
    return CatalogDamagedError(f"The catalog {where} is damaged ({lines[0].rstrip('.')}): {_HELP}.")


def damaged_value(error: ValueError) -> CatalogDamagedError:
    """The sentence for a row that holds what nobody wrote."""
    return CatalogDamagedError(f"A row of the catalog is damaged ({error}): {_HELP}.")
