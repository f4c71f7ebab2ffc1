"""What makes damage to a thumbnail visible: a few bytes behind the picture, which no decoder looks at.

A WebP file has no checksum, and most flipped bits still decode. So a stored thumbnail ends with `MAGIC` and
the first 16 bytes of the SHA-256 over the original's SHA-256 and the picture: a file that was changed, cut or
belongs to another original is told from a sound one. Version 0.1 wrote none: such a file counts as sound when
it is as long as its RIFF header says.
"""

from __future__ import annotations

import hashlib
from typing import Final

from sightline.errors import CorruptionError

MAGIC: Final = b"sightlineseal\x00\x01\x00"
_DIGEST: Final = 16
_LENGTH: Final = len(MAGIC) + _DIGEST


def sealed(picture: bytes, sha256: str) -> bytes:
    """The picture with its seal; ``sha256`` is that of its original."""
    return picture + MAGIC + _digest(picture, sha256)


def opened(content: bytes, sha256: str) -> bytes:
    """The picture without its seal. Raises CorruptionError when it is not what was written."""
    picture, magic, digest = content[:-_LENGTH], content[-_LENGTH:-_DIGEST], content[-_DIGEST:]
    if magic == MAGIC and digest == _digest(picture, sha256):
        return picture
    if _is_whole_webp(content):
        return content
    raise CorruptionError(f"The thumbnail of {sha256} is not what was written.")


def _digest(picture: bytes, sha256: str) -> bytes:
    return hashlib.sha256(sha256.encode() + picture).digest()[:_DIGEST]


def _is_whole_webp(content: bytes) -> bool:
    """Whether it is one, to the byte as long as it says: what was written without a seal."""
    whole = content[:4] == b"RIFF" and content[8:12] == b"WEBP"
    return whole and len(content) == 8 + int.from_bytes(content[4:8], "little")
