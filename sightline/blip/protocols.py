"""What the rest of the house may ask of a model: two protocols, arrays in, arrays out.

Two, because InstructBLIP can judge but not embed. Letters in shapes: B images · P patches · V vision width ·
Q query tokens · D joint dim · T texts · K pairs · S pixels along one side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from torch import Tensor

    from sightline.blip.latents import Latents
    from sightline.records import Precision
    from sightline.types import RGB


class _Dimensions(Protocol):
    """Read-only attributes that both protocols share."""

    @property
    def fingerprint(self) -> str:
        """What a collection is bound to: equal fingerprints give equal tokens."""
        ...

    @property
    def num_query_tokens(self) -> int:
        """Q."""
        ...

    @property
    def joint_dim(self) -> int:
        """D."""
        ...

    @property
    def patch_shape(self) -> tuple[int, int]:
        """(P, V)."""
        ...

    @property
    def device(self) -> torch.device: ...


class Vision(_Dimensions, Protocol):
    """Sees pictures."""

    def preprocess(self, images: Sequence[RGB]) -> Tensor: ...

    def encode_patches(self, pixels: Tensor) -> Tensor: ...


@runtime_checkable
class Encoder(_Dimensions, Protocol):
    """Embeds: BLIP, BLIP-2, the toy. All results lie on ``device``."""

    @property
    def text_limit(self) -> int:
        """Most text tokens that count, special ones included."""
        ...

    def is_truncated(self, text: str) -> bool:
        """Whether ``text`` goes beyond the limit, so that its end is not looked at."""
        ...

    def preprocess(self, images: Sequence[RGB]) -> Tensor:
        """Pixels ``[B,3,S,S]``."""
        ...

    def encode_patches(self, pixels: Tensor) -> Tensor:
        """``[B,3,S,S]`` to patches ``[B,P,V]``."""
        ...

    def encode_image(self, patches: Tensor) -> Tensor:
        """``[B,P,V]`` to query tokens ``[B,Q,D]``, unit rows, fp32."""
        ...

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Text vectors ``[T,D]``, unit rows, fp32."""
        ...


@runtime_checkable
class Matcher(_Dimensions, Protocol):
    """Judges pairs: BLIP, BLIP-2, InstructBLIP (no/yes), the toy."""

    @property
    def matches_exactly(self) -> bool:
        """Whether ``fast`` is ``exact``: the model matches in float32 anyway."""
        ...

    def match(self, texts: Sequence[str], patches: Tensor | Latents, precision: Precision = "fast") -> Tensor:
        """Logits ``[K,2]`` fp32 averaged over the query tokens, for 1 or K texts and the patches of K images,
        ``[K,P,V]`` or as the cache keeps them.

        Index 1 is the match logit; the match probability is the softmax over the two, and needs both.
        ``precision``: ``exact`` computes in float32 whatever the model was loaded to match in.
        """
        ...
