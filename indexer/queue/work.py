"""One batch at a time, whoever asks for it: a message of the broker, or a look into the catalog.

Messages make work begin at once. What makes it begin at all is SQL: brokers lose messages when they restart,
and their clients now and then forget to listen. So an idle worker looks for itself, in a thread of its own.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from sightline.errors import SightlineError
from sightline.indexer.names import worker_name
from sightline.indexer.tasks import Outcome

if TYPE_CHECKING:
    from sightline.indexer.tasks import TaskRunner
    from sightline.store.catalog import Catalog

log = logging.getLogger(__name__)

SEEN = 32
"""Tasks that a look finds at most. It takes them in no order, so that workers seldom want the same."""


class Work:
    """What a worker process does: ``message`` for the broker, ``look`` and its own thread for the catalog.

    ``told_to_stop``: whether no new batch may be begun.
    """

    def __init__(
        self, catalog: Catalog, tasks: TaskRunner, look_seconds: float, told_to_stop: Callable[[], bool]
    ) -> None:
        self._catalog = catalog
        self._tasks = tasks
        self._look_seconds = look_seconds
        self._told_to_stop = told_to_stop
        self._owner = worker_name()
        self._one_at_a_time = threading.Lock()
        self._messages_at = -float("inf")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep_looking, name="look for work", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self, seconds: float) -> bool:
        """Begin nothing more; whether the batch in hand, if any, is done, after waiting so long at most."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=seconds)
        return not self._thread.is_alive()

    def message(self, task_id: int) -> None:
        """Do one task, now that a message says that there are any: the one whose turn it is, of whatever job.

        As many messages come as there are tasks, so each is done. When nothing is ready, the one that it
        names may be one whose lease has run out. When this process is to stop, all is left to others.
        """
        with self._one_at_a_time:
            if not self._stopping():
                if self._tasks.run_next(self._owner) is Outcome.NOT_OURS:
                    self._tasks.run(task_id, self._owner)
                self._messages_at = time.monotonic()

    def look(self) -> bool:
        """Do one task that nobody has in hand, if messages bring none; whether there was one."""
        if not self._one_at_a_time.acquire(blocking=False):
            return False  # at work: that is watched by itself
        try:
            self._tasks.pulse.beat()
            if self._stopping() or time.monotonic() - self._messages_at < self._look_seconds:
                return False
            return self._take_one()
        except SightlineError as error:
            log.warning("work cannot be looked for", extra={"error": str(error)})
            return False
        finally:
            self._one_at_a_time.release()

    def _take_one(self) -> bool:
        if self._tasks.run_next(self._owner) is not Outcome.NOT_OURS:
            return True
        found = self._catalog.takeable_tasks(self._tasks.kinds, SEEN)
        random.shuffle(found)
        if any(self._tasks.run(task_id, self._owner) is not Outcome.NOT_OURS for task_id in found):
            return True
        self._tasks.idle()
        return False

    def _keep_looking(self) -> None:
        while not self._stop.is_set():
            try:
                done = self.look()
            except Exception:  # whatever it is: a worker that looks no more would help nobody
                log.exception("a look for work went wrong")
                done = False
            if not done:
                self._stop.wait(self._look_seconds * random.uniform(0.5, 1.5))

    def _stopping(self) -> bool:
        return self._stop.is_set() or self._told_to_stop()
