"""Which column of a table holds the pictures, which their captions, and what of the rest can be metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sightline.indexer.sidecars.facts import CAPTION_NAMES

# fmt: off
_PICTURES: Final = (
    "image", "jpg", "jpeg", "png", "webp", "img", "picture", "photo", "image_bytes", "img_bytes",
    "bytes", "content",
)
# fmt: on
_IDS: Final = ("id", "key")


@dataclass(frozen=True)
class Columns:
    """``picture`` holds bytes, or objects ``{bytes, path}``. ``classes``: names of numbered labels."""

    picture: str
    captions: str | None
    identity: str | None
    metadata: tuple[str, ...]
    classes: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def read(self) -> list[str]:
        """What rows are made of, pictures aside."""
        return [*self.metadata, *(name for name in (self.captions, self.identity) if name is not None)]


def features_of(schema: Any) -> Mapping[str, Any]:
    """What Hugging Face wrote of the columns into a schema; nothing where it did not."""
    try:
        written = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, ValueError, TypeError, RecursionError):
        return {}
    return written if isinstance(written, dict) else {}


def columns_of(schema: Any, features: Mapping[str, Any]) -> Columns | None:
    """None when no column holds pictures."""
    picture = _picture(schema, features)
    if picture is None or len(set(schema.names)) < len(schema.names):
        return None
    others = [one.name for one in schema if one.name != picture and _can_be_metadata(one.type)]
    captions = next(
        (name for name in CAPTION_NAMES if name in others and _is_words(schema.field(name).type)), None
    )
    identity = next((name for name in _IDS if name in others and _is_id(schema.field(name).type)), None)
    return Columns(
        picture,
        captions,
        identity,
        tuple(name for name in others if name not in (captions, identity)),
        {name: labels for name in others if (labels := _labels(features.get(name)))},
    )


def _picture(schema: Any, features: Mapping[str, Any]) -> str | None:
    declared = [
        name for name, kind in features.items() if isinstance(kind, dict) and kind.get("_type") == "Image"
    ]
    held = [one.name for one in schema if _is_bytes(one.type) or _is_nested(one.type)]
    for names in (
        [name for name in declared if name in held],
        [n for n in held if _is_nested(schema.field(n).type)],
    ):
        if names:
            return "image" if "image" in names else names[0]
    known = [name for name in _PICTURES if name in held]
    if known:
        return known[0]
    return held[0] if len(held) == 1 and "uri" not in schema.names else None


def _is_bytes(kind: Any) -> bool:
    import pyarrow

    return bool(pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind))


def _is_nested(kind: Any) -> bool:
    """Whether it is an object with ``bytes``, as Hugging Face keeps pictures."""
    import pyarrow

    return pyarrow.types.is_struct(kind) and any(one.name == "bytes" and _is_bytes(one.type) for one in kind)


def _can_be_metadata(kind: Any) -> bool:
    import pyarrow

    types = pyarrow.types
    if isinstance(kind, pyarrow.BaseExtensionType) or types.is_fixed_size_binary(kind) or _is_bytes(kind):
        return False
    if types.is_duration(kind) or types.is_interval(kind) or types.is_map(kind):
        return False  # JSON has nothing for them, and a row is not lost for a column that is not needed
    return all(_can_be_metadata(kind.field(at).type) for at in range(kind.num_fields))


def _is_words(kind: Any) -> bool:
    """Whether it is text, or a list of texts or of objects with texts."""
    import pyarrow

    types = pyarrow.types
    if types.is_list(kind) or types.is_large_list(kind):
        return types.is_struct(kind.value_type) or _is_words(kind.value_type)
    return bool(types.is_string(kind) or types.is_large_string(kind))


def _is_id(kind: Any) -> bool:
    import pyarrow

    types = pyarrow.types
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_integer(kind))


def _labels(kind: Any) -> list[str]:
    names = kind.get("names") if isinstance(kind, dict) and kind.get("_type") == "ClassLabel" else None
    return names if isinstance(names, list) and all(isinstance(name, str) for name in names) else []
