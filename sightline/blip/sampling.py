"""How words are chosen, and the words that come of it. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

SamplingName = Literal["greedy", "beam", "nucleus"]
SAMPLINGS: tuple[SamplingName, ...] = ("greedy", "beam", "nucleus")
"""``greedy`` takes the likeliest word each time, ``beam`` searches for the likeliest text, ``nucleus`` draws
(Holtzman et al., arXiv 1904.09751), which is what CapFilt writes its captions with (BLIP, section 3.3)."""


@dataclass(frozen=True)
class Sampling:
    """Settings of one way to choose words; a model says which it was published with (``Captioner.sampling``).

    ``min_tokens`` and ``max_tokens`` count new tokens, the end included. ``seed`` makes a draw repeatable:
    the same seed gives an image the same texts in whatever batch it is; None draws anew each time.
    ``images``: a number for each image of the batch, by which its draws differ from those of the others; when
    there is none, all draw at the same quantiles of their own distributions.
    """

    name: SamplingName
    beams: int = 1
    min_tokens: int = 1
    max_tokens: int = 30
    top_p: float = 1.0
    temperature: float = 1.0
    length_penalty: float = 1.0
    repetition_penalty: float = 1.0
    seed: int | None = 0
    images: tuple[int, ...] = ()

    def of(self, rows: Sequence[int]) -> Sampling:
        """The same for these images of the batch."""
        return replace(self, images=tuple(self.images[row] for row in rows)) if self.images else self


@dataclass(frozen=True)
class Caption:
    """A text about an image and the logarithm of its probability: the sum over its tokens, end included, in
    nats, by the model itself and not by the way of choosing."""

    text: str
    log_probability: float


@dataclass(frozen=True)
class Answer:
    """An answer to a question about an image; ``probability`` in [0, 1].

    Of a free answer it is the probability of its tokens, end included; among given options, the softmax over
    their likelihoods; of yes or no, that of the one against the other.
    """

    text: str
    probability: float
