"""Names that every process of the indexer agrees on."""

from __future__ import annotations

import os
import socket
import uuid

TASK = "sightline.embed"
"""The one task of the queue, for every kind of task; named as in version 0.1, whose messages may still wait.
"""
BUILDER = "builder"
"""The singleton lease of the builder."""


def worker_name() -> str:
    """A lease owner that no other process, also none of an earlier boot, shares."""
    return f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
