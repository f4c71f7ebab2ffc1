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

TIED = {
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
        self.model = empty_decoder(config, states_width)
        fill(self.model, tensors, prefix="text_decoder.", dtype=dtype, device=device, tied=TIED)
        _place_positions(self.model, device)

    def write(
        self, states_BFH: Tensor, prompt: Sequence[int], n: int, sampling: Sampling
    ) -> list[list[Draft]]:
        """``n`` texts for each row, after [DEC] and the ids of ``prompt``, which are not given back.

        All F states are looked at: transformers 5.23 leaves the mask of the states aside.
        """
        start = torch.tensor([[self._config.bos_token_id, *prompt]], device=self._device)
        inputs = {
            "input_ids": start.expand(len(states_BFH), -1),
            "encoder_hidden_states": states_BFH.to(self._device, self.dtype),
        }
        ends, filler = [self._config.sep_token_id], self._config.pad_token_id
        return write(self.model, inputs, n, sampling, ends, filler)

    @torch.inference_mode()
    def log_likelihoods(self, states_BFH: Tensor, options: Sequence[Sequence[int]]) -> Tensor:
        """``[B,O]`` fp32: of each option's ids and [SEP], after [DEC].

        As the reference ranks answers (salesforce/BLIP ``models/blip_vqa.py`` ``rank_answer``, which sums the
        decoder's loss), here for all options and not only those with the likeliest first tokens.
        """
        first, last = self._config.bos_token_id, self._config.sep_token_id
        ids_OL, valid_OL = pad(
            [[first, *one, last] for one in options], self._config.pad_token_id, self._device
        )
        states_BFH = states_BFH.to(self._device, self.dtype)
        rows = states_BFH.repeat_interleave(len(options), dim=0)
        ids_RL, valid_RL = (one.repeat(len(states_BFH), 1) for one in (ids_OL, valid_OL))
        logits = self.model(
            input_ids=ids_RL[:, :-1], attention_mask=valid_RL[:, :-1], encoder_hidden_states=rows
        ).logits
        said = F.log_softmax(logits.float(), dim=-1).gather(2, ids_RL[:, 1:, None])[:, :, 0]
        return said.masked_fill(valid_RL[:, 1:] == 0, 0.0).sum(dim=1).view(len(states_BFH), -1)


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
        self.model = empty_question_encoder(config)
        fill(self.model, tensors, prefix="text_encoder.", dtype=dtype, device=device)
        _place_positions(self.model, device)

    @torch.inference_mode()
    def __call__(self, ids_BL: Tensor, patches_BPV: Tensor) -> Tensor:
        """States ``[B,L,H]`` of questions of one length."""
        states: Tensor = self.model(
            input_ids=ids_BL, encoder_hidden_states=patches_BPV.to(self._device, self.dtype)
        ).last_hidden_state
        return states


def empty_decoder(config: BlipTextConfig, states_width: int) -> Any:
    """transformers' decoder on the meta device, looking at states of a width."""
    with torch.device("meta"), Uninitialised():
        return BlipTextLMHeadModel(_stock(replace(config, encoder_hidden_size=states_width)))


def empty_question_encoder(config: BlipTextConfig) -> Any:
    """transformers' text encoder on the meta device, which looks at patches."""
    with torch.device("meta"), Uninitialised():
        return BlipTextModel(_stock(config), add_pooling_layer=False)


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
