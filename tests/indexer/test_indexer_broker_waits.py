"""A broker that hangs holds up nobody: the work is in SQL, and who registers it goes on."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sightline.errors import UnavailableError
from sightline.indexer.queue.app import TaskSender, make_app
from sightline.indexer.settings import BrokerSettings
from tests.stopped import silent_port

BOUND = 60
"""Far beyond every limit: a wait without one fails here."""


class Sent:
    """What the catalog was told."""

    def __init__(self) -> None:
        self.ids: list[int] = []

    def mark_sent(self, task_ids: Sequence[int]) -> None:
        self.ids += task_ids


@pytest.fixture
def silent() -> Iterator[int]:
    with silent_port() as port:
        yield port


def outcome(work: Callable[[], object]) -> BaseException | object:
    """What ``work`` gives or raises; it must end."""
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(work)
        return future.exception(BOUND) or future.result(0)


def sender(url: str, **limits: float) -> TaskSender:
    broker = BrokerSettings(url=url, send_seconds=0.3, reply_seconds=1.0, connect_seconds=1.0, **limits)
    return TaskSender(make_app(broker, lambda task_id, owner: None), Sent(), broker)


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_a_broker_that_never_answers_is_given_up(silent: int, scheme: str) -> None:
    send = sender(f"{scheme}://127.0.0.1:{silent}/", rest_seconds=3600.0)
    assert isinstance(outcome(lambda: send([1, 2])), UnavailableError)
    assert outcome(send.depth) is None
    # Whoever comes next does not wait again: nobody listens by now, and nobody is asked.
    said = outcome(lambda: send([3]))
    assert "a moment ago" in str(said)


class Slow:
    """Takes each message, and longer for all of them than anybody waits for one."""

    def __init__(self) -> None:
        self.taken: list[int] = []

    def send_task(self, name: str, args: list[int], **options: object) -> None:
        import time

        time.sleep(0.1)
        self.taken += args


def test_a_broker_that_is_slow_and_goes_on_is_waited_for() -> None:
    slow, told = Slow(), Sent()
    send = TaskSender(slow, told, BrokerSettings(send_seconds=0.25))  # type: ignore[arg-type]
    ids = list(itertools.islice(itertools.count(), 8))
    send(ids)
    assert slow.taken == told.ids == ids


def test_a_folder_of_messages_that_cannot_be_made_is_said_in_our_words(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    with pytest.raises((UnavailableError, FileExistsError, NotADirectoryError)):
        make_app(BrokerSettings(folder=blocked / "broker"), lambda task_id, owner: None)
