"""The network with its three objectives as one module: one forward pass, one data-parallel wrapper.

``B`` pairs · ``P`` patches · ``V`` vision width · ``S`` pixels along one side · ``Q`` query tokens · ``L``
text length · ``H`` width · ``W`` vocabulary · ``K`` pairs judged by ITM.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sightline.blip.itg import ItgHead
from sightline.blip.masks import additive, multimodal_causal, with_padding
from sightline.blip.network import Blip2Network
from sightline.training.config import Objective
from sightline.training.objectives import Contrast, itc_loss, itg_loss, itm_loss, itm_pairs
from sightline.training.trainee import Trainee

LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE = 0.01, 0.5


@dataclass(frozen=True)
class Batch:
    """B pairs: ``images`` is patches ``[B,P,V]`` or pixels ``[B,3,S,S]``, ``ids`` and ``valid`` ``[B,L]``
    begin with [CLS], ``image_ids`` and ``text_ids`` ``[B]`` say which pictures and sentences are the same.
    """

    images: Tensor
    ids: Tensor
    valid: Tensor
    image_ids: Tensor
    text_ids: Tensor

    def to(self, device: torch.device) -> Batch:
        """The same on another device."""
        tensors = (self.images, self.ids, self.valid, self.image_ids, self.text_ids)
        return Batch(*(tensor.to(device) for tensor in tensors))


class Learner(Trainee[Batch]):
    """Blip2Network, the ITG head and the learned temperature."""

    def __init__(
        self,
        network: Blip2Network,
        head: ItgHead,
        decode_id: int | None,
        objectives: tuple[Objective, ...],
        temperature: float = 0.07,
        smoothing: float = 0.1,
    ) -> None:
        super().__init__()
        self.network = network
        self.head = head
        self.temperature = nn.Parameter(torch.tensor(temperature))
        self.decode_id = decode_id
        self.objectives = objectives
        self.smoothing = smoothing

    def forward(self, batch: Batch, hardness: float, seed: int) -> dict[str, Tensor]:
        """The loss of each objective; ``seed`` decides which negatives are drawn."""
        patches = batch.images if batch.images.ndim == 3 else self._see(batch.images)
        tokens, words = self._image_and_caption(patches, batch)
        vectors = self.network.text_vectors(batch.ids, batch.valid)
        contrast = self._contrast(tokens, vectors, batch)
        losses = {"itc": contrast.loss} if "itc" in self.objectives else {}
        if "itm" in self.objectives:
            losses["itm"] = self._match(patches, batch, contrast, hardness, seed)
        if words is not None:
            losses["itg"] = itg_loss(words, self._decoded(batch.ids), batch.valid, self.smoothing)
        return losses

    def _contrast(self, tokens: Tensor, vectors: Tensor, batch: Batch) -> Contrast:
        # In full precision whatever the rest runs in: a bf16 cosine has three digits, divided by 0.07.
        with torch.autocast(tokens.device.type, enabled=False):
            return itc_loss(
                tokens.float(),
                vectors.float(),
                self.temperature,
                batch.image_ids,
                batch.text_ids,
                smoothing=self.smoothing,
            )

    def settle(self) -> None:
        """Keep the temperature where the softmax is neither flat nor a step."""
        with torch.no_grad():
            self.temperature.clamp_(LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE)

    def told(self) -> dict[str, float]:
        """The temperature."""
        return {"temperature": self.temperature.item()}

    def _see(self, pixels: Tensor) -> Tensor:
        assert self.network.vision_model is not None
        return self.network.vision_model(pixels)  # type: ignore[no-any-return]

    def _decoded(self, ids: Tensor) -> Tensor:
        assert self.decode_id is not None
        return torch.cat([torch.full_like(ids[:, :1], self.decode_id), ids[:, 1:]], dim=1)

    def _image_and_caption(self, patches: Tensor, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """Image tokens ``[B,Q,D]`` and, for ITG, word logits ``[B,L,W]``.

        Under the multimodal causal mask the queries do not see the text, so one pass over [queries; caption]
        yields the very tokens that a pass over the queries alone would.
        """
        if "itg" not in self.objectives:
            return self.network.image_tokens(patches), None
        ids = self._decoded(batch.ids)
        queries = self.network.query_tokens.expand(len(patches), -1, -1)
        embeds = torch.cat([queries, self.network.embeddings(ids)], dim=1)
        mask = with_padding(multimodal_causal(queries.shape[1], ids.shape[1]), batch.valid)
        hidden = self.network.qformer(embeds, queries.shape[1], patches, additive(mask, embeds.dtype))
        tokens = F.normalize(self.network.vision_projection(hidden[:, : queries.shape[1]]), dim=-1)
        words = self.head(hidden[:, queries.shape[1] :], self.network.embeddings.word_embeddings.weight)
        return tokens, words

    def _match(self, patches: Tensor, batch: Batch, contrast: Contrast, hardness: float, seed: int) -> Tensor:
        generator = torch.Generator(device="cpu").manual_seed(seed)
        pairs = itm_pairs(*contrast.local(), hardness, generator)
        logits = self.network.itm_logits(patches[pairs.image], batch.ids[pairs.text], batch.valid[pairs.text])
        return itm_loss(logits, pairs.label)


def freeze(learner: Learner, freeze_vision: bool) -> None:
    """Leave only what the objectives use to be trained."""
    unused = []
    if "itm" not in learner.objectives:
        unused.append("network.itm_head.")
    if "itg" not in learner.objectives:
        unused.append("head.")
    if "itc" not in learner.objectives:
        unused += ["temperature", "network.text_projection.", "network.vision_projection."]
    if freeze_vision:
        unused.append("network.vision_model.")
    for name, parameter in learner.named_parameters():
        parameter.requires_grad_(not any(name.startswith(prefix) for prefix in unused))
