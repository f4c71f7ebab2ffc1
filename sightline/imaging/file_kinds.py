"""Files of other kinds that lie among pictures: told from their first bytes, counted and never decoded.

Only what nobody takes for a picture by its name is looked at: a ``.jpg`` that holds text is a broken picture.
"""

from __future__ import annotations

import os
from typing import Final

from sightline.imaging.kinds import other_kind

LOOKED_AT: Final = 4096
"""Bytes of a file that tell its kind."""
_ENDINGS: Final = (
    "jpg jpeg jpe jfif pjpeg jif png apng gif webp bmp dib tif tiff heic heics heif heifs hif avif"
    " avifs jxl jp2 j2k jpf jpx jpm ico icns ppm pgm pbm pnm pam tga qoi exr hdr psd cr2 cr3 crw nef"
    " nrw arw srf sr2 dng orf rw2 raf pef ptx srw x3f 3fr fff iiq mef mos mrw rwl kdc dcr erf raw"
)
PICTURES: Final = frozenset(_ENDINGS.split())
"""Endings of names that claim to be pictures."""
TEXT: Final = "text"
ARCHIVE: Final = "archive"
MANIFEST: Final = "manifest"
_PLURALS: Final = {
    "video": ("video", "videos"),
    "audio": ("sound file", "sound files"),
    "pdf": ("PDF document", "PDF documents"),
    "svg": ("SVG drawing", "SVG drawings"),
    TEXT: ("text file", "text files"),
    ARCHIVE: ("archive", "archives"),
    MANIFEST: ("manifest", "manifests"),
    "database": ("catalogue or database", "catalogues and databases"),
    "document": ("office document", "office documents"),
    "program": ("program", "programs"),
    "font": ("font", "fonts"),
}
_MARKS: Final = (
    (b"SQLite format 3\0", "database"),
    (b"\0\1\0\0Standard ", "database"),
    (b"AgHg", "database"),  # previews of Lightroom
    (b"bplist00", TEXT),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "document"),
    (b"{\\rtf", "document"),
    (b"Rar!\x1a\x07", ARCHIVE),
    (b"7z\xbc\xaf\x27\x1c", ARCHIVE),
    (b"\x1f\x8b\x08", ARCHIVE),
    (b"BZh", ARCHIVE),
    (b"\xfd7zXZ\0", ARCHIVE),
    (b"\x28\xb5\x2f\xfd", ARCHIVE),
    (b"\x7fELF", "program"),
    (b"MZ", "program"),
    (b"\xca\xfe\xba\xbe", "program"),
    (b"\xcf\xfa\xed\xfe", "program"),
    (b"ID3", "audio"),
    (b"fLaC", "audio"),
    (b"OggS", "audio"),
    (b"FORM", "audio"),
    (b"#!AMR", "audio"),
    (b"MThd", "audio"),
    (b"\0\1\0\0\0", "font"),
    (b"OTTO", "font"),
    (b"wOFF", "font"),
    (b"wOF2", "font"),
)
_TEXT_CONTROLS: Final = frozenset(b"\t\n\v\f\r\x1b")


def claims_picture(name: str) -> bool:
    """Whether the ending of a name is that of pictures."""
    return os.path.splitext(name)[1][1:].lower() in PICTURES


def file_kind(name: str, head: bytes) -> str | None:
    """What a file is by its first `LOOKED_AT` bytes (``video``, ``text``, ``database``, …).

    None: it claims to be a picture, or may be one; the decoder says more.
    """
    if claims_picture(name):
        return None
    known = other_kind(head)
    if known is not None:
        return "audio" if head[4:12] == b"ftypM4A " else known[0]
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        return "audio"
    if head.startswith(b"PK\x03\x04"):
        return _zip_kind(head)
    if head[257:262] == b"ustar":
        return ARCHIVE
    marked = next((kind for mark, kind in _MARKS if head.startswith(mark)), None)
    return marked or (TEXT if _is_text(name, head) else None)


def counted(kinds: dict[str, int]) -> str:
    """``212 videos, 3 text files, 1 archive``: the most first."""
    ordered = sorted(kinds.items(), key=lambda one: (-one[1], one[0]))
    return ", ".join(f"{count:,} {_named(kind)[count != 1]}" for kind, count in ordered)


def _named(kind: str) -> tuple[str, str]:
    return _PLURALS.get(kind, (f"file ({kind})", f"files ({kind})"))


def _zip_kind(head: bytes) -> str:
    office = (b"[Content_Types].xml", b"word/", b"xl/", b"ppt/", b"mimetypeapplication/")
    return "document" if any(mark in head for mark in office) else ARCHIVE


def _is_text(name: str, head: bytes) -> bool:
    """Plain, marked-up or empty text. What has neither a name that ends nor a byte may be a cut picture."""
    if not head:
        return bool(os.path.splitext(name)[1])
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return len(head) > 2 and head.count(0) * 4 > len(head)
    if any(byte < 32 and byte not in _TEXT_CONTROLS for byte in head):
        return False
    try:
        head.decode()
    except UnicodeDecodeError as error:
        return len(head) >= LOOKED_AT and error.start >= len(head) - 3
    return True
