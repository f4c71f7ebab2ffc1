"""Pictures on other fsspec file systems, for callers that allow them; HTTP needs care of its own: refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any, Final

from sightline.errors import ImageRejected, SourceError
from sightline.imaging.files import too_many_bytes
from sightline.indexer.files import is_ignored, scheme_of
from sightline.indexer.installations import is_remote_installation
from sightline.indexer.items import Listed, SourceItem, SourceProblem, Written
from sightline.indexer.manifests.addresses import BUCKETS
from sightline.indexer.roots import OUTSIDE
from sightline.indexer.sidecars.beside import Beside, problems
from sightline.indexer.sidecars.facts import MOST_BYTES, ending_of
from sightline.indexer.sources.described import NOTHING, described
from sightline.indexer.sources.spool import Spooled, may_be_entered

READ: Final = BUCKETS | {"sftp", "ssh", "smb", "hdfs", "memory"}
"""The schemes that are read. All others are refused: many of fsspec's reach the web (``http``, ``generic``,
``github``, ``webhdfs``) or other addresses (``::``, ``reference``), past the one client that is guarded."""
_EXTRAS: Final = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}


Enter = Callable[[Spooled, str], Iterator[Listed]]
"""What a copy of an archive or a table holds, under this label."""


def iter_remote(
    url: str, max_bytes: int, own: Sequence[str], enter: Enter, allowed: Callable[[str], bool]
) -> Iterator[Listed]:
    """The files below a URL, or the one that it names; not those of installations.

    Numbered shards are entered, and an archive or a table that is named itself.

    Raises:
        SourceError: it cannot be listed, or there is nothing.
    """
    _check(url)
    if not allowed(url):  # braces may stand for what climbs
        raise SourceError(f"{url} cannot be read: {OUTSIDE}.")
    found = False
    try:
        file_system, root = _open(url)
        file_system.invalidate_cache()  # a server lists again, and must see what is new
        if file_system.isfile(root):
            name = root.rpartition("/")[2]
            if may_be_entered(name):
                yield from _entered(file_system, root, name, enter)
            else:
                yield _item(file_system, Entry(file_system.info(root)), name, max_bytes)
            return
        for entry in _walk(file_system, root, own):
            found = True
            if isinstance(entry, OSError):
                detail = f"Not all of {url} can be listed: {type(entry).__name__}: {entry}."
                yield SourceProblem(url, url, "unreadable", detail, hides_more=True)
            else:
                yield from _below(file_system, entry, root, max_bytes, enter)
    except SourceError:
        raise
    except Exception as error:  # every driver has its own
        raise SourceError(trouble(url, error, "listed")) from error
    if not found:
        raise SourceError(f"There is no file at {url}.")


def _below(file_system: Any, entry: Entry, root: str, max_bytes: int, enter: Enter) -> Iterator[Listed]:
    """What one file of a folder gives."""
    relative = entry.path.removeprefix(root.rstrip("/")).lstrip("/")
    folder, slash, name = relative.rpartition("/")
    beside = entry.beside
    uri = str(file_system.unstrip_protocol(entry.path))
    if beside.is_sidecar(name):
        return
    if may_be_entered(name) and (ending_of(name) == "parquet" or beside.is_shard(name)):
        try:
            yield from _entered(file_system, entry.path, relative, enter)
        except SourceError as error:
            yield SourceProblem(relative, uri, "unreadable", str(error), hides_more=True)
        return
    facts = beside.facts(name)
    yield from problems(facts, lambda other: (f"{folder}{slash}{other}", f"{uri.rpartition('/')[0]}/{other}"))
    yield described(_item(file_system, entry, relative, max_bytes), facts, folder)


def _entered(file_system: Any, path: str, label: str, enter: Enter) -> Iterator[Listed]:
    """The members of an archive or table, out of a copy that lives as long as one of them is held."""
    url = str(file_system.unstrip_protocol(path))
    copy = Spooled(path.rpartition("/")[2])
    file_system.get_file(path, copy.path)
    return copy.under(url, enter(copy, label))


class Entry:
    """One file of a folder, as its driver describes it."""

    def __init__(self, info: Mapping[str, Any], beside: Beside = NOTHING) -> None:
        self.path = str(info["name"])
        self.beside = beside
        self.written = _written(info)


def _written(info: Mapping[str, Any]) -> Written | None:
    """Size and time as the store itself says them: nobody who writes an object can choose the time."""
    size, at = info.get("size"), info.get("LastModified", info.get("updated"))
    if isinstance(at, str):
        with suppress(ValueError):
            at = datetime.fromisoformat(at)
    return Written(size, at.timestamp()) if isinstance(size, int) and isinstance(at, datetime) else None


def _walk(file_system: Any, root: str, own: Sequence[str]) -> Iterator[Entry | OSError]:
    """Files, those of a folder by name; an error in place of a folder that cannot be listed.

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
        files, folders = _parted(entries, folder)
        here = str(file_system.unstrip_protocol(folder)).rstrip("/")
        if here in own or is_remote_installation(folders.keys(), files.keys() - folders.keys()):
            continue
        if any(_is_nameless(entry) for entry in entries):
            yield OSError(f"{here}// is a folder without a name")
        wanted = sorted(name for name in files if not is_ignored(name))
        beside = Beside(wanted, partial(_read_small, file_system, folder))
        yield from (Entry(files[name], beside) for name in wanted)
        waiting += [folders[name] for name in sorted(folders, reverse=True) if not is_ignored(name)]


def _is_nameless(entry: Mapping[str, Any]) -> bool:
    """Whether it is the folder of ``a//b``, which no driver lists."""
    return entry["type"] == "directory" and str(entry["name"]).endswith("/")


def _parted(
    entries: Sequence[Mapping[str, Any]], folder: str
) -> tuple[dict[str, Mapping[str, Any]], dict[str, str]]:
    """Files and paths of folders by their names, which may be the same: ``a`` beside ``a/b`` in a bucket."""
    files, folders = {}, {}
    for entry in entries:
        path = str(entry["name"]).rstrip("/")
        name = path.rpartition("/")[2]
        if path == folder.rstrip("/"):  # the marker of the folder itself
            continue
        if entry["type"] == "directory":
            folders[name] = path
        else:
            files[name] = entry
    return files, folders


def _read_small(file_system: Any, folder: str, name: str) -> bytes:
    return read_remote(str(file_system.unstrip_protocol(f"{folder.rstrip('/')}/{name}")), MOST_BYTES)


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
        raise ImageRejected("unreadable", trouble(url, error, "read")) from error


def _check(url: str) -> None:
    if scheme_of(url) not in READ:
        raise SourceError(f"{url} is refused: sources are not read through addresses of this kind.")


def _open(url: str) -> tuple[Any, str]:
    import fsspec.core

    try:
        file_system, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise SourceError(missing_driver(url)) from error
    return file_system, str(path)


def missing_driver(url: str) -> str:
    """What to install for the scheme of a URL, in a sentence."""
    extra = _EXTRAS.get(scheme_of(url) or "")
    todo = f"Install sightline[{extra}]" if extra else "Install the package of fsspec for it"
    return f"{url} needs a driver that is not installed. {todo} to read it."


def trouble(url: str, error: Exception, what: str) -> str:
    """Why a store could not be asked, in a sentence; every driver has words of its own."""
    name = type(error).__name__
    if isinstance(error, FileNotFoundError):
        return f"There is nothing at {url}: no such bucket, or no such folder in it."
    if isinstance(error, PermissionError):
        return f"{url} may not be {what} with the credentials that are at hand."
    if "Credentials" in name:
        return f"{url} cannot be {what}: no credentials are at hand; give its driver some ({name})."
    said = (str(error).splitlines() or [name])[0].rstrip(" .")
    return f"{url} cannot be {what}: {name}: {said}."


def _read_at_most(file_system: Any, path: str, most: int) -> bytes:
    with file_system.open(path, "rb") as file:
        return bytes(file.read(most))


def _item(file_system: Any, entry: Entry, name: str, max_bytes: int) -> SourceItem:
    uri = str(file_system.unstrip_protocol(entry.path))
    written = entry.written if scheme_of(uri) in BUCKETS else None
    return SourceItem(name, uri, None, {}, partial(read_remote, uri, max_bytes), written=written)
