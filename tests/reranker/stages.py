"""A matcher of four layers that adds up one number in each, and counts what it computes."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from sightline.blip.latents import Latents
from sightline.blip.pair_states import PairStates
from sightline.errors import NotFoundError
from sightline.records import Precision
from sightline.reranker import PatchGroup
from sightline.reranker.samples import Sample
from sightline.types import RGB

LAYERS = 4
WIDTH = 3


@dataclass(frozen=True)
class Found:
    """A candidate, without the retriever."""

    key: int
    itc: float
    itc_rank: int


class Adding:
    """Patches ``[K,1,5]`` are a key and what each layer adds; the match logit is their sum."""

    fingerprint = "adding"
    patch_shape = (1, LAYERS + 1)
    text_limit = 16
    device = torch.device("cpu")
    matches_exactly = True
    match_layers = LAYERS
    match_width = WIDTH

    def __init__(self) -> None:
        self.computed: Counter[tuple[int, int]] = Counter()
        """(key, layer) → how often."""

    def preprocess(self, images: Sequence[RGB]) -> Tensor:
        raise NotImplementedError

    def encode_patches(self, pixels: Tensor) -> Tensor:
        raise NotImplementedError

    def is_truncated(self, text: str) -> bool:
        return False

    def match(self, texts: Sequence[str], patches: Tensor | Latents, precision: Precision = "fast") -> Tensor:
        return self.decide(self.look(texts[0], patches, LAYERS))

    def look(self, text: str, patches: Tensor | Latents, layers: int) -> PairStates:
        start = PairStates(torch.zeros(len(patches), 1, WIDTH), 0, 1, 1)
        return self.look_on(start, patches, layers)

    def look_on(self, states: PairStates, patches: Tensor | Latents, layers: int) -> PairStates:
        assert not isinstance(patches, Latents)
        hidden = states.hidden.clone()
        for layer in range(states.layers + 1, layers + 1):
            self.computed.update((int(key), layer) for key in patches[:, 0, 0])
            hidden[:, 0, 0] += patches[:, 0, layer]
        hidden[:, 0, 1] = 1.0  # a feature that never changes
        return replace(states, hidden=hidden, layers=layers)

    def decide(self, states: PairStates) -> Tensor:
        assert states.layers == LAYERS
        logits = states.pooled()[:, 0]
        return torch.stack([torch.zeros(len(logits)), logits], dim=1)


@dataclass
class Query:
    """One query's pictures: ``added [K,4]`` by key, ITC scores, falling. A ``PatchSource``."""

    added: np.ndarray[tuple[int, int], np.dtype[np.float32]]
    itc: np.ndarray[tuple[int], np.dtype[np.float32]]
    lost: frozenset[int] = frozenset()

    def patches(self, keys: Sequence[int]) -> list[PatchGroup]:
        if self.lost & set(keys):
            raise NotFoundError("gone")
        rows = [[float(key), *self.added[key].tolist()] for key in keys]
        return [PatchGroup(range(len(keys)), torch.tensor(rows)[:, None])]

    @property
    def logits(self) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
        total = np.zeros(len(self.added), np.float32)
        for layer in range(LAYERS):
            total += self.added[:, layer]
        return total

    def candidates(self) -> list[Found]:
        return [Found(key, float(itc), key + 1) for key, itc in enumerate(self.itc)]

    def best(self, top: int) -> list[int]:
        """Keys of the best by match logit + ITC."""
        return np.argsort(-(self.logits.astype(np.float64) + self.itc), kind="stable")[:top].tolist()

    def sample(self) -> Sample:
        pooled = np.zeros((LAYERS - 1, len(self.itc), WIDTH), np.float16)
        for stop in range(1, LAYERS):
            pooled[stop - 1, :, 0] = self.added[:, :stop].sum(axis=1)
            pooled[stop - 1, :, 1] = 1.0
        return Sample(LAYERS, self.itc, pooled, self.logits, hashlib.sha256(self.itc).hexdigest()[:32])


def query(seed: int, shares: Sequence[float], pairs: int = 60, itc_known: float = 0.9) -> Query:
    """Match logits of a normal distribution, of which each layer adds a share, and noise that the last layer
    takes back: ``shares`` are how much of the variance is known after each of the first three layers, and
    ``itc_known`` how far ITC scores correlate with the logits."""
    rng = np.random.default_rng(seed)
    wanted = rng.normal(size=pairs) * 3
    itc = (itc_known * wanted / 3 + np.sqrt(1 - itc_known**2) * rng.normal(size=pairs)) * 0.05 + 0.3
    order = np.argsort(-itc)
    wanted, itc = wanted[order], itc[order]
    known = [share * wanted + np.sqrt(share * (1 - share)) * 3 * rng.normal(size=pairs) for share in shares]
    steps = np.diff(np.stack([np.zeros(pairs), *known, wanted]), axis=0)
    return Query(steps.T.astype(np.float32), itc.astype(np.float32))
