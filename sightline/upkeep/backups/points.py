"""The small file that makes a backup one: what was copied, and the checksum of the catalog that names it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from sightline.errors import CorruptionError, NotFoundError

if TYPE_CHECKING:
    from sightline.store.places import Place

FOLDER: Final = "points"
FORMAT: Final = "sightline-backup"
VERSION: Final = 1
_ENDING: Final = ".json"


@dataclass(frozen=True)
class CodecEntry:
    """A patch codec: of which model, its id, and the SHA-256 of its file."""

    fingerprint: str
    codec: str
    sha256: str


@dataclass(frozen=True)
class Point:
    """One consistent state. ``missing``: what the installation itself did not have any more, or not whole.

    ``references`` counts the originals that lie outside of the installation, which are in the backup only
    ``with_originals``.
    """

    name: str
    made_at: float
    installation: str
    database: str
    schema: str
    catalog: str
    """SHA-256 of its file."""
    codecs: tuple[CodecEntry, ...]
    """The oldest first."""
    with_originals: bool
    collections: int
    segments: int
    originals: int
    thumbnails: int
    references: int
    missing: tuple[str, ...] = field(default=())


def name_of(made_at: float, installation: str) -> str:
    """Sorts by time."""
    return f"{datetime.fromtimestamp(made_at, UTC):%Y-%m-%dT%H-%M-%S-%fZ}-{installation[:8]}"


def catalog_path(sha256: str) -> str:
    """Where the catalog of a point lies."""
    return f"catalogs/{sha256}.sqlite"


def write_point(place: Place, point: Point) -> None:
    """From now on the backup has it."""
    told = {"format": FORMAT, "version": VERSION, **asdict(point)}
    place.put(_path(point.name), [json.dumps(told, ensure_ascii=False, indent=1).encode()])
    place.settle()


def list_points(place: Place) -> list[str]:
    """Names, the oldest first."""
    names = place.sizes(FOLDER)
    return sorted(name.removesuffix(_ENDING) for name in names if name.endswith(_ENDING) and name[0] != ".")


def read_point(place: Place, name: str | None = None) -> Point:
    """The one of that name, or the newest.

    Raises:
        NotFoundError: there is none.
        CorruptionError: it is not what was written, or of a newer version of this program.
    """
    names = list_points(place)
    if not names or (name is not None and name not in names):
        known = f"it has {', '.join(names[-5:])}" if names else "there is none at all"
        raise NotFoundError(f"There is no backup {name or ''} in this place: {known}.".replace("  ", " "))
    chosen = name or names[-1]
    try:
        return _parsed(json.loads(b"".join(place.chunks(_path(chosen)))))
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptionError(f"The backup {chosen} cannot be read: {error}.") from error


def remove_point(place: Place, name: str) -> None:
    """Its files stay until nothing else names them."""
    place.remove(_path(name))


def _path(name: str) -> str:
    return f"{FOLDER}/{name}{_ENDING}"


def _parsed(told: dict[str, Any]) -> Point:
    if (told.pop("format"), told.pop("version")) != (FORMAT, VERSION):
        raise ValueError("it is of another version of this program")
    codecs = tuple(CodecEntry(**entry) for entry in told.pop("codecs"))
    return Point(**{**told, "codecs": codecs, "missing": tuple(told["missing"])})
