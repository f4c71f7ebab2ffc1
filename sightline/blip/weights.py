"""Weights from a checkpoint's safetensors files into modules that were built without any.

    tensors = list_tensors(folder)                      names, types, shapes; nothing is read yet
    with torch.device("meta"), Uninitialised(): …       a module without values
    fill(module, tensors, prefix="vision_model.", dtype=…, device=…)

Headers are checked before a byte of weights is read, so a missing tensor or another shape costs no memory.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from sightline.blip.checkpoint import list_tensors as list_tensors
from sightline.blip.headers import FLOATS, TensorEntry, shown
from sightline.errors import CheckpointError


def read_tensors(entries: Iterable[TensorEntry]) -> Iterator[tuple[str, Tensor]]:
    """Name and tensor of each entry, as it lies in its file, on the CPU; one at a time.

    Raises:
        CheckpointError: a file changed or vanished since its header was read.
    """
    by_file: dict[Path, list[TensorEntry]] = {}
    for entry in entries:
        by_file.setdefault(entry.path, []).append(entry)
    for path, held in by_file.items():
        try:
            with safe_open(path, framework="pt") as file:
                for entry in sorted(held, key=lambda one: one.start):
                    yield entry.name, file.get_tensor(entry.name)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(
                f"The weights {path} cannot be read ({error}); download the file again."
            ) from error


def fill(
    module: nn.Module,
    tensors: Mapping[str, TensorEntry],
    *,
    prefix: str = "",
    dtype: torch.dtype,
    device: torch.device,
    tied: Mapping[str, str] | None = None,
    optional: Collection[str] = (),
) -> None:
    """Put a checkpoint's tensors in place of the empty ones of a module that was built on the meta device.

    Every parameter and persistent buffer must be in the checkpoint, under ``prefix`` and the module's own
    name; what else the checkpoint holds (position ids of old files, other parts) is left out. Floating-point
    tensors become ``dtype``, one after the other, so that never two copies of all are held.

    Args:
        tensors: of the whole checkpoint (`list_tensors`).
        tied: names in the module of tensors that a file may leave out because another one, the value, is the
            same: ``{"lm_head.weight": "model.decoder.embed_tokens.weight"}``. They then share memory.
        optional: names in the module that may be missing; they stay as they are.

    Raises:
        CheckpointError: a tensor is missing (the first is named), has another shape, or is of a type that
            weights are not loaded from.
    """
    taken = matched(module, tensors, prefix=prefix, tied=tied, optional=optional)
    wanted, names = module.state_dict(), dict[str, list[str]]()
    for name, entry in taken.items():
        names.setdefault(entry.name, []).append(name)
    loaded: dict[str, Tensor] = {}
    for found, value in read_tensors({entry.name: entry for entry in taken.values()}.values()):
        kind = dtype if wanted[names[found][0]].is_floating_point() else value.dtype
        placed = value.to(device, kind)
        loaded.update(dict.fromkeys(names[found], placed))
    module.load_state_dict(loaded, strict=False, assign=True)
    module.eval().requires_grad_(False)


def matched(
    module: nn.Module,
    tensors: Mapping[str, TensorEntry],
    *,
    prefix: str = "",
    tied: Mapping[str, str] | None = None,
    optional: Collection[str] = (),
) -> dict[str, TensorEntry]:
    """The checkpoint's entry for each parameter and persistent buffer of a module, by the module's names.

    Arguments and errors as for `fill`; no weights are read.
    """
    wanted = {name: value for name, value in module.state_dict().items() if name not in optional}
    found = _found(wanted, tensors, prefix, tied or {})
    missing = [name for name in wanted if name not in found]
    if missing:
        raise CheckpointError(
            f"{folder_of(tensors)} lacks {len(missing)} tensors that this model needs, such as "
            f"{prefix}{missing[0]}."
        )
    for name, value in wanted.items():
        _check(found[name], value)
    return found


def folder_of(tensors: Mapping[str, TensorEntry]) -> str:
    """Where the checkpoint lies, for a sentence."""
    return str(next(iter(tensors.values())).path.parent) if tensors else "The checkpoint"


def _found(
    wanted: Iterable[str], tensors: Mapping[str, TensorEntry], prefix: str, tied: Mapping[str, str]
) -> dict[str, TensorEntry]:
    found = {name: tensors[prefix + name] for name in wanted if prefix + name in tensors}
    same = {name: tensors[prefix + other] for name, other in tied.items() if prefix + other in tensors}
    return {name: entry for name, entry in same.items() if name in wanted} | found


def _check(entry: TensorEntry, value: Tensor) -> None:
    if entry.shape != tuple(value.shape):
        raise CheckpointError(
            f"{entry.path.parent}: {entry.name} is {list(entry.shape)}, its config says {list(value.shape)}."
        )
    if value.is_floating_point() and entry.dtype not in FLOATS:
        raise CheckpointError(
            f"The tensor {shown(entry.name)} in {entry.path} is of the type {entry.dtype}; weights are "
            f"loaded from {', '.join(FLOATS)}."
        )
