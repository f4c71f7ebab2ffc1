"""BLIP for retrieval: the Encoder and Matcher that a checkpoint becomes.

One vector an image (Q = 1), of the class patch; a text is judged while it looks at the patches, its first
token [ENC] and not [CLS] (docs/decisions/125-enc-stands-first.md).
"""

from __future__ import annotations

from pathlib import Path

import torch

from sightline.blip.config_blip import read_blip_config
from sightline.blip.network_blip import BlipNetwork
from sightline.blip.retrieval import RetrievalCheckpoint
from sightline.blip.uninitialised import Uninitialised


class Blip(RetrievalCheckpoint[BlipNetwork]):
    """One checkpoint on one device, for inference: an Encoder and a Matcher (blip/protocols.py)."""

    num_query_tokens: int = 1
    """Q."""

    def __init__(
        self,
        folder: Path,
        *,
        device: str | None = None,
        dtype: str | None = None,
        match_dtype: str = "float32",
        fingerprint: str | None = None,
    ) -> None:
        self.config = read_blip_config(folder)
        with torch.device("meta"), Uninitialised():
            network = BlipNetwork(self.config, with_vision=False)
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
