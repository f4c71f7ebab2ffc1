"""Any file system that fsspec reaches, with the errors of this project."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sightline.errors import UnavailableError


def file_system(url: str, of_what: str) -> tuple[Any, str]:
    """The fsspec file system of a URL, and the path in it. Raises UnavailableError."""
    import fsspec.core

    try:
        found, root = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise UnavailableError(f"The address {url} {of_what} cannot be used: {error}.") from error
    return found, str(root).rstrip("/")


@contextmanager
def translated(path: str) -> Iterator[None]:
    """Errors of a driver that are no OSError (each has its own) become UnavailableError."""
    try:
        yield
    except (OSError, UnavailableError):
        raise
    except Exception as error:
        raise UnavailableError(f"{path} cannot be reached: {type(error).__name__}: {error}.") from error
