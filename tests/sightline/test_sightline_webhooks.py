"""Webhooks of saved searches: each member is told, signed, at least once, and nobody waits for a receiver."""

from __future__ import annotations

import hashlib
import hmac
import json
import ssl
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from sightline.errors import InputError, UnavailableError
from sightline.fetching.posting import Poster
from sightline.fetching.settings import FetchSettings
from sightline.searching.settings import SavedSettings
from sightline.upkeep.webhooks import Webhooks
from sightline.wiring import Installation, open_installation
from tests.indexer.world import shared_decoder
from tests.sightline.conftest import toy_settings
from tests.sightline.test_sightline_saved_searches import add

GOOD, PRIVATE = "127.0.0.2", "127.0.0.1"
BOUND = 60.0


@dataclass
class Receiver:
    """A server that answers with the statuses given, the last one for ever, and keeps what it got."""

    port: int = 0
    statuses: list[int] = field(default_factory=lambda: [200])
    got: list[tuple[Mapping[str, str], bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://hook.test:{self.port}/hook?token=private"

    @property
    def told(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.got]


@contextmanager
def receiving(address: str, port: int = 0) -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.got.append((dict(self.headers), body))
            statuses = receiver.statuses
            self.send_response(statuses.pop(0) if len(statuses) > 1 else statuses[0])
            self.send_header("Location", f"http://{PRIVATE}:{receiver.port}/inside")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer((address, port), Handler) as server:
        receiver.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield receiver
        server.shutdown()
        thread.join(BOUND)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving(GOOD) as receiver:
        yield receiver


class Clock:
    """The database's, which tests put forward."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


NAMES = {"hook.test": [GOOD], "inside.test": [PRIVATE], "both.test": [GOOD, PRIVATE]}


def resolve(host: str, port: int) -> Sequence[str]:
    if host not in NAMES:
        raise OSError("Name or service not known")
    return NAMES[host]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def home(tmp_path: Path, receiver: Receiver, clock: Clock) -> Iterator[Installation]:
    fetch = FetchSettings(http=True, ports=(receiver.port,), allowed_networks=(f"{GOOD}/32",))
    saved = SavedSettings(webhooks=True, webhook_tries=3, webhook_seconds=5.0)
    settings = toy_settings(tmp_path / "data").model_copy(update={"fetch": fetch, "saved": saved})
    with open_installation(
        settings, inline=True, resolve=resolve, decoder=shared_decoder(), now=clock
    ) as services:
        services.collections.create("pictures")
        yield services


def webhooks(home: Installation) -> Webhooks:
    assert home.poster is not None
    return Webhooks(home.catalog, home.poster, home.settings.saved)


def state(home: Installation) -> tuple[int, int, int]:
    """Waiting, given up, delivered."""
    webhook = home.saved_searches.one("pictures", "red").webhook
    assert webhook is not None
    return webhook.waiting, webhook.failed, webhook.delivered


def test_each_member_is_told_once_in_order_and_signed_with_the_secret_told_at_saving(
    home: Installation, receiver: Receiver
) -> None:
    saved = home.saved_searches.save("pictures", "red", {"text": "red"}, 0.5, receiver.url)
    assert saved.secret is not None
    for name, shade in (("a", "red"), ("b", "blue"), ("c", "red")):
        add(home, name, shade)
    home.saved_watch.step()
    calls = webhooks(home)
    assert [calls.step() for _ in range(3)] == [True, True, False]
    members = home.saved_searches.members("pictures", "red").items
    assert [(one["image_id"], one["member"]) for one in receiver.told] == [
        (one.image_id, one.id) for one in members
    ]
    for (headers, body), told, member in zip(receiver.got, receiver.told, members, strict=True):
        time_of, signed = (part.partition("=")[2] for part in headers["Sightline-Signature"].split(","))
        expected = hmac.new(saved.secret.encode(), f"{time_of}.".encode() + body, hashlib.sha256).hexdigest()
        assert signed == expected
        assert told["id"] == headers["Sightline-Delivery"]
        assert (told["collection"], told["search"], told["type"]) == (
            "pictures",
            "red",
            "saved_search.joined",
        )
        assert told["match_probability"] == member.probability
    assert state(home) == (0, 0, 2)


def test_a_receiver_that_fails_first_is_tried_again_later_with_the_same_delivery(
    home: Installation, receiver: Receiver, clock: Clock
) -> None:
    receiver.statuses = [503, 200]
    home.saved_searches.save("pictures", "red", {"text": "red"}, 0.5, receiver.url)
    add(home, "a", "red")
    home.saved_watch.step()
    calls = webhooks(home)
    assert calls.step()
    webhook = home.saved_searches.one("pictures", "red").webhook
    assert webhook is not None
    assert webhook.trouble is not None
    assert "503" in webhook.trouble
    assert "private" not in webhook.trouble
    assert not calls.step(), "it rests"
    clock.ahead += home.settings.saved.webhook_pause_seconds
    assert calls.step()
    assert receiver.told[0] == receiver.told[1]
    assert state(home) == (0, 0, 1)
    webhook = home.saved_searches.one("pictures", "red").webhook
    assert webhook is not None
    assert webhook.trouble is None


def test_a_dead_receiver_is_given_up_and_told_again_once_its_webhook_is_given_again(
    home: Installation, receiver: Receiver, clock: Clock
) -> None:
    receiver.statuses = [500]
    home.saved_searches.save("pictures", "red", {"text": "red"}, 0.5, receiver.url)
    home.saved_searches.save("pictures", "other", {"text": "red"}, 0.5, receiver.url)
    add(home, "a", "red")
    home.saved_watch.step()
    calls, pauses = webhooks(home), []
    for _ in range(home.settings.saved.webhook_tries):
        while calls.step():
            pass
        pauses.append(clock.ahead)
        clock.ahead += 5.0 * 2 ** len(pauses)
    assert not calls.step()
    assert state(home) == (0, 1, 0)
    assert len(receiver.got) == 2 * home.settings.saved.webhook_tries
    receiver.statuses = [204]
    again = home.saved_searches.change("pictures", "red", {"text": "red"}, 0.5, receiver.url)
    assert again.secret is None, "it stays as it is"
    while calls.step():
        pass
    assert state(home) == (0, 0, 1)


def test_two_processes_make_a_call_once_and_a_dead_ones_call_is_made_again(
    home: Installation, receiver: Receiver, clock: Clock
) -> None:
    home.saved_searches.save("pictures", "red", {"text": "red"}, 0.5, receiver.url)
    add(home, "a", "red")
    home.saved_watch.step()
    taken = home.catalog.take_saved_call(40.0)  # by a process that dies now
    assert taken is not None
    assert not webhooks(home).step()
    clock.ahead += 41
    assert webhooks(home).step()
    assert receiver.told[0]["id"] == taken.token


def test_who_is_deleted_before_the_call_is_not_told_of_and_a_purge_leaves_nothing(
    home: Installation, receiver: Receiver
) -> None:
    home.saved_searches.save("pictures", "red", {"text": "red"}, 0.5, receiver.url)
    for name in "abc":
        add(home, name, "red")
    home.saved_watch.step()
    home.catalog.delete_images(home.catalog.collection("pictures").id, ids=["a"])
    home.purging.images("pictures", ["b"])
    calls = webhooks(home)
    while calls.step():
        pass
    assert [one["image_id"] for one in receiver.told] == ["c"]
    home.catalog.restore_images(home.catalog.collection("pictures").id, ["a"])
    home.saved_watch.step()
    while calls.step():
        pass
    assert [one["image_id"] for one in receiver.told] == ["c", "a"]


@pytest.mark.parametrize("host", ["inside.test", "both.test", "unknown.test"])
def test_a_private_receiver_is_never_connected_to_and_looks_like_one_that_is_not_there(
    home: Installation, receiver: Receiver, host: str
) -> None:
    with receiving(PRIVATE, receiver.port) as inside:
        url = f"http://{host}:{receiver.port}/hook"
        home.saved_searches.save("pictures", "red", {"text": "red"}, 0.5, url)
        add(home, "a", "red")
        home.saved_watch.step()
        assert webhooks(home).step()
        assert inside.got == receiver.got == []
    webhook = home.saved_searches.one("pictures", "red").webhook
    assert webhook is not None
    assert webhook.trouble == (
        f"http://{host}:{receiver.port}/… cannot be reached: its host does not answer in time, or may not be "
        "asked."
    )


def test_a_redirect_is_not_followed(home: Installation, receiver: Receiver) -> None:
    receiver.statuses = [307]
    with receiving(PRIVATE, receiver.port) as inside:
        assert home.poster is not None
        with pytest.raises(UnavailableError, match="307"):
            home.poster.post(receiver.url, b"{}", {})
        assert inside.got == []


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://example.org/hook", "plain HTTP"),
        ("https://10.0.0.1/hook", "not public"),
        ("https://[::1]/hook", "not public"),
        ("https://example.org:8443/hook", "port"),
        ("ftp://example.org/hook", "URL reads like"),
        ("https://a@b/hook", "cannot be"),
        ("https://127.1/hook", "host"),
    ],
)
def test_what_can_be_seen_to_be_wrong_with_a_webhook_is_refused_when_it_is_saved(url: str, said: str) -> None:
    poster = Poster(FetchSettings(), 5.0, resolve=resolve, tls=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    with pytest.raises(InputError, match=said):
        poster.check(url)


def test_settings_that_cannot_be_used_are_refused() -> None:
    with pytest.raises(InputError, match="SIGHTLINE_SAVED__MOST"):
        replace(SavedSettings(), most=0)
