"""Every way to name pictures: a file, a folder, a glob, an archive, a manifest; and every address read again.

Image ids are POSIX paths relative to the source (a single file: its name), ``a.zip!/member`` in an archive.
Of a folder's files those of other kinds are counted (`sightline.indexer.sources.sifting`): nothing is skipped
in silence but hidden files, what systems leave behind (`sightline.indexer.files.is_ignored`), and folders of
installations (`sightline.indexer.installations`). Archives and manifests inside of a folder are not entered.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from sightline.errors import ImageRejected, NotFoundError, SourceError, UnavailableError
from sightline.fetching.schemes import is_web
from sightline.imaging.file_kinds import ARCHIVE, MANIFEST
from sightline.imaging.files import too_many_bytes
from sightline.indexer.archives.reading import is_archive, iter_archive, member_pieces, read_member
from sightline.indexer.files import (
    absolute,
    local_path,
    local_uri,
    read_local,
    readable,
    scheme_of,
)
from sightline.indexer.installations import OwnFolders
from sightline.indexer.items import MAX_BYTES, Listed
from sightline.indexer.items import SourceItem as SourceItem
from sightline.indexer.items import SourceProblem as SourceProblem
from sightline.indexer.manifests.addresses import NOT_FETCHED, Addresses, Fetch
from sightline.indexer.manifests.reading import is_manifest, is_parquet, iter_manifest
from sightline.indexer.roots import ANYWHERE, ARCHIVE_MARK, OUTSIDE, Roots, climbs
from sightline.indexer.sidecars.beside import Beside, problems
from sightline.indexer.sources.braces import expanded, has_braces
from sightline.indexer.sources.described import Neighbours, described, own_sidecars
from sightline.indexer.sources.folders import FoundFile, is_glob, walk, walk_glob
from sightline.indexer.sources.remote import iter_remote, read_remote
from sightline.indexer.sources.sifting import sifted, skipped
from sightline.indexer.sources.some import walk_some
from sightline.indexer.sources.spool import Spooled
from sightline.indexer.tables.columns import Columns
from sightline.indexer.tables.reading import is_dataset, iter_dataset, iter_parquet, picture_columns
from sightline.store.records import COPIED

if TYPE_CHECKING:
    from sightline.store.blobs import BlobStore


@dataclass(frozen=True)
class Reading:
    """How much of a picture is read at most, whether from elsewhere, below which roots, what fetches."""

    max_bytes: int
    allow_remote: bool
    roots: Roots
    fetch: Fetch | None


def iter_source(
    source: str,
    *,
    max_bytes: int = MAX_BYTES,
    allow_remote: bool = False,
    own: Sequence[str] = (),
    fetch: Fetch | None = None,
    roots: Roots = ANYWHERE,
    only: Sequence[str] = (),
) -> Iterator[Listed]:
    """List a source, lazily and in bounded memory. What cannot be a picture is a problem in its place.

    ``own``: folders and URLs of this installation. They, and those of others, are passed over. ``fetch``:
    what gives the pictures on the web, which nothing else is asked for. ``roots``: nothing that lies outside
    of them is opened. ``only``: of a folder nothing but these names and what lies below them (none: all).

    Raises:
        SourceError: there is no such source, or its listing cannot go on; what was listed before stays good.
    """
    scheme = scheme_of(source)
    if is_web(source) and allow_remote:
        if fetch is None:
            raise SourceError(NOT_FETCHED)
        yield SourceItem(source, source, None, {}, partial(fetch, source))
        return
    if scheme not in (None, "file"):
        if not allow_remote:
            raise SourceError(f"{source} is remote; remote sources are not read.")
        how = Reading(max_bytes, allow_remote, ANYWHERE, None)
        enter = partial(_spooled, how=how)
        far = partial(iter_remote, max_bytes=max_bytes, own=own, enter=enter, allowed=roots.allow)
        yield from _series(expanded(source), far) if has_braces(source) else far(source)
        return
    yield from _local(source, Reading(max_bytes, allow_remote, roots, fetch), OwnFolders(own), only)


def _local(source: str, how: Reading, own: OwnFolders, only: Sequence[str] = ()) -> Iterator[Listed]:
    if climbs(source.partition(ARCHIVE_MARK)[2]):
        raise SourceError(f"{readable(source)} climbs with '..' after '!/'; name the place that it leads to.")
    path = absolute(os.path.expanduser(local_path(source)))
    archive = path.partition(ARCHIVE_MARK)[0]
    if not (how.roots.allow_path(path) and how.roots.allow_path(archive)):
        raise SourceError(f"{readable(source)} cannot be read: {OUTSIDE}.")
    if os.path.isdir(path) and is_dataset(path):
        yield from iter_dataset(path, how.max_bytes, how.roots)
    elif os.path.isdir(path):
        found = walk_some(path, only, own, how.roots) if only else walk(path, own=own, roots=how.roots)
        yield from sifted(_in_folder(found, how), how.roots)
    elif os.path.lexists(path):
        named = FoundFile(os.path.basename(path), path)
        yield from _named(named, own_sidecars(named, how.roots), how)
    elif ARCHIVE_MARK in source and os.path.isfile(archive):
        yield _one_member(path, how)
    elif has_braces(source):
        yield from _series(expanded(source), partial(_local, how=how, own=own))
    elif is_glob(source):
        found = walk_glob(os.path.expanduser(source), own=own, roots=how.roots)
        yield from sifted(_matching(found, how), how.roots)
    else:
        raise SourceError(f"There is no file or folder {readable(source)}.")


def _spooled(copy: Spooled, label: str, how: Reading) -> Iterator[Listed]:
    """What the copy of an archive or a table holds; rows that name files of this machine are refused."""
    how = replace(how, roots=Roots([os.path.dirname(copy.path)]))
    file = FoundFile(label, copy.path)
    if is_archive(copy.path):
        return _file(file, how)
    columns = picture_columns(copy.path, how.roots)
    return iter([_not_entered(file, "a manifest")]) if columns is None else _table(file, columns, how)


def _series(names: Sequence[str], listing: Callable[[str], Iterator[Listed]]) -> Iterator[Listed]:
    """What each of these names; one that is not there, or breaks off, hides what it may hold."""
    broken: list[SourceError] = []
    for name in names:
        try:
            yield from listing(name)
        except SourceError as error:
            broken.append(error)
            if len(broken) < len(names):
                yield SourceProblem(readable(name), readable(name), "unreadable", str(error), hides_more=True)
    if len(broken) == len(names):
        raise broken[0] if broken else SourceError("The braces stand for no name.")


def address_of(source: str) -> str:
    """What a source is known by wherever it is named from: a URL as it is, else the absolute path."""
    if scheme_of(source) not in (None, "file"):
        return source
    return readable(absolute(os.path.expanduser(local_path(source))))


def read_uri(
    uri: str,
    blobs: BlobStore | None = None,
    *,
    max_bytes: int = MAX_BYTES,
    allow_remote: bool = False,
    roots: Roots = ANYWHERE,
) -> bytes:
    """The bytes behind an address as `iter_source` gives it, or ``blob:<sha256>`` in ``blobs``. A local file
    is opened below ``roots`` only.

    Raises:
        ImageRejected: ``unreadable``, ``too_many_bytes``, or what is wrong with the member of an archive.
    """
    if uri.startswith(COPIED):
        return _read_blob(uri.removeprefix(COPIED), blobs, max_bytes)
    scheme = scheme_of(uri)
    if scheme not in (None, "file"):
        if not allow_remote:
            raise ImageRejected("unreadable", f"{uri} is remote; remote pictures are not fetched.")
        return read_remote(uri, max_bytes)
    archive, mark, member = uri.partition(ARCHIVE_MARK)
    path = local_path(archive)
    if not os.path.isabs(path):
        raise ImageRejected("unreadable", f"{uri} is no absolute address.")
    return read_member(path, member, max_bytes, roots) if mark else read_local(path, max_bytes, roots)


def member_uri_pieces(uri: str, max_bytes: int, roots: Roots = ANYWHERE) -> Iterator[bytes]:
    """The bytes of a member of an archive on this machine, by its address; never whole in memory.

    Raises:
        ImageRejected: as `read_uri`, and also for any other address.
    """
    scheme = scheme_of(uri)
    archive, mark, member = uri.partition(ARCHIVE_MARK)
    if scheme not in (None, "file"):
        raise ImageRejected("unreadable", f"{uri} is remote; remote pictures are not fetched.")
    path = local_path(archive)
    if not (mark and os.path.isabs(path)):
        raise ImageRejected("unreadable", f"{uri} is no absolute address.")
    return member_pieces(path, member, max_bytes, roots)


def _in_folder(found: Iterator[FoundFile | SourceProblem], how: Reading) -> Iterator[Listed]:
    neighbours = Neighbours(how.roots)
    for file in found:
        if isinstance(file, SourceProblem):
            yield file
            continue
        name, beside = os.path.basename(file.path), neighbours.of(file)
        if beside.is_sidecar(name):
            continue
        if is_archive(name) and not beside.is_shard(name):
            yield _not_entered(file, ARCHIVE)
        elif is_archive(name):
            yield from _file(file, how)
        elif is_manifest(name):
            columns = picture_columns(file.path, how.roots) if is_parquet(name) else None
            yield from [_not_entered(file, MANIFEST)] if columns is None else _table(file, columns, how)
        else:
            yield from _with_facts(file, beside, how)


def _with_facts(file: FoundFile, beside: Beside, how: Reading) -> Iterator[Listed]:
    """A picture with what lies beside it."""
    facts = beside.facts(os.path.basename(file.path))
    here = file.name.rpartition("/")[0]
    yield from problems(facts, partial(_beside, file))
    yield described(_picture(file, how), facts, readable(here))


def _not_entered(file: FoundFile, kind: str) -> SourceProblem:
    """Name it as a source of its own to index what it holds."""
    return skipped(readable(file.name), local_uri(file.path), kind)


def _beside(file: FoundFile, name: str) -> tuple[str, str]:
    """The id and the address of another file of the same folder."""
    folder, slash, _ = file.name.rpartition("/")
    return readable(f"{folder}{slash}{name}"), local_uri(os.path.join(os.path.dirname(file.path), name))


def _matching(found: Iterator[FoundFile | SourceProblem], how: Reading) -> Iterator[Listed]:
    neighbours = Neighbours(how.roots)
    for file in found:
        if isinstance(file, SourceProblem):
            yield file
        elif not neighbours.of(file).is_sidecar(os.path.basename(file.path)):
            yield from _named(file, neighbours.of(file), how)


def _named(file: FoundFile, beside: Beside, how: Reading) -> Iterator[Listed]:
    """As `_file`, with what lies beside a picture."""
    if is_archive(file.path) or is_manifest(file.path):
        return _file(file, how)
    return _with_facts(file, beside, how)


def _file(file: FoundFile, how: Reading) -> Iterator[Listed]:
    """One file that was named: an archive, a table or a manifest by its ending, else a picture."""
    if is_archive(file.path):
        yield from iter_archive(file.path, readable(file.name), how.max_bytes, how.roots)
    elif is_manifest(file.path):
        columns = picture_columns(file.path, how.roots) if is_parquet(file.path) else None
        yield from _manifest(file, how) if columns is None else _table(file, columns, how)
    else:
        yield _picture(file, how)


def _table(file: FoundFile, columns: Columns, how: Reading) -> Iterator[Listed]:
    return iter_parquet(file.path, readable(file.name), columns, how.max_bytes, how.roots)


def _manifest(file: FoundFile, how: Reading) -> Iterator[Listed]:
    read = partial(read_uri, max_bytes=how.max_bytes, allow_remote=how.allow_remote, roots=how.roots)
    folder, far = os.path.dirname(file.path), how.allow_remote
    addresses = Addresses(folder, read, allow_remote=far, fetch=how.fetch, roots=how.roots)
    return iter_manifest(file.path, addresses)


def _picture(file: FoundFile, how: Reading) -> SourceItem:
    read = partial(read_local, file.path, how.max_bytes, how.roots)
    return SourceItem(readable(file.name), local_uri(file.path), None, {}, read)


def _one_member(path: str, how: Reading) -> SourceItem:
    archive, mark, member = path.partition(ARCHIVE_MARK)
    name = readable(os.path.basename(archive)) + mark + member
    read = partial(read_member, archive, member, how.max_bytes, how.roots)
    return SourceItem(name, local_uri(archive) + mark + member, None, {}, read)


def _read_blob(sha256: str, blobs: BlobStore | None, max_bytes: int) -> bytes:
    if blobs is None:
        raise ImageRejected("unreadable", "The picture is a stored original, and no store is at hand.")
    try:
        size = blobs.size(sha256)
        if size > max_bytes:
            raise too_many_bytes(f"The original {sha256}", size, max_bytes)
        return blobs.get(sha256)
    except (NotFoundError, UnavailableError) as error:
        raise ImageRejected("unreadable", f"The stored original cannot be read. {error}") from error
    except OSError as error:
        raise ImageRejected("unreadable", f"The stored original cannot be read: {error}.") from error
