"""The queue: one thin Celery task that carries an id, and the sender.

Messages are a hint that there is work; SQL says what the work is. So a lost message costs time (the
builder sends it again), a doubled one costs a look at the catalog, and there is no result backend.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from threading import Thread
from typing import Any, Protocol, TypeVar

from celery import Celery
from kombu.exceptions import ChannelError, ConnectionError, OperationalError
from kombu.transport import TRANSPORT_ALIASES

from sightline.circuit import Circuit
from sightline.errors import InputError, UnavailableError
from sightline.faultpoint import faultpoint
from sightline.indexer.names import TASK
from sightline.indexer.queue.folder_broker import prepare_folder
from sightline.indexer.settings import BrokerSettings
from sightline.store.storage import writing

log = logging.getLogger(__name__)

REQUEST = "sightline.indexer.queue.request:Request"
"""By name: only workers need it."""
FOLDER_ALIAS = "sightline-folder"
REDIS_SCHEMES = {"redis": "redis", "rediss": "rediss", "valkey": "redis", "valkeys": "rediss"}
AMQP_SCHEMES = {"amqp": "amqp", "amqps": "amqps", "pyamqp": "amqp"}


RunTask = Callable[[int], object]
"""Does the task with this id, whatever its kind."""


Result = TypeVar("Result")


class MarksSent(Protocol):
    """The catalog's side of sending."""

    def mark_sent(self, task_ids: Sequence[int]) -> object: ...


def make_app(broker: BrokerSettings, run: RunTask) -> Celery:
    """The Celery application: settings, queue and the one task. Opens no connection.

    Raises:
        InputError: a broker address of a kind that this cannot speak.
    """
    url, options = _transport(broker)
    app = Celery("sightline", broker=url, set_as_current=False, fixups=[])
    app.conf.update(_configuration(broker, options))

    def task(task_id: int) -> None:
        run(task_id)

    app.task(task, name=TASK, acks_late=True, reject_on_worker_lost=True, ignore_result=True, Request=REQUEST)
    return app


def _configuration(broker: BrokerSettings, options: dict[str, object]) -> dict[str, object]:
    return {
        "accept_content": ["json"],
        "task_serializer": "json",
        "result_backend": None,
        "task_ignore_result": True,
        "task_default_queue": broker.queue,
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "worker_prefetch_multiplier": 1,
        "worker_pool": "solo",
        "worker_concurrency": 1,
        "worker_enable_remote_control": False,
        "worker_send_task_events": False,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        # The solo pool sends no AMQP heartbeats while a batch is being embedded: the broker would hang
        # up on us.
        "broker_heartbeat": 0,
        "broker_connection_timeout": broker.connect_seconds,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_transport_options": options,
    }


def _transport(broker: BrokerSettings) -> tuple[str, dict[str, object]]:
    """Kombu's address and options for a broker address of ours."""
    scheme, _, rest = broker.url.partition("://")
    if scheme == "filesystem":
        return _folder_transport(broker)
    if scheme in REDIS_SCHEMES:
        options: dict[str, object] = {
            "socket_connect_timeout": broker.connect_seconds,
            "socket_timeout": broker.reply_seconds,
            "socket_keepalive": True,
            "visibility_timeout": 6 * 3600,
        }
        return f"{REDIS_SCHEMES[scheme]}://{rest}", options
    if scheme in AMQP_SCHEMES:
        return f"{AMQP_SCHEMES[scheme]}://{rest}", {
            "confirm_publish": True,
            "connect_timeout": broker.connect_seconds,
            "read_timeout": broker.reply_seconds,
            "write_timeout": broker.reply_seconds,
        }
    raise InputError(
        f"The broker address {_without_password(broker.url)} is of no known kind; "
        "use filesystem://, redis://, valkey:// or amqp://."
    )


def _folder_transport(broker: BrokerSettings) -> tuple[str, dict[str, object]]:
    if broker.folder is None:
        raise InputError("The filesystem broker needs a folder; set one, or use a Redis or AMQP address.")
    # Kombu refuses module paths in addresses, so its table of transports gets one more name.
    TRANSPORT_ALIASES[FOLDER_ALIAS] = "sightline.indexer.queue.folder_broker:Transport"
    with writing(broker.folder):
        folders = prepare_folder(broker.folder)
    return f"{FOLDER_ALIAS}://localhost", {"polling_interval": broker.polling_interval, **folders}


def _without_password(url: str) -> str:
    scheme, mark, rest = url.partition("://")
    return f"{scheme}{mark}{rest.rpartition('@')[2]}"


class TaskSender:
    """Sends task ids by name and notes in the catalog that they were sent. Thread-safe.

    A broker that hangs keeps nobody longer than ``send_seconds``, and then nobody for ``rest_seconds``.
    """

    def __init__(self, app: Celery, catalog: MarksSent, broker: BrokerSettings) -> None:
        self._app = app
        self._catalog = catalog
        self._broker = broker
        self._circuit = Circuit(broker.rest_seconds)

    def __call__(self, task_ids: Sequence[int]) -> None:
        """Send each id once.

        Raises:
            UnavailableError: the broker cannot be reached, or does not answer. What was sent before is noted;
            the builder sends the rest.
        """
        if not self._circuit.may_ask():
            raise self._unavailable("it did not answer a moment ago")
        sent: list[int] = []
        try:
            self._in_time(lambda: self._send(task_ids, sent), lambda: len(sent))
        except (OperationalError, ConnectionError, ChannelError, OSError) as error:
            if isinstance(error, TimeoutError):
                self._circuit.failed()
            raise self._unavailable(str(error)) from error
        finally:
            if sent:
                self._catalog.mark_sent(list(sent))
                faultpoint("queue.noted")
        self._circuit.succeeded()

    def depth(self) -> int | None:
        """Messages waiting in the queue; None when the broker cannot say."""
        try:
            return self._in_time(self._depth, lambda: 0)
        except (OperationalError, ConnectionError, OSError) as error:
            log.warning("the broker cannot be asked", extra={"error": str(error)})
            return None

    def _send(self, task_ids: Sequence[int], sent: list[int]) -> None:
        policy = {"max_retries": self._broker.send_retries, "interval_start": 0.1, "interval_max": 1.0}
        for task_id in task_ids:
            self._app.send_task(TASK, args=[task_id], retry=True, retry_policy=policy)
            faultpoint("queue.sent")
            sent.append(task_id)

    def _depth(self) -> int:
        with self._app.connection_for_read() as connection:
            connection.ensure_connection(max_retries=1, timeout=self._broker.connect_seconds)
            try:
                declared: Any = connection.default_channel.queue_declare(self._broker.queue, passive=True)
            except (ChannelError, *connection.channel_errors):
                return 0  # nobody has declared the queue: nothing was ever sent
            except connection.connection_errors as error:  # each driver has its own
                raise OperationalError(str(error)) from error
            return int(declared.message_count)

    def _in_time(self, work: Callable[[], Result], steps: Callable[[], int]) -> Result:
        """``work()``, waited for as long as its ``steps`` go on: not all that a driver does can be timed.

        TimeoutError: nothing has come for ``send_seconds``. The thread ends with the driver's own limits.
        """
        outcome: Future[Result] = Future()
        Thread(target=_do, args=(work, outcome), daemon=True, name="broker").start()
        before = -1
        while (now := steps()) > before:
            before = now
            try:
                return outcome.result(self._broker.send_seconds)
            except TimeoutError:
                if outcome.done():
                    raise
        raise TimeoutError(f"it did not answer within {self._broker.send_seconds:g} s")

    def _unavailable(self, why: str) -> UnavailableError:
        return UnavailableError(
            f"The broker at {_without_password(self._broker.url)} cannot be reached ({why}); "
            "the work is registered and starts when it is back."
        )


def _do(work: Callable[[], Result], outcome: Future[Result]) -> None:
    try:
        outcome.set_result(work())
    except BaseException as error:  # it is the asker's
        outcome.set_exception(error)
