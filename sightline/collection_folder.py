"""A collection's data folder, opened at the first use: what `sightline.collection.Collection` stands on."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from sightline.errors import InputError, NotFoundError
from sightline.lazy import is_made, once

if TYPE_CHECKING:
    from sightline.index_run import WorkHere
    from sightline.queries import Query
    from sightline.settings import Settings
    from sightline.wiring import Installation

Source = str | os.PathLike[str]
NAMED = 10


class CollectionFolder:
    """One collection's place in an installation. A context manager."""

    def __init__(self, name: str, *, data: Source | None = None, model: str | None = None) -> None:
        """``data``: the data folder, else that of the command line (``SIGHTLINE_DATA``). ``model``: of a new
        collection, a hub id, a folder or ``demo``; else the installation's. Nothing is read yet.
        """
        self.name = name
        self.lock = threading.RLock()
        self._data = None if data is None else Path(data).expanduser().absolute()
        self._model = model

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Give back the model's thread, decoders and database connections; used again, it opens anew."""
        with self.lock:
            if is_made(self, "installation"):
                self.installation.close()
            for part in ("installation", "_work"):
                vars(self).pop(part, None)

    @once
    def installation(self) -> Installation:
        """All parts, for what is not here: ``installation.search``, ``indexer``, ``catalog`` and others."""
        from sightline.wiring import open_installation

        return open_installation(self._settings, send=lambda task_ids: self._work.send(task_ids))

    @once
    def _settings(self) -> Settings:
        from sightline.settings import load_settings

        settings = load_settings(self._data)
        # Absolute from now on: the working folder of a program may change while this is open.
        return settings.model_copy(update={"data": settings.data_folder})

    @once
    def _work(self) -> WorkHere:
        from sightline.index_run import WorkHere

        return WorkHere(self.installation)

    @contextmanager
    def _reading(self) -> Iterator[Installation]:
        """The installation; NotFoundError names the folder where it has no such collection."""
        from sightline.data_folder import CATALOG

        folder = self._settings.data_folder
        if not self._settings.database_url and not (folder / CATALOG).exists():
            raise NotFoundError(
                f"There is no collection {self.name!r}: nothing was indexed into {folder} yet."
            )
        house = self.installation
        try:
            yield house
        except NotFoundError as error:
            names = [one.name for one in house.catalog.collections()]
            if self.name in names:
                raise
            there = f"it holds {', '.join(names[:NAMED])}" if names else "it holds none"
            raise NotFoundError(f"There is no collection {self.name!r} in {folder}; {there}.") from error


def paths_of(source: Source | Sequence[Source]) -> tuple[str, ...]:
    """One source is a list of one. Raises InputError: something else than a path."""
    named = (source,) if isinstance(source, (str, bytes, os.PathLike)) else source
    try:
        return tuple(os.fsdecode(one) for one in named)
    except TypeError as error:
        raise InputError(
            f"Give a folder, a file, a glob, a list of these, or a DataFrame, not {source!r:.80}."
        ) from error


def ids_of(given: str | Sequence[str] | None) -> list[str] | None:
    """One id is a list of one, and not of its letters. Raises InputError: something else than ids."""
    if given is None:
        return None
    found: Any = [given] if isinstance(given, str) or not isinstance(given, Iterable) else list(given)
    for one in found:
        if not isinstance(one, str):
            raise InputError(f"An id is a text, not {one!r:.80}.")
    return list(found)


def words_of(text: str | Query) -> tuple[str, Query | None]:
    """A sentence, or several clauses: the other is empty. Raises InputError: it is neither."""
    from sightline.queries import Query

    if isinstance(text, str):
        return text, None
    if not isinstance(text, Query):
        raise InputError(f"Search for a text or a Query, not for {text!r:.80}.")
    return "", text
