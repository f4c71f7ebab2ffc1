"""What the rest of the house may ask of a model: its roles, arrays in, arrays or words out.

Several, because an InstructBLIP can judge and answer but not embed, and whoever judges or writes may have to
see a picture first.

    Vision             pictures → pixels → patches
    ├── Encoder        patches → query tokens, texts → vectors     BLIP, BLIP-2, the toy
    ├── Matcher        a text and patches → two logits             BLIP, BLIP-2, InstructBLIP, the toys
    │   ├── StagedMatcher  the same, with stops between the layers  BLIP, BLIP-2, the toy
    │   └── Explainer      where in a picture a match came from     BLIP, BLIP-2, the toy
    └── Writer         patches → features, which is what is kept of an image to write about it
        ├── Captioner  features → captions                         BLIP, BLIP-2, InstructBLIP, the toy
        └── Answerer   features and questions → answers            BLIP, BLIP-2, InstructBLIP, the toy

Letters in shapes: B images · P patches · V vision width · Q query tokens · D joint dim · T texts · K pairs ·
F, W a writer's features of one image · O options · S pixels along one side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from sightline.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from torch import Tensor

    from sightline.blip.heat_maps import HeatMaps
    from sightline.blip.latents import Latents
    from sightline.blip.pair_states import PairStates
    from sightline.blip.sampling import Answer, Caption, Sampling, SamplingName
    from sightline.blip.text_words import TextWord
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


@runtime_checkable
class StagedMatcher(Matcher, Protocol):
    """Can stop after some of its layers, so that only the best pairs go through the others. What it computes
    is what ``match`` does with ``precision="fast"``, and nothing twice."""

    @property
    def match_layers(self) -> int:
        """How many layers a pair goes through in all."""
        ...

    @property
    def match_width(self) -> int:
        """Width of the states between them."""
        ...

    def look(self, text: str, patches: Tensor | Latents, layers: int) -> PairStates:
        """Pairs of one text and the patches of K images, after their first ``layers`` layers, 1 to all."""
        ...

    def look_on(self, states: PairStates, patches: Tensor | Latents, layers: int) -> PairStates:
        """The same pairs after more layers, ``layers`` in all; ``patches`` are theirs, in their order."""
        ...

    def decide(self, states: PairStates) -> Tensor:
        """Averaged logits ``[K,2]`` fp32 of pairs that went through all layers."""
        ...


@runtime_checkable
class Explainer(Matcher, Protocol):
    """Can say where a match came from."""

    def words(self, text: str) -> tuple[TextWord, ...]:
        """The words of a text that it looks at, in order."""
        ...

    def heat_maps(self, text: str, patches: Tensor | Latents) -> HeatMaps:
        """Of one text and the patches of K images, K ≥ 1, in float32 whatever it was loaded to match in."""
        ...


@runtime_checkable
class Writer(Vision, Protocol):
    """Puts images into words, from features: all that it needs of an image.

    Those of a BLIP-2 of stage 2 are its query outputs ``[Q,H]``, which no text changes. An InstructBLIP's
    depend on the instruction, and a BLIP's decoder looks at the patches: there the features are the patches.
    """

    @property
    def features_are_patches(self) -> bool:
        """Whether ``features`` gives back what it got, so that cached patches of this model serve."""
        ...

    @property
    def feature_shape(self) -> tuple[int, int]:
        """(F, W)."""
        ...

    def features(self, patches: Tensor | Latents) -> Tensor:
        """``[B,P,V]`` to ``[B,F,W]``; what the cache compressed is made whole."""
        ...

    def sampling(self, name: SamplingName) -> Sampling:
        """The settings that this model was published with, for captions, under that name."""
        ...


@runtime_checkable
class Captioner(Writer, Protocol):
    """Describes images."""

    def caption(
        self, features: Tensor, n: int, sampling: Sampling, prompt: str | None = None
    ) -> list[list[Caption]]:
        """``n`` captions for each of the ``[B,F,W]``, the likeliest first.

        ``prompt``: how the caption begins, or the instruction; None: what this model was published with.
        ``beam`` gives the ``n`` best of at least ``n`` beams, ``greedy`` knows one only (InputError for
        more).
        """
        ...


@runtime_checkable
class Answerer(Writer, Protocol):
    """Answers questions about images. A question is a whole prompt: whoever asks has put it into the wording
    of its task (``sightline.blip.instructions``)."""

    def answer(self, features: Tensor, prompts: Sequence[str], sampling: Sampling) -> list[Answer]:
        """One answer for each of the ``[K,F,W]``, to 1 or K prompts."""
        ...

    def log_likelihoods(self, features: Tensor, prompts: Sequence[str], options: Sequence[str]) -> Tensor:
        """``[K,O]`` fp32: log-probability of each option as the whole answer, its end included, in nats.

        1 or K prompts. This is how options are ranked (LAVIS ``predict_class``).
        """
        ...


class RetrievalModel(Encoder, Matcher, Protocol):
    """What a collection needs: one model that embeds and judges."""


@runtime_checkable
class SeveralNames(Protocol):
    """A model whose files have had other fingerprints before."""

    def known_as(self, fingerprint: str) -> RetrievalModel:
        """The same model under another fingerprint of its files; nothing is loaded again."""
        ...


def embedding(model: Vision, name: str) -> RetrievalModel:
    """The model itself, known to embed and judge; ``name`` is what the user called it.

    Raises:
        CheckpointError: it does not.
    """
    if not isinstance(model, Encoder) or not isinstance(model, Matcher):
        raise cannot_embed(name)
    return model


def judging(model: Vision, name: str) -> Matcher:
    """The model itself, known to judge. Raises CheckpointError: it does not."""
    if not isinstance(model, Matcher):
        raise CheckpointError(
            f"The model {name} cannot judge whether a text fits an image; name one that can, such as demo."
        )
    return model


def explaining(model: Vision, name: str) -> Explainer:
    """The model itself, known to explain. Raises CheckpointError: it does not."""
    if not isinstance(model, Explainer):
        raise CheckpointError(
            f"The model {name} cannot say why an image matches; take a BLIP or BLIP-2, such as demo."
        )
    return model


def captioning(model: Vision, name: str) -> Captioner:
    """The model itself, known to caption. Raises CheckpointError: it does not."""
    if not isinstance(model, Captioner):
        raise cannot_caption(name)
    return model


def answering(model: Vision, name: str) -> Answerer:
    """The model itself, known to answer. Raises CheckpointError: it does not."""
    if not isinstance(model, Answerer):
        raise CheckpointError(f"The model {name} answers no questions; name one that does, such as demo.")
    return model


def cannot_caption(name: str) -> CheckpointError:
    """For a model that writes no captions where one is needed that does."""
    return CheckpointError(f"The model {name} writes no captions; name one that does, such as demo.")


def cannot_embed(name: str) -> CheckpointError:
    """For a model that does not embed where one is needed that does."""
    return CheckpointError(
        f"The model {name} does not embed images and texts; name one that does, such as demo."
    )
