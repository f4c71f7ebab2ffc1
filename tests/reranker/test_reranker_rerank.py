"""`rerank` orders candidates by key, in ITC order and in time."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from sightline.blip.latents import Latents
from sightline.blip.toy import ToyEncoder
from sightline.errors import ImageRejected, InputError, NotFoundError
from sightline.records import Precision
from sightline.reranker import PatchGroup, Ranked, Reranker


@dataclass(frozen=True)
class Found:
    """A candidate, without the retriever."""

    key: int
    itc: float
    itc_rank: int


class Patches:
    """Patches of random pictures by key, and what was asked for."""

    def __init__(
        self, keys: Sequence[int], lost: Sequence[int] = (), error: type[Exception] = NotFoundError
    ) -> None:
        images = np.random.default_rng(0).integers(0, 256, (len(keys), 4, 4, 3), np.uint8)
        toy = ToyEncoder()
        patches = toy.encode_patches(toy.preprocess(list(images))).half()  # as segments keep them
        self.by_key = dict(zip(keys, patches, strict=True))
        self.lost, self.error = set(lost), error
        self.asked: list[list[int]] = []

    def patches(self, keys: Sequence[int]) -> list[PatchGroup]:
        self.asked.append(list(keys))
        if self.lost & set(keys):
            raise self.error("gone", "gone") if self.error is ImageRejected else self.error("gone")
        return [PatchGroup(range(len(keys)), torch.stack([self.by_key[key] for key in keys]))]


class MixedPatches(Patches):
    """Every other key's patches are kept as int8 codes; groups come in an order of their own."""

    def patches(self, keys: Sequence[int]) -> list[PatchGroup]:
        rows = {half: [row for row, key in enumerate(keys) if key % 2 == half] for half in (1, 0)}
        plain = torch.stack([self.by_key[keys[row]] for row in rows[0]])
        return [
            PatchGroup(rows[1], compressed(torch.stack([self.by_key[keys[row]] for row in rows[1]]))),
            PatchGroup(rows[0], plain),
        ]


def compressed(patches: torch.Tensor) -> Latents:
    scales = patches.abs().amax(dim=2).half() / 127
    codes = (patches.float() / scales.float()[:, :, None]).round().clamp(-127, 127).to(torch.int8)
    return Latents(codes, scales, None)


def candidates(keys: Sequence[int]) -> list[Found]:
    return [Found(key, 0.9 - 0.01 * place, place + 1) for place, key in enumerate(keys)]


KEYS = [31, 5, 88, 2, 64, 17, 40, 9, 73, 26]
TEXT = "red top and blue"


def judged(source: Patches, key: int) -> tuple[float, float]:
    no, yes = ToyEncoder().match([TEXT], source.by_key[key][None].float())[0].tolist()
    return yes, math.exp(yes) / (math.exp(no) + math.exp(yes))


@pytest.mark.parametrize("score", ["itm+itc", "itm"])
def test_the_order_is_that_of_pairs_judged_one_by_one(score: str) -> None:
    source = Patches(KEYS)
    found = Reranker(ToyEncoder(), source, batch_size=3).rerank(TEXT, candidates(KEYS), 10, score)  # type: ignore[arg-type]
    expected = []
    for one in candidates(KEYS):
        logit, probability = judged(source, one.key)
        total = logit + one.itc if score == "itm+itc" else logit
        expected.append(Ranked(one.key, total, one.itc, one.itc_rank, logit, probability))
    expected.sort(key=lambda ranked: (-ranked.score, ranked.key))
    for actual, wanted in zip(found, expected, strict=True):
        assert (actual.key, actual.itc, actual.itc_rank) == (wanted.key, wanted.itc, wanted.itc_rank)
        assert actual.score == pytest.approx(wanted.score, abs=1e-6)
        assert actual.itm_logit == pytest.approx(wanted.itm_logit, abs=1e-6)
        assert actual.match_probability == pytest.approx(wanted.match_probability, abs=1e-6)


def test_every_candidate_gets_its_own_score_when_codecs_are_mixed() -> None:
    source = MixedPatches(KEYS)
    found = Reranker(ToyEncoder(), source).rerank(TEXT, candidates(KEYS), 10)
    assert {one.key for one in found} == set(KEYS)
    for one in found:
        assert one.itm_logit == pytest.approx(judged(source, one.key)[0], abs=0.05)


def test_candidates_are_judged_in_itc_order_in_batches() -> None:
    source = Patches(KEYS)
    shuffled = sorted(candidates(KEYS), key=lambda one: one.key)
    Reranker(ToyEncoder(), source, batch_size=4).rerank(TEXT, shuffled, 1)
    assert source.asked == [KEYS[:4], KEYS[4:8], KEYS[8:]]


def test_k_is_the_head_of_the_whole_order() -> None:
    reranker = Reranker(ToyEncoder(), Patches(KEYS))
    whole = reranker.rerank(TEXT, candidates(KEYS), 10)
    assert reranker.rerank(TEXT, candidates(KEYS), 4) == whole[:4]
    assert reranker.rerank(TEXT, candidates(KEYS), 99) == whole
    assert reranker.rerank(TEXT, candidates(KEYS), 0) == []
    assert reranker.rerank(TEXT, [], 5) == []


def test_the_order_of_itc_alone_needs_no_patches() -> None:
    found = Reranker(ToyEncoder()).rerank(TEXT, candidates(KEYS)[::-1], 3, "itc")
    expected = candidates(KEYS)[:3]
    assert found == [Ranked(one.key, one.itc, one.itc, one.itc_rank, None, None) for one in expected]


def test_equal_scores_are_ordered_by_key() -> None:
    source = Patches(KEYS)
    for key in KEYS:
        source.by_key[key] = source.by_key[31]
    found = Reranker(ToyEncoder(), source, batch_size=3).rerank(TEXT, candidates(KEYS), 10, "itm")
    assert [one.key for one in found] == sorted(KEYS)


class Clock:
    """Time that only judging takes: ``seconds`` for each pair, after ``start_up`` for the first batch."""

    def __init__(self, seconds: float, start_up: float = 0.0) -> None:
        self.now, self.seconds, self.start_up = 100.0, seconds, start_up

    def __call__(self) -> float:
        return self.now


class SlowToy(ToyEncoder):
    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.batches: list[int] = []

    def match(
        self, texts: Sequence[str], patches: torch.Tensor | Latents, precision: Precision = "fast"
    ) -> torch.Tensor:
        self.clock.now += self.clock.seconds * len(patches) + self.clock.start_up
        self.clock.start_up = 0.0
        self.batches.append(len(patches))
        return super().match(texts, patches)


@pytest.mark.parametrize(
    ("deadline_ms", "scored"), [(0, 0), (-5, 0), (1, 4), (65, 6), (95, 9), (99, 9), (1000, 10), (None, 10)]
)
def test_a_deadline_is_kept_and_the_rest_stays_below_in_itc_order(
    deadline_ms: float | None, scored: int
) -> None:
    clock = Clock(seconds=0.01)
    toy = SlowToy(clock)
    source = Patches(KEYS)
    found = Reranker(toy, source, batch_size=5, clock=clock).rerank(
        TEXT, candidates(KEYS), 10, deadline_ms=deadline_ms
    )
    head, tail = found[:scored], found[scored:]
    assert {one.key for one in head} == set(KEYS[:scored])
    assert all(one.itm_logit is not None and one.match_probability is not None for one in head)
    assert [one.score for one in head] == sorted((one.score for one in head), reverse=True)
    assert tail == [Ranked(c.key, c.itc, c.itc, c.itc_rank, None, None) for c in candidates(KEYS)[scored:]]
    if deadline_ms is not None and scored > 4:  # four are judged before anything is known of the machine
        assert clock.now <= 100 + deadline_ms / 1000 + 1e-9


def test_a_slow_first_batch_does_not_speak_for_the_others() -> None:
    clock = Clock(seconds=0.001, start_up=0.2)  # 51 ms a pair at first
    toy = SlowToy(clock)
    found = Reranker(toy, Patches(KEYS), batch_size=5, clock=clock).rerank(
        TEXT, candidates(KEYS), 10, deadline_ms=270
    )
    assert toy.batches == [4, 1, 5]
    assert all(one.itm_logit is not None for one in found)


@pytest.mark.parametrize("error", [NotFoundError, ImageRejected])
def test_a_candidate_without_patches_keeps_its_itc_place_below_the_others(
    error: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    source = Patches(KEYS, lost=[88, 26], error=error)
    with caplog.at_level(logging.WARNING):
        found = Reranker(ToyEncoder(), source, batch_size=4).rerank(TEXT, candidates(KEYS), 10)
    assert [one.key for one in found[8:]] == [88, 26]
    assert [one.itm_logit for one in found[8:]] == [None, None]
    assert all(one.itm_logit is not None for one in found[:8])
    assert sum("cannot be had" in record.message for record in caplog.records) == 2


class RoughToy(ToyEncoder):
    """Fast scores are rounded to whole numbers and turned round within them; exact ones are the toy's."""

    matches_exactly = False

    def __init__(self, clock: Clock | None = None) -> None:
        self.exactly: list[int] = []
        self.clock = clock or Clock(0)

    def match(
        self, texts: Sequence[str], patches: torch.Tensor | Latents, precision: Precision = "fast"
    ) -> torch.Tensor:
        self.clock.now += 0.01 * len(patches)
        logits = super().match(texts, patches)
        if precision == "exact":
            self.exactly.append(len(patches))
            return logits
        return logits.round() - (logits - logits.round()) / 10


def test_exact_precision_judges_the_best_again_and_puts_them_above_the_rest() -> None:
    source, toy = Patches(KEYS), RoughToy()
    rough = Reranker(toy, source, batch_size=4).rerank(TEXT, candidates(KEYS), 10, "itm")
    exact = Reranker(toy, source, batch_size=4).rerank(
        TEXT, candidates(KEYS), 10, "itm", precision="exact", exact_top=3
    )
    assert sum(toy.exactly) == 6
    head = sorted(rough[:6], key=lambda one: (-judged(source, one.key)[0], one.key))
    assert [one.key for one in exact] == [one.key for one in [*head, *rough[6:]]]
    assert [one.key for one in exact] != [one.key for one in rough]
    for one in exact[:6]:
        assert one.itm_logit == pytest.approx(judged(source, one.key)[0], abs=1e-6)
    assert exact[6:] == rough[6:]
    assert Reranker(toy, source).rerank(TEXT, candidates(KEYS), 3, "itm", precision="exact") == exact[:3]


def test_a_matcher_that_is_exact_anyway_judges_nobody_twice() -> None:
    source = Patches(KEYS)
    reranker = Reranker(ToyEncoder(), source, batch_size=10)
    assert reranker.rerank(TEXT, candidates(KEYS), 3, precision="exact") == reranker.rerank(
        TEXT, candidates(KEYS), 3
    )
    assert len(source.asked) == 2


@pytest.mark.parametrize(("deadline_ms", "exactly"), [(45, 0), (100, 0), (145, 4), (185, 8), (None, 10)])
def test_the_deadline_also_ends_the_exact_judging(deadline_ms: float | None, exactly: int) -> None:
    clock = Clock(0)
    toy, source = RoughToy(clock), Patches(KEYS)
    found = Reranker(toy, source, batch_size=10, clock=clock).rerank(
        TEXT, candidates(KEYS), 10, "itm", deadline_ms, "exact"
    )
    assert sum(toy.exactly) == exactly
    assert {one.key for one in found} == set(KEYS)
    assert [one.itm_logit for one in found[:exactly]] == pytest.approx(
        [judged(source, one.key)[0] for one in found[:exactly]], abs=1e-6
    )


def test_other_errors_of_the_patch_source_are_not_swallowed() -> None:
    source = Patches(KEYS, lost=[88], error=RuntimeError)
    with pytest.raises(RuntimeError):
        Reranker(ToyEncoder(), source).rerank(TEXT, candidates(KEYS), 3)


def test_arguments_that_make_no_sense_are_refused() -> None:
    reranker = Reranker(ToyEncoder(), Patches(KEYS))
    with pytest.raises(InputError, match="text is empty"):
        reranker.rerank(" ", candidates(KEYS), 3)
    with pytest.raises(InputError, match="at least 0"):
        reranker.rerank(TEXT, candidates(KEYS), -1)
    with pytest.raises(InputError, match="no score named 'cosine'"):
        reranker.rerank(TEXT, candidates(KEYS), 3, "cosine")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no precision named 'double'"):
        reranker.rerank(TEXT, candidates(KEYS), 3, precision="double")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no patch source"):
        Reranker(ToyEncoder()).rerank(TEXT, candidates(KEYS), 3)
