"""BLIP-2 for retrieval: the Encoder and Matcher that a checkpoint becomes.

Shapes: B images · P patches · V vision width · Q query tokens · D joint dim.
"""

from __future__ import annotations

from pathlib import Path

import torch

from sightline.blip.config import read_config
from sightline.blip.network import Blip2Network
from sightline.blip.retrieval import RetrievalCheckpoint
from sightline.blip.uninitialised import Uninitialised


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

    @property
    def num_query_tokens(self) -> int:
        """Q."""
        return self.config.num_query_tokens
