"""``sightline keys``: keys are made once, listed without their secrets, revoked, and carried by backups."""

from __future__ import annotations

import json
import re
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import update

from sightline.settings import Settings
from sightline.store.access import hash_of, proof_of
from sightline.store.catalog import open_catalog
from sightline.store.schema_access import KeyRow
from tests.sightline.conftest import Run

SECRET = re.compile(r"sl_[a-z2-7]{10}_[A-Za-z0-9_-]{43}")


def test_a_key_is_shown_once_and_every_step_leaves_an_audit_line(sightline: Run) -> None:
    assert sightline("migrate").code == 0
    assert "answers everybody" in sightline("keys", "list").stdout
    made = sightline("keys", "create", "boss", "--scope", "admin")
    secret = made.stdout.strip()
    assert SECRET.fullmatch(secret)
    line = json.loads(made.stderr.splitlines()[0])
    told = (line["logger"], line["action"], line["subject"], line["scope"])
    assert told == ("sightline.audit", "key created", "boss", "admin")
    bound = sightline("keys", "create", "kiosk", "-c", "a", "-c", "b", "--expires", "90d", "--json").answer
    assert (bound["scope"], bound["collections"]) == ("read", ["a", "b"])
    assert SECRET.fullmatch(bound["key"])
    listed = sightline("keys", "list", "--json")
    assert [(one["name"], one["last_used_at"]) for one in listed.answer["keys"]] == [
        ("boss", None), ("kiosk", None)
    ]  # fmt: skip
    for text in (listed.stdout, sightline("keys", "list").stdout, made.stderr):
        assert secret not in text
        assert not SECRET.search(text)
    gone = sightline("keys", "revoke", "boss")
    assert (gone.stdout, "No admin's key is left" in gone.stderr) == ("boss revoked\n", True)
    assert [one["name"] for one in sightline("keys", "list", "--json").answer["keys"]] == ["kiosk"]
    assert sightline("keys", "clear", "--yes", "--json").answer == {"cleared": 2}


def test_what_cannot_be_is_one_sentence_and_its_exit_code(sightline: Run) -> None:
    first = sightline("keys", "create", "taken")
    assert (first.code, "--scope admin" in " ".join(first.stderr.split())) == (2, True)
    sightline("keys", "create", "taken", "--scope", "admin")
    assert sightline("keys", "create", "taken").code == 4
    assert sightline("keys", "revoke", "nobody").code == 3
    for wrong in (
        ["a b"],
        ["x", "--expires", "soon"],
        ["x", "--expires", "2020-01-01"],
        ["x", "--expires", "9999-12-31T23:59:59-23:59"],
        ["x", "--expires", "99999d"],
        ["x", "--scope", "root"],
    ):
        assert sightline("keys", "create", *wrong).code == 2
    assert sightline("keys", "clear").code == 2, "nobody can be asked"
    assert [one["name"] for one in sightline("keys", "list", "--json").answer["keys"]] == ["taken"]


def test_a_restore_keeps_keys_working_and_going_back_says_that_they_are_lost(
    sightline: Run, settings: Settings, tmp_path: Path
) -> None:
    key = sightline("keys", "create", "app", "--scope", "admin").stdout.strip()
    assert sightline("backup", str(tmp_path / "backup")).code == 0
    sightline("keys", "revoke", "app")
    again = sightline("restore", str(tmp_path / "backup"), "--data", str(tmp_path / "other"))
    assert again.code == 0, again.stderr
    listed = sightline("keys", "list", "--json", "--data", str(tmp_path / "other")).answer["keys"]
    assert [one["name"] for one in listed] == ["app"]
    assert key.split("_")[1] == listed[0]["id"]
    copied = b"".join(path.read_bytes() for path in (tmp_path / "backup").rglob("*") if path.is_file())
    assert hash_of(proof_of(key)).encode() in copied
    assert key.encode() not in copied
    assert proof_of(key).hex().encode() not in copied
    back = sightline("migrate", "--to", "0003")
    assert (back.code, "keys are gone" in " ".join(back.stderr.split())) == (0, True)
    assert sightline("keys", "list", "--json").answer["keys"] == []


def test_an_end_beyond_the_calendar_that_is_stored_already_is_listed(
    sightline: Run, settings: Settings
) -> None:
    sightline("keys", "create", "boss", "--scope", "admin")
    with (
        closing(open_catalog(settings.catalog_url)) as catalog,
        catalog.database.engine.begin() as connection,
    ):
        connection.execute(update(KeyRow).values(expires_at=253402387139.0))
    assert "9999-12-31" in sightline("keys", "list").stdout
    [listed] = sightline("keys", "list", "--json").answer["keys"]
    assert listed["expires_at"].startswith("9999-12-31T23:59:59")


def test_a_key_in_the_settings_lets_the_first_of_the_catalog_be_anybodys(
    sightline: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGHTLINE_API__KEY", "sesame")
    assert sightline("keys", "create", "kiosk", "--json").answer["scope"] == "read"
