"""Batches of stage 2: families of near misses side by side, with the truth of every pair from the scenes.

Shapes: B pictures and B sentences per batch · L text tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import get_args

import numpy as np
import torch
from torch import Tensor

from demo.training.grounding import Facts
from demo.training.pictures import FAMILY_SIZE
from demo.training.recipe import QFormerStage
from demo.world.sample import How, full_caption, near_miss_sentence, random_sentence
from demo.world.scene import Scene
from demo.world.sentences import WORDINGS, Sentence, render, satisfies
from sightline.blip.tokenizer import TextTokenizer, pad

HOWS: tuple[How, ...] = get_args(How)


@dataclass(frozen=True)
class Texts:
    """Padded ids ``[B,L]`` and 0/1 ``[B,L]`` where real."""

    ids: Tensor
    valid: Tensor


@dataclass(frozen=True)
class Batch:
    """One step's pictures (rows of the picture store) and texts."""

    rows: list[int]
    sentences: Texts
    captions: Texts
    """[DEC] first."""
    near_misses: Texts
    """For each picture a sentence that is false of it: its own, changed in one way."""
    facts: Facts
    truth: Tensor
    """``[B,B]`` bool: sentence i (row) is true of picture j (column)."""


class BatchMaker:
    """Draws batch ``step`` from (seed, step) alone, so that a resumed run sees the same ones."""

    def __init__(
        self, scenes: Sequence[Scene], families: int, tokenizer: TextTokenizer, limit: int, seed: int
    ) -> None:
        self.scenes, self.families, self.tokenizer, self.limit, self.seed = (
            scenes,
            families,
            tokenizer,
            limit,
            seed,
        )

    def make(self, step: int, stage: QFormerStage) -> Batch:
        """The batch of one step."""
        rng = Random(f"{self.seed} batch {step}")
        rows = self._rows(rng, stage)
        scenes = [self.scenes[row] for row in rows]
        sentences = [self._sentence(rng, scenes, index) for index in range(len(rows))]
        misses = [
            self._near_miss(rng, scene, sentence) for scene, sentence in zip(scenes, sentences, strict=True)
        ]
        truth = np.array([[satisfies(scene, sentence) for scene in scenes] for sentence in sentences])
        captions = [self._words(rng, full_caption(scene, rng)) for scene in scenes]
        return Batch(
            rows,
            self._texts([self._words(rng, sentence) for sentence in sentences]),
            self._texts(captions, caption=True),
            self._texts([self._words(rng, sentence) for sentence in misses]),
            Facts.of(scenes),
            torch.from_numpy(truth),
        )

    def _rows(self, rng: Random, stage: QFormerStage) -> list[int]:
        rows = []
        for family in rng.sample(range(self.families), stage.families_per_batch):
            members = rng.sample(range(FAMILY_SIZE), stage.pictures_per_family)
            rows += [family * FAMILY_SIZE + member for member in members]
        first = self.families * FAMILY_SIZE
        return rows + rng.sample(range(first, len(self.scenes)), stage.random_per_batch)

    def _sentence(self, rng: Random, scenes: Sequence[Scene], index: int) -> Sentence:
        """A true sentence; mostly the one of a few that fits the fewest of its neighbours in the batch."""
        tries = [random_sentence(rng, scenes[index]) for _ in range(rng.choice((1, 3, 5)))]
        near = scenes[max(0, index - 3) : index + 4]
        return min(tries, key=lambda sentence: sum(satisfies(scene, sentence) for scene in near))

    def _near_miss(self, rng: Random, scene: Scene, sentence: Sentence) -> Sentence:
        for _ in range(4):
            start = sentence if rng.random() < 0.7 else random_sentence(rng, scene)
            for how in rng.sample(HOWS, len(HOWS)):
                found = near_miss_sentence(rng, scene, start, how)
                if found is not None:
                    return found
        raise ValueError(f"no near miss of {sentence} for {scene}")  # an exchanged object can always be had

    def _words(self, rng: Random, sentence: Sentence) -> str:
        return render(sentence, rng.randrange(WORDINGS))

    def _texts(self, texts: Sequence[str], caption: bool = False) -> Texts:
        rows = [self.tokenizer.ids(text)[: self.limit] for text in texts]
        if caption:
            if self.tokenizer.dec is None:
                raise ValueError("captions need a tokenizer with [DEC]")
            rows = [[self.tokenizer.dec, *row[1:]] for row in rows]
        return Texts(*pad(rows, self.tokenizer.pad))
