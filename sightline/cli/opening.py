"""How a command opens the installation: what is not there yet is said, and not made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sightline.errors import InputError, NoCatalogError, NoCollectionError, NotFoundError

if TYPE_CHECKING:
    from sightline.settings import Settings
    from sightline.wiring import Installation

NAMED = 20
"""Collections that a sentence names at most."""
HELP = "`sightline index FOLDER -c NAME` makes it, and --data or SIGHTLINE_DATA names another folder"


@contextmanager
def opened(data: Path | None, collection: str | None = None) -> Iterator[Installation]:
    """The installation of a command that makes none; ``collection`` is the one that it asks for.

    Raises:
        NotFoundError: there is no catalog yet, or not that collection in it; it says what the folder holds.
    """
    from sightline.settings import load_settings

    with opened_by(load_settings(data), collection) as services:
        yield services


@contextmanager
def opened_by(
    settings: Settings, collection: str | None = None, *, after_send: Callable[[], None] | None = None
) -> Iterator[Installation]:
    """The same with settings that were read already; ``after_send`` as `open_installation` takes it."""
    from sightline.wiring import open_installation

    with open_installation(settings, after_send=after_send, create=False) as services:
        try:
            yield services
        except NoCatalogError as error:
            if collection is None:
                raise
            raise NotFoundError(f"There is no collection {collection!r}: {error.missing}; {HELP}.") from error
        except NoCollectionError as error:
            raise NotFoundError(f"There is no collection {error.name!r}; {_held(services)}.") from error


@contextmanager
def opened_for_files(data: Path | None) -> Iterator[Installation]:
    """The installation of a command about picture files, of which nothing is kept: where there is no catalog
    yet, one that is gone afterwards.
    """
    from tempfile import TemporaryDirectory

    from sightline.settings import load_settings
    from sightline.wiring import open_installation

    settings = load_settings(data)
    with TemporaryDirectory(prefix="sightline-") as folder:
        if is_missing(settings):
            settings = settings.model_copy(update={"data": Path(folder)})
        with open_installation(settings) as services:
            yield services


def is_missing(settings: Settings) -> bool:
    """Whether there is no catalog yet."""
    from sightline.wiring import open_installation

    with open_installation(settings, create=False) as services:
        try:
            services.catalog.installation_id()
        except NoCatalogError:
            return True
    return False


def only_collection(data: Path | None) -> str:
    """The name of the one collection, for a command that was told none.

    Raises:
        InputError: there are several.
        NotFoundError: there is none.
    """
    with opened(data) as services:
        names = _names(services)
        if len(names) == 1:
            return names[0]
        if not names:
            raise NotFoundError(f"There is no collection yet; {_held(services)}.")
        raise InputError(f"Say which collection: -c NAME; {_held(services)}.")


def say_new_folder(settings: Settings) -> None:
    """Before the data folder is made: where. InputError: it cannot be one."""
    from sightline.console import remarks
    from sightline.pillars import DATA_FOLDER
    from sightline.store.storage import has_folder

    if not has_folder(settings.data_folder, DATA_FOLDER):
        remarks().print(f"Data folder: {settings.data_folder}", markup=False, soft_wrap=True)


def _held(services: Installation) -> str:
    """``the data folder /… holds the collections a, b``."""
    return f"the data folder {services.settings.data_folder} holds {_listed(_names(services))}"


def _names(services: Installation) -> list[str]:
    return sorted(one.name for one in services.catalog.collections())


def _listed(names: Sequence[str]) -> str:
    if not names:
        return "none; `sightline index FOLDER -c NAME` makes one"
    if len(names) == 1:
        return f"the collection {names[0]}"
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"the collections {', '.join(names[:NAMED])}{more}"
