"""What the scoring of pairs needs of a network, BLIP's or BLIP-2's.

A sequence of S positions sees itself in every layer. The first of them look at the patches as well, and a
head judges the first of those after the last layer: a BLIP-2's query tokens look and are judged, its text
only reads; all of a BLIP's text looks, and [ENC] is judged.
Shapes: S positions · L text tokens · H width · B images · T texts · K pairs · P patches · V vision width ·
Q query tokens · D joint dim.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from sightline.blip.qformer import Intermediate, MultiHeadAttention, ResidualNorm


class Attending(Protocol):
    """Attention with what follows it: output projection, residual and norm."""

    @property
    def attention(self) -> MultiHeadAttention: ...

    @property
    def output(self) -> ResidualNorm: ...


@dataclass(frozen=True, eq=False)
class ScoredLayer:
    """One layer's modules."""

    attention: Attending
    crossattention: Attending | None
    looking_block: tuple[Intermediate, ResidualNorm]
    """The feed-forward block of the positions that look at patches."""
    reading_block: tuple[Intermediate, ResidualNorm] | None
    """That of the others; None where there are none."""


class ScoredNetwork(nn.Module, ABC):
    """The modules of a model that embeds and judges, with or without its ViT."""

    itm_head: nn.Linear

    @property
    @abstractmethod
    def num_patches(self) -> int:
        """P."""

    @property
    @abstractmethod
    def vocabulary(self) -> int:
        """Rows of the word embedding."""

    @property
    @abstractmethod
    def word_embedding(self) -> nn.Embedding:
        """``[vocabulary,H]``, whose rows show which words were learned."""

    @abstractmethod
    def image_tokens(self, patches_BPV: Tensor) -> Tensor:
        """Image tokens for ITC, unit rows: ``[B,Q,D]``."""

    @abstractmethod
    def text_vectors(self, ids_TL: Tensor, valid_TL: Tensor) -> Tensor:
        """Texts for ITC, unit rows: ``[T,D]``."""

    @abstractmethod
    def itm_logits(self, patches_KPV: Tensor, ids_KL: Tensor, valid_KL: Tensor | None) -> Tensor:
        """ITM logits ``[K,2]``; index 1 is "match". ``valid_KL`` is None when no row is padded."""

    # -- for pair scoring

    @property
    @abstractmethod
    def judged(self) -> int:
        """How many of the first positions the head judges; their average is taken."""

    @abstractmethod
    def looking(self, length: int) -> int:
        """How many of ``length`` positions look at the patches, the first ones."""

    @abstractmethod
    def first_states(self, ids_1L: Tensor) -> Tensor:
        """``[1,S,H]``: what the first layer gets for an unpadded text."""

    @abstractmethod
    def scored_layers(self) -> list[ScoredLayer]:
        """The modules of every layer."""
