"""BLIP-2 for retrieval: the Encoder and Matcher that a checkpoint becomes.

Shapes: B images · P patches · V vision width · Q query tokens · D joint dim.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from sightline.blip.captions import greedy_captions
from sightline.blip.config import read_config
from sightline.blip.itg import load_itg_head
from sightline.blip.network import Blip2Network
from sightline.blip.retrieval import RetrievalCheckpoint
from sightline.blip.uninitialised import Uninitialised
from sightline.errors import CheckpointError


class Blip2(RetrievalCheckpoint[Blip2Network]):
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
        self.config = read_config(folder)
        with torch.device("meta"), Uninitialised():
            network = Blip2Network(self.config, with_vision=False)
        super().__init__(
            folder,
            network,
            self.config.vision_config,
            self.config.image_text_hidden_size,
            device=device,
            dtype=dtype,
            match_dtype=match_dtype,
            fingerprint=fingerprint,
        )
        self.itg_head = load_itg_head(folder, self.config.qformer_config)
        if self.itg_head is not None:
            self.itg_head.to(self.device).eval().requires_grad_(False)

    @property
    def num_query_tokens(self) -> int:
        """Q."""
        return self.config.num_query_tokens

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
