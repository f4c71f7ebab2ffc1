"""A language model behind query outputs: OPT, LLaMA or T5 in transformers' own classes.

What it reads is the image's positions and then the prompt, as embeddings; every row of a batch has the same
length, so that nothing is padded.
Shapes: B rows · Q image positions · L tokens of the prompt · S = Q + L · W width · O options · T tokens of an
option, its end included.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sightline.blip.config_language import WriterConfig
from sightline.blip.generation import Draft, write
from sightline.blip.headers import TensorEntry, shown
from sightline.blip.language_loading import load_language_model
from sightline.blip.language_tokenizer import LanguageTokenizer, load_language_tokenizer
from sightline.blip.sampling import Sampling
from sightline.blip.tokenizer import pad
from sightline.errors import CheckpointError


class LanguageModel:
    """One language model on one device, or spread over several."""

    def __init__(
        self, model: Any, tokenizer: LanguageTokenizer, config: WriterConfig, dtype: torch.dtype
    ) -> None:
        """``model``: transformers' own, in ``dtype``, where it stands; `load_language` reads one."""
        self.model, self.tokenizer, self.dtype = model, tokenizer, dtype
        self._words = model.get_input_embeddings()
        self.device: torch.device = self._words.weight.device
        self.decoder_only = config.decoder_only
        self.ends, self.pad = ends_and_pad(config, self.model.config, self._words.num_embeddings)
        image = config.image_token_index
        # It stands for the image where ids are counted (the repetition penalty), and is never looked up.
        self._image = image if image is not None and image < self._words.num_embeddings else self.pad
        self._llama = config.text_config["model_type"] == "llama"

    @property
    def width(self) -> int:
        """W."""
        return int(self._words.embedding_dim)

    def write(
        self, image_BQW: Tensor, prompts: Sequence[list[int]], n: int, sampling: Sampling
    ) -> list[list[Draft]]:
        """``n`` texts for each row; prompts of one length."""
        return write(self.model, self._inputs(image_BQW, prompts), n, sampling, self.ends, self.pad)

    def decode(self, ids: Sequence[int]) -> str:
        """Ids to text. Vicuna may end a text with id 0 where it means its end (LAVIS
        ``blip2_vicuna_instruct.py``: ``outputs[outputs == 0] = 2``)."""
        return self.tokenizer.decode([self.ends[0] if self._llama and one == 0 else one for one in ids])

    @torch.inference_mode()
    def log_likelihoods(
        self, image_BQW: Tensor, prompts: Sequence[list[int]], options: Sequence[Sequence[list[int]]]
    ) -> Tensor:
        """``[B,O]`` fp32, nats: each row's own options, which end with what ends a text.

        What stands before is read once for all options of a row.
        """
        ids, valid = pad([option for row in options for option in row], self.pad, self.device)
        count = len(options[0])
        inputs = self._inputs(image_BQW, prompts)
        if self.decoder_only:
            said_OT = self._continue(inputs, ids, valid, count)
        else:
            said_OT = self._answer(inputs, ids)
        return (said_OT * valid).sum(dim=1).view(-1, count)

    def _continue(self, inputs: dict[str, Any], ids: Tensor, valid: Tensor, count: int) -> Tensor:
        """Log-probabilities ``[B·O,T]`` of options that continue the prompt."""
        seen_BS = inputs["attention_mask"]
        first = self.model(
            inputs_embeds=inputs["inputs_embeds"], attention_mask=seen_BS, use_cache=True, logits_to_keep=1
        )
        logits = first.logits[:, -1:].repeat_interleave(count, dim=0)
        if ids.shape[1] > 1:
            past = first.past_key_values
            past.batch_repeat_interleave(count)
            mask = torch.cat([seen_BS.repeat_interleave(count, dim=0), valid[:, :-1]], dim=1)
            rest = self.model(input_ids=ids[:, :-1], attention_mask=mask, past_key_values=past)
            logits = torch.cat([logits, rest.logits.to(logits.device)], dim=1)
        return _said(logits, ids)

    def _answer(self, inputs: dict[str, Any], ids: Tensor) -> Tensor:
        """Log-probabilities ``[B·O,T]`` of options as what a decoder answers."""
        count = len(ids) // len(inputs["attention_mask"])
        states = inputs["encoder_outputs"].last_hidden_state.repeat_interleave(count, dim=0)
        mask = inputs["attention_mask"].repeat_interleave(count, dim=0)
        start = torch.full_like(ids[:, :1], self.model.config.decoder_start_token_id)
        out = self.model(
            encoder_outputs=(states,),
            attention_mask=mask,
            decoder_input_ids=torch.cat([start, ids[:, :-1]], dim=1),
        )
        return _said(out.logits, ids)

    def _inputs(self, image_BQW: Tensor, prompts: Sequence[list[int]]) -> dict[str, Any]:
        """What ``generate`` is given. The image's positions stand before the start of the text."""
        text_BL = torch.tensor(prompts, dtype=torch.int64, device=self.device)
        image = image_BQW.to(self.device, self.dtype)
        embeds_BSW = torch.cat([image, self._words(text_BL).to(image)], dim=1)
        seen_BS = torch.ones(embeds_BSW.shape[:2], dtype=torch.int64, device=self.device)
        if not self.decoder_only:
            read = self.model.get_encoder()(inputs_embeds=embeds_BSW, attention_mask=seen_BS)
            return {"encoder_outputs": read, "attention_mask": seen_BS}
        places = text_BL.new_full(image.shape[:2], self._image)
        ids = torch.cat([places, text_BL], dim=1)
        return {"inputs_embeds": embeds_BSW, "attention_mask": seen_BS, "input_ids": ids}


def load_language(
    folder: Path,
    config: WriterConfig,
    tensors: Mapping[str, TensorEntry],
    dtype: torch.dtype,
    device: torch.device,
    device_map: str | None = None,
) -> LanguageModel:
    """A checkpoint's language model and its tokenizer.

    Arguments and errors as `load_language_model` and `load_language_tokenizer`.
    """
    model = load_language_model(folder, config, tensors, dtype, device, device_map)
    tokenizer = load_language_tokenizer(folder, rows=model.get_input_embeddings().num_embeddings)
    return LanguageModel(model, tokenizer, config, dtype)


def _said(logits_RTV: Tensor, ids_RT: Tensor) -> Tensor:
    logs = logits_RTV.to(ids_RT.device).float().log_softmax(dim=2)
    return logs.gather(2, ids_RT[:, :, None])[:, :, 0]


def ends_and_pad(config: WriterConfig, made: Any, rows: int) -> tuple[list[int], int]:
    """Ids that end a text, and the id that fills rows: what ``text_config`` says, else transformers' own.

    An id to fill with that the embedding, of so many ``rows``, does not have (older LLaMAs say −1) is 0: it
    is looked up, and then left aside.

    Raises:
        CheckpointError: no end is named, or one that is no id.
    """
    said = config.text_config.get("eos_token_id", made.eos_token_id)
    ends = list(said) if isinstance(said, list) else [said]
    if not ends or not all(type(one) is int and 0 <= one < rows for one in ends):
        raise CheckpointError(
            f"The checkpoint's config.json has {shown(said)} as eos_token_id of the language model, where "
            f"Sightline needs one or several ids from 0 to {rows - 1}."
        )
    pad = made.pad_token_id
    return ends, pad if type(pad) is int and 0 <= pad < rows else 0
