"""What every checkpoint does that sees, and what every one does that embeds and judges, whatever its network.

Shapes: B images · P patches · V vision width · Q query tokens · D joint dim · T texts · K pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from pathlib import Path
from typing import Generic, Self, TypeVar

import torch
from torch import Tensor

from sightline.blip.checkpoint_words import Believable, read_calibration, read_note
from sightline.blip.config import VisionConfig
from sightline.blip.fingerprints import fingerprint as fingerprint_of
from sightline.blip.heat_maps import HeatMaps, heat_maps
from sightline.blip.image_encoder import ImageEncoder
from sightline.blip.known_words import KnownWords, Learned, LongRows, UnlikeNonsense, WordsRead
from sightline.blip.latents import Latents
from sightline.blip.match_precision import PairScorers
from sightline.blip.pair_states import PairStates
from sightline.blip.patch_metric import cross_attention_metric
from sightline.blip.precision import best_device, int8_may_pay, vision_dtype
from sightline.blip.scored import ScoredNetwork
from sightline.blip.text_words import TextWord, text_words
from sightline.blip.tokenizer import load_tokenizer
from sightline.blip.weights import fill, list_tensors
from sightline.errors import InputError
from sightline.records import Precision
from sightline.types import RGB


class SeeingCheckpoint:
    """One checkpoint on one device, in the role Vision; its ViT is read at the first picture."""

    def __init__(
        self,
        folder: Path,
        vision: VisionConfig,
        device: str | None = None,
        dtype: str | None = None,
        fingerprint: str | None = None,
    ) -> None:
        self.folder = folder
        self.device = torch.device(device or best_device())
        self.tensors = list_tensors(folder)
        kind = vision_dtype(dtype, self.device, vision.hidden_size)
        self.vision = ImageEncoder(folder, vision, self.tensors, kind, self.device)
        self._may_try_int8 = dtype is None and int8_may_pay(self.device, vision.hidden_size)
        self.fingerprint = fingerprint or fingerprint_of(folder)

    def known_as(self, fingerprint: str) -> Self:
        """The same model under another fingerprint of its files; weights and lazily read ViT are shared."""
        twin = copy(self)
        twin.fingerprint = fingerprint
        return twin

    @property
    def patch_shape(self) -> tuple[int, int]:
        """(P, V)."""
        return self.vision.patch_shape

    @property
    def vision_dtype(self) -> torch.dtype:
        """What the image encoder computes in; int8 is of its products alone."""
        return self.vision.dtype

    # -- VisionArithmetics

    @property
    def may_try_int8(self) -> bool:
        """Whether int8 is not taken yet, was left open, and may be faster here."""
        return self._may_try_int8 and self.vision_dtype != torch.int8

    def encode_patches_int8(self, pixels: Tensor) -> Tensor:
        """``[B,3,S,S]`` to patches ``[B,P,V]`` fp32, with products in int8."""
        return self.vision.encode_int8(pixels)

    def take_int8(self) -> None:
        """Encode in int8 from now on."""
        self.vision.take_int8()

    def leave_int8(self) -> None:
        """Give back what the comparison has read, unless int8 was taken."""
        self.vision.leave_int8()

    def layer_seconds(self, batch: int, layers: int) -> float:
        """How long the first layers of the image encoder take for so many pictures at once."""
        return self.vision.layer_seconds(batch, layers)

    # -- Vision

    def preprocess(self, images: Sequence[RGB]) -> Tensor:
        """Pictures to pixels ``[B,3,S,S]`` float32 on the CPU; the ViT's weights are loaded here."""
        return self.vision.preprocess(images)

    def encode_patches(self, pixels: Tensor) -> Tensor:
        """``[B,3,S,S]`` to patches ``[B,P,V]`` in the image encoder's dtype; fp32 where that is int8."""
        return self.vision.encode(pixels)


N = TypeVar("N", bound=ScoredNetwork)


class RetrievalCheckpoint(SeeingCheckpoint, Generic[N]):
    """An Encoder and a Matcher."""

    def __init__(
        self,
        folder: Path,
        network: N,
        vision: VisionConfig,
        joint_dim: int,
        *,
        device: str | None,
        dtype: str | None,
        match_dtype: str,
        fingerprint: str | None,
    ) -> None:
        """``network``: on the meta device; it gets its weights here."""
        super().__init__(folder, vision, device, dtype, fingerprint)
        self.tokenizer = load_tokenizer(folder, rows=network.vocabulary)
        self.network = network
        self.joint_dim = joint_dim
        """D."""
        fill(network, self.tensors, dtype=torch.float32, device=self.device)
        self.scorers = PairScorers(network, match_dtype)
        believable = read_calibration(folder)
        self.calibration = believable.calibration
        """Of its match probabilities, as the checkpoint's own file has it."""
        self.note = read_note(folder)
        """What is to be said to whoever uses it; None: nothing."""
        self._known = KnownWords(self.tokenizer, self._learned(believable))

    @property
    def text_limit(self) -> int:
        """Most text tokens that count, [CLS] and [SEP] included."""
        return self.tokenizer.limit

    def is_truncated(self, text: str) -> bool:
        """Whether the end of ``text`` is beyond the limit and not looked at."""
        return self.tokenizer.length(text) > self.tokenizer.limit

    def _learned(self, believable: Believable) -> Learned | None:
        """The sign of words that the model never learned, where its checkpoint has one."""
        if believable.least_norm is not None:
            rows = self.network.word_embedding.weight
            return LongRows(rows.norm(dim=1).tolist(), believable.least_norm)
        if believable.most_like_nonsense is not None:
            return UnlikeNonsense(self.encode_text, believable.most_like_nonsense)
        return None

    def words_read(self, text: str) -> WordsRead:
        """Which words of ``text`` the model knows."""
        return self._known.read(text)

    # -- Encoder

    @torch.inference_mode()
    def encode_image(self, patches: Tensor) -> Tensor:
        """``[B,P,V]`` to query tokens ``[B,Q,D]``, unit rows, fp32."""
        return self.network.image_tokens(patches.to(self.device, torch.float32))

    @torch.inference_mode()
    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Text vectors ``[T,D]``, unit rows, fp32."""
        return self.network.text_vectors(*self.tokenizer.batch(_not_empty(texts), self.device))

    # -- Matcher

    @property
    def matches_exactly(self) -> bool:
        """Whether one text is scored in float32 anyway."""
        return self.scorers.arithmetic == "float32"

    @torch.inference_mode()
    def match(self, texts: Sequence[str], patches: Tensor | Latents, precision: Precision = "fast") -> Tensor:
        """ITM logits ``[K,2]`` fp32 (BLIP-2's averaged over the query tokens) for 1 or K texts and the
        patches of K images, ``[K,P,V]`` or compressed.

        One text is the fast path, in ``match_dtype`` unless ``precision`` is ``exact``; K texts are padded
        and computed in float32.
        """
        if len(texts) not in (1, len(patches)):
            raise InputError(
                f"{len(texts)} texts do not pair with {len(patches)} images; give one text or one per image."
            )
        ids, valid = self.tokenizer.batch(_not_empty(texts), self.device)
        patches = patches.to(self.device)
        if len(texts) == 1:
            scorer = self.scorers.exact if precision == "exact" else self.scorers.fast
            return scorer(ids, patches)
        dense = patches.patches() if isinstance(patches, Latents) else patches.float()
        return self.network.itm_logits(dense, ids, None if bool(valid.all()) else valid)

    def pinned(self) -> Self:
        """The same model; it goes on scoring as it does now, whatever is adopted meanwhile."""
        return self._scoring(self.scorers.pinned())

    def trial(self, arithmetic: str) -> Self:
        """The same model, scoring pairs in another arithmetic that its scorers offer."""
        return self._scoring(self.scorers.trial(arithmetic))

    def _scoring(self, scorers: PairScorers) -> Self:
        twin = copy(self)
        twin.scorers = scorers
        return twin

    # -- StagedMatcher

    @property
    def match_layers(self) -> int:
        """Layers of the Q-Former, or of BLIP's text encoder."""
        return len(self.network.scored_layers())

    @property
    def match_width(self) -> int:
        """Width of its states."""
        return self.network.itm_head.in_features

    def look(self, text: str, patches: Tensor | Latents, layers: int) -> PairStates:
        """Pairs of one text and K images, in ``match_dtype``, after so many layers."""
        ids, _ = self.tokenizer.batch(_not_empty([text]), self.device)
        return self.scorers.fast.look(ids, patches.to(self.device), layers)

    def look_on(self, states: PairStates, patches: Tensor | Latents, layers: int) -> PairStates:
        """The same pairs after more layers; ``patches`` are theirs."""
        return self.scorers.fast.look_on(states, patches.to(self.device), layers)

    def decide(self, states: PairStates) -> Tensor:
        """ITM logits ``[K,2]`` fp32 of pairs that went through all layers."""
        return self.scorers.fast.logits(states)

    # -- Explainer

    def words(self, text: str) -> tuple[TextWord, ...]:
        """The words that are looked at."""
        return text_words(text, self.tokenizer.spans(text))

    def heat_maps(self, text: str, patches: Tensor | Latents) -> HeatMaps:
        """Where the match of one text and K images came from, in float32 (blip/heat_maps.py)."""
        ids, _ = self.tokenizer.batch(_not_empty([text]), self.device)
        return heat_maps(self.network, ids, self.words(text), patches.to(self.device))

    def patch_metric(self) -> Tensor:
        """Parts ``[2,V,V]`` fp64: how cross-attention weighs errors of patches (blip/patch_codec.py)."""
        return cross_attention_metric(self.network)


def _not_empty(texts: Sequence[str]) -> Sequence[str]:
    """The texts. Raises InputError: one says nothing."""
    if any(not text.strip() for text in texts):
        raise InputError("The text is empty; say in words what the picture should show.")
    return texts
