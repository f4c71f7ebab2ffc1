"""The manifest of a generation: the file that a row names, which names all the others.

Its header tells the files with their SHA-256 and how to search; ``hidden`` uint8 are, part after part, the
bits of the images that may not be found any more (lowest first, whole bytes for each part); ``truth_…`` is
what recall was measured against, and is carried on when the generation grows.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from sightline.errors import CorruptionError, SightlineError
from sightline.store.durable import verify_file
from sightline.store.ivf.effort import Effort, Efforts
from sightline.store.ivf.sealed_file import read_sealed, read_told, write_sealed
from sightline.store.ivf.truth import Truth

if TYPE_CHECKING:
    from sightline.store.durable import WrittenFile
    from sightline.types import Mask

FORM: Final = "sightline-ivf-manifest"


class NamedFile(NamedTuple):
    """A file that the generation needs: ``images`` that it holds, hidden or not (0: what was trained)."""

    file: str
    sha256: str
    bytes: int
    images: int = 0


class LearnedFiles(NamedTuple):
    """What the parts share: the first lives on as a generation grows, the second is fitted again."""

    trained: NamedFile
    predictor: NamedFile


@dataclass(frozen=True)
class Manifest:
    """``hidden``: of each part ``[n]``. An empty generation has no parts, and nothing that was learned."""

    kind: str
    queries: int
    dim: int
    learned: LearnedFiles | None
    parts: tuple[NamedFile, ...]
    hidden: tuple[Mask, ...]
    efforts: Efforts
    recall: float
    truth: Truth
    parameters: dict[str, Any] = field(default_factory=dict)
    """What people are told, and the row keeps."""

    @property
    def files(self) -> tuple[NamedFile, ...]:
        """All but the manifest."""
        return self.parts if self.learned is None else (*self.learned, *self.parts)


def write_manifest(folder: Path, manifest: Manifest) -> WrittenFile:
    """Durably, under a new name."""
    told = {
        "kind": manifest.kind, "queries": manifest.queries, "dim": manifest.dim, "learned": manifest.learned,
        "parts": manifest.parts, "efforts": manifest.efforts.measured, "recall": manifest.recall,
        "parameters": manifest.parameters,
    }  # fmt: skip
    bits = [np.packbits(mask, bitorder="little") for mask in manifest.hidden]
    arrays = {
        "hidden": np.concatenate([*bits, np.empty(0, np.uint8)]),
        "truth_keys": manifest.truth.keys,
        "truth_scores": manifest.truth.scores,
        "truth_floor": manifest.truth.floor,
    }
    return write_sealed(folder, manifest.kind, FORM, {"manifest": json.dumps(told)}, arrays)


def read_manifest(path: Path, sha256: str | None) -> Manifest:
    """`FileMissingError`, `CorruptionError`; without a SHA-256 its own seal must do."""
    if sha256 is not None:
        verify_file(path, sha256)
    file = read_sealed(path, FORM)
    try:
        told = json.loads(file.layout.metadata["manifest"])
        parts = tuple(NamedFile(*one) for one in told["parts"])
        learned = None if told["learned"] is None else [NamedFile(*one) for one in told["learned"]]
        efforts = Efforts(tuple(Effort(*one) for one in told["efforts"]))
        arrays = {name: array.copy() for name, array in file.arrays.items()}
        truth = Truth(arrays["truth_keys"], arrays["truth_scores"], arrays["truth_floor"])
        hidden = tuple(_masks(arrays["hidden"], parts))
        return Manifest(
            told["kind"], told["queries"], told["dim"],
            None if learned is None else LearnedFiles(*learned), parts, hidden,
            efforts, told["recall"], truth, told["parameters"],
        )  # fmt: skip
    except (KeyError, ValueError, TypeError) as error:
        raise CorruptionError(f"The file {path} is no manifest that this version can read.") from error


def named_by(path: Path) -> list[str]:
    """Other files that the manifest names; none when it is no manifest, or not readable as one."""
    try:
        told = json.loads(read_told(path, FORM)["manifest"])
        files = [*told["parts"], *(told["learned"] or [])]
        return [str(one[0]) for one in files]
    except (OSError, SightlineError, KeyError, ValueError, TypeError, IndexError):
        return []


def _masks(bits: Any, parts: tuple[NamedFile, ...]) -> list[Mask]:
    masks, start = [], 0
    for part in parts:
        size = -(-part.images // 8)
        masks.append(
            np.unpackbits(bits[start : start + size], count=part.images, bitorder="little").astype(bool)
        )
        start += size
    return masks
