"""Weights in and out: a network from a checkpoint folder, and a folder that stock transformers loads."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from sightline.blip.config import read_config
from sightline.blip.itg import ItgHead, load_itg_head, save_itg_head
from sightline.blip.network import Blip2Network
from sightline.blip.weights import list_tensors, read_tensors
from sightline.errors import CheckpointError
from sightline.training.publication import WEIGHTS, publication

INITIAL_RANGE = 0.02
SKIPPED = ("model.safetensors.index.json", "report.json", "best.json", "before.json")


def load_network(
    folder: Path, with_vision: bool, fresh: Literal["none", "qformer", "all"], seed: int
) -> tuple[Blip2Network, ItgHead]:
    """A trainable network in fp32 and its ITG head; ``fresh`` parts are drawn anew from ``seed``.

    Raises:
        CheckpointError: tensors are missing.
    """
    config = read_config(folder)
    network = Blip2Network(config, with_vision=with_vision)
    wanted = network.state_dict()
    if fresh != "all":
        loaded = {name: tensor.float() for name, tensor in _tensors(folder, set(wanted))}
        kept = {n: t for n, t in loaded.items() if fresh == "none" or n.startswith("vision_model.")}
        missing = [name for name in wanted if name not in kept and fresh == "none"]
        if missing:
            raise CheckpointError(
                f"{folder} lacks {len(missing)} tensors that training needs, {missing[0]} for one."
            )
    else:
        kept = {}
    if fresh != "none":
        draw(network, seed)
    network.load_state_dict(kept, strict=False)
    head = None if fresh != "none" else load_itg_head(folder, config.qformer_config)
    return network, head or _new_head(network, seed)


def draw(module: nn.Module, seed: int) -> None:
    """Draw every parameter: normal(0, 0.02) in matrices and embeddings, 0 in biases, 1 in norms' weights.

    Query tokens too: transformers leaves them at zero, and equal query tokens stay equal for ever.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if parameter.ndim > 1:
                parameter.normal_(0.0, INITIAL_RANGE, generator=generator)
            else:
                parameter.fill_(float("norm" in name.lower() and name.endswith("weight")))


def _new_head(network: Blip2Network, seed: int) -> ItgHead:
    head = ItgHead(network.config.qformer_config)
    draw(head, seed + 1)
    return head


def _tensors(folder: Path, wanted: set[str] | None = None) -> Iterator[tuple[str, Tensor]]:
    found = list_tensors(folder)
    yield from read_tensors(entry for name, entry in found.items() if wanted is None or name in wanted)


def publish(
    source: Path,
    out: Path,
    trained: Mapping[str, Tensor],
    head: ItgHead | None,
    extra: Mapping[str, str] | None = None,
) -> None:
    """Make ``out`` what ``source`` is with the trained tensors in place of its own, everything in fp32.

    Tensors that were not trained are copied from the source's files and not from the running network, which
    may hold a frozen image encoder in less precision. ``extra`` are small files, name to text, which appear
    together with the model.

    Raises:
        StorageError: the disk is full or refuses; ``out`` is as it was.
    """
    with publication(out) as aside:
        for path in (*source.glob("*.json"), *source.glob("*.txt")):
            if path.name not in SKIPPED and path.name != "config.json":
                shutil.copyfile(path, aside / path.name)
        config = json.loads((source / "config.json").read_text())
        config.pop("torch_dtype", None)
        text = json.dumps({**config, "dtype": "float32"}, indent=2) + "\n"
        for name, content in {"config.json": text, **(extra or {})}.items():
            (aside / name).write_text(content, encoding="utf-8")
        if head is not None:
            save_itg_head(aside, head, torch.float32)
        tensors = {name: _whole(tensor) for name, tensor in _tensors(source)}
        tensors |= {name: tensor.detach().float().cpu().contiguous() for name, tensor in trained.items()}
        save_file(tensors, aside / WEIGHTS, metadata={"format": "pt"})


def _whole(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor
