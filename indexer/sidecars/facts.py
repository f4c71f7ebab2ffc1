"""What a file beside a picture says of it: a caption a line, a JSON object, the number of a class."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sightline.errors import NotJsonError
from sightline.indexer.items import Origin, SourceItem
from sightline.store.json_text import read_json

MOST_BYTES: Final = 1 << 20
"""Of one such file."""
# fmt: off
CAPTION_NAMES: Final = (
    "caption", "captions", "text", "texts", "sentence", "sentences", "description", "prompt",
    "alt_text", "alt",
)
"""Names under which tables and JSON keep captions; the first that is there counts."""
PICTURES: Final = frozenset((
    "jpg", "jpeg", "jpe", "jfif", "png", "webp", "gif", "bmp", "dib", "tif", "tiff", "heic", "heif",
    "avif", "jxl", "jp2", "j2k", "jpx", "tga", "pcx", "ico", "ppm", "pgm", "pbm", "pnm", "qoi", "psd",
    "dng", "cr2", "cr3", "crw", "nef", "nrw", "arw", "srf", "sr2", "raf", "orf", "rw2", "pef", "srw",
    "raw", "svg",
))
# fmt: on
CAPTIONS: Final = ("txt", "caption", "text")
SIDECARS: Final = (*CAPTIONS, "json", "cls")
_OURS: Final = {"id", "texts"}
_IMG2DATASET: Final = {"url", "key", "status"}
_INNER: Final = ("raw", "text", "caption")
"""Where captions that are objects keep their words (COCO's ``sentences``)."""


@dataclass(frozen=True)
class Facts:
    """``image_id``: only our own exports name it. ``faults``: of a file by its name, why it says nothing."""

    caption: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    image_id: str | None = None
    kind: str = ""
    faults: tuple[tuple[str, str], ...] = ()


def told(item: SourceItem, facts: Facts | None, origin: Origin | None = None) -> SourceItem:
    """The item with what is known of it."""
    if facts is None:
        return item
    return SourceItem(
        facts.image_id or item.image_id, item.uri, facts.caption, facts.metadata, item.read,
        origin=origin, written=item.written,
    )  # fmt: skip


def ending_of(name: str) -> str:
    """After the last dot, in small letters."""
    stem, dot, ending = name.rpartition(".")
    return ending.lower() if dot and stem else ""


def stem_of(name: str) -> str:
    """Before the last dot."""
    return name.rpartition(".")[0] or name


def read_facts(files: Mapping[str, bytes]) -> Facts:
    """What the files beside one picture say together; ``files`` by their names."""
    caption, from_json, kind = "", Facts(), ""
    metadata: dict[str, Any] = {}
    faults = []
    for name, data in files.items():
        ending = ending_of(name)
        try:
            text = data.decode("utf-8-sig")
            if "\0" in text:
                faults.append((name, f"{name} is no text, it has NUL characters"))
            elif ending == "json":
                from_json = json_facts(storable(read_json(text)))
                kind = from_json.kind
            elif ending == "cls":
                metadata["class"] = _number(text.strip())
            else:
                caption = caption or caption_of(text) or ""
        except UnicodeDecodeError:
            faults.append((name, f"{name} is not UTF-8"))
        except NotJsonError as error:
            faults.append((name, f"{name} is no JSON: {str(error).removesuffix('.')}"))
    found = {**from_json.metadata, **metadata}
    return Facts(caption or from_json.caption, found, from_json.image_id, kind, tuple(faults))


def storable(value: Any) -> Any:
    """The same JSON value. Raises NotJsonError: a text or a number in it is none that a database keeps."""
    try:
        said = json.dumps(value, ensure_ascii=False, allow_nan=False)
        said.encode()
    except UnicodeEncodeError as error:
        raise NotJsonError("A text in it has half a letter.") from error
    except ValueError as error:
        raise NotJsonError("A number in it is too large.") from error
    if "\\u0000" in said.replace("\\\\", ""):
        raise NotJsonError("A text in it has a NUL character.")
    return value


def json_facts(value: Any) -> Facts:
    """What a JSON value says: an object is metadata with a caption in it, a list of texts is captions."""
    if not isinstance(value, dict):
        caption = caption_of(value)
        return Facts(caption) if caption else Facts(metadata={"json": value})
    if set(value) == _OURS and isinstance(value["texts"], list) and isinstance(value["id"], str):
        return Facts(image_id=value["id"] or None)  # its captions stand in the .txt beside it
    name = next((name for name in CAPTION_NAMES if caption_of(value.get(name))), None)
    metadata = {key: cell for key, cell in value.items() if key != name and cell is not None}
    kind = "img2dataset" if set(value) >= _IMG2DATASET else ""
    return Facts(None if name is None else caption_of(value[name]), metadata, kind=kind)


def caption_of(value: Any) -> str | None:
    """Text, or texts in a list, as captions one a line; None for what is none."""
    if isinstance(value, str):
        lines = [line.strip() for line in value.splitlines()]
        return "\n".join(line for line in lines if line) or None
    if not isinstance(value, list):
        return None
    texts = [_words(inner) for inner in value]
    if not all(isinstance(text, str) for text in texts):
        return None
    lines = [" ".join(text.split()) for text in texts if isinstance(text, str)]
    return "\n".join(dict.fromkeys(line for line in lines if line)) or None


def _words(value: Any) -> Any:
    if isinstance(value, dict):
        return next((value[name] for name in _INNER if isinstance(value.get(name), str)), None)
    return value


def _number(text: str) -> int | str:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 18 else text
