"""Files that lie among pictures and are none: documents, drawings and videos, by their first bytes.

Each kind has a reason code of its own, so that whoever reads a folder can count them instead of taking them
for broken pictures.
"""

from __future__ import annotations

from typing import Final

HEAD: Final = 1024
"""Bytes that are looked at."""
_PACKET: Final = 188
"""Bytes between the marks of an MPEG transport stream; 192 where each has a time before it."""
_BRANDS: Final = (
    b"isom", b"iso2", b"iso3", b"iso4", b"iso5", b"iso6", b"iso7", b"iso8", b"iso9", b"mp41", b"mp42",
    b"mp71", b"avc1", b"hvc1", b"hev1", b"av01", b"dash", b"qt  ", b"M4V ", b"M4VH", b"M4VP", b"M4A ",
    b"f4v ", b"F4V ", b"MSNV", b"mmp4", b"ndsc", b"ndsh", b"XAVC", b"CAEP", b"caqv", b"msdh", b"cmfc",
    b"niko", b"pana", b"nvr1",
)  # fmt: skip
"""First brands of MP4, QuickTime and their relatives."""
_FAMILIES: Final = (b"3gp", b"3g2", b"3ge", b"3gg", b"3gr", b"3gs")
_ATOMS: Final = (b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
"""How QuickTime began before it had brands."""
_MARKS: Final = (
    b"\x1a\x45\xdf\xa3",  # Matroska and WebM
    b"FLV\x01",
    b"\0\0\1\xba",  # MPEG program stream
    b"\0\0\1\xb3",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",  # ASF, WMV
    b".RMF",
)
_SAYS: Final = {
    "video": "The file is a video; videos are not searched.",
    "pdf": "The file is a PDF document; export its pages as pictures.",
    "svg": "The file is an SVG drawing; export it as PNG.",
}


def other_kind(data: bytes) -> tuple[str, str] | None:
    """Reason code (``video``, ``pdf`` or ``svg``) and a sentence; None for what is none of these.

    ``data`` is the file, or at least its first `HEAD` bytes.
    """
    head = data[:HEAD]
    code = "video" if _is_video(head) else "pdf" if _is_pdf(head) else "svg" if _is_svg(head) else None
    return None if code is None else (code, _SAYS[code])


def _is_video(head: bytes) -> bool:
    kind = head[4:8]
    if kind == b"ftyp":
        return head[8:12] in _BRANDS or head[8:11] in _FAMILIES
    if head[:4] == b"RIFF":
        return head[8:12] in (b"AVI ", b"AVIX")
    if kind in _ATOMS:
        return int.from_bytes(head[:4], "big") in (0, 1) or int.from_bytes(head[:4], "big") >= 8
    return head.startswith(_MARKS) or _is_transport_stream(head)


def _is_transport_stream(head: bytes) -> bool:
    return any(
        all(head[at : at + 1] == b"G" for at in range(start, start + 4 * step, step))
        for start, step in ((0, _PACKET), (4, _PACKET + 4))
    )


def _is_pdf(head: bytes) -> bool:
    """Readers take what stands before the mark, when it is short."""
    return b"%PDF-" in head


def _is_svg(head: bytes) -> bool:
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return text.startswith(b"<svg") or (
        text.startswith((b"<?xml", b"<!--", b"<!doctype svg")) and b"<svg" in text
    )
