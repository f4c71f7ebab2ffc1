"""Google Takeout: which JSON file of a folder belongs to which picture, and what it says.

Takeout writes ``IMG_1.jpg.json`` or ``IMG_1.jpg.supplemental-metadata.json`` and cuts names at 46 letters
before ``.json``; ``IMG_1(1).jpg`` has ``IMG_1.jpg(1).json``, and edited copies share that
of their original.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from sightline.errors import ImageRejected, NotJsonError
from sightline.indexer.sidecars.facts import PICTURES, Facts, storable
from sightline.store.json_text import read_json

KIND: Final = "Google Takeout"
_FULL: Final = ".supplemental-metadata"
_CUT: Final = 46
"""Letters of a name before ``.json``; a little less where letters have several bytes."""
_SHORTEST_CUT: Final = 38
_COUNTED: Final = re.compile(r"(.*)\((\d{1,5})\)")
_EDITED: Final = re.compile(
    r"-(edited|bearbeitet|modifié|modificato|editado|bewerkt|edytowane|edytowany|編集済み|effects|animation)"
    r"(?=\.[^.]*$|\(\d+\)\.[^.]*$)",
    re.IGNORECASE,
)
_NAMED: Final = re.compile(
    rf"\.({'|'.join(sorted(PICTURES))})(\.s[a-z-]*)?(\(\d{{1,5}}\))?\.json$", re.IGNORECASE
)
"""Names that nothing but Takeout gives to JSON files beside pictures."""
# fmt: off
_ALBUM: Final = frozenset((
    "metadata.json", "metadaten.json", "métadonnées.json", "metadatos.json", "metadati.json",
    "metagegevens.json", "metadane.json", "metadados.json", "メタデータ.json",
))
# fmt: on


class Takeout:
    """The JSON files of some folders, by their paths; ``read`` gives their bytes or raises ImageRejected."""

    def __init__(self, names: Iterable[str], read: Callable[[str], bytes]) -> None:
        self._read = read
        self._albums: dict[str, str | None] = {}
        """Folder → the title of its album."""
        self._files: dict[tuple[str, str, str], str] = {}
        """Folder, name without ending and number, number → path."""
        self._album_files: dict[str, str] = {}
        for path in names:
            folder, _, name = path.rpartition("/")
            if name.lower() in _ALBUM:
                self._album_files[folder] = path
            elif name.lower().endswith(".json"):
                base, number = _uncounted(name[: -len(".json")])
                self._files[folder, base, number] = path

    def facts(self, path: str) -> Facts | None:
        """What is known of a picture; None when Takeout has no file for it."""
        folder, _, name = path.rpartition("/")
        for candidate in self._candidates(folder, name):
            value = self._value(candidate)
            if value is not None and _is_sidecar(value):
                return _facts(value, self._album(folder))
            if value is None and _NAMED.search(candidate):
                return Facts(faults=((candidate, f"{candidate} is no JSON"),))
        return None

    def is_sidecar(self, path: str) -> bool:
        """Whether a JSON file is one that Takeout wrote beside pictures, or for their album; broken ones are
        known by their names.
        """
        folder, _, _ = path.rpartition("/")
        value = self._value(path)
        if value is None and _NAMED.search(path):
            return True
        is_album = self._album_files.get(folder) == path and value is not None and "title" in value
        return is_album or (value is not None and _is_sidecar(value))

    def _candidates(self, folder: str, name: str) -> Iterator[str]:
        """Paths of what may describe the picture, the surest first."""
        for picture in dict.fromkeys((name, _EDITED.sub("", name))):
            stem, dot, ending = picture.rpartition(".")
            base, number = _uncounted(stem)
            whole = [(picture, "")] if not number else [(f"{base}{dot}{ending}", number), (picture, "")]
            for plain, counted in whole:
                full = plain + _FULL
                shortest = min(len(plain), _SHORTEST_CUT)
                lengths = [len(plain), *range(min(len(full), _CUT + 5), shortest - 1, -1)]
                for length in dict.fromkeys(lengths):
                    path = self._files.get((folder, full[:length], counted))
                    if path is not None:
                        yield path
            path = self._files.get((folder, base, number))  # what Takeout wrote years ago
            if path is not None:
                yield path

    def _album(self, folder: str) -> str | None:
        if folder not in self._albums:
            path = self._album_files.get(folder)
            value = None if path is None else self._value(path)
            title = None if value is None or _is_sidecar(value) else value.get("title")
            self._albums[folder] = title if isinstance(title, str) and title else None
        return self._albums[folder]

    def _value(self, path: str) -> Mapping[str, Any] | None:
        try:
            value = storable(read_json(self._read(path).decode("utf-8-sig")))
        except (ImageRejected, NotJsonError, UnicodeDecodeError, KeyError):
            return None
        return value if isinstance(value, dict) else None


def _uncounted(name: str) -> tuple[str, str]:
    """``IMG_1.jpg(2)`` → ``IMG_1.jpg`` and ``2``."""
    found = _COUNTED.fullmatch(name)
    return (found[1], found[2]) if found else (name, "")


def _is_sidecar(value: Mapping[str, Any]) -> bool:
    return isinstance(value.get("photoTakenTime"), dict) and isinstance(value.get("title"), str)


def _facts(value: Mapping[str, Any], album: str | None) -> Facts:
    description = value.get("description")
    people = value.get("people")
    named = [one.get("name") for one in people if isinstance(one, dict)] if isinstance(people, list) else []
    known = {
        "title": value["title"] or None,
        "taken_at": _moment(value["photoTakenTime"].get("timestamp")),
        "location": _place(value.get("geoData")) or _place(value.get("geoDataExif")),
        "people": [name for name in named if isinstance(name, str) and name] or None,
        "favorited": True if value.get("favorited") is True else None,
        "album": album,
    }
    caption = description.strip() if isinstance(description, str) else ""
    return Facts(caption or None, {name: one for name, one in known.items() if one is not None}, kind=KIND)


def _moment(timestamp: Any) -> str | None:
    """ISO 8601 in UTC, as filters and orders compare it."""
    try:
        return datetime.fromtimestamp(int(timestamp), UTC).isoformat().replace("+00:00", "Z")
    except (TypeError, ValueError, OverflowError, OSError):
        return None


def _place(value: Any) -> dict[str, float] | None:
    """Degrees; 0, 0 is what Takeout writes where it knows nothing."""
    if not isinstance(value, dict):
        return None
    found = {name: value.get(name) for name in ("latitude", "longitude", "altitude")}
    if not all(isinstance(one, (int, float)) and not isinstance(one, bool) for one in found.values()):
        return None
    if found["latitude"] == 0 and found["longitude"] == 0:
        return None
    return {name: float(one) for name, one in found.items() if one is not None}
