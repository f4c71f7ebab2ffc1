"""Reading segments: nothing stays open or mapped, and every row is checked as it is read."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from sightline.errors import CorruptionError, InputError, SightlineError
from sightline.store.durable import FileIdentity, opened, verify_file, verify_open
from sightline.store.own_files import SEGMENT, OwnFiles
from sightline.store.segment_content import SegmentContent, kept_names, row_names
from sightline.store.segment_head import SegmentHead, read_head
from sightline.store.segment_patches import CodecRows, GatheredPatches, Gathering, by_file
from sightline.store.traces import erase_files

if TYPE_CHECKING:
    from io import FileIO

    from sightline.store.records import ImageLocation
    from sightline.types import Half, Keys, Mask

Rows = NDArray[np.intp]
_ROWS_AT_ONCE: Final = 64
"""Rows that are read together to be verified or copied: 46 MB of ViT-g patches in fp16."""


class SegmentFile(Protocol):
    """What is needed to know of a segment: `sightline.store.records.Segment` and `NewSegment` both fit."""

    @property
    def file(self) -> str: ...


class SoundRows(NamedTuple):
    """A segment as it lies there, and ``[N]`` which rows have sound tokens and which have sound patches."""

    content: SegmentContent
    tokens: Mask
    patches: Mask


class SegmentReader:
    """Reads segments of one folder; remembers the heads of the latest ``max_open``. Thread-safe.

    ``sha256_of`` says what the catalog knows of a file (None: nothing); without it segments of version 1
    cannot be read.
    """

    def __init__(
        self,
        folder: Path | str,
        max_open: int = 256,
        sha256_of: Callable[[str], str | None] = lambda file: None,
    ) -> None:
        self.folder = Path(folder)
        self._max_open = max_open
        self._sha256_of = sha256_of
        self._heads: OrderedDict[str, tuple[FileIdentity, SegmentHead | str]] = OrderedDict()
        self._damage: dict[str, tuple[FileIdentity, set[str]]] = {}
        self._lock = threading.Lock()

    def path(self, segment: SegmentFile | None) -> Path | None:
        """Where the file of a segment lies; None for none."""
        return None if segment is None else self.folder / segment.file

    def exists(self, file: str) -> bool:
        """Whether there is such a file; not whether it is sound."""
        return (self.folder / file).exists()

    def head(self, file: str) -> SegmentHead:
        """Who is in it. `FileMissingError` when the builder removed it, `CorruptionError` when damaged."""
        with self._opened(file) as (head, _):
            return head

    def keys(self, file: str) -> Keys:
        """``[N]``."""
        return self.head(file).keys

    def rows(self, file: str, name: str, rows: Rows | None = None) -> NDArray[Any]:
        """Rows (None: all) of one tensor. Errors as `head`; `CorruptionError` for a damaged row too."""
        with self._opened(file) as (head, handle):
            found, damaged = self._checked(file, head, handle, name, rows)
        if len(damaged):
            raise CorruptionError(
                f"The {name} of {len(damaged)} images in {self.folder / file} are not what was written."
            )
        return found

    def read(self, file: str) -> SegmentContent:
        """Everything in one segment. Errors as `rows`."""
        head = self.head(file)
        tokens = self.rows(file, "tokens")
        patches, scales, *_ = [*(self.rows(file, name) for name in kept_names(head.codec)), None, None]
        return SegmentContent(head.keys, tokens, patches, head.codec, scales)

    def tokens(self, file: str) -> tuple[Keys, Half]:
        """Keys ``[N]`` and tokens ``[N,Q,D]`` of one segment. Errors as `rows`."""
        return self.keys(file), self.rows(file, "tokens")

    def sound_tokens(self, file: str) -> tuple[Keys, Half]:
        """As `tokens`, of the images whose tokens are what was written. Errors as `head`."""
        with self._opened(file) as (head, handle):
            tokens, damaged = self._checked(file, head, handle, "tokens", None)
        if not len(damaged):
            return head.keys, tokens
        return np.delete(head.keys, damaged), np.delete(tokens, damaged, axis=0)

    def read_sound(self, file: str) -> SoundRows:
        """Everything in one segment as it lies there, and what of it can be trusted. Errors as `head`."""
        with self._opened(file) as (head, handle):
            arrays: dict[str, NDArray[Any]] = {}
            sound = {name: np.ones(len(head.keys), np.bool_) for name in row_names(head.codec)}
            for name in sound:
                arrays[name], damaged = self._checked(file, head, handle, name, None)
                sound[name][damaged] = False
        patches, scales, *_ = [*(arrays[name] for name in kept_names(head.codec)), None, None]
        content = SegmentContent(head.keys, arrays["tokens"], patches, head.codec, scales)
        kept = [sound[name] for name in kept_names(head.codec)]
        return SoundRows(
            content, sound["tokens"], np.logical_and.reduce([np.ones(len(head.keys), bool), *kept])
        )

    def damaged_rows(self, file: str) -> Rows:
        """Rows of which anything is not what was written, after reading all of them. Errors as `head`."""
        with self._opened(file) as (head, handle):
            found = [
                self._checked(file, head, handle, name, rows)[1]
                for name in row_names(head.codec)
                for rows in portions(np.arange(len(head.keys)))
            ]
        return np.unique(np.concatenate(found))

    def gather(self, locations: Sequence[ImageLocation]) -> list[GatheredPatches]:
        """Patches as they are kept, one group for each codec, all of them.

        `NotFoundError` when a segment was written without patches, `FileMissingError` when it is gone,
        `CorruptionError` when a row is damaged or holds another key than the catalog says.
        """
        found = self.gather_sound(locations)
        for error in found.lost.values():
            raise error
        return found.groups

    def gather_sound(self, locations: Sequence[ImageLocation]) -> Gathering:
        """As `gather`; what cannot be had is left out and said instead."""
        if not locations:
            raise InputError("There are no images to read patches of.")
        codecs: dict[str, CodecRows] = {}
        for position, location in enumerate(locations):
            codecs.setdefault(location.codec, CodecRows(location.codec, [])).positions.append(position)
        for file, wanted in by_file(locations).items():
            rows = codecs[next(iter(wanted.values())).codec]
            try:
                with self._opened(file) as (head, handle):
                    rows.fill(head, handle, wanted)
            except (SightlineError, OSError) as error:
                if isinstance(error, InputError):
                    raise
                why = error if isinstance(error, SightlineError) else CorruptionError(f"{error}.")
                rows.lost |= dict.fromkeys(wanted, why)
        lost = {position: error for rows in codecs.values() for position, error in rows.lost.items()}
        groups = [found for rows in codecs.values() if (found := rows.gathered()) is not None]
        return Gathering(groups, lost)

    def verify(self, file: str, sha256: str) -> None:
        """Read the whole file: `CorruptionError` when it is not what was written."""
        verify_file(self.folder / file, sha256)

    def verify_tokens(self, file: str) -> None:
        """As `verify_rows`, of keys and tokens only: a fiftieth of a file that also holds ViT-g patches."""
        for rows in portions(np.arange(len(self.keys(file)))):
            self.rows(file, "tokens", rows)

    def verify_rows(self, file: str) -> None:
        """As `verify`, by the checksums that the file brings with it; what is found is kept in mind."""
        damaged = self.damaged_rows(file)
        if len(damaged):
            raise CorruptionError(f"{len(damaged)} images in {self.folder / file} are not what was written.")

    def is_known_damaged(self, file: str, tokens_only: bool = False) -> bool:
        """Whether something was found damaged in it before, and nobody wrote to it since; reads nothing."""
        with self._lock:
            identity, head = self._heads.get(file, (None, None))
            found, names = self._damage.get(file, (None, set()))
        if not isinstance(head, str) and not names:
            return False
        now = FileIdentity.at(self.folder / file)
        counted = bool(names & {"tokens"}) if tokens_only else bool(names)
        return (isinstance(head, str) and identity == now) or (counted and found == now)

    def erase(self, keys: Keys) -> None:
        """Delete all that holds one of these keys, named by a row or not."""
        for file in erase_files(OwnFiles(self.folder, SEGMENT), keys):
            self.forget(file)

    def forget(self, file: str) -> None:
        """Nothing is kept in mind of a file that is about to be deleted."""
        with self._lock:
            self._heads.pop(file, None)
            self._damage.pop(file, None)

    @contextmanager
    def _opened(self, file: str) -> Iterator[tuple[SegmentHead, FileIO]]:
        path = self.folder / file
        with opened(path) as handle:
            identity = FileIdentity.of(handle)
            head = self._known_head(file, identity)
            if head is None:
                head = self._read_head(path, handle)
                self._remember(file, identity, head)
            if isinstance(head, str):
                raise CorruptionError(head)
            yield head, handle
            if head.sums is None and FileIdentity.of(handle) != identity:
                raise CorruptionError(f"The file {path} was written to while it was read.")

    def _known_head(self, file: str, identity: FileIdentity) -> SegmentHead | str | None:
        with self._lock:
            known, head = self._heads.get(file, (None, None))
            if known != identity:
                return None
            self._heads.move_to_end(file)
            return head

    def _read_head(self, path: Path, handle: FileIO) -> SegmentHead | str:
        """The head, or the sentence that says what is wrong with it."""
        try:
            head = read_head(path, handle)
            if head.sums is None:
                expected = self._sha256_of(path.name)
                if expected is None:
                    return f"Nothing says what the file {path}, a segment of version 1, should hold."
                verify_open(path, handle, expected)
            return head
        except CorruptionError as error:
            return str(error)

    def _remember(self, file: str, identity: FileIdentity, head: SegmentHead | str) -> None:
        with self._lock:
            self._heads[file] = identity, head
            while len(self._heads) > self._max_open:
                self._heads.popitem(last=False)

    def _checked(
        self, file: str, head: SegmentHead, handle: FileIO, name: str, rows: Rows | None
    ) -> tuple[NDArray[Any], Rows]:
        """Rows as they lie there, and which of them are not what was written."""
        wanted = np.arange(len(head.keys)) if rows is None else rows
        found = head.read_rows(handle, name, wanted)
        damaged = np.flatnonzero(head.damaged(name, wanted, found))
        if len(damaged):
            identity = FileIdentity.of(handle)
            with self._lock:
                known, names = self._damage.get(file, (identity, set()))
                self._damage[file] = identity, (names if known == identity else set()) | {name}
        return found, wanted[damaged]


def portions(rows: Rows) -> Iterator[Rows]:
    """A few rows at a time."""
    return (rows[start : start + _ROWS_AT_ONCE] for start in range(0, len(rows), _ROWS_AT_ONCE))


def sliced(array: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """All rows of an array, a few at a time, without a copy."""
    return (array[start : start + _ROWS_AT_ONCE] for start in range(0, len(array), _ROWS_AT_ONCE))
