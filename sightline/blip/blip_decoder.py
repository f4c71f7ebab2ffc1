"""BLIP's text decoder and encoder in transformers' own classes, with weights from a checkpoint's files.

Imports transformers: only what writes comes here, never a search.
Shapes: B images · R rows · L tokens · F, H states that the decoder looks at · O options.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import BlipTextConfig as StockTextConfig
from transformers.models.blip.modeling_blip_text import BlipTextLMHeadModel, BlipTextModel

from sightline.blip.config_blip import BlipTextConfig
from sightline.blip.generation import Draft, write
from sightline.blip.headers import TensorEntry
from sightline.blip.sampling import Sampling
from sightline.blip.tokenizer import pad
from sightline.blip.uninitialised import Uninitialised
from sightline.blip.weights import fill

_TIED = {
    "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
    "cls.predictions.decoder.bias": "cls.predictions.bias",
}


class TextDecoder:
    """Writes after [DEC], looking at states of an image or of a question."""

    def __init__(
        self,
        config: BlipTextConfig,
        states_width: int,
        tensors: Mapping[str, TensorEntry],
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        """``states_width``: of what it looks at. A configuration names one width for encoder and decoder,
        although the decoder of a BLIP for questions looks at the encoder's states and not at patches."""
        self.dtype = dtype
        self._config, self._device = config, device
        with torch.device("meta"), Uninitialised():
            self.model: Any = BlipTextLMHeadModel(_stock(replace(config, encoder_hidden_size=states_width)))
        fill(self.model, tensors, prefix="text_decoder.", dtype=dtype, device=device, tied=_TIED)
        _place_positions(self.model, device)

    def write(
        self, states_BFH: Tensor, seen_BF: Tensor, prompt: Sequence[int], n: int, sampling: Sampling
    ) -> list[list[Draft]]:
        """``n`` texts for each row, after [DEC] and the ids of ``prompt``, which are not given back.

        ``seen_BF``: 1 where a state is to be looked at.
        """
        start = torch.tensor([[self._config.bos_token_id, *prompt]], device=self._device)
        inputs = {
            "input_ids": start.expand(len(states_BFH), -1),
            "encoder_hidden_states": states_BFH.to(self._device, self.dtype),
            "encoder_attention_mask": seen_BF.to(self._device),
        }
        ends, filler = [self._config.sep_token_id], self._config.pad_token_id
        return write(self.model, inputs, n, sampling, ends, filler)

    @torch.inference_mode()
    def log_likelihoods(
        self, states_BFH: Tensor, seen_BF: Tensor, options: Sequence[Sequence[int]]
    ) -> Tensor:
        """``[B,O]`` fp32: of each option's ids and [SEP], after [DEC] (salesforce/BLIP ``models/blip_vqa.py``
        ``rank_answer``, which sums the decoder's loss in the same way)."""
        ends = [self._config.bos_token_id], [self._config.sep_token_id]
        ids_OL, valid_OL = pad([[*ends[0], *one, *ends[1]] for one in options], self._config.pad_token_id)
        ids_OL, valid_OL = ids_OL.to(self._device), valid_OL.to(self._device)
        rows = [
            self._summed(ids_OL, valid_OL, states_FH.to(self._device, self.dtype), seen_F.to(self._device))
            for states_FH, seen_F in zip(states_BFH, seen_BF, strict=True)
        ]
        return torch.stack(rows)

    def _summed(self, ids_OL: Tensor, valid_OL: Tensor, states_FH: Tensor, seen_F: Tensor) -> Tensor:
        """``[O]``: the options as answers about one image."""
        options = len(ids_OL)
        logits = self.model(
            input_ids=ids_OL[:, :-1],
            attention_mask=valid_OL[:, :-1],
            encoder_hidden_states=states_FH.expand(options, -1, -1),
            encoder_attention_mask=seen_F.expand(options, -1),
        ).logits
        said = F.log_softmax(logits.float(), dim=-1).gather(2, ids_OL[:, 1:, None])[:, :, 0]
        return said.masked_fill(valid_OL[:, 1:] == 0, 0.0).sum(dim=1)


class QuestionEncoder:
    """A question read while looking at the patches: [ENC] in its first place, as in training."""

    def __init__(
        self,
        config: BlipTextConfig,
        tensors: Mapping[str, TensorEntry],
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.dtype = dtype
        self._device = device
        with torch.device("meta"), Uninitialised():
            self.model: Any = BlipTextModel(_stock(config), add_pooling_layer=False)
        fill(self.model, tensors, prefix="text_encoder.", dtype=dtype, device=device)
        _place_positions(self.model, device)

    @torch.inference_mode()
    def __call__(self, ids_BL: Tensor, valid_BL: Tensor, patches_BPV: Tensor) -> Tensor:
        """States of the question ``[B,L,H]``."""
        states: Tensor = self.model(
            input_ids=ids_BL,
            attention_mask=valid_BL,
            encoder_hidden_states=patches_BPV.to(self._device, self.dtype),
            encoder_attention_mask=torch.ones(patches_BPV.shape[:2], device=self._device),
        ).last_hidden_state
        return states


def _stock(config: BlipTextConfig) -> StockTextConfig:
    stock = StockTextConfig(**asdict(config))
    stock._attn_implementation = "eager"  # the only one that these classes have
    return stock


def _place_positions(model: Any, device: torch.device) -> None:
    """The numbers of the positions, which no file has."""
    for module in model.modules():
        for name, buffer in module.named_buffers(recurse=False):
            if name == "position_ids":
                counted = torch.arange(buffer.shape[-1], device=device).expand(buffer.shape)
                module.register_buffer(name, counted, persistent=False)
