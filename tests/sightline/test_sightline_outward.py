"""Counts over random collections of any size, by the contract alone, against judging everything."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from sightline.errors import InputError
from sightline.reranker.records import Candidate, Ranked, Watch
from sightline.retriever.records import Candidate as Image
from sightline.retriever.records import Retrieved
from sightline.searching.cascades import Knowledge
from sightline.searching.count_law import Law, learn
from sightline.searching.counting import SMALL, WINDOW, Counted, Outward, Plan
from sightline.searching.fusion import Fused
from sightline.searching.questions import Found
from sightline.searching.reading import Reading
from sightline.searching.stopwatch import Stopwatch
from tests.sightline.test_sightline_count_law import LEAST, drawn


class DrawnQuestion:
    """A collection whose scores are drawn. ``named``: how many an approximate index knows of."""

    truncated = False
    reading = Reading()

    def __init__(self, seed: int, images: int, named: int | None = None, lost: frozenset[int] = frozenset()):
        query = drawn(np.random.default_rng(seed), images)
        keys = np.random.default_rng(seed + 1).permutation(images) + 1
        pairs = zip(keys.tolist(), query.itc.tolist(), strict=True)
        self.images = [Image(key, itc, rank) for rank, (key, itc) in enumerate(pairs, 1)]
        self.probability = dict(zip(keys.tolist(), query.probability.tolist(), strict=True))
        self.named = images if named is None else named
        self.lost = lost
        self.asked: list[int] = []
        self.judged: list[int] = []

    def retrieve(self, wanted: int, judged: int, clock: Stopwatch) -> Found:
        self.asked.append(wanted)
        found = self.images[: min(wanted, self.named)]
        recall = None if self.named == len(self.images) else 0.9
        return Found(
            Retrieved(found, 1, len(self.images), recall=recall), Fused(found[:judged], found[judged:])
        )

    def knowledge(self, head: Sequence[Candidate]) -> Knowledge:
        return Knowledge()

    def judge(
        self,
        candidates: Sequence[Candidate],
        known: Knowledge,
        left_ms: float | None = None,
        watch: Watch | None = None,
    ) -> list[Ranked]:
        self.judged += [one.key for one in candidates]
        return [self._ranked(one) for one in candidates]

    def _ranked(self, one: Candidate) -> Ranked:
        if one.key in self.lost:
            return Ranked(one.key, one.itc, one.itc, one.itc_rank, None, None)
        probability = self.probability[one.key]
        return Ranked(one.key, probability + one.itc, one.itc, one.itc_rank, 0.0, probability)

    def degraded(self) -> tuple[str, ...]:
        return ("Some are lost.",) if self.lost else ()


def hits(question: DrawnQuestion) -> set[int]:
    return {key for key, probability in question.probability.items() if probability >= LEAST}


def count(question: DrawnQuestion, plan: Plan) -> Counted:
    outward = Outward(question, plan, Stopwatch())
    return outward.count(outward.begin())


@pytest.fixture(scope="module")
def law() -> Law:
    chance = np.random.default_rng(11)
    found = learn([drawn(chance) for _ in range(40)], LEAST)
    assert found is not None
    return found


@pytest.mark.parametrize("images", [0, 1, 31, SMALL, SMALL + 1, WINDOW, WINDOW + 1, 5_000])
def test_an_exact_count_judges_each_image_once_and_finds_all(images: int) -> None:
    question = DrawnQuestion(images, images)
    counted = count(question, Plan(LEAST, 10_000, exact=True))
    assert counted.complete
    assert sorted(question.judged) == sorted(question.probability)
    assert {hit.key for hit in counted.hits} == hits(question)
    scores = [(-hit.score, hit.key) for hit in counted.hits]
    assert scores == sorted(scores)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("images", [SMALL, 3_000, 20_000])
def test_a_count_judges_a_prefix_once_and_another_to_its_depth_finds_the_same(
    law: Law, seed: int, images: int
) -> None:
    question = DrawnQuestion(seed, images)
    counted = count(question, Plan(LEAST, 10_000, law=law))
    first = [one.key for one in question.images[: counted.depth]]
    assert sorted(question.judged) == sorted(first)
    assert {hit.key for hit in counted.hits} == hits(question) & set(first)
    assert counted.complete == (counted.scored == images)
    assert max(question.asked) <= 10_000, "no more is ever in memory"
    again = count(DrawnQuestion(seed, images), Plan(LEAST, 10_000, depth=counted.depth))
    assert (again.hits, again.depth) == (counted.hits, counted.depth)


def test_most_counts_by_a_law_find_everything_after_judging_little(law: Law) -> None:
    counted = [(DrawnQuestion(seed, 8_000), Plan(LEAST, 10_000, law=law)) for seed in range(40)]
    found = [(question, count(question, plan)) for question, plan in counted]
    missed = sum(len(one.hits) < len(hits(question)) for question, one in found)
    assert missed <= 5, "40 chances of at most 0.05 are more than 5 with a chance of 0.05"
    assert np.mean([one.scored for _, one in found]) < 2_400


def test_deeper_counts_go_twice_as_deep_and_are_learned_from(law: Law) -> None:
    plain = count(DrawnQuestion(5, 3_000), Plan(LEAST, 10_000, law=law))
    deeper = count(DrawnQuestion(5, 3_000), Plan(LEAST, 10_000, law=law, deeper=True))
    assert plain.seen is None
    assert deeper.depth == 2 * plain.depth
    assert deeper.seen is not None
    assert len(deeper.seen.itc) == deeper.depth


def test_the_limit_holds_and_an_exact_count_beyond_it_is_refused() -> None:
    question = DrawnQuestion(3, 3_000)
    counted = count(question, Plan(0.0, 700))
    assert (counted.scored, len(counted.hits), counted.complete) == (700, 700, False)
    with pytest.raises(InputError, match="all 3,000 pictures"):
        count(DrawnQuestion(3, 3_000), Plan(LEAST, 700, exact=True))


def test_what_an_index_misses_or_nobody_can_judge_is_never_called_exact(law: Law) -> None:
    missed = count(DrawnQuestion(8, 400, named=300), Plan(0.0, 10_000, law=law))
    assert (missed.scored, missed.complete) == (300, False)
    lost = DrawnQuestion(9, 200, lost=frozenset(range(1, 6)))
    counted = count(lost, Plan(LEAST, 10_000))
    assert (counted.scored, counted.complete, counted.degraded) == (195, False, ("Some are lost.",))
    assert {hit.key for hit in counted.hits} == hits(lost) - lost.lost
