"""The files that exports are made of: rows of Parquet, shards of WebDataset."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote_to_bytes

from sightline.imaging.files import is_text
from sightline.imaging.formats import broken_format

if TYPE_CHECKING:
    import pyarrow as pa

    from sightline.store.records import Image
    from sightline.store.text_records import StoredText

FILE_SCHEME: Final = "file://"
ROWS: Final = 5_000
"""Rows of one row group."""
SHARD_BYTES: Final = 1 << 30
SHARD_SAMPLES: Final = 10_000
"""A shard ends with whichever it reaches first."""
SUFFIXES: Final = {"JPEG": "jpg", "TIFF": "tif", "JPEG 2000": "jp2", "HEIF": "heic", "JPEG XL": "jxl"}
"""Of formats that are not called by their suffix."""


def local_file(image: Image) -> str | None:
    """The path of an original that is a file here by itself; None: it is something else, or gone."""
    uri = image.uri
    path = os.fsdecode(unquote_to_bytes(uri[len(FILE_SCHEME) :])) if uri.startswith(FILE_SCHEME) else uri
    if not os.path.isabs(path) or not is_text(path):
        return None
    try:
        return path if os.path.isfile(path) and os.path.getsize(path) == image.bytes else None
    except OSError:
        return None


class Samples:
    """How the files of a sample are called."""

    @staticmethod
    def key(image: Image) -> str:
        """A name without dots, which no other image of the installation has."""
        return f"{image.key:012d}"

    @staticmethod
    def suffix(data: bytes) -> str:
        """By the first bytes of a picture."""
        name = broken_format(data[:64]) or "bin"
        name = name.removeprefix("camera raw (").removesuffix(")")
        return SUFFIXES.get(name, name.lower())

    @classmethod
    def file_name(cls, image: Image, data: bytes) -> str:
        """Of the picture."""
        return f"{cls.key(image)}.{cls.suffix(data)}"


class Parquet:
    """A Parquet file with a row for each text, written a row group at a time."""

    def __init__(self, path: Path) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        number, real, words = pa.int64(), pa.float64(), pa.string()
        columns: list[tuple[str, Any]] = [
            ("id", words), ("uri", words), ("sha256", words), ("width", number), ("height", number),
            ("text", words), ("source", words), ("model", words), ("log_probability", real),
            ("match_probability", real), ("judge", words), ("verdict", words), ("overruled", pa.bool_()),
        ]  # fmt: skip
        self._schema: pa.Schema = pa.schema(columns)
        self._writer = parquet.ParquetWriter(path, self._schema, compression="zstd")
        self._rows: list[dict[str, Any]] = []

    def __enter__(self) -> Parquet:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        if kind is None:
            self._flush()
        self._writer.close()

    def add(self, image: Image, text: StoredText) -> None:
        """One text of an image."""
        self._rows.append(
            {
                "id": image.image_id,
                "uri": image.uri,
                "sha256": image.sha256,
                "width": image.width,
                "height": image.height,
                "text": text.text,
                "source": text.source,
                "model": text.model,
                "log_probability": text.log_probability,
                "match_probability": text.match_probability,
                "judge": text.judge,
                "verdict": text.verdict,
                "overruled": text.overruled,
            }
        )
        if len(self._rows) == ROWS:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
        self._rows = []


class Shards:
    """TAR files as WebDataset reads them.

    Of each sample the picture, ``.txt`` with a caption a line, and ``.json``.
    """

    def __init__(
        self, folder: Path, name: str, most_bytes: int = SHARD_BYTES, most_samples: int = SHARD_SAMPLES
    ) -> None:
        self._folder = folder
        self._name = name
        self._most = (most_bytes, most_samples)
        self._shard: tarfile.TarFile | None = None
        self._count = self._samples = 0

    def __enter__(self) -> Shards:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        if self._shard is not None:
            self._shard.close()

    def add(self, image: Image, data: bytes, captions: Sequence[str], told: Mapping[str, Any]) -> None:
        """One picture with its captions."""
        shard = self._open()
        key = Samples.key(image)
        self._member(shard, Samples.file_name(image, data), data)
        self._member(shard, f"{key}.txt", "\n".join(captions).encode())
        self._member(shard, f"{key}.json", json.dumps(told, ensure_ascii=False).encode())
        self._samples += 1

    def _open(self) -> tarfile.TarFile:
        most_bytes, most_samples = self._most
        shard = self._shard
        if shard is not None and (shard.offset >= most_bytes or self._samples >= most_samples):
            shard.close()
            shard = None
        if shard is None:
            path = self._folder / f"{self._name}-{self._count:06d}.tar"
            shard = tarfile.open(path, "w", format=tarfile.PAX_FORMAT)  # noqa: SIM115 - closed by the next
            self._shard, self._samples = shard, 0
            self._count += 1
        return shard

    @staticmethod
    def _member(shard: tarfile.TarFile, name: str, data: bytes) -> None:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        shard.addfile(member, io.BytesIO(data))
