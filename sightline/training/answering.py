"""What stage 2 and instruction tuning optimise: a frozen image encoder's patches through Q-Former and
projection into a language model that is frozen too, which is to say the answer (BLIP-2 section 3.3;
InstructBLIP section 2.3).

The modules are those of stock ``Blip2ForConditionalGeneration`` and
``InstructBlipForConditionalGeneration``, so that what was trained is saved as they save it; only their
image encoder is left out. Shapes: B rows · P patches · V vision width · Q query tokens · J instruction for
the Q-Former · L language tokens · D decoder tokens · W width.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from sightline.errors import CheckpointError
from sightline.training.trainee import Trainee

if TYPE_CHECKING:
    from transformers import Blip2ForConditionalGeneration, InstructBlipForConditionalGeneration

    Stock = Blip2ForConditionalGeneration | InstructBlipForConditionalGeneration

IGNORED = -100
"""The label that cross entropy leaves out."""


@dataclass(frozen=True)
class AnswerBatch:
    """B pictures with an instruction and the answer to it.

    For a decoder-only language model ``ids`` are image placeholders, instruction, answer and end, and
    ``labels`` ``[B,L]`` are the answer's, ``IGNORED`` elsewhere. For an encoder-decoder ``ids`` end with
    the instruction, and ``labels`` ``[B,D]`` are the answer.
    """

    patches: Tensor
    """``[B,P,V]``."""
    qformer_ids: Tensor
    """``[B,J]``: the instruction for InstructBLIP's Q-Former; J is 0 for BLIP-2, whose sees none."""
    qformer_valid: Tensor
    ids: Tensor
    """``[B,L]``."""
    valid: Tensor
    labels: Tensor

    def to(self, device: torch.device) -> AnswerBatch:
        """The same on another device."""
        tensors: list[Tensor] = [getattr(self, one.name) for one in fields(self)]
        return AnswerBatch(*(tensor.to(device) for tensor in tensors))


class AnswerLearner(Trainee[AnswerBatch]):
    """The trained parts and the language model of a stock model, from patches to the loss.

    The language model is frozen unless ``freeze_language`` is False; ``freeze_qformer`` leaves the
    projection alone to be trained.
    """

    def __init__(self, stock: Stock, freeze_language: bool = True, freeze_qformer: bool = False) -> None:
        super().__init__()
        self.query_tokens = stock.query_tokens
        self.qformer = stock.qformer
        self.language_projection = stock.language_projection
        self.language_model = stock.language_model
        image = stock.config.image_token_index
        if image is None:
            raise CheckpointError("The checkpoint's config.json names no image_token_index; add it.")
        self.image_token = int(image)
        self.reads_instruction = stock.config.model_type == "instructblip"
        self.decoder_only = bool(stock.config.use_decoder_only_language_model)
        self.language_model.requires_grad_(not freeze_language)
        self.qformer.requires_grad_(not freeze_qformer)
        self.query_tokens.requires_grad_(not freeze_qformer)

    def train(self, mode: bool = True) -> Self:
        """A frozen language model has no dropout."""
        super().train(mode)
        if not any(parameter.requires_grad for parameter in self.language_model.parameters()):
            self.language_model.eval()
        return self

    def forward(self, batch: AnswerBatch, hardness: float, seed: int) -> dict[str, Tensor]:
        """The loss under its name, ``answers``; nothing is drawn, so that the others are left aside."""
        return {"answers": self.loss(batch)}

    def loss(self, batch: AnswerBatch) -> Tensor:
        """Mean cross entropy of the answers' tokens, as stock ``forward(labels=…)`` computes it."""
        logits, wanted, _ = self.said(batch)
        return F.cross_entropy(logits, wanted)

    def said(self, batch: AnswerBatch) -> tuple[Tensor, Tensor, Tensor]:
        """For each of the N labelled tokens its logits ``[N,·]`` fp32, its label ``[N]`` and its row ``[N]``.

        Of a decoder-only model's vocabulary logits only these are computed.
        """
        embeds = self.language_inputs(batch)
        if not self.decoder_only:
            found = self.language_model(
                inputs_embeds=embeds, attention_mask=batch.valid, labels=batch.labels, use_cache=False
            )
            kept = batch.labels != IGNORED
            return found.logits[kept].float(), batch.labels[kept], kept.nonzero()[:, 0]
        hidden = self.language_model.base_model(
            inputs_embeds=embeds, attention_mask=batch.valid, use_cache=False
        ).last_hidden_state[:, :-1]
        kept = batch.labels[:, 1:] != IGNORED
        logits = self.language_model.get_output_embeddings()(hidden[kept])
        return logits.float(), batch.labels[:, 1:][kept], kept.nonzero()[:, 0]

    def image_tokens(self, batch: AnswerBatch) -> Tensor:
        """What the language model sees of the pictures: ``[B,Q,W]``."""
        queries = self.query_tokens.expand(len(batch.patches), -1, -1)
        if not self.reads_instruction:
            found = self.qformer(query_embeds=queries, encoder_hidden_states=batch.patches)
            return self.language_projection(found.last_hidden_state)  # type: ignore[no-any-return]
        seen = torch.ones(queries.shape[:2], dtype=batch.qformer_valid.dtype, device=queries.device)
        found = self.qformer(
            input_ids=batch.qformer_ids,
            attention_mask=torch.cat([seen, batch.qformer_valid], dim=1),
            query_embeds=queries,
            encoder_hidden_states=batch.patches,
        )
        return self.language_projection(found.last_hidden_state[:, : queries.shape[1]])  # type: ignore[no-any-return]

    def language_inputs(self, batch: AnswerBatch) -> Tensor:
        """Embeddings ``[B,L,W]`` with the image tokens in place of their placeholders."""
        embeds = self.language_model.get_input_embeddings()(batch.ids)
        places = (batch.ids == self.image_token)[:, :, None].expand_as(embeds)
        return embeds.masked_scatter(places, self.image_tokens(batch).to(embeds.dtype))  # type: ignore[no-any-return]
