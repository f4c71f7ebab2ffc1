"""milvus-lite for tests: one file for a process of tests, with a real Milvus's protocol."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from importlib import util
from pathlib import Path

from sightline.store.milvus import MilvusBackend, MilvusServer
from sightline.store.milvus.token_rows import TokenRows
from tests.services import missing
from tests.store.token_world import flat_tail


def require_milvus() -> None:
    """Skips, or fails where services are required."""
    for module in ("pymilvus", "milvus_lite"):
        if util.find_spec(module) is None:
            missing(f"{module} is not installed: pip install 'sightline[milvus]' milvus-lite")


@cache
def milvus_server() -> MilvusServer:
    """The server of this process; it ends with it."""
    folder = tempfile.mkdtemp(prefix="sightline-milvus-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return MilvusServer(str(Path(folder) / "rows.db"), seconds=30.0)


def milvus_backend(folder: Path, scanned: int = 16) -> MilvusBackend:
    """A backend that asks the server for all but very few images."""
    return MilvusBackend(folder, milvus_server(), flat_tail, scanned)


def rows_of(backend: MilvusBackend, collection: object) -> TokenRows:
    """The rows that a generation says it is made of (``parameters["collection"]``)."""
    return TokenRows(backend._connection, str(collection))
