"""A folder as message broker: kombu's filesystem transport, safe against kills and hasty readers.

What the stock transport (kombu 5.7) does, and this one does not:

- it creates a message under its final name and then writes it, so a reader can take an empty one and
  the worker dies on it;
- it takes a message by moving it to the machine's temporary folder, which is a copy across file
  systems: not atomic;
- it keeps the bindings in a file rewritten in place: a kill in between leaves a file that no process
  can read any more;
- it lists and sorts the whole folder for every message.

There is one queue, named like its exchange, so there are no bindings to keep. Nothing is fsynced: the
catalog is the truth, and the builder sends again what a crash lost.
"""

# Kombu is typed in part: its functions carry no annotations.
# mypy: disable-error-code="no-untyped-call"
from __future__ import annotations

import logging
import os
import time
import uuid
from collections import deque
from contextlib import suppress
from pathlib import Path
from queue import Empty
from typing import Any

from kombu.exceptions import ChannelError
from kombu.transport import filesystem, virtual
from kombu.utils.json import dumps, loads

from sightline.indexer.queue.stopping import told_to_stop

log = logging.getLogger(__name__)

QUEUE_FOLDER = "queue"
CLAIMED_FOLDER = "claimed"
LEFTOVER_SECONDS = 3600.0
WAIT_SECONDS = 0.5


def prepare_folder(folder: Path) -> dict[str, object]:
    """Create the broker's folders and clear what killed processes left; returns kombu's transport options."""
    queue, claimed = folder / QUEUE_FOLDER, folder / CLAIMED_FOLDER
    for each in (queue, claimed):
        each.mkdir(parents=True, exist_ok=True)
    horizon = time.time() - LEFTOVER_SECONDS
    for leftover in [*claimed.iterdir(), *queue.glob("*.part")]:
        with suppress(FileNotFoundError):
            if leftover.stat().st_mtime < horizon:
                leftover.unlink()
    return {"data_folder_in": str(queue), "data_folder_out": str(queue), "processed_folder": str(claimed)}


class Channel(filesystem.Channel):
    """One message is one file ``<time>_<uuid>.<queue>.msg``: written aside, renamed, claimed by a rename."""

    def get_table(self, exchange: str) -> list[Any]:
        """The one binding of an exchange: the queue of the same name."""
        return [filesystem.exchange_queue_t(exchange, "", exchange)]

    def _queue_bind(self, exchange: str, routing_key: str, pattern: str, queue: str) -> None:
        return None

    def _delete(self, queue: str, *args: object, **kwargs: object) -> None:
        self._purge(queue)

    def _put(self, queue: str, message: object, **kwargs: object) -> None:  # type: ignore[override]
        name = f"{time.time_ns():020d}_{uuid.uuid4().hex}.{queue}.msg"
        target = Path(self.data_folder_out) / name
        aside = target.with_suffix(".part")
        try:
            aside.write_text(dumps(message), encoding="utf-8")
            os.replace(aside, target)
        except OSError as error:
            raise ChannelError(f"cannot write a message to {self.data_folder_out}: {error}") from error

    def _get(self, queue: str, timeout: float | None = None) -> Any:
        waiting = self._waiting(queue)
        while waiting:
            message = self._claim(waiting.popleft())
            if message is not None:
                return message
        raise Empty

    def _waiting(self, queue: str) -> deque[str]:
        """Names of unclaimed messages, oldest first, as of the last time that none was left."""
        listed: dict[str, deque[str]] = self.__dict__.setdefault("_listed", {})
        if not listed.get(queue):
            ending = f".{queue}.msg"
            listed[queue] = deque(sorted(n for n in os.listdir(self.data_folder_in) if n.endswith(ending)))
        return listed[queue]

    def _claim(self, name: str) -> Any:
        """The message of this name, or None when another worker was faster or the file is no message."""
        claimed = Path(self.processed_folder) / name
        try:
            os.rename(Path(self.data_folder_in) / name, claimed)
        except FileNotFoundError:
            return None
        except OSError as error:  # a sick disk must not end the worker: the message stays
            log.warning("a message cannot be taken", extra={"message_file": name, "error": str(error)})
            return None
        try:
            return loads(claimed.read_text(encoding="utf-8"))
        except ValueError:
            log.warning("dropped an unreadable message", extra={"message_file": name})
            return None
        finally:
            claimed.unlink(missing_ok=True)


class Transport(filesystem.Transport):
    """The transport of ``filesystem://`` brokers."""

    Channel = Channel
    driver_name = "folder"
    global_state = virtual.BrokerState()

    def drain_events(self, connection: object, timeout: float | None = None, **kwargs: object) -> None:
        """One message, or ``socket.timeout`` after half a second: Celery would wait two before it looks at
        its stop flag. Once that is set, its loop still comes by one last time: no new batch then.
        """
        if told_to_stop():
            raise TimeoutError
        super().drain_events(connection, timeout=min(timeout or WAIT_SECONDS, WAIT_SECONDS))
