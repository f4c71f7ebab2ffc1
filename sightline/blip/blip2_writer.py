"""BLIP-2 of stage 2: captions and answers by OPT or FlanT5 behind the Q-Former's query outputs.

No text changes the query outputs, and they are all that the language model sees of an image: ``[Q,H]``, 48 KB
in fp16, is what is kept of it (arXiv 2301.12597, section 3.2.2).
Shapes: B images · P patches · V vision width · Q query tokens · H Q-Former width.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from sightline.blip.config_language import read_writer_config
from sightline.blip.language_writer import LanguageWriter, Prompt
from sightline.blip.latents import Latents
from sightline.blip.query_network import QueryNetwork
from sightline.blip.sampling import Sampling, SamplingName
from sightline.blip.uninitialised import Uninitialised
from sightline.blip.weights import fill

COCO_PROMPT = "a photo of"
"""What captions begin with in checkpoints that were tuned on COCO; the others have no prompt (BLIP-2,
section 4.2; LAVIS ``caption_coco_opt2.7b.yaml``)."""


class Blip2Writer(LanguageWriter):
    """One checkpoint on one device: a Captioner and an Answerer."""

    features_are_patches: bool = False

    def __init__(
        self,
        folder: Path,
        *,
        device: str | None = None,
        dtype: str | None = None,
        match_dtype: str = "float32",
        fingerprint: str | None = None,
        device_map: str | None = None,
    ) -> None:
        """As ``sightline.blip.load``; ``match_dtype`` is left aside, for it judges nothing."""
        config = read_writer_config(folder, reads_instruction=False)
        super().__init__(folder, config, device, dtype, fingerprint, device_map)
        with torch.device("meta"), Uninitialised():
            self.network = QueryNetwork(config, self.language.width)
        fill(self.network, self.tensors, dtype=torch.float32, device=self.device)

    @property
    def feature_shape(self) -> tuple[int, int]:
        """(Q, H)."""
        return self.config.num_query_tokens, self.config.qformer_config.hidden_size

    @torch.inference_mode()
    def features(self, patches: Tensor | Latents) -> Tensor:
        """``[B,P,V]`` to query outputs ``[B,Q,H]``, fp32."""
        whole = patches.to(self.device)
        whole = whole.patches() if isinstance(whole, Latents) else whole
        return self.network.query_outputs(whole.float())

    def sampling(self, name: SamplingName) -> Sampling:
        """Captions of 8 to 30 tokens, by 5 beams or a nucleus of 0.9 (LAVIS, the same configuration)."""
        beams, top_p = 5 if name == "beam" else 1, 0.9 if name == "nucleus" else 1.0
        return Sampling(name, beams=beams, min_tokens=8, max_tokens=30, top_p=top_p)

    @property
    def default_prompt(self) -> str:
        """``a photo of`` where it was tuned on COCO, else nothing."""
        return COCO_PROMPT if self.config.tuned_on_coco else ""

    def _caption_start(self, prompt: str | None) -> str:
        return f"{prompt.strip()} " if prompt and prompt.strip() else ""

    def _prompt(self, text: str) -> Prompt:
        return Prompt(self.language.tokenizer.ids(text), [])

    def _before(self, features: Tensor, prompts: Sequence[Prompt]) -> Tensor:
        return self.network.project(features)
