"""A checkpoint's language model, as transformers' own class, from the checkpoint's safetensors files.

Never with code from the folder: the class is one of the library's, by the type in the configuration.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from sightline.blip import checkpoint
from sightline.blip.config_language import WriterConfig
from sightline.blip.uninitialised import Uninitialised
from sightline.errors import CheckpointError, InputError

PREFIX = "language_model."
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def language_dtype(name: str | None, device: torch.device) -> torch.dtype:
    """The type called ``name``; for None bfloat16 on GPUs that have it, float32 elsewhere.

    Raises:
        InputError: there is no such type.
    """
    if name is None:
        fast = device.type == "cuda" and torch.cuda.is_bf16_supported()
        return torch.bfloat16 if fast else torch.float32
    if name not in _DTYPES:
        raise InputError(f"The dtype {name!r} is unknown; use one of {', '.join(_DTYPES)}.")
    return _DTYPES[name]


def load_language_model(
    folder: Path, config: WriterConfig, dtype: torch.dtype, device: torch.device, device_map: str | None
) -> Any:
    """The model in ``dtype`` on ``device``; with ``device_map`` "auto" spread by accelerate over what is there.

    Raises:
        CheckpointError: the configuration makes no model, or a tensor is missing or of another shape.
        InputError: an unknown ``device_map``, or one without accelerate.
    """
    from transformers.utils import logging

    _check_map(device_map)
    kind, text_config = language_class(folder, config)
    names = _check_tensors(folder, kind, text_config)
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        model = kind.from_pretrained(
            None, config=text_config, state_dict=_slices(names), dtype=dtype, device_map=device_map
        )
    finally:
        if shown:
            logging.enable_progress_bar()
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
    said = dict(config.text_config)
    try:
        made = AutoConfig.for_model(said.pop("model_type"), **said)
    except Exception as error:  # the library raises what it likes
        raise CheckpointError(
            f"{folder}: the language model's configuration cannot be used ({type(error).__name__}); copy "
            "config.json again."
        ) from error
    return kinds._model_mapping[type(made)], made


def empty_language_model(kind: Any, text_config: Any) -> Any:
    """The model on the meta device: names and shapes without values."""
    with torch.device("meta"), Uninitialised():
        return kind(text_config)


def _check_tensors(folder: Path, kind: Any, text_config: Any) -> dict[str, tuple[Path, str]]:
    """Where each tensor of the language model lies."""
    empty = empty_language_model(kind, text_config)
    found = {
        name.removeprefix(PREFIX): (path, name)
        for path, names in checkpoint.tensor_names(checkpoint.weight_files(folder))
        for name in names
        if name.startswith(PREFIX)
    }
    tied = {**empty.all_tied_weights_keys}
    missing = [name for name in empty.state_dict() if name not in found and tied.get(name) not in found]
    if missing:
        raise CheckpointError(
            f"{folder} lacks {len(missing)} tensors of its language model, such as {PREFIX}{missing[0]}."
        )
    return {name: place for name, place in found.items() if name in empty.state_dict()}


def _slices(places: dict[str, tuple[Path, str]]) -> dict[str, Any]:
    """Tensors that are read when they are placed, so that never two copies of all are held."""
    files: dict[Path, Any] = {}
    slices = {}
    for name, (path, full) in places.items():
        if path not in files:
            files[path] = safe_open(path, framework="pt").__enter__()
        slices[name] = files[path].get_slice(full)
    return slices


def _check_map(device_map: str | None) -> None:
    import importlib.util

    if device_map not in (None, "auto"):
        raise InputError(f"The device map {device_map!r} is unknown; use auto, or none.")
    if device_map is not None and importlib.util.find_spec("accelerate") is None:
        raise InputError("A device map needs the package accelerate; install sightline[train].")
