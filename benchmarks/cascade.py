"""The cascade: how much of the full order is kept at which share of the work, on the demo model.

``python -m benchmarks.cascade``. Learned from sentences over pictures of the val split, measured on sentences
over pictures of the test split that nothing was learned from, each over its 100 best by ITC, by the product's
own reranker. Work counts layers that pairs went through. Shapes: N pictures · T sentences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.measuring import Row, Section
from benchmarks.quality import encode, itc_scores, progress
from demo.world.benchmark import held_out, texts
from sightline.blip import load
from sightline.blip.blip2 import Blip2
from sightline.blip.checkpoint import DEMO
from sightline.records import Effort
from sightline.reranker import Cascade, PatchGroup, Ranked, Reranker
from sightline.reranker.cascade_fit import fit
from sightline.reranker.samples import Sample

LEARNED_SEED, MEASURED_SEED = 4, 3
CANDIDATES = 100
TOP = 10


class Found(NamedTuple):
    """A candidate, without the retriever."""

    key: int
    itc: float
    itc_rank: int


@dataclass(frozen=True)
class World:
    """Pictures and sentences: stored patches ``[N,P,V]``, ITC scores and relevance ``[T,N]``."""

    stored: Tensor
    words: Sequence[str]
    itc: NDArray[np.float32]
    relevant: NDArray[np.bool_]

    def patches(self, keys: Sequence[int]) -> list[PatchGroup]:
        """The ``PatchSource`` of these pictures; keys are their numbers."""
        return [PatchGroup(range(len(keys)), self.stored[torch.tensor(keys)])]

    def candidates(self, query: int) -> list[Found]:
        """The best by ITC."""
        rows = np.argsort(-self.itc[query], kind="stable")[:CANDIDATES]
        return [Found(int(row), float(self.itc[query, row]), place) for place, row in enumerate(rows, 1)]


@dataclass(frozen=True)
class Measured:
    """Means over the sentences."""

    overlap: float
    r1_change: float
    """R@1 with it minus R@1 of the full order."""
    work: float
    reach: dict[int, float]
    """Share of the candidates that went through at least so many of 100 parts of the layers."""


def run(full: bool) -> Section:
    """200 sentences to learn from and 200 to measure on, or 48 of each."""
    return measure(load(DEMO, device="cpu"), 25 if full else 6)


def measure(model: Blip2, families: int) -> Section:
    """Families are of eight pictures each, with as many sentences."""
    cascade = learned(model, _world(model, LEARNED_SEED, families, "val"))
    world = _world(model, MEASURED_SEED, families, "test")
    section = Section("Cascade: layers saved against the full order")
    whole = _orders(model, world, "full", None)
    for effort in ("auto", "quick"):
        found = _compared(world, whole, _orders(model, world, effort, cascade), model.match_layers)
        section.rows.append(_row(effort, found))
        section.figures |= _figures("cascade" if effort == "auto" else "cascade_quick", found)
    section.notes = [
        f"{len(world.words)} sentences, up to {CANDIDATES} candidates each, the best {TOP} by match logit + "
        f"ITC; learned from {cascade.queries} other sentences over other pictures. Plans: "
        + "; ".join(
            f"{one.effort} stops after {list(one.stops)}, ε {list(one.epsilons)}, held-out overlap "
            f"{one.overlap:.3f} at {one.work:.2f}, {'used' if one.passed else 'not used'}"
            for one in cascade.plans
            if one.top == TOP
        ),
    ]
    return section


def learned(model: Blip2, world: World) -> Cascade:
    """A cascade from full searches."""
    samples: list[Sample] = []
    reranker = Reranker(model, world)
    for query in progress(range(len(world.words)), "learning"):
        reranker.rerank(world.words[query], world.candidates(query), TOP, record=samples.append)
    return fit(samples, model.fingerprint)


def _world(model: Blip2, seed: int, families: int, split: str) -> World:
    scenes, sentences, relevant = held_out(seed, families, split)
    words = texts(sentences, seed)
    patches, tokens = encode(model, scenes)
    return World(patches.float(), words, itc_scores(model, tokens, words), relevant)


def _orders(model: Blip2, world: World, effort: Effort, cascade: Cascade | None) -> list[list[Ranked]]:
    reranker = Reranker(model, world)
    return [
        reranker.rerank(words, world.candidates(query), CANDIDATES, "itm+itc", None, "fast", TOP,
                        effort=effort, cascade=cascade)
        for query, words in progress(list(enumerate(world.words)), effort)
    ]  # fmt: skip


def _compared(
    world: World, whole: Sequence[Sequence[Ranked]], found: Sequence[Sequence[Ranked]], layers: int
) -> Measured:
    overlap, change, went = [], [], []
    for query, (full, ours) in enumerate(zip(whole, found, strict=True)):
        overlap.append(len({one.key for one in full[:TOP]} & {one.key for one in ours[:TOP]}) / TOP)
        right = world.relevant[query]
        change.append(int(right[ours[0].key]) - int(right[full[0].key]))
        went += [one.layers / layers for one in ours]
    reach = {part: float(np.mean([one >= part / 100 for one in went])) for part in (25, 50, 75, 100)}
    return Measured(float(np.mean(overlap)), float(np.mean(change)), float(np.mean(went)), reach)


def _figures(name: str, found: Measured) -> dict[str, float]:
    figures = {
        f"{name}_top10": found.overlap,
        f"{name}_r1_change": found.r1_change,
        f"{name}_work": found.work,
    }
    return figures | {f"{name}_reach_{part}": share for part, share in found.reach.items()}


def _row(effort: Effort, found: Measured) -> Row:
    reach = ", ".join(f"{share:.2f} through {part} %" for part, share in found.reach.items())
    told = f"top-10 {found.overlap:.3f}, R@1 {found.r1_change:+.4f}, work {found.work:.2f} ({reach})"
    goal = {"auto": "top-10 ≥ 0.98, R@1 within 0.005, work ≤ 0.6", "quick": "top-10 ≥ 0.90"}
    return Row(f"effort {effort}", told, goal=goal[effort])


def main() -> None:
    """Measure and print."""
    section = run(True)
    for row in section.rows:
        print(f"{row.what:15s} {row.ours}")
    for name, value in section.figures.items():
        print(f"{name} {value:.4f}")
    print(*section.notes, sep="\n")


if __name__ == "__main__":
    main()
