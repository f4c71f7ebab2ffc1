"""Where the data folder is when nobody says so."""

from __future__ import annotations

from pathlib import Path

CATALOG = "catalog.sqlite"
"""The catalog in a data folder, when no other one is set."""
HERE = Path("sightline-data")
"""The data folder of earlier versions, in the working folder; still taken where it is in use."""


def default_folder() -> Path:
    """Absolute: that of the working folder where an installation uses it, else the user's own."""
    from sightline.store.ownership import MARKER  # all that is there when the catalog lies elsewhere

    here = HERE.absolute()
    return here if any((here / name).exists() for name in (CATALOG, MARKER)) else user_folder()


def user_folder() -> Path:
    """The user's own, such as ``~/.local/share/sightline``."""
    from platformdirs import user_data_path

    return user_data_path("sightline", appauthor=False).absolute()
