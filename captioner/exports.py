"""Pictures and the texts that fit them, for whoever trains with them: JSON lines, Parquet, WebDataset.

All of it streams: images are read by their keys, a page at a time, so that memory does not grow with the
collection. What is written stands aside until it is whole.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from sightline.captioner.export_files import Parquet, Samples, Shards, local_file
from sightline.captioner.verdicts import lines_of
from sightline.errors import ImageRejected, InputError
from sightline.store.durable import ASIDE
from sightline.store.storage import storage_error, writing
from sightline.store.text_records import VERDICTS

if TYPE_CHECKING:
    from sightline.captioner.parts import Originals
    from sightline.store.catalog import Catalog
    from sightline.store.records import Collection, Image
    from sightline.store.text_records import StoredText, Verdict

ExportFormat = Literal["jsonl", "parquet", "webdataset"]
FORMATS: Final[tuple[ExportFormat, ...]] = ("jsonl", "parquet", "webdataset")
SHOWN: Final = 200
"""Characters of a path in a sentence."""
PAGE: Final = 200
"""Images that are read together."""


@dataclass
class Exported:
    """What was written: images with their texts, files, and images whose original cannot be read (ids and
    why; the first few)."""

    out: str
    format: ExportFormat
    images: int = 0
    texts: int = 0
    left_out: int = 0
    examples: list[dict[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Sample:
    """One image with the texts that go with it."""

    image: Image
    texts: list[StoredText]

    @property
    def captions(self) -> list[str]:
        """Each line of each text once, in their order: a caption may have several."""
        return list(dict.fromkeys(line for text in self.texts for line in lines_of(text.text)))


class Exports:
    """Exports of collections. ``originals`` gives the bytes of pictures. Thread-safe."""

    def __init__(self, catalog: Catalog, originals: Originals) -> None:
        self._catalog = catalog
        self._originals = originals

    def write(
        self, collection: str, out: Path, format: ExportFormat, verdicts: Sequence[Verdict] = ("kept",)
    ) -> Exported:
        """Write the live images that have texts with these verdicts, and these texts.

        ``jsonl``: a file that ``sightline train`` and ``eval`` read; pictures that are no local files lie in
        a folder beside it. ``parquet``: a file with a row for each text. ``webdataset``: a folder of TAR
        shards with the bytes of the pictures.

        Raises:
            NotFoundError: no such collection.
            InputError: a format or verdict that is none, something lies there already, nothing to write.
            StorageError: the disk takes no more.
        """
        if format not in FORMATS:
            raise InputError(f"The format is one of {', '.join(FORMATS)}, not {format!r}.")
        unknown = [verdict for verdict in verdicts if verdict not in VERDICTS]
        if unknown or not verdicts:
            given = ", ".join(unknown) or "none"
            raise InputError(f"A verdict is one of {', '.join(VERDICTS)}, not {given}.")
        found = self._catalog.collection(collection)
        exported = Exported(str(out), format)
        writers = {"jsonl": self._jsonl, "parquet": self._parquet, "webdataset": self._webdataset}
        write: Callable[[Collection, Iterator[Sample], Path, Exported], None] = writers[format]
        with _aside(out) as aside, writing(out.parent):
            write(found, self._samples(found, verdicts), aside, exported)
            if not exported.images:
                raise InputError(
                    f"Collection {collection} has no texts that are {' or '.join(verdicts)}; "
                    "filter its texts first (sightline capfilt), or name other verdicts (--with)."
                )
        return exported

    def _samples(self, collection: Collection, verdicts: Sequence[Verdict]) -> Iterator[Sample]:
        cursor: str | None = None
        while True:
            page = self._catalog.images(collection.name, cursor, PAGE)
            texts = self._catalog.texts_of([image.key for image in page.items])
            for image in page.items:
                fitting = [text for text in texts.get(image.key, ()) if text.verdict in verdicts]
                if fitting:
                    yield Sample(image, fitting)
            cursor = page.next_cursor
            if cursor is None:
                return

    def _jsonl(
        self, collection: Collection, samples: Iterator[Sample], aside: Path, exported: Exported
    ) -> None:
        copies = Path(exported.out).with_suffix(".images")
        if copies == Path(exported.out):
            raise InputError(f"{copies} is where copies of pictures would lie; name the file otherwise.")
        if copies.exists():
            raise InputError(f"There is {copies} already; name another file, or remove it.")
        with _aside(copies, needed=False) as copies_aside, aside.open("w", encoding="utf-8") as file:
            for sample in samples:
                name = self._named(sample.image, copies, copies_aside, exported)
                if name is None:
                    continue
                row = {"image": name, "captions": sample.captions, "id": sample.image.image_id}
                texts = [_told(text) for text in sample.texts]
                file.write(json.dumps({**row, "texts": texts}, ensure_ascii=False) + "\n")
                _count(exported, sample)
            file.flush()
            os.fsync(file.fileno())

    def _named(self, image: Image, copies: Path, aside: Path, exported: Exported) -> str | None:
        """The picture's file: its original where that is one that is there, else a copy; None: none."""
        there = local_file(image)
        if there is not None:
            return there
        data = self._read(image, exported)
        if data is None:
            return None
        aside.mkdir(exist_ok=True)
        name = Samples.file_name(image, data)
        (aside / name).write_bytes(data)
        return str(copies.absolute() / name)

    def _parquet(
        self, collection: Collection, samples: Iterator[Sample], aside: Path, exported: Exported
    ) -> None:
        with Parquet(aside) as file:
            for sample in samples:
                for text in sample.texts:
                    file.add(sample.image, text)
                _count(exported, sample)

    def _webdataset(
        self, collection: Collection, samples: Iterator[Sample], aside: Path, exported: Exported
    ) -> None:
        aside.mkdir()
        with Shards(aside, collection.name) as shards:
            for sample in samples:
                data = self._read(sample.image, exported)
                if data is not None:
                    told = {"id": sample.image.image_id, "texts": [_told(text) for text in sample.texts]}
                    shards.add(sample.image, data, sample.captions, told)
                    _count(exported, sample)

    def _read(self, image: Image, exported: Exported) -> bytes | None:
        """The picture's bytes; None, and a note of it, when they cannot be had."""
        try:
            return self._originals.read(image)
        except ImageRejected as error:
            exported.left_out += 1
            if len(exported.examples) < 20:
                exported.examples.append(
                    {"id": image.image_id, "reason": error.reason, "detail": error.detail}
                )
            return None


def _told(text: StoredText) -> dict[str, object]:
    return {
        "text": text.text,
        "source": text.source,
        "match_probability": text.match_probability,
        "verdict": text.verdict,
    }


def _count(exported: Exported, sample: Sample) -> None:
    exported.images += 1
    exported.texts += len(sample.texts)


def _try(aside: Path, out: Path) -> None:
    """Raises InputError when nothing can lie there, before hours of work: a name that is too long, say."""
    with writing(out.parent):
        try:
            aside.touch()
            aside.unlink()
        except OSError as error:
            if storage_error(error, out) is not None:
                raise
            name = f"{str(out)[:SHOWN]}…" if len(str(out)) > SHOWN else out
            raise InputError(f"{name} cannot be made: {error.strerror}; name another place.") from error


@contextmanager
def _aside(out: Path, *, needed: bool = True) -> Iterator[Path]:
    """A place beside ``out`` that gets its name once what was written there is whole, and else goes.

    Not ``needed``: perhaps nothing is written there.
    """
    if os.path.lexists(out):
        raise InputError(f"There is {out} already; name another place, or remove it.")
    if not os.path.isdir(out.parent):
        raise InputError(f"There is no folder {out.parent} to write {out.name} into.")
    aside = out.parent / f"{ASIDE}{out.name}-{os.getpid()}"
    _try(aside, out)
    try:
        yield aside
        if needed or aside.exists():
            aside.rename(out)
    finally:
        if aside.is_dir():
            shutil.rmtree(aside, ignore_errors=True)
        else:
            aside.unlink(missing_ok=True)
