"""What earlier versions left of a listing under way: ids met without a source, plans without later fields."""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text

from sightline.indexer.plan import Plan
from sightline.store.database import Database, make_engine
from tests.upgrade.old_schema import MIGRATIONS

ROWS = (
    "INSERT INTO collections (id, name, version, created_at) VALUES (1, 'c', 0, 1.0)",
    "INSERT INTO jobs (id, collection_id, kind, state, request, created_at, updated_at)"
    " VALUES ('j', 1, 'index', 'registering', '{}', 1.0, 1.0)",
    "INSERT INTO job_seen (job_id, image_id) VALUES ('j', 'a'), ('j', 'b')",
)


def migrated(connection: Connection, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    (command.downgrade if revision == "0002" else command.upgrade)(config, revision)


def test_ids_that_a_job_has_met_survive_the_way_up_and_down(catalog_url: str) -> None:
    database = Database(make_engine(catalog_url))

    def work(connection: Connection) -> list[list[tuple[object, ...]]]:
        migrated(connection, "0003")
        migrated(connection, "0002")
        for statement in ROWS:
            connection.execute(text(statement))
        found = []
        for revision in ("0003", "0002"):
            migrated(connection, revision)
            rows = connection.execute(text("SELECT * FROM job_seen ORDER BY job_id, image_id")).all()
            found.append([tuple(row) for row in rows])
            if revision == "0003":
                again = "INSERT INTO job_seen (job_id, image_id, source_id) VALUES ('j', 'a', 7)"
                connection.execute(text(again))
        return found

    up, down = database.write(work)
    assert up == [("j", "a", 0), ("j", "b", 0)]
    assert down == [("j", "a"), ("j", "b")]
    database.close()


def test_a_plan_of_an_earlier_version_is_understood() -> None:
    before = {"sources": ["/photos"], "copy": True, "prune": True, "roots": ["/photos"]}
    assert Plan.from_json(before) == Plan(("/photos",), copy=True, prune=True, roots=("/photos",))
    plan = Plan(("/a", "/b"), prune_limit="5%", id_prefix="p/", moved_from="/c", roots=())
    assert Plan.from_json(plan.to_json()) == plan
