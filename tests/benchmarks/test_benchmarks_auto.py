"""The benchmark of `auto`: stops on the way leave the scores as they are, orders are compared as said."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks import auto
from benchmarks.auto_memory import can_reset, peak_mb
from benchmarks.cache import Judged
from benchmarks.latent_pairs import Found
from benchmarks.measuring import Section
from benchmarks.rerank import random_latents, size_of
from sightline.blip.latents import Latents
from sightline.blip.network import Blip2Network
from sightline.blip.pair_scoring import PairScorer
from sightline.blip.pair_states import PairStates
from sightline.blip.random_weights import randomise


class Counting(PairScorer):
    """Counts pairs times layers."""

    work = 0

    def look(self, ids_1L: Tensor, patches: Tensor | Latents, layers: int) -> PairStates:
        self.work += len(patches) * layers
        return super().look(ids_1L, patches, layers)

    def look_on(self, states: PairStates, patches: Tensor | Latents, layers: int) -> PairStates:
        self.work += len(patches) * (layers - states.layers)
        return super().look_on(states, patches, layers)


@pytest.fixture(scope="module")
def scorer() -> Counting:
    network = Blip2Network(size_of(full=False).config, with_vision=False)
    randomise(network)
    return Counting(network.eval().requires_grad_(False), torch.float32)


def test_pairs_that_stop_on_the_way_have_the_scores_of_those_that_do_not(scorer: Counting) -> None:
    latents, ids = random_latents(size_of(full=False)), torch.arange(5, 9)[None]
    whole = scorer(ids, latents)[:, 1].sort().values
    shares = [1.0] * scorer.layers
    assert torch.allclose(auto.Staged(scorer, shares)(ids, latents)[:, 1].sort().values, whole, atol=1e-5)
    scorer.work = 0
    half = auto.Staged(scorer, [*shares[1:], 0.5])(ids, latents)[:, 1]
    assert len(half) == 3
    assert all(float((whole - one).abs().min()) < 1e-5 for one in half)
    assert scorer.work == 6 * (scorer.layers - 1) + 3


def test_shares_are_those_of_the_measured_cascade(tmp_path: Path) -> None:
    assert auto.kept_shares(tmp_path / "none.json") == auto.KEPT
    figures = {"cascade_kept_1": 1.0, "cascade_work": 0.5, "cascade_kept_2": 0.6, "cascade_kept_10": 0.1}
    (tmp_path / "bench-cascade.json").write_text(json.dumps({"figures": figures}))
    assert auto.kept_shares(tmp_path / "bench-cascade.json") == (1.0, 0.6, 0.1)


def test_orders_are_compared_by_their_best_ten_and_their_first() -> None:
    """Twelve pictures; `auto` loses one of the best ten of the first text, and the first of the second."""
    itc = np.tile(-np.arange(12, dtype=np.float32), (2, 1))
    relevant = np.zeros((2, 12), np.bool_)
    relevant[:, 0] = True
    judged = Judged(torch.zeros(12, 1, 1), ["first", "second"], itc, relevant)

    def exact(text: str, shown: Sequence[Found]) -> list[int]:
        return [one.key for one in shown]

    def found(text: str, shown: Sequence[Found]) -> list[int]:
        order = list(range(12))
        at = (9, 11) if text == "first" else (0, 1)
        order[at[0]], order[at[1]] = order[at[1]], order[at[0]]
        return order

    section = Section("auto")
    auto.add_fidelity(section, judged, exact, found, "auto")
    assert section.figures == {"auto_top10": 0.95, "auto_r1_change": -0.5}


@pytest.mark.skipif(not can_reset(), reason="this system does not let a process set its peak back")
def test_a_peak_that_is_gone_again_is_seen() -> None:
    assert 60 < peak_mb(lambda: np.ones(64 << 20, np.uint8).sum()) < 90


@pytest.mark.long
def test_all_of_it_is_measured_at_small_size() -> None:
    figures = auto.run(full=False).figures
    assert {"rerank_vs_lavis_loop", "rerank_memory_mb", "rerank_auto_work"} <= figures.keys()
    assert figures["rerank_vs_lavis_loop"] > 0
