"""``sightline keys``: keys are made once, listed without their secrets, revoked, and carried by backups."""

from __future__ import annotations

import json
import re
from pathlib import Path

from sightline.settings import Settings
from sightline.store.access import hash_of, proof_of
from tests.sightline.conftest import Run

SECRET = re.compile(r"sl_[a-z2-7]{10}_[A-Za-z0-9_-]{43}")


def test_a_key_is_shown_once_and_every_step_leaves_an_audit_line(sightline: Run) -> None:
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
    sightline("keys", "create", "taken")
    assert sightline("keys", "create", "taken").code == 4
    assert sightline("keys", "revoke", "nobody").code == 3
    for wrong in (
        ["a b"],
        ["x", "--expires", "soon"],
        ["x", "--expires", "2020-01-01"],
        ["x", "--scope", "root"],
    ):
        assert sightline("keys", "create", *wrong).code == 2
    assert sightline("keys", "clear").code == 2, "nobody can be asked"
    assert [one["name"] for one in sightline("keys", "list", "--json").answer["keys"]] == ["taken"]


def test_a_restore_keeps_keys_working_and_going_back_says_that_they_are_lost(
    sightline: Run, settings: Settings, tmp_path: Path
) -> None:
    key = sightline("keys", "create", "app").stdout.strip()
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
