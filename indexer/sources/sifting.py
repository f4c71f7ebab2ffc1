"""What lies in folders beside pictures and is of another kind: found by its first bytes, not read whole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sightline.imaging.file_kinds import LOOKED_AT, claims_picture, file_kind
from sightline.indexer.files import local_path, open_file, scheme_of
from sightline.indexer.items import SKIPPED, Listed, SourceItem, SourceProblem
from sightline.indexer.roots import ARCHIVE_MARK, Roots

_VIDEOS: Final = (".mov", ".mp4", ".m4v", ".avi", ".mkv", ".webm", ".mts", ".m2ts", ".mpg", ".3gp", ".wmv")


def sifted(listed: Iterator[Listed], roots: Roots) -> Iterator[Listed]:
    """The same, with a problem of the reason ``skipped`` in place of each local file of another kind.

    A file that cannot be opened, or whose name is that of a picture, is left to whoever reads it.
    """
    for item in listed:
        kind = _local_kind(item, roots) if isinstance(item, SourceItem) else None
        yield item if kind is None else skipped(item.image_id, item.uri, kind)


def skipped(name: str, uri: str, kind: str) -> SourceProblem:
    """The line of something of another kind."""
    return SourceProblem(name, uri, SKIPPED, f"{name} is no picture: {kind}.", kind=kind)


def read_kind(uri: str, data: bytes) -> str | None:
    """The kind of a member of an archive, or of an object of a store, that was read; None for all else.

    What somebody names by itself is never skipped.
    """
    return file_kind(uri, data[:LOOKED_AT]) if _is_inner(uri) else None


def long_video(problem: SourceProblem) -> SourceProblem:
    """The same, but a line of a video, by its name, where one was too long to be read as a picture."""
    if (
        problem.reason == "too_many_bytes"
        and _is_inner(problem.uri)
        and problem.uri.lower().endswith(_VIDEOS)
    ):
        return skipped(problem.image_id, problem.uri, "video")
    return problem


def _is_inner(uri: str) -> bool:
    return ARCHIVE_MARK in uri or scheme_of(uri) not in (None, "file", "http", "https")


def _local_kind(item: SourceItem, roots: Roots) -> str | None:
    local = scheme_of(item.uri) in (None, "file") and ARCHIVE_MARK not in item.uri
    if not local or claims_picture(item.uri):
        return None
    try:
        with open_file(local_path(item.uri), roots) as file:
            return file_kind(item.uri, file.read(LOOKED_AT))
    except (OSError, ValueError):
        return None
