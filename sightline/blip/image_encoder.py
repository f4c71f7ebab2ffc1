"""The role Vision of a checkpoint: its ViT, read when the first picture comes.

A server that answers from cached patches never reads it.
Shapes: B images · S side · P patches · V vision width.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from sightline.blip.config import VisionConfig
from sightline.blip.headers import TensorEntry
from sightline.blip.pixels import preprocess, read_pixel_config
from sightline.blip.uninitialised import Uninitialised
from sightline.blip.vit import VisionModel
from sightline.blip.vit_packed import PackedVision, can_pack_vision
from sightline.blip.weights import fill
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
            CheckpointError: the processor's files do not fit the configuration.
        """
        self.pixel_config = read_pixel_config(folder, config.image_size)
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
        with torch.device("meta"), Uninitialised():
            model = VisionModel(self._config)
        fill(model, self._tensors, prefix=PREFIX, dtype=self.dtype, device=self._device)
        return PackedVision(model) if can_pack_vision(model) else model
