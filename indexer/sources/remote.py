"""Pictures on other fsspec file systems, for callers that allow them; HTTP needs care of its own: refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Final

from sightline.errors import ImageRejected, SourceError
from sightline.imaging.files import too_many_bytes
from sightline.indexer.files import is_ignored, scheme_of
from sightline.indexer.installations import is_remote_installation
from sightline.indexer.items import Listed, SourceItem, SourceProblem
from sightline.indexer.manifests.addresses import BUCKETS

READ: Final = BUCKETS | {"sftp", "ssh", "smb", "hdfs", "memory"}
"""The schemes that are read. All others are refused: many of fsspec's reach the web (``http``, ``generic``,
``github``, ``webhdfs``) or other addresses (``::``, ``reference``), past the one client that is guarded."""


def iter_remote(url: str, max_bytes: int, own: Sequence[str] = ()) -> Iterator[Listed]:
    """The files below a URL, or the one that it names; not those of installations. Raises SourceError."""
    _check(url)
    try:
        file_system, root = _open(url)
        if file_system.isfile(root):
            yield _item(file_system, root, root.rpartition("/")[2], max_bytes)
            return
        found = False
        for path in _walk(file_system, root, own):
            found = True
            if isinstance(path, OSError):
                detail = f"Not all of {url} can be listed: {type(path).__name__}: {path}."
                yield SourceProblem(url, url, "unreadable", detail, hides_more=True)
                continue
            relative = path.removeprefix(root.rstrip("/")).lstrip("/")
            yield _item(file_system, path, relative, max_bytes)
    except Exception as error:  # every driver has its own
        raise SourceError(f"{url} cannot be listed: {type(error).__name__}: {error}.") from error
    if not found:
        raise SourceError(f"There is no file at {url}.")


def _walk(file_system: Any, root: str, own: Sequence[str]) -> Iterator[str | OSError]:
    """Paths of files, those of a folder by name; an error in place of a folder that cannot be listed.

    fsspec's own walk passes over such folders in silence.
    """
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        try:
            entries = file_system.ls(folder, detail=True)
        except OSError as error:
            if folder == root:
                raise
            yield error
            continue
        paths = {str(entry["name"]).rstrip("/"): entry["type"] for entry in entries}
        named = {path.rpartition("/")[2]: (path, kind) for path, kind in paths.items()}
        folders = {name for name, (_, kind) in named.items() if kind == "directory"}
        here = str(file_system.unstrip_protocol(folder)).rstrip("/")
        if here in own or is_remote_installation(folders, named.keys() - folders):
            continue
        wanted = sorted(
            name for name in named if not is_ignored(name) and named[name][0] != folder.rstrip("/")
        )
        yield from (named[name][0] for name in wanted if name not in folders)
        waiting += [named[name][0] for name in reversed(wanted) if name in folders]


def read_remote(url: str, max_bytes: int) -> bytes:
    """The bytes behind a URL. Raises ImageRejected (``unreadable``, ``too_many_bytes``)."""
    try:
        _check(url)
        file_system, path = _open(url)
        size = file_system.info(path).get("size")
        # A driver that does not know it is not asked for all at once.
        data = _read_at_most(file_system, path, max_bytes + 1) if size is None else b""
        if max(len(data), size or 0) > max_bytes:
            raise too_many_bytes(url, max(len(data), size or 0), max_bytes)
        return data if size is None else bytes(file_system.cat_file(path))
    except ImageRejected:
        raise
    except SourceError as error:
        raise ImageRejected("unreadable", str(error)) from error
    except Exception as error:  # every driver has its own
        raise ImageRejected(
            "unreadable", f"{url} cannot be read: {type(error).__name__}: {error}."
        ) from error


def _check(url: str) -> None:
    if scheme_of(url) not in READ:
        raise SourceError(f"{url} is refused: sources are not read through addresses of this kind.")


def _open(url: str) -> tuple[Any, str]:
    import fsspec.core

    file_system, path = fsspec.core.url_to_fs(url)
    return file_system, str(path)


def _read_at_most(file_system: Any, path: str, most: int) -> bytes:
    with file_system.open(path, "rb") as file:
        return bytes(file.read(most))


def _item(file_system: Any, path: str, name: str, max_bytes: int) -> SourceItem:
    uri = str(file_system.unstrip_protocol(path))
    return SourceItem(name, uri, None, {}, partial(read_remote, uri, max_bytes))
