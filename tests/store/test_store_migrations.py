"""The migrations make exactly the schema of the models, once, however many processes start together."""

from __future__ import annotations

import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, PrimaryKeyConstraint, UniqueConstraint, text

import sightline.store.migrate
from sightline.errors import InputError, UnavailableError
from sightline.store import full_text
from sightline.store.catalog import open_catalog
from sightline.store.database import Database, make_engine
from sightline.store.metadata import METADATA
from sightline.store.migrate import HEAD, migrate
from sightline.store.row_digest import DIGESTED, statements

ROOT = Path(__file__).parents[2]
SQLITE_SCHEMA = (
    "SELECT type, name, sql FROM sqlite_master"
    " WHERE name NOT LIKE '%alembic%' AND name NOT LIKE 'sqlite_stat%' ORDER BY type, name"
)
POSTGRES_INDEXES = """SELECT indexname, replace(indexdef, current_schema(), '') FROM pg_indexes
    WHERE schemaname = current_schema() AND tablename <> 'alembic_version' ORDER BY 1"""
POSTGRES_CONSTRAINTS = """SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE connamespace = current_schema()::regnamespace AND conname NOT LIKE 'alembic%' ORDER BY 1"""
POSTGRES_COLUMNS = """SELECT table_name,
    rank() OVER (PARTITION BY table_name ORDER BY ordinal_position), column_name, data_type, is_nullable,
    replace(coalesce(column_default, ''), current_schema() || '.', '') FROM information_schema.columns
    WHERE table_schema = current_schema() AND table_name <> 'alembic_version' ORDER BY 1, 2"""


def schema_of(connection: Connection) -> list[tuple[object, ...]]:
    """Every table, column, default, constraint and index, as the database itself writes them down."""
    if connection.dialect.name == "sqlite":
        found = connection.execute(text(SQLITE_SCHEMA)).all()
        return [(kind, name, normal(sql or "")) for kind, name, sql in found]
    queries = (POSTGRES_INDEXES, POSTGRES_CONSTRAINTS, POSTGRES_COLUMNS)
    return [tuple(row) for query in queries for row in connection.execute(text(query))]


def normal(sql: str) -> tuple[str, ...]:
    """SQLite keeps the statement as it was typed: blanks and the order of constraints do not matter."""
    flat = re.sub(r"\s+", " ", sql).replace("( ", "(").replace(" )", ")")
    return tuple(sorted(part.strip(" ,()") for part in re.split(r", (?=CONSTRAINT|[a-z_\"]+ [A-Z])", flat)))


def test_migrations_make_what_the_models_say(catalog_url: str) -> None:
    database = Database(make_engine(catalog_url))
    migrate(database)
    options = {
        "compare_type": True,
        "compare_server_default": True,
        "include_name": lambda name, kind, _: not (kind == "table" and name.startswith(full_text.NAME)),
    }
    migrated = database.read(schema_of)
    with database.engine.connect() as connection, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Skipped unsupported reflection of expression-based index")
        differences = compare_metadata(MigrationContext.configure(connection, opts=options), METADATA)
    assert differences == []
    database.write(drop_all)
    database.write(create_all)
    assert migrated == database.read(schema_of)
    assert len(migrated) > 25
    database.close()


def drop_all(connection: Connection) -> None:
    METADATA.drop_all(connection)
    if connection.dialect.name == "sqlite":
        connection.execute(text(full_text.DROP))


def create_all(connection: Connection) -> None:
    """The models, and what SQLite has that they do not know: checksums of rows, the full-text index."""
    METADATA.create_all(connection)
    if connection.dialect.name == "sqlite":
        for statement in (*statements(DIGESTED), *full_text.CREATE):
            connection.execute(text(statement))


@pytest.mark.parametrize("table", sorted(DIGESTED))
def test_every_column_is_in_an_index_that_would_notice_a_flipped_bit(table: str) -> None:
    found = METADATA.tables[table]
    indexed: set[str] = set()
    for index in found.indexes:
        condition = index.dialect_options["sqlite"]["where"]
        whole = {
            column.name for column in index.columns
        }  # a partial index holds its condition's columns only
        indexed |= whole if condition is None else set(re.findall(r"\w+", str(condition)))
    unique = {
        column.name
        for constraint in found.constraints
        if isinstance(constraint, PrimaryKeyConstraint | UniqueConstraint)
        for column in constraint.columns
    }
    assert {column.name for column in found.columns} - indexed - unique - set(DIGESTED[table]) == set()


def test_the_head_that_is_known_without_alembic_is_the_newest_migration() -> None:
    config = Config()
    config.set_main_option(
        "script_location", str(Path(sightline.store.migrate.__file__).parent / "migrations")
    )
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


def test_migrating_again_changes_nothing(catalog_url: str) -> None:
    for _ in range(2):
        catalog = open_catalog(catalog_url)
        catalog.create_collection(
            "kept", model="toy", revision=None, fingerprint="f", num_query_tokens=4, joint_dim=8
        )
        assert [collection.name for collection in catalog.collections()] == ["kept"]
        catalog.close()


def test_processes_that_start_together_all_find_a_migrated_catalog(catalog_url: str) -> None:
    script = (
        "import sys; from sightline.store.catalog import open_catalog; sys.stdin.readline();"
        "catalog = open_catalog(sys.argv[1]); print(len(catalog.collections()), catalog.check())"
    )
    command = [sys.executable, "-c", script, catalog_url]
    started = [
        subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=120) for process in started]
    assert [out for out, _ in answers] == ["0 []\n"] * 3, answers


def test_a_catalog_of_a_newer_program_is_left_alone(catalog_url: str) -> None:
    database = Database(make_engine(catalog_url))
    migrate(database)
    database.write(
        lambda connection: connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    )
    database.close()
    with pytest.raises(UnavailableError, match=r"schema 9999, newer than .* upgrade sightline"):
        open_catalog(catalog_url)


def test_a_start_without_work_does_not_import_alembic(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/catalog.sqlite"
    open_catalog(url).close()
    script = (
        "import sys; from sightline.store.catalog import open_catalog; "
        "open_catalog(sys.argv[1]); print('alembic' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, url], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "False\n", done.stderr


@pytest.mark.parametrize(
    "url", ["mysql://localhost/x", "nonsense", "sqlite://", "sqlite:///:memory:", "oracle://x"]
)
def test_a_url_of_another_database_is_an_input_error(url: str) -> None:
    with pytest.raises(InputError):
        open_catalog(url)


def test_a_server_that_does_not_answer_is_unavailable() -> None:
    with pytest.raises(UnavailableError, match="cannot be used now"):
        open_catalog("postgresql://nobody@127.0.0.1:1/x")


def test_sqlite_acknowledges_only_what_is_on_disk(tmp_path: Path) -> None:
    database = Database(make_engine(f"sqlite:///{tmp_path}/new/folder/catalog.sqlite"))
    names = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
    with database.engine.connect() as connection:
        values = [connection.scalar(text(f"PRAGMA {name}")) for name in names]
    assert values == ["wal", 2, 1, 30_000]
    database.close()
