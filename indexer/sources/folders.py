"""Folders and globs: listed while they are walked, one folder at a time in memory.

Order: the files of a folder by name, then its subfolders by name, depth first. A folder of more than
`SORT_LIMIT` entries comes in the order of the file system instead, so that a million files are never held.
Symlinked folders are visited after everything else and only if they lead somewhere new: no loop, no picture
twice, and the same image ids whatever the links are called.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import islice
from typing import Final

from sightline.errors import SourceError
from sightline.indexer.cloud import is_away, name_in_the_cloud
from sightline.indexer.files import absolute, is_ignored, local_uri, readable
from sightline.indexer.installations import OwnFolders, is_installation
from sightline.indexer.items import SKIPPED, SourceProblem
from sightline.indexer.roots import ANYWHERE, OUTSIDE, Roots

SORT_LIMIT: Final = 10_000
"""Entries of one folder that are sorted; about 2 MB of names."""
_MAGIC: Final = frozenset("*?[")
_MAY_BE_AWAY: Final = sys.platform in ("darwin", "win32")
"""Where files may be marked as being elsewhere: nowhere else is each looked at for it."""


@dataclass(frozen=True)
class FoundFile:
    """A regular file: its POSIX path relative to where the walk began, and its absolute path."""

    name: str
    path: str


Enter = Callable[[Sequence[str]], bool]
"""Whether to list a folder, by its relative path in parts."""


def walk(
    top: str,
    enter: Enter = lambda parts: True,
    *,
    sort_limit: int = SORT_LIMIT,
    own: OwnFolders | None = None,
    roots: Roots = ANYWHERE,
) -> Iterator[FoundFile | SourceProblem]:
    """Every regular file below ``top``, an absolute path; a problem for whatever else is there.

    Folders of installations (``own`` and others) are passed over. What leads out of ``roots`` is a problem,
    the same whatever it leads to.

    Raises:
        SourceError: ``top`` itself cannot be listed, or is a folder of an installation.
    """
    own = own or OwnFolders()
    visited: set[tuple[int, int]] = set()
    folders = [("", top)]
    links: deque[tuple[str, str]] = deque()
    while folders or links:
        name, path = folders.pop() if folders else links.popleft()
        if name and not enter(name.split("/")):
            continue
        if not roots.allow_path(path):
            if not name:
                raise SourceError(f"The folder {readable(path)} cannot be listed: {OUTSIDE}.")
            yield _leads_out(name, path)
            continue
        try:
            state = os.stat(path)
            if not name:
                own.check_source(path, state)
            if (state.st_dev, state.st_ino) in visited or own.is_ours(state):
                continue
            if is_installation(path) and not own.owns(path):
                yield _passed_over(name, path)
            if is_installation(path):
                continue
            visited.add((state.st_dev, state.st_ino))
            subfolders = yield from _list(name, path, links, sort_limit, roots)
        except OSError as error:
            if not name:
                raise SourceError(
                    f"The folder {readable(path)} cannot be listed: {error.strerror}."
                ) from error
            detail = f"The folder {readable(name)} cannot be listed: {error.strerror}."
            yield SourceProblem(readable(name), local_uri(path), "unreadable", detail, hides_more=True)
        else:
            folders += sorted(subfolders, reverse=True)


def _passed_over(name: str, path: str) -> SourceProblem:
    """Pictures may have come from it before, so what is not met now may lie there."""
    detail = f"The folder {readable(name)} is one of a Sightline installation; nothing in it is listed."
    return SourceProblem(readable(name), local_uri(path), SKIPPED, detail, hides_more=True)


def _list(
    name: str, path: str, links: deque[tuple[str, str]], sort_limit: int, roots: Roots
) -> Generator[FoundFile | SourceProblem, None, list[tuple[str, str]]]:
    """The files of one folder; notes symlinked folders in ``links`` and returns the real ones."""
    subfolders: list[tuple[str, str]] = []
    for entry in _entries(path, sort_limit, roots):
        inside = os.path.join(path, entry.name)
        away = name_in_the_cloud(entry.name)
        inner = f"{name}/{away or entry.name}" if name else away or entry.name
        if away is not None:
            yield _away(inner, inside, may_be_folder="." not in away)
            continue
        if is_ignored(entry.name):
            continue
        if entry.is_dir(follow_symlinks=False):
            subfolders.append((inner, inside))
        elif entry.is_symlink() and not roots.allow_path(inside):
            yield _leads_out(inner, inside)
        elif _leads_to(entry, os.DirEntry.is_dir):
            links.append((inner, inside))
        elif _leads_to(entry, os.DirEntry.is_file):
            yield _away(inner, inside) if _MAY_BE_AWAY and is_away(entry) else FoundFile(inner, inside)
        else:
            yield _odd_entry(inner, inside)
    return subfolders


def _leads_out(name: str, path: str) -> SourceProblem:
    """Pictures may have come through it before the roots were drawn, so what is not met now may lie there."""
    detail = f"{readable(name)} is not listed: {OUTSIDE}."
    return SourceProblem(readable(name), readable(path), "forbidden", detail, hides_more=True)


def _away(name: str, path: str, *, may_be_folder: bool = False) -> SourceProblem:
    """What is there and not here: reading it would fetch it, and it is not gone."""
    detail = f"{readable(name)} lies in the cloud and not on this disk; download it to index it."
    return SourceProblem(readable(name), local_uri(path), "offline", detail, hides_more=may_be_folder)


def _entries(path: str, sort_limit: int, roots: Roots) -> Iterator[os.DirEntry[str]]:
    """The entries of a folder, sorted by name unless there are very many."""
    with _opened_folder(path, roots) as folder, os.scandir(folder) as scan:
        first = list(islice(scan, sort_limit + 1))
        if len(first) <= sort_limit:
            first.sort(key=lambda entry: entry.name)
        yield from first
        del first
        yield from scan


def names_in(path: str, roots: Roots, most: int) -> frozenset[str]:
    """The names of a folder's files and folders, hidden ones left out; none when there are more than
    ``most``, or it cannot be listed.
    """
    try:
        with _opened_folder(path, roots) as folder, os.scandir(folder) as scan:
            names = [entry.name for entry in islice(scan, most + 1)]
    except OSError:
        return frozenset()
    return frozenset(name for name in names if not is_ignored(name)) if len(names) <= most else frozenset()


@contextmanager
def _opened_folder(path: str, roots: Roots) -> Iterator[int]:
    """What is listed is what was checked, also when somebody puts a link in its place meanwhile."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        roots.check_opened(descriptor, path)
        yield descriptor
    finally:
        os.close(descriptor)


def _leads_to(entry: os.DirEntry[str], kind: Callable[[os.DirEntry[str]], bool]) -> bool:
    """Whether the entry is of that kind, symlinks followed; a link that leads nowhere is of none."""
    try:
        return kind(entry)
    except OSError:
        return False


def _odd_entry(name: str, path: str) -> SourceProblem:
    """What is neither file nor folder. Opening it could block for ever.

    What a link leads to, or what cannot be looked at, may be a folder on a disk that is not there now.
    """
    uri = local_uri(path)
    try:
        os.stat(path)
    except OSError as error:
        detail = f"{readable(name)} cannot be looked at: {error.strerror}."
        if os.path.islink(path):
            detail = f"The link {readable(name)} leads nowhere."
        return SourceProblem(readable(name), uri, "unreadable", detail, hides_more=True)
    detail = f"{readable(name)} is a pipe, a socket or a device."
    return SourceProblem(readable(name), uri, "not_an_image", detail)


# --- globs --------------------------------------------------------------------------------------------------


def is_glob(source: str) -> bool:
    """Whether the text has wildcards."""
    return not _MAGIC.isdisjoint(source)


def walk_glob(
    pattern: str, *, own: OwnFolders | None = None, roots: Roots = ANYWHERE
) -> Iterator[FoundFile | SourceProblem]:
    """The files that match, named relative to the last folder before the first wildcard.

    ``*``, ``?`` and ``[…]`` stay within one name, ``**`` spans any number of folders. Only files match, never
    folders, and nothing hidden does.

    Raises:
        SourceError: the folder cannot be listed, or nothing matches.
    """
    parts = [part for part in pattern.split("/") if part not in ("", ".")]
    fixed = next(index for index, part in enumerate(parts) if is_glob(part))
    top = absolute(("/" if pattern.startswith("/") else "") + "/".join(parts[:fixed]))
    wanted = parts[fixed:]
    found = False
    for item in walk(top, enter=lambda folder: may_hold(folder, wanted), own=own, roots=roots):
        named = item.name if isinstance(item, FoundFile) else item.image_id
        hides = isinstance(item, SourceProblem) and item.hides_more and may_hold(named.split("/"), wanted)
        if hides or matches(named.split("/"), wanted):
            found = True
            yield item
    if not found:
        raise SourceError(f"No file matches {pattern}.")


def matches(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether a path in parts matches a pattern in parts; at most so many steps as the product of both."""
    at = step = 0
    tried, after = 0, -1  # where the last ``**`` ends for now, and what of the pattern follows it
    while at < len(parts):
        if step < len(pattern) and pattern[step] == "**":
            step += 1
            tried, after = at, step
        elif step < len(pattern) and fnmatchcase(parts[at], pattern[step]):
            at, step = at + 1, step + 1
        elif after >= 0:
            tried += 1
            at, step = tried, after
        else:
            return False
    return all(rest == "**" for rest in pattern[step:])


def may_hold(folder: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether something below a folder can match."""
    for step, name in enumerate(folder):
        if step == len(pattern):
            return False
        if pattern[step] == "**":
            return True
        if not fnmatchcase(name, pattern[step]):
            return False
    return len(pattern) > len(folder)
