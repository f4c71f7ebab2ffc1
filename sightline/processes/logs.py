"""JSON lines for processes that run in the background: one object per record, with what its context bound.

``{"time", "level", "logger", "message", …}`` plus what ``extra=`` carried and structlog's context variables
hold (the id of a request, say); an exception's traceback is ``traceback``.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor

QUIET = ("celery", "kombu", "amqp", "urllib3")
"""Loggers whose own news is nobody's."""
AUDIT = "sightline.audit"
"""Its lines are written whatever the level of the others is."""

LONGEST = 16 << 10
"""Characters of one text of a line, at most: what nobody expected may quote a whole request."""


def json_formatter() -> logging.Formatter:
    """Formats any record of the standard library's logging as one JSON line."""
    gather: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.ExtraAdder(),
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
    ]
    write: list[Processor] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
        structlog.processors.EventRenamer("message"),
        _in_order,
        structlog.processors.JSONRenderer(ensure_ascii=False, default=str),
    ]
    return structlog.stdlib.ProcessorFormatter(foreign_pre_chain=gather, processors=write)


def log_json_lines(level: str = "INFO") -> None:
    """Send every record of this process to stderr as JSON, in place of whatever handlers there were."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(json_formatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger().level))
    logging.getLogger(AUDIT).setLevel(logging.INFO)


@contextmanager
def audit_on_stderr() -> Iterator[logging.Logger]:
    """The audit's logger, for a command, which writes no other log lines."""
    log, handler = logging.getLogger(AUDIT), logging.StreamHandler(sys.stderr)
    handler.setFormatter(json_formatter())
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield log
    finally:
        log.removeHandler(handler)


def _in_order(logger: object, method: str, event: EventDict) -> EventDict:
    """What every line has comes first; uvicorn's message in colours goes."""
    event.pop("color_message", None)
    if "exception" in event:
        event["traceback"] = event.pop("exception")
    ordered = {name: event.pop(name) for name in ("time", "level", "logger", "message")} | dict(event)
    return {name: _cut(value) if isinstance(value, str) else value for name, value in ordered.items()}


def _cut(text: str) -> str:
    """Its start and its end; of a traceback, the end says what happened."""
    if len(text) <= LONGEST:
        return text
    half = LONGEST // 2
    return f"{text[:half]}\n… {len(text) - LONGEST:,} characters …\n{text[-half:]}"
