"""Some names of a folder, listed as they would be if the whole folder was."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace

from sightline.errors import SourceError
from sightline.indexer.files import is_ignored
from sightline.indexer.installations import OwnFolders, is_installation
from sightline.indexer.items import SourceProblem
from sightline.indexer.roots import Roots
from sightline.indexer.sources.folders import FoundFile, walk


def walk_some(
    top: str, names: Sequence[str], own: OwnFolders, roots: Roots
) -> Iterator[FoundFile | SourceProblem]:
    """Files of these relative names, and those below them; what is not there (any more) is passed over.

    None of the names may lead through a link: the whole folder may name such files otherwise.
    """
    for name in sorted(set(names)):
        path = os.path.join(top, name)
        if any(map(is_ignored, name.split("/"))) or in_installation(top, name, own):
            continue
        if os.path.isdir(path) and not os.path.islink(path):
            yield from _below(name, path, own, roots)
        elif os.path.isfile(path) and roots.allow_path(path):
            yield FoundFile(name, path)


def _below(name: str, path: str, own: OwnFolders, roots: Roots) -> Iterator[FoundFile | SourceProblem]:
    try:
        for found in walk(path, own=own, roots=roots):
            if isinstance(found, FoundFile):
                yield replace(found, name=f"{name}/{found.name}")
            else:
                yield replace(found, image_id=f"{name}/{found.image_id}")
    except SourceError:  # it went while it was listed
        if os.path.lexists(path):
            raise


def in_installation(top: str, name: str, own: OwnFolders) -> bool:
    """Whether the name, or a folder on the way to it, is one of an installation."""
    parts = name.split("/")
    above = [os.path.join(top, *parts[:depth]) for depth in range(1, len(parts) + 1)]
    return any(os.path.isdir(path) and (own.owns(path) or is_installation(path)) for path in above)
