"""What a cascade learns from: one query's pairs, all of them scored, with their states at every stop.

No key, no text and no picture is in a sample; of the text there is a salted hash, so that none is learned
twice. Shapes: K pairs · N stops · H width of a state.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from sightline.errors import CorruptionError
from sightline.reranker.cascade import stops_of

if TYPE_CHECKING:
    from torch import Tensor

    from sightline.blip.latents import Latents
    from sightline.blip.protocols import StagedMatcher
    from sightline.reranker.records import Candidate

FORMAT: Final = {"format": "sightline-cascade-sample", "version": "2"}
_TYPES: Final = ["float32", "float16", "float32"]
MOST_PAIRS: Final = 100
"""Of one query: the first ones by ITC."""
LEAST_PAIRS: Final = 20
"""Fewer say nothing about whom to leave out."""
_MARK: Final = re.compile("[0-9a-f]{32}")


@dataclass(frozen=True, eq=False)
class Sample:
    """One query's pairs in ITC order, best first."""

    layers: int
    """Of the model; its stops are `sightline.reranker.cascade.stops_of` these."""
    itc: NDArray[np.float32]
    """``[K]``."""
    pooled: NDArray[np.float16]
    """``[N,K,H]``: the average state of what will be judged, at each stop."""
    logits: NDArray[np.float32]
    """``[K]``: match logits."""
    text: str
    """A hash of the text: samples of one text are one query."""

    def salted(self, salt: str) -> Sample:
        """With a hash that nobody without the salt can find the text by."""
        return replace(self, text=marked(f"{salt}\0{self.text}"))

    def head(self, pairs: int) -> Sample:
        """The first pairs alone."""
        return Sample(self.layers, self.itc[:pairs], self.pooled[:, :pairs], self.logits[:pairs], self.text)


class Recorder:
    """Scores pairs as ``match`` does, to the last bit, and keeps what a sample needs. For one text."""

    def __init__(self, matcher: StagedMatcher, text: str) -> None:
        self._matcher = matcher
        self._text = text
        self._layers = matcher.match_layers
        self._found: dict[int, tuple[NDArray[np.float16], float]] = {}

    def match(self, keys: Sequence[int], patches: Tensor | Latents) -> Tensor:
        """Logits ``[K,2]`` of the pairs of these keys with their patches."""
        first, *others = [*stops_of(self._layers), self._layers]
        states = self._matcher.look(self._text, patches, first)
        pooled_NKH = []
        for layers in others:
            pooled_NKH.append(states.pooled().half().cpu().numpy())
            states = self._matcher.look_on(states, patches, layers)
        logits_K2 = self._matcher.decide(states)
        for row, (key, logit) in enumerate(zip(keys, logits_K2[:, 1].tolist(), strict=True)):
            self._found[key] = np.array([pooled[row] for pooled in pooled_NKH]), logit
        return logits_K2

    def sample(self, candidates: Sequence[Candidate]) -> Sample | None:
        """What was kept of the first candidates; None when that is too little, or some could not be had."""
        head = candidates[:MOST_PAIRS]
        if len(head) < LEAST_PAIRS or any(one.key not in self._found for one in head):
            return None
        pooled, logits = zip(*(self._found[one.key] for one in head), strict=True)
        itc = np.array([one.itc for one in head], np.float32)
        mark = marked(" ".join(self._text.casefold().split()))
        found = Sample(self._layers, itc, np.stack(pooled, axis=1), np.array(logits, np.float32), mark)
        # A state that does not fit into fp16 says nothing that a probe could use.
        return found if np.isfinite(found.pooled).all() and np.isfinite(found.logits).all() else None


def marked(text: str) -> str:
    """32 hexadecimal digits of a text's SHA-256."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def to_bytes(sample: Sample) -> bytes:
    """A sample's file: safetensors."""
    tensors = {"itc": sample.itc, "pooled": sample.pooled, "logits": sample.logits}
    content: bytes = save(
        {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()},
        {**FORMAT, "layers": str(sample.layers), "text": sample.text},
    )
    return content


def from_bytes(content: bytes) -> Sample:
    """Read a sample's file.

    Raises:
        CorruptionError: it is none, or of another version.
    """
    try:
        told, tensors = metadata(content), load(content)
        itc, pooled, logits = (tensors[name] for name in ("itc", "pooled", "logits"))
        sample = Sample(int(told["layers"]), itc, pooled, logits, told["text"])
        shapes = [itc.shape, logits.shape, pooled.shape[:2]]
        wanted = [(len(itc),), (len(itc),), (len(stops_of(sample.layers)), len(itc))]
        types = [str(one.dtype) for one in (itc, pooled, logits)]
        whole = all(bool(np.isfinite(one).all()) for one in (itc, pooled, logits))
        whole = whole and bool(_MARK.fullmatch(sample.text))
        if told.items() >= FORMAT.items() and shapes == wanted and types == _TYPES and whole:
            return sample
    except Exception as error:
        raise CorruptionError(f"A sample of scored pairs cannot be read: {error}.") from error
    raise CorruptionError("A file of a sample of scored pairs holds something else.")


def metadata(content: bytes) -> dict[str, str]:
    """What the header of a safetensors file tells besides its tensors; nothing when it has none."""
    try:
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        return {str(name): str(value) for name, value in header["__metadata__"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
