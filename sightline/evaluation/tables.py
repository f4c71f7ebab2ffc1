"""Patches of many pictures on disk, one row each: encoded once, read in any order, continued after a crash.

``N`` pictures · ``P`` patches · ``V`` vision width.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from sightline.errors import ImageRejected
from sightline.evaluation.data import DataProblem, Picture
from sightline.store.room import Need
from sightline.store.storage import writing
from sightline.types import RGB, OnProgress

if TYPE_CHECKING:
    import torch

    from sightline.blip.protocols import Vision

MISSING, WRITTEN, BROKEN = 0, 1, 2
VALUES = "rows.npy"

RowDtype = Literal["float16", "float32", "uint8"]
Rows = Sequence[int] | NDArray[np.int64]
Encode = Callable[[list[RGB]], NDArray[Any]]
"""Pictures to rows ``[B, …]``."""


@dataclass(frozen=True)
class TablePlan:
    """A table before it is made: rows of a shape below ``parent``; ``identity`` is what they depend on."""

    parent: Path
    identity: str
    rows: int
    shape: tuple[int, ...]
    dtype: RowDtype = "float16"

    @property
    def folder(self) -> Path:
        """Where it lies, or will."""
        key = f"{self.identity}\n{self.rows}{self.shape}{self.dtype}"
        return self.parent / hashlib.sha256(key.encode()).hexdigest()[:24]

    def need(self, what: str) -> Need:
        """The room that is still to be taken for it."""
        whole = self.rows * math.prod(self.shape) * np.dtype(self.dtype).itemsize
        path = self.folder / VALUES
        taken = path.stat().st_size if path.exists() else 0  # room is taken when the file is made
        return Need(what, self.parent, max(0, whole - taken))

    def open(self) -> PictureTable:
        """Make it, or go on with what is there.

        Raises:
            StorageError: the disk has no room for it, or refuses.
        """
        return PictureTable(self.parent, self.identity, self.rows, self.shape, self.dtype)


class PictureTable:
    """``[N, …]`` in a memory-mapped file, one row a picture, and the state of each row beside it.

    Rows are patches ``[P, V]``, or pixels ``[S, S, 3]`` where the image encoder itself is trained. The folder
    is named by what the rows depend on, so another checkpoint or another picture never meets old rows. A
    row's state is written after its values: a killed run leaves rows missing, never wrong.
    """

    def __init__(
        self, folder: Path, identity: str, rows: int, shape: tuple[int, ...], dtype: RowDtype = "float16"
    ) -> None:
        plan = TablePlan(folder, identity, rows, shape, dtype)
        self.folder = plan.folder
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._values = _open(self.folder / VALUES, dtype, (rows, *shape))
            self._state = _open(self.folder / "state.npy", "uint8", (rows,))
        self._reasons = self.folder / "problems.jsonl"

    def __len__(self) -> int:
        return len(self._state)

    def rows(self, state: int) -> list[int]:
        """Rows in this state, ascending."""
        return [int(row) for row in np.flatnonzero(self._state == state)]

    def write(self, rows: Rows, values: NDArray[Any]) -> None:
        """Store ``[len(rows), …]``."""
        self._values[rows] = values
        self._values.flush()
        self._state[rows] = WRITTEN

    def reject(self, row: int, problem: DataProblem) -> None:
        """Remember that this picture has no values, and why."""
        with self._reasons.open("a", encoding="utf-8") as file:
            file.write(json.dumps([row, problem.where, problem.reason, problem.detail]) + "\n")
        self._state[row] = BROKEN

    def problems(self) -> list[DataProblem]:
        """Why rows are broken, in row order."""
        if not self._reasons.exists():
            return []
        lines = [json.loads(line) for line in self._reasons.read_text(encoding="utf-8").splitlines()]
        latest = {int(row): DataProblem(*rest) for row, *rest in lines}
        return [latest[row] for row in self.rows(BROKEN) if row in latest]

    def view(self, rows: Sequence[int]) -> TableView:
        """Only these rows, renumbered from 0."""
        return TableView(self, rows)

    def values(self, rows: Rows) -> NDArray[Any]:
        """``[len(rows), …]`` as stored."""
        return np.asarray(self._values[np.asarray(rows)])


class TableView:
    """Some rows of a table, renumbered from 0."""

    def __init__(self, table: PictureTable, rows: Sequence[int]) -> None:
        self._table = table
        self._rows = np.asarray(rows, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._rows)

    def values(self, rows: Rows) -> NDArray[Any]:
        """``[len(rows), …]`` as stored."""
        return self._table.values(self._rows[np.asarray(rows)])

    def read(self, rows: Rows) -> torch.Tensor:
        """Patches ``[len(rows), P, V]`` as fp32 on the CPU."""
        import torch

        return torch.from_numpy(self.values(rows).astype(np.float32))


def _open(path: Path, dtype: str, shape: tuple[int, ...]) -> np.memmap[Any, np.dtype[Any]]:
    # A file of another size is what a killed run left while it was making the table: start it again.
    if path.exists():
        try:
            return np.lib.format.open_memmap(path, mode="r+")
        except (ValueError, EOFError):
            path.unlink()
    values = np.lib.format.open_memmap(path, mode="w+", dtype=np.dtype(dtype), shape=shape)
    _take_room(path)
    return values


def _take_room(path: Path) -> None:
    """Let a full disk refuse now, and not kill the process (SIGBUS) when a row is written to the map."""
    if sys.platform != "linux":
        return
    try:
        with path.open("rb+") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    except OSError:
        path.unlink()
        raise


def identity(pictures: Sequence[Picture], fingerprint: str) -> str:
    """What patches depend on: the checkpoint, and each file by path, size and time of change (not bytes)."""
    lines = [fingerprint]
    for picture in pictures:
        stat = picture.path.stat()
        lines.append(f"{picture.path.resolve()} {stat.st_size} {stat.st_mtime_ns}")
    return "\n".join(lines)


def fill(
    table: PictureTable,
    pictures: Sequence[Picture],
    encode: Encode,
    batch_size: int,
    on_progress: OnProgress | None = None,
    share: tuple[int, int] = (0, 1),
) -> None:
    """Encode every picture whose row is missing; one that cannot be decoded is rejected with its reason.

    ``share`` (which, of how many) is this process's part of the rows.
    """
    rows = [row for row in table.rows(MISSING) if row % share[1] == share[0]]
    done = 0
    with ThreadPoolExecutor(max_workers=4) as pool:
        for chunk in _chunks(rows, batch_size):
            _fill_chunk(table, chunk, list(pool.map(decode, [pictures[row] for row in chunk])), encode)
            done += len(chunk)
            if on_progress is not None:
                on_progress("encode pictures", done, len(rows))


def _fill_chunk(
    table: PictureTable, rows: Sequence[int], decoded: Sequence[RGB | DataProblem], encode: Encode
) -> None:
    good: dict[int, RGB] = {}
    for row, image in zip(rows, decoded, strict=True):
        if isinstance(image, DataProblem):
            table.reject(row, image)
        else:
            good[row] = image
    if good:
        table.write(list(good), encode(list(good.values())))


def encode_patches(encoder: Vision) -> Encode:
    """What ``fill`` needs to write patches."""
    import torch

    def encode(images: list[RGB]) -> NDArray[Any]:
        with torch.inference_mode():
            patches = encoder.encode_patches(encoder.preprocess(images).to(encoder.device))
        return np.asarray(patches.float().cpu().numpy())

    return encode


def decode(picture: Picture) -> RGB | DataProblem:
    """Pixels of one picture file, or why there are none."""
    from sightline.imaging import Limits
    from sightline.imaging import decode as decode_bytes

    try:
        return decode_bytes(picture.path.read_bytes(), Limits()).rgb
    except ImageRejected as error:
        return DataProblem(picture.name, error.reason, error.detail)
    except OSError as error:
        return DataProblem(picture.name, "unreadable", f"The file cannot be read: {error}.")


def _chunks(rows: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
