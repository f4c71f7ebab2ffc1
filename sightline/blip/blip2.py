"""BLIP-2 for retrieval: the Encoder and Matcher that a checkpoint becomes.

The Q-Former part of the weights is loaded at once, the ViT at the first picture: a server that answers from
cached patches never reads it.
Shapes: B images · P patches · V vision width · Q query tokens · D joint dim · T texts · K pairs.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from sightline.blip import checkpoint
from sightline.blip.captions import greedy_captions
from sightline.blip.config import read_config
from sightline.blip.itg import load_itg_head
from sightline.blip.latents import Latents
from sightline.blip.match_precision import PairScorers
from sightline.blip.network import Blip2Network
from sightline.blip.patch_metric import cross_attention_metric
from sightline.blip.pixels import preprocess, read_pixel_config
from sightline.blip.precision import vision_dtype
from sightline.blip.tokenizer import load_tokenizer
from sightline.blip.uninitialised import Uninitialised
from sightline.blip.vit import VisionModel
from sightline.blip.vit_packed import PackedVision, can_pack_vision
from sightline.blip.weights import fill, list_tensors, read_tensors
from sightline.errors import CheckpointError, InputError
from sightline.records import Precision
from sightline.types import RGB

_VISION = "vision_model."


class Blip2:
    """One checkpoint on one device, for inference: an Encoder and a Matcher (blip/protocols.py)."""

    def __init__(
        self,
        folder: Path,
        *,
        device: str | None = None,
        dtype: str | None = None,
        match_dtype: str = "float32",
        fingerprint: str | None = None,
    ) -> None:
        self.folder = folder
        self.config = read_config(folder)
        self.device = torch.device(device or best_device())
        self.vision_dtype = vision_dtype(dtype, self.device, self.config.vision_config.hidden_size)
        self.tokenizer = load_tokenizer(folder, rows=self.config.qformer_config.vocab_size)
        self.pixel_config = read_pixel_config(folder, self.config.vision_config.image_size)
        self.fingerprint = fingerprint or checkpoint.fingerprint(folder)
        self._tensors = list_tensors(folder)
        self.network = self._load_qformer()
        self.scorers = PairScorers(self.network, match_dtype, self._patch_norm())
        self.itg_head = load_itg_head(folder, self.config.qformer_config)
        if self.itg_head is not None:
            self.itg_head.to(self.device).eval().requires_grad_(False)
        self._vision: VisionModel | PackedVision | None = None
        self._vision_lock = threading.Lock()

    # -- dimensions

    @property
    def num_query_tokens(self) -> int:
        """Q."""
        return self.config.num_query_tokens

    @property
    def joint_dim(self) -> int:
        """D."""
        return self.config.image_text_hidden_size

    @property
    def patch_shape(self) -> tuple[int, int]:
        """(P, V)."""
        return self.config.dimensions.patch_shape

    @property
    def text_limit(self) -> int:
        """Most text tokens that count, [CLS] and [SEP] included."""
        return self.tokenizer.limit

    def is_truncated(self, text: str) -> bool:
        """Whether the end of ``text`` is beyond the limit and not looked at."""
        return self.tokenizer.length(text) > self.tokenizer.limit

    # -- Encoder

    def preprocess(self, images: Sequence[RGB]) -> Tensor:
        """Pictures to pixels ``[B,3,S,S]`` float32 on the CPU.

        The image encoder is loaded here, because it is about to be needed: in a server this is the request's
        own thread, while `encode_patches` is called in the one that computes for all.
        """
        assert self.vision is not None
        return preprocess(images, self.pixel_config)

    @torch.inference_mode()
    def encode_patches(self, pixels: Tensor) -> Tensor:
        """``[B,3,S,S]`` to patches ``[B,P,V]`` in the image encoder's dtype."""
        patches: Tensor = self.vision(pixels.to(self.device, self.vision_dtype))
        return patches

    @torch.inference_mode()
    def encode_image(self, patches: Tensor) -> Tensor:
        """``[B,P,V]`` to query tokens ``[B,Q,D]``, unit rows, fp32."""
        return self.network.image_tokens(patches.to(self.device, torch.float32))

    @torch.inference_mode()
    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Text vectors ``[T,D]``, unit rows, fp32."""
        return self.network.text_vectors(*self.tokenizer.batch(_not_empty(texts), self.device))

    # -- Matcher

    @property
    def matches_exactly(self) -> bool:
        """Whether one text is scored in float32 anyway."""
        return self.scorers.fast.dtype == torch.float32

    @torch.inference_mode()
    def match(self, texts: Sequence[str], patches: Tensor | Latents, precision: Precision = "fast") -> Tensor:
        """ITM logits ``[K,2]`` fp32 averaged over the query tokens, for 1 or K texts and the patches of K
        images, ``[K,P,V]`` or compressed.

        One text is the fast path, in ``match_dtype`` unless ``precision`` is ``exact``; K texts are padded
        and computed in float32.
        """
        if len(texts) not in (1, len(patches)):
            raise InputError(
                f"{len(texts)} texts do not pair with {len(patches)} images; give one text or one per image."
            )
        ids, valid = self.tokenizer.batch(_not_empty(texts), self.device)
        patches = patches.to(self.device)
        if len(texts) == 1:
            scorer = self.scorers.exact if precision == "exact" else self.scorers.fast
            return scorer(ids, patches)
        dense = patches.patches() if isinstance(patches, Latents) else patches.float()
        return self.network.itm_logits(dense, ids, None if bool(valid.all()) else valid)

    def patch_metric(self) -> Tensor:
        """Parts ``[2,V,V]`` fp64: how cross-attention weighs errors of patches (blip/patch_codec.py)."""
        return cross_attention_metric(self.network)

    # -- captions

    @torch.inference_mode()
    def caption(self, patches: Tensor, max_tokens: int = 32) -> list[str]:
        """One caption per picture by the ITG head, greedily.

        Raises:
            CheckpointError: the checkpoint has no ``itg_head.safetensors`` or no [DEC] token (released
                weights have not).
        """
        if self.itg_head is None or self.tokenizer.dec is None:
            raise CheckpointError(
                f"{self.folder} has no ITG head (itg_head.safetensors with [DEC]), so it cannot caption."
            )
        rows = greedy_captions(
            self.network,
            self.itg_head,
            patches.to(self.device, torch.float32),
            self.tokenizer.dec,
            self.tokenizer.sep,
            max_tokens,
        )
        return [self.tokenizer.decode(row) for row in rows]

    # -- weights

    @property
    def vision(self) -> VisionModel | PackedVision:
        """The image encoder, loaded at first use."""
        if self._vision is None:
            with self._vision_lock:
                if self._vision is None:
                    self._vision = self._load_vision()
        return self._vision

    @property
    def vision_loaded(self) -> bool:
        """Whether the ViT's weights are in memory."""
        return self._vision is not None

    def _load_vision(self) -> VisionModel | PackedVision:
        with torch.device("meta"), Uninitialised():
            model = VisionModel(self.config.vision_config)
        fill(model, self._tensors, prefix=_VISION, dtype=self.vision_dtype, device=self.device)
        return PackedVision(model) if can_pack_vision(model) else model

    def _load_qformer(self) -> Blip2Network:
        with torch.device("meta"), Uninitialised():
            network = Blip2Network(self.config, with_vision=False)
        fill(network, self._tensors, dtype=torch.float32, device=self.device)
        return network

    def _patch_norm(self) -> tuple[Tensor, Tensor]:
        """Weight and bias ``[V]`` of the norm that patches come out of, without the rest of the ViT."""
        names = [f"{_VISION}post_layernorm.{part}" for part in ("weight", "bias")]
        missing = [name for name in names if name not in self._tensors]
        if missing:
            raise CheckpointError(f"{self.folder} lacks {missing[0]}; it is no BLIP-2 ITM checkpoint.")
        found = dict(read_tensors(self._tensors[name] for name in names))
        return found[names[0]], found[names[1]]


def best_device() -> str:
    """The first of CUDA, Apple's MPS and the CPU that is there."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _not_empty(texts: Sequence[str]) -> Sequence[str]:
    if any(not text.strip() for text in texts):
        raise InputError("The text is empty; say in words what the picture should show.")
    return texts
