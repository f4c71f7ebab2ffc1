"""BLIP-2 for retrieval with an ITG head beside it: it captions too.

Without ``itg_head.safetensors`` (all released weights) a checkpoint is a `Blip2` and no Captioner.
Shapes: B images · P patches · V vision width.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sightline.blip.blip2 import Blip2
from sightline.blip.config import read_config
from sightline.blip.itg import FILE, load_itg_head
from sightline.blip.latents import Latents
from sightline.blip.sampling import Caption, Sampling, SamplingName
from sightline.blip.tokenizer import load_tokenizer
from sightline.errors import CheckpointError, InputError
from sightline.kept import kept

if TYPE_CHECKING:
    from sightline.blip.itg_generation import ItgLanguageModel

_AT_ONCE = 32
"""Images that are captioned together."""


def load_blip2(
    folder: Path,
    *,
    device: str | None = None,
    dtype: str | None = None,
    match_dtype: str = "float32",
    fingerprint: str | None = None,
) -> Blip2:
    """A `Blip2Captioner` where there is an ITG head and a token to begin with, else a `Blip2`."""
    kind = Blip2Captioner if can_caption(folder) else Blip2
    return kind(folder, device=device, dtype=dtype, match_dtype=match_dtype, fingerprint=fingerprint)


def can_caption(folder: Path) -> bool:
    """Whether a BLIP-2 for retrieval has an ITG head, and [DEC] with a row in its word embedding.

    Raises:
        CheckpointError: its configuration or its tokenizer cannot be used.
    """
    if not (folder / FILE).exists():
        return False
    return load_tokenizer(folder, rows=read_config(folder).qformer_config.vocab_size).dec is not None


class Blip2Captioner(Blip2):
    """One checkpoint on one device: an Encoder, a Matcher and a Captioner (blip/protocols.py)."""

    features_are_patches: bool = True

    def __init__(
        self,
        folder: Path,
        *,
        device: str | None = None,
        dtype: str | None = None,
        match_dtype: str = "float32",
        fingerprint: str | None = None,
    ) -> None:
        super().__init__(folder, device=device, dtype=dtype, match_dtype=match_dtype, fingerprint=fingerprint)
        head, dec = load_itg_head(folder, self.config.qformer_config), self.tokenizer.dec
        if head is None or dec is None:
            raise CheckpointError(
                f"{folder} has no ITG head (itg_head.safetensors with [DEC]), so it cannot caption."
            )
        self._dec = dec
        self.itg_head = head.to(self.device).eval().requires_grad_(False)

    @property
    def feature_shape(self) -> tuple[int, int]:
        """(P, V)."""
        return self.patch_shape

    def features(self, patches: Tensor | Latents) -> Tensor:
        """The patches ``[B,P,V]`` themselves, made whole where the cache compressed them."""
        return patches.patches() if isinstance(patches, Latents) else patches

    def sampling(self, name: SamplingName) -> Sampling:
        """Captions of 10 to 30 tokens, by 3 beams or a nucleus of 0.9 (LAVIS ``blip2_qformer.py``)."""
        beams, top_p = 3 if name == "beam" else 1, 0.9 if name == "nucleus" else 1.0
        return Sampling(name, beams=beams, min_tokens=10, max_tokens=30, top_p=top_p)

    @torch.inference_mode()
    def caption(
        self, features: Tensor, n: int, sampling: Sampling, prompt: str | None = None
    ) -> list[list[Caption]]:
        """``n`` captions for each of the ``[B,P,V]``; ``prompt`` is how they begin, and stands before them.

        Raises:
            InputError: more than one by ``greedy``, or a prompt that is too long.
        """
        from sightline.blip.generation import check_count, write
        from sightline.blip.itg_generation import seen_queries

        check_count(n, sampling)
        begins = prompt.strip() if prompt else ""
        count, limit = self.tokenizer.length(begins), self.tokenizer.limit
        if count > limit:
            raise InputError(f"The prompt has {count} tokens; this model reads at most {limit}.")
        ids = [self._dec, *self.tokenizer.ids(begins)[1:-1]]
        ends, rows = [self.tokenizer.sep], []
        for at, few in enumerate(features.split(_AT_ONCE)):
            seen = seen_queries(self.network, few.to(self.device, torch.float32))
            start = torch.tensor([ids], device=self.device).expand(len(few), -1)
            inputs = {"input_ids": start, "seen": seen}
            these = sampling.of(range(at * _AT_ONCE, at * _AT_ONCE + len(few)))
            rows += write(self._language, inputs, n, these, ends, self.tokenizer.pad)
        before = f"{begins} " if begins else ""
        return [
            [Caption(before + self.tokenizer.decode(one.ids), one.log_probability) for one in row]
            for row in rows
        ]

    @kept
    def _language(self) -> ItgLanguageModel:
        """Made at the first caption: transformers takes a second to import, which a search need not wait."""
        from sightline.blip.itg_generation import ItgLanguageModel

        made = ItgLanguageModel(self.network, self.itg_head)
        made.train(False)
        return made
