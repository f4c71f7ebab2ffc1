"""A stock model that writes, to be trained; and the folder that comes of it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from sightline.blip.checkpoint import read_config_json
from sightline.blip.headers import TensorEntry
from sightline.blip.weights import list_tensors, read_tensors
from sightline.errors import CheckpointError
from sightline.training.publication import publication
from sightline.training.weights import SKIPPED

if TYPE_CHECKING:
    from sightline.training.answering import Stock

SMALL_FILES = ("*.json", "*.txt", "*.model")
QFORMER_TOKENIZER = "qformer_tokenizer"


def load_stock(folder: Path) -> Stock:
    """The stock model in fp32 on the CPU.

    Raises:
        CheckpointError: it is no model that writes with a language model, or tensors are missing.
    """
    from transformers import Blip2ForConditionalGeneration, InstructBlipForConditionalGeneration
    from transformers.utils import logging

    kinds: dict[str, Any] = {
        "Blip2ForConditionalGeneration": Blip2ForConditionalGeneration,
        "InstructBlipForConditionalGeneration": InstructBlipForConditionalGeneration,
    }
    named = read_config_json(folder).get("architectures")
    kind = str(named[0]) if isinstance(named, list) and named else "model without a name"
    if kind not in kinds:
        raise CheckpointError(
            f"{folder} holds a {kind}; models that are trained to write are {' and '.join(kinds)}."
        )
    list_tensors(folder)  # refuses pickles, and files that are damaged, before the library meets them
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        stock, told = kinds[kind].from_pretrained(
            folder, dtype=torch.float32, local_files_only=True, output_loading_info=True
        )
    finally:
        if shown:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]
    missing = sorted(told["missing_keys"])
    if missing:
        raise CheckpointError(
            f"{folder} lacks {len(missing)} tensors that training needs, {missing[0]} for one."
        )
    return stock  # type: ignore[no-any-return]


def publish_writer(
    source: Path, out: Path, trained: Mapping[str, Tensor], extra: Mapping[str, str] | None = None
) -> None:
    """Make ``out`` what ``source`` is with the trained tensors, in fp32, in place of its own.

    What was not trained is copied as it is, file by file, so that never more than one file is held in memory.

    Raises:
        CheckpointError: ``source`` has no tensor of a trained one's name.
        StorageError: the disk is full or refuses; ``out`` is as it was.
    """
    tensors = list_tensors(source)
    unknown = [name for name in trained if name not in tensors]
    if unknown:
        raise CheckpointError(f"{source} has no tensor {unknown[0]}, which was trained.")
    if (source / QFORMER_TOKENIZER).is_dir():
        shutil.copytree(source / QFORMER_TOKENIZER, out / QFORMER_TOKENIZER, dirs_exist_ok=True)
    with publication(out) as aside:
        for pattern in SMALL_FILES:
            for path in source.glob(pattern):
                if path.name not in SKIPPED[1:]:
                    shutil.copyfile(path, aside / path.name)
        for name, text in (extra or {}).items():
            (aside / name).write_text(text, encoding="utf-8")
        for path, entries in _by_file(tensors).items():
            held = dict(read_tensors(entries))
            held |= {
                name: trained[name].detach().float().cpu().contiguous() for name in held if name in trained
            }
            save_file(held, aside / path.name, metadata={"format": "pt"})


def _by_file(tensors: Mapping[str, TensorEntry]) -> dict[Path, list[TensorEntry]]:
    files: dict[Path, list[TensorEntry]] = {}
    for entry in tensors.values():
        files.setdefault(entry.path, []).append(entry)
    return files
