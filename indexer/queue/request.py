"""What a worker makes of a message."""

from __future__ import annotations

from typing import Any

from celery.worker import request


class Request(request.Request):  # type: ignore[misc]
    """A request whose acknowledgement may fail aloud.

    Celery's own only logs that. Kombu then counts the message as one that is still being worked on, for ever,
    and as the worker may hold just one, it never takes another, though Redis came back long ago.
    """

    acknowledged: Any

    def acknowledge(self) -> None:
        """Told to the consumer, an error of the connection makes it connect again."""
        if not self.acknowledged:
            self.acknowledged = True
            self.message.ack()
