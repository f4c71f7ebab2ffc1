"""Whom a browser may talk for: every combination of host, page, method and key, without a browser."""

from __future__ import annotations

from itertools import product

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from sightline.api.settings import ApiSettings
from sightline.errors import InputError
from tests.api.asgi import ask, open_socket
from tests.api.installation import MakeClient

KEY = "sesame"
BEARER = ("Authorization", f"Bearer {KEY}")
OURS = (
    "localhost", "LOCALHOST:8000", "localhost.", "localhost.:8000", "localhost:", "pictures.localhost:1",
    "127.0.0.1", "127.0.0.1:8000", "127.200.3.4", "[::1]:8000", "[::1]", "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]:8000", "allowed.test", "Allowed.Test.:8000", "a.below.test", "b.a.below.test:81",
)  # fmt: skip
NOT_OURS = (
    "evil.test", "evil.test:8000", "localhost.evil.test", "evillocalhost", "127.0.0.1.evil.test",
    "below.test",
    "xbelow.test", "2130706433", "0x7f000001", "017700000001", "127.1", "0.0.0.0:8000", "[::]:8000",
    "10.0.0.1", "192.168.0.7:8000", "[fe80::1]", "[fe80::1%25lo]:8000", "user@localhost",
    "localhost@evil.test",
    "localhost:80:80", "localhost:port", "localhost/evil.test", "localhost evil.test", "localhost,evil.test",
    "[::1", "::1", "ⓛocalhost", "evil.test#localhost", "", " ", "localhost\x00",
)  # fmt: skip
HOSTS = {"allowed_hosts": ("allowed.test", "*.below.test")}


def app_of(make_client: MakeClient, **changes: object) -> FastAPI:
    app = make_client(**changes).app
    assert isinstance(app, FastAPI)
    return app


def test_without_a_key_only_names_that_nobody_can_point_at_us_are_answered(make_client: MakeClient) -> None:
    app = app_of(make_client, **HOSTS)
    for host in OURS:
        assert ask(app, "GET", "/v1/collections", [("Host", host)]).status == 200, host
    for host, (method, path) in product(NOT_OURS, (("GET", "/v1/collections"), ("POST", "/v1/collections"))):
        given = ask(app, method, path, [("Host", host)], b'{"name": "a"}')
        assert given.status == 421, host
        assert "SIGHTLINE_API__ALLOWED_HOSTS" in given.json["detail"]
    for path in ("/", "/livez", "/readyz", "/metrics", "/static/sightline.js", "/openapi.json", "/session"):
        for host in ([("Host", "evil.test")], [], [("X-Forwarded-Host", "localhost"), ("Host", "evil.test")]):
            assert ask(app, "GET", path, host).status == 421, path
    assert ask(app, "OPTIONS", "/v1/collections", [("Host", "evil.test")]).status == 421
    assert ask(app, "GET", "/v1/collections", [("Host", "localhost")]).json["items"] == []


def test_with_a_key_every_name_is_answered_and_the_key_asked_for(make_client: MakeClient) -> None:
    app = app_of(make_client, key=KEY)
    for host in (*OURS, *NOT_OURS):
        assert ask(app, "GET", "/v1/collections", [("Host", host)]).status == 401, host
        assert ask(app, "GET", "/v1/collections", [("Host", host), BEARER]).status == 200, host
    assert ask(app, "GET", "/v1/collections", [BEARER]).status == 200


def test_on_an_open_network_addresses_are_answered_but_no_names(make_client: MakeClient) -> None:
    app = app_of(make_client, insecure=True, host="Pictures.lan")
    for host in (
        "pictures.lan:8000",
        "10.0.0.1:8000",
        "192.168.0.7",
        "[fe80::1]:8000",
        "0.0.0.0",
        "localhost",
    ):
        assert ask(app, "GET", "/v1/collections", [("Host", host)]).status == 200, host
    for host in ("evil.test", "2130706433", "127.1", "10.0.0.1.evil.test", "server"):
        assert ask(app, "GET", "/v1/collections", [("Host", host)]).status == 421, host


@pytest.mark.parametrize("key", [None, KEY])
def test_two_hosts_are_none(make_client: MakeClient, key: str | None) -> None:
    app = app_of(make_client, key=key)
    for pair in (("localhost", "localhost"), ("localhost", "evil.test"), ("evil.test", "localhost")):
        headers = [BEARER, *(("Host", host) for host in pair)]
        assert ask(app, "GET", "/v1/collections", headers).status == 400


def test_websockets_are_refused_for_everybody(make_client: MakeClient) -> None:
    app = app_of(make_client)
    for origin in ("http://localhost:8000", "http://evil.test"):
        assert open_socket(app, [("Host", "localhost:8000"), ("Origin", origin)]).status == 1008


HERE = "localhost:8000"
NOBODY = "none"
PAGES: dict[str, tuple[list[tuple[str, str]], str]] = {
    # what the request says of the page that makes it → whose page that is
    "curl": ([], NOBODY),
    "a person": ([("Sec-Fetch-Site", "none"), ("Sec-Fetch-Mode", "navigate")], NOBODY),
    "ours, old browser": ([("Origin", "http://localhost:8000")], NOBODY),
    "ours": ([("Origin", "http://localhost:8000"), ("Sec-Fetch-Site", "same-origin")], NOBODY),
    "ours, a picture": ([("Referer", "http://localhost:8000/"), ("Sec-Fetch-Site", "same-origin")], NOBODY),
    "ours, over a proxy's TLS": ([("Origin", "https://localhost:8000")], NOBODY),
    "another site": ([("Origin", "https://evil.test"), ("Sec-Fetch-Site", "cross-site")], "evil"),
    "another site, plain": ([("Origin", "http://evil.test:8000")], "evil"),
    "another site that claims": ([("Origin", "http://evil.test"), ("Sec-Fetch-Site", "same-origin")], "evil"),
    "another port": ([("Origin", "http://localhost:9000"), ("Sec-Fetch-Site", "same-site")], "evil"),
    "another port, plain": ([("Origin", "http://localhost:9000")], "evil"),
    "the default port": ([("Origin", "http://localhost")], "evil"),
    "another name of this machine": ([("Origin", "http://127.0.0.1:8000")], "evil"),
    "a sandbox": ([("Origin", "null")], "evil"),
    "a sandbox of ours": ([("Origin", "null"), ("Sec-Fetch-Site", "same-origin")], "evil"),
    "two origins": ([("Origin", "http://localhost:8000"), ("Origin", "http://evil.test")], "evil"),
    "no origin": ([("Origin", "")], "evil"),
    "an odd origin": ([("Origin", "http://localhost:8000@evil.test")], "evil"),
    "a longer name": ([("Origin", "http://localhost:8000.evil.test")], "evil"),
    "silent, cross-site": ([("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "no-cors")], "evil"),
    "silent, same-site": ([("Sec-Fetch-Site", "same-site"), ("Sec-Fetch-Mode", "no-cors")], "evil"),
    "silent, unheard of": ([("Sec-Fetch-Site", "near")], "evil"),
    "a frame": (
        [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "iframe")],
        "evil",
    ),
    "contradiction": ([("Origin", "http://localhost:8000"), ("Sec-Fetch-Site", "cross-site")], "evil"),
    "listed": ([("Origin", "https://good.test"), ("Sec-Fetch-Site", "cross-site")], "good"),
    "listed, plain": ([("Origin", "https://good.test")], "good"),
    "listed, below": ([("Origin", "https://a.good.test")], "evil"),
    "listed, other scheme": ([("Origin", "http://good.test")], "evil"),
}  # fmt: skip
WRITES = (
    ("POST", "/v1/collections"), ("POST", "/v1/rerank"), ("POST", "/score"),
    ("POST", "/v1/collections/a/images"),
    ("PATCH", "/v1/collections/a/images/b"), ("DELETE", "/v1/collections/a"), ("PUT", "/v1/collections"),
    ("POST", "/session"), ("POST", "/v1/collections/a/jobs"), ("DELETE", "/v1/trash/a"), ("TRACE", "/"),
)  # fmt: skip
READS = (("GET", "/v1/collections"), ("HEAD", "/metrics"), ("GET", "/v1/collections/a/images/b/thumbnail"))


@pytest.mark.parametrize("key", [None, KEY])
@pytest.mark.parametrize("origins", [(), ("https://good.test",), ("*",)], ids=["closed", "listed", "any"])
def test_a_page_of_another_origin_neither_writes_nor_reads_unless_it_is_listed(
    make_client: MakeClient, key: str | None, origins: tuple[str, ...]
) -> None:
    app = app_of(make_client, key=key, cors_origins=origins)
    for (page, (headers, whose)), (method, path) in product(PAGES.items(), (*WRITES, *READS)):
        welcome = whose == NOBODY or "*" in origins or (whose == "good" and "https://good.test" in origins)
        given = ask(app, method, path, [("Host", HERE), BEARER, *headers])
        assert (given.status == 403) is not welcome, (page, method, path, given.status)
        if not welcome and method != "HEAD":
            assert "SIGHTLINE_API__CORS_ORIGINS" in given.json["detail"]


def test_a_link_from_another_site_may_be_followed_but_no_form_of_it_sent(make_client: MakeClient) -> None:
    app = app_of(make_client)
    visit = [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document")]
    assert ask(app, "GET", "/", [("Host", HERE), *visit]).status == 200
    assert ask(app, "POST", "/v1/collections", [("Host", HERE), *visit], b'{"name": "a"}').status == 403


def test_behind_tls_a_page_without_it_is_another_page(make_client: MakeClient) -> None:
    app = app_of(make_client, key=KEY)
    for origin, status in (("https://pictures.test", 404), ("http://pictures.test", 403)):
        headers = [("Host", "pictures.test"), ("Origin", origin), BEARER]
        assert ask(app, "DELETE", "/v1/collections/a", headers, scheme="https").status == status


@pytest.mark.parametrize("origins", [("https://good.test",), ("*",)], ids=["listed", "any"])
def test_the_session_cookie_acts_for_our_own_pages_only(
    make_client: MakeClient, origins: tuple[str, ...]
) -> None:
    client = make_client(key=KEY, cors_origins=origins)
    client.post("/session", data={"key": KEY}, follow_redirects=False)
    cookie = ("Cookie", "; ".join(f"{name}={value}" for name, value in client.cookies.items()))
    path = "/v1/collections"
    own = [("Host", HERE), ("Origin", f"http://{HERE}"), cookie]
    own.append(("Content-Type", "application/json"))
    assert ask(client.app, "POST", path, own, b'{"name": "a"}').status == 201
    listed = ("Origin", "https://good.test")
    for page in ([listed], [listed, ("Sec-Fetch-Site", "same-site")], [("Referer", "https://good.test/")]):
        for method in ("GET", "POST"):
            if method == "POST" and page[0][0] == "Referer":
                continue  # whoever sends a form says where it is from
            assert ask(client.app, method, path, [("Host", HERE), *page, cookie]).status == 401, page
            assert ask(client.app, method, path, [("Host", HERE), *page, cookie, BEARER]).status != 401


def test_listed_sites_may_embed_and_others_not(make_client: MakeClient) -> None:
    policy, path = "cross-origin-resource-policy", "/livez"
    embed = [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "no-cors")]
    good, evil = ("Referer", "https://good.test/page"), ("Referer", "https://evil.test/page")
    app = app_of(make_client, cors_origins=("https://good.test",))
    for page in ([*embed, good], [good]):
        assert ask(app, "GET", path, [("Host", HERE), *page]).headers[policy] == "cross-origin"
    assert ask(app, "GET", path, [("Host", HERE), *embed, evil]).status == 403
    plain = ask(app, "GET", path, [("Host", HERE), evil])  # no browser that is asked to embed gives it away
    assert (plain.status, plain.headers[policy]) == (200, "same-origin")
    assert "Sec-Fetch-Site" in plain.headers["vary"]


def test_what_listed_sites_ask_for_is_counted_by_its_route(make_client: MakeClient) -> None:
    app = app_of(make_client, cors_origins=("https://good.test",))
    page = [("Host", HERE), ("Origin", "https://good.test"), ("Sec-Fetch-Site", "cross-site")]
    assert ask(app, "GET", "/v1/collections", page).status == 200
    told = ask(app, "GET", "/metrics", [("Host", HERE)]).body.decode()
    assert 'sightline_http_requests_total{method="GET",route="/v1/collections",status="200"} 1.0' in told


def test_preflights_are_answered_for_listed_origins_only(make_client: MakeClient) -> None:
    app = app_of(make_client, key=KEY, cors_origins=("https://good.test",))
    wanted = [
        ("Access-Control-Request-Method", "DELETE"),
        ("Access-Control-Request-Headers", "authorization"),
    ]
    for origin, status in (("https://good.test", 200), ("https://evil.test", 400), ("null", 400)):
        asked = [("Host", HERE), ("Origin", origin), ("Sec-Fetch-Site", "cross-site"), *wanted]
        given = ask(app, "OPTIONS", "/v1/collections/a", asked)
        assert given.status == status
        assert given.headers.get("access-control-allow-origin") == (origin if status == 200 else None)
        assert "access-control-allow-credentials" not in given.headers


def test_an_address_in_the_request_line_does_not_stand_for_the_host(library: TestClient) -> None:
    # Clients of proxies write 'GET http://evil.test/ HTTP/1.1'; no browser writes that to a server.
    given = ask(library.app, "GET", "http://localhost/v1/collections", [("Host", "evil.test")])
    assert given.status == 421


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("allowed_hosts", "http://a.test"), ("allowed_hosts", "a.test:80"), ("allowed_hosts", "a.*.test"),
        ("allowed_hosts", ""), ("cors_origins", "a.test"), ("cors_origins", "https://a.test/"),
        ("cors_origins", "https://A.test"), ("cors_origins", "null"), ("cors_origins", "https://*.a.test"),
    ],
)  # fmt: skip
def test_what_could_never_match_is_refused_when_the_settings_are_read(setting: str, value: str) -> None:
    with pytest.raises(InputError, match=f"SIGHTLINE_API__{setting.upper()}"):
        ApiSettings(**{setting: (value,)})
