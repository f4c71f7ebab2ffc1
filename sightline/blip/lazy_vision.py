"""A checkpoint's image encoder, loaded at the first picture: a server that answers from what is kept of
images never reads it.

Shapes: B images · S pixels along one side · P patches · V vision width.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from sightline.blip import checkpoint
from sightline.blip.config import VisionConfig
from sightline.blip.pixels import preprocess, read_pixel_config
from sightline.blip.precision import vision_dtype
from sightline.blip.uninitialised import Uninitialised
from sightline.blip.vit import VisionModel
from sightline.blip.vit_packed import PackedVision, can_pack_vision
from sightline.errors import CheckpointError
from sightline.types import RGB

PREFIX = "vision_model."


class LazyVision:
    """Pictures to patches. Thread-safe."""

    def __init__(self, folder: Path, config: VisionConfig, dtype: str | None, device: torch.device) -> None:
        self.dtype = vision_dtype(dtype, device, config.hidden_size)
        self.pixel_config = read_pixel_config(folder, config.image_size)
        self._folder, self._config, self._device = folder, config, device
        self._model: VisionModel | PackedVision | None = None
        self._lock = threading.Lock()

    @property
    def loaded(self) -> bool:
        """Whether the weights are in memory."""
        return self._model is not None

    @property
    def model(self) -> VisionModel | PackedVision:
        """The image encoder; the first call loads it."""
        if self._model is None:
            with self._lock:
                if self._model is None:
                    self._model = self._load()
        return self._model

    def preprocess(self, images: Sequence[RGB]) -> Tensor:
        """Pictures to pixels ``[B,3,S,S]`` float32 on the CPU.

        The image encoder is loaded here, because it is about to be needed: in a server this is the request's
        own thread, while `encode` is called in the one that computes for all.
        """
        assert self.model is not None
        return preprocess(images, self.pixel_config)

    @torch.inference_mode()
    def encode(self, pixels: Tensor) -> Tensor:
        """``[B,3,S,S]`` to patches ``[B,P,V]`` in the image encoder's dtype."""
        patches: Tensor = self.model(pixels.to(self._device, self.dtype))
        return patches

    def _load(self) -> VisionModel | PackedVision:
        with torch.device("meta"), Uninitialised():
            model = VisionModel(self._config)
        fill(model, read(self._folder, PREFIX), self.dtype, self._device, self._folder)
        return PackedVision(model) if can_pack_vision(model) else model


def read(folder: Path, *prefixes: str) -> dict[str, Tensor]:
    """The tensors whose names begin with one of several prefixes; of one prefix, without it."""
    found = {}
    for path, names in checkpoint.tensor_names(checkpoint.weight_files(folder)):
        with safe_open(path, framework="pt") as file:
            found.update({name: file.get_tensor(name) for name in names if name.startswith(prefixes)})
    return found if len(prefixes) > 1 else {n.removeprefix(prefixes[0]): one for n, one in found.items()}


def fill(
    module: torch.nn.Module,
    tensors: dict[str, Tensor],
    dtype: torch.dtype,
    device: torch.device,
    folder: Path,
) -> None:
    """Put tensors in place of a module's empty ones.

    Raises:
        CheckpointError: one is missing or has another shape.
    """
    wanted = module.state_dict()
    missing = [name for name in wanted if name not in tensors]
    if missing:
        raise CheckpointError(
            f"{folder} lacks {len(missing)} tensors that this model needs, such as {missing[0]}."
        )
    for name, value in wanted.items():
        if tensors[name].shape != value.shape:
            raise CheckpointError(
                f"{folder}: {name} is {list(tensors[name].shape)}, its config says {list(value.shape)}."
            )
    module.load_state_dict({name: tensors[name].to(device, dtype) for name in wanted}, assign=True)
    module.eval().requires_grad_(False)
