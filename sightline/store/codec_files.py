"""Files of patch codecs: immutable, one folder for each model fingerprint, named by their content.

The bytes mean nothing here; ``blip.patch_codec`` writes and reads them. They live beside the segments that
name them, where every host finds them.
"""

from __future__ import annotations

import uuid
from pathlib import Path

from sightline.faultpoint import faultpoint
from sightline.store.durable import FileMissingError, sync_folder, write_durably

FOLDER = "codecs"
_ENDING = ".codec.safetensors"


class CodecFiles:
    """The codec files beside the segments in ``segments``."""

    def __init__(self, segments: Path) -> None:
        self._folder = segments / FOLDER

    def path(self, fingerprint: str, codec: str) -> Path:
        """Where the file of a codec is, or would be."""
        return self._folder / fingerprint / f"{codec}{_ENDING}"

    def write(self, fingerprint: str, codec: str, content: bytes) -> None:
        """Put a codec there, durably: when this returns, segments may name it. Twice the same is harmless."""
        path = self.path(fingerprint, codec)
        aside = write_durably(path.parent, f"{uuid.uuid4().hex}.unfinished", [content])
        (path.parent / aside.file).replace(path)
        sync_folder(path.parent)
        sync_folder(self._folder)
        sync_folder(self._folder.parent)
        faultpoint("codec.kept")

    def read(self, fingerprint: str, codec: str) -> bytes:
        """The bytes that were written.

        Raises:
            FileMissingError: there is no such file (any more).
        """
        path = self.path(fingerprint, codec)
        try:
            return path.read_bytes()
        except FileNotFoundError:
            raise FileMissingError(
                f"The patch codec {codec} is missing: restore the file {path} from a backup, or let "
                "`sightline doctor --repair` embed its images again."
            ) from None

    def codecs(self, fingerprint: str) -> list[str]:
        """The codecs of one model, the latest first."""
        found = [(path.stat().st_mtime_ns, path.name) for path in self._of(fingerprint)]
        return [name.removesuffix(_ENDING) for _, name in sorted(found, reverse=True)]

    def _of(self, fingerprint: str) -> list[Path]:
        folder = self._folder / fingerprint
        return list(folder.glob(f"*{_ENDING}")) if folder.is_dir() else []
