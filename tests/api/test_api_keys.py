"""Keys over HTTP: made and revoked, tried too often, traded for a session, and told in the audit."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import update

from sightline.api.access import ScopedRoute, check_declared, needs
from sightline.api.attempts import TRUSTED, Attempts
from sightline.api.keyring import FRESH_SECONDS
from sightline.api.rates import OWN, SHARED, RateLimit
from sightline.processes.logs import json_formatter
from sightline.store.access import hash_of, proof_of
from sightline.store.issuing import issue
from sightline.store.schema_access import KeyRow
from sightline.wiring import Installation
from tests.api.installation import MakeClient, png, problem, upload

SECRET = re.compile(r"sl_[a-z2-7]{10}_[A-Za-z0-9_-]{43}")


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def eventually(true: Callable[[], bool], seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if true():
            return True
        time.sleep(0.02)
    return False


def make(client: TestClient, name: str, with_key: str | None = None, **more: Any) -> str:
    headers = {} if with_key is None else bearer(with_key)
    answer = client.post("/v1/keys", json={"name": name} | more, headers=headers)
    assert answer.status_code == 201, answer.text
    assert answer.headers["cache-control"] == "no-store"
    key: str = answer.json()["key"]
    assert SECRET.fullmatch(key)
    return key


@pytest.fixture
def lines() -> Iterator[list[dict[str, Any]]]:
    """All that is logged at any level, as JSON."""
    found: list[dict[str, Any]] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(json.loads(self.format(record)))

    handler, root = Keep(), logging.getLogger()
    handler.setFormatter(json_formatter())
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield found
    root.removeHandler(handler)
    root.setLevel(level)


# --- the life of a key ------------------------------------------------------------------------------------


def test_the_first_key_closes_the_door_at_once_and_its_revocation_does_not_open_it(
    client: TestClient,
) -> None:
    assert client.get("/v1/collections").status_code == 200
    boss = make(client, "boss", scope="admin")
    problem(client.get("/v1/collections"), 401)
    reader = make(client, "reader", boss, expires="90d", collections=["pictures"])
    listed = client.get("/v1/keys", headers=bearer(boss)).json()["items"]
    assert [(one["name"], one["scope"], one["collections"]) for one in listed] == [
        ("boss", "admin", None), ("reader", "read", ["pictures"])
    ]  # fmt: skip
    assert not SECRET.search(json.dumps(listed))
    assert client.get("/v1/collections", headers=bearer(reader)).json() == {"items": []}
    gone = client.delete("/v1/keys/reader", headers=bearer(boss)).json()
    assert gone["remark"] is None
    problem(client.get("/v1/collections", headers=bearer(reader)), 401)
    last = client.delete("/v1/keys/boss", headers=bearer(boss)).json()
    assert "No admin's key is left" in last["remark"]
    problem(client.get("/v1/collections"), 401)
    problem(client.get("/v1/collections", headers=bearer(boss)), 401)


def test_a_running_server_learns_within_seconds_what_another_process_did(
    client: TestClient, services: Installation
) -> None:
    assert client.get("/v1/collections").status_code == 200
    _, key = issue(services.catalog, "new", "admin")
    assert eventually(lambda: client.get("/v1/collections").status_code == 401)
    assert client.get("/v1/collections", headers=bearer(key)).status_code == 200
    services.catalog.revoke_key("new")
    assert eventually(lambda: client.get("/v1/collections", headers=bearer(key)).status_code == 401)
    assert FRESH_SECONDS <= 1.0


def test_two_keys_are_good_at_once_and_a_name_is_free_again_after_the_old_one_went(
    client: TestClient,
) -> None:
    old = make(client, "app-1", scope="admin")
    new = make(client, "app-2", old, scope="admin")
    problem(client.post("/v1/keys", json={"name": "app-1"}, headers=bearer(new)), 409)
    for key in (old, new):
        assert client.get("/v1/collections", headers=bearer(key)).status_code == 200
    client.delete("/v1/keys/app-1", headers=bearer(new))
    assert make(client, "app-1", new) != old
    problem(client.get("/v1/collections", headers=bearer(old)), 401)


@pytest.mark.parametrize(
    "body",
    [
        {"name": "a b"}, {"name": "(settings)"}, {"name": "x", "scope": "root"},
        {"name": "x", "collections": []},
        {"name": "x", "expires": "soon"}, {"name": "x", "expires": "2020-01-01"},
        {"name": "x", "expires": "0d"},
        {"name": "x", "scope": "admin", "expires": "9999-12-31T23:59:59-23:59"},
        {"name": "x", "scope": "admin", "expires": "9999-12-31T23:59:59+23:59"},
        {"name": "x", "scope": "admin", "expires": "0001-01-01T00:00:00+23:59"},
        {"name": "x", "scope": "admin", "expires": "99999d"},
        {"name": "x", "scope": "admin", "expires": "999999999d"},
        {"name": "x", "scope": "write"},
        {"name": "x", "scope": "admin", "collections": ["pictures"]},
    ],
    ids=json.dumps,
)  # fmt: skip
def test_what_no_key_can_be_is_refused_and_the_door_stays_as_it_was(client: TestClient, body: Any) -> None:
    problem(client.post("/v1/keys", json=body), 422)
    assert client.get("/v1/collections").status_code == 200


def test_what_is_stored_already_is_listed_however_far_away_it_is(
    client: TestClient, services: Installation
) -> None:
    boss = make(client, "boss", scope="admin", expires="36500d")
    far = {"late": 253402387139.0, "later": 1e300, "endless": float("inf"), "early": -1e300}
    for name in far:
        issue(services.catalog, name, "read")
    with services.catalog.database.engine.begin() as connection:
        for name, moment in far.items():
            connection.execute(update(KeyRow).where(KeyRow.name == name).values(expires_at=moment))
    listed = client.get("/v1/keys", headers=bearer(boss)).json()["items"]
    ends = {one["name"]: one["expires_at"] for one in listed}
    assert {ends[name][:19] for name in ("late", "later", "endless")} == {"9999-12-31T23:59:59"}
    assert ends["early"] == "0001-01-01T00:00:00Z"
    for name in far:
        assert client.delete(f"/v1/keys/{name}", headers=bearer(boss)).status_code == 200


def test_the_first_key_is_an_admins_unless_the_settings_have_one(
    client: TestClient, services: Installation, make_client: MakeClient
) -> None:
    assert "scope admin" in problem(client.post("/v1/keys", json={"name": "x"}), 422)["detail"]
    assert client.get("/v1/collections").status_code == 200
    keyed = make_client(key="sesame")
    reader = make(keyed, "reader", "sesame")
    assert keyed.get("/v1/collections", headers=bearer(reader)).status_code == 200


def test_an_expired_key_is_told_so_and_an_installation_of_expired_keys_is_not_open(
    client: TestClient, services: Installation
) -> None:
    _, key = issue(services.catalog, "short", "admin", seconds=0.001)
    time.sleep(0.01)
    assert "has expired" in problem(client.get("/v1/collections", headers=bearer(key)), 401)["detail"]
    problem(client.get("/v1/collections"), 401)


def test_the_settings_key_is_an_admins_beside_those_of_the_catalog(make_client: MakeClient) -> None:
    client = make_client(key="a first key")
    reader = make(client, "reader", "a first key")
    assert client.delete("/v1/keys/reader", headers=bearer(reader)).status_code == 403
    assert client.delete("/v1/keys/reader", headers=bearer("a first key")).json()["remark"] is None


def test_the_catalog_holds_nothing_that_opens_anything(client: TestClient, services: Installation) -> None:
    key = make(client, "boss", scope="admin")
    [stored] = services.catalog.keys()
    assert stored.sha256 == hash_of(proof_of(key))
    cookie = f"v2.{stored.id}.99999999999.{stored.sha256}.{stored.sha256}"
    for headers in (bearer(stored.sha256), bearer(f"sl_{stored.id}_{stored.sha256[:43]}")):
        problem(client.get("/v1/collections", headers=headers), 401)
    problem(client.get("/v1/collections", headers={"Cookie": f"sightline_session={cookie}"}), 401)


def test_the_last_use_is_written_behind_the_requests_back(client: TestClient, services: Installation) -> None:
    key = make(client, "boss", scope="admin")
    before = time.time() - 1
    assert client.get("/v1/collections", headers=bearer(key)).status_code == 200
    assert eventually(lambda: services.catalog.keys()[0].last_used_at is not None)
    used = services.catalog.keys()[0].last_used_at
    assert used is not None
    assert used >= before
    for _ in range(3):
        client.get("/v1/collections", headers=bearer(key))
    time.sleep(0.05)
    assert services.catalog.keys()[0].last_used_at == used, "once a minute is enough"


def test_without_the_catalog_nothing_opens_but_health(client: TestClient, services: Installation) -> None:
    key = make(client, "boss", scope="admin")
    assert client.get("/v1/collections", headers=bearer(key)).status_code == 200
    services.catalog.close()
    services.settings.data_folder.joinpath("catalog.sqlite").write_bytes(b"no database at all " * 300)
    time.sleep(FRESH_SECONDS + 0.1)
    for headers in ({}, bearer(key), bearer("wrong")):
        problem(client.get("/v1/collections", headers=headers), 503)
        problem(client.get("/openapi.json", headers=headers), 503)
        assert client.get("/", headers=headers).status_code == 503
    assert client.get("/livez").status_code == 200
    assert client.get("/readyz").status_code == 503
    assert "sightline_catalog_up 0.0" in client.get("/metrics", headers=bearer(key)).text
    problem(client.get("/metrics"), 401)


def test_a_route_that_does_not_say_what_it_needs_is_not_served() -> None:
    app = FastAPI(openapi_url=None)
    app.router.route_class = ScopedRoute
    app.get("/said", openapi_extra=needs("read"))(lambda: None)
    check_declared(app.routes)
    app.get("/unsaid")(lambda: None)
    with pytest.raises(RuntimeError, match="/unsaid"):
        check_declared(app.routes)


# --- attempts ---------------------------------------------------------------------------------------------


def test_wrong_keys_are_counted_together_and_a_right_one_goes_on_working(make_client: MakeClient) -> None:
    client = make_client(key_attempts="3/minute")
    key = make(client, "boss", scope="admin")
    problem(client.get("/v1/collections", headers=bearer("wrong")), 401)
    problem(client.get("/v1/collections", headers={"Cookie": "sightline_session=v2.wrong"}), 401)
    assert client.post("/session", data={"key": "wrong"}).status_code == 401
    for answer in (
        client.get("/v1/collections", headers=bearer(key[:-2])),
        client.get("/v1/collections", headers={"Cookie": "sightline_session=wrong"}),
        client.post("/session", data={"key": "wrong"}),
        client.get("/", headers=bearer("wrong")),
    ):
        assert answer.status_code == 429
        assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert client.get("/v1/collections", headers=bearer(key)).status_code == 200
    problem(client.get("/v1/collections"), 401)
    assert client.post("/session", data={"key": key}, follow_redirects=False).status_code == 303


def test_a_key_that_a_person_chose_cannot_be_guessed_on_where_it_was_never_right(
    make_client: MakeClient,
) -> None:
    client = make_client(key="sesame", key_attempts="3/minute")
    for _ in range(3):
        client.get("/v1/collections", headers=bearer("guess"))
    problem(client.get("/v1/collections", headers=bearer("sesame")), 429)
    other = make_client(key="sesame", key_attempts="3/minute")
    assert other.get("/v1/collections", headers=bearer("sesame")).status_code == 200
    for _ in range(4):
        other.get("/v1/collections", headers=bearer("guess"))
    assert other.get("/v1/collections", headers=bearer("sesame")).status_code == 200


def test_many_addresses_fill_no_memory() -> None:
    attempts = Attempts("1/minute")
    for number in range(3 * TRUSTED):
        attempts.right(f"10.0.{number // 256}.{number % 256}")
    assert len(attempts._trusted) == TRUSTED
    limit = RateLimit("1/hour")
    assert [limit.wait("10.0.0.1") is None for _ in range(2)] == [True, False]
    counters = {limit._counter(f"2001:db8:{number:x}::/64") for number in range(3 * (OWN + SHARED))}
    assert len(counters) <= OWN + SHARED
    assert limit.wait("10.0.0.1") is not None, "who was counted stays so"


def test_one_client_cannot_lock_out_those_of_another_network() -> None:
    for wrong, same, other in (
        ("2001:db8::1", "2001:db8::ffff", "2001:db8:0:1::1"),
        ("::ffff:192.0.2.1", "192.0.2.1", "::ffff:192.0.2.2"),
    ):
        attempts = Attempts("1/hour")
        assert attempts.wrong(wrong) is None
        assert attempts.used_up(same) is not None
        assert attempts.used_up(other) is None
        attempts.right(other)
        assert attempts.used_up(same) is not None


# --- sessions ---------------------------------------------------------------------------------------------


def signed_in(client: TestClient, key: str) -> str:
    """The cookie that the page gives for a key; it is kept by the client."""
    answer = client.post("/session", data={"key": key}, follow_redirects=False)
    assert answer.status_code == 303, answer.text
    cookie = answer.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=strict"} <= {part.strip() for part in cookie.split(";")}
    assert key not in cookie
    return cookie


def test_a_session_may_what_its_key_may_and_ends_with_it(client: TestClient) -> None:
    boss = make(client, "boss", scope="admin")
    reader = make(client, "reader", boss)
    cookie = signed_in(client, reader)
    assert "secure" not in cookie.lower()
    assert client.get("/v1/collections").status_code == 200
    assert client.post("/v1/collections", json={"name": "a"}).status_code == 403
    assert 'id="leave"' in client.get("/").text
    client.delete("/v1/keys/reader", headers=bearer(boss))
    problem(client.get("/v1/collections"), 401)
    locked = client.get("/")
    assert (locked.status_code, 'name="key"' in locked.text) == (401, True)
    assert "max-age=0" in locked.headers["set-cookie"].lower(), "what opens nothing is taken back"


def test_a_session_is_over_after_its_time_and_cannot_be_made_longer(
    make_client: MakeClient,
) -> None:
    client = make_client(session_seconds=1)
    key = make(client, "boss", scope="admin")
    value = signed_in(client, key).partition("=")[2].partition(";")[0]
    client.cookies.clear()
    version, key_id, ends, proof, seal = value.split(".")
    longer = ".".join([version, key_id, str(int(ends) + 1000), proof, seal])
    problem(client.get("/v1/collections", headers={"Cookie": f"sightline_session={longer}"}), 401)

    def status() -> int:
        return client.get("/v1/collections", headers={"Cookie": f"sightline_session={value}"}).status_code

    assert eventually(lambda: status() == 401)
    other = proof_of(f"sl_{'b' * 10}_{'B' * 43}").hex()
    changed = ".".join([version, key_id, ends, other, seal])
    problem(client.get("/v1/collections", headers={"Cookie": f"sightline_session={changed}"}), 401)


def test_signing_out_takes_the_cookie_back_and_https_makes_it_secure(client: TestClient) -> None:
    key = make(client, "boss", scope="admin")
    signed_in(client, key)
    left = client.post("/session/end", follow_redirects=False)
    assert (left.status_code, "max-age=0" in left.headers["set-cookie"].lower()) == (303, True)
    problem(client.get("/v1/collections"), 401)
    client.base_url = client.base_url.copy_with(scheme="https")
    assert "secure" in signed_in(client, key).lower()


def test_pictures_are_cached_privately_as_soon_as_there_is_a_key(client: TestClient) -> None:
    client.post("/v1/collections", json={"name": "pictures"})
    upload(client, {"a": png("red")})
    url = "/v1/collections/pictures/images/a/file"
    assert client.get(url).headers["cache-control"] == "public, no-cache"
    key = make(client, "boss", scope="admin")
    assert client.get(url, headers=bearer(key)).headers["cache-control"] == "private, no-cache"


# --- the audit --------------------------------------------------------------------------------------------


def test_every_write_leaves_a_line_and_no_line_holds_a_secret(
    make_client: MakeClient, lines: list[dict[str, Any]]
) -> None:
    client = make_client(key="a first key")
    boss = make(client, "boss", "a first key", scope="admin")
    reader = make(client, "reader", boss)
    client.post("/v1/collections", json={"name": "pictures"}, headers=bearer(boss))
    client.headers.update(bearer(boss))
    job = upload(client, {"a": png("red")})["job"]["id"]
    client.patch("/v1/collections/pictures/images/a", json={"caption": "b"}, headers={"X-Request-ID": "mine"})
    client.delete("/v1/collections/pictures/images/a", headers=bearer(reader))
    client.post("/v1/collections/pictures/search", json={"text": ""})
    client.get("/v1/collections")
    client.delete("/v1/keys/reader")
    client.get("/v1/collections", headers=bearer(reader))
    del client.headers["Authorization"]
    cookie = signed_in(client, boss)
    written = [line for line in lines if line["logger"] == "sightline.audit"]
    told = [(one["audit"], one.get("key"), one["action"], one["status"]) for one in written]
    image = "/v1/collections/{name}/images/{image_id}"
    assert told == [
        ("write", "(settings)", "POST /v1/keys", 201),
        ("write", "boss", "POST /v1/keys", 201),
        ("write", "boss", "POST /v1/collections", 201),
        ("write", "boss", "POST /v1/collections/{name}/images", 202),
        ("write", "boss", f"PATCH {image}", 200),
        ("write", "reader", f"DELETE {image}", 403),
        ("write", "boss", "DELETE /v1/keys/{key}", 200),
        ("attempt", None, "wrong header", 401),
        ("session", "boss", "session opened", 303),
    ]
    assert (written[3]["collection"], written[3]["job_id"]) == ("pictures", job)
    assert (written[4]["request_id"], written[4]["image_id"]) == ("mine", "a")
    assert (written[1]["subject"], written[6]["subject"]) == ("reader", "reader")
    assert all(one["time"] and one["address"] == "testclient" for one in written)
    everything = json.dumps(lines)
    value = cookie.partition("=")[2].partition(";")[0]
    for secret in (boss, reader, boss[14:], "a first key", value, value.split(".")[3]):
        assert secret not in everything
    assert not SECRET.search(everything)
