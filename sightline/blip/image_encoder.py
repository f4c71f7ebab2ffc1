"""The role Vision of a checkpoint: its ViT, read when the first picture comes.

A server that answers from cached patches never reads it.
Shapes: B images · S side · P patches · V vision width.
"""

from __future__ import annotations

import threading
import time
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
from sightline.blip.vit_int8 import Int8Vision, load_int8_vision
from sightline.blip.vit_packed import PackedVision, can_pack_vision
from sightline.blip.weights import fill, folder_of, matched
from sightline.errors import CheckpointError
from sightline.types import RGB

PREFIX = "vision_model."
AnyVision = VisionModel | PackedVision | Int8Vision


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
        """int8: of the products of its layers."""
        self._config, self._tensors, self._device = config, tensors, device
        self._model: AnyVision | None = None
        self._int8: Int8Vision | None = None
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
        """``[B,3,S,S]`` to patches ``[B,P,V]`` in the encoder's dtype; float32 where that is int8."""
        patches: Tensor = self.model(pixels.to(self._device, self._kind))
        return patches

    @torch.inference_mode()
    def encode_int8(self, pixels: Tensor) -> Tensor:
        """`encode` in int8, whatever `dtype` says; the weights are read once more at the first call."""
        patches: Tensor = self._int8_model()(pixels.float())
        return patches

    def take_int8(self) -> None:
        """Compute in int8 from now on; the other weights are given back."""
        self._model, self.dtype, self._int8 = self._int8_model(), torch.int8, None

    def leave_int8(self) -> None:
        """Give back the weights that `encode_int8` has read."""
        self._int8 = None

    @torch.inference_mode()
    def layer_seconds(self, batch: int, layers: int) -> float:
        """How long the first ``layers`` layers take for so many pictures at once."""
        x_BPV = torch.randn(batch, *self.patch_shape, dtype=self._kind, device=self._device)
        began = time.perf_counter()
        self.model.some_layers(x_BPV, layers)
        return time.perf_counter() - began

    @property
    def loaded(self) -> bool:
        """Whether the weights are in memory."""
        return self._model is not None

    @property
    def model(self) -> AnyVision:
        """The ViT, loaded at first use."""
        if self._model is None:
            with self._lock:
                if self._model is None:
                    self._model = self._load()
        return self._model

    @property
    def _kind(self) -> torch.dtype:
        """Of the pixels: in int8 only the products are."""
        return torch.float32 if self.dtype == torch.int8 else self.dtype

    def _int8_model(self) -> Int8Vision:
        if isinstance(self._model, Int8Vision):
            return self._model
        if self._int8 is None:
            self._int8 = load_int8_vision(self._config, self._tensors, PREFIX)
        return self._int8

    def _load(self) -> AnyVision:
        if self.dtype == torch.int8:
            return load_int8_vision(self._config, self._tensors, PREFIX)
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
