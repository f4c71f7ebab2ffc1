"""Whoever asks too much is told when to come again, and keeps nobody else from an answer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Scope, Send

from sightline.api.access import Access
from sightline.api.app import create_app
from sightline.api.server import running
from sightline.api.settings import ApiSettings
from sightline.api.throttle import Throttle
from sightline.api.urls import RERANKS
from sightline.errors import InputError
from sightline.imaging import IsolatedDecoder
from sightline.serving.queue import Ticket
from sightline.settings import ServingSettings, Settings
from sightline.wiring import Installation
from tests.api.asgi import Given, ask
from tests.api.conftest import installation
from tests.api.installation import MakeClient, problem

SEARCH = "/v1/collections/pictures/search"
IMAGES = "/v1/collections/pictures/images"
EVENTS = "/v1/jobs/0f/events"
JOINED = "/v1/collections/pictures/saved-searches/reds/events"
THUMBNAIL = "/v1/collections/pictures/images/a/thumbnail"
ONE, OTHER, HERE = ("192.0.2.1", 1), ("192.0.2.2", 1), ("127.0.0.1", 1)


class Behind:
    """A Throttle as if behind a Guard that knows callers by a header; what it lets through is answered."""

    def __init__(self, controlled: bool = True, **settings: object) -> None:
        made = ApiSettings(**settings)  # type: ignore[arg-type]
        self._throttle = Throttle(PlainTextResponse("done"), made, 128)
        self._controlled = controlled

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        names = [value.decode() for name, value in scope["headers"] if name == b"x-key"]
        name = names[0] if names else None
        scope |= {"access": Access(name, "admin", controlled=self._controlled)}
        await self._throttle(scope, receive, send)


def search(app: Behind, client: tuple[str, int] | None = ONE, key: str | None = None) -> int:
    return ask(app, "POST", SEARCH, [] if key is None else [("X-Key", key)], client=client).status


def statuses(
    app: Behind, times: int, client: tuple[str, int] | None = ONE, key: str | None = None
) -> list[int]:
    return [search(app, client, key) for _ in range(times)]


def test_an_address_that_asks_too_often_is_told_when_to_go_on() -> None:
    app = Behind(rate_per_address="3/hour")
    assert statuses(app, 3) == [200] * 3
    refused = ask(app, "POST", SEARCH, [], client=ONE)
    assert refused.status == 429
    assert refused.json["type"] == "urn:sightline:problem:too-many-requests"
    assert 3500 < int(refused.headers["retry-after"]) <= 3600
    assert refused.headers["retry-after"] in refused.json["detail"]
    assert statuses(app, 3, OTHER) == [200] * 3, "others do not suffer"
    for path in (*sorted(RERANKS), SEARCH):
        assert ask(app, "POST", path, [], client=ONE).status == 429
    assert ask(app, "GET", "/", [], client=ONE).status == 200
    assert ask(app, "GET", f"{IMAGES}/a%2Fb/explanation", [], client=ONE).status == 429
    assert ask(app, "GET", THUMBNAIL, [], client=ONE).status == 200
    for query in ("q=red", "q=%C3%A9t%C3%A9", "q=%FF", "a=1&q=\xe9"):
        assert ask(app, "GET", f"/?{query}", [], client=ONE).status == 429


def test_a_key_is_counted_wherever_it_is_used_and_an_address_whatever_keys_it_uses() -> None:
    app = Behind(rate_per_key="3/hour", rate_per_address="5/hour")
    assert [search(app, (f"192.0.2.{n}", 1), "a") for n in range(4)] == [200, 200, 200, 429]
    assert statuses(app, 2, OTHER, "b") == [200] * 2
    assert [search(app, ("198.51.100.1", 1), f"key {n}") for n in range(6)] == [200] * 5 + [429]


def test_one_network_of_ipv6_is_one_client() -> None:
    app = Behind(rate_per_address="2/hour")
    ours = [search(app, (f"2001:db8:0:1::{n:x}", 1)) for n in range(1, 4)]
    assert ours == [200, 200, 429]
    assert search(app, ("2001:db8:0:2::1", 1)) == 200
    assert [search(app, (f"::ffff:{ONE[0]}", 1)), search(app), search(app)] == [200, 200, 429]


def test_pictures_and_lists_are_counted_apart_and_health_never() -> None:
    app = Behind(rate_per_address="3/hour")
    assert statuses(app, 4)[-1] == 429
    assert [ask(app, "GET", THUMBNAIL, [], client=ONE).status for _ in range(31)] == [200] * 30 + [429]
    assert ask(app, "GET", "/v1/collections", [], client=ONE).status == 429
    for path in ("/livez", "/readyz", "/static/sightline.js", "/favicon.ico"):
        assert {ask(app, "GET", path, [], client=ONE).status for _ in range(40)} == {200}


def test_by_default_a_person_never_meets_a_limit() -> None:
    """Ten pages of sixty thumbnails and a search a second, all within one minute."""
    app = Behind()
    seen = {ask(app, "GET", THUMBNAIL, [("X-Key", "a")], client=ONE).status for _ in range(600)}
    assert seen | set(statuses(app, 60, key="a")) == {200}


@pytest.mark.parametrize(
    ("controlled", "client", "counted"),
    [(False, HERE, False), (False, ("::1", 1), False), (False, None, False), (False, ONE, True),
     (True, HERE, True), (True, ONE, True)],
)  # fmt: skip
def test_without_a_key_this_machine_is_not_counted(
    controlled: bool, client: tuple[str, int] | None, counted: bool
) -> None:
    app = Behind(controlled, rate_per_address="2/hour", concurrent_per_client=1)
    assert (statuses(app, 4, client)[-1] == 429) is counted


def test_limits_can_be_turned_off_and_nonsense_is_refused() -> None:
    assert set(statuses(Behind(rate_per_address="", rate_per_key=""), 700)) == {200}
    with pytest.raises(InputError, match="600/minute"):
        Behind(rate_per_address="many")
    with pytest.raises(InputError, match="CONCURRENT_PER_CLIENT"):
        Behind(concurrent_per_client=-1)


def test_places_at_the_model_are_given_back_however_a_request_ends() -> None:
    async def scenario() -> list[int]:
        release: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        began = asyncio.Semaphore(0)
        seen: list[int] = []

        async def model(scope: Scope, receive: Receive, send: Send) -> None:
            began.release()
            await asyncio.wait_for(asyncio.shield(release), 20)
            if scope["client"] == OTHER:
                raise ZeroDivisionError
            await PlainTextResponse("done")(scope, receive, send)

        throttle = Throttle(model, ApiSettings(), 8)

        async def send(message: object) -> None:
            if isinstance(message, dict) and message["type"] == "http.response.start":
                seen.append(message["status"])

        def asked(client: tuple[str, int]) -> asyncio.Task[None]:
            scope = {"type": "http", "method": "POST", "path": SEARCH, "client": client, "headers": []}
            return asyncio.create_task(throttle(scope, asyncio.Event().wait, send))  # type: ignore[arg-type]

        inside = [asked(ONE), asked(ONE), asked(OTHER), asked(OTHER)]
        for _ in inside:
            await asyncio.wait_for(began.acquire(), 20)
        await asyncio.wait_for(asyncio.gather(asked(ONE), asked(OTHER)), 20)
        assert seen == [429, 429], "a quarter of eight places, and no third"
        inside[0].cancel()
        await asyncio.gather(inside[0], return_exceptions=True)
        inside.append(asked(ONE))
        await asyncio.wait_for(began.acquire(), 20)
        release.set_result(None)
        await asyncio.wait_for(asyncio.gather(*inside, return_exceptions=True), 20)
        await asyncio.wait_for(asyncio.gather(asked(ONE), asked(ONE)), 20)
        return seen

    assert asyncio.run(scenario()) == [429, 429, 200, 200, 200, 200]


def test_one_client_leaves_places_for_the_uploads_of_others() -> None:
    async def scenario() -> list[int]:
        seen: list[int] = []
        release: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def receiving(scope: Scope, receive: Receive, send: Send) -> None:
            await asyncio.wait_for(asyncio.shield(release), 20)
            await PlainTextResponse("done")(scope, receive, send)

        throttle = Throttle(receiving, ApiSettings(max_uploads=4), 8)

        async def send(message: object) -> None:
            if isinstance(message, dict) and message["type"] == "http.response.start":
                seen.append(message["status"])

        def asked(client: tuple[str, int], path: str) -> asyncio.Task[None]:
            scope = {"type": "http", "method": "POST", "path": path, "client": client, "headers": []}
            return asyncio.create_task(throttle(scope, asyncio.Event().wait, send))  # type: ignore[arg-type]

        slow = [asked(ONE, IMAGES) for _ in range(3)]
        await asyncio.wait_for(slow[2], 20)
        assert seen == [429], "half of four places, and no third"
        others = [asked(OTHER, IMAGES), asked(ONE, SEARCH), asked(ONE, "/v1/collections/images")]
        await asyncio.sleep(0)
        release.set_result(None)
        await asyncio.wait_for(asyncio.gather(*slow, *others), 20)
        await asyncio.wait_for(asked(ONE, IMAGES), 20)
        return seen

    assert asyncio.run(scenario()) == [429] + [200] * 6


@pytest.mark.parametrize(
    ("method", "path", "share"),
    [
        ("POST", IMAGES, 4),
        ("GET", EVENTS, 5),
        ("GET", JOINED, 5),
        ("GET", "/", 8),
        ("GET", "/?collection=a", 8),
        ("POST", SEARCH, 3),
    ],
)
def test_one_client_has_a_share_of_each_kind_of_place(method: str, path: str, share: int) -> None:
    """By key, wherever it is used; others have theirs, and what has ended counts no more."""

    async def scenario() -> list[int]:
        release: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def busy(scope: Scope, receive: Receive, send: Send) -> None:
            await asyncio.wait_for(asyncio.shield(release), 20)
            await PlainTextResponse("done")(scope, receive, send)

        throttle = Throttle(busy, ApiSettings(max_uploads=8, max_followers=20), 12)

        async def asked(key: str | None, address: str) -> int:
            statuses: list[int] = []

            async def send(message: Message) -> None:
                if message["type"] == "http.response.start":
                    statuses.append(message["status"])
                    assert message["status"] == 200 or b"retry-after" in dict(message["headers"])

            scope: Scope = {
                "type": "http", "method": method, "path": path.partition("?")[0], "client": (address, 1),
                "query_string": path.partition("?")[2].encode(), "headers": [],
                "access": Access(key, "admin", controlled=True),
            }  # fmt: skip
            await asyncio.wait_for(throttle(scope, asyncio.Event().wait, send), 30)  # type: ignore[arg-type]
            return statuses[0]

        waiting = [asyncio.create_task(asked("a", f"192.0.2.{n}")) for n in range(share + 3)]
        waiting += [asyncio.create_task(asked(key, "192.0.2.1")) for key in ("b", "c", None)]
        await asyncio.sleep(0)
        release.set_result(None)
        seen = list(await asyncio.gather(*waiting))
        return [*seen, await asked("a", "192.0.2.1")]

    assert asyncio.run(scenario()) == [200] * share + [429] * 3 + [200] * 3 + [200]


@pytest.fixture
def held(settings: Settings, api_decoder: IsolatedDecoder) -> Iterator[tuple[Installation, threading.Event]]:
    """An installation with a key whose model is busy until the event is set; eight requests may wait."""
    changed = settings.model_copy(
        update={
            "serving": replace(ServingSettings(), max_waiting=8),
            "api": replace(settings.api, key="sesame"),
        }
    )
    services, release = installation(changed, api_decoder), threading.Event()
    services.collections.create("pictures")
    busy = threading.Thread(target=services.scheduler.turn, args=(Ticket(), lambda: release.wait(20)))
    busy.start()
    yield services, release
    release.set()
    busy.join(timeout=20)
    services.scheduler.close()
    services.catalog.close()


def test_one_client_cannot_fill_the_queue_for_others(held: tuple[Installation, threading.Event]) -> None:
    services, release = held
    with running(create_app(services.api_parts)) as url, ThreadPoolExecutor(12) as pool:

        def ask_from(address: str) -> httpx.Response:
            headers = {"Authorization": "Bearer sesame", "X-Forwarded-For": address}
            return httpx.post(f"{url}{SEARCH}", json={"text": "red"}, headers=headers, timeout=20)

        greedy = [pool.submit(ask_from, "192.0.2.1") for _ in range(10)]
        refused = [one for one in greedy if one in done_first(greedy, 8)]
        assert [problem(one.result(20), 429)["status"] for one in refused] == [429] * 8
        others = [pool.submit(ask_from, f"198.51.100.{n}") for n in range(2)]
        release.set()
        assert [one.result(20).status_code for one in others] == [200, 200]
        assert sorted(one.result(20).status_code for one in greedy) == [200] * 2 + [429] * 8


def done_first(futures: list[object], count: int) -> list[object]:
    """The first so many that end."""
    from concurrent.futures import as_completed

    found = []
    for future in as_completed(futures, timeout=20):  # type: ignore[arg-type, var-annotated]
        found.append(future)
        if len(found) == count:
            break
    return found


@pytest.mark.parametrize(("proxies", "last"), [(("127.0.0.1",), 404), ((), 429), (("10.0.0.0/8",), 429)])
def test_only_a_trusted_proxy_says_who_asks(
    make_client: MakeClient, proxies: tuple[str, ...], last: int
) -> None:
    app = make_client(key="sesame", rate_per_address="2/hour", trusted_proxies=proxies).app
    with running(app) as url:  # type: ignore[arg-type]
        for n in range(3):
            headers = {"Authorization": "Bearer sesame", "X-Forwarded-For": f"1.1.1.1, 192.0.2.{n}"}
            answer = httpx.post(f"{url}{SEARCH}", json={"text": "red"}, headers=headers, timeout=20)
        assert answer.status_code == last


def test_strangers_do_not_use_up_what_an_address_may(make_client: MakeClient) -> None:
    app = make_client(key="sesame", rate_per_address="2/hour").app
    json = ("Content-Type", "application/json")
    right, wrong = [("Authorization", "Bearer sesame"), json], [("Authorization", "Bearer no")]
    answers: list[Given] = [ask(app, "POST", SEARCH, wrong, b'{"text": "a"}', client=ONE) for _ in range(9)]
    assert {given.status for given in answers} == {401}
    assert ask(app, "GET", "/?q=red", [], client=ONE).status == 401
    assert [ask(app, "POST", SEARCH, right, b'{"text": "a"}', client=ONE).status for _ in range(3)] == [
        404, 404, 429,
    ]  # fmt: skip
