"""While the catalog does not say which keys there are: one thread asks it, and signs of life do not."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

import pytest

from sightline.api.app import create_app
from sightline.api.keyring import Keyring
from sightline.errors import UnavailableError
from sightline.store.access import KnownKeys
from sightline.store.catalog import Catalog
from sightline.wiring import Installation
from tests.api.asgi import ask

BOUND = 60
FLOOD = 200


class Hanging:
    """A catalog whose database does not answer what keys there are until it may."""

    def __init__(self, catalog: Catalog | None = None) -> None:
        self._catalog = catalog
        self.may_answer = threading.Event()
        self.lock = threading.Lock()
        self.questions = self.inside = self.most = 0
        self.fails = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._catalog, name)

    def known_keys(self) -> KnownKeys:
        with self.lock:
            self.questions += 1
            self.inside += 1
            self.most = max(self.most, self.inside)
        try:
            assert self.may_answer.wait(BOUND)
            if self.fails:
                raise UnavailableError("The database is away.")
            return KnownKeys("an installation", 1000.0, False, ())
        finally:
            with self.lock:
                self.inside -= 1


@pytest.fixture
def hanging(services: Installation) -> Iterator[Hanging]:
    made = Hanging(services.catalog)
    yield made
    made.may_answer.set()


def app_with(services: Installation, hanging: Hanging) -> Any:
    return create_app(replace(services.api_parts, catalog=cast(Catalog, hanging)))


def test_a_flood_of_readiness_checks_has_two_threads_at_most_wait_for_the_catalog(
    services: Installation, hanging: Hanging
) -> None:
    app = app_with(services, hanging)
    keyring: Keyring = app.state.gatekeeper.keyring

    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(keyring.look(), 0.05)

    async def flood() -> None:
        for _ in range(4):  # in waves: whoever gave up has left no thread behind
            await asyncio.gather(*(give_up() for _ in range(FLOOD // 4)))

    before = threading.active_count()
    asyncio.run(flood())
    assert threading.active_count() - before <= 2
    assert (hanging.questions, hanging.most) == (1, 1)
    hanging.may_answer.set()


def test_readiness_is_told_while_the_catalog_hangs_and_leaves_few_threads(
    services: Installation, hanging: Hanging
) -> None:
    app = app_with(services, hanging)
    for _ in range(4):
        assert ask(app, "GET", "/readyz", [("Host", "localhost")]).status in (200, 503)
    assert hanging.most == 1
    assert hanging.questions == 1


def test_who_waits_gets_no_answer_that_is_older_than_a_second_and_all_get_the_same(hanging: Hanging) -> None:
    keyring = Keyring(cast(Catalog, hanging))

    async def asked() -> list[Any]:
        first = asyncio.create_task(keyring.look())
        await asyncio.sleep(1.2)  # longer than an answer is good for
        late = [asyncio.create_task(keyring.look()) for _ in range(20)]
        await asyncio.sleep(0)
        hanging.may_answer.set()
        return [await one for one in (first, *late)]

    rings = asyncio.run(asked())
    assert hanging.questions == 2
    assert len({ring.asked for ring in rings[1:]}) == 1
    assert rings[1].asked > rings[0].asked


def test_whoever_came_before_the_failure_is_told_and_whoever_came_in_between_asks_again(
    hanging: Hanging,
) -> None:
    keyring = Keyring(cast(Catalog, hanging))
    hanging.fails = True

    async def asked() -> list[Any]:
        first = asyncio.create_task(keyring.look())
        await asyncio.sleep(0.01)
        late = [asyncio.create_task(keyring.look()) for _ in range(20)]
        await asyncio.sleep(0.01)
        hanging.may_answer.set()
        return await asyncio.gather(first, *late, return_exceptions=True)

    assert {type(one) for one in asyncio.run(asked())} == {UnavailableError}
    assert hanging.questions == 2


def test_a_key_that_was_changed_meanwhile_is_asked_for_again(hanging: Hanging) -> None:
    keyring = Keyring(cast(Catalog, hanging))

    async def asked() -> None:
        old = asyncio.create_task(keyring.look())
        await asyncio.sleep(0.01)
        keyring.forget()
        new = asyncio.create_task(keyring.look())
        await asyncio.sleep(0.01)
        hanging.may_answer.set()
        assert (await new).asked > (await old).asked
        assert keyring.last is await new

    asyncio.run(asked())
    assert hanging.questions == 2


def test_a_sign_of_life_under_an_address_asks_no_catalog(services: Installation, hanging: Hanging) -> None:
    app = app_with(services, hanging)
    for host in ("10.0.0.7:8000", "[fe80::1]:8000", "192.168.0.7"):
        for method in ("GET", "HEAD"):
            given = ask(app, method, "/livez", [("Host", host)])
            assert given.status in (200, 405), host
    assert hanging.questions == 0
    hanging.may_answer.set()
    for method, path, host in (
        ("POST", "/livez", "10.0.0.7"),
        ("GET", "/livez", "evil.test"),
        ("GET", "/livez", "2130706433"),
        ("GET", "/livez", "10.0.0.7.evil.test"),
        ("GET", "/livez/", "10.0.0.7"),
        ("GET", "/readyz", "10.0.0.7"),
    ):
        assert ask(app, method, path, [("Host", host)]).status == 421, (method, path, host)
