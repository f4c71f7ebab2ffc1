"""Which patch codec ``auto`` has chosen for a collection, and what it was chosen by: one small file each.

They lie beside the codecs, where every host finds them. One that is lost or damaged counts as none: it is
measured again.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sightline.store.codec_files import FOLDER
from sightline.store.machine_files import MachineFiles
from sightline.store.segment_content import is_codec

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping

    from sightline.store.records import Collection

_NAME: Final = re.compile(r"auto-([0-9]+)\.json")


@dataclass(frozen=True)
class CodecTrial:
    """One codec against whole patches. ``tau`` and ``top10``: means over the texts."""

    codec: str
    bytes_per_image: int
    tau: float
    top10: float
    passed: bool


@dataclass(frozen=True)
class CodecVerdict:
    """``codec``: fp16, int8 or a latent's id; ``tried`` in order, on so many ``pictures`` and ``texts``."""

    codec: str
    tried: tuple[CodecTrial, ...]
    pictures: int
    texts: int

    @property
    def sentence(self) -> str:
        """For people."""
        if not self.tried:
            return f"patches are kept in {self.codec}: its model cannot say what compression would change"
        told = ", ".join(f"{one.codec} τ {one.tau:.3f} top 10 {one.top10:.3f}" for one in self.tried)
        return f"patches are kept in {self.codec} ({told}; {self.pictures} pictures, {self.texts} texts)"


class CodecVerdicts:
    """Those of the codecs beside the segments in ``segments``."""

    def __init__(self, segments: Path) -> None:
        self._folder = segments / FOLDER

    def find(self, collection: Collection) -> CodecVerdict | None:
        """What holds for a collection with its model; None while there is none that can be used."""
        found = self._files(collection).read(_name(collection))
        try:
            return None if found is None else _parsed(found)
        except (TypeError, KeyError, ValueError):
            return None

    def write(self, collection: Collection, verdict: CodecVerdict) -> None:
        """In place of an earlier one; where the disk refuses, it is measured again."""
        self._files(collection).write(_name(collection), asdict(verdict))

    def forget_others(self, existing: Callable[[], Container[int]]) -> None:
        """Those of collections that do not exist; listed before ``existing`` is asked: new ones stay."""
        if found := list(self._folder.glob("*/auto-*.json")):
            known = existing()
            for path in found:
                named = _NAME.fullmatch(path.name)
                if named is not None and int(named[1]) not in known:
                    with suppress(OSError):
                        path.unlink()

    def _files(self, collection: Collection) -> MachineFiles:
        return MachineFiles(self._folder / collection.fingerprint)


def _name(collection: Collection) -> str:
    return f"auto-{collection.id}"


def _parsed(raw: Mapping[str, Any]) -> CodecVerdict:
    """Raises TypeError, KeyError or ValueError: it is no verdict."""
    tried = tuple(CodecTrial(**one) for one in raw["tried"])
    found = CodecVerdict(raw["codec"], tried, raw["pictures"], raw["texts"])
    if not is_codec(found.codec):
        raise ValueError("it names no codec")
    return found
