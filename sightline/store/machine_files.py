"""Small JSON files about the machines of an installation, each written whole or not at all.

All can be measured again: a damaged one counts as none, and a disk that takes none costs no work.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from threading import get_ident
from typing import Any, Final

log = logging.getLogger(__name__)

_MOST_BYTES: Final = 1 << 16


class MachineFiles:
    """One folder of them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, name: str) -> Path:
        """Where that lies, or would lie."""
        return self._folder / f"{name}.json"

    def read(self, name: str) -> dict[str, Any] | None:
        """What lies there under that name; None: nothing that can be used."""
        try:
            return self.load(name)
        except (OSError, ValueError):
            return None

    def load(self, name: str) -> dict[str, Any]:
        """As `read`. Raises OSError, or ValueError for what is no JSON object."""
        with self.path(name).open("rb") as file:
            try:
                found = json.loads(file.read(_MOST_BYTES))
            except RecursionError as error:
                raise ValueError("it is nested too deep") from error
        if not isinstance(found, dict):
            raise ValueError("it is no JSON object")
        return found

    def write(self, name: str, value: Mapping[str, Any]) -> None:
        """Put it there; readers see the former one until then."""
        path = self.path(name)
        aside = path.with_name(f".aside-{name}.{os.getpid()}.{get_ident()}")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with aside.open("w") as file:
                json.dump(dict(value), file)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
        except OSError as error:
            log.warning("a measurement cannot be kept", extra={"file": path.name, "error": str(error)})
            with suppress(OSError):
                aside.unlink(missing_ok=True)
