"""BLIP-2's three objectives as pure functions over tensors (docs/scoring.md; LAVIS `blip2_qformer.py`).

``B`` pairs on this rank · ``N`` pairs on all ranks · ``Q`` query tokens · ``D`` joint dim · ``K`` pairs
judged by ITM · ``L`` text length · ``W`` vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from sightline.training.gather import gather_with_gradient, gather_without_gradient, rank

IGNORED = -100
"""The label that cross entropy leaves out."""


@dataclass(frozen=True)
class Contrast:
    """What ITC yields: the loss, and similarities over the temperature, which ITM draws negatives from."""

    loss: Tensor
    image_to_text: Tensor  # [B, N]
    text_to_image: Tensor  # [B, N]
    positives: Tensor  # [B, N] bool

    def local(self) -> tuple[Tensor, Tensor, Tensor]:
        """Image to text, text to image, positives of this rank's own pairs: ``[B, B]`` each, no gradient."""
        rows = self.positives.shape[0]
        mine = slice(rank() * rows, (rank() + 1) * rows)
        return (
            self.image_to_text.detach()[:, mine],
            self.text_to_image.detach()[:, mine],
            self.positives[:, mine],
        )


@dataclass(frozen=True)
class Pairs:
    """Rows of a batch that ITM judges: image row, text row, label (1 = they match), each ``[K]``."""

    image: Tensor
    text: Tensor
    label: Tensor


def itc_scores(tokens: Tensor, vectors: Tensor) -> Tensor:
    """``[B, Q, D]`` and ``[T, D]`` to ``[B, T]``: the best query token of each image for each text."""
    best, _ = torch.einsum("bqd,td->bqt", tokens, vectors).max(dim=1)
    return best


def shared_identity(
    image_ids: Tensor, text_ids: Tensor, all_image_ids: Tensor, all_text_ids: Tensor
) -> Tensor:
    """``[B, N]`` bool: the same picture or the same sentence on both sides: no negative."""
    same_image = image_ids[:, None] == all_image_ids[None, :]
    same_text = text_ids[:, None] == all_text_ids[None, :]
    return same_image | same_text


def soft_targets(positives: Tensor, smoothing: float) -> Tensor:
    """``[B, N]`` rows that sum to 1: (1 - smoothing) shared by the positives, smoothing by all."""
    shares = positives.float()
    shares = shares / shares.sum(dim=1, keepdim=True)
    return (1.0 - smoothing) * shares + smoothing / positives.shape[1]


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean over rows of the cross entropy against target distributions, both ``[B, N]``."""
    return -(targets * functional.log_softmax(logits.float(), dim=1)).sum(dim=1).mean()


def itc_loss(
    tokens: Tensor,
    vectors: Tensor,
    temperature: Tensor | float,
    image_ids: Tensor,
    text_ids: Tensor,
    smoothing: float = 0.1,
) -> Contrast:
    """Image-text contrast in both directions, over all ranks when distributed.

    ``tokens`` ``[B, Q, D]`` and ``vectors`` ``[B, D]`` have unit rows and belong together row by row;
    ``image_ids`` and ``text_ids`` ``[B]`` int64 name the picture and the sentence of each row, so that a
    duplicate is a second positive (LAVIS does so for retrieval fine-tuning by image id; two equal sentences
    are the same case).
    """
    all_tokens, all_vectors = gather_with_gradient(tokens), gather_with_gradient(vectors)
    all_image_ids, all_text_ids = gather_without_gradient(image_ids), gather_without_gradient(text_ids)
    image_to_text = itc_scores(tokens, all_vectors) / temperature
    text_to_image = itc_scores(all_tokens, vectors).T / temperature
    positives = shared_identity(image_ids, text_ids, all_image_ids, all_text_ids)
    targets = soft_targets(positives, smoothing)
    loss = (soft_cross_entropy(image_to_text, targets) + soft_cross_entropy(text_to_image, targets)) / 2
    return Contrast(loss, image_to_text, text_to_image, positives)


def negative_weights(similarity: Tensor, positives: Tensor, hardness: float) -> Tensor:
    """``[B, N]`` probabilities of drawing a column as a row's negative; a row without candidates is all 0.

    ``hardness`` 1 draws in proportion to the ITC softmax, 0 evenly among all that are not positive, values
    between mix the two: hard negatives from the first step leave ITM at chance for hundreds of steps.
    """
    allowed = (~positives).float()
    # Over the negatives alone: a full softmax leaves them zeros once the positive takes all of it.
    hard = torch.softmax(similarity.float().masked_fill(positives, -torch.inf), dim=1).nan_to_num(0.0)
    even = allowed / allowed.sum(dim=1, keepdim=True).clamp(min=1.0)
    return hardness * hard + (1.0 - hardness) * even


def sample_negatives(weights: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A column ``[B]`` int64 for each row of ``[B, N]`` weights, and which rows had any, ``[B]`` bool."""
    found = weights.sum(dim=1) > 0
    safe = torch.where(found[:, None], weights, torch.ones_like(weights)).to(generator.device)
    chosen = torch.multinomial(safe, 1, generator=generator)[:, 0]
    return chosen.to(weights.device), found


def itm_pairs(
    image_to_text: Tensor,
    text_to_image: Tensor,
    positives: Tensor,
    hardness: float,
    generator: torch.Generator,
) -> Pairs:
    """The ``[B, B]`` similarities of a batch to at most 3·B pairs for ITM to judge.

    The true ones, then a negative image for each text, then a negative text for each image. A row all of
    whose columns are duplicates of its positive brings no negative.
    """
    rows = torch.arange(positives.shape[0], device=positives.device)
    images, has_image = sample_negatives(negative_weights(text_to_image, positives, hardness), generator)
    texts, has_text = sample_negatives(negative_weights(image_to_text, positives, hardness), generator)
    image = torch.cat([rows, images[has_image], rows[has_text]])
    text = torch.cat([rows, rows[has_image], texts[has_text]])
    label = torch.zeros_like(image)
    label[: rows.shape[0]] = 1
    return Pairs(image, text, label)


def itm_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy of averaged ITM logits ``[K, 2]`` against ``[K]`` labels (1 = match)."""
    return functional.cross_entropy(logits.float(), labels)


def itg_loss(logits: Tensor, ids: Tensor, text_mask: Tensor, smoothing: float = 0.1) -> Tensor:
    """Caption loss: position t predicts token t + 1; padding is ignored.

    ``logits`` ``[B, L, W]`` are of the text positions; ``ids`` ``[B, L]`` begin with [DEC]; ``text_mask``
    ``[B, L]`` is 0 for padding.
    """
    targets = ids.masked_fill(text_mask == 0, IGNORED)[:, 1:]
    flat = logits[:, :-1].reshape(-1, logits.shape[-1])
    return functional.cross_entropy(
        flat.float(), targets.reshape(-1), ignore_index=IGNORED, label_smoothing=smoothing
    )
