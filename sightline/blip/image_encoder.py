"""The role Vision of a checkpoint: its ViT, read when the first picture comes.

A server that answers from cached patches never reads it.
Shapes: B images · S side · P patches · V vision width.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from math import isqrt
from pathlib import Path

import torch
from torch import Tensor

from sightline.blip.config import VisionConfig
from sightline.blip.headers import TensorEntry
from sightline.blip.pixel_config import read_pixel_config
from sightline.blip.pixels import preprocess
from sightline.blip.uninitialised import Uninitialised
from sightline.blip.vit import VisionModel
from sightline.blip.vit_packed import PackedVision, can_pack_vision
from sightline.blip.weights import fill, folder_of, matched
from sightline.errors import CheckpointError
from sightline.types import RGB

PREFIX = "vision_model."


class ImageEncoder:
    """Pictures to pixels to patches. Thread-safe."""

    def __init__(
        self,
        folder: Path,
        config: VisionConfig,
        tensors: Mapping[str, TensorEntry],
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        """``tensors``: of the whole checkpoint (``weights.list_tensors``).

        Raises:
            CheckpointError: the processor's files or the weights' shapes do not fit the configuration.
        """
        self.pixel_config = read_pixel_config(folder, config.image_size)
        check_vision(config, tensors)
        self.patch_shape = (config.num_patches, config.hidden_size)
        """(P, V)."""
        self.dtype = dtype
        self._config, self._tensors, self._device = config, tensors, device
        self._model: VisionModel | PackedVision | None = None
        self._lock = threading.Lock()

    def preprocess(self, images: Sequence[RGB]) -> Tensor:
        """Pictures to pixels ``[B,3,S,S]`` float32 on the CPU.

        The weights are loaded here, because they are about to be needed: in a server this is the request's
        own thread, while `encode` is called in the one that computes for all.
        """
        assert self.model is not None
        return preprocess(images, self.pixel_config)

    @torch.inference_mode()
    def encode(self, pixels: Tensor) -> Tensor:
        """``[B,3,S,S]`` to patches ``[B,P,V]`` in the encoder's dtype."""
        patches: Tensor = self.model(pixels.to(self._device, self.dtype))
        return patches

    @property
    def loaded(self) -> bool:
        """Whether the weights are in memory."""
        return self._model is not None

    @property
    def model(self) -> VisionModel | PackedVision:
        """The ViT, loaded at first use."""
        if self._model is None:
            with self._lock:
                if self._model is None:
                    self._model = self._load()
        return self._model

    def _load(self) -> VisionModel | PackedVision:
        model = _empty(self._config)
        fill(model, self._tensors, prefix=PREFIX, dtype=self.dtype, device=self._device)
        return PackedVision(model) if can_pack_vision(model) else model


def check_vision(config: VisionConfig, tensors: Mapping[str, TensorEntry]) -> None:
    """That a checkpoint has the ViT which its configuration describes, from the headers alone.

    Raises:
        CheckpointError: it was made for pictures of another size, or a tensor is missing or of another shape.
    """
    positions = tensors.get(f"{PREFIX}embeddings.position_embedding")
    if positions is not None and len(positions.shape) == 3 and positions.shape[1] != config.num_patches:
        grid = isqrt(max(positions.shape[1] - 1, 0))
        raise CheckpointError(
            f"{folder_of(tensors)}: the weights are for pictures of {grid * config.patch_size} px "
            f"({positions.shape[1]} patches), config.json says {config.image_size} px "
            f"({config.num_patches}); take both of the same checkpoint."
        )
    matched(_empty(config), tensors, prefix=PREFIX)


def _empty(config: VisionConfig) -> VisionModel:
    with torch.device("meta"), Uninitialised():
        return VisionModel(config)
