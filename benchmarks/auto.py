"""What ``effort="auto"`` costs and keeps: reduced arithmetic and a cascade together.

``python -m benchmarks.auto`` prints it. *Speed*: ViT-g geometry with random weights; since no cascade can be
learned on these, as many pairs go on at each quarter of the layers as on the demo model, through the staged
scorer itself. *Fidelity*: the demo model, sentences over their 100 best pictures by ITC, against float32 and
``full`` from the same latents. *Memory*: benchmarks/auto_memory.py.
Shapes: K pairs · S stages.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from benchmarks.auto_memory import add_memory
from benchmarks.cache import CANDIDATES, SEED, Judged, judged_pictures
from benchmarks.latent_pairs import Found, LatentSource, candidates, chosen_dtype, demo_model, name_of, some
from benchmarks.measuring import Budget, Row, Section, alternate
from benchmarks.quality import encode
from benchmarks.rerank import LAVIS_LENGTH, Size, random_latents, size_of
from benchmarks.rerank_stock import lavis_loop, stock_model
from demo.world.splits import families
from sightline.blip.blip2 import Blip2
from sightline.blip.latents import Latents
from sightline.blip.network import Blip2Network
from sightline.blip.pair_scoring import PairScorer
from sightline.blip.patch_codec import fit
from sightline.blip.random_weights import randomise
from sightline.reranker import Cascade, Ranked, Reranker
from sightline.reranker.cascade_fit import fit as fit_cascade
from sightline.reranker.fidelity import FidelityMeter, top_overlap
from sightline.reranker.ordering import Record
from sightline.reranker.samples import Sample

AUTO, FULL, LAVIS = "auto, latent", "full, latent", "LAVIS loop, fp32"
CASCADE_FIGURES: Final = Path("build/bench-cascade.json")
KEPT: Final = (1.0, 1.0, 0.375, 0.375)
"""Shares of all pairs that go through each quarter of the layers, where no cascade was measured: a probe
after the middle layer that keeps 24 of 64 (the demo model; top-10 overlap 0.983)."""
_FIDELITY_S: Final = 25.0
"""For the pictures and some of the sentences; the others as far as the time goes."""
_FIT_FAMILIES: Final = 40
_FOLDS: Final = 5
_TOP: Final = 10


def run(full: bool) -> Section:
    """Speed, memory, fidelity."""
    section = Section("Rerank with `auto`: reduced arithmetic and a cascade together")
    add_speed(section, size_of(full), kept_shares(CASCADE_FIGURES))
    add_memory(section, full)
    if Budget.given().enough_for(_FIDELITY_S if full else 0):
        _add_demo_fidelity(section, 25 if full else 7, _FIT_FAMILIES if full else 2)
    else:
        section.skip("the fidelity of `auto` on the demo model: the time is up.")
    return section


# -- speed


def kept_shares(path: Path) -> tuple[float, ...]:
    """What a measured cascade let through, by its figures ``cascade_kept_1``, … in what its benchmark left;
    `KEPT` where there is none."""
    figures = json.loads(path.read_text())["figures"] if path.exists() else {}
    names = sorted((name for name in figures if name.startswith("cascade_kept_")), key=len)
    return tuple(float(figures[name]) for name in names) or KEPT


def _whence(shares: Sequence[float]) -> str:
    if tuple(shares) == KEPT:
        return "as a probe after the middle layer would keep them: no cascade was measured before"
    return "as the cascade keeps them on the demo model"


class Staged:
    """Pairs stop on the way as a cascade lets them: of all K, ``shares[s]`` go through stage s of S.

    Which they are changes no time, so they are drawn; their latents are gathered again at each stage.
    """

    def __init__(self, scorer: PairScorer, shares: Sequence[float]) -> None:
        self._scorer = scorer
        self._shares = shares

    @torch.inference_mode()
    def __call__(self, ids_1L: Tensor, latents: Latents) -> Tensor:
        """Logits ``[K',2]`` of the pairs that went through all layers."""
        order = torch.randperm(len(latents), generator=torch.Generator().manual_seed(0)).tolist()
        counts = [max(1, round(share * len(latents))) for share in self._shares]
        stops = [math.ceil(self._scorer.layers * (at + 1) / len(counts)) for at in range(len(counts))]
        states = self._scorer.look(ids_1L, some(latents, order[: counts[0]]), stops[0])
        for count, stop in zip(counts[1:], stops[1:], strict=True):
            on = range(min(count, len(states)))
            states = self._scorer.look_on(states.of(on), some(latents, [order[row] for row in on]), stop)
        return self._scorer.logits(states)


@torch.inference_mode()
def add_speed(section: Section, size: Size, shares: Sequence[float]) -> None:
    """`auto` and `full` by the chosen arithmetic beside the LAVIS loop, in turns."""
    network = Blip2Network(size.config, with_vision=False)
    randomise(network)
    network.eval().requires_grad_(False)
    stock = stock_model(size.config, network, with_vision=False)
    dtype = chosen_dtype()
    scorer, latents = PairScorer(network, dtype), random_latents(size)
    staged = Staged(scorer, shares)
    features = torch.randn(size.candidates, *size.config.dimensions.patch_shape)
    ids = torch.randint(5, 50, (1, size.text), generator=torch.Generator().manual_seed(1))
    programs: dict[str, Callable[[], Any]] = {
        AUTO: lambda: staged(ids, latents),
        FULL: lambda: scorer(ids, latents),
        LAVIS: lambda: lavis_loop(stock, features, ids, LAVIS_LENGTH),
    }
    few = some(latents, range(min(8, size.candidates)))
    scorer(ids, few), staged(ids, few)  # the weights are folded at the first
    found = alternate(programs, size.rounds, warmup=0, budget=Budget.given().part(0.5))
    theirs, kind = found[LAVIS].median, name_of(dtype)
    section.figures |= {
        "rerank_vs_lavis_loop": theirs / found[AUTO].median,
        "rerank_auto_vs_full": found[FULL].median / found[AUTO].median,
        "rerank_auto_full_vs_lavis_loop": theirs / found[FULL].median,
        "rerank_auto_work": sum(shares) / len(shares),
    }
    for name in (AUTO, FULL):
        ratio = f"{theirs / found[name].median:.1f}×"
        what = f"{size.candidates} candidates, {name}, {kind}; {LAVIS}"
        section.rows.append(Row(what, str(found[name]), str(found[LAVIS]), ratio))
    said = ", ".join(f"{share:.0%}" for share in shares)
    section.notes.append(
        f"Random weights at ViT-g geometry: {said} of the pairs go through each of {len(shares)} parts of "
        f"the layers, {_whence(shares)}."
    )


# -- fidelity


Order = Callable[[str, Sequence[Found]], Sequence[int]]
"""Keys of candidates of a text, best first."""


def add_fidelity(section: Section, judged: Judged, exact: Order, found: Order, name: str) -> None:
    """``NAME_top10`` and ``NAME_r1_change`` of ``found`` against ``exact``, as far as the time goes."""
    overlaps: list[float] = []
    gained: list[float] = []
    for text, itc_N, relevant_N in zip(judged.words, judged.itc, judged.relevant, strict=True):
        if overlaps and not Budget.given().enough_for(2.0):
            break
        shown = candidates(itc_N, CANDIDATES)
        orders = [list(order(text, shown)) for order in (exact, found)]
        exact_K, found_K = (np.array([-float(one.index(each.key)) for each in shown]) for one in orders)
        overlaps.append(top_overlap(exact_K, found_K))
        gained.append(float(relevant_N[orders[1][0]]) - float(relevant_N[orders[0][0]]))
    top10, change = float(np.mean(overlaps)), float(np.mean(gained))
    section.figures |= {f"{name}_top10": top10, f"{name}_r1_change": change}
    what = f"{len(overlaps)} sentences, {len(shown)} of {len(judged.patches)} pictures each, `{name}`"
    section.rows.append(
        Row(what, f"top-10 {top10:.3f}, R@1 {change:+.4f}", "fp32, `full`, from the same latents")
    )


def _add_demo_fidelity(section: Section, judged_families: int, fit_families: int) -> None:
    """Each fifth of the sentences by a cascade that was learned on the other four, as on a collection."""
    model = demo_model()
    scenes = [scene for family in islice(families("val", SEED), fit_families) for scene in family]
    sample = encode(model, scenes)[0]
    codec = fit(lambda: [sample], model.patch_metric(), model.fingerprint)
    judged = judged_pictures(model, judged_families)
    source = LatentSource(codec.encode(judged.patches))
    name = name_of(chosen_dtype())
    fast = demo_model(name)
    samples: list[Sample] = []
    exact, found = _Full(model, source), _Full(fast, source, samples.append)
    for text, itc_N in zip(judged.words, judged.itc, strict=True):
        found(text, candidates(itc_N, CANDIDATES))
    cascades = _learned(samples, judged.words, model.fingerprint)
    add_fidelity(section, judged, exact, _auto(fast, source, cascades), "auto")
    if name != name_of(torch.float32):
        _add_arithmetic(section, name, exact.orders, found.orders)
    section.notes.append(f"`auto` is {name} and a cascade that was learned on other sentences.")


class _Full:
    """Every candidate scored, in the model's arithmetic; keeps all orders."""

    def __init__(self, model: Blip2, source: LatentSource, record: Record | None = None) -> None:
        self._reranker = Reranker(model, source)
        self._record = record
        self.orders: dict[str, list[Ranked]] = {}

    def __call__(self, text: str, shown: Sequence[Found]) -> list[int]:
        """Keys, best first."""
        order = self.orders[text] = self._reranker.rerank(text, shown, len(shown), record=self._record)
        return [one.key for one in order]


def _add_arithmetic(
    section: Section, name: str, exact: Mapping[str, list[Ranked]], found: Mapping[str, list[Ranked]]
) -> None:
    """``NAME_tau`` and ``NAME_top10`` of full orders in an arithmetic, by match logit + ITC."""
    meter = FidelityMeter()
    for text in exact:
        both = [sorted(orders[text], key=lambda one: one.key) for orders in (exact, found)]
        scores = [np.array([one.score for one in order]) for order in both]
        logits = [np.array([one.itm_logit for one in order], np.float64) for order in both]
        meter.add(*scores, *logits)
    kept = meter.result()
    section.figures |= {f"{name}_tau": kept.tau, f"{name}_top10": kept.top10}
    told = f"τ {kept.tau:.3f}, top-10 {kept.top10:.3f}"
    what = f"{kept.queries} sentences, {name} alone, `full`"
    section.rows.append(Row(what, told, "fp32, `full`, from the same latents", goal="≥ 0.98"))


def _learned(samples: Sequence[Sample], texts: Sequence[str], fingerprint: str) -> dict[str, Cascade]:
    """By sentence, what the sentences of other folds teach; one sample for each."""
    folds = [
        fit_cascade([one for row, one in enumerate(samples) if row % _FOLDS != fold], fingerprint)
        for fold in range(_FOLDS)
    ]
    return {text: folds[row % _FOLDS] for row, text in enumerate(texts)}


def _auto(model: Blip2, source: LatentSource, cascades: Mapping[str, Cascade]) -> Order:
    """As few scored as `auto` does for ten hits."""
    reranker = Reranker(model, source)

    def ordered(text: str, shown: Sequence[Found]) -> list[int]:
        found = reranker.rerank(
            text, shown, len(shown), exact_top=_TOP, effort="auto", cascade=cascades[text]
        )
        return [one.key for one in found]

    return ordered


def main() -> None:
    """Measure and print."""
    from benchmarks.run import markdown

    print(markdown(run(full=True)))


if __name__ == "__main__":
    main()
