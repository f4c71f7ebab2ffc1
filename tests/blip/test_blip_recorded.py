"""Replayed passes give what passes kernel by kernel give; a plain call plays the GPU's recording."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from sightline.blip.latents import Basis, Latents
from sightline.blip.network import Blip2Network
from sightline.blip.pair_scoring import PairScorer
from sightline.blip.random_weights import randomise, small_config
from sightline.blip.recorded import Captured, Recorder

IDS = torch.tensor([[2, 6, 7, 8, 3]])


class PlainCapture:
    """Computes again where CUDA would replay: from the same memory, into the same memory."""

    def __init__(self) -> None:
        self.recorded = self.replayed = 0

    def __call__(self, run: Callable[[], Tensor]) -> Captured:
        self.recorded += 1
        out = run().clone()

        def replay() -> None:
            self.replayed += 1
            out.copy_(run())

        return Captured(replay, out)


def impossible(run: Callable[[], Tensor]) -> Captured:
    raise RuntimeError("CUDA error: operation not permitted when stream is capturing")


@pytest.fixture(scope="module")
def network() -> Blip2Network:
    made = Blip2Network(small_config(), with_vision=False)
    randomise(made)
    return made.eval().requires_grad_(False)


def latents(count: int, seed: int = 0, name: str = "basis") -> Latents:
    generator = torch.Generator().manual_seed(seed)
    codes = torch.randint(-127, 128, (count, 17, 24), generator=generator, dtype=torch.int8)
    scales = (torch.rand(count, 17, generator=generator) / 60 + 0.01).half()
    drawn = torch.randn(24, 48, generator=torch.Generator().manual_seed(len(name)))
    return Latents(codes, scales, Basis(name, drawn, torch.zeros(48)))


def both(network: Blip2Network, most_bytes: int = 1 << 30) -> tuple[PairScorer, PairScorer, PlainCapture]:
    """A scorer that replays, one that does not, and what recorded for the first."""
    replaying, plain = (PairScorer(network, torch.float32, at_once=400) for _ in range(2))
    assert plain.recorder is None, "nothing is recorded on a CPU"
    capture = PlainCapture()
    replaying.recorder = Recorder(capture, most_bytes)
    return replaying, plain, capture


def same(first: Tensor, second: Tensor) -> bool:
    return torch.allclose(first, second, atol=1e-5)


def test_replayed_logits_are_those_of_plain_passes_whatever_lay_in_the_memory_before(
    network: Blip2Network,
) -> None:
    replaying, plain, capture = both(network)
    # 14, 16 and 9 share one form of 16 rows: what a fuller pass left there must not be seen.
    for turn, count in enumerate((16, 16, 9, 14, 3)):
        given = latents(count, seed=turn)
        assert same(replaying(IDS, given), plain(IDS, given))
    assert (capture.recorded, capture.replayed) == (1, 4)


def test_a_form_is_recorded_when_it_comes_again_and_other_forms_are_their_own(network: Blip2Network) -> None:
    replaying, plain, capture = both(network)
    longer, dense = torch.tensor([[2, 6, 7, 8, 9, 3]]), latents(5).patches()
    replaying(IDS, latents(5))
    assert capture.recorded == 0
    forms: list[tuple[Tensor, Tensor | Latents]] = [
        (IDS, latents(5)),
        (longer, latents(5)),
        (IDS, latents(17)),
        (IDS, dense),
        (IDS, dense.half()),
    ]
    for ids, given in forms:
        for _ in range(3):
            assert same(replaying(ids, given), plain(ids, given))
    assert capture.recorded == 5


def test_pairs_that_stop_between_layers_go_on_from_replayed_states(network: Blip2Network) -> None:
    replaying, plain, capture = both(network)
    given, kept = latents(12), [7, 0, 3]
    few = Latents(given.codes[kept], given.scales[kept], given.basis)
    for _ in range(3):
        halves = [one.look(IDS, given, 2) for one in (replaying, plain)]
        assert same(halves[0].hidden, halves[1].hidden)
        wholes = [
            one.logits(one.look_on(half.of(kept), few, 4))
            for one, half in zip((replaying, plain), halves, strict=True)
        ]
        assert same(wholes[0], wholes[1])
    assert capture.recorded == 2


def test_states_that_were_given_out_stay_when_the_memory_is_used_again(network: Blip2Network) -> None:
    replaying, plain, _ = both(network)
    replaying.look(IDS, latents(4), 2)
    first = replaying.look(IDS, latents(4, seed=1), 2)
    replaying.look(IDS, latents(4, seed=2), 2)
    assert same(first.hidden, plain.look(IDS, latents(4, seed=1), 2).hidden)


def test_weights_of_a_basis_that_the_scorer_has_dropped_live_as_long_as_their_recording(
    network: Blip2Network,
) -> None:
    replaying, plain, capture = both(network)
    for number in range(8):  # the scorer keeps the folded weights of four
        given = latents(4, name="b" * (number + 1))
        for _ in range(2):
            replaying(IDS, given)
    for number in range(8):
        given = latents(4, seed=9, name="b" * (number + 1))
        assert same(replaying(IDS, given), plain(IDS, given))
    assert capture.recorded == 8


def test_recordings_have_a_bound_in_memory_and_the_oldest_goes(network: Blip2Network) -> None:
    replaying, plain, capture = both(network, most_bytes=400_000)
    small, large = latents(3), latents(18)
    for given in (small, small, large, large, small, small):
        assert same(replaying(IDS, given), plain(IDS, given))
    assert capture.recorded == 3, "a form that was dropped is recorded anew"
    for _ in range(3):
        assert same(replaying(IDS, latents(400)), plain(IDS, latents(400)))
    assert capture.recorded == 3, "what would drive out all others is not recorded"


def test_what_cannot_be_recorded_runs_kernel_by_kernel(
    network: Blip2Network, caplog: pytest.LogCaptureFixture
) -> None:
    replaying, plain, _ = both(network)
    replaying.recorder = Recorder(impossible)
    for _ in range(4):
        assert same(replaying(IDS, latents(5)), plain(IDS, latents(5)))
    assert len([one for one in caplog.records if "without recorded graphs" in one.message]) == 1
