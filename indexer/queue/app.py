"""The queue: one thin Celery task that carries an id, and the sender.

Messages are a hint that there is work; SQL says what the work is. So a lost message costs time (the
builder sends it again), a doubled one costs a look at the catalog, and there is no result backend.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from celery import Celery
from kombu.exceptions import ChannelError, ConnectionError, OperationalError
from kombu.transport import TRANSPORT_ALIASES

from sightline.errors import InputError, UnavailableError
from sightline.faultpoint import faultpoint
from sightline.indexer.names import TASK, worker_name
from sightline.indexer.queue.folder_broker import prepare_folder
from sightline.indexer.settings import BrokerSettings

log = logging.getLogger(__name__)

FOLDER_ALIAS = "sightline-folder"
REDIS_SCHEMES = {"redis": "redis", "rediss": "rediss", "valkey": "redis", "valkeys": "rediss"}
AMQP_SCHEMES = {"amqp": "amqp", "amqps": "amqps", "pyamqp": "amqp"}


RunTask = Callable[[int, str], object]
"""(task id, owner of the lease)."""


class MarksSent(Protocol):
    """The catalog's side of sending."""

    def mark_sent(self, task_ids: Sequence[int]) -> object: ...


def make_app(broker: BrokerSettings, run: RunTask) -> Celery:
    """The Celery application: settings, queue and the one task. Opens no connection.

    ``run(task_id, owner)`` does the task, whatever its kind.

    Raises:
        InputError: a broker address of a kind that this cannot speak.
    """
    url, options = _transport(broker)
    app = Celery("sightline", broker=url, set_as_current=False, fixups=[])
    app.conf.update(_configuration(broker, options))
    owner = worker_name()

    def task(task_id: int) -> None:
        run(task_id, owner)

    app.task(task, name=TASK, acks_late=True, reject_on_worker_lost=True, ignore_result=True)
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
            "socket_keepalive": True,
            "visibility_timeout": 6 * 3600,
        }
        return f"{REDIS_SCHEMES[scheme]}://{rest}", options
    if scheme in AMQP_SCHEMES:
        return f"{AMQP_SCHEMES[scheme]}://{rest}", {"confirm_publish": True}
    raise InputError(
        f"The broker address {_without_password(broker.url)} is of no known kind; "
        "use filesystem://, redis://, valkey:// or amqp://."
    )


def _folder_transport(broker: BrokerSettings) -> tuple[str, dict[str, object]]:
    if broker.folder is None:
        raise InputError("The filesystem broker needs a folder; set one, or use a Redis or AMQP address.")
    # Kombu refuses module paths in addresses, so its table of transports gets one more name.
    TRANSPORT_ALIASES[FOLDER_ALIAS] = "sightline.indexer.queue.folder_broker:Transport"
    options = {"polling_interval": broker.polling_interval, **prepare_folder(broker.folder)}
    return f"{FOLDER_ALIAS}://localhost", options


def _without_password(url: str) -> str:
    scheme, mark, rest = url.partition("://")
    return f"{scheme}{mark}{rest.rpartition('@')[2]}"


class TaskSender:
    """Sends task ids by name and notes in the catalog that they were sent. Thread-safe."""

    def __init__(self, app: Celery, catalog: MarksSent, broker: BrokerSettings) -> None:
        self._app = app
        self._catalog = catalog
        self._broker = broker

    def __call__(self, task_ids: Sequence[int]) -> None:
        """Send each id once.

        Raises:
            UnavailableError: the broker cannot be reached. What was sent before is noted; the builder
            sends the rest.
        """
        sent: list[int] = []
        try:
            for task_id in task_ids:
                self._send(task_id)
                faultpoint("queue.sent")
                sent.append(task_id)
        finally:
            if sent:
                self._catalog.mark_sent(sent)
                faultpoint("queue.noted")

    def depth(self) -> int | None:
        """Messages waiting in the queue; None when the broker cannot say."""
        return self._guarded(self._depth)

    def _send(self, task_id: int) -> None:
        policy = {"max_retries": self._broker.send_retries, "interval_start": 0.1, "interval_max": 1.0}
        try:
            self._app.send_task(TASK, args=[task_id], retry=True, retry_policy=policy)
        except (OperationalError, ConnectionError, ChannelError, OSError) as error:
            where = _without_password(self._broker.url)
            raise UnavailableError(
                f"The broker at {where} cannot be reached ({error}); "
                "the work is registered and starts when it is back."
            ) from error

    def _depth(self) -> int:
        with self._app.connection_for_read() as connection:
            connection.ensure_connection(max_retries=1, timeout=self._broker.connect_seconds)
            try:
                declared: Any = connection.default_channel.queue_declare(self._broker.queue, passive=True)
            except (ChannelError, *connection.channel_errors):
                return 0  # nobody has declared the queue: nothing was ever sent
            return int(declared.message_count)

    def _guarded(self, ask: Callable[[], int]) -> int | None:
        try:
            return ask()
        except (OperationalError, ConnectionError, OSError) as error:
            log.warning("the broker cannot be asked", extra={"error": str(error)})
            return None
