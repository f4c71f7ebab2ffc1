"""Every way to name pictures: a file, a folder, a glob, an archive, a manifest; and every address read again.

Image ids are POSIX paths relative to the source (a single file: its name), ``a.zip!/member`` in an archive. A
folder lists each of its files, whatever they are called, and leaves it to the decoder to say which are no
pictures: nothing is skipped in silence but hidden files, what systems leave behind
(`sightline.indexer.files.is_ignored`), and folders of installations (`sightline.indexer.installations`).
Archives and manifests inside of a folder are named as such and not entered; a glob may name them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
from sightline.indexer.manifests.reading import is_manifest, iter_manifest
from sightline.indexer.roots import ANYWHERE, ARCHIVE_MARK, OUTSIDE, Roots, climbs
from sightline.indexer.sources.folders import FoundFile, is_glob, walk, walk_glob
from sightline.indexer.sources.remote import iter_remote, read_remote
from sightline.indexer.sources.sifting import sifted, skipped
from sightline.indexer.sources.some import walk_some
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
        yield from iter_remote(source, max_bytes, own)
        return
    yield from _local(source, Reading(max_bytes, allow_remote, roots, fetch), OwnFolders(own), only)


def _local(source: str, how: Reading, own: OwnFolders, only: Sequence[str] = ()) -> Iterator[Listed]:
    if climbs(source.partition(ARCHIVE_MARK)[2]):
        raise SourceError(f"{readable(source)} climbs with '..' after '!/'; name the place that it leads to.")
    path = absolute(os.path.expanduser(local_path(source)))
    archive = path.partition(ARCHIVE_MARK)[0]
    if not (how.roots.allow_path(path) and how.roots.allow_path(archive)):
        raise SourceError(f"{readable(source)} cannot be read: {OUTSIDE}.")
    if os.path.isdir(path):
        found = walk_some(path, only, own, how.roots) if only else walk(path, own=own, roots=how.roots)
        yield from sifted(_in_folder(found, how), how.roots)
    elif os.path.lexists(path):
        yield from _file(FoundFile(os.path.basename(path), path), how)
    elif ARCHIVE_MARK in source and os.path.isfile(archive):
        yield _one_member(path, how)
    elif is_glob(source):
        found = walk_glob(os.path.expanduser(source), own=own, roots=how.roots)
        yield from sifted(_matching(found, how), how.roots)
    else:
        raise SourceError(f"There is no file or folder {readable(source)}.")


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
    for file in found:
        if isinstance(file, SourceProblem):
            yield file
        elif is_archive(file.path) or is_manifest(file.path):
            kind = ARCHIVE if is_archive(file.path) else MANIFEST
            yield skipped(readable(file.name), local_uri(file.path), kind)
        else:
            yield _picture(file, how)


def _matching(found: Iterator[FoundFile | SourceProblem], how: Reading) -> Iterator[Listed]:
    for file in found:
        if isinstance(file, SourceProblem):
            yield file
        else:
            yield from _file(file, how)


def _file(file: FoundFile, how: Reading) -> Iterator[Listed]:
    """One file that was named: an archive or a manifest by its ending, else a picture."""
    if is_archive(file.path):
        yield from iter_archive(file.path, readable(file.name), how.max_bytes, how.roots)
    elif is_manifest(file.path):
        read = partial(read_uri, max_bytes=how.max_bytes, allow_remote=how.allow_remote, roots=how.roots)
        folder, far = os.path.dirname(file.path), how.allow_remote
        addresses = Addresses(folder, read, allow_remote=far, fetch=how.fetch, roots=how.roots)
        yield from iter_manifest(file.path, addresses)
    else:
        yield _picture(file, how)


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
