"""The folder broker: atomic messages, one taker for each, nothing that a kill can leave behind and break."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from kombu import Connection, Exchange, Queue

from sightline.errors import InputError, UnavailableError
from sightline.indexer.queue.app import TaskSender, make_app
from sightline.indexer.settings import BrokerSettings


def no_task(task_id: int) -> None:
    raise AssertionError("no task runs in these tests")


class Sent:
    """The catalog's side: remembers what was noted as sent."""

    def __init__(self) -> None:
        self.ids: list[int] = []

    def mark_sent(self, task_ids: Any) -> None:
        self.ids += task_ids


def sender(broker: BrokerSettings) -> tuple[TaskSender, Sent]:
    sent = Sent()
    return TaskSender(make_app(broker, no_task), sent, broker), sent


def connection(broker: BrokerSettings) -> Connection:
    return make_app(broker, no_task).connection_for_read()


def take_all(broker: BrokerSettings) -> list[int]:
    """Every message of the queue, as a consumer gets it; the task ids."""
    taken: list[int] = []
    with connection(broker) as link:
        queue = link.SimpleQueue(Queue(broker.queue, Exchange(broker.queue), broker.queue))
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                message = queue.get_nowait()
            except queue.Empty:
                return taken
            taken.append(json.loads(message.body)[0][0])
            message.ack()
    raise AssertionError("the queue was never empty")


@pytest.fixture
def broker(tmp_path: Path) -> BrokerSettings:
    return BrokerSettings(folder=tmp_path / "broker")


def test_messages_carry_an_id_and_come_out_in_the_order_they_went_in(broker: BrokerSettings) -> None:
    send, sent = sender(broker)
    send([5, 3, 9])
    send([1])
    assert send.depth() == 4
    bodies = [json.loads(path.read_text()) for path in (broker.folder / "queue").glob("*.msg")]  # type: ignore[operator]
    assert {body["content-type"] for body in bodies} == {"application/json"}
    assert take_all(broker) == sent.ids == [5, 3, 9, 1]
    assert send.depth() == 0


def test_a_half_written_message_is_never_seen(broker: BrokerSettings) -> None:
    send, _ = sender(broker)
    send([1])
    queue = Path(str(broker.folder)) / "queue"
    whole = next(queue.glob("*.msg"))
    # What a writer killed at once leaves: the name of an unfinished message.
    (queue / f"0_killed.{broker.queue}.part").write_text(whole.read_text()[:40])
    assert send.depth() == 1
    assert take_all(broker) == [1]


def test_a_file_that_is_no_message_is_dropped_and_the_next_one_arrives(broker: BrokerSettings) -> None:
    send, _ = sender(broker)
    queue = Path(str(broker.folder)) / "queue"
    (queue / f"0.{broker.queue}.msg").write_bytes(b"")
    (queue / f"1.{broker.queue}.msg").write_bytes(b"\xff\xfe{")
    send([7])
    assert take_all(broker) == [7]
    assert list(queue.iterdir()) == []


def test_each_message_has_one_taker_among_several(broker: BrokerSettings) -> None:
    send, _ = sender(broker)
    send(list(range(200)))
    with ThreadPoolExecutor(4) as pool:
        taken = [n for part in pool.map(lambda _: take_all(broker), range(4), timeout=60) for n in part]
    assert Counter(taken) == Counter(range(200))


def test_leftovers_of_killed_processes_go_after_an_hour_and_not_before(broker: BrokerSettings) -> None:
    sender(broker)
    folder = Path(str(broker.folder))
    old, new = folder / "claimed" / "old.msg", folder / "queue" / "new.part"
    old.touch()
    new.touch()
    os.utime(old, (time.time() - 7200, time.time() - 7200))
    sender(broker)
    assert not old.exists()
    assert new.exists()


def test_a_broker_that_is_down_is_one_clear_sentence_without_the_password() -> None:
    broker = BrokerSettings("redis://:secret@127.0.0.1:1/0", connect_seconds=0.5, send_retries=1)
    send, sent = sender(broker)
    began = time.monotonic()
    with pytest.raises(
        UnavailableError, match=r"127\.0\.0\.1:1/0 cannot be reached.*starts when it is back"
    ) as caught:
        send([1, 2])
    assert "secret" not in str(caught.value)
    assert sent.ids == []
    assert send.depth() is None
    assert time.monotonic() - began < 10


def test_an_address_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(InputError, match=r"sqla://db.*use filesystem://, redis://, valkey:// or amqp://"):
        make_app(BrokerSettings("sqla://user:pw@db"), no_task)
    with pytest.raises(InputError, match="needs a folder"):
        make_app(BrokerSettings(), no_task)
