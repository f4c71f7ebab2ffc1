"""What the rest of the house may ask of a model: three roles, arrays in, arrays out.

Three, because an InstructBLIP can judge but not embed, and whoever judges may have to see a picture first.

    Vision             pictures → pixels → patches
    ├── Encoder        patches → query tokens, texts → vectors     BLIP, BLIP-2, the toy
    └── Matcher        a text and patches → two logits             BLIP, BLIP-2, InstructBLIP, both toys

Letters in shapes: B images · P patches · V vision width · Q query tokens · D joint dim · T texts · K pairs ·
S pixels along one side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from sightline.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from torch import Tensor

    from sightline.blip.latents import Latents
    from sightline.records import Precision
    from sightline.types import RGB


@runtime_checkable
class Vision(Protocol):
    """Sees pictures. All results but pixels lie on ``device``."""

    @property
    def fingerprint(self) -> str:
        """What a collection is bound to: equal fingerprints give equal patches and tokens."""
        ...

    @property
    def patch_shape(self) -> tuple[int, int]:
        """(P, V)."""
        ...

    @property
    def device(self) -> torch.device: ...

    def preprocess(self, images: Sequence[RGB]) -> Tensor:
        """Pixels ``[B,3,S,S]``."""
        ...

    def encode_patches(self, pixels: Tensor) -> Tensor:
        """``[B,3,S,S]`` to patches ``[B,P,V]``."""
        ...


class _Reader(Protocol):
    """Reads texts up to a limit."""

    @property
    def text_limit(self) -> int:
        """Most text tokens that count, special ones included."""
        ...

    def is_truncated(self, text: str) -> bool:
        """Whether ``text`` goes beyond the limit, so that its end is not looked at."""
        ...


@runtime_checkable
class Encoder(Vision, _Reader, Protocol):
    """Embeds pictures and texts in one space."""

    @property
    def num_query_tokens(self) -> int:
        """Q."""
        ...

    @property
    def joint_dim(self) -> int:
        """D."""
        ...

    def encode_image(self, patches: Tensor) -> Tensor:
        """``[B,P,V]`` to query tokens ``[B,Q,D]``, unit rows, fp32."""
        ...

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Text vectors ``[T,D]``, unit rows, fp32."""
        ...


@runtime_checkable
class Matcher(Vision, _Reader, Protocol):
    """Judges pairs. Needs no embedding, so it has neither Q nor D."""

    @property
    def matches_exactly(self) -> bool:
        """Whether ``fast`` is ``exact``: the model matches in float32 anyway."""
        ...

    def match(self, texts: Sequence[str], patches: Tensor | Latents, precision: Precision = "fast") -> Tensor:
        """Averaged logits ``[K,2]`` fp32, for 1 or K texts and the patches of K images.

        Patches are ``[K,P,V]`` or as the cache keeps them.

        Index 1 is the match logit; the match probability is the softmax over the two, and needs both.
        ``precision``: ``exact`` computes in float32 whatever the model was loaded to match in.
        """
        ...


class RetrievalModel(Encoder, Matcher, Protocol):
    """What a collection needs: one model that embeds and judges."""


def embedding(model: Matcher, name: str) -> RetrievalModel:
    """The model itself, known to embed as well; ``name`` is what the user called it.

    Raises:
        CheckpointError: it judges only.
    """
    if not isinstance(model, Encoder):
        raise cannot_embed(name)
    return model


def cannot_embed(name: str) -> CheckpointError:
    """For a model that judges only where one is needed that embeds."""
    return CheckpointError(f"The model {name} can judge but not embed; name one that embeds, such as demo.")
