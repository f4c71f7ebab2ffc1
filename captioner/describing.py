"""Captions for pictures that somebody gives: no collection, no job."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from sightline.captioner.plans import check_count

if TYPE_CHECKING:
    from torch import Tensor

    from sightline.blip.protocols import Captioner
    from sightline.blip.sampling import Caption, Sampling, SamplingName
    from sightline.captioner.parts import Line, Models
    from sightline.types import RGB

IMAGES_AT_ONCE = 8
"""Pictures that are captioned together: bounds the memory of one request."""


class Describing:
    """Captions given pictures, in the line that all who need a model stand in. Thread-safe."""

    def __init__(self, models: Models, line: Line) -> None:
        self._models = models
        self._line = line

    def describe(
        self,
        images: Iterable[RGB],
        *,
        model: str,
        revision: str | None = None,
        n: int = 1,
        sampling: SamplingName = "beam",
        prompt: str | None = None,
        seed: int | None = 0,
    ) -> list[list[Caption]]:
        """``n`` captions for each picture (uint8 ``[H,W,3]``), the likeliest first.

        The pictures are taken one after the other once the request is let in, so they may be decoded as they
        are taken. ``seed``: the same gives a picture the same captions; None draws anew.

        Raises:
            InputError: a number or a sampling that cannot be.
            ModelUnavailableError, CheckpointError: there is no such model, or it writes no captions.
            OverloadedError: too many requests wait already.
        """
        check_count(n, sampling)
        with self._line.admit() as admitted:
            captioner = self._models.captioner(model, revision)
            chosen = replace(captioner.sampling(sampling), seed=seed)
            written: list[list[Caption]] = []
            # One by one: each is made small before the next is taken.
            pixels = (captioner.preprocess([image]) for image in images)
            while some := list(islice(pixels, IMAGES_AT_ONCE)):
                features_BFW = admitted.turn(partial(_see, captioner, some))
                written += admitted.turn(partial(_write, captioner, features_BFW, n, chosen, prompt))
            return written


def _see(captioner: Captioner, pixels: Sequence[Tensor]) -> Tensor:
    """Features ``[B,F,W]`` of pixels ``[1,3,S,S]``."""
    import torch

    with torch.inference_mode():
        return captioner.features(captioner.encode_patches(torch.cat(list(pixels))))


def _write(
    captioner: Captioner, features_BFW: Tensor, n: int, sampling: Sampling, prompt: str | None
) -> list[list[Caption]]:
    import torch

    with torch.inference_mode():
        return captioner.caption(features_BFW, n, sampling, prompt)
