"""Values of a ``config.json``, checked before anything is built of them. Imports no torch.

A width of a billion or a list where a number belongs must end in a sentence, not in a MemoryError.
"""

from __future__ import annotations

from dataclasses import fields
from math import isfinite
from typing import Any, TypeVar

from sightline.blip.headers import shown
from sightline.errors import CheckpointError

T = TypeVar("T")

ACTIVATIONS = (
    "gelu", "gelu_python", "gelu_new", "gelu_fast", "gelu_accurate", "gelu_pytorch_tanh", "gelu_python_tanh",
    "quick_gelu", "relu", "silu", "swish",
)  # fmt: skip
"""What may stand as ``hidden_act``."""
_MOST = {
    "hidden_size": 1 << 16,
    "encoder_hidden_size": 1 << 16,
    "image_text_hidden_size": 1 << 16,
    "intermediate_size": 1 << 18,
    "num_hidden_layers": 512,
    "num_attention_heads": 1024,
    "num_query_tokens": 4096,
    "cross_attention_frequency": 512,
    "image_size": 8192,
    "patch_size": 1024,
    "max_position_embeddings": 1 << 20,
    "num_layers": 512,
    "num_decoder_layers": 512,
    "num_heads": 1024,
    "num_key_value_heads": 1024,
    "d_model": 1 << 16,
    "d_kv": 1 << 16,
    "d_ff": 1 << 18,
    "ffn_dim": 1 << 18,
    "head_dim": 1 << 16,
    "word_embed_proj_dim": 1 << 16,
}
_LANGUAGE_SIZES = frozenset((*_MOST, "vocab_size"))
_MOST_ROWS = 1 << 22
"""Of a word embedding, and so the bound of every token id."""


def pick(kind: type[T], raw: object) -> T:
    """A dataclass of the fields that a section of ``config.json`` has; the defaults for the others.

    Raises:
        CheckpointError: the section is no object, or a value in it is of another type or beyond reason.
    """
    if not isinstance(raw, dict):
        raise CheckpointError(f"The checkpoint's config.json has {shown(raw)} where a section belongs.")
    kinds = {field.name: str(field.type) for field in fields(kind)}  # type: ignore[arg-type]
    given = {name: value for name, value in raw.items() if name in kinds and value is not None}
    for name, value in given.items():
        _check(name, value, kinds[name])
    made = kind(**given)
    _check_together({name: vars(made)[name] for name in kinds})
    return made


def section(raw: dict[str, Any], name: str) -> dict[str, Any]:
    """A section of ``config.json``; empty where there is none.

    Raises:
        CheckpointError: it is no object.
    """
    found = raw.get(name)
    if found is not None and not isinstance(found, dict):
        raise CheckpointError(f"The checkpoint's config.json has {shown(found)} where {name} belongs.")
    return dict(found or {})


def count(raw: dict[str, Any], name: str, default: int) -> int:
    """A whole number of ``config.json``, at least 1. Raises CheckpointError: it is something else."""
    found = raw.get(name)
    if found is None:
        return default
    _check(name, found, "int")
    return int(found)


def check_language_values(raw: dict[str, Any]) -> None:
    """That no size of a language model, which transformers' own classes read, is of another type or absurd.

    Raises:
        CheckpointError: one is.
    """
    for name, value in raw.items():
        if name in _LANGUAGE_SIZES and value is not None:
            _check(name, value, "int")


def _check(name: str, value: object, kind: str) -> None:
    if kind == "int":
        least, most = (0 if name.endswith("_id") else 1), _MOST.get(name, _MOST_ROWS)
        if type(value) is not int or not least <= value <= most:
            raise _refused(name, value, f"a whole number from {least} to {most}")
    elif kind == "float":
        if type(value) not in (int, float) or not isfinite(value) or not 0 <= value < 1:  # type: ignore[arg-type,operator]
            raise _refused(name, value, "a number from 0 to below 1")
    elif kind == "bool":
        if type(value) is not bool:
            raise _refused(name, value, "true or false")
    elif name == "hidden_act" and (not isinstance(value, str) or value not in ACTIVATIONS):
        raise _refused(name, value, f"one of {', '.join(ACTIVATIONS)}")


def _check_together(made: dict[str, Any]) -> None:
    width, heads = made.get("hidden_size"), made.get("num_attention_heads")
    if width is not None and heads is not None and width % heads:
        raise CheckpointError(
            f"The checkpoint's config.json has a hidden_size of {width}, which {heads} num_attention_heads "
            "do not divide; take the config.json of the original."
        )
    side, patch = made.get("image_size"), made.get("patch_size")
    if side is not None and patch is not None and patch > side:
        raise _refused("patch_size", patch, f"at most the image_size of {side}")


def _refused(name: str, value: object, wanted: str) -> CheckpointError:
    return CheckpointError(
        f"The checkpoint's config.json has {shown(value)} as {name}, where Sightline needs {wanted}."
    )
