"""Pictures on other fsspec file systems, for callers that allow them; HTTP needs care of its own: refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Final

from sightline.errors import ImageRejected, SourceError
from sightline.indexer.files import is_ignored, scheme_of, too_many_bytes
from sightline.indexer.installations import is_remote_installation
from sightline.indexer.items import Listed, SourceItem

_REFUSED: Final = frozenset({"http", "https", "::"})


def iter_remote(url: str, max_bytes: int, own: Sequence[str] = ()) -> Iterator[Listed]:
    """The files below a URL, or the one that it names; not those of installations. Raises SourceError."""
    _check(url)
    try:
        file_system, root = _open(url)
        if file_system.isfile(root):
            yield _item(file_system, root, root.rpartition("/")[2], max_bytes)
            return
        found = False
        for folder, inner, files in file_system.walk(root, detail=True):
            here = str(file_system.unstrip_protocol(folder)).rstrip("/")
            if here in own or is_remote_installation(inner, files):
                inner.clear()  # fsspec goes on with what is left in it
                found = True
                continue
            for name in sorted(files):
                path = f"{folder.rstrip('/')}/{name}"
                relative = path.removeprefix(root.rstrip("/")).lstrip("/")
                if not any(is_ignored(part) for part in relative.split("/")):
                    found = True
                    yield _item(file_system, path, relative, max_bytes)
    except Exception as error:  # every driver has its own
        raise SourceError(f"{url} cannot be listed: {type(error).__name__}: {error}.") from error
    if not found:
        raise SourceError(f"There is no file at {url}.")


def read_remote(url: str, max_bytes: int) -> bytes:
    """The bytes behind a URL. Raises ImageRejected (``unreadable``, ``too_many_bytes``)."""
    try:
        _check(url)
        file_system, path = _open(url)
        size = int(file_system.info(path).get("size") or 0)
        if size > max_bytes:
            raise too_many_bytes(url, size, max_bytes)
        return bytes(file_system.cat_file(path))
    except ImageRejected:
        raise
    except SourceError as error:
        raise ImageRejected("unreadable", str(error)) from error
    except Exception as error:  # every driver has its own
        raise ImageRejected(
            "unreadable", f"{url} cannot be read: {type(error).__name__}: {error}."
        ) from error


def _check(url: str) -> None:
    if scheme_of(url) in _REFUSED:
        raise SourceError(f"{url} is refused: pictures are not fetched over HTTP or through other addresses.")


def _open(url: str) -> tuple[Any, str]:
    import fsspec.core

    file_system, path = fsspec.core.url_to_fs(url)
    return file_system, str(path)


def _item(file_system: Any, path: str, name: str, max_bytes: int) -> SourceItem:
    uri = str(file_system.unstrip_protocol(path))
    return SourceItem(name, uri, None, {}, partial(read_remote, uri, max_bytes))
