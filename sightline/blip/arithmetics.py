"""What may be asked of a model that computes in more than one arithmetic, and changes while it is in use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from sightline.blip.match_precision import PairScorers
    from sightline.blip.protocols import RetrievalModel


@runtime_checkable
class SeveralArithmetics(Protocol):
    """A model that can score pairs in more than float32, and change while it is in use."""

    @property
    def scorers(self) -> PairScorers:
        """What it offers and has chosen; the same object for all of the model's names."""
        ...

    def pinned(self) -> RetrievalModel:
        """The same model, scoring as it does now for good: what one search uses throughout."""
        ...

    def trial(self, arithmetic: str) -> RetrievalModel:
        """The same model, scoring in another arithmetic that its scorers offer."""
        ...


@runtime_checkable
class VisionArithmetics(Protocol):
    """An image encoder that may go over to int8 once it was seen to keep tokens and orders.

    It can be timed, too.
    """

    @property
    def vision_dtype(self) -> torch.dtype:
        """What it computes in."""
        ...

    @property
    def may_try_int8(self) -> bool:
        """Whether int8 is not taken yet, was left open, and may be faster here."""
        ...

    def encode_patches_int8(self, pixels: Tensor) -> Tensor:
        """``[B,3,S,S]`` to patches ``[B,P,V]`` fp32, with products in int8."""
        ...

    def take_int8(self) -> None:
        """Encode in int8 from now on."""
        ...

    def leave_int8(self) -> None:
        """Give back what ``encode_patches_int8`` has read, unless int8 was taken."""
        ...

    def layer_seconds(self, batch: int, layers: int) -> float:
        """How long the first ``layers`` layers of the image encoder take for so many pictures at once."""
        ...
