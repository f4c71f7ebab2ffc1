"""The cascade: how much of the full order is kept at which share of the work, on the demo model.

``python -m benchmarks.cascade``. Sentences over their 100 best by ITC of held-out pictures, ordered by the
product's own reranker. Each fifth of the sentences is ordered with what was learned from the other four over
the same pictures, as on a user's collection; and all with what was learned over other pictures, of the val
split. Work counts layers that pairs went through. Shapes: N pictures · T sentences.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from benchmarks.cache import CANDIDATES, Judged, judged_pictures
from benchmarks.latent_pairs import candidates, demo_model
from benchmarks.measuring import Budget, Row, Section
from benchmarks.quality import progress
from sightline.blip.blip2 import Blip2
from sightline.records import Effort
from sightline.reranker import Cascade, PatchGroup, Ranked, Reranker
from sightline.reranker.cascade_fit import fit
from sightline.reranker.samples import Sample

LEARNED_SEED, MEASURED_SEED = 4, 3
TOP = 10
FOLDS = 5


@dataclass(frozen=True)
class WholePatches:
    """The ``PatchSource`` of pictures whose patches are in memory; keys are their numbers."""

    whole: Tensor
    """``[N,P,V]``."""

    def patches(self, keys: Sequence[int]) -> list[PatchGroup]:
        """All in one form."""
        return [PatchGroup(range(len(keys)), self.whole[torch.tensor(keys)])]


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
    """200 sentences over 200 pictures, or 56."""
    return measure(demo_model(), 25 if full else 7)


def measure(model: Blip2, families: int) -> Section:
    """Families are of eight pictures each, with as many sentences."""
    world = judged_pictures(model, families, MEASURED_SEED)
    began = time.monotonic()
    whole, samples = full_orders(model, world)
    took = time.monotonic() - began
    folds = [
        fit([one for row, one in enumerate(samples) if row % FOLDS != fold], model.fingerprint)
        for fold in range(FOLDS)
    ]
    section = Section("Cascade: layers saved against the full order")

    def add(name: str, effort: Effort, cascades: Sequence[Cascade], learned: str) -> None:
        orders = _orders(model, world, effort, cascades)
        found = _compared(world, whole, orders, model.match_layers)
        section.rows.append(_row(f"effort {effort}, learned on {learned}", effort, found))
        section.figures |= _figures(name, found)

    add("cascade", "auto", folds, "the same pictures")
    add("cascade_quick", "quick", folds, "the same pictures")
    section.notes = [
        f"{len(world.words)} sentences, up to {CANDIDATES} candidates each, the best {TOP} by match logit + "
        f"ITC; learned from {folds[0].queries} other sentences over the same pictures. Plans: "
        + "; ".join(_told(one) for one in folds),
    ]
    # As many sentences over other pictures take as long as the first, and those of `auto` once more.
    if not Budget.given().enough_for(2.0 * took):
        section.skip("what is learned on other pictures: the time is up.")
        return section
    _, others = full_orders(model, judged_pictures(model, families, LEARNED_SEED, "val"))
    add("cascade_elsewhere", "auto", [fit(others, model.fingerprint)], "other pictures")
    return section


def full_orders(model: Blip2, world: Judged) -> tuple[list[list[Ranked]], list[Sample]]:
    """All sentences ordered in full, and what there was to learn from it."""
    samples: list[Sample] = []
    reranker = Reranker(model, WholePatches(world.patches))
    orders = [
        reranker.rerank(words, candidates(world.itc[query], CANDIDATES), CANDIDATES, record=samples.append)
        for query, words in progress(list(enumerate(world.words)), "full")
    ]
    return orders, samples


def _told(cascade: Cascade) -> str:
    plans = [one for one in cascade.plans if one.top == TOP]
    return ", ".join(
        f"{one.effort} {list(one.stops)} ε {list(one.epsilons)} held-out {one.overlap:.3f} at {one.work:.2f}"
        f"{'' if one.passed else ' (not used)'}"
        for one in plans
    )


def _orders(model: Blip2, world: Judged, effort: Effort, cascades: Sequence[Cascade]) -> list[list[Ranked]]:
    """Each sentence by the cascade of its fold."""
    reranker = Reranker(model, WholePatches(world.patches))
    return [
        reranker.rerank(words, candidates(world.itc[query], CANDIDATES), CANDIDATES, exact_top=TOP,
                        effort=effort, cascade=cascades[query % len(cascades)])
        for query, words in progress(list(enumerate(world.words)), effort)
    ]  # fmt: skip


def _compared(
    world: Judged, whole: Sequence[Sequence[Ranked]], found: Sequence[Sequence[Ranked]], layers: int
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
    return figures | {f"{name}_kept_{part // 25}": share for part, share in found.reach.items()}


def _row(what: str, effort: str, found: Measured) -> Row:
    reach = ", ".join(f"{share:.2f} through {part} %" for part, share in found.reach.items())
    told = f"top-10 {found.overlap:.3f}, R@1 {found.r1_change:+.4f}, work {found.work:.2f} ({reach})"
    goal = {"auto": "top-10 ≥ 0.98, R@1 within 0.005, work ≤ 0.6", "quick": "top-10 ≥ 0.90"}
    return Row(what, told, goal=goal[effort])


def main() -> None:
    """Measure and print."""
    run(True).show()


if __name__ == "__main__":
    main()
