"""The full-text index of ``texts`` in SQLite: which rows have a word. Migrations make it; triggers keep it.

It is of the words that `sightline.store.words` finds (the tokenizer ``ascii`` only splits them at blanks), of
texts that are not dropped. Nothing is kept of them but which row has which word: ranking is ours.
PostgreSQL has an index over ``texts.words`` itself in its place (`sightline.store.schema_texts`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

NAME: Final = "texts_words"
MISSING: Final = "no such module: fts5"
"""What SQLite says when it was built without full-text search."""

_INSERT: Final = f"INSERT INTO {NAME} (rowid, words) VALUES (new.id, new.words);"
_DELETE: Final = f"INSERT INTO {NAME} ({NAME}, rowid, words) VALUES ('delete', old.id, old.words);"

CREATE: Final[Sequence[str]] = (
    f"CREATE VIRTUAL TABLE {NAME} USING fts5 "
    "(words, content='texts', content_rowid='id', tokenize='ascii', detail='none', columnsize=0)",
    f"CREATE TRIGGER {NAME}_added AFTER INSERT ON texts WHEN new.verdict <> 'dropped' BEGIN {_INSERT} END",
    f"CREATE TRIGGER {NAME}_gone AFTER DELETE ON texts WHEN old.verdict <> 'dropped' BEGIN {_DELETE} END",
    f"CREATE TRIGGER {NAME}_dropped AFTER UPDATE OF verdict ON texts"
    f" WHEN old.verdict <> 'dropped' AND new.verdict = 'dropped' BEGIN {_DELETE} END",
    f"CREATE TRIGGER {NAME}_kept AFTER UPDATE OF verdict ON texts"
    f" WHEN old.verdict = 'dropped' AND new.verdict <> 'dropped' BEGIN {_INSERT} END",
)
"""A text never changes: another one is another row."""
DROP: Final = f"DROP TABLE IF EXISTS {NAME}"
"""The triggers go with ``texts``."""
FORGET: Final = f"INSERT INTO {NAME} ({NAME}) VALUES ('optimize')"
"""Words of rows that are gone stay in the index until its parts are merged: this does it at once."""
