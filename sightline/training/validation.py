"""How good a model is while it trains: mean reciprocal rank on a sample of the validation pictures.

``N`` pictures, each with one of its captions · ``Q`` query tokens · ``D`` joint dim · ``K`` candidates.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sightline.blip.tokenizer import TextTokenizer
from sightline.evaluation import metrics
from sightline.training.learner import Batch, Learner
from sightline.training.objectives import itc_scores

PAIRS = 64
"""Most pairs that are judged at once."""


@dataclass(frozen=True)
class Sample:
    """N pictures with one caption each; ``images`` is patches ``[N,P,V]`` or pixels ``[N,3,S,S]``, CPU."""

    images: Tensor
    texts: Sequence[str]


class Validation:
    """Scores a learner as it is now: the higher, the better.

    The score is the mean reciprocal rank over both directions by ITM + ITC, where ITM judges the ``k`` best
    candidates by ITC; by ITC alone where ITM is not trained. Where ITG alone is trained, it is the negative
    caption loss. Nothing is drawn, so that a score depends on the weights alone.
    """

    def __init__(self, learner: Learner, tokenizer: TextTokenizer, sample: Sample, k: int) -> None:
        self._learner = learner
        self._sample = sample
        self._k = min(k, len(sample.texts))
        self._ids, self._valid = tokenizer.batch(sample.texts)

    def __call__(self) -> float:
        """The score, NaN when the model computes no numbers."""
        with _inference(self._learner):
            if self._learner.objectives == ("itg",):
                return -self._caption_loss()
            return self._reciprocal_rank()

    def _reciprocal_rank(self) -> float:
        network, itm = self._learner.network, "itm" in self._learner.objectives
        patches_NPV = torch.cat([self._patches(rows) for rows in self._chunks()])
        tokens = torch.cat([network.image_tokens(patches_NPV[rows]) for rows in self._chunks()])
        vectors = torch.cat([network.text_vectors(*self._texts(rows)) for rows in self._chunks()])
        similarity_NN = torch.stack([itc_scores(one[None], vectors)[0] for one in tokens])
        both = []
        for scores_NN, by_text in ((similarity_NN.T, True), (similarity_NN, False)):
            final = self._judged(patches_NPV, scores_NN, by_text) if itm else scores_NN
            if not bool(torch.isfinite(final).all()):
                return float("nan")
            ranks = metrics.text_to_image_ranks(final.cpu().numpy(), np.arange(len(final)))
            both.append(metrics.mean_reciprocal_rank(ranks))
        return float(np.mean(both))

    def _judged(self, patches_NPV: Tensor, scores_NN: Tensor, by_text: bool) -> Tensor:
        """Scores of queries (rows) with ITM added for the best columns of each; the rest score below all."""
        itc_NK, columns_NK = scores_NN.topk(self._k, dim=1)
        rows, columns = torch.arange(len(scores_NN)).repeat_interleave(self._k), columns_NK.flatten().cpu()
        texts, images = (rows, columns) if by_text else (columns, rows)
        logits = []
        for text, image in zip(texts.split(PAIRS), images.split(PAIRS), strict=True):
            patches = patches_NPV[image.to(self._device)]
            logits.append(self._learner.network.itm_logits(patches, *self._texts(text))[:, 1])
        judged = torch.cat(logits).view_as(itc_NK) + itc_NK
        return torch.full_like(scores_NN, metrics.NOT_SCORED).scatter(1, columns_NK, judged)

    def _caption_loss(self) -> float:
        losses = []
        for rows in self._chunks():
            ids, valid = self._texts(rows)
            batch = Batch(self._sample.images[rows].to(self._device), ids, valid, rows, rows)
            losses.append(float(self._learner(batch, 1.0, 0)["itg"]) * len(rows))
        return sum(losses) / len(self._sample.texts)

    def _patches(self, rows: Tensor) -> Tensor:
        images = self._sample.images[rows].to(self._device, torch.float32)
        vision = self._learner.network.vision_model
        return images if images.ndim == 3 or vision is None else vision(images)

    def _texts(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        return self._ids[rows].to(self._device), self._valid[rows].to(self._device)

    def _chunks(self) -> Iterator[Tensor]:
        yield from torch.arange(len(self._sample.texts)).split(PAIRS)

    @property
    def _device(self) -> torch.device:
        return self._learner.temperature.device


@contextmanager
def _inference(learner: Learner) -> Iterator[None]:
    """No dropout and no gradients, and then as before."""
    training = learner.training
    learner.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        learner.train(training)
