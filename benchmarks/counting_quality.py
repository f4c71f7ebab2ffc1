"""How well counts find all pictures that a sentence is true of, and how many they judge for it.

The product's own rule (`sightline.searching.counting`) over drawn scenes of the test split, for sentences on
one thing and on two, each true of many; what it goes by was learned on scenes of the validation split, every
pair of which was judged. Truth comes from the scenes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from demo.world.benchmark import SceneIndex, held_out, relevance_of, texts
from demo.world.draw import draw
from demo.world.sample import random_sentence
from demo.world.sentences import Sentence
from sightline.blip.calibrated import calibration_of
from sightline.records import MAX_CANDIDATES
from sightline.reranker.judging import match_scores
from sightline.reranker.records import Ranked
from sightline.retriever.records import Candidate as Image
from sightline.retriever.records import Retrieved
from sightline.searching.cascades import Knowledge
from sightline.searching.count_law import Judged, Law, learn
from sightline.searching.counting import Counted, Outward, Plan
from sightline.searching.fusion import Fused
from sightline.searching.questions import Found
from sightline.searching.reading import Reading
from sightline.searching.stopwatch import Stopwatch

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from demo.world.scene import Scene
    from sightline.blip.blip2 import Blip2
    from sightline.explanations import Explanation
    from sightline.reranker.records import Candidate, Watch

COUNTING_GOALS: dict[str, tuple[float, float]] = {"count_precision": (0.95, 1.0), "count_recall": (0.95, 1.0)}
LEAST: Final = 0.5
"""The match probability that is asked for: more likely than not."""
SEED: Final = 5
SENTENCES: Final = 32
_LEARNED: Final = (32, 24)
"""Families of 8 scenes, and sentences, of the validation split."""
_FAMILIES: Final = 125
_FEWEST: Final = {1: 8, 2: 4}
"""Of how many scenes a sentence is true at least, by how many things it names."""


@dataclass(frozen=True, eq=False)
class World:
    """N scenes as the model sees them: patches ``[N,P,V]``, tokens ``[N,Q,D]``; T sentences about them, and
    which is true of which, ``[T,N]``."""

    patches: Tensor
    tokens: Tensor
    sentences: Sequence[str]
    true: NDArray[np.bool_]


class SceneQuestion:
    """One sentence, asked of all scenes: a `Question` without a store. Keys are places of scenes."""

    truncated = False
    reading = Reading()

    def __init__(self, model: Blip2, world: World, text: str) -> None:
        self._model, self._world, self._text = model, world, text
        self._known: dict[int, Ranked] = {}
        itc = (world.tokens @ model.encode_text([text])[0]).amax(dim=1).double().numpy()
        order = np.lexsort((np.arange(len(itc)), -itc))
        self._found = [Image(int(key), float(itc[key]), rank) for rank, key in enumerate(order, 1)]

    def retrieve(self, wanted: int, judged: int, clock: Stopwatch) -> Found:
        """The first by ITC; ``judged`` of them as the head."""
        first = self._found[:wanted]
        return Found(Retrieved(first, 1, len(self._found)), Fused(first[:judged], first[judged:]))

    def knowledge(self, head: Sequence[Candidate]) -> Knowledge:
        """Nothing is known."""
        return Knowledge()

    def judge(
        self,
        candidates: Sequence[Candidate],
        known: Knowledge,
        left_ms: float | None = None,
        watch: Watch | None = None,
    ) -> list[Ranked]:
        """All of them, by the averaged match logit + ITC; each once, however many counts ask."""
        todo = [one for one in candidates if one.key not in self._known]
        for start in range(0, len(todo), 64):
            some = todo[start : start + 64]
            with torch.inference_mode():
                logits = self._model.match([self._text], self._world.patches[[one.key for one in some]])
            scores = match_scores(logits, calibration_of(self._model))
            for one, (logit, probability, _) in zip(some, scores, strict=True):
                ranked = Ranked(one.key, logit + one.itc, one.itc, one.itc_rank, logit, probability)
                self._known[one.key] = ranked
        return sorted((self._known[one.key] for one in candidates), key=lambda one: (-one.score, one.key))

    def explain(self, keys: Sequence[int]) -> Mapping[int, Explanation]:
        """Nobody asks."""
        return {}

    def degraded(self) -> tuple[str, ...]:
        """Nothing is lost."""
        return ()


def counting_figures(model: Blip2) -> dict[str, float]:
    """Precision and recall of all kept pictures against the scenes; the share of all that was judged.

    ``count_judged`` with a law learned on validation scenes, ``count_judged_unlearned`` without one, whose
    recall is ``count_recall_unlearned``.
    """
    law = _learned(model)
    world = _seen(model, "test", _FAMILIES, SENTENCES)
    questions = [SceneQuestion(model, world, text) for text in world.sentences]
    counted = [_count(one, law) for one in questions]
    plain = [_count(one, None) for one in questions]
    precision, recall = _quality(world, counted)
    return {
        "count_precision": precision,
        "count_recall": recall,
        "count_judged": _judged(world, counted),
        "count_recall_unlearned": _quality(world, plain)[1],
        "count_judged_unlearned": _judged(world, plain),
    }


def _learned(model: Blip2) -> Law | None:
    world = _seen(model, "val", *_LEARNED)
    everything = len(world.patches)
    plan = Plan(LEAST, everything, exact=True)
    seen = [Outward(SceneQuestion(model, world, text), plan, Stopwatch()) for text in world.sentences]
    judged = [one.count(one.begin()).seen for one in seen]
    return learn([one for one in judged if isinstance(one, Judged)], LEAST)


def _count(question: SceneQuestion, law: Law | None) -> Counted:
    outward = Outward(question, Plan(LEAST, MAX_CANDIDATES, law=law), Stopwatch())
    return outward.count(outward.begin())


def _quality(world: World, counted: Sequence[Counted]) -> tuple[float, float]:
    """Of all pairs of a sentence and a picture together."""
    kept = np.zeros_like(world.true)
    for row, one in enumerate(counted):
        kept[row, [hit.key for hit in one.hits]] = True
    both = float((kept & world.true).sum())
    return both / max(1.0, float(kept.sum())), both / float(world.true.sum())


def _judged(world: World, counted: Sequence[Counted]) -> float:
    return float(np.mean([one.scored for one in counted])) / len(world.patches)


def _seen(model: Blip2, split: str, families: int, sentences: int) -> World:
    scenes, _, _ = held_out(SEED, families, split)
    asked = _sentences(scenes, split, sentences)
    with torch.inference_mode():
        parts = [
            model.encode_patches(
                model.preprocess([draw(one, 384, supersample=2) for one in scenes[start : start + 32]])
            )
            for start in range(0, len(scenes), 32)
        ]
        patches = torch.cat(parts)
        tokens = torch.cat([model.encode_image(part) for part in patches.split(64)])
    return World(patches, tokens, texts(asked, SEED), relevance_of(scenes, asked))


def _sentences(scenes: list[Scene], split: str, wanted: int) -> list[Sentence]:
    """Different ones on one thing or two, each true of many scenes; no size, setting or place is said."""
    rng, index = Random(f"counted {split}"), SceneIndex(scenes)
    found: dict[Sentence, None] = {}
    while len(found) < wanted:
        sentence = random_sentence(rng, rng.choice(scenes), rng.choice(("single", "single", "pair")))
        plain = not sentence.setting and not any(phrase.size for phrase in sentence.phrases)
        if plain and len(index.true_of(sentence)) >= _FEWEST[len(sentence.phrases)]:
            found[sentence] = None
    return list(found)
