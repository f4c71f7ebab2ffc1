"""A checkpoint's language model, as transformers' own class, from the checkpoint's safetensors files.

Never with code from the folder: the class is one of the library's, by the type in the configuration.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from sightline.blip.config_language import WriterConfig
from sightline.blip.headers import FLOATS, TensorEntry
from sightline.blip.uninitialised import Uninitialised
from sightline.blip.weights import matched
from sightline.errors import CheckpointError, InputError

PREFIX = "language_model."
_OURS = frozenset(("attn_implementation", "_attn_implementation"))
"""Of a configuration, what says how to compute and not what: the library would fetch code for some of it."""


def load_language_model(
    folder: Path,
    config: WriterConfig,
    tensors: Mapping[str, TensorEntry],
    dtype: torch.dtype,
    device: torch.device,
    device_map: str | None,
) -> Any:
    """The model in ``dtype`` on ``device``; ``device_map`` "auto": spread by accelerate over what is there.

    ``tensors``: of the whole checkpoint (``weights.list_tensors``).

    Raises:
        CheckpointError: the configuration makes no model, or a tensor is missing or of another shape.
        InputError: an unknown ``device_map``, or one without accelerate.
    """
    from transformers.utils import logging

    _check_map(device_map)
    kind, text_config = language_class(folder, config)
    empty = empty_language_model(kind, text_config)
    taken = matched(empty, tensors, prefix=PREFIX, tied=dict(empty.all_tied_weights_keys))
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        model = kind.from_pretrained(
            None, config=text_config, state_dict=_slices(taken), dtype=dtype, device_map=device_map
        )
    finally:
        if shown:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]
    if device_map is None:
        model.to(device)
    return model.eval().requires_grad_(False)


def language_class(folder: Path, config: WriterConfig) -> tuple[Any, Any]:
    """transformers' class and configuration.

    Raises:
        CheckpointError: the library makes nothing of ``text_config``.
    """
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM

    kinds = AutoModelForCausalLM if config.decoder_only else AutoModelForSeq2SeqLM
    said = {name: value for name, value in config.text_config.items() if name not in _OURS}
    if said.get("quantization_config") is not None:
        raise CheckpointError(
            f"{folder} has a language model with a quantization_config; take the weights that it was made "
            f"from, in {', '.join(FLOATS)}."
        )
    try:
        made = AutoConfig.for_model(said.pop("model_type"), **said)
    except Exception as error:  # the library raises what it likes
        raise CheckpointError(
            f"{folder}: the language model's configuration cannot be used ({type(error).__name__}); copy "
            "config.json again."
        ) from error
    return kinds._model_mapping[type(made)], made


def empty_language_model(kind: Any, text_config: Any) -> Any:
    """The model on the meta device: names and shapes without values.

    Raises:
        CheckpointError: the library makes nothing of the configuration.
    """
    try:
        with torch.device("meta"), Uninitialised():
            return kind(text_config)
    except Exception as error:  # the library raises what it likes
        raise CheckpointError(
            f"The language model's configuration cannot be used ({type(error).__name__}); copy config.json "
            "again."
        ) from error


def _slices(taken: Mapping[str, TensorEntry]) -> dict[str, Any]:
    """Tensors that are read when they are placed, so that never two copies of all are held."""
    files: dict[Path, Any] = {
        path: safe_open(path, framework="pt") for path in {one.path for one in taken.values()}
    }
    return {name: files[one.path].get_slice(one.name) for name, one in taken.items()}


def _check_map(device_map: str | None) -> None:
    if device_map not in (None, "auto"):
        raise InputError(f"The device map {device_map!r} is unknown; use auto, or none.")
    if device_map is not None and importlib.util.find_spec("accelerate") is None:
        raise InputError("A device map needs the package accelerate; install sightline[train].")
