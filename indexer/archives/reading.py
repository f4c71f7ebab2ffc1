"""Pictures inside of ZIP and TAR archives, read in place: nothing is unpacked to disk under its own name.

Links, devices, sparse and encrypted members are refused. So is what unpacks to absurd sizes: a member beyond
the byte limit, and an archive whose members overlap or outgrow it too many times.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from typing import Final

from sightline.errors import ImageRejected, SourceError
from sightline.imaging.files import too_many_bytes
from sightline.indexer.archives.members import Member
from sightline.indexer.archives.samples import (
    in_order_of_samples,
    in_samples,
    origin,
    takeout_of,
    with_takeout,
)
from sightline.indexer.archives.tar import tar_members, tar_names
from sightline.indexer.archives.zip import zip_members, zip_names
from sightline.indexer.files import is_ignored, local_uri, readable
from sightline.indexer.installations import installations_in, lies_in_one
from sightline.indexer.items import Listed, SourceItem, SourceProblem
from sightline.indexer.roots import ANYWHERE, ARCHIVE_MARK, Roots
from sightline.indexer.sidecars.beside import problems
from sightline.indexer.sidecars.facts import Facts, told

PIECE: Final = 1 << 20
_TAKEOUT: Final = "Takeout"
"""The folder at the top of every archive of Google Takeout."""
_TAR_ENDINGS: Final = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tbz", ".tar.xz", ".txz")


def is_archive(path: str) -> bool:
    """Whether a file's name says that it is an archive."""
    return path.lower().endswith((".zip", *_TAR_ENDINGS))


def iter_archive(path: str, label: str, max_bytes: int, roots: Roots = ANYWHERE) -> Iterator[Listed]:
    """The members of an archive, in its order, as ``label!/member``.

    Raises:
        SourceError: the archive is none, breaks off, or is a bomb; what came before stays good.
    """
    uri = local_uri(path)
    ours, is_takeout = _overview(path, roots)
    found = _members(path, max_bytes, roots)
    members = (one for one in found if not _is_left_out(one.name.split("/"), ours))
    if is_takeout:
        described = with_takeout(members, takeout_of(_members(path, max_bytes, roots), _fetch))
    else:
        described = in_samples(_together(path, members), _fetch)
    for member, facts in described:
        yield from _listed(member, facts, f"{label}{ARCHIVE_MARK}", f"{uri}{ARCHIVE_MARK}", max_bytes)


def _listed(member: Member, facts: Facts | None, label: str, uri: str, max_bytes: int) -> Iterator[Listed]:
    yield from problems(facts, lambda name: (f"{label}{name}", f"{uri}{name}"))
    refusal = _refusal(member, max_bytes)
    if refusal is not None:
        yield SourceProblem(f"{label}{member.name}", f"{uri}{member.name}", refusal.reason, refusal.detail)
        return
    item = SourceItem(f"{label}{member.name}", f"{uri}{member.name}", None, {}, partial(_fetch, member))
    yield told(item, facts, origin(label.removesuffix(ARCHIVE_MARK), facts))


def _overview(path: str, roots: Roots) -> tuple[set[tuple[str, ...]], bool]:
    """The folders of installations in an archive, and whether Google Takeout wrote it."""
    tops: set[str] = set()

    def parted() -> Iterator[Sequence[str]]:
        for name in _names(path, roots):
            parts = name.split("/")
            tops.add(parts[0] if parts[0] == _TAKEOUT else "")
            yield parts

    ours = installations_in(parted())
    return ours, _TAKEOUT in tops


def _is_left_out(parts: Sequence[str], ours: set[tuple[str, ...]]) -> bool:
    return any(map(is_ignored, parts)) or lies_in_one(parts, ours)


def _together(path: str, members: Iterator[Member]) -> Iterable[Member]:
    """Of a ZIP archive, whose members are known beforehand, those of one sample side by side."""
    if not path.lower().endswith(".zip"):
        return members
    return in_order_of_samples(members)


def read_member(path: str, name: str, max_bytes: int, roots: Roots = ANYWHERE) -> bytes:
    """The bytes of the first member of that name. Raises as `member_pieces`."""
    return b"".join(member_pieces(path, name, max_bytes, roots, most=max_bytes))


def member_pieces(
    path: str, name: str, max_bytes: int, roots: Roots = ANYWHERE, *, most: int = PIECE
) -> Iterator[bytes]:
    """The bytes of the first member of that name, at most ``most`` at once.

    Raises:
        ImageRejected: ``unreadable``, or what is wrong with the member; perhaps after some of its bytes.
    """
    try:
        with closing(_members(path, max_bytes, roots)) as members:
            for member in members:
                if member.name == name:
                    refusal = _refusal(member, max_bytes)
                    if refusal is not None:
                        raise refusal
                    yield from _pieces(member, most)
                    return
    except SourceError as error:
        raise ImageRejected("unreadable", str(error)) from error
    raise ImageRejected("unreadable", f"{readable(path)} has no member {name}.")


def _members(path: str, max_bytes: int, roots: Roots) -> Generator[Member, None, None]:
    if path.lower().endswith(".zip"):
        return zip_members(path, roots)
    return tar_members(path, max_bytes, roots)


def _names(path: str, roots: Roots) -> Iterable[str]:
    """Of all members, as far as there are any; what is wrong is said when they are listed."""
    return zip_names(path, roots) if path.lower().endswith(".zip") else tar_names(path, roots)


def _refusal(member: Member, max_bytes: int) -> ImageRejected | None:
    if member.refusal is not None:
        return member.refusal
    if ".." in member.name.split("/"):  # harmless here, but not as a part of an image id in a URL
        return ImageRejected("unsupported", f"The name {member.name} climbs out of its archive.")
    if member.size > max_bytes:
        return too_many_bytes(member.name, member.size, max_bytes)
    return None


def _fetch(member: Member) -> bytes:
    return b"".join(_pieces(member, max(1, member.size)))


def _pieces(member: Member, most: int) -> Iterator[bytes]:
    """Whatever a damaged archive raises is one rejection."""
    left = member.size
    try:
        for piece in member.pieces(most):
            left -= len(piece)
            yield piece
    except ImageRejected:
        raise
    except EOFError as error:
        raise ImageRejected("truncated", f"The archive breaks off inside of {member.name}.") from error
    except Exception as error:  # BadZipFile, zlib.error, LZMAError, NotImplementedError, struct.error, …
        raise ImageRejected("unreadable", f"{member.name} cannot be unpacked: {error}.") from error
    if left:
        raise ImageRejected("truncated", f"The archive breaks off inside of {member.name}.")
