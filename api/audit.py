"""The audit: one structured line for every write over HTTP, every key made or revoked, every wrong key.

The logger is ``sightline.audit``, in the normal stream of log lines. Lines hold names
and ids, never a secret.
"""

from __future__ import annotations

import logging
from typing import Any

from starlette.types import Scope

from sightline.api.labels import printable

log = logging.getLogger("sightline.audit")


def address_of(scope: Scope) -> str:
    """The client's address, as the server (or a proxy that it trusts) says it."""
    client = scope.get("client")
    return str(client[0]) if client else "local"


def note_write(scope: Scope, action: str, status: int) -> None:
    """A request that writes was answered, or refused by its route."""
    access, params = scope.get("access"), scope.get("path_params", {})
    fields: dict[str, Any] = {
        "event": "write",
        "request_id": scope.get("request_id"),
        "key": getattr(access, "name", None),
        "address": address_of(scope),
        "action": action,
        "collection": params.get("name") or params.get("collection"),
        "image_id": params.get("image_id"),
        "job_id": scope.get("job_id") or params.get("job_id"),
        "subject": scope.get("subject") or params.get("key"),
        "status": status,
    }
    log.info("%s %d", action, status, extra={"audit": fields["event"], **_given(fields)})


def note_attempt(scope: Scope, how: str, name: str | None, status: int) -> None:
    """Somebody gave what is no key. ``name``: of the key that it pretended to be, when there is one."""
    fields = {
        "request_id": scope.get("request_id"),
        "key": name,
        "address": address_of(scope),
        "action": f"wrong {how}",
        "status": status,
    }
    log.warning("A wrong key was given.", extra={"audit": "attempt", **_given(fields)})


def note_session(scope: Scope, action: str, name: str, status: int) -> None:
    """The page traded a key for a cookie."""
    fields = {
        "request_id": scope.get("request_id"),
        "key": name,
        "address": address_of(scope),
        "action": action,
        "status": status,
    }
    log.info("%s", action, extra={"audit": "session", **_given(fields)})


def _given(fields: dict[str, Any]) -> dict[str, Any]:
    """What is known. Names and ids come from clients, who may write what they like."""
    known = ((name, value) for name, value in fields.items() if value is not None and name != "event")
    return {name: printable(value) if isinstance(value, str) else value for name, value in known}
